#pragma once
// Sizes and times of the backup room, each with its reason.

#include "base/limits.h"

namespace cairn::backup {

// A partial snapshot is saved this often: what a kill -9 can lose is this and the time of one save, under 30 s.
inline constexpr Duration kCheckpointPeriod = std::chrono::seconds(20);
// Events that one job of the walk collects: some milliseconds of lstat.
inline constexpr size_t kScanBatch = 1024;
// What is read of changed entries in one job: some milliseconds of small files.
inline constexpr size_t kDetailBatch = 256;
inline constexpr uint64_t kDetailBytes = 4 * kMiB;
// Files up to here are read whole by such a job, larger ones piece by piece.
inline constexpr uint64_t kSmallFile = 128 * kKiB;
inline constexpr size_t kReadBlock = 2 * kMiB;
static_assert(kSmallFile <= kDetailBytes);
// Entries of a folder of the parent snapshot that are looked at together.
inline constexpr size_t kListPage = 4096;

}  // namespace cairn::backup
