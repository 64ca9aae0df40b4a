#include "volume/errors.h"

namespace cairn::volume {

bool ends_the_work(const Error& error) {
  switch (error.code) {
    case Code::too_few_peers:
    case Code::no_space:
    case Code::unreachable:
    case Code::timeout:
    case Code::closed:
    case Code::unknown_outcome:
    case Code::denied:
    case Code::corrupt:
    case Code::damaged:
    case Code::interrupted:
      return true;
    default:
      return false;
  }
}

bool is_away(Code code) {
  return code == Code::too_few_peers || code == Code::unreachable || code == Code::timeout || code == Code::closed;
}

}  // namespace cairn::volume
