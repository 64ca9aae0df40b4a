#pragma once
// What devices that may only add have taken out of a volume all the same, and how it is put back. The rules, and why
// nothing is lost: volume/REGISTER.md, "Devices that may only add".

#include "volume/head.h"
#include "volume/overlay.h"
#include "volume/tree.h"

namespace cairn::volume {

struct Recovery {
  EditMap edits;                   // of the head: what puts it back
  std::vector<std::string> names;  // of the snapshots that are there again
  bool complete = true;            // false: a head that was replaced cannot be read now
};
// `replaced`: Register::retained(), oldest first. `may_vanish`: snapshots that their maker may take away himself, such
// as those of runs that have not ended.
env::Task<Result<Recovery>> plan_recovery(env::World world, Tree& tree, HeadPtr head,
                                          std::vector<RegisterState> replaced, const content::VolumeKeys& keys,
                                          std::function<bool(const SnapshotInfo&)> may_vanish);

}  // namespace cairn::volume
