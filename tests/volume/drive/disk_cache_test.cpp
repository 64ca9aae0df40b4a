// The disk tier of the chunk cache: its limit, what stays, restarts, crashes, rot and failures of its disk.

#include "volume/drive/cache_fixture.h"

using namespace cairn;
using namespace cairn::test;
using volume::ChunkCache;

namespace {

constexpr size_t kChunk = 32 * kKiB;
constexpr uint64_t kLimit = 8 * kMiB;  // the least; segments of 1 MiB

}  // namespace

TEST_CASE("what was fetched or added comes from the disk") {
  CacheMachine machine(1, 64, kChunk);
  ChunkCache& cache = machine.open(machine.on_disk(kLimit));
  machine.scan(cache, 0, 32);
  for (size_t i = 32; i < 64; ++i) cache.add(chunk_id(i), chunk_bytes(i, kChunk));
  machine.check(cache, 32, 64);  // out of what waits to be written
  machine.loaded();
  const uint64_t reads = machine.pool.reads;
  machine.check(cache, 0, 64);
  CHECK(machine.pool.reads == reads);
  CHECK(cache.counters().disk_hits >= 96);
  CHECK(cache.counters().misses == 32);
  CHECK(cache.counters().disk_bytes >= 64 * kChunk);
}

TEST_CASE("the cache opens at once, also while its folder is being loaded, and a restart keeps what is in it") {
  CacheMachine machine(2, 128, kChunk);
  const bool orderly = GENERATE(true, false);
  {
    ChunkCache& cache = machine.open(machine.on_disk(kLimit));
    machine.scan(cache, 0, 128);
    if (orderly) {
      REQUIRE(machine.sim.run(cache.close()));
    } else {
      machine.loaded();
    }
  }
  machine.crash(sim::CrashKind::process);
  const uint64_t reads = machine.pool.reads;
  ChunkCache& cache = machine.open(machine.on_disk(kLimit));
  machine.check(cache, 0, 1);  // not loaded yet: right all the same
  machine.loaded();
  machine.check(cache, 1, 128);
  CHECK(machine.pool.reads <= reads + 1);
  CHECK(cache.counters().disk_bytes == machine.cache_files());
}

TEST_CASE("close() waits for what is to be written") {
  CacheMachine machine(3, 64, kChunk);
  ChunkCache* cache = &machine.open(machine.on_disk(kLimit));
  for (size_t i = 0; i < 64; ++i) cache->add(chunk_id(i), chunk_bytes(i, kChunk));
  REQUIRE(machine.sim.run(cache->close()));
  cache = &machine.open(machine.on_disk(kLimit));
  machine.loaded();
  machine.check(*cache, 0, 64);
  CHECK(machine.pool.reads == 0);
}

TEST_CASE("the files never take more than the limit, and a lower limit is kept soon") {
  CacheMachine machine(4, 1024, kChunk);  // four times the limit
  ChunkCache& cache = machine.open(machine.on_disk(kLimit));
  env::Prng prng(4);
  for (size_t i = 0; i < 1024; i += 4) {
    machine.check(cache, i, i + 4);
    if (i >= 8) machine.check(cache, i - 8 + prng.below(4), i - 4);  // some are read again
    machine.sim.run_for(std::chrono::milliseconds(60));
    REQUIRE(machine.cache_files() <= kLimit);
  }
  CHECK(machine.cache_files() > kLimit / 2);

  cache.set_disk_limit(32 * kMiB);
  machine.scan(cache, 0, 700);
  CHECK(machine.cache_files() > 2 * kLimit);
  CHECK(machine.cache_files() <= 32 * kMiB);
  cache.set_disk_limit(kLimit);
  machine.sim.run_for(std::chrono::seconds(1));
  CHECK(machine.cache_files() <= kLimit);
  CHECK(cache.counters().disk_bytes == machine.cache_files());
  machine.check(cache, 0, 700);

  cache.set_disk_limit(0);
  machine.sim.run_for(std::chrono::seconds(1));
  CHECK(machine.cache_files() == 0);
  CHECK(cache.counters().disk_bytes == 0);
  machine.check(cache, 0, 100);
  CHECK(machine.cache_files() == 0);
  cache.set_disk_limit(kLimit);
  machine.scan(cache, 0, 100);
  machine.loaded();
  CHECK(machine.cache_files() >= 100 * kChunk);
}

