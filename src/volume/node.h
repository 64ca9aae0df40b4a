#pragma once
// One node of the tree: its form, its ID and where it ends. See volume/FORMAT.md.

#include <optional>

#include "content/keys.h"
#include "pool/client.h"
#include "volume/limits.h"

namespace cairn::volume {

// Where a node lies (wire.NodeRef). `chunk` alone says what it is: equal chunk, equal content.
struct NodeRef {
  ChunkId chunk;
  pool::PackRef pack;
  uint32_t offset = 0;  // in the pack
  uint32_t length = 0;  // sealed
  uint32_t level = 0;   // 0 = leaf
  friend bool operator==(const NodeRef& a, const NodeRef& b) { return a.chunk == b.chunk; }
  // Nodes of equal content may lie in several packs.
  bool same_place(const NodeRef& other) const { return pack.id == other.pack.id && offset == other.offset; }
};
// An empty tree has no root.
using Root = std::optional<NodeRef>;

class Node;
using NodePtr = std::shared_ptr<const Node>;

// A checked node. Entries are in ascending order of their keys, each key once, at least one.
class Node {
 public:
  // Code::corrupt unless the bytes are exactly a node of `ref`'s level and ID. "This pack" becomes ref.pack.
  static Result<NodePtr> parse(Bytes plain, const content::VolumeKeys& keys, const NodeRef& ref);

  uint32_t level() const { return level_; }
  size_t count() const { return entries_.size(); }
  std::string_view key(size_t i) const { return text(entries_[i].key, entries_[i].key_length); }
  std::string_view value(size_t i) const { return text(entries_[i].value, entries_[i].value_length); }  // of a leaf
  NodeRef child(size_t i) const;        // of an inner node
  ChunkId child_chunk(size_t i) const;  // the same, without the place
  const NodeRef& ref() const { return ref_; }
  // The last entry whose key is not after `key`; nothing when all are.
  std::optional<size_t> find(std::string_view key) const;
  // The first entry whose key is not before `key`; count() when there is none.
  size_t lower_bound(std::string_view key) const;
  size_t memory() const;  // bytes, about

 private:
  struct Entry {
    uint32_t key = 0, value = 0;  // offsets into bytes_; an inner entry's value is the child's ID
    uint32_t key_length = 0, value_length = 0;
  };
  struct Place {
    uint32_t pack = 0;  // 0: this pack, else 1 + index into packs_
    uint32_t offset = 0, length = 0;
  };
  std::string_view text(uint32_t offset, uint32_t length) const {
    return as_text(ByteView(bytes_).subspan(offset, length));
  }
  Status parse_places(size_t at);

  NodeRef ref_;
  uint32_t level_ = 0;
  Bytes bytes_;
  std::vector<Entry> entries_;
  std::vector<Place> places_;
  std::vector<pool::PackRef> packs_;
};

// Collects entries of one node, in order.
class NodeBuilder {
 public:
  NodeBuilder(const content::VolumeKeys& keys, uint32_t level);
  // True when the node ends with this entry: it follows from the entries so far alone.
  bool add_item(std::string_view key, std::string_view value);
  bool add_child(std::string_view key, const NodeRef& child);

  bool empty() const { return count_ == 0; }
  uint32_t count() const { return count_; }
  const std::string& first_key() const { return first_key_; }
  const std::vector<NodeRef>& children() const { return children_; }
  // The ID that the node has, wherever it and its children lie.
  ChunkId id();
  // The node's bytes; children() may be replaced by what NodeSink::resolve() gave before.
  Bytes encode(const std::vector<NodeRef>& children);
  void clear();

 private:
  bool ends(std::string_view key, size_t entry_size);
  void seal_logical();

  const content::VolumeKeys& keys_;
  uint32_t level_;
  uint32_t count_ = 0;
  std::string first_key_;
  Bytes logical_;  // header and entries
  std::vector<NodeRef> children_;
};

}  // namespace cairn::volume
