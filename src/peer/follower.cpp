#include "peer/follower.h"

#include "peer/limits.h"

namespace cairn::peer {

void Follower::heard(const NodeId& node, Time now) {
  heard_[node] = now;
  failed_.erase(node);
}

void Follower::told(std::map<NodeId, NodeState> not_alive, Time now) {
  told_ = std::move(not_alive);
  told_at_ = now;
}

void Follower::keep_only(const std::set<NodeId>& nodes) {
  const auto gone = [&](const auto& entry) { return !nodes.contains(entry.first); };
  std::erase_if(told_, gone);
  std::erase_if(heard_, gone);
  std::erase_if(failed_, gone);
}

NodeState Follower::state(const NodeId& node, Time now) const {
  const auto told = told_.find(node);
  // A failure of its own says something until it is some seconds old; then the node is worth another try.
  const auto failed = failed_.find(node);
  if (failed != failed_.end() && now - failed->second < kFollowerDoubt) {
    return told == told_.end() ? NodeState::suspect : told->second;
  }
  const auto heard = heard_.find(node);
  if (told != told_.end()) {
    return heard != heard_.end() && heard->second > *told_at_ ? NodeState::alive : told->second;
  }
  return told_at_ || heard != heard_.end() ? NodeState::alive : NodeState::unknown;
}

std::optional<Time> Follower::last_heard(const NodeId& node) const {
  const auto heard = heard_.find(node);
  return heard == heard_.end() ? std::nullopt : std::optional(heard->second);
}

}  // namespace cairn::peer
