#pragma once
// Repacker: takes packs apart that are mostly dead, or small: what is live in them is copied into new packs, and every
// tree that refers to it is made to refer to the copy. An ordinary commit brings it all.

#include <functional>
#include <unordered_set>

#include "pool/throttle.h"
#include "volume/snapshots.h"
#include "volume/transaction_impl.h"

namespace cairn::volume {

// Strand only. The host outlives it.
class Repacker {
 public:
  Repacker(VolumeHost& host, std::map<PackId, pool::PackRef> taken_apart);

  // What the commit upon `head` needs: its tree in other packs (of the same content), edits, and all new packs. May be
  // called again when somebody else was first; what was copied is not copied twice.
  struct Rewritten {
    HeadPtr base;
    EditMap edits;
    std::vector<pool::PackRef> packs;
  };
  env::Task<Result<Rewritten>> rewrite(HeadPtr head, std::vector<SnapshotItem> snapshots);

  uint64_t copied_bytes() const { return copied_bytes_; }
  // Bytes that are read and written a second, with their parity.
  void set_rate(uint64_t rate) { throttle_.emplace(host_.world().clock, rate); }
  void on_progress(std::function<void(uint64_t bytes)> handler) { progress_ = std::move(handler); }

 private:
  using Place = std::pair<PackId, uint32_t>;  // pack, offset
  struct Chunk {
    ChunkId id;
    uint32_t length = 0;  // sealed
    std::optional<Place> moved;
  };
  class MemoSink;

  // Extents below `ref` that lie in packs that are taken apart: noted in chunks_, and as edits once they have moved.
  env::Task<Result<bool>> walk(NodeRef ref, EditMap* edits);
  env::Task<Status> copy();
  env::Task<Status> add_run(size_t first, size_t count);
  env::Task<Status> send();
  env::Task<Result<NodeRef>> relocate(NodeRef ref, NodeSink& sink);
  env::Task<Status> move_places(HeadPtr head, EditMap& edits);

  VolumeHost& host_;
  std::map<PackId, pool::PackRef> taken_apart_;
  std::set<Place> clean_;  // nodes without such an extent below them
  std::map<Place, Chunk> chunks_;
  std::vector<Place> to_copy_;  // in the order of files
  std::unique_ptr<content::PackBuilder> builder_;
  std::vector<std::pair<Place, content::PackBuilder::Ticket>> in_builder_;
  std::vector<pool::PackRef> data_packs_;
  std::map<Place, NodeRef> relocated_;
  uint64_t copied_bytes_ = 0;
  std::optional<pool::Throttle> throttle_;
  std::function<void(uint64_t)> progress_;
};

}  // namespace cairn::volume
