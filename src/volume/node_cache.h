#pragma once
// NodeCache: the tree's nodes out of packs, with the most recently used ones in memory.
//
// Nodes of equal content may lie in several places, each with places of its own for its children. A node is handed out
// for the place that was asked for alone: what is reached from a root is then what that root keeps alive
// (pool/GARBAGE.md), never a copy that another snapshot keeps.
//
// Who walks in key order finds the next nodes loaded: nodes lie in their packs in the order of their keys, so
// neighbours come with one request of up to kReadRun.

#include <list>
#include <unordered_map>

#include "volume/pack_io.h"
#include "volume/tree.h"

namespace cairn::volume {

// A further place for nodes' plaintext, near by. Strand only.
class NodeStore {
 public:
  virtual ~NodeStore() = default;
  virtual env::Task<std::optional<Bytes>> find(NodeRef ref) = 0;
  // Nodes of heads alone (see NodeCache::add).
  virtual void keep(const NodeRef& ref, ByteView plain) = 0;
};

class NodeCache final : public NodeSource {
 public:
  struct Counters {
    uint64_t loads = 0;     // nodes that were not there
    uint64_t requests = 0;  // range reads for them
  };

  NodeCache(env::Executor& executor, PackIo& packs, const content::VolumeKeys& keys, size_t max_bytes);

  env::Task<Result<NodePtr>> load(NodeRef ref) override;
  env::Task<Result<NodePtr>> load_child(NodePtr parent, size_t index, size_t last) override;

  // A node that a commit has brought, and that a head names. (Not before: what a node says of places would else be of
  // packs that no tree has.)
  void add(const NodeRef& ref, Bytes plain);

  // Looked at before the pool; null: none.
  void set_store(NodeStore* store) { store_ = store; }

  const Counters& counters() const { return counters_; }
  size_t bytes() const { return bytes_; }

 private:
  struct Slot {
    NodePtr node;
    std::list<ChunkId>::iterator position;
  };
  // A node that some task is loading: others wait for it.
  class Claim;

  NodePtr find(const NodeRef& ref);
  void insert(NodePtr node);
  // Neighbours in one pack: refs[0] and those that follow it without a gap.
  env::Task<Result<NodePtr>> fetch(std::vector<NodeRef> run);
  Result<NodePtr> open(const NodeRef& ref, ByteView sealed, std::vector<Bytes>* plains) const;

  PackIo& packs_;
  NodeStore* store_ = nullptr;
  content::VolumeKeys keys_;
  size_t max_bytes_;
  size_t bytes_ = 0;
  std::unordered_map<ChunkId, Slot> slots_;
  std::list<ChunkId> recent_;  // most recently used first
  std::set<ChunkId> loading_;
  env::Signal loaded_;
  // The child that was missing last, to tell a walk from a jump.
  ChunkId walk_parent_;
  size_t walk_next_ = 0;
  Counters counters_;
};

}  // namespace cairn::volume
