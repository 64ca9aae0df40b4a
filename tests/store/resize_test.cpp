// Limits that change while a store is open, stores that take nothing, and stores that are given back.
#include "fixture.h"

namespace cairn::store {
namespace {

std::vector<TestShard> some_shards(uint64_t seed, size_t count, uint32_t size) {
  env::Prng prng(seed);
  std::vector<TestShard> shards;
  for (size_t i = 0; i < count; ++i) shards.push_back(make_shard(prng, size));
  return shards;
}

TEST_CASE("a lower limit counts at once, drops nothing, and is kept to once there is room again") {
  Fixture f(21, 64 * kMiB);
  REQUIRE(f.open());
  const auto shards = some_shards(71, 40, 900'000);
  REQUIRE(f.put_all(shards));
  const auto more = some_shards(72, 3, 900'000);
  REQUIRE(f.store->set_limits(32 * kMiB, 0, 0));
  REQUIRE(f.store->figures().limit == 32 * kMiB);
  REQUIRE(f.store->figures().used > 32 * kMiB);
  REQUIRE(f.store->figures().free == 0);
  auto refused = f.put(more[0]);
  REQUIRE_FALSE(refused);
  REQUIRE(refused.error().code == Code::no_space);
  for (const TestShard& shard : shards) REQUIRE(f.holds(shard));
  for (size_t i = 0; i < 20; ++i) REQUIRE(f.remove(shards[i]));
  f.rest();
  REQUIRE(f.store->figures().used <= 32 * kMiB);
  REQUIRE(f.put(more[0]));
  REQUIRE(f.store->figures().used <= 32 * kMiB);
  REQUIRE(f.store->set_limits(64 * kMiB, 0, 0));
  REQUIRE(f.put(more[1]));
  // The same after a start with the new limit.
  f.stop();
  f.options.limit = 24 * kMiB;
  REQUIRE(f.open(false));
  REQUIRE(f.holds(more[1]));
  REQUIRE(f.holds(shards[30]));
}

TEST_CASE("limits that make no sense change nothing") {
  Fixture f(22, 64 * kMiB);
  REQUIRE(f.open());
  REQUIRE(f.store->set_limits(kMiB, 0, 0).error().code == Code::bad_input);
  REQUIRE(f.store->set_limits(32 * kMiB, 0, 1.5).error().code == Code::bad_input);
  REQUIRE(f.store->figures().limit == 64 * kMiB);
}

TEST_CASE("what is to stay free may change while the store is open") {
  Fixture f(23, 64 * kMiB);
  REQUIRE(f.open());
  const auto shards = some_shards(73, 3, 900'000);
  REQUIRE(f.put(shards[0]));
  REQUIRE(f.store->set_limits(64 * kMiB, 1024 * kTiB, 0));
  auto refused = f.put(shards[1]);
  REQUIRE_FALSE(refused);
  REQUIRE(refused.error().code == Code::no_space);
  REQUIRE(f.store->set_limits(64 * kMiB, kMiB, 0));
  REQUIRE(f.put(shards[1]));
}

TEST_CASE("a store that takes nothing serves what it holds, and takes again when it is told to") {
  Fixture f(24, 64 * kMiB);
  REQUIRE(f.open());
  const auto shards = some_shards(74, 3, 300'000);
  REQUIRE(f.put(shards[0]));
  f.store->set_taking(false);
  REQUIRE(f.store->figures().free == 0);
  REQUIRE(f.put(shards[1]).error().code == Code::no_space);
  REQUIRE(f.put(shards[0]));  // it is there
  REQUIRE(f.holds(shards[0]));
  f.store->set_taking(true);
  REQUIRE(f.put(shards[1]));
}

TEST_CASE("a store that is given back leaves nothing but what others put into its directory") {
  Fixture f(25, 64 * kMiB);
  REQUIRE(f.open());
  REQUIRE(f.put_all(some_shards(75, 10, 900'000)));
  f.stop();
  env::Disk& disk = f.node.disk();
  const std::string mine = std::string(Fixture::kPath) + "/mine";
  REQUIRE(env::write_file(disk, mine, as_bytes("mine")));
  REQUIRE(f.sim.run(ShardStore::erase(f.node.world(), Fixture::kPath)));
  auto left = disk.list(Fixture::kPath);
  REQUIRE(left);
  REQUIRE(*left == std::vector<std::string>{"mine"});
  REQUIRE(f.sim.run(ShardStore::erase(f.node.world(), Fixture::kPath)));  // again
  REQUIRE(f.open(true));
  REQUIRE(f.store->figures().shards == 0);
}

}  // namespace
}  // namespace cairn::store
