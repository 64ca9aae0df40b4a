#pragma once
// Numbers of the pool room, each with its reason.

#include <chrono>

#include "base/limits.h"
#include "base/units.h"

namespace cairn::pool {

// --- placement ---

// With how many other nodes a node shares packs, at most about: 50 to 100 keeps rebuilding wide and makes the loss of a
// pack by a mass failure rare (Cidon 2013, Copysets; Cidon 2015, Tiered Replication).
inline constexpr uint32_t kScatterWidth = 100;
// Up to here the whole pool is one window: it could not exceed the scatter width anyway.
inline constexpr size_t kSmallPool = kScatterWidth;
// A window is at least so many times the slots, so that full and failing nodes leave a choice.
inline constexpr uint32_t kWindowPerSlot = 2;
inline constexpr uint32_t kMinWindow = 16;
// Node permutations: each is ordered by another 64-bit word of the NodeID, which is a SHA-256.
inline constexpr uint32_t kMaxPermutations = 4;

static_assert(kWindowPerSlot * kMaxSlots <= kScatterWidth);  // a window fits into a pool that has windows

// --- claims ---

// A signed claim has some 250 bytes; longer ones are not looked at.
inline constexpr size_t kMaxClaimSize = 512;
// Of one pack: every slot moved a few times. Bounds what a member can make others keep.
inline constexpr size_t kMaxClaimsPerPack = 4 * kMaxSlots;
// New claims wait this long for more, so that a batch is one synced write and one request to each sibling.
inline constexpr Duration kClaimDelay = std::chrono::milliseconds(250);
// Own claims in one write: 512 signatures take 17 ms of a worker.
inline constexpr size_t kClaimsPerWrite = 512;
// Packs whose claims stay in memory after they were written: of (4, 2) packs some 2 KiB each.
inline constexpr size_t kRecentPacks = 512;
// Claims in one push, and the most that is accepted: checking them takes 20 ms of a worker.
inline constexpr size_t kClaimsPerPush = 256;
// Shards that wait for their claim. Beyond it they get it at the next start, by the walk over the stores.
inline constexpr size_t kMaxWaitingClaims = 65536;
// Siblings that are told at the same time.
inline constexpr size_t kMaxPushes = 8;
inline constexpr Duration kPushTimeout = std::chrono::seconds(10);
inline constexpr Duration kFirstPushRetry = std::chrono::seconds(1);
inline constexpr Duration kLastPushRetry = std::chrono::minutes(5);
// A claim may reach a sibling before the sibling's own shard does, and is refused there: it is told again after this
// long, each time four times as long, so often. An upload that has not ended in seven minutes is one that failed.
inline constexpr Duration kFirstEarlyRetry = std::chrono::seconds(5);
inline constexpr uint32_t kEarlyRetries = 4;
inline constexpr size_t kMaxEarlyClaims = 65536;
// The walk that makes up for claims lost in a crash looks at so many shards, then rests, so that it is not noticed.
inline constexpr size_t kWalkPage = 256;
inline constexpr Duration kWalkRest = std::chrono::milliseconds(100);
// Claims in one answer to a query: 300 bytes each, within wire::kMaxClaimsBody of 2 MiB with room for siblings.
inline constexpr size_t kMaxClaimsPerAnswer = 4096;
// Packs in one claims_query.
inline constexpr size_t kMaxQueryPacks = 64;

// --- holder ---

// Stores of one node.
inline constexpr size_t kMaxStores = 64;
// Requests that work on the disks at the same time; the others wait in order.
inline constexpr uint64_t kMaxDiskReads = 32;
inline constexpr uint64_t kMaxDiskWrites = 16;
// Payload bytes of all uploads and answers that are held in memory at the same time. Beyond it: Code::overloaded.
inline constexpr uint64_t kMaxHolderMemory = 128 * kMiB;

// --- moving and rebuilding shards ---

// What a daemon's repairs and moves may bring over its line, both ways together. A quarter while the node serves
// clients.
inline constexpr uint64_t kMoveRate = 16 * kMiB;
inline constexpr uint64_t kForegroundShare = 4;
// Served requests of clients within this time count as foreground work that goes first.
inline constexpr Duration kForegroundLasts = std::chrono::seconds(2);
// Ranges that are held at the same time to rebuild a shard, of all sources together; beside it the shard itself.
inline constexpr uint64_t kRebuildMemory = 8 * kMiB;
// Shards that a node moves or rebuilds at the same time: two, so that one slow source does not stop all.
inline constexpr uint64_t kMovesAtOnce = 2;
// One range of a source, and one shard to its new holder: 512 KiB and 4 MiB at 50 kB/s.
inline constexpr Duration kFetchTimeout = std::chrono::seconds(20);
inline constexpr Duration kDeliverTimeout = std::chrono::seconds(90);
// Nodes that are tried for one shard before it waits for the next time.
inline constexpr size_t kMoveTries = 6;
// --- tombstones and trash ---

// A tombstone has some 260 bytes, the founding of a volume with five keepers some 400; longer ones are not looked at.
inline constexpr size_t kMaxTombstoneSize = 512;
inline constexpr size_t kMaxFounding = 2 * kKiB;
// In one request: checking them takes 20 ms of a worker.
inline constexpr size_t kTombstonesPerRequest = 256;
inline constexpr Duration kTombstoneTimeout = std::chrono::seconds(30);
// How often the trash is looked at; more often where it is kept for a short time only.
inline constexpr Duration kTrashPeriod = std::chrono::minutes(1);
// The holder of slot i passes a tombstone on after i + 1 of these: most have then heard it from the owner or the first.
inline constexpr Duration kPassOnStep = std::chrono::minutes(1);
// Packs purged between two looks at the index, and how long is waited for a store that is away.
inline constexpr size_t kPurgePage = 64;
inline constexpr Duration kPurgeAgain = std::chrono::hours(6);
// Statements that are signed and sent in one go by the owner: 4 MiB of them.
inline constexpr size_t kTombstonesPerStep = 16384;
// IDs that the owner wants listed; more are compared in halves first.
inline constexpr uint32_t kListedPacks = 1024;
// IDs in one answer to a reconciliation: 34 bytes each, within wire::kMaxClaimsBody.
inline constexpr size_t kMaxListedPacks = 16384;

// --- repair ---

// How long what a departed node held is waited for, by the margin that is left (live slots - k): none at 0; at 1 so
// that all is done within an hour; then 24 to 72 hours, because most machines come back (design: Repair).
inline constexpr Duration kGraceAtOne = std::chrono::minutes(30);
inline constexpr Duration kGraceAtTwo = std::chrono::hours(24);
inline constexpr Duration kGraceAtThree = std::chrono::hours(48);
inline constexpr Duration kLongestGrace = std::chrono::hours(72);
// What is known to be lost for good is only given time for the claim of a successor that is on its way.
inline constexpr Duration kSettleLoss = std::chrono::seconds(10);
// A slot that nobody has claimed yet: its writer tries for kFinishWithin after its quorum, and uploads may take
// kLongestPut.
inline constexpr Duration kUnclaimedGrace = std::chrono::minutes(15);
// A node that leaves hands its shards on itself; after this its siblings help.
inline constexpr Duration kLeavingGrace = std::chrono::hours(6);
// The next sibling in rank order begins so much later.
inline constexpr Duration kRankStep = std::chrono::seconds(30);
// How long an intent keeps others from the same pack: k ranges of each slot at a slow line's speed.
inline constexpr Duration kIntentLasts = std::chrono::minutes(10);
inline constexpr Duration kIntentTimeout = std::chrono::seconds(5);
// A better-ranked sibling that asks within this time after another still goes first.
inline constexpr Duration kIntentSettle = std::chrono::seconds(5);
// Intents of others that are remembered; more are not honoured, which at worst makes a duplicate.
inline constexpr size_t kMaxIntents = 4096;
// A new holder verifies and claims within this time, or the slot counts as empty again.
inline constexpr Duration kPlacedPatience = std::chrono::minutes(10);
// A repair that failed is tried again after this, doubled up to the larger value.
inline constexpr Duration kFirstRepairRetry = std::chrono::minutes(1);
inline constexpr Duration kLastRepairRetry = std::chrono::hours(1);
// Who has a surplus copy drops it no sooner (design: Repair).
inline constexpr Duration kSurplusWait = std::chrono::hours(24);
// More than 1/kCutOffShare of the nodes gone within kVanishWindow: it is this node that is cut off. Believed for so
// long at most.
inline constexpr size_t kCutOffShare = 4;
inline constexpr Duration kVanishWindow = std::chrono::hours(1);
inline constexpr Duration kCutOffLasts = std::chrono::hours(24);
// Tests that shorten all of these go no lower than this, and than that for what is on its way.
inline constexpr Duration kShortestWait = std::chrono::seconds(2);
inline constexpr Duration kShortestPatience = std::chrono::seconds(15);
// How often the nodes' states are looked at.
inline constexpr Duration kStatesEvery = std::chrono::seconds(5);
// Packs that wait to be looked at, some 130 bytes each: all that a node shares with another of 1,000,000 shards. What
// does not fit is found by the walk.
inline constexpr size_t kMaxScheduled = 262'144;
// Packs that are repaired by one node at the same time.
inline constexpr size_t kRepairsAtOnce = 2;
// A claim of this node's own whose shard is in no store: while one of its disks is missing, it may come back for so
// long.
inline constexpr Duration kMissingDisk = std::chrono::hours(1);
// The walk over all own shards that finds what no event told of: so long after the start, so often, and so slowly.
inline constexpr Duration kWalkDelay = std::chrono::minutes(10);
inline constexpr Duration kWalkEvery = std::chrono::hours(24);
inline constexpr size_t kWalkBatch = 32;
inline constexpr Duration kWalkPause = std::chrono::milliseconds(250);
// Packs on the way are looked at one after the other; while clients are served with a pause after each.
inline constexpr Duration kStandBackPause = std::chrono::milliseconds(20);

// --- audits and scrub ---

// One node after the other is asked for kAuditBatch random leaves: 256 KiB an hour and node are 73 bytes a second, and
// in a pool of some 100 siblings each is still asked for some 100 leaves a day.
inline constexpr Duration kAuditEvery = std::chrono::hours(1);
inline constexpr size_t kAuditBatch = 4;
inline constexpr Duration kAuditTimeout = std::chrono::seconds(30);
// A challenge without an answer is put again, the same one, and counts only after so many.
inline constexpr size_t kAuditTries = 3;
inline constexpr Duration kAuditRetry = std::chrono::minutes(2);
// A wrong answer is confirmed by another leaf before the slot counts as gone.
inline constexpr Duration kAuditConfirm = std::chrono::seconds(20);
// A slot that counts as gone is asked again for the leaf that it failed.
inline constexpr Duration kDistrustRetry = std::chrono::hours(6);
// Who failed an audit and then says that the shard is gone is passed by for others for so long, twice as long each
// further time: who lies, takes its word back when it was found out, and loses the next shards gets few of them. An
// honest one whose disk failed is missed little: it is chosen where there is nobody else, and by writers.
inline constexpr Duration kPassedBy = std::chrono::hours(24);
inline constexpr uint64_t kPassedByDoublings = 4;
// Slots of others that count as gone by their audits.
inline constexpr size_t kMaxDistrusted = 4096;
// The scrub reads at this rate (a TiB in 12 days), and begins anew after this long.
inline constexpr uint64_t kScrubRate = 1 * kMiB;
inline constexpr Duration kScrubEvery = std::chrono::days(14);
inline constexpr Duration kScrubDelay = std::chrono::minutes(30);
// What is known of each node's reliability is kept on the disk this often, and forgets by half after so much observed
// time.
inline constexpr Duration kSaveScores = std::chrono::minutes(10);
inline constexpr Duration kScoreHalf = std::chrono::days(30);
// --- drain ---

// A host that needs its disk now does not wait for the rate of repairs: as fast as a fast line and disk.
inline constexpr uint64_t kYieldRate = 256 * kMiB;
// Shards of a node that are moved away at the same time: each waits for its claim some half a second.
inline constexpr size_t kDrainAtOnce = 16;
// Shards looked at in one step of a walk.
inline constexpr size_t kDrainPage = 64;
// How long the claim of the new holder is waited for: it comes within seconds of the receipt.
inline constexpr Duration kDrainClaim = std::chrono::seconds(60);
// What had nowhere to go is tried again after this.
inline constexpr Duration kDrainRetry = std::chrono::seconds(30);
// So many shards without a place, and none with one: the rest of the store is not looked at before the next try.
inline constexpr size_t kDrainStuck = 1024;
// How often it is looked whether a store that was drained enough has more again.
inline constexpr Duration kDrainPoll = std::chrono::milliseconds(500);
// Other targets for one shard before it counts as having nowhere to go.
inline constexpr int kDrainTries = 4;
// Moves that owners ordered and that are under way at one node; more are refused, and ordered again.
inline constexpr size_t kMaxMoveOrders = 64;
// One move, as its owner waits for it: behind others, at a slow line's speed, and until the new holder has claimed it.
inline constexpr Duration kMoveOrderTimeout = std::chrono::minutes(5);
// Nodes whose shares of use differ by more than this are evened out, and then to within half of it: less would move
// shards to and fro with every file that comes and goes.
inline constexpr double kLevelBand = 0.05;
// Shards that a pressed host drops together: they share the sync of the index.
inline constexpr size_t kShedAtOnce = 64;
// How long to wait until dropped shards have given their blocks back.
inline constexpr Duration kShedPatience = std::chrono::seconds(2);
inline constexpr Duration kShedPoll = std::chrono::milliseconds(10);

// --- client ---

// Ranges up to this length have a latency of their own: a drive's reads. Longer ones are dominated by their transfer.
inline constexpr uint64_t kSmallRange = 256 * kKiB;
// However regular a holder was, others are not asked before this: a busy machine stalls for as long now and then.
inline constexpr Duration kLeastHedge = std::chrono::milliseconds(100);
// A holder that failed is left alone for so long, doubled up to the larger value.
inline constexpr Duration kFirstRest = std::chrono::seconds(2);
// One that only was slower than others: while it rests every range of its own costs k times its bytes, and most stalls
// (a disk that is flushed) are over soon.
inline constexpr Duration kFirstSlowRest = std::chrono::milliseconds(250);
inline constexpr Duration kLastRest = std::chrono::seconds(60);
// An upload is raced by a replacement after so long, or after kStragglerFactor times what half of the pack's shards
// took when that is longer.
inline constexpr Duration kSlowPut = std::chrono::seconds(3);
inline constexpr int kStragglerFactor = 4;
// An upload moves as long as the holder's machine takes so much between two looks (at most kSlowPut): 5 kB/s.
inline constexpr uint64_t kLeastMovement = 16 * kKiB;
// However it moves, an upload ends after this long: 4 MiB at 7 kB/s.
inline constexpr Duration kLongestPut = std::chrono::minutes(10);
// How often it is looked whether a holder on trial is free to be tried.
inline constexpr Duration kTrialPoll = std::chrono::milliseconds(500);
// How long after the quorum a slot that nobody takes is tried again, and the memory for the shards of such slots.
inline constexpr Duration kFinishWithin = std::chrono::seconds(15);
inline constexpr uint64_t kMaxStragglerMemory = 64 * kMiB;
// What a decoding brought to light of other lanes: all of them beside one of 4 MiB in a pack of (4, 2), and some.
inline constexpr uint64_t kMaxProvenMemory = 16 * kMiB;
// Packs whose location, and whose header, is remembered: some 3 and 2 KiB each.
inline constexpr size_t kKnownPacks = 4096;
inline constexpr size_t kKnownHeaders = 1024;
// Nodes asked for the claims of one pack, and so many at the same time.
inline constexpr size_t kMaxAsked = 128;
inline constexpr size_t kAskedAtOnce = 16;
inline constexpr Duration kQueryTimeout = std::chrono::seconds(5);
// A location found is not looked for again within this time.
inline constexpr Duration kLocateAgain = std::chrono::seconds(5);
// Bytes that reads under way may ask for, and the same for those that are decoded from k others.
inline constexpr uint64_t kMaxReadMemory = 64 * kMiB;
inline constexpr uint64_t kMaxDecodeMemory = 128 * kMiB;

static_assert(kUnclaimedGrace > kLongestPut && kRankStep > kIntentSettle);
static_assert(kMaxDecodeMemory >= 16 * kMaxShardSize, "a whole lane of the widest code can be decoded");

}  // namespace cairn::pool
