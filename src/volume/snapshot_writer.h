#pragma once
// SnapshotWriter: makes a snapshot of files that are not in the volume's head.
//
// Its tree holds files alone ('F' items) and begins as the tree of another snapshot, so what does not change is shared
// with it, node by node. Chunks ('C') and packs ('P') are named by the volume's own tree, where every writer finds and
// adds them; the snapshot itself is one more item there ('S'). So writers on several machines do not get in each
// other's way: their commits put different items.
//
// On the strand; the volume outlives it.

#include "volume/transaction.h"

namespace cairn::volume {

// What a writer has stored that was not there before.
struct StoredFigures {
  uint64_t chunks = 0, chunk_bytes = 0, sealed_chunk_bytes = 0;  // of files, in packs at quorum
  uint64_t nodes = 0, node_bytes = 0, sealed_node_bytes = 0;     // of the snapshot's tree
};

class SnapshotWriter {
 public:
  virtual ~SnapshotWriter() = default;

  // The tree that it was begun upon; stays as it was.
  virtual View base() const = 0;
  // The edits. save() commits them; commit() gives Code::bad_input.
  virtual Transaction& files() = 0;

  // The files as they are now are the snapshot `name` (in place of what had that name), and the snapshots `gone` are no
  // more, all in one commit. May be called again and again. Errors as of Transaction::commit(); after one it may be
  // tried again.
  virtual env::Task<Status> save(std::string name, Bytes details, std::vector<std::string> gone = {}) = 0;

  // The root of what was saved last; equal for equal trees.
  virtual ChunkId root() const = 0;
  virtual StoredFigures stored() const = 0;
};

}  // namespace cairn::volume
