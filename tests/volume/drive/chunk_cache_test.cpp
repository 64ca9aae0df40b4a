// The chunk cache over a pool in memory: hits, waiting together, reading ahead, faults of the pool.

#include "volume/drive/cache_fixture.h"

using namespace cairn;
using namespace cairn::test;
using volume::ChunkCache;

namespace {

constexpr size_t kChunk = 128 * kKiB;
using Pieces = Result<std::vector<volume::FileReader::Piece>>;

// A reader that the test can end at any time.
struct Reader {
  Reader(CacheMachine& machine, ChunkCache& cache, std::vector<volume::Extent> extents)
      : group(machine.node.executor()) {
    group.spawn([](ChunkCache& from, std::shared_ptr<MapItems> items, std::vector<volume::Extent> wanted,
                   std::optional<Pieces>& out) -> env::Task<void> {
      auto pieces = co_await from.read(items, std::move(wanted));
      out.emplace(std::move(pieces));
    }(cache, machine.items, std::move(extents), result));
  }
  std::optional<Pieces> result;
  env::TaskGroup group;
};

}  // namespace

TEST_CASE("what was read once comes from memory, and the chunks of a lane come with one request") {
  CacheMachine machine(1, 8, kChunk);
  ChunkCache& cache = machine.open({.memory_bytes = 8 * kMiB});
  machine.check(cache, 0, 7);
  CHECK(machine.pool.reads <= 2);
  const uint64_t before = machine.pool.reads;
  machine.check(cache, 0, 7);
  CHECK(machine.pool.reads == before);
  CHECK(cache.counters().memory_hits == 7);
  CHECK(cache.counters().misses == 7);
  CHECK(cache.counters().fetched_bytes == 7 * kChunk);
}

TEST_CASE("parts of extents come in the order asked for, out of one fetch of their chunk") {
  CacheMachine machine(2, 4, kChunk);
  ChunkCache& cache = machine.open({.memory_bytes = 8 * kMiB});
  std::vector<volume::Extent> parts;
  for (const uint32_t at : {70'000U, 10U, 30'000U}) {
    for (const size_t chunk : {2U, 0U}) {
      volume::Extent part = machine.extents[chunk];
      part.offset += at;
      part.chunk_offset = at;
      part.length = 1000;
      parts.push_back(part);
    }
  }
  auto pieces = machine.sim.run(cache.read(machine.items, parts));
  REQUIRE(pieces);
  REQUIRE(pieces->size() == parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    CHECK((*pieces)[i].offset == parts[i].offset);
    const Buffer whole = chunk_bytes(i % 2 == 0 ? 2 : 0, kChunk);
    CHECK(equal((*pieces)[i].bytes, whole.slice(parts[i].chunk_offset, 1000)));
  }
  CHECK(cache.counters().misses == 2);

  volume::Extent beyond = machine.extents[0];
  beyond.chunk_offset = 1;
  auto refused = machine.sim.run(cache.read(machine.items, {beyond}));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::corrupt);
}

TEST_CASE("however many ask for a chunk at once, it is fetched once") {
  CacheMachine machine(3, 8, kChunk);
  ChunkCache& cache = machine.open({.memory_bytes = 0});  // nothing stays: only waiting together saves requests
  std::vector<std::unique_ptr<Reader>> readers;
  for (int i = 0; i < 20; ++i)
    readers.push_back(std::make_unique<Reader>(machine, cache, std::vector{machine.extents[0], machine.extents[1]}));
  machine.sim.run_for(std::chrono::seconds(1));
  for (const auto& reader : readers) {
    REQUIRE(reader->result);
    REQUIRE(*reader->result);
    CHECK(equal((**reader->result)[1].bytes, chunk_bytes(1, kChunk)));
  }
  CHECK(machine.pool.reads == 1);
  CHECK(cache.counters().misses == 2);
}

TEST_CASE("readers that end while they wait harm nobody, and neither does the cache's end") {
  CacheMachine machine(4, 64, kChunk);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    ChunkCache& cache = machine.open(machine.on_disk(16 * kMiB, 1 * kMiB));
    env::Prng prng(seed);
    std::vector<std::unique_ptr<Reader>> readers;
    for (int i = 0; i < 30; ++i) {
      const size_t first = prng.below(60);
      readers.push_back(
          std::make_unique<Reader>(machine, cache,
                                   std::vector(machine.extents.begin() + static_cast<ptrdiff_t>(first),
                                               machine.extents.begin() + static_cast<ptrdiff_t>(first + 4))));
      if (prng.below(3) == 0) cache.prefetch(machine.items, machine.extents);
      machine.sim.run_for(std::chrono::microseconds(prng.below(4000)));
      if (prng.below(2) == 0) readers.erase(readers.begin() + static_cast<ptrdiff_t>(prng.below(readers.size())));
    }
    if (seed % 2 == 0) {
      readers.clear();  // the cache's own tasks are still under way
      machine.node.disown();
      continue;
    }
    machine.sim.run_for(std::chrono::seconds(1));
    for (const auto& reader : readers) {
      REQUIRE(reader->result);
      REQUIRE(*reader->result);
    }
    machine.check(cache, 0, 64);
  }
}

