#pragma once
// Which nodes should keep a register.

#include "volume/register_format.h"

namespace cairn::volume {

// Candidates in the order in which they should become keepers: by rendezvous, but for those whose domain has been taken
// by an earlier one, which come behind all that bring a new domain, and so on.
std::vector<KeeperCandidate> keeper_order(const Hash& key, std::vector<KeeperCandidate> nodes);

// Who keeps it from epoch `now.epoch + 1` on; nothing when `now` is as it should be (epoch and all). Asks for
// instances. Errors: too_few_peers (no majority of the keepers that it would have answers).
env::Task<Result<std::optional<RegisterConfig>>> choose_next_keepers(env::World world, RegisterTransport& transport,
                                                                     Founding founding, RegisterConfig now);

// Keepers for a register that is forced: chosen as for a new one. Errors: too_few_peers.
env::Task<Result<RegisterConfig>> choose_after_force(env::World world, RegisterTransport& transport, Founding founding);

}  // namespace cairn::volume
