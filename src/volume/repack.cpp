#include "volume/repack.h"

#include "content/chunk.h"
#include "volume/keys.h"
#include "volume/limits.h"
#include "volume/pack_ref.h"
#include "volume/tree_pack.h"

namespace cairn::volume {

// Stores a node once, however many trees have it.
class Repacker::MemoSink final : public NodeSink {
 public:
  explicit MemoSink(TreePacks& packs) : packs_(packs) {}
  env::Task<Result<NodeRef>> store(ChunkId id, Bytes plain, uint32_t level) override {
    if (const auto known = stored_.find(id); known != stored_.end()) co_return known->second;
    auto ref = co_await packs_.store(id, std::move(plain), level);
    if (ref) stored_.emplace(id, *ref);
    co_return ref;
  }
  NodeRef resolve(const NodeRef& ref) const override { return packs_.resolve(ref); }

 private:
  TreePacks& packs_;
  std::unordered_map<ChunkId, NodeRef> stored_;
};

Repacker::Repacker(VolumeHost& host, std::map<PackId, pool::PackRef> taken_apart)
    : host_(host), taken_apart_(std::move(taken_apart)) {}

env::Task<Result<bool>> Repacker::walk(NodeRef ref, EditMap* edits) {
  const Place place{ref.pack.id, ref.offset};
  if (clean_.contains(place)) co_return false;
  auto node = co_await host_.nodes().load(ref);
  if (!node) co_return fail(std::move(node.error()));
  bool found = false;
  for (size_t i = 0; i < (*node)->count(); ++i) {
    if (ref.level > 0) {
      auto below = co_await walk((*node)->child(i), edits);
      if (!below) co_return below;
      found = found || *below;
      continue;
    }
    const auto key = parse_inode_key((*node)->key(i));
    if (!key || key->kind != ItemKind::extent) continue;
    auto extent = decode_extent(key->offset, (*node)->value(i));
    if (!extent) co_return fail(std::move(extent.error()));
    if (!taken_apart_.contains(extent->pack)) continue;
    found = true;
    const Place from{extent->pack, extent->pack_offset};
    auto [chunk, fresh] = chunks_.try_emplace(from, Chunk{.id = extent->chunk, .length = extent->sealed_length});
    if (fresh) to_copy_.push_back(from);
    if (edits == nullptr) continue;
    if (!chunk->second.moved) co_return fail(Code::damaged, "a chunk that was to be copied has no place");
    extent->pack = chunk->second.moved->first;
    extent->pack_offset = chunk->second.moved->second;
    edits->insert_or_assign(std::string((*node)->key(i)), encode_extent(*extent));
  }
  if (!found) clean_.insert(place);
  co_return found;
}

// Reads neighbours with one request; every chunk is opened before it is copied as it is.
env::Task<Status> Repacker::add_run(size_t first, size_t count) {
  const Place begin = to_copy_[first];
  const Place end = to_copy_[first + count - 1];
  const uint32_t length = end.second + chunks_.at(end).length - begin.second;
  if (throttle_) {
    const content::PackGeometry code = host_.packs().geometry_now();
    co_await throttle_->take(length + uint64_t{length} * (code.k + code.m) / code.k);
  }
  const auto opens = [&](ByteView sealed) {
    if (sealed.size() != length) return false;
    for (size_t i = first; i < first + count; ++i) {
      const Chunk& chunk = chunks_.at(to_copy_[i]);
      if (!content::open_chunk(host_.keys(), chunk.id, content::ChunkType::data,
                               sealed.subspan(to_copy_[i].second - begin.second, chunk.length),
                               host_.options().deduplicates))
        return false;
    }
    return true;
  };
  auto bytes =
      co_await host_.packs().read(taken_apart_.at(begin.first), begin.second, length, opens, pool::Purpose::data);
  if (!bytes) co_return fail(std::move(bytes.error()), "pack " + begin.first.short_hex());
  if (!opens(bytes->view())) co_return fail(Code::damaged, "pack " + begin.first.short_hex());
  for (size_t i = first; i < first + count; ++i) {
    const Chunk& chunk = chunks_.at(to_copy_[i]);
    const ByteView sealed = bytes->view().subspan(to_copy_[i].second - begin.second, chunk.length);
    std::optional<content::PackBuilder::Ticket> ticket;
    if (builder_) ticket = builder_->add_sealed(sealed);
    if (!ticket) {
      CAIRN_CO_TRY(co_await send());
      const content::PackGeometry geometry = host_.packs().geometry_now();
      builder_ = std::make_unique<content::PackBuilder>(geometry.k, geometry.m);
      ticket = builder_->add_sealed(sealed);
      CAIRN_ASSERT(ticket);
    }
    in_builder_.emplace_back(to_copy_[i], *ticket);
  }
  copied_bytes_ += length;
  if (progress_) progress_(copied_bytes_);
  co_return Status{};
}

env::Task<Status> Repacker::send() {
  if (!builder_) co_return Status{};
  const std::unique_ptr<content::PackBuilder> builder = std::move(builder_);
  env::World world = host_.world();
  const uint64_t sequence = host_.current()->state.sequence;
  auto encoded = co_await world.workers.run(
      [&] { return builder->finish(host_.keys().volume, sequence, host_.writer(), world.random); });
  if (!encoded) co_return fail(std::move(encoded.error()));
  auto sent = co_await host_.packs().write(std::move(*encoded));
  if (!sent) co_return fail(std::move(sent.error()));
  for (const auto& [place, ticket] : in_builder_)
    chunks_.at(place).moved = Place{sent->id, builder->place(ticket).offset};
  in_builder_.clear();
  data_packs_.push_back(std::move(*sent));
  co_return Status{};
}

env::Task<Status> Repacker::copy() {
  for (size_t first = 0; first < to_copy_.size();) {
    const uint32_t lane = std::max(taken_apart_.at(to_copy_[first].first).geometry.shard_length, 1U);
    size_t count = 1;
    uint32_t length = chunks_.at(to_copy_[first]).length;
    for (; first + count < to_copy_.size(); ++count) {
      const Place& next = to_copy_[first + count];
      const uint32_t more = chunks_.at(next).length;
      if (next.first != to_copy_[first].first || next.second != to_copy_[first].second + length) break;
      if (length + more > kReadRun || next.second / lane != to_copy_[first].second / lane) break;
      length += more;
    }
    CAIRN_CO_TRY(co_await add_run(first, count));
    first += count;
  }
  to_copy_.clear();
  auto sent = co_await send();
  co_return sent;
}

// The same tree with no node in a pack that is taken apart. Equal content: no ID changes, only places.
env::Task<Result<NodeRef>> Repacker::relocate(NodeRef ref, NodeSink& sink) {
  const Place place{ref.pack.id, ref.offset};
  if (const auto known = relocated_.find(place); known != relocated_.end()) co_return known->second;
  const bool here = taken_apart_.contains(ref.pack.id);
  if (ref.level == 0 && !here) co_return ref;
  auto node = co_await host_.nodes().load(ref);
  if (!node) co_return fail(std::move(node.error()));
  std::vector<NodeRef> children;
  bool changed = here;
  for (size_t i = 0; ref.level > 0 && i < (*node)->count(); ++i) {
    const NodeRef child = (*node)->child(i);
    auto moved = co_await relocate(child, sink);
    if (!moved) co_return moved;
    changed = changed || !moved->same_place(child);
    children.push_back(std::move(*moved));
  }
  NodeRef result = ref;
  if (changed) {
    NodeBuilder builder(host_.keys(), ref.level);
    for (size_t i = 0; i < (*node)->count(); ++i) {
      if (ref.level == 0)
        builder.add_item((*node)->key(i), (*node)->value(i));
      else
        builder.add_child((*node)->key(i), children[i]);
    }
    const ChunkId id = builder.id();
    if (id != ref.chunk) co_return fail(Code::corrupt, "a tree node that is not what its name says");
    for (NodeRef& child : children) child = sink.resolve(child);
    auto stored = co_await sink.store(id, builder.encode(children), ref.level);
    if (!stored) co_return stored;
    result = std::move(*stored);
  }
  relocated_.insert_or_assign(place, result);
  co_return result;
}

// Where chunks are found: the copies, and no longer what is dead in packs that are taken apart.
env::Task<Status> Repacker::move_places(HeadPtr head, EditMap& edits) {
  if (!host_.options().deduplicates) co_return Status{};
  constexpr size_t kItemsPerScan = 4096;
  const KeyRange range = range_of_prefix('C');
  for (std::string first = range.first;;) {
    auto items = co_await host_.tree().scan(head->root, first, range.last, kItemsPerScan);
    if (!items) co_return fail(std::move(items.error()));
    for (Item& item : *items) {
      auto place = decode_extent(0, item.value);
      if (!place) co_return fail(std::move(place.error()));
      if (!taken_apart_.contains(place->pack)) continue;
      const auto chunk = chunks_.find({place->pack, place->pack_offset});
      if (chunk == chunks_.end() || !chunk->second.moved) {
        edits.insert_or_assign(item.key, std::nullopt);
        continue;
      }
      place->pack = chunk->second.moved->first;
      place->pack_offset = chunk->second.moved->second;
      edits.insert_or_assign(item.key, encode_extent(*place));
    }
    if (items->size() < kItemsPerScan) co_return Status{};
    first = items->back().key + '\0';
  }
}

env::Task<Result<Repacker::Rewritten>> Repacker::rewrite(HeadPtr head, std::vector<SnapshotItem> snapshots) {
  // 1. Chunks.
  for (const SnapshotItem& snapshot : snapshots) {
    if (!snapshot.root) continue;
    auto found = co_await walk(*snapshot.root, nullptr);
    if (!found) co_return fail(std::move(found.error()));
  }
  if (head->root) {
    auto found = co_await walk(*head->root, nullptr);
    if (!found) co_return fail(std::move(found.error()));
  }
  CAIRN_CO_TRY(co_await copy());

  // 2. Trees whose extents name them.
  Rewritten result;
  relocated_.clear();
  std::vector<Root> roots;
  TreePacks edited(host_.world(), host_.packs(), host_.keys(), host_.writer(), head->state.sequence,
                   host_.options().compression_level);
  MemoSink edited_sink(edited);
  for (const SnapshotItem& snapshot : snapshots) {
    Root root = snapshot.root;
    EditMap edits;
    if (root) {
      auto found = co_await walk(*root, &edits);
      if (!found) co_return fail(std::move(found.error()));
    }
    if (!edits.empty()) {
      if (!snapshot.files_only) {  // it has its own records of packs
        for (const pool::PackRef& pack : data_packs_) edits.insert_or_assign(pack_key(pack.id), encode_pack_ref(pack));
      }
      std::vector<EditView> list;
      for (const auto& [key, value] : edits) list.push_back(edit_of(key, value));
      auto made = co_await host_.tree().apply(root, std::move(list), edited_sink);
      if (!made) co_return fail(std::move(made.error()));
      root = std::move(*made);
    }
    roots.push_back(std::move(root));
  }
  CAIRN_CO_TRY(co_await edited.finish());
  for (Root& root : roots) {
    if (root) root = edited.resolve(*root);
  }
  if (head->root) {
    auto found = co_await walk(*head->root, &result.edits);
    if (!found) co_return fail(std::move(found.error()));
  }
  CAIRN_CO_TRY(co_await move_places(head, result.edits));

  // 3. Trees whose nodes lie in packs that are taken apart.
  TreePacks moved(host_.world(), host_.packs(), host_.keys(), host_.writer(), head->state.sequence,
                  host_.options().compression_level);
  MemoSink moved_sink(moved);
  for (Root& root : roots) {
    if (!root) continue;
    auto ref = co_await relocate(*root, moved_sink);
    if (!ref) co_return fail(std::move(ref.error()));
    root = std::move(*ref);
  }
  auto base = std::make_shared<Head>(*head);
  if (head->root) {
    auto ref = co_await relocate(*head->root, moved_sink);
    if (!ref) co_return fail(std::move(ref.error()));
    base->root = std::move(*ref);
  }
  CAIRN_CO_TRY(co_await moved.finish());
  if (base->root) base->root = moved.resolve(*base->root);
  for (size_t i = 0; i < snapshots.size(); ++i) {
    if (!roots[i]) continue;
    const NodeRef root = moved.resolve(*roots[i]);
    if (root == *snapshots[i].root && root.same_place(*snapshots[i].root)) continue;
    SnapshotItem item = snapshots[i];
    item.root = root;
    result.edits.insert_or_assign(snapshot_key(item.info.name), encode_snapshot(item));
  }
  result.base = std::move(base);
  result.packs = data_packs_;
  for (const TreePacks* packs : {&edited, &moved})
    result.packs.insert(result.packs.end(), packs->packs().begin(), packs->packs().end());
  co_return result;
}

}  // namespace cairn::volume
