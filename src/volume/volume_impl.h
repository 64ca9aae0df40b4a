#pragma once
// VolumeImpl: the volume behind volume.h. volume.cpp reads and swaps heads, volume_snapshots.cpp changes snapshots,
// volume_strays.cpp sees to heads that the chain does not have, or that lack what it had.

#include "volume/chunk_reader.h"
#include "volume/errors.h"
#include "volume/fork.h"
#include "volume/guard.h"
#include "volume/merge.h"
#include "volume/node_cache.h"
#include "volume/pack_ref.h"
#include "volume/snapshot_writer_impl.h"
#include "volume/snapshots.h"
#include "volume/transaction_impl.h"
#include "volume/volume.h"

namespace cairn::volume {

class VolumeImpl final : public Volume, public SnapshotHost {
 public:
  VolumeImpl(env::World world, PackIo& packs, HeadRegister& head, content::VolumeKeys keys, crypto::PrivateKey writer,
             VolumeOptions options)
      : world_(world),
        patient_(options.read_patience > Duration{} ? make_patient(packs, world, options.read_patience) : nullptr),
        packs_(patient_ ? *patient_ : packs),
        register_(head),
        keys_(keys),
        writer_(std::move(writer)),
        options_(std::move(options)),
        cache_(world.executor, packs_, keys_, options_.node_cache_bytes),
        tree_(cache_, keys_),
        chunks_(std::make_shared<ChunkReader>(world, packs_, keys_, options_.deduplicates, options_.depth)),
        numbers_(world.random),
        mark_(world, options_.high_water_path),
        fork_note_(world, options_.high_water_path.empty() ? "" : options_.high_water_path + ".fork"),
        turn_(world.executor, 1) {}

  env::Task<Status> start() {
    CAIRN_CO_TRY(co_await mark_.load());
    auto parked = co_await fork_note_.load();
    if (!parked) co_return fail(std::move(parked.error()));
    parked_ = std::move(*parked);
    auto status = co_await refresh();
    if (status || !options_.last_head || !is_away(status.error().code)) co_return status;
    auto head = open_head(*options_.last_head, keys_);
    if (!head) co_return fail(std::move(head.error()), "the head that was kept here");
    world_.log.warning("opened_from_last_head", "sequence={} error={}", options_.last_head->sequence,
                       to_string(status.error()));
    head_ = std::move(*head);
    co_return Status{};
  }

  env::Task<Status> refresh() override {
    {
      const auto turn = co_await turn_.acquire();
      CAIRN_CO_TRY(co_await read_head());
    }
    // What cannot be joined now stays parked; the volume is what it is without.
    if (parked_ && !options_.read_only && !std::exchange(joining_, true)) {
      auto joined = co_await join_fork();
      joining_ = false;
      if (!joined) world_.log.warning("fork_not_joined", "error=\"{}\"", to_string(joined.error()));
    }
    co_return Status{};
  }
  std::optional<Fork> fork() const override { return fork_; }
  HeadInfo head() const override {
    return {.sequence = head_->state.sequence,
            .hash = head_->state.hash,
            .writer = head_->state.writer,
            .written = head_->state.written,
            .files = head_->files,
            .bytes = head_->bytes};
  }
  const content::VolumeKeys& keys() const override { return keys_; }
  View view() const override { return view_of(head_->root); }
  Result<std::unique_ptr<Transaction>> begin() override {
    if (options_.read_only) return fail(Code::denied, "the volume is open for reading only");
    return std::make_unique<TransactionImpl>(*this);
  }

