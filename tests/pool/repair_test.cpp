// Holders that keep packs whole by themselves: repair, audits, scrub and surplus copies, with simulated nodes. What is
// waited for is a sixtieth of the real thing: an hour is a minute, three days are 72 minutes.
#include <catch2/catch.hpp>

#include "cluster.h"

namespace cairn::pool {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

HealingOptions quick() {
  HealingOptions options = HealingOptions{}.scaled(1.0 / 60);
  options.audit.scrub_rate = 64 * kMiB;
  // That a machine has gone is noticed in real time: until then it does not answer, which must not count before.
  options.audit.retry = minutes(2);
  return options;
}

struct HealingPool : Cluster {
  explicit HealingPool(size_t holders, HealingOptions options = quick(), uint64_t seed = 1)
      : Cluster(holders, seed, {}, 256 * kMiB, options) {}

  Repair& repair(size_t i) { return machines[i]->healing->repair(); }
  bool up(size_t i) { return i < machines.size() && machines[i] && machines[i]->holder; }
  // Nodes that are up and have this slot.
  std::vector<size_t> holding(const PackId& pack, uint8_t slot) {
    std::vector<size_t> list;
    for (size_t i = 0; i < machines.size(); ++i) {
      if (!up(i)) continue;
      for (const auto& store : machines[i]->holder->stores()) {
        const auto slots = sim.run(store->slots_of(pack));
        if (std::ranges::find(slots, slot) == slots.end()) continue;
        list.push_back(i);
        break;
      }
    }
    return list;
  }
  size_t slots_held(const content::EncodedPack& pack) {
    size_t held = 0;
    for (uint8_t slot = 0; slot < pack.shards.size(); ++slot) held += holding(pack.header.id, slot).empty() ? 0U : 1U;
    return held;
  }
  bool whole(const content::EncodedPack& pack) { return slots_held(pack) == pack.shards.size(); }
  bool one_each(const content::EncodedPack& pack) {
    for (uint8_t slot = 0; slot < pack.shards.size(); ++slot) {
      if (holding(pack.header.id, slot).size() != 1) return false;
    }
    return true;
  }
  // Looked at every few seconds: the whole pool is asked.
  template <class F>
  bool within(Duration time, F condition) {
    const Time end = sim.now() + time;
    while (sim.now() < end) {
      if (condition()) return true;
      sim.run_for(seconds(5));
    }
    return condition();
  }
  void let_claims_spread() {
    settle_holders();
    sim.run_for(seconds(30));
  }
  // A lost machine; until its siblings know.
  void lose(size_t i) {
    crash(i);
    REQUIRE(within(minutes(30), [&] {
      for (size_t j = 0; j < machines.size(); ++j) {
        if (up(j) && machines[j]->peers.state(id(j == i ? 0 : i)) != peer::NodeState::departed) return false;
      }
      return true;
    }));
  }
  // One more, beside those that it has.
  void add_disk(size_t i) {
    auto other = sim.run(store::ShardStore::open(machines[i]->node.world(),
                                                 {.path = "other", .limit = 64 * kMiB, .keep_free_share = 0}, true));
    REQUIRE(other);
    REQUIRE(machines[i]->holder->add_store(std::move(*other)));
  }
  void come_back(size_t i, bool new_store = false) {
    if (new_store) sim.node(i).disk().wipe("store");
    restart(i, new_store);
  }
  template <class F>
  uint64_t sum(F of) {
    uint64_t all = 0;
    for (size_t i = 0; i < machines.size(); ++i) {
      if (up(i)) all += of(*machines[i]->healing);
    }
    return all;
  }
  uint64_t rebuilt() {
    return sum([](Healing& h) { return h.repair().counters().shards_rebuilt; });
  }
};

}  // namespace

