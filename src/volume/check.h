#pragma once
// Checks a volume as its owner sees it: that the trees of its head and snapshots hold together, and that every chunk
// can be read. What is missing or wrong is told, not mended. The host outlives the tasks.

#include <set>

#include "volume/snapshots.h"
#include "volume/transaction_impl.h"

namespace cairn::volume {

struct CheckFault {
  std::string snapshot;  // its name; empty: the head
  std::string path;      // raw; empty: the tree as a whole
  std::string what;
};
using OnFault = std::function<void(const CheckFault&)>;

struct StructureCheck {
  uint64_t trees = 0;                // of the head and of snapshots; equal ones once
  uint64_t inodes = 0, extents = 0;  // of all trees
  std::vector<pool::PackRef> packs;  // that the volume has records of
};
// Reads all nodes of all trees. Each entry names an inode of its type that is there, each inode has as many names as it
// counts, extents follow each other within their file and lie within a pack that is known. Errors: those of the pool
// that concern all; a node that cannot be read is a fault of its tree.
env::Task<Result<StructureCheck>> check_structure(VolumeHost& host, OnFault on_fault);

struct DataCheck {
  uint64_t chunks = 0, bytes = 0;  // read and opened
  std::set<PackId> damaged;        // packs of which some chunk could not be
};
// Reads every chunk in these packs that a tree refers to; `on_pack` after each, with the bytes so far.
env::Task<Result<DataCheck>> check_data(VolumeHost& host, std::vector<PackId> packs,
                                        std::function<void(uint64_t bytes)> on_read);

// The files with content in these packs, as faults that say `what`.
env::Task<Status> name_files_in(VolumeHost& host, std::set<PackId> packs, std::string what, OnFault on_fault);

}  // namespace cairn::volume
