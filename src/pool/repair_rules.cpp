#include "pool/repair_rules.h"

#include <algorithm>

#include "crypto/hash.h"

namespace cairn::pool {

Duration scaled_time(Duration time, double factor, Duration least) {
  return std::max(std::min(time, least), Duration(static_cast<int64_t>(static_cast<double>(time.count()) * factor)));
}

RepairTimes RepairTimes::scaled(double factor) const {
  RepairTimes times = *this;
  for (Duration* one :
       {&times.at_one,          &times.at_two,       &times.at_three,   &times.longest,      &times.settle,
        &times.unclaimed,       &times.leaving,      &times.rank_step,  &times.intent_lasts, &times.intent_settle,
        &times.placed_patience, &times.first_retry,  &times.last_retry, &times.surplus_wait, &times.vanish_window,
        &times.cut_off_lasts,   &times.states_every, &times.walk_delay, &times.walk_every,   &times.missing_disk}) {
    const Duration least = one == &times.unclaimed || one == &times.intent_lasts || one == &times.placed_patience
                               ? kShortestPatience
                               : kShortestWait;
    *one = scaled_time(*one, factor, least);
  }
  return times;
}

Duration RepairTimes::grace(int margin) const {
  if (margin <= 0) return Duration{};
  if (margin == 1) return at_one;
  if (margin == 2) return at_two;
  return margin == 3 ? at_three : longest;
}

namespace {

bool readable(const PackState::Slot& slot) {
  return slot.on_its_way ||
         std::ranges::any_of(slot.holders, [](const auto& h) { return h.presence == Presence::there; });
}

bool lasting(const PackState::Slot& slot) {
  return slot.on_its_way || std::ranges::any_of(slot.holders, [](const auto& h) {
           return h.presence == Presence::there && h.state == ClaimState::held;
         });
}

// From when on a slot that has no lasting holder is to be rebuilt.
Time due_time(const PackState::Slot& slot, int margin, const RepairTimes& times, std::optional<Time> cut_off) {
  if (readable(slot)) return slot.noticed + times.leaving;
  std::optional<Time> away;  // who may come back with it, the latest to go
  for (const auto& holder : slot.holders) {
    if (holder.presence == Presence::away) away = std::max(away.value_or(holder.away_since), holder.away_since);
  }
  if (away) {
    const Time due = *away + times.grace(margin);
    return margin > 0 && cut_off ? std::max(due, *cut_off) : due;
  }
  const Time due = slot.noticed + (slot.never_claimed ? times.unclaimed : times.settle);
  // Of a pool that is not in sight nothing is known that is newer.
  return margin > 0 && cut_off ? std::max(due, *cut_off) : due;
}

Hash order_of(std::string_view use, const PackId& pack, ByteView slot, const NodeId& node) {
  return crypto::sha256({as_bytes(use), pack.view(), slot, node.view()});
}

}  // namespace

Assessment assess(const PackState& pack, const RepairTimes& times, std::optional<Time> cut_off, Time now) {
  Assessment found;
  int readable_slots = 0;
  for (const auto& slot : pack.slots) {
    // A pack that is being written just now: its other claims are on their way.
    const bool young = slot.never_claimed && now < slot.noticed + times.unclaimed;
    readable_slots += readable(slot) || young ? 1 : 0;
  }
  found.margin = readable_slots - static_cast<int>(pack.k);
  for (uint8_t i = 0; i < pack.slots.size(); ++i) {
    const auto& slot = pack.slots[i];
    if (!lasting(slot)) {
      found.needs.push_back({i, due_time(slot, found.margin, times, cut_off)});
      continue;
    }
    const auto own = std::ranges::find(slot.holders, pack.self, &PackState::Holder::node);
    if (own == slot.holders.end() || own->state != ClaimState::held) continue;
    const ShardId shard{pack.id, i};
    NodeId keeper = pack.self;
    for (const auto& holder : slot.holders) {
      if (holder.presence != Presence::there || holder.state != ClaimState::held) continue;
      if (keeps_before(shard, holder.node, keeper)) keeper = holder.node;
    }
    if (keeper != pack.self) found.surplus.push_back({i, keeper});
  }
  std::ranges::sort(found.needs,
                    [](const Need& a, const Need& b) { return std::tie(a.due, a.slot) < std::tie(b.due, b.slot); });
  return found;
}

bool keeps_before(const ShardId& shard, const NodeId& a, const NodeId& b) {
  if (a == b) return false;
  const uint8_t slot[1] = {shard.slot};
  return order_of("cairn/v1/keeps", shard.pack, slot, a) < order_of("cairn/v1/keeps", shard.pack, slot, b);
}

bool repairs_before(const PackId& pack, const NodeId& a, const NodeId& b) {
  if (a == b) return false;
  return order_of("cairn/v1/repairs", pack, {}, a) < order_of("cairn/v1/repairs", pack, {}, b);
}

size_t repair_rank(const PackState& pack) {
  std::vector<NodeId> before;
  for (const auto& slot : pack.slots) {
    for (const auto& holder : slot.holders) {
      if (holder.presence != Presence::there || !repairs_before(pack.id, holder.node, pack.self)) continue;
      if (std::ranges::find(before, holder.node) == before.end()) before.push_back(holder.node);
    }
  }
  return before.size();
}

std::optional<Time> cut_off_until(std::vector<Time> departures, size_t there, const RepairTimes& times, Time now) {
  std::erase_if(departures, [&](Time when) { return now - when >= times.cut_off_lasts; });
  std::ranges::sort(departures);
  const size_t all = there + departures.size();
  std::optional<Time> until;
  for (size_t first = 0, last = 0; last < departures.size(); ++last) {
    while (departures[last] - departures[first] > times.vanish_window) ++first;
    if ((last - first + 1) * kCutOffShare > all) until = departures[last] + times.cut_off_lasts;
  }
  return until;
}

}  // namespace cairn::pool
