#pragma once
// How long the parts of a frame may be, each with its reason.

#include "base/limits.h"
#include "base/units.h"

namespace cairn::wire {

// A HELLO carries one certificate and the genesis record, a few hundred bytes each. A stranger may send one, so it is
// as small as the JOIN that may follow.
inline constexpr uint32_t kMaxHelloBody = 4 * kKiB;
// What a node that is not in the member log may send (design: Transport).
inline constexpr uint32_t kMaxJoinBody = 4 * kKiB;
// A code and one line of text.
inline constexpr uint32_t kMaxFailureBody = 1 * kKiB;
// A probe and the news that ride on it: kMaxNewsBytes of them, and one piece that is larger alone.
inline constexpr uint32_t kMaxSwimBody = 64 * kKiB;
// The member log, of some 250 bytes an entry, from a stranger.
inline constexpr uint32_t kMaxIntroduceBody = 1 * kMiB;
// Digests of some 20,000 nodes (50 bytes each), and pushed records beside them.
inline constexpr uint32_t kMaxGossipBody = 4 * kMiB;
// The member log and the node table of a pool of some thousand nodes. What does not fit comes with gossip.
inline constexpr uint32_t kMaxJoinAnswer = 4 * kMiB;
// A pack header with kMaxSlots roots of 32 bytes and as many siblings, and their signatures.
inline constexpr uint32_t kMaxPackBody = 16 * kKiB;
// Hashes of a range proof: two for each level of the 64 leaves of a shard, and room to spare.
inline constexpr uint32_t kMaxProofBody = 4 * kKiB;
// Claims of a batch of packs: up to kMaxSlots claims of 300 bytes for each.
inline constexpr uint32_t kMaxClaimsBody = 2 * kMiB;
// Claims for the slots that a repair is about: each slot moved a few times.
inline constexpr uint32_t kMaxIntentAnswer = 64 * kKiB;
// Leaves that one audit may ask for: an answer of 1 MiB. Of each a challenge of 90 bytes, and a proof of 6 hashes;
// with all of them so many claims.
inline constexpr uint32_t kMaxAuditChallenges = 16;
inline constexpr uint32_t kMaxAuditClaims = 32;
inline constexpr uint32_t kMaxAuditBody = 24 * kKiB;
// A register's value: a head with its tree packs, or a member's account record.
inline constexpr uint32_t kMaxRegisterBody = 1 * kMiB;
// Between processes of one home.
inline constexpr uint32_t kMaxAdminBody = 4 * kMiB;
inline constexpr uint32_t kMaxSmallBody = 1 * kKiB;

// Messages nest at most three deep; protobuf's own limit of 100 would let a hostile one use the stack.
inline constexpr int kMaxNesting = 16;

static_assert(kMaxProofBody >= 2 * 32 * 6 && kMaxShardSize / kLeafSize == 64);
static_assert(kMaxAuditBody >= kMaxAuditChallenges * (6 * 34 + 100) + kMaxAuditClaims * 320);
static_assert(kMaxPackBody >= 2 * kMaxSlots * 34 + 1024);

}  // namespace cairn::wire
