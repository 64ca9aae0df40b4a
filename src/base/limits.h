#pragma once
// Sizes that several rooms share. Each with its reason; measurements are from such a 2-core machine.

#include <cstdint>

#include "base/units.h"

namespace cairn {

// A Merkle leaf of a shard: an audit or a range proof moves one of these and a path.
inline constexpr uint32_t kLeafSize = 64 * kKiB;
// A shard is at most this long: one request, one verification, one append to a segment. A drive extent of 128 KiB with
// its seal fits 31 times.
inline constexpr uint32_t kMaxShardSize = 4 * kMiB;
// k + m at most: one bitmap of 32 bits per pack, and every ISA-L Cauchy matrix up to here has been shown regular.
inline constexpr uint32_t kMaxSlots = 32;
// What a drive reads and writes at once; a cold 4 KiB read moves one extent and its seal, and no more.
inline constexpr uint32_t kExtentSize = 128 * kKiB;
// Files of at most this many bytes live in their inode item.
inline constexpr uint32_t kInlineFileSize = 4 * kKiB;
// No plaintext chunk is larger.
inline constexpr uint32_t kMaxChunkSize = 1 * kMiB;

static_assert(kMaxShardSize % kLeafSize == 0);
static_assert(kExtentSize <= kMaxChunkSize && kMaxChunkSize < kMaxShardSize);

}  // namespace cairn
