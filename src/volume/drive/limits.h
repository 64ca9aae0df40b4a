#pragma once
// Sizes of the drive, each with its reason.

#include "volume/limits.h"

namespace cairn::volume {

// Staged bytes that one write to a segment takes together: many small appends become one call of the system.
inline constexpr size_t kStagingRun = 4 * kMiB;
inline constexpr size_t kStagingParts = 256;
// Appended buffers below this are copied into memory of their own: a small one may be part of a large request.
inline constexpr size_t kStagingCopy = 64 * kKiB;
// Where the disk has no room for a whole segment, one of this size is tried.
inline constexpr uint64_t kSmallSegment = 4 * kMiB;

// Edits in memory beyond which a commit begins, operations that change something wait, and all are refused. What is
// committed is there twice more for a moment (placed, and as the tree's edits): 300 MiB for a whole mount hold.
inline constexpr size_t kEditsCommit = 12 * kMiB;
inline constexpr size_t kEditsWait = 48 * kMiB;
inline constexpr size_t kEditsRefuse = 64 * kMiB;
static_assert(kEditsCommit < kEditsWait && kEditsWait < kEditsRefuse);

// Full units of 128 KiB are sent before their commit begins once there are so many bytes of them: most of a pack.
inline constexpr uint64_t kEarlyUpload = 8 * kMiB;
// A file of this size is committed when it is closed.
inline constexpr uint64_t kCommitAtClose = 16 * kMiB;
// After a failed commit: from the first to the longest pause. Each time about twice as long.
inline constexpr Duration kFirstRetry = std::chrono::milliseconds(500);
inline constexpr Duration kLongestRetry = std::chrono::seconds(30);
// The disk's free space is asked for again after so much time or so many bytes.
inline constexpr Duration kSpaceAge = std::chrono::seconds(1);
inline constexpr uint64_t kSpaceBytes = 32 * kMiB;
// Between reserve() and append() of operations that run at the same time: they are let in up to so much below the
// limit.
inline constexpr uint64_t kReserveSlack = 64 * kMiB;
// The tree's nodes that are kept on disk: those of a volume of some hundred thousand files. Part of cache_bytes.
inline constexpr uint64_t kLocalNodes = 192 * kMiB;
// They are synced so often: to find its way after a power loss without the pool, a drive need not have the last ones.
inline constexpr Duration kNodesSync = std::chrono::seconds(30);
// Of these, what waits to be written; more is not kept.
inline constexpr size_t kWaitingNodes = 8 * kMiB;
// A unit of 128 KiB with more extents than this is written anew as one.
inline constexpr size_t kExtentsOfUnit = 8;
// Of these, in one commit: some 8 MiB more to write, and to read when they are not cached. And units looked at.
inline constexpr size_t kCompactedUnits = 64;
inline constexpr size_t kExaminedUnits = 2048;

}  // namespace cairn::volume
