// Moving and rebuilding single shards: what a drain, a repair and a rebalancing are made of.
#include <catch2/catch.hpp>

#include "cluster.h"
#include "pool/shard_mover.h"

namespace cairn::pool {
namespace {

using std::chrono::seconds;

struct MoverPool : Cluster {
  explicit MoverPool(size_t holders) : Cluster(holders) {}
  ShardMover& mover(size_t i) {
    movers[i] = std::make_unique<ShardMover>(sim.node(i).world(), machines[i]->peers, *machines[i]->holder);
    return *movers[i];
  }
  bool holds(size_t i, const ShardId& shard) {
    for (const auto& store : machines[i]->holder->stores()) {
      const auto slots = sim.run(store->slots_of(shard.pack));
      if (std::ranges::find(slots, shard.slot) != slots.end()) return true;
    }
    return false;
  }
  // Everybody knows who holds what.
  void let_claims_spread() {
    settle_holders();
    sim.run_for(seconds(30));
  }
  void let_depart(size_t i) {
    crash(i);
    const bool gone = sim.run_until(
        [&] {
          return std::ranges::all_of(machines, [&](const auto& m) {
            return !m || !m->holder || m->peers.state(id(i)) == peer::NodeState::departed;
          });
        },
        std::chrono::minutes(30));
    REQUIRE(gone);
  }
  std::map<size_t, std::unique_ptr<ShardMover>> movers;
};

}  // namespace

TEST_CASE("a shard moves to a node that has no part of its pack, and the siblings learn of it") {
  MoverPool pool(8);
  const auto pack = pool.pack(4, 2);
  const PackRef ref = pool.write_all(pack);
  pool.let_claims_spread();
  const size_t from = pool.index_of(ref.holders[1]);
  const ShardId shard{ref.id, 1};
  ShardMover& mover = pool.mover(from);
  auto placed = pool.sim.run(mover.move(shard));
  REQUIRE(placed);
  const size_t to = pool.index_of(*placed);
  CHECK(std::ranges::find(ref.holders, *placed) == ref.holders.end());
  CHECK(pool.holds(to, shard));
  REQUIRE(pool.sim.run(mover.wait_for_claim(shard, *placed, seconds(30))));
  CHECK(pool.holds(from, shard));  // who moves does not drop
  REQUIRE(pool.sim.run(pool.machines[from]->holder->drop(shard)));
  pool.let_claims_spread();
  pool.require_readable(pool.located(pack), pack);
  CHECK(mover.counters().moved == 1);
  // To a node of the caller's choice, or not at all.
  const size_t other = pool.index_of(ref.holders[0]);
  pool.crash(to);
  auto refused = pool.sim.run(pool.mover(other).move({ref.id, 0}, pool.id(to)));
  REQUIRE(!refused);
}

TEST_CASE("every slot is rebuilt from k others, with k times its bytes over the network") {
  for (const auto& [k, m] : {std::pair{4U, 2U}, {1U, 2U}, {5U, 3U}}) {
    MoverPool pool(k + m + 2);
    const auto pack = pool.pack(k, m, 400'000);
    const PackRef ref = pool.write_all(pack);
    pool.let_claims_spread();
    for (uint8_t slot = 0; slot < 2; ++slot) {
      const size_t lost = pool.index_of(ref.holders[slot]);
      pool.let_depart(lost);
      const size_t at = pool.index_of(ref.holders[k + m - 1]);
      ShardMover& mover = pool.mover(at);
      auto placed = pool.sim.run(mover.rebuild({ref.id, slot}));
      INFO("(" << k << "," << m << ") slot " << int(slot) << (placed ? "" : " " + to_string(placed.error())));
      REQUIRE(placed);
      const size_t to = pool.index_of(*placed);
      REQUIRE(pool.holds(to, {ref.id, slot}));
      const auto counters = mover.counters();
      const double moved = static_cast<double>(counters.bytes_fetched + counters.bytes_sent);
      CHECK(moved <= 1.05 * k * ref.geometry.shard_length);  // one of the k lies here
      pool.settle_holders();
      auto stored = pool.sim.run(pool.machines[to]->holder->stores()[0]->read({ref.id, slot}, 0, 1000));
      REQUIRE(stored);
      CHECK(equal(stored->view(), pack.shards[slot].view().first(1000)));
    }
    pool.let_claims_spread();
    pool.require_readable(pool.located(pack), pack);
  }
}

TEST_CASE("rebuilding goes past a source that lies and names it") {
  MoverPool pool(8);
  const auto pack = pool.pack(3, 3);
  const PackRef ref = pool.write_all(pack);
  pool.let_claims_spread();
  pool.let_depart(pool.index_of(ref.holders[0]));
  pool.replace_by_liar(pool.index_of(ref.holders[1]), Lie::wrong_bytes);
  pool.replace_by_liar(pool.index_of(ref.holders[2]), Lie::wrong_length);
  const size_t at = pool.index_of(ref.holders[4]);
  std::set<NodeId> bad;
  ShardMover& mover = pool.mover(at);
  mover.set_trust({.found_bad = [&](const ShardId&, const NodeId& node) { bad.insert(node); }});
  auto placed = pool.sim.run(mover.rebuild({ref.id, 0}));
  REQUIRE(placed);
  CHECK(pool.holds(pool.index_of(*placed), {ref.id, 0}));
  for (const NodeId& node : bad) CHECK((node == ref.holders[1] || node == ref.holders[2]));
  CHECK(mover.counters().bad_sources == bad.size());
}

// A pack of (4, 2) on six of eight nodes, as one of its holders sees it.
struct Looked {
  Looked() {
    pool.let_claims_spread();
    auto seen = pool.sim.run(mover.look(ref.id));
    REQUIRE(seen);
    picture = std::move(*seen);
  }
  MoverPool pool{8};
  const PackRef ref = pool.write_all(pool.pack(4, 2));
  ShardMover& mover = pool.mover(pool.index_of(ref.holders[0]));
  PackPicture picture;
};

TEST_CASE("who failed an audit is given no further shards") {
  Looked look;
  std::set<NodeId> bad;
  look.mover.set_trust({.bad_keeper = [&](const NodeId& node) { return bad.contains(node); }});
  for (int spare = 0; spare < 2; ++spare) {
    const auto chosen = look.mover.choose(look.picture, {});
    REQUIRE(chosen);
    REQUIRE(bad.insert(*chosen).second);
  }
  REQUIRE_FALSE(look.mover.choose(look.picture, {}));
}

TEST_CASE("a holder that could not prove its shard takes no place in its domain") {
  Looked look;
  // A spare in the domain of the holder of slot 1, the other spare away.
  const auto spare = look.mover.choose(look.picture, {});
  REQUIRE(spare);
  REQUIRE_FALSE(look.mover.over_cap(look.picture, *spare));
  look.pool.set_domain(look.pool.index_of(*spare), fmt::format("d{}", look.pool.index_of(look.ref.holders[1])));
  REQUIRE(look.pool.sim.run_until([&] { return look.mover.over_cap(look.picture, *spare); }, std::chrono::minutes(5)));
  look.mover.set_trust({.bad_source = [&](const ShardId& shard, const NodeId& node) {
    return shard.slot == 1 && node == look.ref.holders[1];
  }});
  CHECK_FALSE(look.mover.over_cap(look.picture, *spare));
}

TEST_CASE("a rebuilt shard goes to the domain with the fewest of its pack, and past a full node") {
  MoverPool pool(9);
  const auto pack = pool.pack(4, 2);
  const PackRef ref = pool.write_all(pack);
  pool.let_claims_spread();
  pool.let_depart(pool.index_of(ref.holders[0]));
  const size_t at = pool.index_of(ref.holders[1]);
  ShardMover& mover = pool.mover(at);
  auto picture = pool.sim.run(mover.look(ref.id));
  REQUIRE(picture);
  const auto first = mover.choose(*picture, {});
  REQUIRE(first);
  CHECK(!picture->involves(*first));
  // The first choice now says that it is in the domain of a holder.
  const size_t moved = pool.index_of(*first);
  peer::NodeInfo info = *pool.machines[moved]->peers.membership().node(*first);
  info.domain = "d" + std::to_string(pool.index_of(ref.holders[1]));
  pool.machines[moved]->peers.set_own_record(info);
  REQUIRE(pool.sim.run_until([&] { return pool.machines[at]->peers.membership().node(*first)->domain == info.domain; },
                             std::chrono::minutes(10)));
  CHECK(mover.over_cap(*picture, *first));
  const auto second = mover.choose(*picture, {});
  REQUIRE(second);
  CHECK(*second != *first);
  CHECK(!mover.over_cap(*picture, *second));
}

TEST_CASE("a pool without room for one more shard says so") {
  MoverPool pool(6);
  const auto pack = pool.pack(4, 2);
  const PackRef ref = pool.write_all(pack);
  pool.let_claims_spread();
  ShardMover& mover = pool.mover(pool.index_of(ref.holders[5]));
  pool.let_depart(pool.index_of(ref.holders[0]));
  auto nobody = pool.sim.run(mover.rebuild({ref.id, 0}));
  REQUIRE(!nobody);
  CHECK(nobody.error().code == Code::no_space);
}

TEST_CASE("fewer than k shards rebuild nothing") {
  MoverPool pool(8);
  const auto pack = pool.pack(4, 2);
  const PackRef ref = pool.write_all(pack);
  pool.let_claims_spread();
  ShardMover& mover = pool.mover(pool.index_of(ref.holders[5]));
  for (const uint8_t slot : {0, 1, 2}) pool.let_depart(pool.index_of(ref.holders[slot]));
  auto few = pool.sim.run(mover.rebuild({ref.id, 0}));
  REQUIRE(!few);
  CHECK(few.error().code == Code::too_few_peers);
}

TEST_CASE("what is moved stays within its rate, at a quarter of it beside foreground work") {
  sim::SimWorld world(1);
  sim::SimNode& node = world.add_node();
  bool busy = false;
  Throttle throttle(node.world().clock, 1'000'000, [&] { return busy; });
  const auto spent = [&](uint64_t bytes, bool urgent) {
    const Time begun = world.now();
    for (int i = 0; i < 10; ++i) world.run(throttle.take(bytes, urgent));
    world.run(throttle.take(0, urgent));
    return std::chrono::duration<double>(world.now() - begun).count();
  };
  CHECK(spent(500'000, false) == Approx(5.0).epsilon(0.01));
  busy = true;
  CHECK(spent(500'000, false) == Approx(20.0).epsilon(0.01));
  CHECK(spent(500'000, true) == Approx(5.0).epsilon(0.01));
}

}  // namespace cairn::pool
