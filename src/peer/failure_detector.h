#pragma once
// Which nodes are thought to be alive. The interface behind which SWIM comes later; the first one is by sessions.

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

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
  // These are the nodes; others are forgotten.
  virtual void track(const std::vector<NodeId>& nodes) = 0;
  // Something authentic came from it just now.
  virtual void heard_from(const NodeId& node, Time now) = 0;
  // A probe or request failed just now.
  virtual void failed(const NodeId& node, Time now) = 0;
  // Another node, that is alive, says so: what it thinks, and when somebody last heard from `about` as far as it knows
  // (in this node's time; nothing: never).
  virtual void told(const NodeId& about, NodeState state, std::optional<Time> heard, const NodeId& by, Time now) = 0;
  virtual NodeState state(const NodeId& node, Time now) const = 0;
  // When anybody last heard from it, as far as is known here.
  virtual std::optional<Time> last_heard(const NodeId& node) const = 0;
  // Whom to probe next; nothing when nobody is due.
  virtual std::optional<NodeId> next_probe(Time now) = 0;
};

// By what sessions show and what others tell. A node is
//  * alive while somebody heard from it after this node's own last failure to reach it, and within suspect_after;
//  * suspect otherwise;
//  * departed when nobody has heard from it for depart_after and min_observers others say that they cannot reach it
//    either, or for silence in any case;
//  * unknown before anything was heard of it in this life.
// News of life travel with their age, so a rumour that nobody refreshes dies by itself.
struct DetectorOptions {
  Duration probe_after = std::chrono::seconds(5);
  Duration suspect_after = std::chrono::seconds(20);
  Duration depart_after = std::chrono::minutes(2);
  Duration silence = std::chrono::minutes(10);
  Duration opinion_lasts = std::chrono::minutes(1);
  size_t min_observers = 2;
};
std::unique_ptr<FailureDetector> make_session_detector(DetectorOptions options, Time now);

}  // namespace cairn::peer
