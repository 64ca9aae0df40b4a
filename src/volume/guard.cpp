#include "volume/guard.h"

#include "volume/keys.h"
#include "volume/marker.h"
#include "volume/pack_ref.h"

namespace cairn::volume {

env::Task<Result<EditMap>> secure_packs(Tree& tree, PackIo& packs, HeadPtr head, std::set<PackId> named,
                                        std::vector<pool::PackRef> fresh) {
  EditMap edits;
  const KeyRange dead_range = range_of_prefix('D');
  auto any = co_await tree.scan(head->root, dead_range.first, dead_range.last, 1);
  if (!any) co_return fail(std::move(any.error()));
  if (any->empty()) co_return edits;  // nothing was ever pruned here
  std::set<PackId> ours;
  for (const std::vector<pool::PackRef>* list :
       {static_cast<const std::vector<pool::PackRef>*>(&fresh), &head->tree_packs}) {
    for (const pool::PackRef& pack : *list) ours.insert(pack.id);
  }
  named.insert(ours.begin(), ours.end());
  std::vector<pool::PackRef> buried;
  for (const PackId& pack : named) {
    auto value = co_await tree.get(head->root, dead_pack_key(pack));
    if (!value) co_return fail(std::move(value.error()));
    if (!*value) {
      if (ours.contains(pack)) continue;
      auto record = co_await tree.get(head->root, pack_key(pack));
      if (!record) co_return fail(std::move(record.error()));
      if (!*record) co_return fail(Code::damaged, "pack " + pack.short_hex() + " was pruned meanwhile");
      continue;
    }
    auto dead = decode_dead_pack(**value);
    if (!dead) co_return fail(std::move(dead.error()));
    edits.emplace(dead_pack_key(pack), std::nullopt);
    pool::PackRef ref = dead->pack;
    for (const pool::PackRef& own : fresh) {
      if (own.id == pack) ref = own;  // an orphan's record does not know its form
    }
    if (!ours.contains(pack)) edits.emplace(pack_key(pack), encode_pack_ref(ref));
    if (dead->sequence != 0) buried.push_back(std::move(ref));
  }
  if (!buried.empty()) {
    // As of this head: whoever buries them again does so by a later one.
    auto revived = co_await packs.revive(std::move(buried), head->state.sequence);
    if (!revived) co_return fail(std::move(revived.error()));
  }
  co_return edits;
}

env::Task<Result<bool>> is_kept(Tree& tree, HeadPtr head, NodeRef root) {
  const KeyRange range = range_of_prefix('S');
  auto items = co_await tree.scan(head->root, range.first, range.last, SIZE_MAX);
  if (!items) co_return fail(std::move(items.error()));
  for (const Item& item : *items) {
    auto snapshot = decode_snapshot(item.value);
    if (!snapshot) co_return fail(std::move(snapshot.error()));
    if (snapshot->root && *snapshot->root == root && snapshot->root->same_place(root)) co_return true;
  }
  co_return false;
}

env::Task<Result<std::set<PackId>>> packs_below(env::World world, NodeSource& source, Root root) {
  Marker marker(world, source);
  CAIRN_CO_TRY(co_await marker.mark(std::move(root)));
  std::set<PackId> packs;
  for (const auto& [pack, use] : marker.packs()) packs.insert(pack);
  co_return packs;
}

env::Task<Result<Restoration>> plan_restoration(env::World world, Tree& tree, NodeSource& source, HeadPtr head,
                                                std::string name) {
  auto value = co_await tree.get(head->root, forgotten_key(name));
  if (!value) co_return fail(std::move(value.error()));
  if (!*value) co_return fail(Code::not_found, "no forgotten snapshot " + name);
  auto forgotten = decode_forgotten(**value);
  if (!forgotten) co_return fail(std::move(forgotten.error()));
  auto there = co_await tree.get(head->root, snapshot_key(name));
  if (!there) co_return fail(std::move(there.error()));
  if (*there) co_return fail(Code::exists, "snapshot " + name);
  Restoration plan;
  plan.edits.emplace(forgotten_key(name), std::nullopt);
  plan.edits.emplace(snapshot_key(name), encode_snapshot(forgotten->snapshot));
  if (forgotten->pruned == 0) co_return plan;
  auto packs = co_await packs_below(world, source, forgotten->snapshot.root);
  if (!packs) co_return fail(std::move(packs.error()), "its packs are gone");
  plan.packs = std::move(*packs);
  co_return plan;
}

}  // namespace cairn::volume
