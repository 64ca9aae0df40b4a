#pragma once
// A file system over its layers, a tree and a pool in memory, in the simulated world; commits by hand.

#include <catch2/catch.hpp>

#include "volume/data_writer.h"
#include "volume/drive/file_system.h"
#include "volume/memory_pool.h"
#include "volume/memory_tree.h"
#include "volume/pack_ref.h"

namespace cairn::test {

// Nodes that take a while to come, so that operations meet.
class SlowNodes final : public volume::NodeSource {
 public:
  SlowNodes(MemoryNodes& nodes, env::World world, uint64_t seed) : nodes_(nodes), world_(world), prng_(seed) {}
  env::Task<Result<volume::NodePtr>> load(volume::NodeRef ref) override {
    if (delay.count() > 0)
      co_await env::sleep_for(world_.clock, Duration(static_cast<int64_t>(prng_.below(delay.count()))));
    auto node = co_await nodes_.load(ref);
    co_return node;
  }
  Duration delay{};

 private:
  MemoryNodes& nodes_;
  env::World world_;
  env::Prng prng_;
};

// Short segments that go as soon as they may: a reader or writer who relies on more than it was promised fails.
class StrictStaging final : public volume::Staging {
 public:
  StrictStaging(env::World world, uint64_t seed) : world_(world), prng_(seed) {}

  env::Task<Result<volume::StagedPlace>> append(Buffer bytes) override {
    co_await wait();
    if (full) co_return fail(Code::no_space, "staging area");
    if (segments_.empty() || segments_.rbegin()->second.bytes.size() > segment_size) segments_[++last_];
    Segment& segment = segments_[last_];
    const volume::StagedPlace place{last_, segment.bytes.size()};
    cairn::append(segment.bytes, bytes.view());
    ++appends;
    sweep();
    co_return place;
  }
  env::Task<Result<Buffer>> read(volume::StagedPlace place, size_t length) override {
    co_await wait();
    const auto at = segments_.find(place.segment);
    CAIRN_ASSERT(at != segments_.end());
    CAIRN_ASSERT(place.offset + length <= at->second.bytes.size());
    ++reads;
    co_return Buffer::copy_of(ByteView(at->second.bytes).subspan(place.offset, length));
  }
  std::shared_ptr<void> hold() override {
    ++*holds_;
    return {nullptr, [this, alive = holds_](void*) {
              if (--*alive == 0 && alive.use_count() > 1) sweep();
            }};
  }
  env::Task<Status> sync() override { co_return Status{}; }
  void use(uint64_t segment, int64_t bytes) override {
    const auto at = segments_.find(segment);
    CAIRN_ASSERT(at != segments_.end());
    at->second.used += bytes;
    CAIRN_ASSERT(at->second.used >= 0);
    used_ += static_cast<uint64_t>(bytes);
    sweep();
  }
  uint64_t used_bytes() const override { return used_; }
  uint64_t disk_bytes() const override {
    uint64_t sum = 0;
    for (const auto& [number, segment] : segments_) sum += segment.bytes.size();
    return sum;
  }
  size_t segments() const { return segments_.size(); }

  bool full = false;
  size_t segment_size = 300'000;
  uint64_t appends = 0, reads = 0;
  Duration delay{};

 private:
  struct Segment {
    Bytes bytes;
    int64_t used = 0;
  };
  env::Task<void> wait() {
    if (delay.count() > 0)
      co_await env::sleep_for(world_.clock, Duration(static_cast<int64_t>(prng_.below(delay.count()))));
  }
  void sweep() {
    if (*holds_ > 0) return;
    std::erase_if(segments_, [&](const auto& entry) { return entry.first != last_ && entry.second.used == 0; });
  }
  env::World world_;
  env::Prng prng_;
  std::map<uint64_t, Segment> segments_;
  uint64_t last_ = 0, used_ = 0;
  std::shared_ptr<int> holds_ = std::make_shared<int>(0);
};

struct DriveWorld {
  explicit DriveWorld(uint64_t seed = 1, volume::FileSystemOptions options = {}, volume::JournalSink* journal = nullptr)
      : sim(seed),
        node(sim.add_node()),
        packs(pool, node.world(), seed),
        slow(nodes, node.world(), seed),
        tree(slow, keys),
        numbers(node.world().random),
        pending(tree, numbers, std::make_shared<volume::Head>(), journal),
        staging(node.world(), seed),
        chunks(std::make_shared<volume::ChunkReader>(node.world(), packs, keys, false)),
        cache(volume::make_chunk_cache(node.world(), chunks, {.memory_bytes = 16 * kMiB, .folder = {}})),
        fs(std::make_unique<volume::FileSystem>(node.world(), pending, numbers, staging, *cache, options)) {
    pending.on_staged([this](uint64_t segment, int64_t bytes) { staging.use(segment, bytes); });
  }

