#pragma once
// Marker: walks trees and notes what they refer to: which packs are live, and how much of each.

#include <unordered_map>

#include "env/world.h"
#include "volume/tree.h"

namespace cairn::volume {

// Places in packs, 8 bytes each and some room: a volume of 10 million chunks takes 160 MiB at most.
class PlaceSet {
 public:
  // True when it is new. `value` is never zero.
  bool insert(uint64_t value);
  bool contains(uint64_t value) const;
  size_t size() const { return size_; }

 private:
  size_t slot(uint64_t value) const;
  std::vector<uint64_t> slots_;
  size_t size_ = 0;
};

struct PackUse {
  uint32_t number = 0;
  uint64_t live = 0;        // sealed bytes that something refers to
  pool::PackRef ref;        // of tree packs: as a node names it
  bool has_nodes = false;   // of a tree
  bool has_chunks = false;  // of files
};

// Strand only. The source outlives it.
class Marker {
 public:
  Marker(env::World world, NodeSource& source) : world_(world), source_(source) {}

  // All that is below this root. What was walked before is not walked again, whatever root led to it.
  env::Task<Status> mark(Root root);

  const std::unordered_map<PackId, PackUse>& packs() const { return packs_; }
  bool live(const PackId& pack) const { return packs_.contains(pack); }
  // Whether what lies there was referred to.
  bool live(const PackId& pack, uint32_t offset) const;
  uint64_t nodes() const { return nodes_; }

 private:
  PackUse& use(const PackId& pack);
  bool note(const PackId& pack, uint32_t offset, uint32_t length, PackUse** use);
  Status note_leaf(const Node& node);

  env::World world_;
  NodeSource& source_;
  std::unordered_map<PackId, PackUse> packs_;
  PlaceSet places_;
  uint64_t nodes_ = 0;
};

}  // namespace cairn::volume