TEST_CASE("what was read ahead is there when it is asked for, and takes a bounded part of the memory") {
  CacheMachine machine(5, 128, kChunk);
  ChunkCache& cache = machine.open({.memory_bytes = 8 * kMiB});
  cache.prefetch(machine.items, machine.extents);
  machine.sim.run_for(std::chrono::milliseconds(200));
  const uint64_t ahead = cache.counters().fetched_bytes;
  CHECK(ahead >= 1 * kMiB);
  CHECK(ahead <= 2 * kMiB + kChunk);
  const uint64_t requests = machine.pool.reads;
  machine.check(cache, 0, ahead / kChunk);
  CHECK(machine.pool.reads == requests);

  // What has been read makes room for more of it.
  cache.prefetch(machine.items, {machine.extents.begin() + 40, machine.extents.end()});
  machine.sim.run_for(std::chrono::milliseconds(200));
  CHECK(cache.counters().fetched_bytes > ahead);

  // Nobody reads these; after a while others may be read ahead all the same.
  const uint64_t unread = cache.counters().fetched_bytes;
  cache.prefetch(machine.items, {machine.extents.begin() + 100, machine.extents.end()});
  machine.sim.run_for(std::chrono::seconds(20));
  CHECK(cache.counters().fetched_bytes == unread);
  cache.prefetch(machine.items, {machine.extents.begin() + 100, machine.extents.end()});
  machine.sim.run_for(std::chrono::milliseconds(200));
  CHECK(cache.counters().fetched_bytes > unread);
}

TEST_CASE("who waits goes before what is read ahead, and takes over what is already asked for") {
  CacheMachine machine(6, 512, kChunk);
  machine.packs.delay = std::chrono::seconds(2);
  ChunkCache& cache = machine.open({.memory_bytes = 128 * kMiB});
  cache.prefetch(machine.items, machine.extents);  // 32 MiB: four times what is under way at once
  machine.sim.run_for(std::chrono::milliseconds(1));
  const uint64_t requests = machine.pool.reads;
  Reader far(machine, cache, {machine.extents[500]});   // not asked for
  Reader last(machine, cache, {machine.extents[240]});  // waits far behind in what is read ahead
  machine.sim.run_for(std::chrono::seconds(3));         // one request takes at most two
  CHECK(far.result);
  CHECK(last.result);
  CHECK(machine.pool.reads >= requests);
  const uint64_t all = cache.counters().misses;
  CHECK(all < 256);
}

TEST_CASE("what nobody wants any more is not read ahead") {
  CacheMachine machine(7, 512, kChunk);
  ChunkCache& cache = machine.open({.memory_bytes = 128 * kMiB});
  machine.packs.delay = std::chrono::seconds(30);  // at most
  cache.prefetch(machine.items, machine.extents);
  machine.sim.run_for(volume::kAheadStale + std::chrono::milliseconds(1));
  const uint64_t wanted = cache.counters().misses;  // what had come while it was
  machine.sim.run_for(std::chrono::minutes(5));
  // Beside it only what was under way.
  CHECK(cache.counters().misses <= wanted + volume::kRunsAhead * (volume::kReadRun / kExtentSize));
  machine.packs.delay = Duration{};
  machine.check(cache, 100, 200);
}

TEST_CASE("an error reaches all who wait, and the next one asks again") {
  CacheMachine machine(8, 4, kChunk);
  ChunkCache& cache = machine.open({.memory_bytes = 8 * kMiB});
  const auto packs = std::exchange(machine.pool.packs, {});
  Reader one(machine, cache, machine.extents), two(machine, cache, machine.extents);
  machine.sim.run_for(std::chrono::seconds(1));
  for (const Reader* reader : {&one, &two}) {
    REQUIRE(reader->result);
    REQUIRE_FALSE(*reader->result);
    CHECK(reader->result->error().code == Code::too_few_peers);
  }
  machine.pool.packs = packs;
  machine.check(cache, 0, 4);
}

TEST_CASE("one chunk that is damaged in the pool does not harm its neighbours") {
  CacheMachine machine(9, 8, kChunk);
  ChunkCache& cache = machine.open({.memory_bytes = 8 * kMiB});
  const volume::Extent& bad = machine.extents[3];
  machine.pool.packs.at(bad.pack).bytes[bad.pack_offset + 1000] ^= 1;
  Reader good(machine, cache, {machine.extents[2], machine.extents[4]});
  Reader all(machine, cache, machine.extents);
  machine.sim.run_for(std::chrono::seconds(1));
  REQUIRE(good.result);
  CHECK(*good.result);
  REQUIRE(all.result);
  REQUIRE_FALSE(*all.result);
  CHECK(all.result->error().code == Code::damaged);
  machine.check(cache, 0, 3);
  machine.check(cache, 4, 8);

  volume::Extent lost = machine.extents[0];
  lost.pack.bytes[0] ^= 1;  // no record of its pack
  lost.chunk = chunk_id(999);
  Reader beside(machine, cache, {machine.extents[5]});
  auto refused = machine.sim.run(cache.read(machine.items, {lost, machine.extents[6]}));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::damaged);
  machine.sim.run_for(std::chrono::seconds(1));
  CHECK(beside.result->has_value());
}

TEST_CASE("a holder's wrong bytes are asked for elsewhere and never kept") {
  CacheMachine machine(10, 8, kChunk);
  ChunkCache& cache = machine.open(machine.on_disk(16 * kMiB));
  machine.packs.rotten_reads = 1;
  machine.check(cache, 0, 8);
  machine.loaded();
  machine.check(cache, 0, 8);
  CHECK(cache.counters().disk_hits == 8);
}
