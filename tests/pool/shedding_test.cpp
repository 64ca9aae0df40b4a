// What a pressed host drops: the order, what it never drops, and that everybody hears of it.
#include "pool/shedding.h"

#include <catch2/catch.hpp>

#include "cluster.h"

namespace cairn::pool {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

Claim claim_of(uint8_t slot, uint8_t node, ClaimState state = ClaimState::held) {
  Claim claim;
  claim.shard.slot = slot;
  claim.node.bytes.fill(node);
  claim.state = state;
  return claim;
}

}  // namespace

TEST_CASE("what a shard has to spare are the other slots that live nodes claim, less k") {
  NodeId self;
  self.bytes.fill(1);
  const auto all = [](const NodeId&) { return true; };
  std::vector<Claim> claims = {claim_of(0, 1), claim_of(1, 2), claim_of(2, 3), claim_of(3, 4)};
  REQUIRE(spare_of(claims, self, 2, all) == 1);
  REQUIRE(spare_of(claims, self, 4, all) == -1);
  claims.push_back(claim_of(3, 5));  // a second copy of a slot is no further slot
  REQUIRE(spare_of(claims, self, 2, all) == 1);
  claims.push_back(claim_of(0, 6));  // but one of this slot makes up for it
  REQUIRE(spare_of(claims, self, 2, all) == 2);
  claims.push_back(claim_of(4, 7, ClaimState::gone));
  claims.push_back(claim_of(5, 8, ClaimState::leaving));  // still there
  REQUIRE(spare_of(claims, self, 2, all) == 3);
  NodeId dead;
  dead.bytes.fill(3);
  REQUIRE(spare_of(claims, self, 2, [&](const NodeId& node) { return node != dead; }) == 2);
}

TEST_CASE("what has the most to spare goes first, and what the pool needs never") {
  // Three walks over the same shards.
  const std::vector<int> spares = {1, 3, 0, -1, 3, 2, 1, -2, 0};
  std::vector<bool> gone(spares.size());
  std::vector<int> order;
  ShedOrder shed(7 * 10);
  shed.begin_with(1);  // all that was seen at first
  do {
    for (size_t i = 0; i < spares.size(); ++i) {
      if (gone[i] || !shed.take(spares[i], 10)) continue;
      gone[i] = true;
      order.push_back(spares[i]);
    }
  } while (shed.next_walk());
  REQUIRE(order == std::vector<int>{1, 3, 3, 2, 1, 0, 0});
  REQUIRE(shed.enough());
  ShedOrder careful(1000);
  careful.begin_with(3);
  order.clear();
  std::fill(gone.begin(), gone.end(), false);
  do {
    for (size_t i = 0; i < spares.size(); ++i) {
      if (gone[i] || !careful.take(spares[i], 10)) continue;
      gone[i] = true;
      order.push_back(spares[i]);
    }
  } while (careful.next_walk());
  REQUIRE(order == std::vector<int>{3, 3, 2, 1, 1, 0, 0});
  REQUIRE_FALSE(careful.enough());
  ShedOrder little(10);
  little.begin_with(3);
  REQUIRE(little.take(3, 1000));
  REQUIRE_FALSE(little.take(3, 10));
  REQUIRE_FALSE(little.next_walk());
}

TEST_CASE("a pressed host drops as much as is asked, says so, and all packs can be read") {
  Cluster pool(6);
  std::vector<content::EncodedPack> packs;
  for (size_t i = 0; i < 20; ++i) {
    packs.push_back(pool.pack(4, 2));
    pool.write_all(packs.back());
  }
  pool.settle_holders();
  pool.sim.run_for(seconds(30));
  Machine& machine = *pool.machines[1];
  const StoreId id = machine.holder->stores()[0]->id();
  const auto before = machine.holder->stores()[0]->figures();
  const uint64_t shard = packs[0].header.geometry.shard_length;
  auto dropped = pool.sim.run(shed(machine.node.world(), machine.peers, *machine.holder, nullptr, id, 5 * shard));
  CHECK(dropped.shards == 5);
  CHECK(machine.holder->stores()[0]->figures().shards == before.shards - 5);
  CHECK(machine.holder->stores()[0]->figures().used + dropped.bytes <= before.used);
  pool.settle_holders();
  pool.sim.run_for(seconds(30));
  size_t gone = 0;
  for (const auto& pack : packs) {
    auto claims = pool.sim.run(pool.machines[3]->holder->claims_of(pack.header.id));
    REQUIRE(claims);
    for (const Claim& claim : *claims) gone += claim.node == pool.id(1) && claim.state == ClaimState::gone ? 1 : 0;
    pool.require_readable(pool.located(pack), pack);
  }
  CHECK(gone == 5);
}

TEST_CASE("a shard without which its pack cannot be read is not dropped however pressed the host is") {
  Cluster pool(6);
  std::vector<content::EncodedPack> packs;
  for (size_t i = 0; i < 8; ++i) {
    packs.push_back(pool.pack(4, 2));
    pool.write_all(packs.back());
  }
  pool.settle_holders();
  pool.sim.run_for(seconds(30));
  pool.crash(4);
  pool.crash(5);
  REQUIRE(pool.sim.run_until(
      [&] { return !pool.machines[1]->peers.usable(pool.id(4)) && !pool.machines[1]->peers.usable(pool.id(5)); },
      minutes(30)));
  Machine& machine = *pool.machines[1];
  const StoreId id = machine.holder->stores()[0]->id();
  auto dropped = pool.sim.run(shed(machine.node.world(), machine.peers, *machine.holder, nullptr, id, kGiB));
  CHECK(dropped.shards == 0);
  for (const auto& pack : packs) pool.require_readable(pool.located(pack), pack);
}

}  // namespace cairn::pool
