// Tree::apply: the batch of edits goes up the tree level by level.
//
// Each level is an ordered map: of items at the bottom, of (first key -> child) above. A level's nodes are what the
// greedy rule of NodeBuilder makes of its entries from left to right, so they follow from the entries alone. Edits are
// merged into the old nodes where they fall; from there on entries are cut anew until a new border falls together with
// an old one, and what comes after stands as it is. The nodes that went and came are the edits of the level above.

#include <map>

#include "volume/tree.h"

namespace cairn::volume {

namespace {

// An edit of the map of a level above the items.
struct Change {
  std::string key;
  std::optional<NodeRef> child;  // none: remove
};

// Walks over the nodes of one level of the old tree.
class LevelWalker {
 public:
  LevelWalker(NodeSource& source, Root root, uint32_t level) : source_(source), root_(std::move(root)), level_(level) {}

  // To the last node that begins at or before `key`, else the first. Null when the tree has no such level.
  env::Task<Result<NodePtr>> seek(std::string key) {
    path_.clear();
    if (!root_ || root_->level < level_) co_return NodePtr();
    auto node = co_await source_.load(*root_);
    if (!node) co_return fail(std::move(node.error()));
    while ((*node)->level() > level_) {
      const size_t at = (*node)->find(key).value_or(0);
      path_.push_back({*node, at});
      node = co_await source_.load_child(path_.back().node, at, at + 1);
      if (!node) co_return fail(std::move(node.error()));
    }
    co_return node;
  }
  // To the one after it; only when next_first_key() has a value.
  env::Task<Result<NodePtr>> next() {
    while (path_.back().index + 1 >= path_.back().node->count()) path_.pop_back();
    ++path_.back().index;
    for (;;) {
      auto node = co_await source_.load_child(path_.back().node, path_.back().index, path_.back().index + 1);
      if (!node) co_return fail(std::move(node.error()));
      if ((*node)->level() == level_) co_return node;
      path_.push_back({std::move(*node), 0});
    }
  }
  // Where the next node begins: found without loading it.
  std::optional<std::string_view> next_first_key() const {
    for (auto step = path_.rbegin(); step != path_.rend(); ++step) {
      if (step->index + 1 < step->node->count()) return step->node->key(step->index + 1);
    }
    return std::nullopt;
  }

 private:
  struct Step {
    NodePtr node;
    size_t index;
  };
  NodeSource& source_;
  Root root_;
  uint32_t level_;
  std::vector<Step> path_;
};

class Applier {
 public:
  Applier(NodeSource& source, const content::VolumeKeys& keys, Root root, NodeSink& sink)
      : source_(source), keys_(keys), root_(std::move(root)), sink_(sink) {}

  env::Task<Result<Root>> run(std::vector<EditView> edits) {
    if (edits.empty()) co_return root_;
    CAIRN_CO_TRY(co_await rebuild(edits, 0));
    edits = {};
    for (uint32_t level = 1;; ++level) {
      // From the old root's level on, the changes and the old root are all that the level has.
      if (is_top(level - 1) && emitted_.empty()) co_return Root();
      const std::vector<Change> changes = is_top(level - 1) ? everything() : difference();
      if (changes.empty()) co_return root_;
      if (level > kMaxTreeLevel) co_return fail(Code::too_large, "tree");
      if (is_top(level)) {
        auto whole = co_await only_entry(changes, level);
        if (!whole) co_return fail(std::move(whole.error()));
        if (whole->count == 0) co_return Root();
        if (whole->count == 1) co_return co_await collapse(std::move(*whole->child));
      }
      CAIRN_CO_TRY(co_await rebuild(changes, level));
    }
  }

 private:
  bool is_top(uint32_t level) const { return !root_ || level >= root_->level; }

  struct Whole {
    size_t count = 0;
    Root child;  // when it is the only one
  };
  // How many entries the whole level has after the changes.
  env::Task<Result<Whole>> only_entry(const std::vector<Change>& changes, uint32_t level) {
    std::map<std::string, NodeRef> entries;
    if (root_ && root_->level == level) {
      auto node = co_await source_.load(*root_);
      if (!node) co_return fail(std::move(node.error()));
      for (size_t i = 0; i < (*node)->count(); ++i) entries.emplace((*node)->key(i), (*node)->child(i));
    }
    for (const Change& change : changes) {
      if (change.child) {
        entries.insert_or_assign(change.key, *change.child);
      } else {
        entries.erase(change.key);
      }
    }
    Whole whole{.count = entries.size(), .child = std::nullopt};
    if (entries.size() == 1) whole.child = entries.begin()->second;
    co_return whole;
  }

  // A root has more than one entry, or is a leaf.
  env::Task<Result<Root>> collapse(NodeRef root) {
    while (root.level > 0) {
      if (const auto made = only_child_.find(root.chunk); made != only_child_.end()) {
        if (!made->second) break;
        root = NodeRef(*made->second);
        continue;
      }
      auto node = co_await source_.load(root);
      if (!node) co_return fail(std::move(node.error()));
      if ((*node)->count() > 1) break;
      root = (*node)->child(0);
    }
    co_return root;
  }

