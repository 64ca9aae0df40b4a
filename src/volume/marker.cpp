#include "volume/marker.h"

#include "volume/inode.h"
#include "volume/keys.h"

namespace cairn::volume {

namespace {

// Nodes looked at before others have their turn on the strand: a millisecond or so.
constexpr uint64_t kNodesPerTurn = 32;

}  // namespace

size_t PlaceSet::slot(uint64_t value) const {
  const size_t mask = slots_.size() - 1;
  size_t at = (value * 0x9e3779b97f4a7c15ULL >> 20) & mask;
  while (slots_[at] != 0 && slots_[at] != value) at = (at + 1) & mask;
  return at;
}

bool PlaceSet::insert(uint64_t value) {
  if ((size_ + 1) * 4 > slots_.size() * 3) {
    std::vector<uint64_t> old(std::max<size_t>(slots_.size() * 2, 1024));
    old.swap(slots_);
    for (const uint64_t one : old) {
      if (one != 0) slots_[slot(one)] = one;
    }
  }
  uint64_t& place = slots_[slot(value)];
  if (place == value) return false;
  place = value;
  ++size_;
  return true;
}

bool PlaceSet::contains(uint64_t value) const {
  return !slots_.empty() && slots_[slot(value)] == value;
}

PackUse& Marker::use(const PackId& pack) {
  auto [entry, fresh] = packs_.try_emplace(pack);
  // From 1 on, so that no place is zero.
  if (fresh) entry->second.number = static_cast<uint32_t>(packs_.size());
  return entry->second;
}

bool Marker::note(const PackId& pack, uint32_t offset, uint32_t length, PackUse** out) {
  PackUse& in = use(pack);
  *out = &in;
  if (!places_.insert(uint64_t{in.number} << 32 | offset)) return false;
  in.live += length;
  return true;
}

bool Marker::live(const PackId& pack, uint32_t offset) const {
  const auto in = packs_.find(pack);
  return in != packs_.end() && places_.contains(uint64_t{in->second.number} << 32 | offset);
}

Status Marker::note_leaf(const Node& node) {
  for (size_t i = 0; i < node.count(); ++i) {
    const auto key = parse_inode_key(node.key(i));
    if (!key || key->kind != ItemKind::extent) continue;
    auto extent = decode_extent(key->offset, node.value(i));
    if (!extent) return fail(extent.error());
    PackUse* pack = nullptr;
    note(extent->pack, extent->pack_offset, extent->sealed_length, &pack);
    pack->has_chunks = true;
  }
  return {};
}

env::Task<Status> Marker::mark(Root root) {
  if (!root) co_return Status{};
  struct Step {
    NodePtr node;
    size_t index;
  };
  std::vector<Step> path;
  const auto note_node = [this](const NodeRef& ref) {
    PackUse* pack = nullptr;
    const bool fresh = note(ref.pack.id, ref.offset, ref.length, &pack);
    pack->has_nodes = true;
    if (pack->ref.id.is_zero()) pack->ref = ref.pack;
    return fresh;
  };
  if (!note_node(*root)) co_return Status{};
  auto node = co_await source_.load(*root);
  if (!node) co_return fail(std::move(node.error()));
  path.push_back({std::move(*node), 0});
  while (!path.empty()) {
    Step& step = path.back();
    if (step.index == 0 && ++nodes_ % kNodesPerTurn == 0) {
      const env::OneShot<bool> turn(world_.executor);
      world_.executor.post([turn] { turn.set(true); });
      co_await turn;
    }
    if (step.node->level() == 0) {
      CAIRN_CO_TRY(note_leaf(*step.node));
      path.pop_back();
      continue;
    }
    if (step.index >= step.node->count()) {
      path.pop_back();
      continue;
    }
    const size_t at = step.index++;
    if (!note_node(step.node->child(at))) continue;
    // Those behind it are wanted too, unless they were seen before: the source looks where its run ends.
    auto child = co_await source_.load_child(step.node, at, step.node->count());
    if (!child) co_return fail(std::move(child.error()));
    path.push_back({std::move(*child), 0});
  }
  co_return Status{};
}

}  // namespace cairn::volume
