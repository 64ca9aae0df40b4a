#pragma once
// A pool in memory with chunks of known bytes, and one machine that reads them through a chunk cache.

#include <catch2/catch.hpp>

#include "volume/data_writer.h"
#include "volume/drive/chunk_cache.h"
#include "volume/drive/disk_cache.h"
#include "volume/keys.h"
#include "volume/memory_pool.h"
#include "volume/pack_ref.h"

namespace cairn::test {

inline constexpr std::string_view kCacheFolder = "drive/cache";

// Records of packs, as a tree has them.
class MapItems final : public volume::ItemReader {
 public:
  env::Task<Result<std::optional<std::string>>> get(std::string key) override {
    const auto found = items.find(key);
    co_return found == items.end() ? std::nullopt : std::optional(found->second);
  }
  env::Task<Result<std::vector<volume::Item>>> scan(std::string, std::string, size_t) override {
    co_return fail(Code::unsupported);
  }
  std::map<std::string, std::string> items;
};

inline ChunkId chunk_id(uint64_t number) {
  ChunkId id;
  env::Prng(number + 1000).fill(id.bytes);
  return id;
}
// Bytes that zstd does not make smaller.
inline Buffer chunk_bytes(uint64_t number, size_t size) {
  Buffer bytes(size);
  env::Prng(number + 1).fill(bytes.span());
  return bytes;
}

class CacheMachine {
 public:
  // `chunks` of `size` bytes each lie in the pool, in order.
  CacheMachine(uint64_t seed, size_t chunks, size_t size)
      : sim(seed), node(sim.add_node()), packs(pool, node.world(), seed), items(std::make_shared<MapItems>()) {
    packs.delay = Duration{};
    volume::DataWriter writer(node.world(), packs, volume_keys(), writer_key(1), 1);
    for (size_t i = 0; i < chunks; ++i) REQUIRE(sim.run(writer.add(chunk_id(i), chunk_bytes(i, size))));
    REQUIRE(sim.run(writer.flush()));
    for (const pool::PackRef& pack : writer.packs())
      items->items[volume::pack_key(pack.id)] = volume::encode_pack_ref(pack);
    for (size_t i = 0; i < chunks; ++i) {
      const auto place = writer.find(chunk_id(i));
      REQUIRE(place);
      extents.push_back({.offset = i * size,
                         .length = static_cast<uint32_t>(size),
                         .chunk = chunk_id(i),
                         .pack = place->pack,
                         .pack_offset = place->offset,
                         .sealed_length = place->length});
    }
    packs.delay = std::chrono::milliseconds(5);
  }

  // The machine's cache; an earlier one is ended where it stands.
  volume::ChunkCache& open(volume::ChunkCacheOptions options) {
    node.disown();
    return *node.own(std::make_shared<Owned>(node.world(), packs, options)).cache;
  }
  volume::ChunkCacheOptions on_disk(uint64_t limit, size_t memory = 0) const {
    return {.memory_bytes = memory, .folder = std::string(kCacheFolder), .disk_bytes = limit};
  }
  // Stops the machine and starts it again.
  void crash(sim::CrashKind kind) {
    node.crash(kind);
    node.restart();
  }

  // Reads chunks [first, last) through the cache and compares every byte.
  void check(volume::ChunkCache& cache, size_t first, size_t last) {
    auto pieces = sim.run(cache.read(
        items, {extents.begin() + static_cast<ptrdiff_t>(first), extents.begin() + static_cast<ptrdiff_t>(last)}));
    INFO((pieces ? "" : to_string(pieces.error())));
    REQUIRE(pieces);
    REQUIRE(pieces->size() == last - first);
    for (size_t i = first; i < last; ++i) {
      const auto& piece = (*pieces)[i - first];
      REQUIRE(piece.offset == extents[i].offset);
      REQUIRE(equal(piece.bytes, chunk_bytes(i, extents[i].length)));
    }
  }
  void scan(volume::ChunkCache& cache, size_t first, size_t last, size_t step = 8) {
    for (size_t i = first; i < last; i += step) {
      check(cache, i, std::min(last, i + step));
      sim.run_for(std::chrono::milliseconds(100));  // what is written behind keeps up
    }
  }
  void loaded() { sim.run_for(std::chrono::seconds(1)); }
  uint64_t cache_files() const {  // bytes of segments
    uint64_t bytes = 0;
    for (const std::string& path : node.disk().files()) {
      if (path.find(kCacheFolder) == std::string::npos || !path.ends_with(".seg")) continue;
      auto file = node.disk().open(path, env::OpenMode::read);
      bytes += (*file)->size().value();
    }
    return bytes;
  }

  sim::SimWorld sim;
  MemoryPool pool;
  sim::SimNode& node;
  MemoryPackIo packs;
  std::shared_ptr<MapItems> items;
  std::vector<volume::Extent> extents;

 private:
  struct Owned {
    Owned(env::World world, volume::PackIo& io, const volume::ChunkCacheOptions& options)
        : chunks(std::make_shared<volume::ChunkReader>(world, io, volume_keys(), false)),
          cache(volume::make_chunk_cache(world, chunks, options)) {}
    std::shared_ptr<volume::ChunkReader> chunks;
    std::unique_ptr<volume::ChunkCache> cache;
  };
};

}  // namespace cairn::test
