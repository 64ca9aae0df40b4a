#pragma once
// Sizes of the content room.

#include "base/limits.h"

namespace cairn::content {

// Chunks are stored compressed only when that saves at least this part of them: less does not pay for the time to
// decompress.
inline constexpr uint32_t kLeastSaving = 20;  // 1/20 = 5 %

// A lane of a new pack begins with this much memory and grows fourfold, so that the many small packs (a few files, one
// fsync) stay small.
inline constexpr uint32_t kFirstLaneCapacity = 64 * kKiB;
inline constexpr uint32_t kLaneGrowth = 4;
static_assert(kMaxShardSize % kFirstLaneCapacity == 0);

// A pack whose lanes are not full is laid out anew when that makes its shards shorter by at least 1/16; under that the
// copy of its bytes costs more than the space is worth. (Padmé's own steps are 1/64 to 1/8.)
inline constexpr uint32_t kRelayoutSaving = 16;

// A serialized pack header is no longer: 32 roots of 34 bytes and some 300 bytes beside.
inline constexpr uint32_t kMaxPackHeaderSize = 2 * kKiB;
static_assert(kMaxSlots * 34 + 300 <= kMaxPackHeaderSize);

}  // namespace cairn::content
