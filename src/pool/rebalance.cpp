#include "pool/rebalance.h"

#include <algorithm>

#include "pool/limits.h"

namespace cairn::pool {

Balancer::Balancer(const std::vector<NodeFill>& nodes) {
  for (const NodeFill& node : nodes) nodes_[node.node] = {node.domain, node.used, node.used + node.free};
  const auto [least, most] = levels();
  uneven_ = most - least > kLevelBand;
}

std::pair<double, double> Balancer::levels() const {
  double least = 1, most = 0;
  for (const auto& [id, node] : nodes_) {
    least = std::min(least, node.level());
    most = std::max(most, node.level());
  }
  return nodes_.empty() ? std::pair(0.0, 0.0) : std::pair(least, most);
}

// Shards of the pack by domain, but for this slot's. Holders that are not known here are domains of their own.
std::map<std::string, uint32_t> Balancer::count(const std::vector<NodeId>& holders, size_t without) const {
  std::map<std::string, uint32_t> shards;
  for (size_t slot = 0; slot < holders.size(); ++slot) {
    const auto node = nodes_.find(holders[slot]);
    if (slot != without && node != nodes_.end()) ++shards[node->second.domain];
  }
  return shards;
}

// The emptiest node that may have it, with at most `most` shards of the pack in its domain before, that is fuller than
// `below` not even with it.
std::optional<NodeId> Balancer::target(const std::vector<NodeId>& holders, size_t slot, uint32_t most, uint64_t bytes,
                                       double below) const {
  const auto shards = count(holders, slot);
  std::optional<NodeId> best;
  for (const auto& [id, node] : nodes_) {
    if (node.used + bytes > node.size || std::ranges::find(holders, id) != holders.end()) continue;
    const auto there = shards.find(node.domain);
    if (there != shards.end() && there->second > most) continue;
    if (node.level_with(bytes) > below) continue;
    if (!best || node.level() < nodes_.at(*best).level()) best = id;
  }
  return best;
}

std::vector<ShardMove> Balancer::plan(const PackId& pack, const content::PackGeometry& geometry,
                                      std::vector<NodeId> holders) {
  std::vector<ShardMove> moves;
  if (std::ranges::any_of(holders, [](const NodeId& node) { return node.is_zero(); })) return moves;
  const uint64_t bytes = geometry.shard_length;
  const auto move = [&](size_t slot, const NodeId& to) {
    if (const auto from = nodes_.find(holders[slot]); from != nodes_.end())
      from->second.used -= std::min(from->second.used, bytes);
    nodes_.at(to).used += bytes;
    moves.push_back({{pack, static_cast<uint8_t>(slot)}, holders[slot], to, bytes});
    holders[slot] = to;
  };
  // Domains that hold more than they should, when another could take it.
  const uint32_t cap = domain_cap(geometry.m);
  for (size_t slot = 0; slot < holders.size(); ++slot) {
    const auto from = nodes_.find(holders[slot]);
    if (from == nodes_.end() || count(holders, slot)[from->second.domain] < cap) continue;
    if (const auto to = target(holders, slot, cap - 1, bytes, 1)) move(slot, *to);
  }
  if (!uneven_) return moves;
  // From the fullest of its holders on.
  std::vector<size_t> order;
  for (size_t slot = 0; slot < holders.size(); ++slot) {
    if (nodes_.contains(holders[slot])) order.push_back(slot);
  }
  std::ranges::stable_sort(order, std::greater(), [&](size_t slot) { return nodes_.at(holders[slot]).level(); });
  for (const size_t slot : order) {
    const Node& from = nodes_.at(holders[slot]);
    // Whoever gets it is emptier even then, by so much that nobody would move it back.
    const double below = from.level() - kLevelBand / 2;
    // A domain may hold as many as the one that it comes from: the cap, or what a small pool has no way around.
    const uint32_t here = count(holders, slot)[from.domain];
    if (const auto to = target(holders, slot, std::max(cap - 1, here), bytes, below)) move(slot, *to);
  }
  return moves;
}

void Balancer::undo(const ShardMove& move) {
  if (const auto to = nodes_.find(move.to); to != nodes_.end())
    to->second.used -= std::min(to->second.used, move.bytes);
  if (const auto from = nodes_.find(move.from); from != nodes_.end()) from->second.used += move.bytes;
}

}  // namespace cairn::pool
