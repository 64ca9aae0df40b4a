#pragma once
// Which addresses are of a local network. Pure.

#include <string_view>

namespace cairn::peer {

// Loopback, link-local and private ones (RFC 1918, RFC 4193), as text. Host names are not: nobody knows where they
// lead.
bool is_private(std::string_view host);

}  // namespace cairn::peer
