#pragma once
// The owner's side of the trash: says to holders what becomes of packs, and asks them which packs they hold.

#include "env/world.h"
#include "peer/peers.h"
#include "pool/client.h"
#include "pool/tombstone.h"

namespace cairn::pool {

// What the holders answered for one pack.
struct FateReport {
  uint32_t acknowledged = 0;  // nodes that know it now, for good
  uint32_t in_trash = 0, live = 0, gone = 0, refused = 0;
};

// Strand only. `peers` outlives it. Signs with this device; `founding` is that of the volume's head register.
class Tombstones {
 public:
  Tombstones(env::World world, peer::Peers& peers, Bytes founding);

  // One report for each pack, in their order. Asks the holders that the references name and, for packs of which fewer
  // than m + 1 of them acknowledged, all that are alive; siblings tell the rest among themselves. `sequence`: see
  // wire.PackFate.
  env::Task<Result<std::vector<FateReport>>> tell(std::vector<PackRef> packs, Fate fate, uint64_t sequence);

  // The packs of the volume that this node holds (not those in its trash) and that are not in `expected` (sorted), by
  // comparing ranges of IDs. Code::overloaded while the node is still looking through its stores.
  env::Task<Result<std::vector<PackId>>> strangers(NodeId node, std::vector<PackId> expected);

 private:
  env::Task<Result<std::vector<std::pair<size_t, FateAnswer>>>> ask(NodeId node, std::vector<size_t> which,
                                                                    const std::vector<Tombstone>& statements);
  env::Task<Status> ask_all(std::map<NodeId, std::vector<size_t>> whom, const std::vector<Tombstone>& statements,
                            std::vector<FateReport>& reports);

  env::World world_;
  peer::Peers& peers_;
  Bytes founding_;
  VolumeId volume_;
};

}  // namespace cairn::pool