TEST_CASE("what is read again and again survives a long scan; what was read once does not push it out") {
  CacheMachine machine(5, 1200, kChunk);
  ChunkCache* cache = &machine.open(machine.on_disk(kLimit));
  const size_t hot = 96;  // 3 of 8 MiB
  machine.scan(*cache, 0, hot);
  machine.scan(*cache, 0, hot);
  const bool restarted = GENERATE(false, true);
  if (restarted) {  // what has proved itself before is in the main queue by then
    machine.scan(*cache, hot, 500);
    REQUIRE(machine.sim.run(cache->close()));
    machine.crash(sim::CrashKind::process);
    cache = &machine.open(machine.on_disk(kLimit));
    machine.loaded();
    machine.scan(*cache, 0, hot);
  }
  machine.scan(*cache, 500, 1200);  // 22 MiB
  const uint64_t reads = machine.pool.reads;
  const uint64_t hits = cache->counters().disk_hits;
  machine.check(*cache, 0, hot);
  CHECK(cache->counters().disk_hits - hits == hot);
  CHECK(machine.pool.reads == reads);
}

TEST_CASE("what comes back soon after it went is kept from then on") {
  CacheMachine machine(6, 1200, kChunk);
  ChunkCache& cache = machine.open(machine.on_disk(kLimit));
  // The hot set is read again only after more than probation holds has been read in between.
  machine.scan(cache, 1000, 1200);
  for (size_t round = 0; round < 4; ++round) {
    machine.scan(cache, 0, 64);
    machine.scan(cache, 100 + round * 100, 200 + round * 100);
  }
  const uint64_t hits = cache.counters().disk_hits;
  machine.check(cache, 0, 64);
  CHECK(cache.counters().disk_hits - hits >= 60);
}

TEST_CASE("after a power loss every byte is right, and the cache goes on") {
  for (uint64_t seed = 100; seed < 130; ++seed) {
    CAPTURE(seed);
    CacheMachine machine(seed, 96, kChunk);
    ChunkCache* cache = &machine.open(machine.on_disk(kLimit));
    env::Prng prng(seed);
    for (int life = 0; life < 3; ++life) {
      machine.scan(*cache, prng.below(60), 96);
      machine.sim.run_for(Duration(static_cast<int64_t>(prng.below(80'000'000))));
      // What the kernel has written back by itself.
      if (prng.below(2) == 0) machine.crash(sim::CrashKind::process);
      machine.crash(sim::CrashKind::power);
      cache = &machine.open(machine.on_disk(kLimit));
      if (prng.below(2) == 0) machine.loaded();
      machine.check(*cache, 0, 96);
      machine.check(*cache, 0, 96);
      CHECK(machine.cache_files() <= kLimit);
    }
    machine.loaded();
    const uint64_t reads = machine.pool.reads;
    machine.check(*cache, 0, 96);
    CHECK(machine.pool.reads == reads);
  }
}

TEST_CASE("bits that rot in the cache's files make misses, never wrong bytes") {
  CacheMachine machine(7, 128, kChunk);
  ChunkCache& cache = machine.open(machine.on_disk(kLimit));
  machine.scan(cache, 0, 128);
  machine.loaded();
  env::Prng prng(7);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 20; ++i) REQUIRE(machine.node.disk().rot_somewhere("drive/cache/0", prng));
    const uint64_t misses = cache.counters().misses;
    machine.check(cache, 0, 128);
    CHECK(cache.counters().misses > misses);
    machine.loaded();
  }
}

TEST_CASE("an index that is broken or of another version empties the cache") {
  CacheMachine machine(8, 32, kChunk);
  ChunkCache* cache = &machine.open(machine.on_disk(kLimit));
  machine.scan(*cache, 0, 32);
  REQUIRE(machine.sim.run(cache->close()));
  machine.node.disown();
  const bool broken = GENERATE(true, false);
  if (broken) {
    REQUIRE(machine.node.disk().damage_meta_store("drive/cache/index"));
  } else {
    auto store = machine.node.disk().open(std::string("drive/cache/index"), env::MetaStoreOptions{});
    REQUIRE(store);
    env::WriteBatch batch;
    batch.put("V", "2");
    REQUIRE((*store)->write(batch, false));
  }
  cache = &machine.open(machine.on_disk(kLimit));
  machine.loaded();
  CHECK(machine.cache_files() == 0);
  machine.scan(*cache, 0, 32);
  machine.loaded();
  const uint64_t reads = machine.pool.reads;
  machine.check(*cache, 0, 32);
  CHECK(machine.pool.reads == reads);
}

