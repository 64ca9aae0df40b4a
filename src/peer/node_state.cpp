#include "peer/node_state.h"

namespace cairn::peer {

std::string_view to_string(NodeState state) {
  switch (state) {
    case NodeState::unknown:
      return "unknown";
    case NodeState::alive:
      return "alive";
    case NodeState::suspect:
      return "suspect";
    case NodeState::departed:
      return "departed";
    case NodeState::left:
      return "left";
    case NodeState::removed:
      return "removed";
  }
  return "unknown";
}

}  // namespace cairn::peer
