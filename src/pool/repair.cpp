#include "pool/repair.h"

#include "pool/mailbox.h"

namespace cairn::pool {

namespace {

// Entries of one page of a walk; between two, others have their turn.
constexpr size_t kPage = 256;
// Between two batches of the walk over own shards: a million take nine hours and a part of 1 % of a core.
constexpr Duration kOwnWalkPause = 4 * kWalkPause;
// Between two pages of the walk over own claims, which only compares two indexes: a million in half an hour.
constexpr Duration kDisclaimPause = 2 * kWalkPause;

bool is_there(peer::NodeState state) {
  return state == peer::NodeState::alive || state == peer::NodeState::suspect || state == peer::NodeState::unknown;
}

}  // namespace

Repair::Repair(env::World world, peer::Peers& peers, Holder& holder, ShardMover& mover, Auditor& auditor,
               NodeScores& scores, RepairOptions options)
    : world_(world),
      peers_(peers),
      holder_(holder),
      mover_(mover),
      auditor_(auditor),
      scores_(scores),
      options_(options),
      times_(options.times),
      timeline_changed_(world.executor),
      ready_changed_(world.executor),
      walk_changed_(world.executor),
      tasks_(world.executor) {
  peers_.serve(wire::Method::repair_intent, peer::Access::members,
               [this](peer::Request request) { return serve_intent(std::move(request)); });
  holder_.on_news([this](const ShardId& shard, const NodeId& node, ClaimState state) { on_news(shard, node, state); });
  mover_.set_trust(
      {.bad_source = [this](const ShardId& shard, const NodeId& node) { return auditor_.distrusted(shard, node); },
       .bad_keeper = [this](const NodeId& node) { return auditor_.distrusted(node); },
       .last_choice = [this](const NodeId& node) { return auditor_.passed_by(node); },
       .found_bad = [this](const ShardId& shard, const NodeId& node) { auditor_.suspect(shard, node); }});
  auditor_.on_change([this](const ShardId& shard) { schedule(shard.pack, world_.clock.now()); });
}

void Repair::start() {
  states_at_ = world_.clock.now();
  tasks_.spawn(states_loop());
  tasks_.spawn(walk_lost_loop());
  tasks_.spawn(walk_own_loop());
  tasks_.spawn(timeline_loop());
  for (size_t i = 0; i < kRepairsAtOnce; ++i) tasks_.spawn(repair_loop());
}

void Repair::stop() {
  tasks_.cancel();
}

void Repair::set_paused(bool paused) {
  paused_ = paused;
  ready_changed_.notify_all();
}

// --- the nodes ---

Presence Repair::presence(const NodeId& node, Time& away_since) const {
  if (node == peers_.identity().node) return Presence::there;
  const peer::NodeState state = peers_.state(node);
  if (is_there(state)) return Presence::there;
  if (state != peer::NodeState::departed) return Presence::lost;
  const auto seen = nodes_.find(node);
  // Not noticed yet: it has only just gone.
  away_since = seen != nodes_.end() && seen->second.state == state ? seen->second.away_since : world_.clock.now();
  return Presence::away;
}

void Repair::look_at_states() {
  const Time now = world_.clock.now();
  const NodeId self = peers_.identity().node;
  size_t there = 1;
  std::vector<Time> departures;
  const auto look = [&](const NodeId& node, peer::NodeState state, Seen& seen) {
    if (seen.score == nullptr) seen.score = &scores_.at(node);
    const peer::NodeState before = std::exchange(seen.state, state);
    const bool away = state == peer::NodeState::departed;
    // As long ago as was noted in an earlier life of this process.
    if (away && before != state) seen.away_since = now - std::chrono::milliseconds(seen.score->away);
    seen.score->set_away(away ? std::optional(now - seen.away_since) : std::nullopt);
    if (is_there(state) || away) seen.score->observe(!away, now - states_at_);
    there += is_there(state) ? 1 : 0;
    if (away) departures.push_back(seen.away_since);
    if (is_there(state) == is_there(before) || options_.without_walks) return;
    to_walk_.insert(node);
    walk_changed_.notify_all();
  };
  // Both tables are in the order of NodeIDs. What is only in the own one was removed since.
  auto known = nodes_.begin();
  peers_.membership().any_node([&](const peer::NodeInfo& node) {
    if (node.id == self) return false;
    for (; known != nodes_.end() && known->first < node.id; ++known)
      look(known->first, peers_.state(known->first), known->second);
    if (known == nodes_.end() || known->first != node.id) known = nodes_.emplace_hint(known, node.id, Seen{});
    look(known->first, peers_.state(node), known->second);
    ++known;
    return false;
  });
  for (; known != nodes_.end(); ++known) look(known->first, peers_.state(known->first), known->second);
  states_at_ = now;
  const auto cut_off =
      options_.without_cut_off ? std::nullopt : cut_off_until(std::move(departures), there, times_, now);
  if (const auto before = std::exchange(cut_off_, cut_off); before && !(cut_off && *cut_off >= *before)) {
    // What was put off for it is due earlier.
    for (const auto& [node, seen] : nodes_) {
      if (seen.state == peer::NodeState::departed) to_walk_.insert(node);
    }
    walk_changed_.notify_all();
  }
}

env::Task<void> Repair::states_loop() {
  while (true) {
    look_at_states();
    co_await env::sleep_for(world_.clock, times_.states_every);
  }
}

// What a node that went, or came back, shares with this one: a walk over its claims in the index.
env::Task<void> Repair::walk_lost_loop() {
  while (true) {
    while (to_walk_.empty()) co_await walk_changed_.wait();
    const NodeId node = *to_walk_.begin();
    to_walk_.erase(to_walk_.begin());
    std::optional<ShardId> after;
    while (true) {
      auto page = co_await holder_.held_by(node, after, kPage);
      if (!page) {
        world_.log.error("repair_walk", "error=\"{}\"", to_string(page.error()));
        break;
      }
      if (page->empty()) break;
      after = page->back();
      counters_.walked += page->size();
      for (const ShardId& shard : *page) schedule(shard.pack, world_.clock.now());
      // The timeline has its turn: it is emptied faster than this fills it.
      while (when_.size() >= kMaxScheduled) co_await timeline_changed_.wait();
    }
  }
}

// Own claims whose shards are in no store: a disk was lost, or taken away. Their siblings are told.
env::Task<void> Repair::disclaim_lost(bool only_missing) {
  const NodeId self = peers_.identity().node;
  const Time now = world_.clock.now();
  // A disk that cannot be read now is one that is missing.
  bool complete = !all_stores_open_ || all_stores_open_();
  for (size_t i = 0; i < holder_.stores().size(); ++i) {
    const auto probe = co_await holder_.stores()[i]->describe(ShardId{});
    complete = complete && !probe && probe.error().code == Code::not_found;
  }
  if (complete) {
    incomplete_since_.reset();
    if (only_missing) co_return;
  } else if (now - incomplete_since_.emplace(incomplete_since_.value_or(now)) < times_.missing_disk) {
    co_return;
  }
  std::optional<ShardId> after;
  while (true) {
    auto page = co_await holder_.held_by(self, after, kPage);
    if (!page || page->empty()) co_return;
    after = page->back();
    const std::vector<bool> lost = co_await in_no_store(*page, complete);
    for (size_t i = 0; i < page->size(); ++i) {
      if (!lost[i] || options_.without_disclaiming) continue;
      ++counters_.disclaimed;
      holder_.announce((*page)[i], ClaimState::gone, {});
    }
    co_await env::sleep_for(world_.clock, kDisclaimPause);
  }
}

env::Task<std::vector<bool>> Repair::in_no_store(std::vector<ShardId> shards, bool complete) {
  std::vector<bool> lost(shards.size(), true);
  for (size_t i = 0; i < holder_.stores().size(); ++i) {
    auto held = co_await holder_.stores()[i]->holds(shards);
    for (size_t j = 0; j < shards.size(); ++j) {
      if (!lost[j]) continue;
      if (held) {
        lost[j] = !(*held)[j];
        continue;
      }
      const auto found = co_await holder_.stores()[i]->describe(shards[j]);
      // An error but "not here" counts only for as long as a missing disk does.
      lost[j] = !found && (found.error().code == Code::not_found || !complete);
    }
  }
  co_return lost;
}

// What no event told of: after a crash, or when the timeline was full.
env::Task<void> Repair::walk_own_loop() {
  co_await env::sleep_for(world_.clock, times_.walk_delay);
  while (true) {
    overflowed_ = false;
    co_await disclaim_lost(false);
    for (size_t i = 0; i < holder_.stores().size(); ++i) {
      std::optional<ShardId> after;
      while (i < holder_.stores().size()) {
        const auto page = co_await holder_.stores()[i]->list(after, kWalkBatch);
        if (page.empty()) break;
        after = page.back();
        std::vector<PackId> packs;
        for (const ShardId& shard : page) {
          if (!when_.contains(shard.pack) && (packs.empty() || packs.back() != shard.pack)) packs.push_back(shard.pack);
        }
        co_await evaluate_all(std::move(packs));
        co_await env::sleep_for(world_.clock, kOwnWalkPause);
      }
    }
    const Time next = world_.clock.now() + times_.walk_every;
    while (world_.clock.now() < next && !(overflowed_ && when_.size() < kMaxScheduled / 2)) {
      co_await env::sleep_for(world_.clock, times_.walk_delay);
      co_await disclaim_lost(true);
    }
  }
}

// --- the timeline ---

void Repair::schedule(const PackId& pack, Time when) {
  const auto known = when_.find(pack);
  if (known != when_.end()) {
    if (known->second <= when) return;
    timeline_.erase({known->second, pack});
    known->second = when;
  } else {
    if (when_.size() >= kMaxScheduled) {
      overflowed_ = true;
      return;
    }
    when_[pack] = when;
  }
  timeline_.insert({when, pack});
  if (timeline_.begin()->second == pack) timeline_changed_.notify_all();
}

void Repair::unschedule(const PackId& pack) {
  const auto known = when_.find(pack);
  if (known == when_.end()) return;
  timeline_.erase({known->second, pack});
  when_.erase(known);
}

void Repair::on_news(const ShardId& shard, const NodeId& node, ClaimState state) {
  const Time now = world_.clock.now();
  if (state == ClaimState::held) {
    const auto placed = placed_.find(shard);
    if (placed != placed_.end() && placed->second.to == node) placed_.erase(placed);
    // Of a pack that is being written all come within a moment: looked at once, when all should be there.
    schedule(shard.pack, now + times_.unclaimed);
  } else {
    schedule(shard.pack, now);
  }
}

env::Task<void> Repair::timeline_loop() {
  while (true) {
    const Time next = timeline_.empty() ? Time::never() : timeline_.begin()->first;
    if (next > world_.clock.now()) {
      co_await wait_until(world_.clock, timeline_changed_, next);
      continue;
    }
    std::vector<PackId> due;
    const size_t most = mover_.serves_clients() ? 1 : kWalkBatch;
    while (!timeline_.empty() && timeline_.begin()->first <= world_.clock.now() && due.size() < most) {
      due.push_back(timeline_.begin()->second);
      unschedule(due.back());
    }
    timeline_changed_.notify_all();
    co_await evaluate_all(std::move(due));
    if (mover_.serves_clients()) co_await env::sleep_for(world_.clock, kStandBackPause);
  }
}

env::Task<void> Repair::repair_loop() {
  while (true) {
    while (ready_.empty() || paused_) co_await ready_changed_.wait();
    const PackId pack = ready_.begin()->second;
    ready_.erase(ready_.begin());
    if (!at_work_.insert(pack).second) continue;
    co_await repair(pack);
    at_work_.erase(pack);
    schedule(pack, world_.clock.now() + times_.settle);
  }
}

}  // namespace cairn::pool
