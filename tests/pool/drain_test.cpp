// Draining stores: where shards go, what is said of them meanwhile, and that no pack ever has less than before.
#include "pool/drain.h"

#include <catch2/catch.hpp>

#include "cluster.h"
#include "pool/move_orders.h"
#include "proto/register.pb.h"

namespace cairn::pool {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

struct DrainPool : Cluster {
  explicit DrainPool(size_t holders, uint64_t limit = 256 * kMiB) : Cluster(holders, 1, {}, limit) {}
  ~DrainPool() {
    for (auto& [i, one] : drains) sim.run(one->drain.stop());
    drains.clear();
  }
  struct One {
    One(sim::SimNode& node, Machine& machine)
        : peers(machine.peers),
          mover(node.world(), machine.peers, *machine.holder),
          drain(node.world(), machine.peers, *machine.holder, mover) {}
    peer::Peers& peers;
    ShardMover mover;
    Drain drain;
    MoveOrders orders{peers, mover, drain};
  };
  Drain& drain(size_t i) {
    if (!drains.contains(i)) drains[i] = std::make_unique<One>(sim.node(i), *machines[i]);
    return drains[i]->drain;
  }
  store::ShardStore& store(size_t i) { return *machines[i]->holder->stores()[0]; }
  void set_goal(size_t i, std::optional<DrainGoal> goal) {
    store(i).set_taking(!goal);
    drain(i).set_goal(store(i).id(), goal);
  }
  void stop_drain(size_t i) {
    sim.run(drains.at(i)->drain.stop());
    drains.erase(i);
  }
  bool holds(size_t i, const ShardId& shard) {
    if (!machines[i] || !machines[i]->holder) return false;
    for (const auto& one : machines[i]->holder->stores()) {
      const auto slots = sim.run(one->slots_of(shard.pack));
      if (std::ranges::find(slots, shard.slot) != slots.end()) return true;
    }
    return false;
  }
  size_t copies(const ShardId& shard) {
    size_t count = 0;
    for (size_t i = 0; i < machines.size(); ++i) count += holds(i, shard) ? 1 : 0;
    return count;
  }
  bool complete(const std::vector<content::EncodedPack>& packs) {
    for (const auto& pack : packs) {
      for (uint8_t slot = 0; slot < pack.shards.size(); ++slot) {
        if (copies({pack.header.id, slot}) == 0) return false;
      }
    }
    return true;
  }
  std::vector<content::EncodedPack> write_packs(size_t count, uint32_t k, uint32_t m) {
    std::vector<content::EncodedPack> packs;
    for (size_t i = 0; i < count; ++i) {
      packs.push_back(pack(k, m));
      write_all(packs.back());
    }
    let_claims_spread();
    return packs;
  }
  void let_claims_spread() {
    settle_holders();
    sim.run_for(seconds(30));
  }
  // What node `at` knows that node `of` claims of this shard.
  std::optional<ClaimState> claim(size_t at, size_t of, const ShardId& shard) {
    auto claims = sim.run(machines[at]->holder->claims_of(shard.pack));
    REQUIRE(claims);
    for (const Claim& one : *claims) {
      if (one.node == id(of) && one.shard == shard) return one.state;
    }
    return std::nullopt;
  }
  std::vector<ShardId> shards_of(size_t i) { return sim.run(store(i).list({}, 10'000)); }
  std::map<size_t, std::unique_ptr<One>> drains;
};

}  // namespace

TEST_CASE("a store is drained to nodes that have no part of its packs, and no pack has less at any time") {
  DrainPool pool(8);
  const auto packs = pool.write_packs(12, 4, 2);
  const size_t leaver = pool.index_of(pool.located(packs[0]).holders[0]);
  const auto had = pool.shards_of(leaver);
  REQUIRE(had.size() > 4);
  pool.set_goal(leaver, DrainGoal{});
  const Time deadline = pool.sim.clock().now() + minutes(10);
  double percent = 0;
  while (pool.store(leaver).figures().shards > 0 && pool.sim.clock().now() < deadline) {
    pool.sim.run_for(std::chrono::milliseconds(100));
    REQUIRE(pool.complete(packs));
    const auto progress = pool.drain(leaver).progress(pool.store(leaver).id());
    REQUIRE(progress);
    REQUIRE(progress->percent >= percent);
    percent = progress->percent;
  }
  REQUIRE(pool.store(leaver).figures().shards == 0);
  REQUIRE(percent == 100);
  pool.let_claims_spread();
  for (const ShardId& shard : had) {
    CHECK(pool.copies(shard) == 1);
    for (size_t i = 0; i < 8; ++i) {
      if (i == leaver || pool.sim.run(pool.store(i).slots_of(shard.pack)).empty()) continue;
      CHECK(pool.claim(i, leaver, shard) == ClaimState::gone);
    }
  }
  for (const auto& pack : packs) {
    const PackRef ref = pool.located(pack);
    std::set<NodeId> holders(ref.holders.begin(), ref.holders.end());
    CHECK(holders.size() == 6);  // one shard a node, as before
    pool.require_readable(ref, pack);
  }
}

TEST_CASE("a shard without another place stays and is held, why is said, and it goes once there is one") {
  DrainPool pool(7);
  const auto packs = pool.write_packs(4, 4, 2);
  // The seventh machine is away: six nodes, six slots.
  const PackRef ref = pool.located(packs[0]);
  size_t spare = 0;
  while (std::ranges::find(ref.holders, pool.id(spare)) != ref.holders.end()) ++spare;
  const size_t leaver = pool.index_of(ref.holders[3]);
  const ShardId shard{packs[0].header.id, 3};
  pool.crash(spare);
  REQUIRE(pool.sim.run_until(
      [&] { return pool.machines[leaver]->peers.state(pool.id(spare)) == peer::NodeState::departed; }, minutes(30)));
  pool.set_goal(leaver, DrainGoal{});
  pool.sim.run_for(minutes(2));
  REQUIRE(pool.holds(leaver, shard));
  auto progress = pool.drain(leaver).progress(pool.store(leaver).id());
  REQUIRE(progress);
  REQUIRE(progress->active);
  REQUIRE(progress->stuck > 0);
  REQUIRE_THAT(progress->why_stuck, Catch::Contains("no further node has room"));
  const size_t sibling = pool.index_of(ref.holders[0]);
  REQUIRE(pool.claim(sibling, leaver, shard) == ClaimState::held);
  pool.restart(spare);
  REQUIRE(pool.sim.run_until([&] { return !pool.holds(leaver, shard); }, minutes(10)));
  REQUIRE(pool.copies(shard) == 1);
  pool.let_claims_spread();
  pool.require_readable(pool.located(packs[0]), packs[0]);
}

TEST_CASE("a cancelled drain leaves every shard held, here or where it went") {
  DrainPool pool(9);
  const auto packs = pool.write_packs(30, 4, 2);
  const size_t leaver = pool.index_of(pool.located(packs[0]).holders[0]);
  const auto had = pool.shards_of(leaver);
  pool.set_goal(leaver, DrainGoal{});
  REQUIRE(pool.sim.run_until([&] { return pool.store(leaver).figures().shards < had.size(); }, minutes(10)));
  pool.set_goal(leaver, std::nullopt);
  const size_t left = pool.store(leaver).figures().shards;
  pool.sim.run_for(minutes(5));
  REQUIRE(pool.store(leaver).figures().shards + 20 > left);  // but for those that had been handed over already
  REQUIRE(pool.store(leaver).figures().shards > 0);
  REQUIRE(pool.complete(packs));
  REQUIRE_FALSE(pool.drain(leaver).progress(pool.store(leaver).id()));
  for (const ShardId& shard : pool.shards_of(leaver)) {
    CHECK(pool.claim(leaver, leaver, shard) == ClaimState::held);
    const PackRef ref = pool.located(*std::ranges::find(packs, shard.pack, [](const auto& p) { return p.header.id; }));
    for (const NodeId& node : ref.holders) {
      if (node == pool.id(leaver)) continue;
      const auto heard = pool.claim(pool.index_of(node), leaver, shard);
      CHECK(heard == ClaimState::held);
    }
  }
}

TEST_CASE("a machine that dies while it drains has lost nothing when it is back") {
  DrainPool pool(9);
  const auto packs = pool.write_packs(20, 4, 2);
  const size_t leaver = pool.index_of(pool.located(packs[0]).holders[0]);
  const size_t had = pool.shards_of(leaver).size();
  pool.set_goal(leaver, DrainGoal{});
  REQUIRE(pool.sim.run_until([&] { return pool.store(leaver).figures().shards < had; }, minutes(10)));
  // Its frames may not run again.
  static auto& graves = *new std::vector<std::unique_ptr<DrainPool::One>>;
  graves.push_back(std::move(pool.drains.at(leaver)));
  pool.drains.erase(leaver);
  pool.crash(leaver, sim::CrashKind::power);
  pool.restart(leaver);
  pool.sim.run_for(minutes(2));
  pool.let_claims_spread();
  REQUIRE(pool.complete(packs));
  for (const ShardId& shard : pool.shards_of(leaver)) CHECK(pool.claim(leaver, leaver, shard) == ClaimState::held);
  for (const auto& pack : packs) pool.require_readable(pool.located(pack), pack);
}

TEST_CASE("two nodes that have the same slot and leave at the same time do not rely on each other") {
  DrainPool pool(9);
  const auto packs = pool.write_packs(1, 4, 2);
  const PackRef ref = pool.located(packs[0]);
  const ShardId shard{packs[0].header.id, 2};
  const size_t first = pool.index_of(ref.holders[2]);
  (void)pool.drain(first);
  auto twin = pool.sim.run(pool.drains.at(first)->mover.move(shard));
  REQUIRE(twin);
  pool.let_claims_spread();
  const size_t second = pool.index_of(*twin);
  REQUIRE(pool.copies(shard) == 2);
  pool.set_goal(first, DrainGoal{});
  pool.set_goal(second, DrainGoal{});
  const bool done =
      pool.sim.run_until([&] { return !pool.holds(first, shard) && !pool.holds(second, shard); }, minutes(10));
  REQUIRE(done);
  REQUIRE(pool.copies(shard) >= 1);
}

TEST_CASE("two nodes that leave one after the other give no node two shards of a pack") {
  DrainPool pool(8);
  const auto packs = pool.write_packs(6, 4, 2);
  const PackRef ref = pool.located(packs[0]);
  const size_t first = pool.index_of(ref.holders[0]), second = pool.index_of(ref.holders[1]);
  pool.set_goal(first, DrainGoal{});
  pool.sim.run_for(std::chrono::milliseconds(300));
  pool.set_goal(second, DrainGoal{});
  const bool done = pool.sim.run_until(
      [&] { return pool.store(first).figures().shards + pool.store(second).figures().shards == 0; }, minutes(20));
  REQUIRE(done);
  for (const auto& pack : packs) {
    const PackRef now = pool.located(pack);
    CHECK(std::set<NodeId>(now.holders.begin(), now.holders.end()).size() == 6);
    pool.require_readable(now, pack);
  }
}

TEST_CASE("what another node holds as well is not copied again") {
  DrainPool pool(9);
  const auto packs = pool.write_packs(1, 4, 2);
  const PackRef ref = pool.located(packs[0]);
  const ShardId shard{packs[0].header.id, 2};
  const size_t leaver = pool.index_of(ref.holders[2]);
  (void)pool.drain(leaver);
  auto twin = pool.sim.run(pool.drains.at(leaver)->mover.move(shard));
  REQUIRE(twin);
  pool.let_claims_spread();
  const uint64_t moved = pool.drains.at(leaver)->mover.counters().moved;
  pool.set_goal(leaver, DrainGoal{});
  REQUIRE(pool.sim.run_until([&] { return !pool.holds(leaver, shard); }, minutes(10)));
  CHECK(pool.copies(shard) == 1);
  CHECK(pool.holds(pool.index_of(*twin), shard));
  CHECK(pool.drains.at(leaver)->mover.counters().moved == moved);
}

TEST_CASE("a store is drained down to a size, and not much further") {
  DrainPool pool(9, 64 * kMiB);
  const auto packs = pool.write_packs(30, 4, 2);
  const size_t over = pool.index_of(pool.located(packs[0]).holders[0]);
  const uint64_t used = pool.store(over).figures().used;
  const uint64_t goal = used - kMiB;
  pool.set_goal(over, DrainGoal{.used = goal});
  REQUIRE(pool.sim.run_until([&] { return pool.store(over).figures().used <= goal; }, minutes(10)));
  const auto after = pool.store(over).figures();
  pool.sim.run_for(minutes(5));
  CHECK(pool.store(over).figures().shards + 2 >= after.shards);
  CHECK(pool.store(over).figures().used + kMiB > goal);
  CHECK(pool.complete(packs));
  CHECK_FALSE(pool.drain(over).progress(pool.store(over).id())->active);
}

TEST_CASE("another store of the same node is the nearest place, and nobody hears of it") {
  DrainPool pool(6);
  const auto packs = pool.write_packs(6, 4, 2);  // six nodes, six slots: there is no other place
  Machine& machine = *pool.machines[2];
  auto second = pool.sim.run(store::ShardStore::open(
      machine.node.world(), {.path = "second", .limit = 64 * kMiB, .keep_free_share = 0}, true));
  REQUIRE(second);
  REQUIRE(machine.holder->add_store(std::move(*second)));
  const auto had = pool.shards_of(2);
  REQUIRE(had.size() == 6);
  pool.set_goal(2, DrainGoal{});
  REQUIRE(pool.sim.run_until([&] { return pool.store(2).figures().shards == 0; }, minutes(5)));
  CHECK(machine.holder->stores()[1]->figures().shards == 6);
  pool.let_claims_spread();
  for (const ShardId& shard : had) CHECK(pool.claim(0, 2, shard) == ClaimState::held);
  // Closed, its place stays; what is in the other is still served.
  const StoreId id = pool.store(2).id();
  pool.drain(2).set_goal(id, std::nullopt);
  REQUIRE(pool.sim.run(machine.holder->close_store(id)));
  REQUIRE(machine.holder->stores()[0]->figures().shards == 0);
  for (const auto& pack : packs) pool.require_readable(pool.located(pack), pack);
  CHECK(pool.sim.run(machine.holder->close_store(id)).error().code == Code::not_found);
}

TEST_CASE("a resting node serves its own member's devices and refuses others, which read around it") {
  DrainPool pool(6);
  const auto packs = pool.write_packs(1, 4, 2);
  const PackRef ref = pool.located(packs[0]);
  // All machines of the cluster are of one member: to rest is then to serve them all the same.
  pool.machines[pool.index_of(ref.holders[0])]->holder->set_resting(true);
  pool.require_readable(ref, packs[0]);
  CHECK(pool.client->counters().degraded_reads == 0);
}

TEST_CASE("a volume's owner has shards moved to other nodes, one at a time and never one too few") {
  DrainPool pool(8);
  // The volume's founding record names its owner, and its hash is the volume.
  wire::RegisterFounding founding;
  founding.set_version(1);
  founding.set_pool(pool.membership.pool().raw());
  founding.set_kind(wire::RegisterFounding::HEAD);
  founding.set_owner_key(to_string(ByteView(pool.founder.member.public_key())));
  founding.set_nonce(std::string(32, 'n'));
  const Bytes bytes = wire::encode(founding);
  pool.volume = id_cast<VolumeId>(crypto::sha256(bytes));
  const auto packs = pool.write_packs(3, 4, 2);
  const PackRef ref = pool.located(packs[0]);
  for (size_t i = 0; i < 8; ++i) pool.drain(i);  // everybody takes orders
  std::vector<NodeId> free;
  for (size_t i = 0; i < 8; ++i) {
    if (std::ranges::find(ref.holders, pool.id(i)) == ref.holders.end()) free.push_back(pool.id(i));
  }
  REQUIRE(free.size() == 2);
  const ShardId shard{ref.id, 1};
  const size_t from = pool.index_of(ref.holders[1]);
  env::Task<Status> order = pool.client->move_shard(shard, ref.holders[1], free[0], bytes);
  Status moved = fail(Code::timeout);
  bool done = false;
  env::TaskGroup tasks(pool.sim.node(8).executor());
  tasks.spawn([](env::Task<Status> task, Status& out, bool& ended) -> env::Task<void> {
    out = co_await std::move(task);
    ended = true;
  }(std::move(order), moved, done));
  while (!done) {
    pool.sim.run_for(std::chrono::milliseconds(50));
    REQUIRE(pool.complete(packs));
  }
  INFO((moved ? "" : to_string(moved.error())));
  REQUIRE(moved);
  CHECK_FALSE(pool.holds(from, shard));
  CHECK(pool.holds(pool.index_of(free[0]), shard));
  pool.let_claims_spread();
  CHECK(pool.copies(shard) == 1);
  CHECK(pool.claim(pool.index_of(ref.holders[0]), from, shard) == ClaimState::gone);
  pool.require_readable(ref, packs[0]);  // by the old places, as the tree has them

  const auto refused = [&](ShardId what, const NodeId& by, const NodeId& to, const Bytes& founded) {
    auto status = pool.sim.run(pool.client->move_shard(what, by, to, founded), minutes(10));
    return status ? Code::exists : status.error().code;
  };
  // It is no longer there; a sibling may not have a second; nobody moves what is not theirs.
  CHECK(refused(shard, ref.holders[1], free[1], bytes) == Code::not_found);
  CHECK(refused({ref.id, 2}, ref.holders[2], ref.holders[3], bytes) == Code::bad_input);
  founding.set_nonce(std::string(32, 'o'));
  CHECK(refused({ref.id, 2}, ref.holders[2], free[1], wire::encode(founding)) == Code::denied);
  founding.set_nonce(std::string(32, 'n'));
  founding.set_owner_key(to_string(ByteView(pool.another.member.public_key())));
  CHECK(refused({ref.id, 2}, ref.holders[2], free[1], wire::encode(founding)) == Code::denied);
  REQUIRE(pool.complete(packs));
}

}  // namespace cairn::pool
