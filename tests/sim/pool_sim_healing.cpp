// What is required of holders that are left to themselves.

#include "sim/pool_sim_impl.h"

namespace cairn::sim::pool_simulation {

namespace {

using std::chrono::minutes;

// Departure of a silent machine takes up to seven minutes at the simulator's slow probing, the longest grace 72 s, a
// surplus copy 24 s.
constexpr Duration kWholeWithin = minutes(25);
constexpr Duration kLookEvery = seconds(20);
constexpr int kMostCollections = 8;

}  // namespace

size_t PoolSim::machine_of(const NodeId& node) const {
  for (size_t i = 0; i < options_.nodes; ++i) {
    if (identities_[i].node == node) return i;
  }
  return options_.nodes;
}

// Every slot of each pack that is not dead: verified, at one machine that is up and honest.
Task<PoolSim::Whole> PoolSim::look_at_packs() {
  Whole found;
  std::map<PackId, std::vector<size_t>> copies;
  std::map<PackId, uint32_t> geometry;
  for (const pool::PackRef& pack : packs_) {
    copies[pack.id].resize(pack.geometry.k + pack.geometry.m);
    geometry[pack.id] = pack.geometry.k;
  }
  std::map<PackId, std::string> where;
  std::map<PackId, std::set<uint8_t>> there;
  for (size_t i = 0; i < options_.nodes; ++i) {
    if (!holders_[i] || !holders_[i]->ready()) continue;
    const auto& store = holders_[i]->holder().stores().front();
    const auto shards = co_await store->list(std::nullopt, SIZE_MAX);
    for (const ShardId& shard : shards) {
      const auto pack = copies.find(shard.pack);
      if (pack == copies.end()) {
        ++found.dead;
        if (found.example.empty())
          found.example = fmt::format("slot {} of {} is still at n{}", shard.slot, shard.pack.short_hex(), i);
        continue;
      }
      if (!counts(i) || shard.slot >= pack->second.size()) continue;
      auto described = co_await store->describe(shard);
      if (!described) continue;
      there[shard.pack].insert(shard.slot);
      if (!described->verified) continue;
      ++pack->second[shard.slot];
      where[shard.pack] += fmt::format(" {}:n{}", shard.slot, i);
    }
  }
  for (const auto& [pack, slots] : copies) {
    if (there[pack].size() < geometry[pack])
      failure(fmt::format("only {} slots of {} are there: {} are needed", there[pack].size(), pack.short_hex(),
                          geometry[pack]));
    for (uint32_t slot = 0; slot < slots.size(); ++slot) {
      if (slots[slot] == 1) continue;
      ++(slots[slot] == 0 ? found.missing : found.twice);
      if (!found.example_pack.is_zero()) continue;
      found.example =
          fmt::format("slot {} of {} has {} holders ({})", slot, pack.short_hex(), slots[slot], where[pack]);
      found.example_pack = pack;
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

// The packs that must be kept: those of the head, and all that a client has written and its owner has not called dead,
// whether a head refers to them or not.
void PoolSim::note_packs() {
  auto packs = sim_.run(clients_.back()->volume().packs_in_use());
  if (!packs) {
    failure("the packs are not known: " + to_string(packs.error()));
    return;
  }
  packs_.clear();
  std::set<PackId> known;
  for (const pool::PackRef& pack : *packs) {
    if (log_.dead(pack.id) && !equivocator_) failure("a tombstone for a live pack: " + pack.id.short_hex());
    if (known.insert(pack.id).second) packs_.push_back(pack);
  }
  packs_in_head_ = packs_.size();
  for (const auto& [id, pack] : log_.written) {
    if (!log_.dead(id) && known.insert(id).second) packs_.push_back(pack);
  }
}

void PoolSim::require_whole(const std::string& when, bool without_dead) {
  const Time end = sim_.now() + kWholeWithin;
  Whole now;
  while (sim_.now() < end) {
    sim_.run_for(kLookEvery);
    now = sim_.run(look_at_packs());
    for (const size_t i : liars_) sim_.run(note_given(i));
    if (!without_dead) now.dead = 0;
    if (now.missing + now.twice + now.dead == 0) break;
  }
  sim_.trace().event(sim_.now(), "check", when);
  if (now.missing + now.twice + now.dead == 0) return;
  failure(fmt::format("{}: {} slots are missing and {} are held twice of {} packs, {} shards are of dead packs: {}{}",
                      when, now.missing, now.twice, packs_.size(), now.dead, now.example,
                      sim_.run(known_of(now.example_pack))));
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

// Who lies may be given shards until it is found out again, and may drop them as surplus then: noted while they are
// there.
Task<void> PoolSim::note_given(size_t holder) {
  if (!holders_[holder] || !holders_[holder]->ready()) co_return;
  const auto& store = holders_[holder]->holder().stores().front();
  const auto shards = co_await store->list(std::nullopt, SIZE_MAX);
  for (const ShardId& shard : shards) {
    if (given_.contains({holder, shard})) continue;
    auto described = co_await store->describe(shard);
    if (!described) continue;
    const content::PackGeometry& geometry = described->header.geometry;
    given_[{holder, shard}] = uint64_t{geometry.k + 1} * geometry.shard_length;
  }
}

uint64_t PoolSim::cost_of_given() const {
  uint64_t bytes = 0;
  for (const auto& [shard, cost] : given_) bytes += cost;
  return bytes;
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
  const size_t count = prng_.between(1, std::min<uint32_t>(m_, 4));
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
  given_.clear();
  for (size_t i = 0; i < options_.nodes; ++i) {
    if (liars_.contains(i) || chosen.contains(i)) sim_.run(note_given(i));
  }
  const uint64_t given_before = cost_of_given();
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
    const uint64_t how = prng_.below(4);
    // With a keeper's memory a part of the volume's head goes: of five, two.
    const bool keeper = std::ranges::find(keepers_, i) != keepers_.end();
    const bool for_good = how < 2 && !(keeper && (keepers_lost_ >= 2 || equivocator_));
    if (for_good && keeper) ++keepers_lost_;
    if (for_good && how == 0) {
      destroyed_.insert(i);
      continue;
    }
    sim_.node(i).restart();
    if (how < 3) {
      sim_.node(i).disk().wipe(for_good ? "" : "store");
      liars_.erase(i);
      start_holder(i, true);
    } else {
      liars_.insert(i);
      start_holder(i, false);
    }
  }
  require_whole(fmt::format("{} machines of {} lost at once", chosen.size(), options_.nodes));
  const uint64_t moved = bytes_moved() - moved_before;
  allowed += (rot_found() - rot_before) * largest;
  allowed += cost_of_given() - given_before;
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

// One is away until its shards are rebuilt, while files are removed and their packs buried, and comes back: with all
// that it had, or lying.
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
  for (size_t i = 0; i < options_.clients; ++i) sim_.run(remove(i, *clients_.back()), minutes(10));
  static_cast<void>(sim_.run(collect(*clients_.back(), minutes(10)), minutes(30)));
  note_packs();
  if (prng_.chance(0.5)) liars_.insert(away);
  sim_.node(away).restart();
  start_holder(away, false);
  sim_.run_for(minutes(3));
  require_whole("a machine is back");
}

// All that no head needs is found and buried, and then nothing of it is anywhere: neither what was forgotten by who was
// away, nor what a repair has brought back.
void PoolSim::give_space_back() {
  if (equivocator_) return;
  left_alone_ = true;
  // The keepers among whom the middle clock was when an upload was noted may have been a month ahead: then it waits for
  // so much longer. All go on by more than that.
  for (size_t i = 0; i < options_.nodes; ++i) {
    if (holders_[i] && holders_[i]->ready()) sim_.node(i).jump_wall_clock(std::chrono::hours(24 * 100));
  }
  clients_.back()->node().jump_wall_clock(std::chrono::hours(24 * 100));
  // The first notes uploads that were never committed, the second buries them; and each commit leaves packs behind.
  for (int i = 0; i < kMostCollections && (i < 2 || last_commits_ > 0); ++i) {
    const Status done = sim_.run(collect(*clients_.back(), Duration{}), std::chrono::hours(1));
    if (!done) sim_.run_for(seconds(30));
    if (!done && i + 1 == kMostCollections) failure("the garbage cannot be collected: " + to_string(done.error()));
  }
  note_packs();
  if (packs_.size() > packs_in_head_)
    failure("a pack that no head needs was not buried: " + packs_[packs_in_head_].id.short_hex() +
            sim_.run(known_of(packs_[packs_in_head_].id)));
  if (result_.failures.empty()) require_whole("garbage was collected", true);
  left_alone_ = false;
}

void PoolSim::heal() {
  if (const Status opened = open_reader(); !opened) {
    failure("the volume cannot be opened after the faults: " + to_string(opened.error()));
    return;
  }
  note_packs();
  left_alone_ = true;
  require_whole("after the faults");
  if (result_.failures.empty()) lose_some();
  if (result_.failures.empty()) be_away_for_long();
  left_alone_ = false;
  for (size_t i = 0; i < options_.nodes; ++i) {
    if (!holders_[i] || !holders_[i]->ready()) continue;
    // All writers here are honest, and repair proves what it takes from others.
    if (const uint64_t wrong = holders_[i]->holder().counters().writer_faults; wrong > 0 && counts(i))
      failure(fmt::format("n{} was given {} shards that are not what their writers signed", i, wrong));
    result_.repairs += holders_[i]->healing().repair().counters().shards_rebuilt;
    result_.surplus_dropped += holders_[i]->healing().repair().counters().surplus_dropped;
  }
}

}  // namespace cairn::sim::pool_simulation
