#pragma once
// Forks: heads that were acknowledged under keepers whose owner gave them up (Register::force), and that the register
// went on without. They are parked here until their changes are in the present head again.

#include "volume/head.h"
#include "volume/overlay.h"

namespace cairn::volume {

struct ParkedHead {
  RegisterState state;  // content empty: only number and hash are known
  bool known() const { return !state.content.empty(); }
};

// The file of a parked head; used from one task at a time. An empty path keeps it in memory only.
class ForkNote {
 public:
  ForkNote(env::World world, std::string path) : world_(world), path_(std::move(path)) {}
  env::Task<Result<std::optional<ParkedHead>>> load();
  env::Task<Status> keep(const ParkedHead& head);
  env::Task<Status> remove();

 private:
  env::World world_;
  std::string path_;
};

// The snapshot that the first commit after a force makes of what the register went on from: the base of merges.
std::string fork_base_name(uint64_t epoch);

// What a branch has changed since `base`, as edits upon it. `whole`: the branch goes back to `base` itself; else only
// what it adds and changes is taken, for what it lacks may be what `base` has beside it.
struct BranchEdits {
  EditMap edits;
  int64_t files = 0, bytes = 0;
};
env::Task<Result<BranchEdits>> edits_of_branch(Tree& tree, Root base, Root branch, bool whole);

}  // namespace cairn::volume