  template <class T>
  T run(env::Task<T> task) {
    return sim.run(std::move(task));
  }

  // What a drive does to sealed edits: their staged bytes go into packs, the rest into the tree.
  env::Task<void> commit_sealed(volume::Pending::Batch batch) {
    volume::DataWriter data(node.world(), packs, keys, writer_key(1), 3);
    std::map<std::string, volume::Extent> placed;
    for (const auto& [key, value] : *batch.edits) {
      const auto parsed = value ? volume::parse_inode_key(key) : std::nullopt;
      if (!parsed || parsed->kind != volume::ItemKind::extent) continue;
      auto extent = volume::decode_extent(parsed->offset, *value);
      CAIRN_ASSERT(extent);
      const auto place = volume::staged_place(*extent);
      if (!place) continue;
      CAIRN_ASSERT(extent->offset / kExtentSize == (extent->end() - 1) / kExtentSize);
      auto bytes = co_await staging.read(*place, extent->length);
      CAIRN_ASSERT(bytes);
      extent->chunk = node.world().random.id<ChunkId>();
      extent->chunk_offset = 0;
      auto added = co_await data.add(extent->chunk, std::move(*bytes));
      CAIRN_ASSERT(added);
      placed.emplace(key, *extent);
    }
    auto flushed = co_await data.flush();
    CAIRN_ASSERT(flushed);
    volume::EditMap edits = *batch.edits;
    for (auto& [key, extent] : placed) {
      const auto place = data.find(extent.chunk);
      CAIRN_ASSERT(place);
      extent.pack = place->pack;
      extent.pack_offset = place->offset;
      extent.sealed_length = place->length;
      edits[key] = volume::encode_extent(extent);
    }
    for (const auto& pack : data.packs()) edits[volume::pack_key(pack.id)] = volume::encode_pack_ref(pack);
    std::vector<volume::EditView> list;
    for (const auto& [key, value] : edits) list.push_back(volume::edit_of(key, value));
    auto root = co_await tree.apply(batch.base->root, std::move(list), nodes);
    CAIRN_ASSERT(root);
    auto head = std::make_shared<volume::Head>(*batch.base);
    head->root = *root;
    head->files += static_cast<uint64_t>(batch.figures.files);
    head->bytes += static_cast<uint64_t>(batch.figures.bytes);
    ++head->state.sequence;
    pending.committed(head);
    sealed_figures = {};
  }
  volume::Pending::Batch seal() {
    auto batch = pending.seal();
    sealed_figures = batch.figures;
    return batch;
  }
  void unseal() {
    pending.unseal();
    sealed_figures = {};
  }
  void commit() {
    if (pending.has_active()) run(commit_sealed(seal()));
  }

  sim::SimWorld sim;
  sim::SimNode& node;
  MemoryPool pool;
  MemoryPackIo packs;
  content::VolumeKeys keys = volume_keys();
  MemoryNodes nodes{keys};
  SlowNodes slow;
  volume::Tree tree;
  volume::InodeNumbers numbers;
  volume::Pending pending;
  volume::Figures sealed_figures;
  StrictStaging staging;
  std::shared_ptr<volume::ChunkReader> chunks;
  std::unique_ptr<volume::ChunkCache> cache;
  std::unique_ptr<volume::FileSystem> fs;
};

}  // namespace cairn::test
