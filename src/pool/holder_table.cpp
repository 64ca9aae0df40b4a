#include "pool/holder_table.h"

#include <algorithm>

#include "pool/limits.h"

namespace cairn::pool {

void HolderTable::Latency::add(Duration sample) {
  if (!known) {
    known = true;
    smoothed = sample;
    deviation = sample / 2;
    return;
  }
  const Duration error = sample > smoothed ? sample - smoothed : smoothed - sample;
  deviation += (error - deviation) / 4;
  smoothed += (sample - smoothed) / 8;
}

const HolderTable::Entry* HolderTable::find(const NodeId& node) const {
  const auto found = entries_.find(node);
  return found == entries_.end() ? nullptr : &found->second;
}

const HolderTable::Latency& HolderTable::latency(const Entry& entry, uint64_t bytes) {
  return bytes <= kSmallRange ? entry.small : entry.large;
}

void HolderTable::answered(Work work, const NodeId& node, uint64_t bytes, Duration took) {
  Entry& entry = entries_[node];
  const auto which = static_cast<size_t>(work);
  entry.failures[which] = 0;
  entry.rests_until[which] = {};
  if (work == Work::put) return;
  entry.lost_races = 0;
  (bytes <= kSmallRange ? entry.small : entry.large).add(took);
}

void HolderTable::failed(Work work, const NodeId& node, Time now) {
  rest(work, node, now, kFirstRest);
}

void HolderTable::rest(Work work, const NodeId& node, Time now, Duration first) {
  Entry& entry = entries_[node];
  const auto which = static_cast<size_t>(work);
  // Many requests that fail together are one failure.
  if (entry.rests_until[which] > now) return;
  const Duration time = std::min<Duration>(kLastRest, first * (1 << std::min(entry.failures[which], 10U)));
  ++entry.failures[which];
  entry.rests_until[which] = now + time;
}

void HolderTable::lost_race(const NodeId& node, Time now) {
  if (++entries_[node].lost_races >= 2) rest(Work::get, node, now, kFirstSlowRest);
}

Time HolderTable::rests_until(Work work, const NodeId& node) const {
  const Entry* entry = find(node);
  return entry == nullptr ? Time{} : entry->rests_until[static_cast<size_t>(work)];
}

bool HolderTable::on_trial(Work work, const NodeId& node) const {
  const Entry* entry = find(node);
  return entry != nullptr && entry->failures[static_cast<size_t>(work)] > 0;
}

Duration HolderTable::default_for(uint64_t bytes) const {
  return bytes <= kSmallRange ? hedge_after_ : hedge_after_ * (1 + static_cast<int64_t>(bytes / kMiB));
}

Duration HolderTable::slow_after(const NodeId& node, uint64_t bytes) const {
  const Entry* entry = find(node);
  if (entry == nullptr || !latency(*entry, bytes).known) return default_for(bytes);
  const Latency& known = latency(*entry, bytes);
  return std::max<Duration>(kLeastHedge, known.smoothed + 4 * known.deviation);
}

Duration HolderTable::expected(const NodeId& node, uint64_t bytes) const {
  const Entry* entry = find(node);
  if (entry == nullptr || !latency(*entry, bytes).known) return default_for(bytes);
  return latency(*entry, bytes).smoothed;
}

void HolderTable::set_free(const NodeId& node, uint64_t free, std::pair<uint64_t, uint64_t> record) {
  entries_[node].free = {free, record};
}

uint64_t HolderTable::free(const NodeId& node, uint64_t of_record, std::pair<uint64_t, uint64_t> record) const {
  const Entry* entry = find(node);
  if (entry == nullptr || !entry->free || entry->free->second < record) return of_record;
  return entry->free->first;
}

}  // namespace cairn::pool