TEST_CASE("a disk that is full, fails or is taken by another cache only makes misses") {
  CacheMachine machine(9, 256, kChunk);
  SECTION("full") {
    machine.node.disk().set_capacity(machine.node.disk().used() + 2 * kMiB);
    ChunkCache& cache = machine.open(machine.on_disk(kLimit));
    machine.scan(cache, 0, 256);
    machine.check(cache, 0, 256);
    machine.node.disk().set_capacity(1 * kGiB);
    machine.sim.run_for(std::chrono::minutes(1));
    machine.scan(cache, 0, 256);
    const uint64_t hits = cache.counters().disk_hits;
    machine.check(cache, 200, 256);
    CHECK(cache.counters().disk_hits - hits == 56);
    CHECK(cache.counters().disk_bytes == machine.cache_files());
  }
  SECTION("fails at times") {
    ChunkCache& cache = machine.open(machine.on_disk(kLimit));
    machine.loaded();
    machine.node.disk().set_error_chance(0.2, 0.2);
    for (int round = 0; round < 5; ++round) {
      machine.scan(cache, 0, 256, 16);
      machine.sim.run_for(std::chrono::seconds(10));
      CHECK(machine.sim.now() > Time{});
    }
    cache.set_disk_limit(0);
    machine.sim.run_for(std::chrono::minutes(1));
    machine.check(cache, 0, 256);
  }
  SECTION("fails from the beginning") {
    machine.node.disk().set_error_chance(1, 1);
    ChunkCache& cache = machine.open(machine.on_disk(kLimit));
    machine.check(cache, 0, 64);
    CHECK(machine.sim.run(cache.close()));
  }
  SECTION("taken by another") {
    volume::DiskCache other(machine.node.world(), std::string(kCacheFolder), kLimit);
    machine.loaded();
    ChunkCache& cache = machine.open(machine.on_disk(kLimit));
    machine.scan(cache, 0, 64);
    machine.check(cache, 0, 64);
    CHECK(cache.counters().disk_hits == 0);
    CHECK(machine.sim.run(cache.close()));
  }
}

TEST_CASE("a slow disk delays no read and fills no memory: what is too much is not kept") {
  CacheMachine machine(10, 1024, kChunk);
  machine.node.disk().set_speed({.per_call = std::chrono::seconds(2), .per_sync = {}, .bytes_per_second = 100'000});
  ChunkCache& cache = machine.open(machine.on_disk(64 * kMiB));
  const Time before = machine.sim.now();
  for (size_t i = 0; i < 1024; i += 8) machine.check(cache, i, i + 8);
  CHECK(machine.sim.now() - before < std::chrono::seconds(2));
  volume::DiskCache disk(machine.node.world(), "other", 64 * kMiB);
  for (size_t i = 0; i < 1024; ++i) disk.put(chunk_id(i), chunk_bytes(i, kChunk));
  CHECK(disk.counters().dropped == 1024 - volume::kCacheQueueBytes / kChunk);
}

TEST_CASE("any mixture of reads, limits, faults and crashes gives right bytes and keeps the limit") {
  for (uint64_t seed = 500; seed < 512; ++seed) {
    CAPTURE(seed);
    CacheMachine machine(seed, 512, kChunk);
    env::Prng prng(seed);
    ChunkCache* cache = &machine.open(machine.on_disk(kLimit, 512 * kKiB));
    uint64_t limit = kLimit;
    for (int step = 0; step < 150; ++step) {
      const size_t first = prng.below(3) == 0 ? prng.below(500) : prng.below(80);
      const size_t count = 1 + prng.below(12);
      machine.check(*cache, first, std::min<size_t>(512, first + count));
      switch (prng.below(12)) {
        case 0:
          limit = prng.below(4) == 0 ? 0 : kLimit + prng.below(kLimit);
          cache->set_disk_limit(limit);
          machine.sim.run_for(std::chrono::seconds(1));
          break;
        case 1:
          machine.crash(prng.below(2) == 0 ? sim::CrashKind::power : sim::CrashKind::process);
          cache = &machine.open(machine.on_disk(limit, 512 * kKiB));
          break;
        case 2:
          cache->prefetch(machine.items, {machine.extents.begin() + 100, machine.extents.end()});
          break;
        case 3:
          for (int i = 0; i < 3; ++i) machine.node.disk().rot_somewhere("drive/cache/0", prng);
          break;
        default:
          machine.sim.run_for(std::chrono::milliseconds(prng.below(100)));
      }
    }
    machine.sim.run_for(std::chrono::seconds(2));
    CHECK(machine.cache_files() <= limit);
    CHECK(machine.cache_files() == cache->counters().disk_bytes);
  }
}
