#include "volume/drive/committer.h"

#include "volume/drive/limits.h"

namespace cairn::volume {

namespace {

// After somebody else was first: at most so long, grows with each.
constexpr Duration kConflictPause = std::chrono::milliseconds(20);
// How often a waiting sync() tells how far it is.
constexpr Duration kProgressPause = std::chrono::milliseconds(250);

std::string generation_value(uint64_t generation) {
  std::string value(8, '\0');
  write_le(reinterpret_cast<uint8_t*>(value.data()), generation);
  return value;
}

}  // namespace

env::Task<Result<uint64_t>> generation_in(VolumeHost& host, JournalId journal, HeadPtr head) {
  auto value = co_await host.tree().get(head->root, journal_key(journal));
  if (!value) co_return fail(std::move(value.error()));
  if (!*value) co_return 0;
  if ((*value)->size() != 8) co_return fail(Code::corrupt, "a journal's item");
  co_return read_le<uint64_t>(reinterpret_cast<const uint8_t*>((*value)->data()));
}

HeadPtr base_after(const HeadPtr& candidate, const HeadPtr& head) {
  const bool alone = candidate->root && head->root && candidate->root->chunk == head->root->chunk;
  return alone ? head : candidate;
}

Committer::Committer(VolumeHost& host, Pending& pending, Journal& journal, SegmentStaging& staging, Uploader& uploader,
                     FileHooks files, CommitterOptions options)
    : host_(host),
      world_(host.world()),
      pending_(pending),
      journal_(journal),
      staging_(staging),
      uploader_(uploader),
      files_(std::move(files)),
      options_(options),
      prng_(host.world().random.u64()),
      wake_(world_.executor),
      changed_(world_.executor),
      turn_(world_.executor, 1),
      group_(world_.executor) {}

void Committer::restore(Pending::Batch sealed, HeadPtr candidate) {
  batch_ = std::move(sealed);
  candidate_ = std::move(candidate);
}

void Committer::start() {
  if (pending_.has_active()) active_since_ = world_.clock.now();
  if (!options_.read_only) uploader_.start();
  group_.spawn(run());
  group_.spawn(poll());
}

void Committer::stop() {
  stopped_ = true;
  uploader_.stop();
  group_.cancel();
}

void Committer::noted() {
  const bool first = !active_since_;
  if (first) active_since_ = world_.clock.now();
  if (first || commit_due(world_.clock.now())) wake_.notify_all();
}

void Committer::ask() {
  if (pending_.has_active()) {
    asked_ = std::max(asked_, pending_.generation());
  } else if (batch_) {
    asked_ = std::max(asked_, batch_->generation);
  }
  wake_.notify_all();
}

void Committer::ask_for_space() {
  sweep_asked_ = true;
  ask();
}

bool Committer::moved() const {
  const RegisterState &base = pending_.base()->state, &now = host_.current()->state;
  return base.sequence != now.sequence || base.hash != now.hash;
}

bool Committer::commit_due(Time now) const {
  if (options_.read_only || !pending_.has_active()) return false;
  return asked_ >= pending_.generation() || (active_since_ && now >= *active_since_ + options_.commit_after) ||
         staging_.appended_bytes() - appended_at_seal_ >= options_.commit_bytes || pending_.memory() >= kEditsCommit;
}

bool Committer::frees_space() const {
  if (stopped_ || options_.read_only) return false;
  const bool reachable = failures_ == 0 || turn_.free() == 0;
  return (reachable && !pending_.clean()) || !staging_.unused().empty();
}

std::optional<Time> Committer::next_time() const {
  if (batch_ || moved()) return retry_at_;
  if (!pending_.has_active() || options_.read_only) return std::nullopt;
  if (!active_since_) return std::nullopt;
  return std::max(retry_at_, *active_since_ + options_.commit_after);
}

env::Task<void> Committer::wait(std::optional<Time> until) {
  if (!until) {
    co_await wake_.wait();
    co_return;
  }
  struct Timer {
    env::Clock& clock;
    env::TimerId id;
    ~Timer() { clock.cancel(id); }
  } timer{world_.clock, world_.clock.schedule(*until, [this] { wake_.notify_all(); })};
  co_await wake_.wait();
}

env::Task<void> Committer::run() {
  for (;;) {
    if (std::exchange(sweep_asked_, false) && !staging_.unused().empty()) {
      auto swept = co_await sweep();
      if (!swept) world_.log.warning("staging_not_swept", "error={}", to_string(swept.error()));
      changed_.notify_all();
    }
    const Time now = world_.clock.now();
    if (now < retry_at_ || !(batch_ || moved() || commit_due(now))) {
      co_await wait(next_time());
      continue;
    }
    Status status;
    {
      const auto turn = co_await turn_.acquire();
      status = co_await step();
    }
    if (status) {
      worked();
    } else {
      failed(status.error());
    }
    changed_.notify_all();
  }
}

void Committer::worked() {
  failures_ = 0;
  last_error_.clear();
}

void Committer::failed(const Error& error) {
  const int64_t doubled = kFirstRetry.count() << std::min<uint32_t>(failures_, 10);
  const int64_t most = std::min(doubled, kLongestRetry.count());
  ++failures_;
  retry_at_ = world_.clock.now() + Duration(most / 2 + static_cast<int64_t>(prng_.below(most / 2 + 1)));
  last_error_ = to_string(error);
  world_.log.warning("drive_commit_failed", "failures={} error={}", failures_, last_error_);
}

env::Task<void> Committer::poll() {
  for (;;) {
    co_await env::sleep_for(world_.clock, options_.poll_head);
    auto latest = co_await host_.latest();
    if (latest && !poll_worked_) retry_at_ = world_.clock.now();  // the pool is back
    poll_worked_ = latest.has_value();
    if (!latest && last_error_.empty()) last_error_ = to_string(latest.error());
    if (latest && failures_ == 0) last_error_.clear();
    if (!staging_.unused().empty() && pending_.clean()) sweep_asked_ = true;
    wake_.notify_all();
    changed_.notify_all();
  }
}

env::Task<Status> Committer::step() {
  Status status;
  if (batch_) {
    status = co_await find_out();
  } else if (moved()) {
    status = co_await follow();
  } else if (commit_due(world_.clock.now())) {
    status = co_await commit();
  }
  co_return status;
}

env::Task<Status> Committer::commit() {
  if (files_.compact && failures_ == 0 && staging_.appended_bytes() - appended_at_seal_ < options_.commit_bytes)
    co_await files_.compact();
  // Most of the bytes before anything is sealed, so that others' commits can still be followed meanwhile.
  if (uploader_.unsent(pending_.active()) > kEarlyUpload) {
    CAIRN_CO_TRY(co_await uploader_.upload(pending_.active()));
    if (moved() || !pending_.has_active()) co_return Status{};
  }
  batch_ = pending_.seal();
  candidate_ = nullptr;
  active_since_.reset();
  appended_at_seal_ = staging_.appended_bytes();
  Status status = co_await uploader_.upload(*batch_->edits);
  if (status && moved()) status = fail(Code::conflict);
  if (status) {
    auto placed = uploader_.place(*batch_->edits);
    if (placed) {
      placed->edits.insert_or_assign(journal_key(journal_.id()), generation_value(batch_->generation));
      batch_packs_ = placed->packs;
      CommitRequest request{.base = batch_->base,
                            .edits = &placed->edits,
                            .packs = std::move(placed->packs),
                            .files = batch_->figures.files,
                            .bytes = batch_->figures.bytes};
      auto head = co_await host_.commit_upon(std::move(request), [this](HeadPtr next) -> env::Task<Status> {
        auto kept = co_await journal_.candidate(batch_->generation, next);
        if (kept) candidate_ = std::move(next);
        co_return kept;
      });
      if (head) {
        co_await finish(std::move(*head));
        co_return Status{};
      }
      status = fail(std::move(head.error()));
    } else {
      status = fail(std::move(placed.error()));
    }
  }
  const bool conflict = status.error().code == Code::conflict;
  if (candidate_ && !conflict) co_return status;  // it may be chosen: find_out()
  unseal();
  if (!conflict) co_return status;
  ++counters_.conflicts;
  co_await env::sleep_for(world_.clock, Duration(static_cast<int64_t>(prng_.below(kConflictPause.count()))));
  co_return Status{};
}

// The sealed batch's fate stands in the tree.
env::Task<Status> Committer::find_out() {
  auto head = co_await host_.latest();
  if (!head) co_return fail(std::move(head.error()));
  auto in_tree = co_await generation_in(host_, journal_.id(), *head);
  if (!in_tree) co_return fail(std::move(in_tree.error()));
  if (*in_tree < batch_->generation) {
    unseal();
    co_return Status{};
  }
  co_await finish(base_after(candidate_, *head));
  co_return Status{};
}

env::Task<void> Committer::finish(HeadPtr base) {
  // Settled now, together: what is recorded from here on comes behind it.
  auto cleaned = journal_.finish(batch_->generation, base, *batch_->edits, pending_.active());
  const uint64_t generation = batch_->generation;
  pending_.committed(base);
  batch_.reset();
  candidate_ = nullptr;
  ++counters_.commits;
  uploader_.committed(std::exchange(batch_packs_, {}), base->state.sequence);
  const std::vector<uint64_t> unused = staging_.unused();
  // The commit stands whatever becomes of this: the journal tries again with its next write.
  auto status = co_await std::move(cleaned);
  committed_ = std::max(committed_, generation);
  changed_.notify_all();
  if (status && !unused.empty()) {
    auto gone = co_await staging_.remove(unused);
    uploader_.forget(gone);
  }
}

void Committer::unseal() {
  pending_.unseal();
  batch_.reset();
  candidate_ = nullptr;
  batch_packs_.clear();
  // It is due: it was before.
  if (pending_.has_active()) active_since_ = world_.clock.now() - options_.commit_after;
}

env::Task<Status> Committer::sweep() {
  const std::vector<uint64_t> unused = staging_.unused();
  CAIRN_CO_TRY(co_await journal_.sync(staging_));
  auto gone = co_await staging_.remove(unused);
  uploader_.forget(gone);
  co_return Status{};
}

env::Task<Status> Committer::sync(std::function<void()> progress) {
  const uint64_t target = pending_.has_active() ? pending_.generation() : batch_ ? batch_->generation : 0;
  retry_at_ = std::min(retry_at_, world_.clock.now());
  ask();
  // With no edits left a merge may have found that there is nothing to do.
  while (committed_ < target && (!pending_.clean() || turn_.free() == 0)) {
    if (progress) progress();
    struct Timer {
      env::Clock& clock;
      env::TimerId id;
      ~Timer() { clock.cancel(id); }
    } timer{world_.clock,
            world_.clock.schedule(world_.clock.now() + kProgressPause, [this] { changed_.notify_all(); })};
    co_await changed_.wait();
    if (stopped_) co_return fail(Code::cancelled, "the drive is closed");
  }
  if (progress) progress();
  co_return Status{};
}

env::Task<Status> Committer::refresh() {
  auto latest = co_await host_.latest();
  if (!latest) co_return fail(std::move(latest.error()));
  while (moved()) {
    const auto turn = co_await turn_.acquire();
    if (!moved()) break;
    if (batch_) CAIRN_CO_TRY(co_await find_out());
    if (moved()) CAIRN_CO_TRY(co_await follow());
  }
  co_return Status{};
}

}  // namespace cairn::volume
