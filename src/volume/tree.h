#pragma once
// The Merkle search tree that is a volume's metadata: an ordered map of byte strings, copy-on-write, in sealed nodes.
//
// Node borders follow from content alone (a keyed hash of the item's key ends a node with a probability that keeps nodes
// at 8 to 16 KiB), so that equal content gives equal nodes and equal roots whatever the order of the edits. See
// volume/FORMAT.md.

#include "content/keys.h"
#include "env/task.h"
#include "pool/client.h"

namespace cairn::volume {

// Where a node lies (wire.NodeRef). `chunk` alone says what it is: equal chunk, equal content.
struct NodeRef {
  ChunkId chunk;
  pool::PackRef pack;
  uint32_t offset = 0;  // in the pack
  uint32_t length = 0;  // sealed
  uint32_t level = 0;   // 0 = leaf
  friend bool operator==(const NodeRef& a, const NodeRef& b) { return a.chunk == b.chunk; }
};
// An empty tree has no root.
using Root = std::optional<NodeRef>;

// Reads and opens a node's plaintext, through a cache. Over the pool in production; over memory in the tree's tests.
class NodeSource {
 public:
  virtual ~NodeSource() = default;
  virtual env::Task<Result<std::shared_ptr<const Bytes>>> load(NodeRef ref) = 0;
};
// Takes the plaintext of new nodes, children before parents. A child that lies in the same pack as its parent is
// referred to as "this pack" (a pack's ID follows from its bytes, so they cannot contain it).
class NodeSink {
 public:
  virtual ~NodeSink() = default;
  // Returns where the node lies; pack.id is zero while that pack is still being built. The sink may begin a new pack.
  virtual env::Task<Result<NodeRef>> store(ChunkId id, Bytes plain, uint32_t level) = 0;
  // A ref from store() as a parent that is stored next must name it: zero pack for "this pack", else the real one.
  virtual NodeRef resolve(const NodeRef& ref) const = 0;
};

struct Edit {
  std::string key;
  std::optional<std::string> value;  // none: remove
};
struct Item {
  std::string key, value;
};
struct Difference {
  std::string key;
  std::optional<std::string> before, after;
};

class Tree {
 public:
  Tree(NodeSource& source, const content::VolumeKeys& keys);

  env::Task<Result<std::optional<std::string>>> get(Root root, std::string key);
  // Items with first <= key < last, at most `limit`.
  env::Task<Result<std::vector<Item>>> scan(Root root, std::string first, std::string last, size_t limit);
  // Edits sorted by key, each key once. Only changed nodes are written.
  env::Task<Result<Root>> apply(Root root, std::vector<Edit> edits, NodeSink& sink);
  // All differences in key order, found in time proportional to their number; handed over in batches.
  env::Task<Status> diff(Root before, Root after, std::function<env::Task<Status>(std::vector<Difference>)> visit);

 private:
  NodeSource& source_;
  content::VolumeKeys keys_;
};

}  // namespace cairn::volume
