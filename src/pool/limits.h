#pragma once
// Numbers of the pool room, each with its reason.

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

}  // namespace cairn::pool