  env::Task<Result<std::vector<SnapshotInfo>>> snapshots() override {
    const KeyRange range = range_of_prefix('S');
    auto items = co_await tree_.scan(head_->root, range.first, range.last, SIZE_MAX);
    if (!items) co_return fail(std::move(items.error()));
    std::vector<SnapshotInfo> found;
    for (const Item& item : *items) {
      auto snapshot = decode_snapshot(item.value);
      if (!snapshot) co_return fail(std::move(snapshot.error()));
      found.push_back(std::move(snapshot->info));
    }
    co_return found;
  }
  env::Task<Result<std::vector<pool::PackRef>>> packs_in_use() override {
    const HeadPtr head = head_;
    const KeyRange range = range_of_prefix('P');
    auto items = co_await tree_.scan(head->root, range.first, range.last, SIZE_MAX);
    if (!items) co_return fail(std::move(items.error()));
    std::vector<pool::PackRef> found = head->tree_packs;
    for (const Item& item : *items) {
      auto pack = decode_pack_ref(item.value);
      if (!pack) co_return fail(std::move(pack.error()));
      found.push_back(std::move(*pack));
    }
    co_return found;
  }
  env::Task<Status> make_snapshot(std::string name, Bytes details) override {
    if (name.empty() || name.size() > kMaxNameSize) co_return fail(Code::bad_input, "length of a snapshot's name");
    if (!is_utf8(name)) co_return fail(Code::bad_input, "a snapshot's name is UTF-8");
    if (details.size() > kMaxSnapshotDetails) co_return fail(Code::too_large, "details of a snapshot");
    auto status = co_await edit_snapshot(std::move(name), std::move(details));
    co_return status;
  }
  env::Task<Status> remove_snapshot(std::string name) override {
    auto status = co_await edit_snapshot(std::move(name), std::nullopt);
    co_return status;
  }
  env::Task<Result<std::vector<Forgotten>>> forgotten_snapshots() override {
    const KeyRange range = range_of_prefix('U');
    auto items = co_await tree_.scan(head_->root, range.first, range.last, SIZE_MAX);
    if (!items) co_return fail(std::move(items.error()));
    std::vector<Forgotten> found;
    for (const Item& item : *items) {
      auto one = decode_forgotten(item.value);
      if (!one) co_return fail(std::move(one.error()));
      found.push_back({std::move(one->snapshot.info), one->forgotten, one->pruned != 0});
    }
    co_return found;
  }
  env::Task<Status> restore_snapshot(std::string name) override;
  env::Task<Result<View>> view_snapshot(std::string name) override {
    auto snapshot = co_await find_snapshot(std::move(name));
    if (!snapshot) co_return fail(std::move(snapshot.error()));
    if (snapshot->files_only)
      co_return View(std::make_shared<SnapshotItems>(tree_, snapshot->root, [head = head_] { return head; }), chunks_);
    co_return view_of(std::move(snapshot->root));
  }
  env::Task<Result<size_t>> change_snapshots(std::vector<SnapshotChange> changes) override;
  env::Task<Result<std::unique_ptr<SnapshotWriter>>> begin_snapshot(std::optional<std::string> base) override {
    if (options_.read_only) co_return fail(Code::denied, "the volume is open for reading only");
    Root root;
    if (base) {
      auto snapshot = co_await find_snapshot(std::move(*base));
      if (!snapshot) co_return fail(std::move(snapshot.error()));
      if (snapshot->files_only) root = std::move(snapshot->root);
    }
    co_return make_snapshot_writer(*this, std::move(root));
  }
  env::Task<Status> diff_snapshots(std::string before, std::string after,
                                   std::function<env::Task<Status>(std::vector<Difference>)> visit) override {
    auto a = co_await find_snapshot(std::move(before));
    if (!a) co_return fail(std::move(a.error()));
    auto b = co_await find_snapshot(std::move(after));
    if (!b) co_return fail(std::move(b.error()));
    auto done = co_await tree_.diff(std::move(a->root), std::move(b->root), std::move(visit));
    co_return done;
  }
  VolumeCounters counters() const override {
    return {.node_loads = cache_.counters().loads,
            .node_requests = cache_.counters().requests,
            .chunk_requests = chunks_->requests(),
            .packs_written = packs_written_,
            .commits = commits_,
            .merges = merges_};
  }

  // --- TransactionHost ---
  env::World world() override { return world_; }
  const crypto::PrivateKey& writer() const override { return writer_; }
  const VolumeOptions& options() const override { return options_; }
  PackIo& packs() override { return packs_; }
  Tree& tree() override { return tree_; }
  InodeNumbers& numbers() override { return numbers_; }
  std::shared_ptr<ChunkReader> chunks() override { return chunks_; }
  HeadPtr current() const override { return head_; }
  env::Task<Result<Committed>> commit(CommitRequest request) override;
  env::Task<Status> commit_snapshot(SnapshotCommit commit) override;
  env::Task<Result<HeadPtr>> latest() override {
    CAIRN_CO_TRY(co_await refresh());
    co_return head_;
  }
  env::Task<Result<HeadPtr>> commit_upon(CommitRequest request, BeforeSwap before) override;
  env::Task<Result<MergeResult>> merge_upon(HeadPtr base, HeadPtr theirs, const EditMap* ours) override {
    ++merges_;
    return merge_edits(cache_, tree_, numbers_,
                       {.base = base->root,
                        .theirs = theirs->root,
                        .ours = ours,
                        .suffix = conflict_suffix(*theirs),
                        .now = world_.clock.wall_now()});
  }
  WallTime witnessed_now() const override {
    if (witnessed_ == 0) return world_.clock.wall_now();
    return witnessed_ +
           std::chrono::duration_cast<std::chrono::nanoseconds>(world_.clock.now() - witnessed_at_).count();
  }
  bool unsettled() const override { return !options_.append_only && retained_ > 0 && settled_ != head_->state.hash; }
  NodeSource& nodes() override { return cache_; }
  void set_node_store(NodeStore* store) override { cache_.set_store(store); }
  VolumeHost& host() override { return *this; }

