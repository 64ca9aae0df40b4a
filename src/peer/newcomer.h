#pragma once
// Newcomers: how a machine gets its first Membership, by an invite or by a phrase. Before that there are no Peers.

#include "env/world.h"
#include "peer/invite.h"

namespace cairn::peer {

struct Joined {
  Identity identity;
  Membership membership;
};

// Joins a pool by an invite. world.network presents `device`. The same keys and code may be used again when the answer
// was lost. Errors: bad_input (mistyped), expired, used, denied (edited, of another pool, removed), unreachable,
// timeout, closed (it may have happened), corrupt (what the node served does not hold).
env::Task<Result<Joined>> join(env::World world, MemberKeys member, crypto::PrivateKey device, std::string code,
                               std::string member_name, std::string node_name, Duration timeout);

// The pool from any of its nodes, for a device that its member certified with the phrase: the genesis is checked
// against identity.pool, and the log must admit the node that served it and the identity itself. Errors: wrong_phrase
// (the member is not in the log), denied (another pool's node; the member or the device was removed), unreachable,
// timeout, corrupt.
env::Task<Result<Membership>> fetch_membership(env::World world, Identity identity, env::Address address,
                                               Duration timeout);

// Brings a node of the same pool that knows no member such as this one, because it was away when it was admitted, the
// log that admits it. Errors: denied (it says more than that), overloaded, unreachable, timeout.
env::Task<Status> introduce(env::World world, PoolId pool, NodeId to, env::Address address,
                            std::vector<wire::LogRecord> log, Duration timeout);

}  // namespace cairn::peer
