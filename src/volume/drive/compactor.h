#pragma once
// Compactor: units (128 KiB) of files that small overwrites have cut into many extents become one extent again.
//
// Only bytes move, from where they are into the staging area; the file stays what it was. Strand only.

#include "volume/drive/chunk_cache.h"
#include "volume/drive/pending.h"
#include "volume/drive/segments.h"

namespace cairn::volume {

class Compactor {
 public:
  // All outlive it. Waits for `exclusively` only while one unit's edits are applied.
  Compactor(env::World world, Pending& pending, SegmentStaging& staging, ChunkCache& chunks,
            std::function<env::Task<Status>(std::function<env::Task<Status>()>)> exclusively);

  // Looks at the units that the active edits are about, and rewrites at most kCompactedUnits of them. What cannot be
  // read just now is left as it is.
  env::Task<void> compact();
  uint64_t units() const { return units_; }  // rewritten so far

 private:
  using Unit = std::pair<InodeId, uint64_t>;
  std::vector<Unit> candidates() const;
  env::Task<Result<std::vector<Extent>>> extents_of(Unit unit);
  env::Task<Status> rewrite(Unit unit);

  env::World world_;
  Pending& pending_;
  SegmentStaging& staging_;
  ChunkCache& chunks_;
  std::function<env::Task<Status>(std::function<env::Task<Status>()>)> exclusively_;
  uint64_t units_ = 0;
};

}  // namespace cairn::volume
