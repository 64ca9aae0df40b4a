#pragma once
// The Merkle search tree that is a volume's metadata: an ordered map of byte strings, copy-on-write, in sealed nodes.
//
// Node borders follow from content alone (a keyed hash of the item's key ends a node with a probability that keeps
// nodes at 8 to 16 KiB), so that equal content gives equal nodes and equal roots whatever the order of the edits. See
// volume/FORMAT.md.

#include "content/keys.h"
#include "env/task.h"
#include "volume/node.h"

namespace cairn::volume {

// Loads nodes, through a cache. Over the pool in production; over memory in the tree's tests. A node that it hands out
// was checked against its reference.
class NodeSource {
 public:
  virtual ~NodeSource() = default;
  virtual env::Task<Result<NodePtr>> load(NodeRef ref) = 0;
  // Child `index` of `parent`. The children after it, up to `last` (exclusive), are likely to be asked for next: the
  // source may load them along.
  virtual env::Task<Result<NodePtr>> load_child(NodePtr parent, size_t index, size_t last);
};
// Takes the plaintext of new nodes, children before parents. A child that lies in the same pack as its parent is
// referred to as "this pack" (a pack's ID follows from its bytes, so they cannot contain it).
class NodeSink {
 public:
  virtual ~NodeSink() = default;
  // Returns where the node lies; pack.id is zero while that pack is still being built. The sink may end the pack once
  // it has taken this node, never before (the node's bytes say "this pack").
  virtual env::Task<Result<NodeRef>> store(ChunkId id, Bytes plain, uint32_t level) = 0;
  // A ref from store() as a parent that is stored next must name it: zero pack for "this pack", else the real one.
  virtual NodeRef resolve(const NodeRef& ref) const = 0;
};

struct Edit {
  std::string key;
  std::optional<std::string> value;  // none: remove
};
// The same of what lies elsewhere: a large commit's edits are not copied on their way into the tree.
struct EditView {
  std::string_view key;
  std::optional<std::string_view> value;
};
inline EditView edit_of(const std::string& key, const std::optional<std::string>& value) {
  return {key, value ? std::optional<std::string_view>(*value) : std::nullopt};
}
inline std::vector<EditView> views_of(const std::vector<Edit>& edits) {
  std::vector<EditView> views;
  views.reserve(edits.size());
  for (const Edit& edit : edits) views.push_back(edit_of(edit.key, edit.value));
  return views;
}
struct Item {
  std::string key, value;
};
struct Difference {
  std::string key;
  std::optional<std::string> before, after;
};

class Tree {
 public:
  // `source` outlives the tree, and both outlive every task.
  Tree(NodeSource& source, const content::VolumeKeys& keys);

  env::Task<Result<std::optional<std::string>>> get(Root root, std::string key);
  // Items with first <= key < last, at most `limit`.
  env::Task<Result<std::vector<Item>>> scan(Root root, std::string first, std::string last, size_t limit);
  // Edits sorted by key, each key once, within kMaxKeySize and kMaxValueSize (else Code::bad_input); what they show
  // outlives the task. Only changed nodes are written. The root returned is as NodeSink::store() gave it.
  env::Task<Result<Root>> apply(Root root, std::vector<EditView> edits, NodeSink& sink);
  // All differences in key order, found in time proportional to their number; handed over in batches of at most 256.
  // An error of `visit` ends the walk and is handed on.
  env::Task<Status> diff(Root before, Root after, std::function<env::Task<Status>(std::vector<Difference>)> visit);

  // What stands in `theirs` after the differences from `base` to `ours` were applied to it. A key that both changed to
  // different values is settled by `resolve`.
  using Resolve = std::function<Result<std::optional<std::string>>(
      const std::string& key, const std::optional<std::string>& base, const std::optional<std::string>& ours,
      const std::optional<std::string>& theirs)>;
  env::Task<Result<Root>> merge(Root base, Root ours, Root theirs, Resolve resolve, NodeSink& sink);

 private:
  NodeSource& source_;
  content::VolumeKeys keys_;
};

// Walks over the differences between two roots in key order, a step at a time.
class DiffCursor {
 public:
  DiffCursor(NodeSource& source, Root before, Root after);
  // Nothing at the end.
  env::Task<Result<std::optional<Difference>>> next();

 private:
  // A place in one tree: the entry that is looked at, on the level that its node has.
  struct Side {
    struct Step {
      NodePtr node;
      size_t index = 0;
    };
    Root root;               // not entered yet
    std::vector<Step> path;  // from the root's node down
    bool ended() const { return !root && path.empty(); }
  };
  env::Task<Status> enter(Side& side);  // from an inner entry into its node
  static void advance(Side& side);
  static std::string_view key(const Side& side);
  static int level(const Side& side);  // of what the entry is: -1 = an item
  static bool same_node(const Side& a, const Side& b);

  NodeSource& source_;
  Side before_, after_;
};

}  // namespace cairn::volume
