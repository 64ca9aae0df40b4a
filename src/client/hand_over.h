#pragma once
// Handing over the registers that this node keeps for its own member: account and volumes. Others move theirs with
// their next commit, once this node says that it does not lend.

#include "client/core.h"

namespace cairn::client {

// Waits for a moment until the pool's word is that this node lends nothing. Errors: too_few_peers.
env::Task<Result<uint64_t>> hand_over_registers(Core& core);

}  // namespace cairn::client
