#pragma once
// Merge: the edits of a transaction, made upon one head, as edits upon a later head that others have committed.
//
// The rules (FORMAT.md has them in full): what only one side changed stands; a file whose content both changed keeps
// ours under its name, and theirs beside it under a conflict name; a change wins over a deletion; a directory that got
// something new inside is kept; directories of one name are joined; attributes merge one by one.

#include "volume/keys.h"
#include "volume/overlay.h"

namespace cairn::volume {

struct MergeInput {
  Root base;    // that the edits were made upon
  Root theirs;  // the later head's
  const EditMap* ours = nullptr;
  std::string suffix;  // of conflict names: " (conflict from NODE DATE)"
  WallTime now = 0;
};
struct MergeResult {
  EditMap edits;  // upon `theirs`
  std::vector<std::string> conflict_names;
  int64_t files = 0, bytes = 0;  // of the copies that were kept
};

// Memory and time in proportion to the edits and, for time, to what differs between the heads. All parameters that are
// references or pointers outlive the task.
env::Task<Result<MergeResult>> merge_edits(NodeSource& source, Tree& tree, InodeNumbers& numbers, MergeInput input);

}  // namespace cairn::volume
