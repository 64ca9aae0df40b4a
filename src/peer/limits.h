#pragma once
// Numbers of the peer room, each with its reason.

#include "base/units.h"
#include "wire/limits.h"

namespace cairn::peer {

// --- records ---

// Names of pools, members and nodes, in bytes: what a file name may have, and a HELLO with two of them stays small.
inline constexpr size_t kMaxNameLength = 255;
inline constexpr size_t kMaxDomainLength = 64;
// Of one node: a few networks, IPv4 and IPv6, a relay. A host name has at most 253 bytes (RFC 1035).
inline constexpr size_t kMaxAddresses = 8;
inline constexpr size_t kMaxAddressLength = 262;
// Nodes that one node keeps: the design's target is 2,000; beyond that come partial views. Bounds what members can make
// others remember: a member may certify any number of devices.
inline constexpr size_t kMaxNodes = 8192;
inline constexpr size_t kMaxNodesPerMember = 1024;
// Entries of one chain: some 600 bytes each.
inline constexpr size_t kMaxChainLength = 65536;
inline constexpr size_t kMaxChains = 1024;
// How often the log is evaluated anew because an admin removed one who had removed others. Honest logs need one or two;
// admins who remove each other in circles end here, at the same result everywhere.
inline constexpr int kMaxEvaluations = 16;

// --- gossip ---

// Records in one gossip message; the rest follows with the next.
inline constexpr size_t kMaxGossipRecords = 1 * kMiB;

// --- sessions ---

// Of strangers, and of anyone until its HELLO has been checked.
inline constexpr Duration kHelloTimeout = std::chrono::seconds(10);
// A stranger has this long from the first byte to its JOIN.
inline constexpr Duration kStrangerTimeout = std::chrono::seconds(10);
// Incoming sessions that have not shown a valid certificate yet, all together and from one NodeID.
inline constexpr size_t kMaxUnproven = 64;
inline constexpr size_t kMaxStrangersPerNode = 2;
// A session with no request in flight is closed after this long; gossip keeps those alive that it uses.
inline constexpr Duration kIdleTimeout = std::chrono::minutes(2);
// A session on which requests wait and nothing has arrived for this long is probed; after as long again without any
// byte it is dead.
inline constexpr Duration kSilenceTimeout = std::chrono::seconds(10);
// Requests that one session may have at work here. Beyond it they are answered Code::overloaded.
inline constexpr size_t kMaxRequestsPerSession = 1024;
// Requests of this side that may wait on one session.
inline constexpr size_t kMaxCallsPerSession = 4096;
// Frames that wait to be written are joined to writes of about this size: TLS records hold 16 KiB, and 64 to 256 KiB a
// call are best (measured.md).
inline constexpr size_t kWriteBatch = 256 * kKiB;
// Queued bytes beyond which answers and new requests wait for the writer.
inline constexpr size_t kMaxWriteQueue = 16 * kMiB;
// Small frames are read through one buffer of this size; payloads go straight to where they belong.
inline constexpr size_t kReadBuffer = 64 * kKiB;
// After a failed dial the next one to that node waits, doubled each time up to the larger value.
inline constexpr Duration kFirstBackoff = std::chrono::milliseconds(250);
inline constexpr Duration kLastBackoff = std::chrono::seconds(15);
// Answers that take longer than this many milliseconds are nobody's: the largest deadline that is honoured.
inline constexpr Duration kMaxDeadline = std::chrono::minutes(10);

// --- invites ---

inline constexpr size_t kInviteIdSize = 16;
inline constexpr size_t kInviteSecretSize = 16;
// A code is a few hundred characters; longer ones are not looked at.
inline constexpr size_t kMaxInviteCode = 4096;
inline constexpr uint32_t kMaxInviteUses = 1000;

}  // namespace cairn::peer
