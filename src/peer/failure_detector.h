#pragma once
// Which nodes are thought to be alive. The interface behind which SWIM comes later; the first one is by sessions.

#include "base/ids.h"
#include "base/units.h"

namespace cairn::peer {

// Numbers are on the wire (NodeDigest.state).
enum class NodeState : uint8_t {
  unknown = 0,
  alive = 1,
  suspect = 2,   // changes routing only
  departed = 3,  // repair may begin after its grace
  left = 4,      // said so itself
  removed = 5,
};
std::string_view to_string(NodeState state);

// Strand only; pure: told what was observed, asked what follows.
class FailureDetector {
 public:
  virtual ~FailureDetector() = default;
  // Something authentic came from it just now.
  virtual void heard_from(const NodeId& node, Time now) = 0;
  // A probe or request failed just now.
  virtual void failed(const NodeId& node, Time now) = 0;
  // Another node, that is alive, says so.
  virtual void told(const NodeId& about, NodeState state, uint64_t boot_seq, const NodeId& by, Time now) = 0;
  virtual NodeState state(const NodeId& node, Time now) const = 0;
  virtual Duration last_heard(const NodeId& node, Time now) const = 0;
  // Whom to probe next; nothing when nobody is due.
  virtual std::optional<NodeId> next_probe(Time now) = 0;
};

}  // namespace cairn::peer
