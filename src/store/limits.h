#pragma once
// Sizes of the shard store. Each with its reason; figures are from a 2-core machine with ext4 (src/store/FORMAT.md).

#include <algorithm>
#include <cstdint>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/units.h"

namespace cairn::store {

// Records begin and end on file system blocks: a hole gives back exactly what a record took, and a block that was
// synced is never written again, so a torn write cannot hurt a neighbour.
inline constexpr uint32_t kBlockSize = 4 * kKiB;

// The smallest store that makes sense: two segments and the index.
inline constexpr uint64_t kMinStoreLimit = 16 * kMiB;

// A segment is an eighth of the store at most, so that compaction (where holes cannot be punched) needs little room;
// 256 MiB keeps a 4 TiB store at 16,384 files.
inline constexpr uint64_t kMinSegmentSize = 8 * kMiB;
inline constexpr uint64_t kMaxSegmentSize = 256 * kMiB;
constexpr uint64_t segment_size(uint64_t limit) {
  return std::clamp(limit / 8 / kMiB * kMiB, kMinSegmentSize, kMaxSegmentSize);
}
// Blocks are reserved ahead in such steps: a commit then allocates seldom.
constexpr uint64_t preallocation_step(uint64_t limit) {
  return std::clamp(segment_size(limit) / 8, 1 * kMiB, 32 * kMiB);
}

// Payloads from here on begin at a block. Of a 4 MiB shard that takes nothing: the header had a block anyway.
inline constexpr uint32_t kBlockAlignedPayload = 64 * kKiB;
// Ranges from here on are read past the system's cache: a stream that comes by once. Shorter ones may come again.
inline constexpr uint32_t kReadPastCache = 512 * kKiB;

// Headers of records that were read lately, some 1.5 KiB each: a shard is read in several ranges.
inline constexpr size_t kKnownHeaders = 512;

// A record's header: 88 bytes, a signed pack header of at most 32 roots (about 1.4 KiB), 32 siblings, 64 leaf sums.
inline constexpr uint32_t kMaxRecordHeader = 16 * kKiB;
inline constexpr uint32_t kMaxPackHeader = 8 * kKiB;
// Shards of more leaves keep their leaf hashes in a block behind the payload; below this a proof hashes the shard anew
// (512 KiB: 0.3 ms).
inline constexpr uint32_t kLeavesWithoutTrailer = 8;

// One group commit: large enough that small shards share a sync, small enough for 50 ms on a slow disk.
inline constexpr uint64_t kMaxCommitBytes = 16 * kMiB;
inline constexpr size_t kMaxCommitOps = 1024;
// Bytes of puts that are accepted and not yet committed; more wait.
inline constexpr uint64_t kMaxQueuedBytes = 32 * kMiB;

// The index is synced at least this often, so a start-up after power loss reads at most this much again.
inline constexpr uint64_t kCheckpointBytes = 64 * kMiB;
inline constexpr uint32_t kCheckpointRecords = 4096;
// One job of a start-up or rebuild scan reads about this much.
inline constexpr uint64_t kScanStepBytes = 8 * kMiB;
inline constexpr uint32_t kScanStepRecords = 1024;

// LevelDB's write buffer: small stores cannot afford large logs.
constexpr uint64_t index_write_buffer(uint64_t limit) {
  return std::clamp(limit / 512, 128 * kKiB, 4 * kMiB);
}
// What the index may take: two logs and up to six small tables of one write buffer each, and per shard an entry of 60
// bytes, three times over while tables are merged. What was really measured counts when it is more.
constexpr uint64_t index_allowance(uint64_t limit, uint64_t shards) {
  return 8 * index_write_buffer(limit) + 192 * shards;
}
// Blocks that are held back so that a full disk does not end the index: opening it writes its log out as a table, and
// giving space back takes writes.
constexpr uint64_t reserve_bytes(uint64_t limit) {
  return 2 * index_write_buffer(limit);
}
// Marker and its copy, lock and three folders.
inline constexpr uint64_t kFixedBytes = 7 * uint64_t{kBlockSize};

// Segment files that are kept open.
inline constexpr size_t kOpenSegments = 32;
// Holes punched in one job.
inline constexpr size_t kHolesPerJob = 64;
// The scrub sleeps off what it has read once that is worth this many seconds at its rate: a few small shards a job.
inline constexpr double kScrubPause = 0.25;
// A shard counts as at least so many bytes of the scrub's rate: finding it costs a disk as long as reading these, and
// the processor more than its bytes do. 1,000,000 small ones take nine hours at 1 MiB/s. No more than that all of them
// together take kScrubSeeks.
inline constexpr uint64_t kScrubSeek = 32 * kKiB;
inline constexpr Duration kScrubSeeks = std::chrono::days(7);
// Shards looked at in one step of a walk.
inline constexpr size_t kWalkStep = 64;
// While puts and reads are under way the check of Merkle roots stands back this long at most, then takes one turn.
inline constexpr Duration kStandBack = std::chrono::milliseconds(100);
inline constexpr Duration kStandBackStep = std::chrono::milliseconds(10);
// figures() asks for a fresh look at the file system's free space when the last is older.
inline constexpr Duration kSpaceAge = std::chrono::seconds(5);
// --- the host's disk (headroom.h) ---
// How often the file system is looked at, how often at the least when it is nearly full, and while a host writes fast:
// a call of microseconds and two hops between threads, 60 us in all.
inline constexpr Duration kLookAtDisk = std::chrono::seconds(2);
inline constexpr Duration kLookAtFullDisk = std::chrono::milliseconds(20);
inline constexpr Duration kLookAtFastHost = std::chrono::milliseconds(5);
// What a host writes a second at the most: fast SSDs take as much, and so does the system's cache in a burst. Between
// two looks it then takes one part in kLookShare of what is free.
inline constexpr uint64_t kHostSpeed = 4 * kGiB;
inline constexpr uint64_t kLookShare = 4;
// What the host would write in this time must still be free, else things are dropped. A look, choosing what goes, and
// two syncs of a disk at which the host writes take 30 to 100 ms together (tests/system/host_test.py prints it).
inline constexpr Duration kReaction = std::chrono::milliseconds(150);
inline constexpr Duration kHostAhead = std::chrono::milliseconds(250);
// Nothing is taken again before the host writes less than this part of what is to stay free in kHostAhead.
inline constexpr uint64_t kCalm = 8;
// A burst is seen in this time: several looks, and more than what one write of a program takes.
inline constexpr Duration kGlance = std::chrono::milliseconds(40);
// A pace is expected to come again for a while: programs write in bursts.
inline constexpr Duration kPaceHalf = std::chrono::milliseconds(500);
// Dropping takes a few times as long as looking: so many times what the host writes meanwhile is made free at once.
inline constexpr uint64_t kHostRounds = 3;
// Index and preallocation take some of what is to stay free: less than keep_free by this fraction is the host's doing.
inline constexpr uint64_t kOwnSlack = 16;

// A store whose index failed is opened anew at most this often.
inline constexpr Duration kReopenPause = std::chrono::seconds(1);
// Where holes cannot be punched a segment is copied together when this share of it is dead.
inline constexpr uint32_t kCompactDeadPercent = 25;

static_assert(kMinSegmentSize >= kMaxShardSize + kMaxRecordHeader + 2 * kBlockSize);
static_assert(kMaxSegmentSize / kBlockSize < UINT32_MAX);
static_assert(kBlockAlignedPayload >= kAlignedBuffer && kBlockSize == kPageAlignment && kLeafSize % kBlockSize == 0);
static_assert(kMaxQueuedBytes >= kMaxCommitBytes && kMaxCommitBytes >= kMaxShardSize);
static_assert(2 * kMinSegmentSize <= kMinStoreLimit);

}  // namespace cairn::store
