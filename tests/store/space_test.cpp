// The limit, the space to keep free, full disks, and disks that cannot punch holes.

#include "fixture.h"
#include "wrapped_disk.h"

namespace cairn::store {
namespace {

TEST_CASE("parallel puts never pass the limit") {
  for (const uint64_t limit : {16 * kMiB, 40 * kMiB}) {
    Fixture f(2, limit);
    REQUIRE(f.open());
    env::Prng prng(41);
    std::vector<TestShard> shards;
    for (int i = 0; i < 60; ++i) shards.push_back(make_shard(prng, static_cast<uint32_t>(1 + prng.below(1'500'000))));
    std::vector<Status> results(shards.size());
    env::TaskGroup group(f.sim.executor());
    for (size_t i = 0; i < shards.size(); ++i) {
      group.spawn([](ShardStore& store, TestShard shard, Status& result) -> env::Task<void> {
        result = co_await put(store, std::move(shard));
      }(*f.store, shards[i], results[i]));
    }
    uint64_t most = 0;
    REQUIRE(f.sim.run_until([&] {
      most = std::max(most, kFixedBytes + index_allowance(limit, f.store->figures().shards) + reserve_bytes(limit) +
                                f.segment_bytes());
      return group.empty();
    }));
    CHECK(most <= limit);
    size_t refused = 0;
    uint64_t stored = 0;
    for (size_t i = 0; i < shards.size(); ++i) {
      CHECK(f.holds(shards[i]) == results[i].has_value());
      if (results[i]) {
        stored += shards[i].bytes.size();
      } else {
        ++refused;
        CHECK(results[i].error().code == Code::no_space);
      }
    }
    CHECK(refused > 0);
    CHECK(stored > limit * 6 / 10);
    CHECK(f.store->figures().used <= limit);
    CHECK(f.store->figures().used == f.used_on_disk());
    // A shard that is there already is welcome however full the store is.
    for (size_t i = 0; i < shards.size(); ++i) {
      if (results[i]) REQUIRE(f.put(shards[i]));
    }
  }
}

TEST_CASE("a full store of tiny shards stays within its limit") {
  Fixture f(3, 16 * kMiB);
  REQUIRE(f.open());
  env::Prng prng(42);
  std::vector<TestShard> shards;
  for (int i = 0; i < 5'000; ++i) shards.push_back(make_shard(prng, 10));
  auto status = f.put_all(shards);
  REQUIRE_FALSE(status);
  CHECK(status.error().code == Code::no_space);
  CHECK(f.store->figures().shards > 3'000);
  CHECK(f.store->figures().used <= f.options.limit);
  CHECK(f.store->figures().used == f.used_on_disk());
}

TEST_CASE("a full store takes as much again as was removed") {
  Fixture f(4, 32 * kMiB);
  REQUIRE(f.open());
  env::Prng prng(43);
  std::vector<TestShard> held;
  while (true) {
    TestShard shard = make_shard(prng, 900'000);
    if (!f.put(shard)) break;
    held.push_back(shard);
  }
  const size_t full = held.size();
  REQUIRE(full > 20);
  for (int round = 0; round < 60; ++round) {
    const size_t victim = prng.below(held.size());
    REQUIRE(f.remove(held[victim]));
    held[victim] = make_shard(prng, 900'000);
    REQUIRE(f.put(held[victim]));  // waits for the hole when it must
    CHECK(f.store->figures().used <= f.options.limit);
  }
  for (const TestShard& shard : held) CHECK(f.holds(shard));
  f.rest();
  CHECK(f.store->figures().used == f.used_on_disk());
}

TEST_CASE("free tells what would really be accepted") {
  Fixture f(5, 32 * kMiB);
  REQUIRE(f.open());
  env::Prng prng(44);
  while (f.store->figures().free >= 500'000) REQUIRE(f.put(make_shard(prng, 500'000)));
  CHECK_FALSE(f.put(make_shard(prng, 700'000)));
}

TEST_CASE("the space to keep free is left alone, as a number and as a share") {
  for (const bool share : {false, true}) {
    Fixture f(6, kGiB);
    f.node.disk().set_capacity(100 * kMiB);
    if (share) f.options.keep_free_share = 0.6;
    if (!share) f.options.keep_free = 60 * kMiB;
    REQUIRE(f.open());
    env::Prng prng(45);
    Status status;
    while (status) {
      status = f.put(make_shard(prng, 2'000'000));
      CHECK(100 * kMiB - f.node.disk().used() >= 60 * kMiB);
    }
    CHECK(status.error().code == Code::no_space);
    CHECK(f.store->figures().shards >= 15);
    CHECK(f.store->figures().free < 3'000'000);
    // The host takes space for itself: nothing more is accepted, what is held stays.
    f.node.disk().set_capacity(90 * kMiB);
    CHECK_FALSE(f.put(make_shard(prng, 10)));
    f.node.disk().set_capacity(200 * kMiB);
    CHECK(f.put(make_shard(prng, 10)));
  }
}

TEST_CASE("a disk that fills up in the middle of a write loses nothing and the store works on") {
  env::Prng prng(46);
  for (uint64_t capacity = 2 * kMiB; capacity < 8 * kMiB; capacity += 337 * kKiB) {
    CAPTURE(capacity);
    Fixture f(7, 64 * kMiB);
    REQUIRE(f.open());
    WrappedDisk wrapped(f.node.disk());
    wrapped.lie_about_space = true;  // the host took it since we looked
    f.stop();
    REQUIRE(f.open_in(with_disk(f.node.world(), wrapped), false));
    f.node.disk().set_capacity(capacity);
    std::vector<TestShard> held;
    std::vector<TestShard> refused;
    for (int i = 0; i < 24; ++i) {
      TestShard shard = make_shard(prng, static_cast<uint32_t>(1 + prng.below(900'000)));
      auto status = f.put(shard);
      if (!status) CHECK(status.error().code == Code::no_space);
      (status ? held : refused).push_back(shard);
    }
    REQUIRE_FALSE(refused.empty());
    for (const TestShard& shard : held) CHECK(f.holds(shard));
    f.node.disk().set_capacity(kGiB);
    f.sim.run_for(std::chrono::seconds(2));
    REQUIRE(f.put_all(refused));
    for (const TestShard& shard : held) CHECK(f.holds(shard));
    for (const TestShard& shard : refused) CHECK(f.holds(shard));
    f.rest();
    CHECK(f.store->figures().used == f.used_on_disk());
    f.store.reset();
    f.kill();
    REQUIRE(f.open(false));
    for (const TestShard& shard : held) CHECK(f.holds(shard));
    for (const TestShard& shard : refused) CHECK(f.holds(shard));
    f.rest();
    CHECK(f.store->figures().used == f.used_on_disk());
  }
}

TEST_CASE("where holes cannot be punched, segments are copied together") {
  Fixture f(8, 64 * kMiB);
  WrappedDisk wrapped(f.node.disk());
  wrapped.can_punch = false;
  REQUIRE(f.open_in(with_disk(f.node.world(), wrapped)));
  env::Prng prng(47);
  std::vector<TestShard> held;
  for (int i = 0; i < 30; ++i) held.push_back(make_shard(prng, 700'000));
  REQUIRE(f.put_all(held));
  REQUIRE(f.sim.run(f.store->settle()));
  for (int round = 0; round < 150; ++round) {
    const size_t victim = prng.below(held.size());
    REQUIRE(f.remove(held[victim]));
    CHECK(f.lacks(held[victim]));
    held[victim] = make_shard(prng, static_cast<uint32_t>(1 + prng.below(1'400'000)));
    REQUIRE(f.put(held[victim]));
    CHECK(f.segment_bytes() <= f.options.limit);
  }
  for (const TestShard& shard : held) CHECK(f.holds(shard));
  REQUIRE(f.sim.run(f.store->settle()));
  f.rest();
  CHECK(f.store->figures().used == f.used_on_disk());
  CHECK(f.store->figures().shards == held.size());
  // A lost index does not bring removed shards back.
  const TestShard gone = held.back();
  REQUIRE(f.remove(gone));
  f.rest();
  f.stop();
  REQUIRE(f.node.disk().damage_meta_store("data/store/index"));
  REQUIRE(f.open_in(with_disk(f.node.world(), wrapped), false));
  held.pop_back();
  CHECK(f.lacks(gone));
  for (const TestShard& shard : held) CHECK(f.holds(shard));
  f.stop();
}

TEST_CASE("a compaction that is killed loses nothing") {
  env::Prng made(48);
  std::vector<TestShard> shards;
  for (int i = 0; i < 16; ++i) shards.push_back(make_shard(made, 900'000));
  for (uint64_t after = 1; after < 60; after += 2) {
    CAPTURE(after);
    Fixture f(after);
    WrappedDisk wrapped(f.node.disk());
    wrapped.can_punch = false;
    REQUIRE(f.open_in(with_disk(f.node.world(), wrapped)));
    REQUIRE(f.put_all(shards));
    REQUIRE(f.sim.run(f.store->settle()));
    std::set<size_t> removed;
    std::set<size_t> open;
    f.node.disk().crash_after(after);
    for (size_t i = 0; i < shards.size(); i += 2) {
      (f.remove(shards[i]) ? removed : open).insert(i);
    }
    f.rest();
    f.kill(after % 4 == 1 ? sim::CrashKind::process : sim::CrashKind::power);
    REQUIRE(f.open_in(with_disk(f.node.world(), wrapped), false));
    for (size_t i = 0; i < shards.size(); ++i) {
      if (removed.contains(i)) CHECK(f.lacks(shards[i]));
      if (!removed.contains(i) && !open.contains(i)) CHECK(f.holds(shards[i]));
    }
    f.rest();
    for (size_t i = 0; i < shards.size(); ++i) {
      if (!removed.contains(i) && !open.contains(i)) CHECK(f.holds(shards[i]));
    }
    CHECK(f.store->figures().used == f.used_on_disk());
    f.stop();
  }
}

TEST_CASE("read and write errors of the disk are told, and the store comes back") {
  env::Prng prng(49);
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    Fixture f(seed);
    REQUIRE(f.open());
    std::vector<TestShard> held;
    std::vector<TestShard> refused;
    f.node.disk().set_error_chance(0.02, 0.05);
    for (int i = 0; i < 40; ++i) {
      TestShard shard = make_shard(prng, static_cast<uint32_t>(1 + prng.below(60'000)));
      (f.put(shard) ? held : refused).push_back(shard);
      if (i % 10 == 9) f.sim.run_for(std::chrono::seconds(2));
    }
    f.node.disk().set_error_chance(0, 0);
    f.sim.run_for(std::chrono::seconds(3));
    for (const TestShard& shard : held) CHECK(f.holds(shard));
    REQUIRE(f.put_all(refused));
    for (const TestShard& shard : refused) CHECK(f.holds(shard));
    REQUIRE(f.sim.run(f.store->settle()));
    CHECK(f.store->figures().corrupt == 0);
    REQUIRE(f.remove(held[0]));
    f.rest();
    CHECK(f.store->figures().used == f.used_on_disk());
  }
}

}  // namespace
}  // namespace cairn::store
