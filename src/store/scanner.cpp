#include "store/scanner.h"

#include "base/crc32c.h"

namespace cairn::store {

namespace {
constexpr size_t kWindow = 256 * kKiB;
}  // namespace

Result<SegmentScanner> SegmentScanner::open(std::shared_ptr<env::File> file, uint32_t number, uint32_t from,
                                            const Stamp& stamp, bool check_payload) {
  auto size = file->size();
  if (!size) return fail(std::move(size.error()), "segment");
  SegmentScanner scanner;
  scanner.file_ = std::move(file);
  scanner.number_ = number;
  scanner.position_ = from;
  scanner.size_ = *size;
  scanner.end_ = static_cast<uint32_t>((*size + kBlockSize - 1) / kBlockSize);
  scanner.stamp_ = stamp;
  scanner.check_payload_ = check_payload;
  return scanner;
}

Result<ByteView> SegmentScanner::look(uint64_t& budget) {
  const uint64_t offset = uint64_t{position_} * kBlockSize;
  const size_t wanted = static_cast<size_t>(std::min<uint64_t>(kMaxRecordHeader, size_ - offset));
  if (offset < window_offset_ || offset + wanted > window_offset_ + window_.size()) {
    window_.resize(static_cast<size_t>(std::min<uint64_t>(kWindow, size_ - offset)));
    window_offset_ = offset;
    auto got = file_->read_at(offset, window_);
    if (!got) return fail(std::move(got.error()), "segment scan");
    window_.resize(*got);
    budget -= std::min<uint64_t>(budget, *got);
  }
  const size_t at = static_cast<size_t>(offset - window_offset_);
  if (at >= window_.size()) return ByteView();
  return ByteView(window_).subspan(at, std::min(wanted, window_.size() - at));
}

Result<bool> SegmentScanner::payload_fits(const RecordHeader& header, uint64_t& budget) {
  Bytes payload(header.payload_length);
  auto got = file_->read_at(header.place().payload_offset(), payload);
  if (!got) return fail(std::move(got.error()), "segment scan");
  budget -= std::min<uint64_t>(budget, *got);
  return *got == payload.size() && crc32c(payload) == header.payload_crc;
}

Result<std::optional<RecordHeader>> SegmentScanner::next(uint64_t& budget) {
  while (!at_end() && budget > 0) {
    auto raw = look(budget);
    if (!raw) return fail(std::move(raw.error()));
    auto header = RecordHeader::decode(*raw, stamp_, number_, position_);
    if (header && check_payload_) {
      auto fits = payload_fits(*header, budget);
      if (!fits) return fail(std::move(fits.error()));
      if (!*fits) header = fail(Code::corrupt);
    }
    if (!header) {
      ++position_;
      continue;
    }
    position_ += header->blocks();
    return std::optional(std::move(*header));
  }
  return std::optional<RecordHeader>();
}

}  // namespace cairn::store
