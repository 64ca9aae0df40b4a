#include "peer/frame_reader.h"

namespace cairn::peer {

namespace {
// Reads of at least this size go straight to their place; smaller ones may bring the next frames with them.
constexpr size_t kDirectRead = 16 * kKiB;
}  // namespace

env::Task<Status> FrameReader::fill(size_t least) {
  if (end_ - begin_ >= least) co_return Status{};
  if (buffer_.size() - begin_ < least) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  while (end_ - begin_ < least) {
    if (was_full_ && buffer_.size() < kReadBuffer) buffer_.resize(kReadBuffer);
    auto got = co_await stream_.read_some(MutableByteView(buffer_).subspan(end_));
    if (!got) co_return fail(std::move(got.error()));
    if (*got == 0) co_return fail(Code::closed, "the peer ended the session");
    end_ += *got;
    total_ += *got;
    was_full_ = end_ == buffer_.size();
  }
  co_return Status{};
}

env::Task<Result<wire::FrameHeader>> FrameReader::header() {
  if (end_ - begin_ < wire::kFrameHeaderSize) {
    auto filled = co_await fill(wire::kFrameHeaderSize);
    if (!filled) co_return fail(std::move(filled.error()));
  }
  auto header = wire::FrameHeader::decode(
      std::span<const uint8_t, wire::kFrameHeaderSize>(buffer_.data() + begin_, wire::kFrameHeaderSize));
  begin_ += wire::kFrameHeaderSize;
  co_return header;
}

env::Task<Status> FrameReader::read(MutableByteView into) {
  while (!into.empty()) {
    if (begin_ < end_) {
      const size_t take = std::min(into.size(), end_ - begin_);
      std::memcpy(into.data(), buffer_.data() + begin_, take);
      begin_ += take;
      into = into.subspan(take);
      continue;
    }
    begin_ = end_ = 0;
    if (into.size() < kDirectRead) {
      auto filled = co_await fill(1);
      if (!filled) co_return filled;
      continue;
    }
    auto got = co_await stream_.read_some(into, into.size());
    if (!got) co_return fail(std::move(got.error()));
    if (*got == 0) co_return fail(Code::closed, "the peer ended the session");
    total_ += *got;
    into = into.subspan(*got);
  }
  co_return Status{};
}

env::Task<Status> FrameReader::skip(uint64_t length) {
  while (length > 0) {
    if (begin_ == end_) {
      begin_ = end_ = 0;
      auto filled = co_await fill(1);
      if (!filled) co_return filled;
    }
    const auto take = static_cast<size_t>(std::min<uint64_t>(length, end_ - begin_));
    begin_ += take;
    length -= take;
  }
  co_return Status{};
}

}  // namespace cairn::peer
