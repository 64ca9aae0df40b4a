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

// Nodes in one bucket of push-pull, about: a bucket that differs costs 45 bytes for each, the hash of one that does not
// costs 8. And the most buckets: 4 KiB of hashes.
inline constexpr size_t kNodesPerBucket = 8;
inline constexpr uint32_t kMaxBucketBits = 9;
// A step of push-pull that has no answer after this long has failed.
inline constexpr Duration kGossipTimeout = std::chrono::seconds(5);
// Rounds under way at the same time: dead nodes cost a round its whole timeout.
inline constexpr size_t kMaxGossipRounds = 4;
// Nodes asked at once when a process starts, so that one dead node does not delay it.
inline constexpr size_t kFirstGossips = 3;
// Doubts in one message of push-pull: half a pool of 2,000 that was cut off, kMaxDoubts of 140 bytes each.
inline constexpr int kMaxGossipDoubts = 4096;
// What one round of push-pull brought is passed on as news when it is at most so much: a newcomer, to whom all is new,
// need not tell the pool about itself.
inline constexpr size_t kMaxNewsOfRound = 32;
// How often a process that does not serve asks how the nodes are.
inline constexpr Duration kFollowEvery = std::chrono::seconds(2);
// How long it leaves a node alone that it could not reach itself, though others can.
inline constexpr Duration kFollowerDoubt = std::chrono::seconds(10);

// --- SWIM (SWIM.md; the published constants are in SwimOptions) ---

// News in one message: a dozen records, or all doubts of a bad day; more come with the next.
inline constexpr size_t kMaxNewsBytes = 8 * kKiB;
inline constexpr int kMaxNewsPerMessage = 256;
inline constexpr size_t kSkippedNews = 16;
// Each piece of news is sent kRetransmit * ln(n) times by each node that has it: all but about n^-2 of the nodes get it
// (SWIM, section 4.1), and push-pull reaches those.
inline constexpr double kRetransmit = 2;
// News that wait: the oldest make room; push-pull brings them.
inline constexpr size_t kMaxNewsQueue = 4096;
// Doubts kept about one node: more observers say nothing new.
inline constexpr size_t kMaxDoubts = 4;
// Where there are too few others to confirm it, a node has departed after so long a silence.
inline constexpr Duration kSilence = std::chrono::minutes(10);
// Where its own requests fail but others reach a node, it is suspect here for so long; then it is tried again.
inline constexpr Duration kOwnFailure = std::chrono::minutes(1);
// Rings over the members, on each of which a node watches its next neighbour (Rapid, Suresh 2018, takes 10 for the same
// reason: the graph is an expander). Each node has about twice as many sessions for it, whatever the size of the pool.
inline constexpr uint32_t kRings = 6;
// Local health: the multiplier is at most this much above 1 (Lifeguard: 8).
inline constexpr uint32_t kMaxLocalHealth = 8;
// A node that was doubted keeps sessions to those that watch it for so long: it may be hard to reach from outside.
inline constexpr Duration kReachBack = std::chrono::minutes(10);
// Nobody departs sooner. A suspicion turns requests to others within seconds, and departure only starts repair: so a
// machine that is busy, restarts, or changes its network for half a minute costs nobody a repair.
inline constexpr Duration kLeastSuspicion = std::chrono::seconds(30);
// One probe in so many, at most, goes to a departed node: so the halves of a healed pool meet again.
inline constexpr uint64_t kProbeDeparted = 8;

// --- the own record ---

// Used and free bytes change all the time, and telling it once costs every node some 8 KB. So a change below this part
// of the limit is told at most so often, and in pools of more than kFewNodes once in a second for each node: then all
// of them, under constant load, cost each other that much a second.
inline constexpr uint64_t kFiguresStep = 32;
inline constexpr Duration kFiguresEvery = std::chrono::seconds(2);
inline constexpr Duration kFiguresPerNode = std::chrono::seconds(1);
inline constexpr size_t kFewNodes = 10;

// --- introductions ---

// A node that does not know this device's member is brought the log at most so often. Each node hears no more than this
// many in that time from strangers: each is up to kMaxIntroduceBody, some 4,000 signatures, 0.3 s of a core.
inline constexpr Duration kIntroduceEvery = std::chrono::minutes(1);
inline constexpr unsigned kIntroductions = 4;

// --- sessions ---

