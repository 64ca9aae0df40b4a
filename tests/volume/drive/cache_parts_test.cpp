// The parts of the chunk cache that wait for nothing: the index, the memory tier.

#include <catch2/catch.hpp>
#include <map>

#include "env/random.h"
#include "volume/drive/disk_cache_index.h"
#include "volume/drive/memory_tier.h"

using namespace cairn;
using namespace cairn::volume;

namespace {

ChunkId id_of(uint64_t number) {
  ChunkId id;
  env::Prng(number).fill(id.bytes);
  return id;
}

}  // namespace

TEST_CASE("the index agrees with a map through any insertions and removals") {
  env::Prng prng(7);
  DiskIndex index;
  std::map<DiskIndex::Print, uint32_t> model;
  // Few values, many of which share their home: long runs of neighbours, and gaps that close.
  for (int step = 0; step < 60'000; ++step) {
    const DiskIndex::Print print = 1 + prng.below(40) + (prng.below(60) << 20);
    if (prng.below(3) < 2) {
      const auto place = static_cast<uint32_t>(prng.below(1 << 20));
      index.put({.print = print, .segment = 3, .place = place, .units = 5, .uses = 1});
      model[print] = place;
    } else {
      index.erase(print);
      model.erase(print);
    }
    if (step % 500 != 0) continue;
    REQUIRE(index.size() == model.size());
    for (uint64_t low = 1; low <= 40; ++low) {
      for (uint64_t high = 0; high < 60; ++high) {
        const auto* entry = index.find(low + (high << 20));
        const auto known = model.find(low + (high << 20));
        REQUIRE((entry != nullptr) == (known != model.end()));
        if (entry != nullptr) REQUIRE(entry->place == known->second);
      }
    }
  }
}

TEST_CASE("10 GiB of chunks of 128 KiB take less than 10 MB of index") {
  DiskIndex index;
  const size_t count = 10 * kGiB / (128 * kKiB);
  std::vector<std::vector<DiskIndex::Print>> lists(10 * kGiB / kMaxCacheSegment + 1);
  for (size_t i = 0; i < 2 * count; ++i) {  // as many ghosts as chunks
    const auto print = DiskIndex::print_of(id_of(i));
    index.put({.print = print, .segment = i % 2 == 0 ? DiskIndex::kGhost : uint64_t{1}, .units = 2049});
    if (i % 2 == 1) lists[i / 1024].push_back(print);
  }
  size_t memory = index.memory() + count * sizeof(DiskIndex::Print);  // and the queue of ghosts
  for (const auto& list : lists) memory += list.capacity() * sizeof(DiskIndex::Print);
  CHECK(index.size() == 2 * count);
  CHECK(memory < 10'000'000);
}

TEST_CASE("the memory tier keeps its limit and shares the bytes it is given") {
  MemoryTier memory(1 * kMiB);
  Buffer one(64 * kKiB);
  one.span()[5] = 77;
  memory.put(id_of(0), one);
  const auto hit = memory.read(id_of(0), 0, 10);
  REQUIRE(hit);
  CHECK(hit->plain.data() == one.data());
  for (uint64_t i = 1; i < 100; ++i) {
    memory.put(id_of(i), Buffer(64 * kKiB));
    CHECK(memory.bytes() <= 1 * kMiB);
  }
  CHECK(memory.bytes() > 900 * kKiB);
  CHECK_FALSE(memory.has(id_of(50)));
  CHECK(memory.has(id_of(99)));
}

TEST_CASE(
    "chunks that are read again and again survive a scan in memory; small steps through a chunk are one reading") {
  MemoryTier memory(2 * kMiB);
  const auto read_through = [&](uint64_t number) {
    if (!memory.has(id_of(number))) memory.put(id_of(number), Buffer(64 * kKiB));
    for (uint32_t at = 0; at < 64 * kKiB; at += 4096) memory.read(id_of(number), at, 4096);
  };
  for (int round = 0; round < 2; ++round) {
    for (uint64_t hot = 0; hot < 10; ++hot) read_through(hot);
  }
  for (uint64_t i = 100; i < 300; ++i) read_through(i);
  for (uint64_t hot = 0; hot < 10; ++hot) CHECK(memory.has(id_of(hot)));
  size_t scanned = 0;
  for (uint64_t i = 100; i < 300; ++i) scanned += memory.has(id_of(i)) ? 1 : 0;
  CHECK(scanned <= 22);
}

TEST_CASE("what was put ahead counts until it is read, pushed out or forgotten") {
  MemoryTier memory(1 * kMiB);
  const Time start{};
  memory.put(id_of(1), Buffer(64 * kKiB), start);
  memory.put(id_of(2), Buffer(64 * kKiB), start + std::chrono::seconds(8));
  const size_t both = memory.ahead_bytes();
  CHECK(both >= 128 * kKiB);
  memory.forget_ahead(start + std::chrono::seconds(3));
  CHECK(memory.ahead_bytes() == both / 2);
  memory.read(id_of(2), 0, 1);
  CHECK(memory.ahead_bytes() == 0);
  memory.put(id_of(3), Buffer(64 * kKiB), start);
  for (uint64_t i = 10; i < 40; ++i) memory.put(id_of(i), Buffer(64 * kKiB));
  CHECK(memory.ahead_bytes() == 0);
}
