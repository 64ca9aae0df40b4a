// Heads that devices wrote which may only add, and those that the owner's force left behind.

#include "base/text.h"
#include "volume/appended.h"
#include "volume/volume_impl.h"

namespace cairn::volume {

env::Task<Status> VolumeImpl::step_over(RegisterState state, Error why) {
  CAIRN_CO_TRY(mark_.check(state));
  auto replaced = co_await register_.retained();
  if (!replaced) co_return fail(std::move(replaced.error()));
  for (auto at = replaced->rbegin(); at != replaced->rend(); ++at) {
    auto before = open_head(*at, keys_);
    if (!before) continue;
    auto head = std::make_shared<Head>(**before);
    head->state = std::move(state);
    head_ = std::move(head);
    retained_ = head_->state.retained;
    world_.log.error("head_stepped_over", "device={} error={}", head_->state.writer.short_hex(), to_string(why));
    co_return Status{};
  }
  co_return fail(std::move(why));
}

env::Task<Status> VolumeImpl::settle_appended() {
  if (options_.append_only || options_.read_only) co_return Status{};
  for (int i = 0; i < kCommitTries && retained_ > 0 && settled_ != head_->state.hash; ++i) {
    auto replaced = co_await register_.retained();
    if (!replaced) {
      world_.log.warning("replaced_heads_not_told", "error={}", to_string(replaced.error()));
      co_return Status{};
    }
    auto plan = co_await plan_recovery(world_, tree_, head_, std::move(*replaced), keys_, options_.may_vanish);
    if (!plan) co_return fail(std::move(plan.error()));
    if (plan->complete) settled_ = head_->state.hash;
    if (plan->edits.empty()) co_return Status{};
    const NodeId device = head_->state.writer;
    const std::vector<pool::PackRef> none;
    auto written = co_await swap(head_, {plan->edits, none}, {});
    if (!written && written.error().code != Code::conflict) {
      // Who reads is not held up by it; who removes is (unsettled()).
      settled_ = {};
      world_.log.warning("not_put_back", "error={}", to_string(written.error()));
      co_return Status{};
    }
    if (written) {
      CAIRN_CO_TRY(co_await adopt(std::move(*written)));
      for (const std::string& name : plan->names) {
        if (options_.on_recovered) options_.on_recovered(name, device);
      }
      co_return Status{};
    }
    auto state = co_await register_.read();
    if (!state) co_return fail(std::move(state.error()));
    CAIRN_CO_TRY(co_await adopt(std::move(*state)));
  }
  co_return Status{};
}

env::Task<Status> VolumeImpl::park(const RegisterForced& at) {
  // One that is parked already is of an earlier fork, and its changes are in none of these heads.
  if (parked_ && parked_->known()) co_return Status{};
  parked_ = ParkedHead{.state = {.sequence = mark_.sequence(), .hash = mark_.hash()}};
  const RegisterState* last = options_.last_head ? &*options_.last_head : nullptr;
  for (const RegisterState* seen : {head_ ? &head_->state : nullptr, last}) {
    if (seen != nullptr && seen->sequence == mark_.sequence() && seen->hash == mark_.hash()) parked_->state = *seen;
  }
  fork_.reset();
  (void)at;
  auto kept = co_await fork_note_.keep(*parked_);
  if (!kept) co_return fail(std::move(kept.error()), "the head that is not in the volume any more");
  co_return Status{};
}

env::Task<Status> VolumeImpl::join_fork() {
  std::vector<RegisterState> branches;
  if (parked_->known()) branches.push_back(parked_->state);
  auto strays = co_await register_.strays();
  if (strays) branches.insert(branches.end(), strays->begin(), strays->end());
  const RegisterState wanted = parked_->state;
  bool found = false;
  std::vector<RegisterState> joined;
  for (const RegisterState& branch : branches) {
    const auto holds = [](const RegisterState& later, const RegisterState& one) {
      return chain_contains(later, one.sequence, one.hash).value_or(false);
    };
    if (std::ranges::any_of(joined, [&](const auto& other) { return holds(other, branch); })) continue;
    // Later ones of the same branch have its changes, too.
    if (std::ranges::any_of(
            branches, [&](const auto& other) { return other.sequence > branch.sequence && holds(other, branch); }))
      continue;
    CAIRN_CO_TRY(co_await join_branch(branch));
    joined.push_back(branch);
    found = found || holds(branch, wanted);
  }
  if (!found)
    co_return fail(
        Code::not_found,
        fmt::format("the bytes of commit {} are with none of the nodes that answer: start one of the keepers "
                    "that were given up, or mount the volume on the device that made it",
                    wanted.sequence));
  CAIRN_CO_TRY(co_await fork_note_.remove());
  parked_.reset();
  if (fork_) fork_->joined = true;
  world_.log.warning("fork_joined", "sequence={} conflicts={}", wanted.sequence, fork_ ? fork_->conflicts : 0);
  co_return Status{};
}

env::Task<Status> VolumeImpl::join_branch(const RegisterState& branch) {
  auto theirs = open_head(branch, keys_);
  if (!theirs) co_return fail(std::move(theirs.error()), "the head of before");
  // The force at which it parted.
  const HeadPtr now = head_;
  auto at = parted_from(now->state, branch.era(), branch.sequence, branch.hash);
  if (!at) co_return Status{};
  auto base = std::make_shared<Head>();
  base->state.sequence = at->sequence;
  base->state.hash = at->hash;
  base->state.forced = now->state.forced;
  if (now->state.sequence == at->sequence) {
    base->root = now->root;
  } else {
    auto snapshot = co_await find_snapshot(fork_base_name(at->epoch));
    if (!snapshot)
      co_return fail(Code::damaged,
                     "the snapshot '" + fork_base_name(at->epoch) + "' is gone: what to merge upon is not known");
    base->root = snapshot->root;
  }
  const bool whole = chain_contains(branch, at->sequence, at->hash).value_or(false) || at->sequence == 0;
  auto made = co_await edits_of_branch(tree_, base->root, (*theirs)->root, whole);
  if (!made) co_return fail(std::move(made.error()));
  const HeadPtr upon = base;
  auto done = co_await commit({.base = upon,
                               .edits = &made->edits,
                               .packs = (*theirs)->tree_packs,
                               .files = made->files,
                               .bytes = made->bytes});
  if (!done) co_return fail(std::move(done.error()));
  if (fork_) fork_->conflicts += done->outcome.conflicts;
  co_return Status{};
}

}  // namespace cairn::volume
