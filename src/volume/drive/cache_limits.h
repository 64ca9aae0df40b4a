#pragma once
// Sizes of the chunk cache, each with its reason.

#include "volume/limits.h"

namespace cairn::volume {

// --- memory ---
// What a chunk costs beside its bytes: list, map, allocator.
inline constexpr size_t kMemoryEntry = 256;
// Part of the memory for chunks that were read once: a scan only pushes out such.
inline constexpr size_t kMemoryFreshPart = 4;  // a quarter
// What is read ahead and not yet read, under way or kept, may take this part of the memory.
inline constexpr size_t kMemoryAheadPart = 4;
// After this time nobody wants what was read ahead: it counts no longer, and is not fetched any more.
inline constexpr Duration kAheadStale = std::chrono::seconds(5);

// --- pool ---
// Runs of up to kReadRun under way at once; those who wait mostly want far less. Reading ahead takes a quarter of them:
// 8 MiB hide a round trip of 40 ms at 200 MB/s.
inline constexpr size_t kRunsUnderWay = 16;
inline constexpr size_t kRunsAhead = 4;

// --- disk ---
// Segments go as a whole: large enough for few files (160 in 10 GiB), small beside the limit.
inline constexpr uint64_t kMaxCacheSegment = 64 * kMiB;
inline constexpr uint64_t kMinCacheSegment = 1 * kMiB;
inline constexpr uint64_t kCacheSegmentParts = 32;  // of the limit
// Below this limit nothing is kept on disk.
inline constexpr uint64_t kMinCacheLimit = 8 * kMiB;
// Chunks that were not read again take at most this part of the limit once it is reached (S3-FIFO's small queue).
inline constexpr uint64_t kProbationPercent = 15;
// Records begin at multiples of it, so that the index says a place in 20 bits.
inline constexpr uint32_t kCacheAlign = 64;
// Chunks on disk, and names of chunks that went lately: with these the index takes 16 MiB and its lists 4 MiB; 10 GiB
// of chunks of 128 KiB take 3 MiB.
inline constexpr size_t kMaxCacheEntries = 512 * 1024;
inline constexpr size_t kMaxGhosts = 256 * 1024;
// Plaintext that waits to be written; what comes while so much waits is not kept.
inline constexpr uint64_t kCacheQueueBytes = 8 * kMiB;
// One write, and one read of an eviction: under 50 ms of a worker's time.
inline constexpr uint64_t kCacheBatch = 1 * kMiB;
// Chunks to be written are waited for so long, to be written together.
inline constexpr Duration kCacheLinger = std::chrono::milliseconds(50);
// After a failed write the disk is left alone for so long.
inline constexpr Duration kCachePause = std::chrono::seconds(10);
// One job of loading reads so many records of the store: some 10 ms.
inline constexpr size_t kCacheLoadPage = 512;

static_assert(kMaxCacheSegment / kCacheAlign <= 1U << 20);
static_assert(kMinCacheLimit >= 4 * kMinCacheSegment);

}  // namespace cairn::volume
