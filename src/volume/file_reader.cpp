#include "volume/file_reader.h"

#include <deque>

#include "volume/keys.h"

namespace cairn::volume {

namespace {

using Pieces = Result<std::vector<FileReader::Piece>>;

// Extents that are looked up at once: 8 runs of 1 MiB of the usual size.
constexpr size_t kExtentPage = 64;

class InlineReader final : public FileReader {
 public:
  explicit InlineReader(Piece piece) : piece_(std::move(piece)) {}
  env::Task<Result<std::optional<Piece>>> next() override {
    std::optional<Piece> piece;
    if (!piece_.bytes.empty()) piece = std::exchange(piece_, {});
    co_return piece;
  }

 private:
  Piece piece_;
};

// Runs are asked for in order and kept in order; how many are under way or wait to be taken: TransferDepth.
class ExtentReader final : public FileReader {
 public:
  ExtentReader(std::shared_ptr<ItemReader> items, std::shared_ptr<ChunkReader> chunks, InodeId id, uint64_t first,
               uint64_t last)
      : items_(std::move(items)),
        chunks_(std::move(chunks)),
        id_(id),
        position_(first),
        last_(last),
        group_(chunks_->world().executor) {}
  ~ExtentReader() override { chunks_->count_ahead(-static_cast<ptrdiff_t>(under_way_.size())); }

  env::Task<Result<std::optional<Piece>>> next() override {
    for (;;) {
      if (!ready_.empty()) {
        Piece piece = std::move(ready_.front());
        ready_.pop_front();
        co_return piece;
      }
      CAIRN_CO_TRY(co_await fill());
      if (under_way_.empty()) co_return std::nullopt;
      const env::OneShot<Pieces> front = under_way_.front();
      under_way_.pop_front();
      chunks_->count_ahead(-1);
      auto pieces = co_await front;
      if (!pieces) co_return fail(std::move(pieces.error()));
      for (Piece& piece : *pieces) ready_.push_back(std::move(piece));
    }
  }

 private:
  env::Task<Status> fill() {
    while (chunks_->may_ask(under_way_.size())) {
      if (planned_.empty()) {
        if (ended_) break;
        auto page = co_await find_extents(items_, id_, position_, last_, kExtentPage);
        if (!page) co_return fail(std::move(page.error()));
        ended_ = page->size() < kExtentPage;
        if (page->empty()) break;
        for (Extent& extent : *page) clip(extent, position_, last_);
        position_ = page->back().end();
        auto runs = co_await chunks_->plan(items_, std::move(*page));
        if (!runs) co_return fail(std::move(runs.error()));
        planned_.assign(std::make_move_iterator(runs->begin()), std::make_move_iterator(runs->end()));
      }
      const env::OneShot<Pieces> outcome(chunks_->world().executor);
      under_way_.push_back(outcome);
      chunks_->count_ahead(1);
      group_.spawn(fetch(*chunks_, std::move(planned_.front()), outcome));
      planned_.pop_front();
    }
    co_return Status{};
  }
  static env::Task<void> fetch(ChunkReader& chunks, ReadRun run, env::OneShot<Pieces> outcome) {
    auto pieces = co_await chunks.read(std::move(run));
    outcome.set(std::move(pieces));
  }

  std::shared_ptr<ItemReader> items_;
  std::shared_ptr<ChunkReader> chunks_;
  InodeId id_;
  uint64_t position_, last_;  // extents before position_ are planned
  bool ended_ = false;        // nothing from position_ on
  std::deque<ReadRun> planned_;
  std::deque<env::OneShot<Pieces>> under_way_;
  std::deque<Piece> ready_;
  env::TaskGroup group_;  // last: its tasks use the others
};

}  // namespace

Result<std::vector<Extent>> decode_extents(const std::vector<Item>& items) {
  std::vector<Extent> extents;
  extents.reserve(items.size());
  for (const Item& item : items) {
    const auto key = parse_inode_key(item.key);
    if (!key || key->kind != ItemKind::extent) return fail(Code::corrupt, "extent's key");
    auto extent = decode_extent(key->offset, item.value);
    if (!extent) return fail(extent.error());
    if (!extents.empty() && extents.back().end() > extent->offset) return fail(Code::corrupt, "extents overlap");
    extents.push_back(std::move(*extent));
  }
  return extents;
}

void clip(Extent& extent, uint64_t first, uint64_t last) {
  if (extent.offset < first) {
    const auto cut = static_cast<uint32_t>(first - extent.offset);
    extent.offset += cut;
    extent.chunk_offset += cut;
    extent.length -= cut;
  }
  if (extent.end() > last) extent.length = static_cast<uint32_t>(last - extent.offset);
}

env::Task<Result<std::vector<Extent>>> find_extents(std::shared_ptr<ItemReader> items, InodeId id, uint64_t first,
                                                    uint64_t last, size_t limit) {
  // One that begins before `first` may reach into the range. None is longer than a chunk, most are not longer than
  // kExtentSize; and once one is found that begins at or before `first`, none before it matters.
  const std::string end = last == UINT64_MAX ? range_of(id, ItemKind::extent).last : extent_key(id, last);
  std::vector<Extent> found;
  uint64_t from = first >= kExtentSize ? first - kExtentSize + 1 : 0;
  std::string begin = extent_key(id, from);
  while (found.size() < limit && begin < end) {
    const size_t page = limit - found.size() + 16;
    auto part = co_await items->scan(begin, end, page);
    if (!part) co_return fail(std::move(part.error()));
    auto extents = decode_extents(*part);
    if (!extents) co_return fail(std::move(extents.error()));
    if (from > 0 && (extents->empty() || extents->front().offset > first)) {
      const uint64_t longest = first >= kMaxChunkSize ? first - kMaxChunkSize + 1 : 0;
      auto before = co_await items->scan(extent_key(id, longest), begin, SIZE_MAX);
      if (!before) co_return fail(std::move(before.error()));
      if (!before->empty()) {
        const auto key = parse_inode_key(before->back().key);
        if (!key) co_return fail(Code::corrupt, "extent's key");
        auto extent = decode_extent(key->offset, before->back().value);
        if (!extent) co_return fail(std::move(extent.error()));
        if (extent->end() > first) found.push_back(std::move(*extent));
      }
    }
    from = 0;  // what was before is looked at once
    for (Extent& extent : *extents) {
      if (extent.end() > first && found.size() < limit) found.push_back(std::move(extent));
    }
    if (part->size() < page) break;
    begin = part->back().key + '\0';
  }
  co_return found;
}

std::unique_ptr<FileReader> make_file_reader(std::shared_ptr<ItemReader> items, std::shared_ptr<ChunkReader> chunks,
                                             InodeId id, const Inode& inode, uint64_t first, uint64_t last) {
  last = std::min(last, inode.size);
  if (!inode.inline_data.empty()) {
    FileReader::Piece piece{.offset = first, .bytes = {}};
    const uint64_t end = std::min<uint64_t>(last, inode.inline_data.size());
    if (first < end) piece.bytes = Buffer::copy_of(as_bytes(inode.inline_data).subspan(first, end - first));
    return std::make_unique<InlineReader>(std::move(piece));
  }
  if (first >= last) return std::make_unique<InlineReader>(FileReader::Piece{});
  return std::make_unique<ExtentReader>(std::move(items), std::move(chunks), id, first, last);
}

}  // namespace cairn::volume
