#include "volume/volume.h"

#include "base/text.h"
#include "volume/appended.h"
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
#include "volume/tree_pack.h"

namespace cairn::volume {

namespace {

// Between tries against other writers: grows with each, so that many writers spread out.
constexpr Duration kConflictPause = std::chrono::milliseconds(10);
// Reading back a commit whose fate is unknown.
constexpr int kReadBackTries = 5;
constexpr Duration kReadBackPause = std::chrono::milliseconds(200);

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
        chunks_(std::make_shared<ChunkReader>(world, packs_, keys_, options_.deduplicates)),
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

std::string VolumeImpl::conflict_suffix(const Head& theirs) const {
  const NodeId& writer = theirs.state.writer;
  std::string node = options_.name_of_node ? options_.name_of_node(writer) : writer.short_hex();
  for (char& c : node) {
    if (c == '/' || c == '\0') c = '_';
  }
  std::string date = format_time(theirs.state.written);  // 2026-11-23T09:15:00Z
  date = date.substr(0, 19);
  for (char& c : date) c = c == 'T' ? ' ' : c == ':' ? '-' : c;
  return " (conflict from " + node.substr(0, 64) + " " + date + ")";
}

env::Task<Result<RegisterState>> VolumeImpl::swap(HeadPtr before, Parts parts, BeforeSwap before_swap) {
  auto named = packs_named_by(parts.edits);
  if (!named) co_return fail(std::move(named.error()));
  if (parts.also != nullptr) named->insert(parts.also->begin(), parts.also->end());
  auto taken_back = co_await secure_packs(tree_, packs_, before, std::move(*named), parts.packs);
  if (!taken_back) co_return fail(std::move(taken_back.error()));
  EditMap with;
  // `before` may have been read before the force.
  const RegisterState& now = head_->state;
  const bool forced = now.era() != 0 && before->state.sequence == now.forced.back().sequence;
  if (!taken_back->empty() || forced) with = parts.edits;
  for (auto& [key, value] : *taken_back) with.insert_or_assign(key, std::move(value));
  if (forced) {  // so that branches that are found later can be merged
    const std::string name = fork_base_name(now.era());
    with.insert_or_assign(snapshot_key(name),
                          encode_snapshot({.info = {.name = name, .created = world_.clock.wall_now(), .details = {}},
                                           .root = before->root,
                                           .tree_packs = before->tree_packs}));
  }
  const EditMap& edits = with.empty() ? parts.edits : with;
  std::vector<Edit> list;
  list.reserve(edits.size() + parts.packs.size() + before->tree_packs.size());
  EditMap records;
  for (const std::vector<pool::PackRef>* group : {&parts.packs, &before->tree_packs}) {
    for (const pool::PackRef& pack : *group) records.insert_or_assign(pack_key(pack.id), encode_pack_ref(pack));
  }
  auto record = records.begin();
  const auto take_records = [&](const std::string* upper) {
    for (; record != records.end() && (upper == nullptr || record->first < *upper); ++record) {
      list.push_back({record->first, record->second});
    }
  };
  for (const auto& [key, value] : edits) {
    take_records(&key);
    if (record != records.end() && record->first == key) ++record;
    list.push_back({key, value});
  }
  take_records(nullptr);

  TreePacks sink(world_, packs_, keys_, writer_, before->state.sequence, options_.compression_level);
  auto root = co_await tree_.apply(before->root, std::move(list), sink);
  if (!root) co_return fail(std::move(root.error()));
  CAIRN_CO_TRY(co_await sink.finish());
  packs_written_ += sink.packs().size();
  Head next;
  if (*root) next.root = sink.resolve(**root);
  next.tree_packs = sink.packs();
  const auto add = [](uint64_t value, int64_t change) {
    return change < 0 && value < static_cast<uint64_t>(-change) ? 0 : value + static_cast<uint64_t>(change);
  };
  next.files = add(before->files, parts.files);
  next.bytes = add(before->bytes, parts.bytes);
  Bytes content = seal_head(next, keys_, world_.random);
  if (before_swap) {
    next.state.sequence = before->state.sequence + 1;
    next.state.content = content;
    CAIRN_CO_TRY(co_await before_swap(std::make_shared<Head>(std::move(next))));
  }
  RegisterState expected = before->state;
  expected.settled = !options_.append_only && (retained_ == 0 || settled_ == expected.hash);
  auto written = co_await register_.write(std::move(expected), std::move(content));
  if (written) {
    for (TreePacks::Fresh& node : sink.take_fresh()) cache_.add(node.ref, std::move(node.plain));
  }
  co_return written;
}

env::Task<Result<bool>> VolumeImpl::try_commit(Parts parts) {
  const uint64_t sequence = head_->state.sequence + 1;
  auto written = co_await swap(head_, parts, {});
  if (written) {
    CAIRN_CO_TRY(co_await adopt(std::move(*written)));
    co_return true;
  }
  if (written.error().code == Code::conflict) {
    CAIRN_CO_TRY(co_await read_head());
    co_return false;
  }
  if (written.error().code != Code::unknown_outcome) co_return fail(std::move(written.error()));
  uncertain_ = sequence;
  uncertain_values_ = register_.attempted();
  auto chosen = co_await read_back(sequence, std::move(written.error()));
  co_return chosen;
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

env::Task<Result<bool>> VolumeImpl::read_back(uint64_t sequence, Error why) {
  for (int i = 0; i < kReadBackTries; ++i) {
    if (i > 0) co_await env::sleep_for(world_.clock, kReadBackPause * (1 << i));
    auto state = co_await register_.read();
    if (!state) {
      why.context = state.error().context;
      continue;
    }
    bool chosen = false;
    for (const Hash& hash : uncertain_values_)
      chosen = chosen || chain_contains(*state, sequence, hash).value_or(false);
    CAIRN_CO_TRY(co_await adopt(std::move(*state)));
    uncertain_.reset();
    co_return chosen;
  }
  co_return fail(Code::unknown_outcome, "the commit may be in the pool or not: " + why.context);
}

env::Task<Result<HeadPtr>> VolumeImpl::commit_upon(CommitRequest request, BeforeSwap before) {
  const auto turn = co_await turn_.acquire();
  const RegisterState& base = request.base->state;
  if (base.sequence != head_->state.sequence || base.hash != head_->state.hash) co_return fail(Code::conflict);
  packs_written_ += request.packs.size();
  const Parts parts{*request.edits, request.packs, request.files, request.bytes};
  auto written = co_await swap(request.base, parts, std::move(before));
  if (!written) {
    if (written.error().code == Code::conflict) CAIRN_CO_TRY(co_await read_head());
    co_return fail(std::move(written.error()));
  }
  CAIRN_CO_TRY(co_await adopt(std::move(*written)));
  ++commits_;
  co_return head_;
}

env::Task<Result<Committed>> VolumeImpl::commit(CommitRequest request) {
  const auto turn = co_await turn_.acquire();
  Committed done;
  packs_written_ += request.packs.size();
  if (uncertain_) {
    auto chosen = co_await read_back(*uncertain_, {Code::unknown_outcome, ""});
    if (!chosen) co_return fail(std::move(chosen.error()));
    // Merging edits that are there already changes nothing, so it need not be known whose they were.
  }
  env::Prng prng(world_.random.u64());
  for (int i = 0; i < kCommitTries; ++i) {
    if (i > 0) {
      const auto pause = kConflictPause * static_cast<int64_t>(1 + prng.below(1ULL << std::min(i, 7)));
      co_await env::sleep_for(world_.clock, pause);
    }
    const bool moved = head_->state.sequence != request.base->state.sequence;
    if (request.edits->empty() && request.packs.empty()) {
      done.head = head_;
      done.outcome.sequence = head_->state.sequence;
      done.outcome.hash = head_->state.hash;
      co_return done;
    }
    MergeResult merged;
    if (moved) {
      auto result = co_await merge_upon(request.base, head_, request.edits);
      if (!result) co_return fail(std::move(result.error()));
      merged = std::move(*result);
    }
    auto chosen = co_await try_commit({moved ? merged.edits : *request.edits, request.packs,
                                       request.files + merged.files, request.bytes + merged.bytes});
    if (!chosen) co_return fail(std::move(chosen.error()));
    if (!*chosen) continue;
    ++commits_;
    done.head = head_;
    done.outcome.sequence = head_->state.sequence;
    done.outcome.hash = head_->state.hash;
    done.outcome.conflicts = merged.conflict_names.size();
    done.outcome.conflict_names = std::move(merged.conflict_names);
    co_return done;
  }
  co_return fail(Code::conflict, "other writers were always first; try again");
}

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
    if (i > 0) {
      const auto pause = kConflictPause * static_cast<int64_t>(1 + prng.below(1ULL << std::min(i, 7)));
      co_await env::sleep_for(world_.clock, pause);
    }
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

}  // namespace

env::Task<Result<std::unique_ptr<Volume>>> Volume::open(env::World world, PackIo& packs, HeadRegister& head,
                                                        content::VolumeKeys keys, crypto::PrivateKey writer,
                                                        VolumeOptions options) {
  auto volume = std::make_unique<VolumeImpl>(world, packs, head, keys, std::move(writer), std::move(options));
  CAIRN_CO_TRY(co_await volume->start());
  co_return volume;
}

}  // namespace cairn::volume
