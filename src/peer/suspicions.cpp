#include "peer/suspicions.h"

#include <algorithm>
#include <cmath>

#include "peer/limits.h"

namespace cairn::peer {

Duration suspicion_timeout(Duration low, Duration high, size_t confirmations, size_t expected) {
  if (expected == 0) return low;
  const double share = std::log(static_cast<double>(confirmations) + 1) / std::log(static_cast<double>(expected) + 1);
  const double timeout = static_cast<double>(high.count()) - static_cast<double>((high - low).count()) * share;
  return std::max(low, Duration(static_cast<int64_t>(timeout)));
}

bool Suspicions::would_add(const Doubt& doubt) const {
  const Suspicion* known = find(doubt.about);
  if (!known || known->incarnation < doubt.incarnation) return true;
  return known->incarnation == doubt.incarnation && known->doubts.size() < kMaxDoubts &&
         !known->doubts.contains(doubt.by);
}

bool Suspicions::add(const Doubt& doubt, Time now) {
  if (!would_add(doubt)) return false;
  if (const Suspicion* known = find(doubt.about); known && known->incarnation < doubt.incarnation) forget(doubt.about);
  Suspicion& suspicion = all_[doubt.about];
  if (suspicion.doubts.empty()) {
    suspicion.incarnation = doubt.incarnation;
    suspicion.began = now;
  } else {
    hash_ ^= hash_of(suspicion, doubt.about);
  }
  suspicion.latest = now;
  suspicion.doubts.emplace(doubt.by, doubt);
  hash_ ^= hash_of(suspicion, doubt.about);
  return true;
}

bool Suspicions::refuted(const NodeId& node, const Incarnation& by) {
  const Suspicion* known = find(node);
  if (!known || by <= known->incarnation) return false;
  forget(node);
  return true;
}

void Suspicions::forget(const NodeId& node) {
  const auto found = all_.find(node);
  if (found == all_.end()) return;
  hash_ ^= hash_of(found->second, node);
  if (found->second.departed) std::erase(departed_, node);
  all_.erase(found);
}

void Suspicions::keep_observers(const std::function<bool(const NodeId&)>& counts) {
  std::vector<NodeId> empty;
  for (auto& [node, suspicion] : all_) {
    hash_ ^= hash_of(suspicion, node);
    std::erase_if(suspicion.doubts, [&](const auto& doubt) { return !counts(doubt.first); });
    hash_ ^= hash_of(suspicion, node);
    if (suspicion.doubts.empty()) empty.push_back(node);
  }
  for (const NodeId& node : empty) forget(node);
}

const Suspicions::Suspicion* Suspicions::find(const NodeId& node) const {
  const auto found = all_.find(node);
  return found == all_.end() ? nullptr : &found->second;
}
Suspicions::Suspicion* Suspicions::find(const NodeId& node) {
  const auto found = all_.find(node);
  return found == all_.end() ? nullptr : &found->second;
}

void Suspicions::depart(const NodeId& node) {
  Suspicion* known = find(node);
  if (!known || known->departed) return;
  known->departed = true;
  departed_.push_back(node);
}

void Suspicions::revive(const NodeId& node, Time now) {
  Suspicion* known = find(node);
  if (!known) return;
  known->began = now;
  if (std::exchange(known->departed, false)) std::erase(departed_, node);
}

void Suspicions::postpone(Duration by) {
  for (auto& [node, suspicion] : all_) {
    if (!suspicion.departed) suspicion.began = suspicion.began + by;
  }
}

uint64_t Suspicions::hash_of(const NodeId& node) const {
  const Suspicion* known = find(node);
  return known ? hash_of(*known, node) : 0;
}

// NodeIDs are hashes: their words are as good as random.
uint64_t Suspicions::hash_of(const Suspicion& suspicion, const NodeId& node) {
  uint64_t hash = read_le<uint64_t>(node.bytes.data() + 8) + suspicion.incarnation.boot_seq * 0x9e3779b97f4a7c15ULL +
                  suspicion.incarnation.sequence * 0xbf58476d1ce4e5b9ULL;
  if (suspicion.doubts.size() >= kMaxDoubts) return hash ^ 1;  // which ones does not matter
  for (const auto& [by, doubt] : suspicion.doubts) hash ^= read_le<uint64_t>(by.bytes.data() + 16);
  return hash;
}

}  // namespace cairn::peer
