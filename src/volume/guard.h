#pragma once
// What a commit looks at so that nothing it refers to is on its way out. Prunes and other writers meet in the head's
// compare-and-swap alone: a pack that is dead has a 'D' item in the head, so whoever commits upon that head sees it,
// and takes the pack back. No clock and no lock is in it. See pool/GARBAGE.md.

#include "env/world.h"
#include "volume/dead.h"
#include "volume/pack_io.h"

namespace cairn::volume {

// Edits that take back what `named` has of dead packs: those with a tombstone are had out of the trash first. `fresh`:
// packs that this commit brings. Code::damaged when one is gone.
env::Task<Result<EditMap>> secure_packs(Tree& tree, PackIo& packs, HeadPtr head, std::set<PackId> named,
                                        std::vector<pool::PackRef> fresh);
// Whether a snapshot of this head has just this root: then all below it is kept.
env::Task<Result<bool>> is_kept(Tree& tree, HeadPtr head, NodeRef root);
// All that is below a root.
env::Task<Result<std::set<PackId>>> packs_below(env::World world, NodeSource& source, Root root);

// A removed snapshot comes back: edits, and the packs that it needs.
struct Restoration {
  EditMap edits;
  std::set<PackId> packs;
};
env::Task<Result<Restoration>> plan_restoration(env::World world, Tree& tree, NodeSource& source, HeadPtr head,
                                                std::string name);

}  // namespace cairn::volume
