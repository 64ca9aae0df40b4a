#pragma once
// What a node thinks of another one.

#include <cstdint>
#include <string_view>

namespace cairn::peer {

// Numbers are on the wire (NodeDigest.state, NodeStatus.state).
enum class NodeState : uint8_t {
  unknown = 0,
  alive = 1,
  suspect = 2,   // changes routing only
  departed = 3,  // several observers say so: repair may begin after its grace
  left = 4,      // said so itself
  removed = 5,   // by the member log
};
std::string_view to_string(NodeState state);

}  // namespace cairn::peer
