#pragma once
// Follower: the states of nodes for a process that does not serve (a command): what a node that takes part told, and
// what this process met with itself. Pure; strand only.

#include <map>
#include <optional>
#include <set>

#include "base/ids.h"
#include "base/units.h"
#include "peer/node_state.h"

namespace cairn::peer {

class Follower {
 public:
  void heard(const NodeId& node, Time now);
  void failed(const NodeId& node, Time now) { failed_[node] = now; }
  // All nodes that are not alive, as one that takes part sees them.
  void told(std::map<NodeId, NodeState> not_alive, Time now);
  // Members were removed.
  void keep_only(const std::set<NodeId>& nodes);

  NodeState state(const NodeId& node, Time now) const;
  std::optional<Time> last_heard(const NodeId& node) const;

 private:
  std::map<NodeId, NodeState> told_;
  std::optional<Time> told_at_;
  std::map<NodeId, Time> heard_, failed_;
};

}  // namespace cairn::peer
