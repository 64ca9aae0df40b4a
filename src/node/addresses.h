#pragma once
// The addresses at which this machine can be dialled.

#include <vector>

#include "env/network.h"

namespace cairn::node {

// What to tell others for a listener: itself when it is bound to one address; for 0.0.0.0 and [::] the machine's own
// addresses, global ones first, loopback only when there is nothing else. At most 8.
std::vector<env::Address> advertised_addresses(const env::Address& listener);

}  // namespace cairn::node
