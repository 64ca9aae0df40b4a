// A ChunkCache in memory only.

#include <list>

#include "volume/drive/chunk_cache.h"

namespace cairn::volume {

namespace {

// A part of a chunk's plaintext.
struct Part {
  ChunkId chunk;
  uint32_t offset = 0;
  Buffer plain;
  bool has(const Extent& extent) const {
    return offset <= extent.chunk_offset && extent.chunk_offset - offset + extent.length <= plain.size();
  }
};

class MemoryChunkCache final : public ChunkCache {
 public:
  MemoryChunkCache(env::World world, std::shared_ptr<ChunkReader> chunks, size_t max_bytes)
      : chunks_(std::move(chunks)), max_bytes_(max_bytes), fetched_(world.executor), group_(world.executor) {}

  env::Task<Result<std::vector<FileReader::Piece>>> read(std::shared_ptr<ItemReader> items,
                                                         std::vector<Extent> extents) override {
    std::vector<FileReader::Piece> pieces;
    for (const Extent& extent : extents) {
      auto bytes = co_await get(items, extent);
      if (!bytes) co_return fail(std::move(bytes.error()));
      pieces.push_back({extent.offset, std::move(*bytes)});
    }
    co_return pieces;
  }
  void prefetch(std::shared_ptr<ItemReader> items, std::vector<Extent> extents) override {
    for (Extent& extent : extents) {
      if (find(extent) == parts_.end()) group_.spawn(fetch_ahead(*this, items, std::move(extent)));
    }
  }
  void add(const ChunkId& chunk, Buffer plain) override { keep({chunk, 0, std::move(plain)}); }
  Counters counters() const override { return counters_; }

 private:
  using Parts = std::list<Part>;

  Parts::iterator find(const Extent& extent) {
    const auto [first, last] = index_.equal_range(extent.chunk);
    for (auto at = first; at != last; ++at) {
      if (at->second->has(extent)) return at->second;
    }
    return parts_.end();
  }
  void keep(Part part) {
    bytes_ += part.plain.size();
    parts_.push_front(std::move(part));
    index_.emplace(parts_.front().chunk, parts_.begin());
    while (bytes_ > max_bytes_ && parts_.size() > 1) {
      const auto oldest = std::prev(parts_.end());
      auto at = index_.lower_bound(oldest->chunk);
      while (at->second != oldest) ++at;
      index_.erase(at);
      bytes_ -= oldest->plain.size();
      parts_.erase(oldest);
    }
  }
  env::Task<Result<Buffer>> get(std::shared_ptr<ItemReader> items, Extent extent) {
    for (;;) {
      if (const auto at = find(extent); at != parts_.end()) {
        ++counters_.memory_hits;
        parts_.splice(parts_.begin(), parts_, at);
        co_return at->plain.slice(extent.chunk_offset - at->offset, extent.length);
      }
      if (!under_way_.contains(extent.chunk)) break;
      co_await fetched_.wait();
    }
    struct Mark {
      MemoryChunkCache& owner;
      ChunkId chunk;
      ~Mark() {
        owner.under_way_.erase(chunk);
        owner.fetched_.notify_all();
      }
    } mark{*this, extent.chunk};
    under_way_.insert(extent.chunk);
    ++counters_.misses;
    auto runs = co_await chunks_->plan(items, {extent});
    if (!runs) co_return fail(std::move(runs.error()));
    auto pieces = co_await chunks_->read(std::move(runs->front()));
    if (!pieces) co_return fail(std::move(pieces.error()));
    counters_.fetched_bytes += extent.length;
    Buffer plain = pieces->front().bytes;
    keep({extent.chunk, extent.chunk_offset, plain});
    co_return plain;
  }
  static env::Task<void> fetch_ahead(MemoryChunkCache& self, std::shared_ptr<ItemReader> items, Extent extent) {
    (void)co_await self.get(std::move(items), std::move(extent));
  }

  std::shared_ptr<ChunkReader> chunks_;
  size_t max_bytes_;
  size_t bytes_ = 0;
  Parts parts_;  // the last used first
  std::multimap<ChunkId, Parts::iterator> index_;
  std::set<ChunkId> under_way_;
  env::Signal fetched_;
  Counters counters_;

  env::TaskGroup group_;  // last: its tasks use the others
};

}  // namespace

std::unique_ptr<ChunkCache> make_memory_chunk_cache(env::World world, std::shared_ptr<ChunkReader> chunks,
                                                    size_t max_bytes) {
  return std::make_unique<MemoryChunkCache>(world, std::move(chunks), max_bytes);
}

}  // namespace cairn::volume
