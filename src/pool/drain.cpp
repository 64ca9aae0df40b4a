#include "pool/drain.h"

#include "base/crc32c.h"
#include "pool/limits.h"
#include "proto/pack.pb.h"
#include "wire/message.h"

namespace cairn::pool {

Drain::Drain(env::World world, peer::Peers& peers, Holder& holder, ShardMover& mover)
    : world_(world),
      peers_(peers),
      holder_(holder),
      mover_(mover),
      urgent_(world, peers, holder, {.bytes_per_second = kYieldRate}),
      places_(world.executor, kDrainAtOnce),
      ordered_(world.executor),
      drops_(world.executor) {}

Drain::~Drain() = default;

store::ShardStore* Drain::find(const StoreId& id) const {
  for (const auto& store : holder_.stores()) {
    if (store->id() == id) return store.get();
  }
  return nullptr;
}

void Drain::set_goal(const StoreId& id, std::optional<DrainGoal> goal) {
  const auto found = jobs_.find(id);
  if (!goal) {
    if (found == jobs_.end()) return;
    found->second->tasks.cancel();
    say_held(*found->second);
    jobs_.erase(found);
    return;
  }
  const store::ShardStore* store = find(id);
  if (store == nullptr) return;
  if (found != jobs_.end()) {
    found->second->goal = *goal;
    return;
  }
  auto job = std::make_unique<Job>(world_.executor);
  job->goal = *goal;
  job->first_used = store->figures().used;
  job->first_shards = store->figures().shards;
  job->tasks.spawn(run(id, *job));
  jobs_.emplace(id, std::move(job));
}

void Drain::say_held(Job& job) {
  for (const ShardId& shard : std::exchange(job.leaving, {})) holder_.announce(shard, ClaimState::held, {});
}

env::Task<void> Drain::stop() {
  for (auto& [id, job] : jobs_) {
    job->tasks.cancel();
    say_held(*job);
  }
  jobs_.clear();
  ordered_.tasks.cancel();
  say_held(ordered_);
  co_await drops_.join();
}

env::Task<Status> Drain::move_to(ShardId shard, NodeId to) {
  env::OneShot<Status> moved(world_.executor);
  // Whoever asks may go away: a shard that is said to be leaving must leave, or be held again.
  ordered_.tasks.spawn([](Drain& self, ShardId which, NodeId where, env::OneShot<Status> done) -> env::Task<void> {
    auto permit = co_await self.places_.acquire();
    auto status = co_await self.move_away(self.ordered_, which, where);
    done.set(std::move(status));
  }(*this, shard, to, moved));
  auto status = co_await moved;
  co_return status;
}

std::optional<DrainProgress> Drain::progress(const StoreId& id) const {
  const auto found = jobs_.find(id);
  const store::ShardStore* store = find(id);
  if (found == jobs_.end() || store == nullptr) return std::nullopt;
  const Job& job = *found->second;
  const auto figures = store->figures();
  DrainProgress progress{.active = !enough(job, *store), .moved = job.moved};
  progress.stuck = std::max(job.stuck, job.stuck_before);
  progress.why_stuck = job.why_stuck;
  double share = 1;
  if (job.goal.used == 0) {
    const uint64_t begun = std::max(job.first_shards, figures.shards);
    if (begun > 0) share = 1.0 - static_cast<double>(figures.shards) / static_cast<double>(begun);
  } else if (job.first_used > job.goal.used && figures.used > job.goal.used) {
    const double begun = static_cast<double>(std::max(job.first_used, figures.used) - job.goal.used);
    share = 1.0 - static_cast<double>(figures.used - job.goal.used) / begun;
  }
  progress.percent = 100 * share;
  return progress;
}

bool Drain::enough(const Job& job, const store::ShardStore& store) {
  const auto figures = store.figures();
  return job.goal.used == 0 ? figures.shards == 0 : figures.used <= job.goal.used + job.moving;
}

env::Task<void> Drain::run(StoreId id, Job& job) {
  while (true) {
    co_await walk(id, job);
    job.stuck_before = std::exchange(job.stuck, 0);
    // Blocks are given back behind: what was dropped just now is perhaps enough.
    co_await env::sleep_for(world_.clock, job.stuck_before == 0 ? kDrainPoll : kDrainRetry);
  }
}

// Once through the store, until it is enough.
env::Task<void> Drain::walk(StoreId id, Job& job) {
  env::TaskGroup moves(world_.executor);
  const uint64_t moved_before = job.moved;
  if (const store::ShardStore* store = find(id); job.goal.used > 0 && store != nullptr && !enough(job, *store))
    co_await empty_trash(id, store->figures().used - std::min(store->figures().used, job.goal.used));
  bool done = false;
  while (!done) {
    store::ShardStore* store = find(id);
    if (store == nullptr || enough(job, *store)) break;
    const auto page = co_await store->list(job.at, kDrainPage);
    if (page.empty()) {
      job.at.reset();
      break;
    }
    for (const ShardId& shard : page) {
      auto permit = co_await places_.acquire();
      while (job.goal.later) co_await env::sleep_for(world_.clock, kShedPoll);
      store = find(id);
      done = store == nullptr || enough(job, *store) || (job.stuck >= kDrainStuck && job.moved == moved_before);
      if (done) break;
      job.at = shard;
      auto described = co_await store->describe(shard);
      if (!described) continue;  // gone meanwhile
      moves.spawn(move_one(id, job, shard, std::move(permit), Moving(job, described->header.geometry.shard_length)));
    }
  }
  co_await moves.join();
}

env::Task<void> Drain::move_one(StoreId id, Job& job, ShardId shard, [[maybe_unused]] env::Semaphore::Permit permit,
                                [[maybe_unused]] Moving moving) {
  bool moved = co_await drop_if_dead(shard.pack);
  if (!moved) moved = co_await move_beside(id, shard);
  if (!moved) {
    auto away = co_await move_away(job, shard);
    if (!away && away.error().code == Code::not_found) co_return;
    moved = away.has_value();
    if (!moved) job.why_stuck = away.error().context.empty() ? to_string(away.error()) : away.error().context;
  }
  moved ? ++job.moved : ++job.stuck;
}

// What is begun here is brought to its end, as all drops are.
env::Task<uint64_t> Drain::empty_trash(StoreId id, uint64_t bytes) {
  if (trash_ == nullptr) co_return 0;
  env::OneShot<uint64_t> done(world_.executor);
  drops_.spawn([](Trash& trash, StoreId store, uint64_t wanted, env::OneShot<uint64_t> out) -> env::Task<void> {
    const uint64_t gone = co_await trash.give_up(store, wanted);
    out.set(gone);
  }(*trash_, id, bytes, done));
  const uint64_t gone = co_await done;
  // Its blocks come back behind: until then it is not known what else must go.
  const Time deadline = world_.clock.now() + kShedPatience;
  for (const store::ShardStore* store = find(id); gone > 0 && store != nullptr && store->figures().going > 0;
       store = find(id)) {
    if (world_.clock.now() >= deadline) break;
    co_await env::sleep_for(world_.clock, kShedPoll);
  }
  co_return gone;
}

env::Task<bool> Drain::drop_if_dead(PackId pack) {
  if (trash_ == nullptr) co_return false;
  env::OneShot<bool> done(world_.executor);
  drops_.spawn([](Trash& trash, PackId which, env::OneShot<bool> out) -> env::Task<void> {
    const bool dead = co_await trash.give_up(which);
    out.set(dead);
  }(*trash_, pack, done));
  const bool dead = co_await done;
  co_return dead;
}

// To another store of this node: its claim stays true.
env::Task<bool> Drain::move_beside(StoreId from, ShardId shard) {
  for (size_t i = 0; i < holder_.stores().size(); ++i) {
    const store::ShardStore& target = *holder_.stores()[i];
    if (target.id().is_zero() || target.id() == from || target.figures().free < kMaxShardSize ||
        jobs_.contains(target.id())) {
      continue;
    }
    env::OneShot<Status> changed(world_.executor);
    drops_.spawn([](Drain& self, StoreId a, StoreId b, ShardId which, env::OneShot<Status> done) -> env::Task<void> {
      auto status = co_await self.change_store(a, b, which);
      done.set(std::move(status));
    }(*this, from, target.id(), shard, changed));
    auto status = co_await changed;
    if (status) co_return true;
  }
  co_return false;
}

env::Task<Status> Drain::change_store(StoreId from, StoreId to, ShardId shard) {
  store::ShardStore* source = find(from);
  store::ShardStore* target = find(to);
  if (source == nullptr || target == nullptr) co_return fail(Code::not_found);
  auto described = co_await source->describe(shard);
  if (!described) co_return fail(std::move(described.error()));
  auto bytes = co_await source->read(shard, 0, described->header.geometry.shard_length);
  if (!bytes) co_return fail(std::move(bytes.error()));
  const uint32_t crc = co_await world_.workers.run([&] { return crc32c(bytes->view()); });
  auto put = co_await target->put(described->header, shard.slot, crc, std::move(*bytes), described->siblings);
  if (!put) co_return put;
  auto removed = co_await source->remove(shard);
  co_return removed;
}

// Who has this slot as well, by its own word.
std::optional<NodeId> Drain::other_holder(const PackPicture& picture, uint8_t slot) const {
  for (const auto& holding : picture.slots[slot]) {
    if (holding.node != peers_.identity().node && holding.state == ClaimState::held &&
        peers_.state(holding.node) == peer::NodeState::alive && peers_.usable(holding.node)) {
      return holding.node;
    }
  }
  return std::nullopt;
}

// By its answer now. This node's claim is `leaving` by then: of two that leave at the same time at least one sees that
// the other does.
env::Task<bool> Drain::still_holds(ShardId shard, NodeId node) {
  const auto answer = co_await ask(shard.pack, node);
  if (!answer || std::ranges::find(answer->slots, shard.slot) == answer->slots.end()) co_return false;
  const auto claim = answer->claimed.find(shard.slot);
  co_return claim != answer->claimed.end() && claim->second == ClaimState::held;
}

// What a node says now that it has of a pack.
env::Task<std::optional<Drain::Answer>> Drain::ask(PackId pack, NodeId node) {
  wire::ClaimsQueryRequest request;
  request.add_packs(pack.raw());
  auto reply =
      co_await peer::ask<wire::ClaimsQueryResponse>(peers_, node, wire::Method::claims_query, request, kQueryTimeout);
  if (!reply || reply->message.packs_size() != 1) co_return std::nullopt;
  const auto& of_pack = reply->message.packs(0);
  if (of_pack.claims_size() > static_cast<int>(kMaxClaimsPerPack)) co_return std::nullopt;
  Answer answer;
  for (const uint32_t slot : of_pack.held_slots()) answer.slots.push_back(static_cast<uint8_t>(slot));
  const auto claims =
      co_await world_.workers.run([&of_pack, &pack] { return checked_claims(of_pack.claims(), {pack}); });
  for (const Claim& claim : claims) {
    if (claim.node == node) answer.claimed[claim.shard.slot] = claim.state;
  }
  co_return answer;
}

// A node for it, such that the pack is spread as well as before: its domain is within the cap, or has no more of the
// pack then than the one that the shard leaves had.
std::optional<NodeId> Drain::choose(const PackPicture& picture, const std::set<NodeId>& avoid, std::string& why) const {
  const NodeId self = peers_.identity().node;
  const auto target = mover_.choose(picture, avoid, self);
  if (!target) {
    why = "no further node has room for a shard of this pack";
    return std::nullopt;
  }
  if (spread_as_well(picture, *target)) return target;
  why = "the nodes that have room are in domains that hold enough of this pack";
  return std::nullopt;
}

bool Drain::spread_as_well(const PackPicture& picture, const NodeId& target) const {
  const NodeId self = peers_.identity().node;
  if (!mover_.over_cap(picture, target, self)) return true;
  const auto domain_of = [this](const NodeId& node) {
    const peer::NodeInfo* info = peers_.membership().node(node);
    return info != nullptr ? info->domain_key() : std::string();
  };
  const auto count = [&](const std::string& domain) {
    size_t shards = 0;
    for (const auto& holdings : picture.slots) {
      shards += std::ranges::any_of(holdings, [&](const auto& h) { return domain_of(h.node) == domain; }) ? 1 : 0;
    }
    return shards;
  };
  const std::string there = domain_of(target), here = domain_of(self);
  return there == here || count(there) < count(here);
}

// What choose() would have seen to.
bool Drain::may_have(const PackPicture& picture, const NodeId& target) const {
  const peer::NodeInfo* info = peers_.membership().node(target);
  return info != nullptr && info->lends && !info->leaving && target != peers_.identity().node &&
         peers_.state(target) == peer::NodeState::alive && peers_.usable(target) && !picture.involves(target) &&
         spread_as_well(picture, target);
}

env::Task<Status> Drain::move_away(Job& job, ShardId shard, std::optional<NodeId> to) {
  if (to && trash_ != nullptr) {
    const bool dead = co_await trash_->tombstoned(shard.pack);
    if (dead) co_return fail(Code::denied, "the pack has a tombstone");
  }
  auto picture = co_await mover_.look(shard.pack);
  if (!picture) co_return fail(std::move(picture.error()));
  if (shard.slot >= picture->slots.size()) co_return fail(Code::corrupt, "no such slot");
  Error why{Code::no_space, ""};
  if (to) {
    if (std::ranges::find(picture->here, shard.slot) == picture->here.end() || job.leaving.contains(shard))
      co_return fail(Code::not_found, "no such shard here, or it is on its way already");
    if (!may_have(*picture, *to)) co_return fail(Code::bad_input, "that node may not have a shard of this pack");
  } else if (!other_holder(*picture, shard.slot) && !choose(*picture, {}, why.context))
    co_return fail(std::move(why));
  job.leaving.insert(shard);
  holder_.announce(shard, ClaimState::leaving, {});
  const bool copied = co_await copied_away(job, shard, std::move(*picture), to, why);
  job.leaving.erase(shard);
  if (!copied) {
    holder_.announce(shard, ClaimState::held, {});
    co_return fail(std::move(why));
  }
  auto gone = co_await drop_for_good(shard);
  co_return gone;
}

// From here on it goes, whatever becomes of the task that asks.
env::Task<Status> Drain::drop_for_good(ShardId shard) {
  env::OneShot<Status> dropped(world_.executor);
  drops_.spawn([](Drain& self, ShardId which, env::OneShot<Status> done) -> env::Task<void> {
    auto status = co_await self.holder_.drop(which);
    if (!status && status.error().code != Code::not_found) self.holder_.announce(which, ClaimState::held, {});
    done.set(std::move(status));
  }(*this, shard, dropped));
  auto gone = co_await dropped;
  co_return gone;
}

// Until somebody else has this slot and says so.
env::Task<bool> Drain::copied_away(Job& job, ShardId shard, PackPicture picture, std::optional<NodeId> to, Error& why) {
  if (const auto twin = other_holder(picture, shard.slot)) {
    // The claim must be durable before the other is asked.
    const NodeId self = peers_.identity().node;
    const Time deadline = world_.clock.now() + kDrainClaim;
    bool said = false;
    while (!said && world_.clock.now() < deadline) {
      co_await env::sleep_for(world_.clock, kClaimDelay);
      auto claims = co_await holder_.claims_of(shard.pack);
      said = claims && std::ranges::any_of(*claims, [&](const Claim& claim) {
               return claim.node == self && claim.shard == shard && claim.state == ClaimState::leaving;
             });
    }
    const bool held = said && co_await still_holds(shard, *twin);
    if (held) co_return true;
  }
  std::set<NodeId> avoid;
  for (int tries = to ? kDrainTries - 1 : 0; tries < kDrainTries; ++tries) {
    const auto target = to ? to : choose(picture, avoid, why.context);
    if (!target) co_return false;
    // Another that leaves may have given it a part of this pack just now: one shard a node.
    const auto there = co_await ask(shard.pack, *target);
    if (there && there->slots == std::vector<uint8_t>{shard.slot}) {  // from an earlier try
      const bool held = co_await still_holds(shard, *target);
      if (held) co_return true;
    }
    if (!there || !there->slots.empty()) {
      why = Error{Code::unreachable, "the nodes that have room do not answer, or hold a part of this pack"};
      avoid.insert(*target);
      continue;
    }
    auto moved = co_await (job.goal.urgent ? urgent_ : mover_).move(shard, *target, job.goal.urgent);
    if (moved) {
      // Asked for, not waited for: of a slot that has several holders not all are told.
      const Time deadline = world_.clock.now() + kDrainClaim;
      bool held = false;
      while (!held && world_.clock.now() < deadline) {
        co_await env::sleep_for(world_.clock, kClaimDelay);
        held = co_await still_holds(shard, *target);
      }
      if (!held) why = Error{Code::timeout, "the new holder has not claimed it"};
      co_return held;
    }
    why = std::move(moved.error());
    avoid.insert(*target);
  }
  co_return false;
}

}  // namespace cairn::pool
