// Repair: what is done for one pack.

#include "pool/repair.h"
#include "proto/pack.pb.h"
#include "wire/message.h"

namespace cairn::pool {

PackState Repair::state_of(const PackPicture& picture) {
  const Time now = world_.clock.now();
  PackState pack{.id = picture.header.id, .k = picture.header.geometry.k, .self = peers_.identity().node};
  pack.slots.resize(picture.slots.size());
  for (uint8_t i = 0; i < pack.slots.size(); ++i) {
    PackState::Slot& slot = pack.slots[i];
    const ShardId shard{pack.id, i};
    bool lasting = false, there = false, away = false;
    for (const auto& holding : picture.slots[i]) {
      PackState::Holder holder{.node = holding.node, .state = holding.state};
      holder.presence = presence(holding.node, holder.away_since);
      if (holder.presence == Presence::there && auditor_.distrusted(shard, holding.node)) {
        holder.presence = Presence::lost;
      }
      there |= holder.presence == Presence::there;
      away |= holder.presence == Presence::away;
      lasting |= holder.presence == Presence::there && holder.state == ClaimState::held;
      slot.holders.push_back(holder);
    }
    // What lies here and is not claimed yet is on its way, too.
    const auto placed = placed_.find(shard);
    slot.on_its_way = std::ranges::find(picture.here, i) != picture.here.end() && slot.holders.empty();
    if (placed != placed_.end()) {
      if (placed->second.until > now && is_usable(placed->second.to)) {
        slot.on_its_way = true;
      } else {
        placed_.erase(placed);
      }
    }
    slot.never_claimed =
        slot.holders.empty() && std::ranges::find(picture.gone, i) == picture.gone.end() && !slot.on_its_way;
    if (lasting || slot.on_its_way) {
      noticed_.erase(shard);
    } else if (away && !there) {
      // It counts from the departure; a node that shares a million packs must not cost a note for each.
      const auto known = noticed_.find(shard);
      slot.noticed = known == noticed_.end() ? now : known->second;
    } else {
      slot.noticed = noticed_.try_emplace(shard, now).first->second;
    }
  }
  return pack;
}

bool Repair::is_usable(const NodeId& node) const {
  Time since{};
  return presence(node, since) == Presence::there;
}

void Repair::forget(const PackId& pack) {
  incomplete_.erase(pack);
  retries_.erase(pack);
  const auto of_pack = [&](auto& by_shard) {
    by_shard.erase(by_shard.lower_bound({pack, 0}), by_shard.upper_bound({pack, 0xff}));
  };
  of_pack(noticed_);
  of_pack(placed_);
  of_pack(surplus_);
}

// What was disclaimed with a disk that is back, or never claimed because of a crash.
env::Task<void> Repair::claim_what_is_here(const PackPicture& picture) {
  for (const uint8_t slot : picture.here) {
    const auto& holdings = picture.slots[slot];
    if (std::ranges::find(holdings, peers_.identity().node, &PackPicture::Holding::node) != holdings.end()) continue;
    const ShardId shard{picture.header.id, slot};
    for (size_t i = 0; i < holder_.stores().size(); ++i) {
      auto found = co_await holder_.stores()[i]->describe(shard);
      if (found && found->verified) holder_.announce(shard, ClaimState::held, found->siblings);
    }
  }
}

// Looks at a pack, and notes when there is something to do for it.
env::Task<void> Repair::evaluate(PackId pack) {
  ++counters_.looked_at;
  auto picture = co_await mover_.look(pack);
  if (!picture) {
    forget(pack);
    co_return;
  }
  co_await judge(pack, std::move(*picture));
}

// Most are as they should be: where there are many they are looked at together.
env::Task<void> Repair::evaluate_all(std::vector<PackId> packs) {
  auto pictures = co_await mover_.look(packs);
  for (size_t i = 0; i < packs.size(); ++i) {
    if (at_work_.contains(packs[i])) continue;  // it is looked at again at its end
    if (!pictures[i]) {
      co_await evaluate(packs[i]);
      continue;
    }
    ++counters_.looked_at;
    co_await judge(packs[i], std::move(*pictures[i]));
  }
}

env::Task<void> Repair::judge(PackId pack, PackPicture picture) {
  co_await claim_what_is_here(picture);
  const Time now = world_.clock.now();
  const PackState state = state_of(picture);
  const Assessment found = assess(state, times_, cut_off_, now);
  note_surplus(pack, found);
  const size_t rank = options_.without_ranks ? 0 : repair_rank(state);
  const bool several = std::ranges::any_of(state.slots, [](const auto& slot) {
    return std::ranges::count(slot.holders, Presence::there, &PackState::Holder::presence) > 1;
  });
  if (several) {
    const auto known = introduced_.find(pack);
    if (known == introduced_.end() || now - known->second >= times_.surplus_wait) {
      if (introduced_.size() >= kMaxIntents) introduced_.clear();
      introduced_[pack] = now;
      co_await introduce(pack);
    }
  }
  if (found.needs.empty()) {
    incomplete_.erase(pack);
    retries_.erase(pack);
    co_return;
  }
  incomplete_.insert(pack);
  // Each sibling a step later than the one before it.
  Time when = found.needs.front().due + times_.rank_step * static_cast<int64_t>(rank);
  if (const auto retry = retries_.find(pack); retry != retries_.end()) when = std::max(when, retry->second.when);
  if (const auto intent = intents_.find(pack); intent != intents_.end() && is_usable(intent->second.from)) {
    when = std::max(when, intent->second.at + times_.intent_lasts);
  }
  if (when > now) {
    schedule(pack, when);
    co_return;
  }
  if (deleted_) {
    const bool deleted = co_await deleted_(pack);
    if (deleted) {
      forget(pack);
      co_return;
    }
  }
  ready_.insert({found.margin, pack});
  ready_changed_.notify_one();
}

// --- rebuilding ---

void Repair::failed(const PackId& pack) {
  Retry& retry = retries_[pack];
  const Duration wait =
      std::min<Duration>(times_.last_retry, times_.first_retry * (1 << std::min(retry.failures, 10U)));
  ++retry.failures;
  retry.when = world_.clock.now() + wait;
}

env::Task<void> Repair::repair(PackId pack) {
  while (true) {
    const bool more = co_await rebuild_due(pack);
    if (!more) co_return;
  }
}

// One slot that is due; true when another may be.
env::Task<bool> Repair::rebuild_due(PackId pack) {
  std::optional<PackPicture> picture;
  std::optional<Assessment> found;
  std::vector<uint8_t> due;
  // Looked at again after the siblings told what they know.
  for (int i = 0; i < 2; ++i) {
    auto looked = co_await mover_.look(pack);
    if (!looked) co_return false;
    picture.emplace(std::move(*looked));
    const Time now = world_.clock.now();
    found.emplace(assess(state_of(*picture), times_, cut_off_, now));
    due.clear();
    for (const Need& need : found->needs) {
      if (need.due <= now) due.push_back(need.slot);
    }
    if (due.empty()) co_return false;
    if (i > 0 || options_.without_intents) break;
    const bool granted = co_await intend(pack, due);
    if (!granted) {
      // Those who granted it are not to keep others off for it.
      co_await end_intent(*picture);
      retries_[pack].when = world_.clock.now() + times_.first_retry;
      co_return false;
    }
  }
  const ShardId shard{pack, due.front()};
  auto placed = co_await mover_.rebuild(shard, std::nullopt, found->margin <= 0);
  if (!placed) {
    ++counters_.failed;
    failed(pack);
    if (log_limit_.allow(world_.clock.now())) {
      world_.log.warning("repair_failed", "pack={} slot={} margin={} error=\"{}\"", pack.short_hex(), shard.slot,
                         found->margin, to_string(placed.error()));
    }
    co_await end_intent(*picture);
    co_return false;
  }
  ++counters_.shards_rebuilt;
  counters_.bytes_rebuilt += picture->header.geometry.shard_length;
  placed_[shard] = {*placed, world_.clock.now() + times_.placed_patience};
  retries_.erase(pack);
  world_.log.info("repaired", "pack={} slot={} margin={} to={}", pack.short_hex(), shard.slot, found->margin,
                  placed->short_hex());
  schedule(pack, world_.clock.now() + times_.placed_patience);
  co_return true;
}

// --- intents ---

env::Task<std::optional<wire::RepairIntentResponse>> Repair::ask_intent(NodeId node,
                                                                        wire::RepairIntentRequest request) {
  auto reply = co_await peer::ask<wire::RepairIntentResponse>(peers_, node, wire::Method::repair_intent, request,
                                                              kIntentTimeout);
  if (!reply) co_return std::nullopt;
  co_return std::move(reply->message);
}

env::Task<void> Repair::take_claims(PackId pack, std::vector<wire::RepairIntentResponse> answers) {
  auto accepted = co_await world_.workers.run([&]() -> Status {
    std::vector<Claim> claims;
    for (const auto& answer : answers) {
      for (Claim& claim : checked_claims(answer.claims(), {pack})) claims.push_back(std::move(claim));
    }
    auto news = holder_.index().accept(claims);
    if (!news) return fail(std::move(news.error()));
    return {};
  });
  if (!accepted) world_.log.error("claims_index", "error=\"{}\"", to_string(accepted.error()));
}

// Tells all siblings; false when one of them is at it. What they know of the pack that is not known here is taken in,
// and siblings that come to light are told too.
env::Task<bool> Repair::intend(PackId pack, std::vector<uint8_t> slots) {
  ++counters_.intents_asked;
  own_intents_.insert(pack);
  std::set<NodeId> told;
  bool granted = true;
  while (granted) {
    auto claims = co_await holder_.claims_of(pack);
    if (!claims) break;
    wire::RepairIntentRequest request;
    request.set_pack(pack.raw());
    for (const uint8_t slot : slots) request.add_slots(slot);
    request.set_known(digest_of(*claims).raw());
    std::vector<env::Task<std::optional<wire::RepairIntentResponse>>> asked;
    for (const Claim& claim : *claims) {
      if (claim.state == ClaimState::gone || claim.node == peers_.identity().node || !peers_.usable(claim.node))
        continue;
      if (told.insert(claim.node).second) asked.push_back(ask_intent(claim.node, request));
    }
    if (asked.empty()) break;
    auto answers = co_await env::when_all(world_.executor, std::move(asked));
    std::vector<wire::RepairIntentResponse> given;
    for (auto& answer : answers) {
      if (!answer) continue;
      granted = granted && !answer->busy();
      given.push_back(std::move(*answer));
    }
    co_await take_claims(pack, std::move(given));
  }
  granted = own_intents_.erase(pack) > 0 && granted;  // a better-ranked one may have asked here meanwhile
  if (!granted) ++counters_.intents_refused;
  co_return granted;
}

// Several hold one slot and may not know of each other: each is told of the others, with their own claims.
env::Task<void> Repair::introduce(PackId pack) {
  auto claims = co_await holder_.claims_of(pack);
  if (!claims) co_return;
  std::map<uint8_t, std::vector<const Claim*>> by_slot;
  for (const Claim& claim : *claims) {
    if (claim.state == ClaimState::held && is_usable(claim.node)) by_slot[claim.shard.slot].push_back(&claim);
  }
  for (const auto& [slot, several] : by_slot) {
    if (several.size() < 2) continue;
    wire::ClaimsPushRequest request;
    for (const Claim* claim : several) {
      if (auto status = wire::decode_into(*request.add_claims(), claim->signed_message); !status) co_return;
    }
    for (const Claim* claim : several) {
      if (claim->node == peers_.identity().node) continue;
      auto told = co_await peer::ask<wire::ClaimsPushResponse>(peers_, claim->node, wire::Method::claims_push, request,
                                                               kIntentTimeout);
      static_cast<void>(told);  // who was not reached is told the next time
    }
  }
}

env::Task<void> Repair::end_intent(const PackPicture& picture) {
  wire::RepairIntentRequest request;
  request.set_pack(picture.header.id.raw());
  std::vector<env::Task<std::optional<wire::RepairIntentResponse>>> asked;
  std::set<NodeId> siblings;
  for (const auto& holdings : picture.slots) {
    for (const auto& holding : holdings) {
      if (holding.node == peers_.identity().node || !peers_.usable(holding.node)) continue;
      if (siblings.insert(holding.node).second) asked.push_back(ask_intent(holding.node, request));
    }
  }
  co_await env::when_all(world_.executor, std::move(asked));
}

// May `asker`, who holds a shard of this pack, begin with it now?
bool Repair::goes_first(const PackId& pack, const NodeId& asker) {
  const Time now = world_.clock.now();
  if (own_intents_.contains(pack)) {
    if (!repairs_before(pack, asker, peers_.identity().node)) return false;
    own_intents_.erase(pack);
  } else if (at_work_.contains(pack)) {
    return false;
  }
  const auto known = intents_.find(pack);
  if (known != intents_.end()) {
    Intent& intent = known->second;
    const Duration age = now - intent.at;
    if (intent.from != asker && age < times_.intent_lasts && is_usable(intent.from) &&
        !(age < times_.intent_settle && repairs_before(pack, asker, intent.from))) {
      return false;
    }
    intent = {asker, now};
    return true;
  }
  if (intents_.size() >= kMaxIntents) {
    std::erase_if(intents_, [&](const auto& entry) { return now - entry.second.at >= times_.intent_lasts; });
  }
  if (intents_.size() < kMaxIntents) intents_[pack] = {asker, now};
  return true;
}

env::Task<Result<peer::Reply>> Repair::serve_intent(peer::Request request) {
  auto message = wire::decode<wire::RepairIntentRequest>(ByteView(request.body));
  if (!message) co_return fail(std::move(message.error()));
  auto pack = PackId::from(message->pack());
  if (!pack) co_return fail(std::move(pack.error()));
  if (message->slots_size() > static_cast<int>(kMaxSlots)) co_return fail(Code::bad_input, "too many slots");
  wire::RepairIntentResponse response;
  if (message->slots_size() == 0) {
    const auto intent = intents_.find(*pack);
    if (intent != intents_.end() && intent->second.from == request.from) intents_.erase(intent);
    co_return peer::Reply{wire::encode(response), {}};
  }
  auto claims = co_await holder_.claims_of(*pack);
  if (!claims) co_return fail(std::move(claims.error()));
  // Only a sibling's word keeps others from repairing, and only once in a while: it may not block a pack for ever.
  const bool sibling = std::ranges::any_of(
      *claims, [&](const Claim& c) { return c.node == request.from && c.state != ClaimState::gone; });
  for (const uint32_t slot : message->slots()) {
    if (slot < kMaxSlots && placed_.contains({*pack, static_cast<uint8_t>(slot)})) response.set_busy(true);
  }
  if (message->known() != digest_of(*claims).raw()) {
    for (const Claim& claim : *claims) {
      if (auto status = wire::decode_into(*response.add_claims(), claim.signed_message); !status) {
        co_return fail(std::move(status.error()));
      }
    }
  }
  if (sibling && !response.busy() && !goes_first(*pack, request.from)) response.set_busy(true);
  co_return peer::Reply{wire::encode(response), {}};
}

// --- surplus ---

void Repair::note_surplus(const PackId& pack, const Assessment& found) {
  const Time now = world_.clock.now();
  const auto begin = surplus_.lower_bound({pack, 0}), end = surplus_.upper_bound({pack, 0xff});
  std::map<ShardId, SurplusSince> before(begin, end);
  surplus_.erase(begin, end);
  bool due = false;
  if (options_.without_surplus) return;
  for (const Surplus& one : found.surplus) {
    const ShardId shard{pack, one.slot};
    const auto known = before.find(shard);
    // The wait is for one and the same keeper.
    const Time since = known != before.end() && known->second.keeper == one.keeper ? known->second.since : now;
    surplus_[shard] = {one.keeper, since};
    if (since + times_.surplus_wait <= now) {
      due = true;
    } else {
      schedule(pack, since + times_.surplus_wait);
    }
  }
  if (due) tasks_.spawn(drop_surplus(pack));
}

// The copies of which somebody else has one too, and keeps it: he is asked for proof, and then they go.
env::Task<void> Repair::drop_surplus(PackId pack) {
  const auto begin = surplus_.lower_bound({pack, 0}), end = surplus_.upper_bound({pack, 0xff});
  const std::map<ShardId, SurplusSince> all(begin, end);
  surplus_.erase(begin, end);
  for (const auto& [shard, about] : all) {
    bool safe = peers_.state(about.keeper) == peer::NodeState::alive && !cut_off_ && !paused_;
    if (safe && !options_.without_surplus_audit) {
      const auto proven = co_await auditor_.check(shard, about.keeper);
      safe = proven && *proven;
    }
    if (!safe) {  // it has waited long enough, and is asked again
      surplus_[shard] = about;
      schedule(pack, world_.clock.now() + times_.first_retry);
      continue;
    }
    if (options_.on_drop) options_.on_drop(shard, about.keeper);
    auto dropped = co_await holder_.drop(shard);
    if (!dropped) continue;
    ++counters_.surplus_dropped;
    world_.log.info("surplus_dropped", "pack={} slot={} keeper={}", pack.short_hex(), shard.slot,
                    about.keeper.short_hex());
  }
}

}  // namespace cairn::pool
