#pragma once
// Items of what is on its way out: dead packs and forgotten snapshots (wire.DeadPack, wire.ForgottenSnapshot), and what
// edits and roots keep alive.

#include <unordered_set>

#include "volume/overlay.h"
#include "volume/snapshots.h"

namespace cairn::volume {

struct DeadPack {
  pool::PackRef pack;
  WallTime since = 0;     // first found dead
  uint64_t sequence = 0;  // head from which on its tombstone counts; 0: it has none yet
  WallTime buried = 0;
  bool orphan = false;  // never in a tree; `pack` has holders alone
};
std::string encode_dead_pack(const DeadPack& dead);
Result<DeadPack> decode_dead_pack(std::string_view value);

struct ForgottenSnapshot {
  SnapshotItem snapshot;
  WallTime forgotten = 0;
  WallTime pruned = 0;  // 0: all its packs are kept still
};
std::string encode_forgotten(const ForgottenSnapshot& forgotten);
Result<ForgottenSnapshot> decode_forgotten(std::string_view value);

// The packs that these edits would make the tree refer to: of extents and of places of chunks. Code::corrupt.
Result<std::set<PackId>> packs_named_by(const EditMap& edits);

}  // namespace cairn::volume
