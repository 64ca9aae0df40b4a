#pragma once
// What a holder keeps of tombstones on its disk, and which packs of which volume it holds.

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "env/meta_store.h"
#include "pool/tombstone.h"

namespace cairn::pool {

// Running time of this holder, over all its lives: milliseconds. It alone decides when trash goes.
using Age = uint64_t;

struct FateEntry {
  Tombstone statement;
  uint32_t slots = 0;  // bitmap: of those that were here when it came
  uint64_t bytes = 0;  // of these
  StoreId store;       // of the first of these
  Age due = 0;         // when they are removed
  bool purged = false;
  Age expires = 0;  // when the statement is forgotten
  bool in_trash() const { return statement.fate == Fate::dead && !purged && slots != 0; }
};

// All calls block (make them from Workers) and may come from any thread.
//
// Keys, all identifiers raw, times big-endian:
//   't' pack 32                -> wire.FateRecord
//   'd' due 8 | pack 32        -> ""   the trash, in the order in which it is emptied
//   'e' expires 8 | pack 32    -> ""   statements, in the order in which they are forgotten
//   'o' node 32 | pack 32      -> age 8: not before then; `node` has not been told yet
//   'v' volume 32              -> RegisterFounding bytes
//   'c' node 32                -> wire.Signed of its certificate
//   'b' volume 32 | pack 32    -> ""   a shard of this pack was put here (it may have gone since)
//   'B'                        -> present: 'b' has all that is held
//   'a'                        -> age 8
class TrashIndex {
 public:
  static Result<std::unique_ptr<TrashIndex>> open(env::MetaStores& stores, const std::string& path);

  Result<Age> age();
  Status set_age(Age age);

  Result<std::optional<FateEntry>> find(const PackId& pack);
  // Durable when it returns. In place of what there was of this pack.
  struct Change {
    FateEntry entry;
    std::vector<NodeId> tell;
    Age tell_from = 0;
  };
  Status put(const std::vector<Change>& changes);
  // For what put() was given: the owner's founding and the signer's certificate.
  Status remember(const std::vector<std::pair<VolumeId, Bytes>>& foundings,
                  const std::vector<std::pair<NodeId, Bytes>>& certificates);
  Result<std::optional<Bytes>> founding(const VolumeId& volume);
  Result<std::optional<Bytes>> certificate(const NodeId& node);

  // What is due by `now`, the first first, behind that entry.
  Result<std::vector<FateEntry>> due(Age now, size_t limit, const FateEntry* behind = nullptr);
  // Sum over the trash. Does not block.
  struct Sum {
    uint64_t packs = 0, shards = 0, bytes = 0;
    Age first_due = 0, last_due = 0;  // to a minute
  };
  Sum sum() const;
  Sum sum(const StoreId& store) const;
  // Statements whose time is over; how many went.
  Result<size_t> forget(Age now, size_t limit);

  struct Untold {
    NodeId node;
    Tombstone statement;
  };
  // Nodes with something that may be told by now; when the next thing may be, else.
  Result<std::vector<NodeId>> untold_nodes(Age now);
  Result<std::vector<Untold>> untold(const NodeId& node, Age now, size_t limit);
  Status tell(const NodeId& node, const std::vector<PackId>& packs, Age from);
  // Unless another statement took its place meanwhile.
  Status told(const std::vector<Untold>& done);
  Status told(const NodeId& node, const std::vector<PackId>& packs);
  Status forget_untold(const NodeId& node);

  // What is held, by volume.
  Status note_held(const std::vector<std::pair<VolumeId, PackId>>& packs);
  Status drop_held(const VolumeId& volume, const std::vector<PackId>& packs);
  Result<bool> take_complete_mark();  // forgets it, durably
  Status set_complete_mark();
  // In order, from `first` on.
  Result<std::vector<PackId>> held(const VolumeId& volume, const PackId& first, size_t limit);

 private:
  explicit TrashIndex(std::unique_ptr<env::MetaStore> store) : store_(std::move(store)) {}
  Result<std::optional<FateEntry>> find_locked(const PackId& pack);
  Status add_up();
  void count(const FateEntry& entry, bool added);

  struct Counted {
    uint64_t packs = 0, shards = 0, bytes = 0;
    std::map<Age, uint64_t> dues;  // minutes -> packs
  };
  std::unique_ptr<env::MetaStore> store_;
  std::mutex mutex_;  // over each read-and-change; never across a suspension, the calls are plain functions
  mutable std::mutex counted_mutex_;  // never held while the disk works
  std::map<StoreId, Counted> counted_;
};

}  // namespace cairn::pool
