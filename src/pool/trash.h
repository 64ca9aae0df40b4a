#pragma once
// The trash of a holder: shards whose pack has a tombstone, until their time is over; and the tombstones themselves,
// passed on to siblings. The rules: pool/GARBAGE.md.

#include "env/world.h"
#include "peer/peers.h"
#include "pool/holder.h"
#include "pool/trash_index.h"

namespace cairn::pool {

struct TrashOptions {
  // In the holder's running time.
  Duration keep = std::chrono::hours(72);            // shards in the trash, readable and to be had back
  Duration remember = std::chrono::hours(24 * 180);  // statements
};

struct TrashFigures {
  uint64_t packs = 0, shards = 0, bytes = 0;  // in the trash now
  // Until the first of them goes and until the last has gone, in the holder's running time.
  Duration first_goes{}, all_gone{};
  uint64_t purged = 0;   // shards, in this life
  uint64_t revived = 0;  // packs, likewise
  uint64_t refused = 0;  // statements that were not their owner's word
};

// Strand only. Made beside its holder, before peers.start(). Order of ending: peers.stop(), close(), then the holder's.
class Trash : public HolderWatch {
 public:
  // Registers its handlers with `peers`. Its records live in `path` (a MetaStore).
  static env::Task<Result<std::unique_ptr<Trash>>> open(env::World world, peer::Peers& peers, Holder& holder,
                                                        std::string path, TrashOptions options = {});

  // Its owner has said that this pack is dead: nobody should repair, move or count it.
  virtual env::Task<bool> tombstoned(PackId pack) = 0;
  virtual TrashFigures figures() const = 0;
  // Of what lies in this store: what is in the trash now, and until when.
  virtual TrashFigures figures(const StoreId& store) const = 0;

  // A host needs its disk: what is in the trash goes before anything that lives. Both cannot be undone.
  // Shards of this store, what was due first first, until so many bytes have gone; gives these.
  virtual env::Task<uint64_t> give_up(StoreId store, uint64_t bytes) = 0;
  // This pack, if it is dead; whether it was.
  virtual env::Task<bool> give_up(PackId pack) = 0;

  // Nodes that are still to be told of tombstones.
  virtual env::Task<size_t> untold_nodes() = 0;

  virtual env::Task<void> close() = 0;
};

}  // namespace cairn::pool