TEST_CASE("a pack that lost all it can lose is whole again at once, with its owner away") {
  HealingPool pool(10);
  const auto pack = pool.pack(6, 2, 300'000);
  const PackRef ref = pool.write_all(pack);
  pool.let_claims_spread();
  pool.crash(pool.index_of(ref.holders[0]));
  pool.lose(pool.index_of(ref.holders[3]));  // at a margin of 0 nothing is waited for, then it is a minute
  REQUIRE(pool.within(minutes(5), [&] { return pool.whole(pack); }));
  CHECK(pool.rebuilt() == 2);
  pool.let_claims_spread();
  CHECK(pool.one_each(pack));
  pool.require_readable(pool.located(pack), pack);
}

TEST_CASE("a single loss waits for its grace, and a node that is back in time is not replaced") {
  HealingPool pool(10);
  const auto pack = pool.pack(5, 3);
  const PackRef ref = pool.write_all(pack);
  pool.let_claims_spread();
  const size_t away = pool.index_of(ref.holders[2]);
  pool.lose(away);
  pool.sim.run_for(minutes(15));  // the grace at a margin of 2: 24 minutes
  CHECK(pool.rebuilt() == 0);
  pool.come_back(away);
  pool.sim.run_for(hours(1));
  CHECK(pool.rebuilt() == 0);
  CHECK(pool.one_each(pack));
  pool.lose(away);
  REQUIRE(pool.within(minutes(40), [&] { return pool.whole(pack); }));
  CHECK(pool.rebuilt() == 1);
}

TEST_CASE("a repair moves at most k+1 times the lost bytes and 5 percent") {
  HealingPool pool(10);
  std::vector<content::EncodedPack> packs;
  for (int i = 0; i < 12; ++i) {
    packs.push_back(pool.pack(5, 3, 200'000));
    pool.write_all(packs.back());
  }
  pool.let_claims_spread();
  // Two at a time, so that several packs lose two.
  uint64_t lost = 0;
  for (const size_t i : {4UL, 7UL}) {
    for (const auto& pack : packs) {
      const auto slots = pool.sim.run(pool.machines[i]->holder->stores()[0]->slots_of(pack.header.id));
      lost += slots.size() * pack.header.geometry.shard_length;
    }
    pool.lose(i);
  }
  REQUIRE(pool.within(hours(2), [&] { return std::ranges::all_of(packs, [&](auto& p) { return pool.whole(p); }); }));
  const uint64_t moved = pool.sum([](Healing& h) {
    const auto counters = h.mover().counters();
    return counters.bytes_fetched + counters.bytes_sent;
  });
  INFO(moved << " for " << lost);
  CHECK(static_cast<double>(moved) <= static_cast<double>(lost) * (5 + 1) * 1.05);
  // Nobody did what another did: the intents and ranks hold.
  CHECK(pool.sum([](Healing& h) { return h.mover().counters().bytes_placed; }) == lost);
}

TEST_CASE("siblings that begin at the same moment agree on one of them") {
  HealingOptions options = quick();
  options.repair.times.rank_step = Duration{};
  HealingPool pool(10, options);
  std::vector<content::EncodedPack> packs;
  for (int i = 0; i < 8; ++i) {
    packs.push_back(pool.pack(6, 2, 60'000));
    pool.write_all(packs.back());
  }
  pool.let_claims_spread();
  pool.crash(3);
  pool.lose(6);
  REQUIRE(pool.within(minutes(10), [&] { return std::ranges::all_of(packs, [&](auto& p) { return pool.whole(p); }); }));
  pool.let_claims_spread();
  for (const auto& pack : packs) CHECK(pool.one_each(pack));
  CHECK(pool.sum([](Healing& h) { return h.repair().counters().intents_refused; }) > 0);
}

TEST_CASE("a node that returns after it was replaced makes its copies count, and none stays needless") {
  HealingPool pool(10);
  const auto pack = pool.pack(5, 3);
  const PackRef ref = pool.write_all(pack);
  pool.let_claims_spread();
  const size_t away = pool.index_of(ref.holders[1]);
  pool.lose(away);
  REQUIRE(pool.within(hours(1), [&] { return pool.whole(pack); }));
  pool.let_claims_spread();
  pool.come_back(away);
  pool.sim.run_for(minutes(5));
  CHECK(pool.holding(ref.id, 1).size() == 2);  // 24 minutes are not over
  REQUIRE(pool.within(hours(1), [&] { return pool.one_each(pack); }));
  CHECK(pool.sum([](Healing& h) { return h.repair().counters().surplus_dropped; }) == 1);
  pool.require_readable(pool.located(pack), pack);
}

TEST_CASE("two sets of holders that do not know of each other come about and find each other") {
  HealingPool pool(12);
  pool.write_all(pool.pack(8, 4));  // so that there is a session with each
  // Shards arrive, the receipts do not: the writer takes six others.
  for (sim::NodeIndex i = 0; i < 12; ++i) pool.sim.network().block(i, 12);
  const auto pack = pool.pack(4, 2);
  env::TaskGroup writing(pool.sim.executor());
  bool written = false;
  writing.spawn([](PoolClient& client, content::EncodedPack p, bool& done) -> env::Task<void> {
    auto outcome = co_await client.write(std::move(p));
    done = outcome.has_value();
  }(*pool.client, pack, written));
  while (!pool.whole(pack)) pool.sim.run_for(std::chrono::milliseconds(100));
  std::set<size_t> first;
  for (uint8_t slot = 0; slot < 6; ++slot) {
    for (const size_t i : pool.holding(pack.header.id, slot)) first.insert(i);
  }
  for (sim::NodeIndex i = 0; i < 12; ++i) {
    if (!first.contains(i)) pool.sim.network().unblock(i, 12);
  }
  REQUIRE(pool.within(minutes(5), [&] { return written; }));
  REQUIRE_FALSE(pool.one_each(pack));
  pool.sim.network().heal();
  REQUIRE(pool.within(minutes(40), [&] { return pool.one_each(pack); }));
  pool.require_readable(pool.located(pack), pack);
}

TEST_CASE("a surplus copy stays while the one that is to be kept cannot be proven") {
  HealingPool pool(10);
  const auto pack = pool.pack(5, 3);
  const PackRef ref = pool.write_all(pack);
  pool.let_claims_spread();
  const size_t first = pool.index_of(ref.holders[1]);
  // A second copy, made by hand.
  const auto copied = pool.sim.run(pool.machines[first]->healing->mover().move({ref.id, 1}));
  REQUIRE(copied);
  const size_t second = pool.index_of(*copied);
  pool.let_claims_spread();
  const size_t keeper = keeps_before({ref.id, 1}, pool.id(first), pool.id(second)) ? first : second;
  const size_t other = keeper == first ? second : first;
  // The keeper's bytes are gone without its knowledge: every page of its store is wrong.
  env::Prng prng(1);
  for (int i = 0; i < 3000; ++i) pool.sim.node(keeper).disk().rot_somewhere("store/segments/", prng);
  pool.sim.run_for(hours(2));
  const auto left = pool.holding(ref.id, 1);
  CHECK(std::ranges::find(left, other) != left.end());
  pool.require_readable(pool.located(pack), pack);
}

TEST_CASE("rot is found by the scrub of its own node, claimed as gone and replaced") {
  HealingPool pool(10);
  const auto pack = pool.pack(5, 3, 400'000);
  const PackRef ref = pool.write_all(pack);
  pool.let_claims_spread();
  const size_t bad = pool.index_of(ref.holders[0]);
  env::Prng prng(2);
  for (int i = 0; i < 200; ++i) pool.sim.node(bad).disk().rot_somewhere("store/segments/", prng);
  REQUIRE(pool.within(minutes(10), [&] { return pool.rebuilt() == 1 && pool.whole(pack); }));
  pool.let_claims_spread();
  CHECK(pool.one_each(pack));
  pool.require_readable(pool.located(pack), pack);
}

TEST_CASE("who does not have what it claims is found by audits, named, and its shard rebuilt elsewhere") {
  HealingOptions options = quick();
  options.audit.every = seconds(10);
  HealingPool pool(10, options);
  const auto pack = pool.pack(5, 3, 400'000);
  const PackRef ref = pool.write_all(pack);
  pool.let_claims_spread();
  const size_t liar = pool.index_of(ref.holders[3]);
  pool.replace_by_liar(liar, Lie::wrong_bytes);  // it answers audits with "not found"
  REQUIRE(pool.within(hours(1), [&] { return pool.rebuilt() >= 1 && pool.whole(pack); }));
  uint64_t failed = 0, online = 0;
  for (size_t i = 0; i < 10; ++i) {
    if (!pool.up(i)) continue;
    const NodeScore score = pool.machines[i]->healing->scores().of(pool.id(liar));
    failed += score.audits_failed;
    online += score.online;
    for (size_t j = 0; j < 10; ++j) {
      if (j == liar) continue;
      CHECK(pool.machines[i]->healing->scores().of(pool.id(j)).audits_failed == 0);
    }
  }
  CHECK(failed > 0);
  CHECK(online > 0);
}

namespace {
// Each node audits another every 2 s. Of 40 packs machine 1 loses its shard of the one whose ID, from that of number
// `from` on, comes soonest after another's: whether that is found in time.
bool audits_find_the_rarest(size_t holders, uint8_t k, uint8_t m, ptrdiff_t from, Duration time) {
  HealingOptions options = quick();
  options.audit.every = seconds(2);
  options.audit.scrub_delay = hours(1000);
  HealingPool pool(holders, options);
  std::set<PackId> packs;
  for (int i = 0; i < 40; ++i) packs.insert(pool.write_all(pool.pack(k, m, 20'000)).id);
  pool.let_claims_spread();
  PackId rare;
  uint64_t least = UINT64_MAX;
  for (auto pack = std::next(packs.begin(), from); pack != packs.end(); ++pack) {
    const uint64_t gap = read_be64(pack->bytes.data()) - read_be64(std::prev(pack)->bytes.data());
    if (gap < least) std::tie(least, rare) = std::pair(gap, *pack);
  }
  for (uint8_t slot = 0; slot < k + m; ++slot) {
    if (pool.holding(rare, slot) == std::vector<size_t>{1}) {
      REQUIRE(pool.sim.run(pool.machines[1]->holder->stores()[0]->remove({rare, slot})));
    }
  }
  return pool.within(time, [&] { return pool.sum([](Healing& h) { return h.auditor().counters().wrong; }) > 0; });
}
}  // namespace

TEST_CASE("audits come to every shard in turn, also to one that chance would pass by") {
  // Each asks each of the two others every 4 s: for all 40 in 160 s. Who is asked in vain says that it is gone.
  CHECK(audits_find_the_rarest(3, 1, 2, 1, seconds(200)));
}

TEST_CASE("siblings have the shards of a node in turn from different ones on, so none has to wait for all before it") {
  // Each asks this one every 22 s, eight times: of eleven that begin anywhere among 40 some come by.
  CHECK(audits_find_the_rarest(12, 2, 10, 20, seconds(176)));
}

TEST_CASE("a node that forgot what its siblings told it hears it again with the answers to its audits") {
  HealingOptions options = quick();
  options.audit.every = seconds(10);
  HealingPool pool(8, options);
  const auto pack = pool.pack(4, 2);
  const PackRef ref = pool.write_all(pack);
  pool.let_claims_spread();
  const size_t forgetful = pool.index_of(ref.holders[2]), other = pool.index_of(ref.holders[3]);
  const auto known = [&](size_t i) {
    auto claims = pool.sim.run(pool.machines[i]->holder->claims_of(ref.id));
    return claims ? claims->size() : 0;
  };
  REQUIRE(known(forgetful) == 6);
  // Two have lost the same, and do not hear of each other from themselves.
  for (const size_t i : {forgetful, other}) {
    pool.crash(i, sim::CrashKind::power);
    pool.sim.node(i).disk().wipe("claims");
    pool.restart(i);
  }
  REQUIRE(pool.within(hours(1), [&] { return known(forgetful) == 6 && known(other) == 6; }));
}

TEST_CASE("a slow answer to an audit is no failure: the same challenge is put again") {
  HealingOptions options = quick();
  options.audit.every = seconds(10);
  options.audit.scrub_delay = hours(100);
  HealingPool pool(6, options);
  const auto pack = pool.pack(4, 2, 300'000);
  const PackRef ref = pool.write_all(pack);
  pool.let_claims_spread();
  // For a while one node's network takes everything and gives nothing; not long enough to be thought departed.
  const size_t slow = pool.index_of(ref.holders[1]);
  for (size_t i = 0; i < 6; ++i) {
    if (i != slow) pool.sim.network().block(static_cast<sim::NodeIndex>(slow), static_cast<sim::NodeIndex>(i));
  }
  pool.sim.run_for(seconds(45));
  pool.sim.network().heal();
  pool.sim.run_for(minutes(10));
  CHECK(pool.sum([](Healing& h) { return h.auditor().counters().failed; }) == 0);
  CHECK(pool.sum([](Healing& h) { return h.auditor().counters().proven; }) > 20);
  CHECK(pool.sum([](Healing& h) { return h.auditor().doubts(); }) == 0);
  CHECK(pool.rebuilt() == 0);
}

TEST_CASE("who does not answer is put the very same challenge each time, and it counts only after all tries") {
  HealingOptions options = quick();
  options.audit.every = seconds(10);
  HealingPool pool(6, options);
  const auto pack = pool.pack(4, 2, 1'000'000);  // 16 leaves: a new challenge would hardly be the same
  const PackRef ref = pool.write_all(pack);
  pool.let_claims_spread();
  const size_t silent = pool.index_of(ref.holders[1]);
  pool.replace_by_liar(silent, Lie::silent);
  using Challenge = std::tuple<PackId, uint32_t, uint32_t>;
  std::map<NodeId, std::vector<Challenge>> put;
  env::Clock& clock = pool.sim.node(silent).clock();
  pool.machines[silent]->peers.serve(
      wire::Method::audit, peer::Access::members, [&](peer::Request request) -> env::Task<Result<peer::Reply>> {
        auto message = wire::decode<wire::AuditRequest>(ByteView(request.body));
        REQUIRE(message);
        for (const auto& one : message->challenges())
          put[request.from].emplace_back(*PackId::from(one.pack()), one.slot(), one.leaf());
        return [](env::Clock& never) -> env::Task<Result<peer::Reply>> {
          co_await env::sleep_for(never, hours(24));
          co_return fail(Code::timeout);
        }(clock);
      });
  const auto failed_by = [&](size_t i) {
    return pool.machines[i]->healing->scores().of(pool.id(silent)).audits_failed;
  };
  std::map<NodeId, size_t> tries_until_failed;
  REQUIRE(pool.within(hours(1), [&] {
    for (size_t i = 0; i < 6; ++i) {
      if (i != silent && failed_by(i) > 0) tries_until_failed.try_emplace(pool.id(i), put[pool.id(i)].size());
    }
    return tries_until_failed.size() >= 3;
  }));
  size_t most = 0;  // an ask whose session ends before it is sent is a try, too
  for (const auto& [node, tries] : tries_until_failed) {
    most = std::max(most, tries);
    for (const Challenge& again : put[node]) CHECK(again == put[node].front());
  }
  CHECK(most == kAuditTries);
}

TEST_CASE("slots whose writer died before it had placed them are completed by the siblings") {
  HealingPool pool(10);
  const auto pack = pool.pack(5, 3);
  // Six of eight slots, put as a writer does that knows no others.
  for (uint8_t slot = 0; slot < 6; ++slot) {
    wire::ShardPutRequest request;
    const auto& header = pack.header;
    request.mutable_header()->set_body(header.body.data(), header.body.size());
    request.mutable_header()->set_signature(header.signature.data(), header.signature.size());
    request.mutable_header()->set_public_key(header.writer_key.data(), header.writer_key.size());
    request.set_slot(slot);
    request.set_crc32c(pack.crcs[slot]);
    for (uint8_t i = 0; i < 8; ++i) request.add_siblings(i < 6 ? pool.id(i).raw() : "");
    auto put = pool.sim.run(peer::ask<wire::ShardPutResponse>(
        pool.client_machine->peers, pool.id(slot), wire::Method::shard_put, request, seconds(30), pack.shards[slot]));
    REQUIRE(put);
  }
  pool.sim.run_for(seconds(10));
  CHECK(pool.rebuilt() == 0);
  REQUIRE(pool.within(minutes(5), [&] { return pool.whole(pack); }));
  pool.let_claims_spread();
  pool.sim.run_for(minutes(30));
  CHECK(pool.one_each(pack));
  CHECK(pool.rebuilt() == 2);
}

TEST_CASE("a cut-off node repairs nothing but what is in danger, and the pool is as it was when it is back") {
  HealingPool pool(12);
  std::vector<content::EncodedPack> packs;
  for (int i = 0; i < 6; ++i) {
    packs.push_back(pool.pack(3, 5, 100'000));
    pool.write_all(packs.back());
  }
  pool.let_claims_spread();
  // Four of twelve are cut off together; from either side the margin of most packs is still above 0.
  pool.sim.network().partition({0, 1, 2, 3});
  REQUIRE(pool.within(minutes(30), [&] { return pool.repair(5).cut_off() && pool.repair(1).cut_off(); }));
  const auto rebuilt_by = [&](size_t i) { return pool.repair(i).counters().shards_rebuilt; };
  pool.sim.run_for(minutes(8));  // longer than the graces of margins 0 and 1
  uint64_t large_side = 0;
  for (size_t i = 4; i < 12; ++i) large_side += rebuilt_by(i);
  CHECK(large_side == 0);
  pool.sim.network().heal();
  REQUIRE(pool.within(minutes(30), [&] { return !pool.repair(5).cut_off() && !pool.repair(1).cut_off(); }));
  pool.sim.run_for(hours(2));
  for (const auto& pack : packs) CHECK(pool.one_each(pack));
}

TEST_CASE("mutant: a node that never believes that it is cut off rebuilds what is only out of sight") {
  HealingOptions options = quick();
  options.repair.without_cut_off = true;
  HealingPool pool(12, options);
  for (int i = 0; i < 6; ++i) pool.write_all(pool.pack(3, 5, 100'000));
  pool.let_claims_spread();
  pool.sim.network().partition({0, 1, 2, 3});
  CHECK(pool.within(hours(3), [&] { return pool.rebuilt() > 0; }));
}

TEST_CASE("a node whose disk was replaced says so, and its shards are rebuilt") {
  HealingPool pool(10);
  const auto pack = pool.pack(5, 3);
  const PackRef ref = pool.write_all(pack);
  pool.let_claims_spread();
  const size_t hit = pool.index_of(ref.holders[4]);
  pool.crash(hit);
  pool.come_back(hit, true);
  REQUIRE(pool.within(minutes(30), [&] { return pool.whole(pack); }));
  CHECK(pool.repair(hit).counters().disclaimed == 1);
  pool.let_claims_spread();
  CHECK(pool.one_each(pack));
}

TEST_CASE("whose disk failed is given shards again as soon as it has said what is gone, and has another disk") {
  HealingOptions options = quick();
  options.audit.every = options.audit.retry = seconds(1);
  options.audit.distrust_retry = hours(10);
  HealingPool pool(8, options);  // all are needed
  const auto pack = pool.pack(5, 3, 20'000);
  pool.write_all(pack);
  pool.let_claims_spread();
  // What is asked of it fails, until it gives the disk up.
  pool.sim.node(3).disk().wipe("store");
  const auto failed = [](Healing& healing) { return healing.auditor().counters().failed; };
  REQUIRE(pool.within(minutes(10), [&] { return pool.sum(failed) > 0; }));
  pool.add_disk(3);
  REQUIRE(pool.within(minutes(30), [&] { return pool.rebuilt() > 0; }));
}

TEST_CASE("a dead disk does not speak for the other disks of its machine") {
  HealingOptions options = quick();
  options.audit.every = options.audit.retry = seconds(1);
  HealingPool pool(9, options);
  std::vector<content::EncodedPack> packs;
  for (int i = 0; i < 6; ++i) {
    packs.push_back(pool.pack(5, 3, 20'000));
    pool.write_all(packs.back());
  }
  pool.let_claims_spread();
  const auto all_whole = [&] { return std::ranges::all_of(packs, [&](auto& pack) { return pool.one_each(pack); }); };
  // What was on the disk goes to the ninth machine. Then one more is lost, and the first has to take other slots of the
  // packs than those that its dead disk knew.
  pool.sim.node(3).disk().wipe("store");
  REQUIRE(pool.within(hours(1), all_whole));
  pool.add_disk(3);
  pool.lose(5);
  REQUIRE(pool.within(hours(1), all_whole));
  CHECK_FALSE(pool.sim.run(pool.machines[3]->holder->stores()[1]->list(std::nullopt, 100)).empty());
  // All of it is read and proven.
  const auto failed = [](Healing& healing) { return healing.auditor().counters().failed; };
  const auto proven = [](Healing& healing) { return healing.auditor().counters().proven; };
  const uint64_t failed_before = pool.sum(failed), proven_before = pool.sum(proven);
  REQUIRE(pool.within(hours(1), [&] { return pool.sum(proven) >= proven_before + 500; }));
  CHECK(pool.sum(failed) == failed_before);
}

TEST_CASE("who was caught is given shards only where there is nobody else, for a day after it has said what is gone") {
  HealingOptions options = quick();
  options.audit.every = options.audit.confirm = seconds(2);
  options.audit.passed_by = hours(3);  // that machines are gone is noticed in real time
  HealingPool pool(12, options);
  std::vector<content::EncodedPack> packs;
  for (int i = 0; i < 10; ++i) {
    packs.push_back(pool.pack(5, 3, 20'000));
    pool.write_all(packs.back());
  }
  pool.let_claims_spread();
  const auto all_whole = [&] { return std::ranges::all_of(packs, [&](auto& pack) { return pool.whole(pack); }); };
  const auto distrusting = [&](size_t node) {
    return pool.sum([&](Healing& healing) { return healing.auditor().distrusted(pool.id(node)) ? 1U : 0U; });
  };
  const size_t caught = 3;
  const auto passing_by = [&] {
    return pool.sum([&](Healing& healing) { return healing.auditor().passed_by(pool.id(caught)) ? 1U : 0U; });
  };
  const auto given = [&] {
    size_t slots = 0;
    for (const auto& pack : packs)
      slots += pool.sim.run(pool.machines[caught]->holder->stores()[0]->slots_of(pack.header.id)).size();
    return slots;
  };
  pool.replace_by_liar(caught, Lie::wrong_bytes);
  REQUIRE(pool.within(hours(2), [&] { return distrusting(caught) == 11 && all_whole(); }));
  pool.crash(caught);
  pool.come_back(caught, true);
  REQUIRE(pool.within(minutes(10), [&] { return distrusting(caught) == 0; }));
  pool.lose(5);
  REQUIRE(pool.within(hours(1), all_whole));
  CHECK(given() == 0);
  CHECK(passing_by() == 10);
  pool.sim.run_for(hours(3));
  CHECK(passing_by() == 0);
  pool.lose(7);
  REQUIRE(pool.within(hours(1), all_whole));
  CHECK(given() > 0);
}

TEST_CASE("machines lost one after the other never make a pack unreadable, down to the last k that there is room for") {
  HealingPool pool(10);
  std::vector<content::EncodedPack> packs;
  std::vector<PackRef> refs;
  for (int i = 0; i < 5; ++i) {
    packs.push_back(pool.pack(4, 2, 120'000));
    refs.push_back(pool.write_all(packs.back()));
  }
  pool.let_claims_spread();
  for (const size_t i : {9UL, 2UL, 5UL, 7UL}) {
    pool.lose(i);
    REQUIRE(pool.within(hours(1), [&] { return std::ranges::all_of(packs, [&](auto& p) { return pool.whole(p); }); }));
    pool.let_claims_spread();
  }
  for (size_t i = 0; i < packs.size(); ++i) {
    CHECK(pool.one_each(packs[i]));
    pool.require_readable(refs[i], packs[i]);  // by the hint of the time of writing
  }
}

TEST_CASE("the daily walk over own shards and claims takes few jobs, and looks at every pack") {
  HealingPool pool(3, HealingOptions{});  // at its real times
  constexpr size_t kPacks = 200;
  for (size_t i = 0; i < kPacks; ++i) pool.write_all(pool.pack(1, 2, 2'000));
  pool.let_claims_spread();
  const auto jobs_of = [&](Duration time) {
    const uint64_t before = pool.sim.node(1).counters().jobs;
    pool.sim.run_for(time);
    return pool.sim.node(1).counters().jobs - before;
  };
  // All that was announced has been looked at since: beginning and end of the writer's time.
  pool.sim.run_for(kUnclaimedGrace + minutes(5));
  // A day's length on from the first walk.
  while (pool.sim.now() < Time{} + kWalkDelay + kWalkEvery - minutes(5)) pool.sim.run_for(minutes(1));
  const uint64_t looked_at = pool.repair(1).counters().looked_at;
  const uint64_t quiet = jobs_of(minutes(4) - seconds(1));
  CHECK(pool.repair(1).counters().looked_at == looked_at);
  const uint64_t walking = jobs_of(minutes(20));
  CHECK(pool.repair(1).counters().looked_at == looked_at + kPacks);
  INFO("jobs in four minutes: " << quiet << ", in the twenty of the walk: " << walking);
  CHECK(walking <= 5 * quiet + 20 + kPacks / 4);
}

TEST_CASE("a set of packs counts each once, and forgets") {
  PackSet set;
  std::set<PackId> expected;
  env::Prng prng(1);
  for (int i = 0; i < 20'000; ++i) {
    PackId pack;
    const uint64_t which = prng.below(4000);
    pack.bytes[0] = static_cast<uint8_t>(which >> 4);
    pack.bytes[7] = static_cast<uint8_t>(which & 15);
    if (prng.below(3) == 0) {
      set.erase(pack);
      expected.erase(pack);
    } else {
      set.insert(pack);
      expected.insert(pack);
    }
    REQUIRE(set.size() == expected.size());
  }
}

TEST_CASE("of a node that is away nothing is noted for each of its shards, and its packs count as incomplete") {
  HealingPool pool(10);
  for (int i = 0; i < 10; ++i) pool.write_all(pool.pack(5, 3, 2'000));
  pool.let_claims_spread();
  pool.lose(3);
  pool.sim.run_for(minutes(2));
  size_t incomplete = 0;
  for (size_t i = 0; i < 10; ++i) {
    if (!pool.up(i)) continue;
    incomplete += pool.repair(i).incomplete();
    CHECK(pool.repair(i).missed() == 0);
  }
  CHECK(incomplete > 0);  // they wait for their grace
}

TEST_CASE("what is known of other nodes survives a restart") {
  HealingOptions options = quick();
  options.audit.every = seconds(10);
  HealingPool pool(5, options);
  pool.write_all(pool.pack(2, 2));
  pool.let_claims_spread();
  pool.sim.run_for(minutes(5));
  const size_t one = 1;
  std::map<NodeId, NodeScore> before;
  for (size_t i = 0; i < 5; ++i) before[pool.id(i)] = pool.machines[one]->healing->scores().of(pool.id(i));
  CHECK(std::ranges::any_of(before, [](const auto& entry) { return entry.second.audits_passed > 0; }));
  pool.sim.run_for(seconds(30));  // they are saved every ten seconds
  pool.crash(one, sim::CrashKind::process);
  pool.restart(one);
  for (const auto& [node, score] : before) {
    const NodeScore now = pool.machines[one]->healing->scores().of(node);
    CHECK(now.audits_passed >= score.audits_passed);
    CHECK(now.online >= score.online);
  }
}

}  // namespace cairn::pool