  // Cuts the level anew where `changes` (EditViews or Changes) fall; fills consumed_ and emitted_.
  template <class AnyChange>
  env::Task<Status> rebuild(const std::vector<AnyChange>& changes, uint32_t level) {
    consumed_.clear();
    emitted_.clear();
    NodeBuilder builder(keys_, level);
    LevelWalker walker(source_, root_, level);
    size_t i = 0;
    while (i < changes.size()) {
      auto node = co_await walker.seek(std::string(changes[i].key));
      if (!node) co_return fail(std::move(node.error()));
      if (!*node) {  // the old tree has no such level
        for (; i < changes.size(); ++i) {
          if (!add(builder, changes[i])) continue;
          CAIRN_CO_TRY(co_await emit(builder));
        }
      }
      while (*node) {
        const NodePtr old = *node;
        consumed_.emplace_back(std::string(old->key(0)), old->ref());
        const std::optional<std::string_view> upper = walker.next_first_key();
        size_t entry = 0;
        for (;;) {
          const bool have_change = i < changes.size() && (!upper || changes[i].key < *upper);
          const bool have_old = entry < old->count();
          if (!have_change && !have_old) break;
          bool ends = false;
          if (have_change && (!have_old || changes[i].key <= old->key(entry))) {
            if (have_old && changes[i].key == old->key(entry)) ++entry;
            ends = add(builder, changes[i++]);
          } else {
            ends = level == 0 ? builder.add_item(old->key(entry), old->value(entry))
                              : builder.add_child(old->key(entry), old->child(entry));
            ++entry;
          }
          if (ends) CAIRN_CO_TRY(co_await emit(builder));
        }
        if (!upper) break;
        if (builder.empty() && (i == changes.size() || changes[i].key >= *upper)) break;  // borders agree again
        node = co_await walker.next();
        if (!node) co_return fail(std::move(node.error()));
      }
      if (!builder.empty()) CAIRN_CO_TRY(co_await emit(builder));
    }
    co_return Status{};
  }

  // True when the node ends with it.
  static bool add(NodeBuilder& builder, const EditView& edit) {
    return edit.value && builder.add_item(edit.key, *edit.value);
  }
  static bool add(NodeBuilder& builder, const Change& change) {
    return change.child && builder.add_child(change.key, *change.child);
  }

  env::Task<Status> emit(NodeBuilder& builder) {
    const ChunkId id = builder.id();
    // What stood there before with the same content stays where it lies.
    const auto old = std::lower_bound(consumed_.begin(), consumed_.end(), builder.first_key(),
                                      [](const auto& entry, const std::string& key) { return entry.first < key; });
    if (old != consumed_.end() && old->first == builder.first_key() && old->second.chunk == id) {
      emitted_.emplace_back(builder.first_key(), old->second);
      builder.clear();
      co_return Status{};
    }
    std::vector<NodeRef> children;
    uint32_t level = 0;
    if (!builder.children().empty()) {
      level = builder.children().front().level + 1;
      children.reserve(builder.children().size());
      for (const NodeRef& child : builder.children()) children.push_back(sink_.resolve(child));
      only_child_.emplace(id, builder.count() == 1 ? Root(builder.children().front()) : Root());
    }
    auto stored = co_await sink_.store(id, builder.encode(children), level);
    if (!stored) co_return fail(std::move(stored.error()));
    emitted_.emplace_back(builder.first_key(), std::move(*stored));
    builder.clear();
    co_return Status{};
  }

  std::vector<Change> everything() const {
    std::vector<Change> changes;
    changes.reserve(emitted_.size());
    for (const auto& [key, ref] : emitted_) changes.push_back({key, ref});
    return changes;
  }

  std::vector<Change> difference() const {
    std::vector<Change> changes;
    auto old = consumed_.begin();
    auto made = emitted_.begin();
    while (old != consumed_.end() || made != emitted_.end()) {
      if (made == emitted_.end() || (old != consumed_.end() && old->first < made->first)) {
        changes.push_back({old->first, std::nullopt});
        ++old;
      } else if (old == consumed_.end() || made->first < old->first) {
        changes.push_back({made->first, made->second});
        ++made;
      } else {
        if (!(old->second == made->second)) changes.push_back({made->first, made->second});
        ++old;
        ++made;
      }
    }
    return changes;
  }

  NodeSource& source_;
  const content::VolumeKeys& keys_;
  Root root_;
  NodeSink& sink_;
  // Of the level that was rebuilt last, by first key: old nodes that were taken apart, and what stands in their place.
  std::vector<std::pair<std::string, NodeRef>> consumed_, emitted_;
  // Inner nodes that were made, with their child where it is the only one.
  std::map<ChunkId, Root> only_child_;
};

}  // namespace

env::Task<Result<Root>> Tree::apply(Root root, std::vector<EditView> edits, NodeSink& sink) {
  std::string_view before;
  for (const EditView& edit : edits) {
    if (edit.key.empty() || edit.key.size() > kMaxKeySize) co_return fail(Code::bad_input, "length of a tree key");
    if (edit.value && edit.value->size() > kMaxValueSize) co_return fail(Code::bad_input, "length of a tree value");
    CAIRN_ASSERT(before < edit.key);
    before = edit.key;
  }
  Applier applier(source_, keys_, std::move(root), sink);
  auto made = co_await applier.run(std::move(edits));
  co_return made;
}

}  // namespace cairn::volume