// From the first byte to a valid HELLO, and for strangers to their JOIN.
inline constexpr Duration kHelloTimeout = std::chrono::seconds(10);
// Incoming sessions that have not shown a valid certificate yet, all together and from one NodeID.
inline constexpr size_t kMaxUnproven = 64;
inline constexpr size_t kMaxStrangersPerNode = 2;
// A session with no request in flight is closed after this long; gossip keeps those alive that it uses.
inline constexpr Duration kIdleTimeout = std::chrono::minutes(2);
// A session on which this side's requests wait and nothing has arrived for this long is probed with a ping; after as
// long again without any byte it is dead.
inline constexpr Duration kSilenceTimeout = std::chrono::seconds(10);
// How often a session looks after itself: idleness, silence, requests past their deadline.
inline constexpr Duration kWatchPeriod = std::chrono::seconds(5);
// A write may take this long and as much for each byte: 50 kB/s is the slowest line that is still of use.
inline constexpr Duration kWritePatience = std::chrono::seconds(20);
inline constexpr Duration kSlowestByte = std::chrono::microseconds(20);
// A payload is given to the stream in slices, so that it shows that a slow line still takes something. On a line that
// took the last one at once they are larger: a thread beside the strand may have that much to encrypt.
inline constexpr size_t kWriteSlice = 256 * kKiB;
inline constexpr size_t kFastWriteSlice = 1 * kMiB;
inline constexpr Duration kFastWrite = std::chrono::milliseconds(50);
// What the peer's machine must have taken between two looks (kWatchPeriod) to count as progress: 3 kB/s. Less is what
// gossip alone brings to a machine whose process hangs.
inline constexpr uint64_t kLeastProgress = 16 * kKiB;
// The failure detector is told at most so often that a session brings frames.
inline constexpr Duration kHeardEvery = std::chrono::milliseconds(500);
// What a refused peer may still send before it has read the refusal.
inline constexpr uint64_t kMaxLinger = 1 * kMiB;
// Requests that wait for their turn or run here, on one session. Beyond it they are answered Code::overloaded.
inline constexpr size_t kMaxRequestsPerSession = 1024;
// Requests of one peer that run at the same time here, over all its sessions: enough to fill a group commit, and their
// answers of up to kMaxShardSize each stay within what a node can spare.
inline constexpr size_t kMaxRunning = 32;
// Requests of this side that may wait on one session.
inline constexpr size_t kMaxCallsPerSession = 4096;
// Frames that wait to be written are joined to writes of about this size: 64 to 256 KiB a call are best (measured.md).
inline constexpr size_t kWriteBatch = 256 * kKiB;
// Parts of up to this size are copied together before a write; larger ones are written from where they lie.
inline constexpr size_t kJoinedPart = 4 * kKiB;
// Queued bytes beyond which new requests of this side wait for the writer.
inline constexpr size_t kMaxWriteQueue = 16 * kMiB;
// Small frames are read through one buffer of this size; payloads go straight to where they belong.
// It begins small: most sessions carry nothing but gossip, and a node may have a thousand.
inline constexpr size_t kReadBuffer = 64 * kKiB;
inline constexpr size_t kFirstReadBuffer = 4 * kKiB;
// After a failed dial the next one to that node waits, doubled each time up to the larger value.
inline constexpr Duration kFirstBackoff = std::chrono::milliseconds(250);
inline constexpr Duration kLastBackoff = std::chrono::seconds(15);
// The longest deadline that is honoured for a peer's request.
inline constexpr Duration kMaxDeadline = std::chrono::minutes(10);
// A request past its deadline is ended here this much later: its cancel frame may be on the way.
inline constexpr Duration kDeadlineGrace = std::chrono::seconds(2);

// --- pacing ---

// Idle time that counts as saved up: so that a few shards in a row do not wait where little is moved.
inline constexpr Duration kPacingBurst = std::chrono::milliseconds(500);
// Who waits looks again after this: rates change.
inline constexpr Duration kPacingStep = std::chrono::milliseconds(500);
// Uploads that would wait longer for their answer are refused, so that the writer turns to another before it takes this
// node for slow (pool::kSlowPut).
inline constexpr Duration kPacingPatience = std::chrono::seconds(2);

// --- invites ---

inline constexpr size_t kInviteIdSize = 16;
inline constexpr size_t kInviteSecretSize = 16;
// A code is a few hundred characters; longer ones are not looked at.
inline constexpr size_t kMaxInviteCode = 4096;
inline constexpr uint32_t kMaxInviteUses = 1000;
// A record with an entry of some 700 bytes for each use.
inline constexpr uint64_t kMaxInviteRecord = 2 * kMiB;
// A record is kept so long after it expired, for a joiner whose answer was lost.
inline constexpr Duration kForgetInvitesAfter = std::chrono::days(30);

}  // namespace cairn::peer
