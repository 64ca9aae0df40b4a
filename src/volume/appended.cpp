#include "volume/appended.h"

#include <algorithm>

#include "volume/dead.h"
#include "volume/keys.h"
#include "volume/pack_ref.h"

namespace cairn::volume {

namespace {

class Recoverer {
 public:
  Recoverer(Tree& tree, HeadPtr head, std::function<bool(const SnapshotInfo&)> may_vanish)
      : tree_(tree), head_(std::move(head)), may_vanish_(std::move(may_vanish)) {}

  // What `old` had and the head has not. The first to come counts: a snapshot, once it is whole, is never another one.
  env::Task<Status> look(HeadPtr old) {
    const auto visit = [this](std::vector<Difference> batch) -> env::Task<Status> {
      for (const Difference& one : batch) CAIRN_CO_TRY(co_await compare(one));
      co_return Status{};
    };
    CAIRN_CO_TRY(co_await tree_.diff(old->root, head_->root, visit));
    for (const pool::PackRef& pack : old->tree_packs) {
      const bool own =
          std::ranges::any_of(head_->tree_packs, [&](const pool::PackRef& other) { return other.id == pack.id; });
      if (own) continue;
      auto there = co_await tree_.get(head_->root, pack_key(pack.id));
      if (!there) co_return fail(std::move(there.error()));
      if (!*there) plan.edits.emplace(pack_key(pack.id), encode_pack_ref(pack));
    }
    co_return Status{};
  }

  Recovery plan;

 private:
  env::Task<Status> compare(const Difference& one) {
    if (!one.before) co_return Status{};
    switch (one.key.front()) {
      case 'P':
        if (!one.after) plan.edits.emplace(one.key, *one.before);
        break;
      case 'S': {
        auto before = decode_snapshot(*one.before);
        if (!before || (may_vanish_ && may_vanish_(before->info))) break;
        if (one.after) {
          auto after = decode_snapshot(*one.after);
          if (after && after->root == before->root) break;
        }
        if (!plan.edits.emplace(one.key, *one.before).second) break;
        plan.edits.emplace(forgotten_key(before->info.name), std::nullopt);
        plan.names.push_back(before->info.name);
        break;
      }
      case 'U': {
        auto before = decode_forgotten(*one.before);
        if (!before || one.after) break;
        const std::string name = snapshot_key(before->snapshot.info.name);
        auto back = co_await tree_.get(head_->root, name);  // to have one back is to add
        if (!back) co_return fail(std::move(back.error()));
        if (!*back && !plan.edits.contains(name)) plan.edits.emplace(one.key, *one.before);
        break;
      }
      default:
        break;
    }
    co_return Status{};
  }

  Tree& tree_;
  HeadPtr head_;
  std::function<bool(const SnapshotInfo&)> may_vanish_;
};

}  // namespace

env::Task<Result<Recovery>> plan_recovery(env::World world, Tree& tree, HeadPtr head,
                                          std::vector<RegisterState> replaced, const content::VolumeKeys& keys,
                                          std::function<bool(const SnapshotInfo&)> may_vanish) {
  Recoverer recoverer(tree, head, std::move(may_vanish));
  for (RegisterState& state : replaced) {
    if (state.sequence == head->state.sequence && state.hash == head->state.hash) continue;
    const uint64_t sequence = state.sequence;
    auto old = open_head(std::move(state), keys);
    if (!old) continue;  // not a head of this volume: nothing was ever in it
    auto looked = co_await recoverer.look(*old);
    if (looked) continue;
    world.log.warning("replaced_head_not_read", "sequence={} error={}", sequence, to_string(looked.error()));
    recoverer.plan.complete = false;
  }
  co_return std::move(recoverer.plan);
}

}  // namespace cairn::volume