 private:
  View view_of(Root root) const {
    return View(std::make_shared<TreeItems>(const_cast<Tree&>(tree_), std::move(root)), chunks_);
  }
  // Takes over what the register gives, when it is not older than what was seen.
  env::Task<Status> read_head() {
    auto state = co_await register_.read();
    // A majority of keepers that were given up is back, and answered before those who know better: they are asked
    // again.
    for (int tries = 0; state && state->era() < mark_.era() && tries < kOldEraTries; ++tries) {
      co_await env::sleep_for(world_.clock, kOldEraPause);
      state = co_await register_.read();
    }
    if (!state) co_return fail(std::move(state.error()));
    RegisterState as_read = *state;
    auto adopted = co_await adopt(std::move(*state));
    if (!adopted && adopted.error().code == Code::corrupt && as_read.retained > 0)
      adopted = co_await step_over(std::move(as_read), std::move(adopted.error()));
    CAIRN_CO_TRY(std::move(adopted));
    auto settled = co_await settle_appended();
    co_return settled;
  }
  // A device that may only add has written what is no head: the volume is what the last one before it says.
  env::Task<Status> step_over(RegisterState state, Error why);
  // Puts back what devices that may only add have taken out, before anything is built upon it.
  env::Task<Status> settle_appended();
  env::Task<Status> adopt(RegisterState state) {
    CAIRN_CO_TRY(mark_.check(state));
    if (auto parted = mark_.parted(state)) CAIRN_CO_TRY(co_await park(*parted));
    if (parked_ && !fork_) note_fork(state);
    if (state.now != 0) {
      witnessed_ = state.now;
      witnessed_at_ = world_.clock.now();
    }
    retained_ = state.retained;
    if (head_ && head_->state.sequence == state.sequence && head_->state.hash == state.hash &&
        head_->state.era() == state.era())
      co_return Status{};  // a force is no commit
    auto head = open_head(std::move(state), keys_);
    if (!head) co_return fail(std::move(head.error()), "head");
    head_ = std::move(*head);
    auto marked = co_await mark_.raise(head_->state);
    if (!marked) world_.log.warning("high_water_mark_not_written", "error={}", to_string(marked.error()));
    co_return Status{};
  }
  void note_fork(const RegisterState& state) {
    const RegisterState& was = parked_->state;
    fork_ = Fork{.sequence = was.sequence, .hash = was.hash};
    if (!state.forced.empty()) fork_->at = state.forced.back();
    world_.log.warning(
        "volume_forked",
        "text=\"commit {} ({}) that this device has seen is not in the volume: its keepers were given up and "
        "it went on from commit {}\"",
        was.sequence, was.hash.short_hex(), fork_->at.sequence);
  }
  // The head that was seen here last is not in the chain that the register went on with.
  env::Task<Status> park(const RegisterForced& at);
  env::Task<Status> join_fork();
  env::Task<Status> join_branch(const RegisterState& branch);
  // What one commit brings. `also`: packs that it needs beside those that the edits name.
  struct Parts {
    const EditMap& edits;
    const std::vector<pool::PackRef>& packs;
    int64_t files = 0, bytes = 0;
    const std::set<PackId>* also = nullptr;
  };
  // The tree of `base`, which is head_ or one of the same content, with the edits, and the swap to it. Errors of the
  // swap as the register gave them.
  env::Task<Result<RegisterState>> swap(HeadPtr base, Parts parts, BeforeSwap before);
  // One try of a commit upon head_: true when it is chosen, false when somebody else was first.
  env::Task<Result<bool>> try_commit(Parts parts);
  // Between tries against other writers: longer with each, so that many writers spread out.
  env::Task<void> stand_back(env::Prng& prng, int tried);
  env::Task<Result<bool>> read_back(uint64_t sequence, Error why);
  void forget(EditMap& edits, SnapshotItem snapshot);
  env::Task<Status> edit_snapshot(std::string name, std::optional<Bytes> details);
  env::Task<Result<SnapshotItem>> find_snapshot(std::string name) {
    auto value = co_await tree_.get(head_->root, snapshot_key(name));
    if (!value) co_return fail(std::move(value.error()));
    if (!*value) co_return fail(Code::not_found, "snapshot " + name);
    co_return decode_snapshot(**value);
  }
  std::string conflict_suffix(const Head& theirs) const;

  env::World world_;
  std::unique_ptr<PackIo> patient_;
  PackIo& packs_;
  HeadRegister& register_;
  content::VolumeKeys keys_;
  crypto::PrivateKey writer_;
  VolumeOptions options_;
  NodeCache cache_;
  Tree tree_;
  std::shared_ptr<ChunkReader> chunks_;
  InodeNumbers numbers_;
  HighWaterMark mark_;
  ForkNote fork_note_;
  std::optional<ParkedHead> parked_;
  std::optional<Fork> fork_;
  bool joining_ = false;
  env::Semaphore turn_;  // reading and swapping the head
  HeadPtr head_;
  // A commit whose fate could not be read back yet.
  std::optional<uint64_t> uncertain_;
  std::vector<Hash> uncertain_values_;
  WallTime witnessed_ = 0;  // the keepers' time at witnessed_at_
  Time witnessed_at_{};
  uint64_t retained_ = 0;  // heads that are yet to be looked through
  Hash settled_;           // of the head upon which that was done
  uint64_t packs_written_ = 0, commits_ = 0, merges_ = 0;
};

}  // namespace cairn::volume
