// Snapshots are made, changed, forgotten and had back.

#include "volume/volume_impl.h"

namespace cairn::volume {

env::Task<Status> VolumeImpl::edit_snapshot(std::string name, std::optional<Bytes> details) {
  if (options_.read_only) co_return fail(Code::denied, "the volume is open for reading only");
  const auto turn = co_await turn_.acquire();
  CAIRN_CO_TRY(co_await read_head());
  for (int i = 0; i < kCommitTries; ++i) {
    auto there = co_await tree_.get(head_->root, snapshot_key(name));
    if (!there) co_return fail(std::move(there.error()));
    if (details && *there) co_return fail(Code::exists, "snapshot " + name);
    if (!details && !*there) co_return fail(Code::not_found, "snapshot " + name);
    EditMap edits;
    if (details) {
      SnapshotItem snapshot{.info = {.name = name, .created = witnessed_now(), .details = *details},
                            .root = head_->root,
                            .tree_packs = head_->tree_packs};
      edits.emplace(snapshot_key(name), encode_snapshot(snapshot));
    } else {
      auto snapshot = decode_snapshot(**there);
      if (!snapshot) co_return fail(std::move(snapshot.error()));
      forget(edits, std::move(*snapshot));
    }
    const std::vector<pool::PackRef> none;
    auto chosen = co_await try_commit({edits, none});
    if (!chosen) co_return fail(std::move(chosen.error()));
    if (*chosen) co_return Status{};
  }
  co_return fail(Code::conflict, "other writers were always first; try again");
}

env::Task<Status> VolumeImpl::commit_snapshot(SnapshotCommit commit) {
  const auto turn = co_await turn_.acquire();
  packs_written_ += commit.packs.size();
  bool walked = false;
  env::Prng prng(world_.random.u64());
  for (int i = 0; i < kCommitTries; ++i) {
    if (i > 0) co_await stand_back(prng, i);
    // What it shares with the tree that it was made upon is kept by that one's snapshot, unless it was forgotten.
    if (commit.base && !walked) {
      auto kept = co_await is_kept(tree_, head_, *commit.base);
      if (!kept) co_return fail(std::move(kept.error()));
      if (!*kept) {
        auto below = co_await packs_below(world_, cache_, commit.made);
        if (!below) co_return fail(std::move(below.error()));
        for (const pool::PackRef& pack : commit.packs) below->erase(pack.id);
        commit.named = std::move(*below);
        walked = true;
      }
    }
    // These items are either put or taken away whatever was there, so it does no harm to do it twice.
    auto chosen = co_await try_commit({.edits = commit.edits, .packs = commit.packs, .also = &commit.named});
    if (!chosen) co_return fail(std::move(chosen.error()));
    if (!*chosen) continue;
    ++commits_;
    co_return Status{};
  }
  co_return fail(Code::conflict, "other writers were always first; try again");
}

env::Task<Result<size_t>> VolumeImpl::change_snapshots(std::vector<SnapshotChange> changes) {
  if (options_.read_only) co_return fail(Code::denied, "the volume is open for reading only");
  const auto turn = co_await turn_.acquire();
  CAIRN_CO_TRY(co_await read_head());
  for (int i = 0; i < kCommitTries; ++i) {
    EditMap edits;
    size_t there = 0;
    for (const SnapshotChange& change : changes) {
      auto snapshot = co_await find_snapshot(change.name);
      if (!snapshot && snapshot.error().code == Code::not_found) continue;
      if (!snapshot) co_return fail(std::move(snapshot.error()));
      ++there;
      if (!change.new_name) {
        forget(edits, std::move(*snapshot));
        continue;
      }
      edits.insert_or_assign(snapshot_key(change.name), std::nullopt);
      if (change.details.size() > kMaxSnapshotDetails) co_return fail(Code::too_large, "details of a snapshot");
      snapshot->info.name = *change.new_name;
      snapshot->info.details = change.details;
      edits.insert_or_assign(snapshot_key(*change.new_name), encode_snapshot(*snapshot));
    }
    if (edits.empty()) co_return there;
    const std::vector<pool::PackRef> none;
    auto chosen = co_await try_commit({edits, none});
    if (!chosen) co_return fail(std::move(chosen.error()));
    if (*chosen) co_return there;
  }
  co_return fail(Code::conflict, "other writers were always first; try again");
}

void VolumeImpl::forget(EditMap& edits, SnapshotItem snapshot) {
  const std::string name = snapshot.info.name;
  edits.insert_or_assign(snapshot_key(name), std::nullopt);
  edits.insert_or_assign(
      forgotten_key(name),
      encode_forgotten({.snapshot = std::move(snapshot), .forgotten = witnessed_now(), .pruned = 0}));
}

env::Task<Status> VolumeImpl::restore_snapshot(std::string name) {
  if (options_.read_only) co_return fail(Code::denied, "the volume is open for reading only");
  const auto turn = co_await turn_.acquire();
  CAIRN_CO_TRY(co_await read_head());
  for (int i = 0; i < kCommitTries; ++i) {
    auto plan = co_await plan_restoration(world_, tree_, cache_, head_, name);
    if (!plan) co_return fail(std::move(plan.error()));
    const std::vector<pool::PackRef> none;
    auto chosen = co_await try_commit({.edits = plan->edits, .packs = none, .also = &plan->packs});
    if (!chosen) co_return fail(std::move(chosen.error()));
    if (*chosen) co_return Status{};
  }
  co_return fail(Code::conflict, "other writers were always first; try again");
}

}  // namespace cairn::volume
