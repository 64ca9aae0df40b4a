#pragma once
// Sizes of the erasure room.

#include <cstddef>

#include "base/limits.h"

namespace cairn::erasure {

// Shards go through the library in blocks, so that its copies stay in the second-level cache (1 MiB per core here) and
// its allocations stay small. One block's working set is 2 (k + m) pieces.
inline constexpr size_t kWorkingSet = 1 * kMiB;
inline constexpr size_t kMaxBlock = 64 * kKiB;
inline constexpr size_t kMinBlock = 4 * kKiB;
static_assert(kWorkingSet / (2 * size_t{kMaxSlots}) >= kMinBlock);

// Pieces are of whole vectors, so that ISA-L never takes its slow path for a tail.
inline constexpr size_t kAlignment = 64;
static_assert(kMinBlock % kAlignment == 0 && kMaxBlock % kAlignment == 0);

}  // namespace cairn::erasure
