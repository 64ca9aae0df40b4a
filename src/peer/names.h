#pragma once
// What a name of a pool, member or node may be: it is shown on other people's terminals.

#include <string_view>

#include "base/result.h"

namespace cairn::peer {

// At most kMaxNameLength bytes (UTF-8, which protobuf checks), no control characters. Code::bad_input.
Status check_name(std::string_view name);

}  // namespace cairn::peer
