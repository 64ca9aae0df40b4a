// What is required of holders that are left to themselves.

#include "sim/pool_sim_impl.h"

namespace cairn::sim::pool_simulation {

namespace {

using std::chrono::minutes;

// Departure of a silent machine takes up to seven minutes at the simulator's slow probing, the longest grace 72 s, a
// surplus copy 24 s.
constexpr Duration kWholeWithin = minutes(25);
constexpr Duration kLookEvery = seconds(20);

}  // namespace

size_t PoolSim::machine_of(const NodeId& node) const {
  for (size_t i = 0; i < options_.nodes; ++i) {
    if (identities_[i].node == node) return i;
  }
  return options_.nodes;
}

// Every slot of each pack of the head: verified, at one machine that is up and honest.
Task<PoolSim::Whole> PoolSim::look_at_packs() {
  Whole found;
  for (const pool::PackRef& pack : packs_) {
    const uint32_t slots = pack.geometry.k + pack.geometry.m;
    std::vector<size_t> copies(slots);
    std::string where;
    for (size_t i = 0; i < options_.nodes; ++i) {
      if (!counts(i)) continue;
      const auto& store = holders_[i]->holder().stores().front();
      const auto held = co_await store->slots_of(pack.id);
      for (const uint8_t slot : held) {
        auto described = co_await store->describe({pack.id, slot});
        if (!described || !described->verified || slot >= slots) continue;
        ++copies[slot];
        where += fmt::format(" {}:n{}", slot, i);
      }
    }
    for (uint32_t slot = 0; slot < slots; ++slot) {
      if (copies[slot] == 1) continue;
      ++(copies[slot] == 0 ? found.missing : found.twice);
      if (found.example.empty()) {
        found.example =
            fmt::format("slot {} of {} has {} holders ({})", slot, pack.id.short_hex(), copies[slot], where);
        found.example_pack = pack.id;
      }
    }
  }
  co_return found;
}

// Who claims what of a pack in the eyes of each machine that knows of it.
Task<std::string> PoolSim::known_of(PackId pack) {
  std::string text;
  for (size_t i = 0; i < options_.nodes; ++i) {
    if (!counts(i)) continue;
    auto claims = co_await holders_[i]->holder().claims_of(pack);
    if (!claims || claims->empty()) continue;
    text += fmt::format("\n    n{} knows", i);
    for (const pool::Claim& claim : *claims)
      text += fmt::format(" {}:n{}{}", claim.shard.slot, machine_of(claim.node),
                          claim.state == pool::ClaimState::held   ? ""
                          : claim.state == pool::ClaimState::gone ? "(gone)"
                                                                  : "(leaving)");
  }
  co_return text;
}

void PoolSim::require_whole(const std::string& when) {
  const Time end = sim_.now() + kWholeWithin;
  Whole now;
  while (sim_.now() < end) {
    sim_.run_for(kLookEvery);
    now = sim_.run(look_at_packs());
    if (now.missing + now.twice == 0) break;
  }
  sim_.trace().event(sim_.now(), "check", when);
  if (now.missing + now.twice == 0) return;
  failure(fmt::format("{}: {} slots are missing and {} are held twice of {} packs: {}{}", when, now.missing, now.twice,
                      packs_.size(), now.example, sim_.run(known_of(now.example_pack))));
}

// Rot that is found meanwhile is repaired, too.
uint64_t PoolSim::rot_found() const {
  uint64_t found = 0;
  for (size_t i = 0; i < options_.nodes; ++i) {
    if (holders_[i] && holders_[i]->ready()) found += holders_[i]->holder().counters().rotten_shards;
  }
  return found;
}

// What rebuilding all that lies there may move: k+1 times its bytes.
Task<uint64_t> PoolSim::repair_cost(size_t holder) {
  uint64_t bytes = 0;
  std::optional<ShardId> after;
  const auto& store = holders_[holder]->holder().stores().front();
  while (true) {
    const auto page = co_await store->list(after, 256);
    if (page.empty()) co_return bytes;
    after = page.back();
    for (const ShardId& shard : page) {
      auto described = co_await store->describe(shard);
      if (described) bytes += uint64_t{described->header.geometry.k + 1} * described->header.geometry.shard_length;
    }
  }
}

uint64_t PoolSim::bytes_moved() const {
  uint64_t bytes = 0;
  for (size_t i = 0; i < options_.nodes; ++i) {
    if (!holders_[i] || !holders_[i]->ready()) continue;
    const auto counters = holders_[i]->healing().mover().counters();
    bytes += counters.bytes_fetched + counters.bytes_sent;
  }
  return bytes;
}

std::map<PackId, uint32_t> PoolSim::most_in_a_domain() {
  std::map<PackId, uint32_t> most;
  for (const pool::PackRef& pack : packs_) {
    std::map<std::string, uint32_t> held;
    for (size_t i = 0; i < options_.nodes; ++i) {
      if (!counts(i)) continue;
      const auto slots = sim_.run(holders_[i]->holder().stores().front()->slots_of(pack.id));
      uint32_t& count = held[holders_[i]->domain()];
      count += static_cast<uint32_t>(slots.size());
      most[pack.id] = std::max(most[pack.id], count);
    }
  }
  return most;
}

// Whoever drops its copy for another's must not be deceived.
Task<void> PoolSim::check_drop(ShardId shard, NodeId keeper) {
  const size_t machine = machine_of(keeper);
  bool has = machine < options_.nodes && counts(machine);
  if (has) {
    const auto slots = co_await holders_[machine]->holder().stores().front()->slots_of(shard.pack);
    has = std::ranges::find(slots, shard.slot) != slots.end();
  }
  if (!has)
    failure(fmt::format("a copy of slot {} of {} was dropped for one that is not there", shard.slot,
                        shard.pack.short_hex()));
}

// Up to m machines at once: lost for good, with an empty disk, or lying from now on.
void PoolSim::lose_some() {
  const auto before = most_in_a_domain();
  std::set<size_t> chosen;
  const size_t count = prng_.between(1, m_);
  while (chosen.size() < count) chosen.insert(prng_.between(1, options_.nodes - 1));  // the first is who all dial
  uint64_t allowed = 0;
  for (const size_t i : chosen) allowed += sim_.run(repair_cost(i));
  uint64_t largest = 0;  // of one shard
  for (const pool::PackRef& pack : packs_)
    largest = std::max(largest, uint64_t{pack.geometry.k + 1} * pack.geometry.shard_length);
  const uint64_t rot_before = [&] {
    uint64_t found = rot_found();
    for (const size_t i : chosen) found -= holders_[i]->holder().counters().rotten_shards;
    return found;
  }();
  const uint64_t moved_before = [&] {
    uint64_t bytes = bytes_moved();
    for (const size_t i : chosen) {
      const auto counters = holders_[i]->healing().mover().counters();
      bytes -= counters.bytes_fetched + counters.bytes_sent;
    }
    return bytes;
  }();
  for (const size_t i : chosen) {
    ++result_.losses;
    crash_holder(i, CrashKind::power);
    const uint64_t how = prng_.below(3);
    if (how == 0) {
      destroyed_.insert(i);
      continue;
    }
    sim_.node(i).restart();
    if (how == 1) {
      sim_.node(i).disk().wipe("store");
      start_holder(i, true);
    } else {
      setup_.lies = true;
      start_holder(i, false);
      setup_.lies = false;
    }
  }
  require_whole(fmt::format("{} machines of {} lost at once", chosen.size(), options_.nodes));
  const uint64_t moved = bytes_moved() - moved_before;
  allowed += (rot_found() - rot_before) * largest;
  result_.bytes_lost += allowed;
  result_.bytes_moved += moved;
  if (moved > allowed + allowed / 2) failure(fmt::format("repair moved {} where {} are needed", moved, allowed));
  // Where the pool has few domains left the cap may be passed.
  const uint32_t cap = pool::domain_cap(m_);
  std::set<std::string> domains;
  for (size_t i = 0; i < options_.nodes; ++i) {
    if (counts(i)) domains.insert(holders_[i]->domain());
  }
  if (packs_.empty() || domains.size() < (packs_[0].geometry.k + m_) / cap + 2) return;
  for (const auto& [pack, most] : most_in_a_domain()) {
    if (most > cap && before.at(pack) <= cap) {
      failure(fmt::format("repair put {} shards of {} into one domain", most, pack.short_hex()));
    }
  }
}

// One is away until its shards are rebuilt, and comes back: with them, or lying.
void PoolSim::be_away_for_long() {
  std::vector<size_t> up;
  for (size_t i = 1; i < options_.nodes; ++i) {
    if (counts(i)) up.push_back(i);
  }
  const size_t away = up[prng_.below(up.size())];
  ++result_.losses;
  crash_holder(away, CrashKind::power);
  require_whole("a machine is away");
  if (!result_.failures.empty()) return;
  setup_.lies = prng_.chance(0.5);
  sim_.node(away).restart();
  start_holder(away, false);
  setup_.lies = false;
  sim_.run_for(minutes(3));
  require_whole("a machine is back");
}

void PoolSim::heal() {
  if (const Status opened = open_reader(); !opened) {
    failure("the volume cannot be opened after the faults: " + to_string(opened.error()));
    return;
  }
  auto packs = sim_.run(clients_.back()->volume().packs_in_use());
  if (!packs) {
    failure("the packs are not known: " + to_string(packs.error()));
    return;
  }
  packs_ = std::move(*packs);
  left_alone_ = true;
  require_whole("after the faults");
  if (result_.failures.empty()) lose_some();
  if (result_.failures.empty()) be_away_for_long();
  left_alone_ = false;
  for (size_t i = 0; i < options_.nodes; ++i) {
    if (!holders_[i] || !holders_[i]->ready()) continue;
    result_.repairs += holders_[i]->healing().repair().counters().shards_rebuilt;
    result_.surplus_dropped += holders_[i]->healing().repair().counters().surplus_dropped;
  }
}

}  // namespace cairn::sim::pool_simulation
