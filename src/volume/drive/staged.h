#pragma once
// A staged extent: bytes of a file that lie in the local staging area and not in the pool yet.
//
// Inside a drive such an extent travels in the same items as any other (wire.Extent): its pack is zero, and the field
// of its chunk ID names the place: "staged" and two zero bytes | segment u64 | offset u64 | zero u64, little-endian.
// chunk_offset and length say which part of the staged run the extent shows. It never goes into a tree.

#include <optional>

#include "volume/inode.h"

namespace cairn::volume {

// Where a run of bytes begins.
struct StagedPlace {
  uint64_t segment = 0, offset = 0;
  bool operator==(const StagedPlace&) const = default;
};

ChunkId staged_chunk(StagedPlace place);
// Where the extent's first byte lies (chunk_offset is added); nothing for an extent that is in a pack.
std::optional<StagedPlace> staged_place(const Extent& extent);

}  // namespace cairn::volume
