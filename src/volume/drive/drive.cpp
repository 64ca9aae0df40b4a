#include "volume/drive/drive.h"

#include "volume/drive/committer.h"
#include "volume/drive/limits.h"
#include "volume/drive/node_store.h"

namespace cairn::volume {

namespace {

// Of the folder. The chunk cache has its own.
std::string journal_folder(const std::string& folder) {
  return folder + "/journal";
}

class DriveImpl final : public Drive, public JournalSink {
 public:
  DriveImpl(env::World world, Volume& volume, DriveOptions options)
      : world_(world), host_(volume.host()), options_(std::move(options)) {}
  ~DriveImpl() override {
    if (committer_) committer_->stop();
    host_.set_node_store(nullptr);
  }

  env::Task<Status> start();

  FileSystem& files() override { return *files_; }
  void on_change(std::function<void(std::vector<Change>)> changed) override {
    committer_->on_change(std::move(changed));
  }
  env::Task<FsStatus> fsync() override {
    auto status = co_await journal_->sync(*staging_);
    if (status && options_.fsync_to_pool) status = co_await fsync_to_pool();
    if (!status) co_return std::unexpected(errno_of(status.error()));
    co_return FsStatus{};
  }
  env::Task<Status> sync(std::function<void(const DriveStatus&)> progress) override {
    std::function<void()> tell;
    if (progress) tell = [this, progress = std::move(progress)] { progress(status()); };
    auto status = co_await committer_->sync(std::move(tell));
    co_return status;
  }
  void set_space(SpaceReport space) override {
    space_ = space;
    uploaded_at_report_ = uploader_->uploaded_bytes();
    committer_->changed().notify_all();
  }
  SpaceReport space() const override { return space_; }
  DriveStatus status() const override {
    return {.pending_bytes = pending_->staged_bytes(),
            .pending_edits = pending_->active().size() + pending_->sealed().size(),
            .cache_bytes = staging_->disk_bytes() + chunks_->counters().disk_bytes,
            .cache_limit = options_.cache_bytes,
            .uploaded_bytes = uploader_->uploaded_bytes(),
            .commits = committer_->counters().commits,
            .conflicts = committer_->counters().conflicts,
            .head_sequence = pending_->base()->state.sequence,
            .pool_reachable = committer_->pool_reachable(),
            .last_error = committer_->last_error()};
  }
  env::Task<Status> refresh() override {
    auto status = co_await committer_->refresh();
    co_return status;
  }
  env::Task<Status> close() override {
    committer_->stop();
    CAIRN_CO_TRY(co_await chunks_->close());
    co_await nodes_->close();
    auto status = co_await journal_->sync(*staging_);
    co_return status;
  }

  // --- JournalSink ---
  Status record(uint64_t generation, const EditMap& edits, Figures figures) override {
    if (pending_->memory() > kEditsRefuse) {
      committer_->ask();
      return fail(Code::no_space, "too much is waiting to be committed");
    }
    CAIRN_TRY(journal_->record(generation, edits, figures));
    uploader_->note(edits);
    committer_->noted();
    return {};
  }

 private:
  env::Task<Status> fsync_to_pool();
  env::Task<Status> settle_candidate(JournalContent& content);
  env::Task<FsStatus> reserve(uint64_t bytes);
  env::Task<bool> fits(uint64_t bytes);

  env::World world_;
  VolumeHost& host_;
  DriveOptions options_;
  std::unique_ptr<env::DiskLock> lock_;
  std::unique_ptr<LocalNodes> nodes_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<SegmentStaging> staging_;
  std::unique_ptr<ChunkCache> chunks_;
  std::unique_ptr<Pending> pending_;
  std::unique_ptr<Uploader> uploader_;
  std::unique_ptr<FileSystem> files_;
  std::unique_ptr<Compactor> compactor_;
  std::unique_ptr<Committer> committer_;

  SpaceReport space_;
  uint64_t uploaded_at_report_ = 0;
  uint64_t below_goal_told_ = 0;  // packs below their goal that an fsync has failed for
  uint64_t available_ = 0;        // of the disk, when last looked
  Time available_at_{};
  uint64_t appended_then_ = 0;
  bool available_known_ = false;
};

env::Task<Status> DriveImpl::start() {
  auto locked = co_await world_.workers.run([&]() -> Result<std::unique_ptr<env::DiskLock>> {
    CAIRN_TRY(world_.disk.make_dirs(options_.folder));
    return world_.disk.lock(options_.folder + "/lock");
  });
  if (!locked) co_return fail(std::move(locked.error()));
  lock_ = std::move(*locked);
  nodes_ =
      co_await LocalNodes::open(world_, options_.folder + "/nodes", std::min(kLocalNodes, options_.cache_bytes / 8));
  host_.set_node_store(nodes_.get());
  auto journal = co_await Journal::open(world_, journal_folder(options_.folder), host_.keys());
  if (!journal) co_return fail(std::move(journal.error()));
  journal_ = std::move(*journal);
  JournalContent content = journal_->take_content();
  auto staging =
      co_await SegmentStaging::open(world_,
                                    {.folder = options_.folder + "/staging",
                                     .limit = options_.cache_bytes,
                                     .segment_size = std::min<uint64_t>(64 * kMiB, options_.cache_bytes / 8)},
                                    content.last_segment);
  if (!staging) co_return fail(std::move(staging.error()));
  staging_ = std::move(*staging);

  CAIRN_CO_TRY(co_await settle_candidate(content));
  const bool clean = content.sealed.empty() && content.active.empty() && content.candidate == nullptr;
  HeadPtr base = content.base;
  if (!clean && !base) co_return fail(Code::corrupt, "a journal without its head");
  if (clean && (!base || base->state.sequence <= host_.current()->state.sequence)) {
    base = host_.current();
    CAIRN_CO_TRY(co_await journal_->rebase(base, {}, {}, 1, {}));
  }
  pending_ = std::make_unique<Pending>(host_.tree(), host_.numbers(), base, this);
  pending_->on_staged([this](uint64_t segment, int64_t bytes) { staging_->use(segment, bytes); });
  std::optional<Pending::Batch> sealed;
  if (content.candidate) {
    pending_->restore(std::move(content.sealed), content.sealed_figures, content.sealed_generation);
    sealed = pending_->seal();
  }
  pending_->restore(std::move(content.active), content.active_figures, content.next_generation);

  const uint64_t disk_share = options_.cache_bytes - std::min(options_.cache_bytes, staging_->disk_bytes());
  chunks_ = make_chunk_cache(
      world_, host_.chunks(),
      {.memory_bytes = options_.memory_bytes, .folder = options_.folder + "/cache", .disk_bytes = disk_share});
  uploader_ = std::make_unique<Uploader>(host_, *staging_, *chunks_, pending_->active());
  options_.files.read_only = options_.files.read_only || options_.read_only;
  files_ = std::make_unique<FileSystem>(world_, *pending_, host_.numbers(), *staging_, *chunks_, options_.files);
  files_->set_reserve([this](uint64_t bytes) { return reserve(bytes); });
  FileHooks hooks{.exclusively = [this](auto work) { return files_->exclusively(std::move(work)); },
                  .is_open = [this](InodeId inode) { return files_->is_open(inode); },
                  .keep_open = [this](InodeId inode, EditMap items) { files_->keep_open(inode, std::move(items)); },
                  .content_changed = [this](InodeId inode) { files_->content_changed(inode); },
                  .compact = [this] { return compactor_->compact(); }};
  compactor_ = std::make_unique<Compactor>(world_, *pending_, *staging_, *chunks_,
                                           [this](auto work) { return files_->exclusively(std::move(work)); });
  committer_ = std::make_unique<Committer>(host_, *pending_, *journal_, *staging_, *uploader_, std::move(hooks),
                                           CommitterOptions{.read_only = options_.read_only,
                                                            .commit_after = options_.commit_after,
                                                            .commit_bytes = options_.commit_bytes,
                                                            .poll_head = options_.poll_head,
                                                            .timeout = options_.timeout});
  files_->on_closed([this](InodeId, uint64_t size) {
    if (size >= kCommitAtClose) committer_->ask();
  });
  if (sealed) committer_->restore(std::move(*sealed), std::move(content.candidate));
  committer_->start();
  co_return Status{};
}

// A commit stands on a quorum of holders; here the others are waited for too. What cannot get them is told once, as a
// disk's error is: the data is in the pool and in no danger from one more loss, but it is not what was asked for.
env::Task<Status> DriveImpl::fsync_to_pool() {
  auto synced =
      co_await env::with_deadline(world_.executor, world_.clock, world_.clock.now() + options_.timeout, sync({}));
  if (!synced) co_return synced;
  const uint64_t below = co_await host_.packs().settle();
  const uint64_t told = std::exchange(below_goal_told_, below);
  if (below <= told) co_return Status{};
  const std::string text = fmt::format("{} packs did not find all their holders", below - told);
  world_.log.warning("fsync_below_goal", "error=\"{}\"", text);
  co_return fail(Code::io, text);
}

// When the head that the volume has may tell, whether the candidate was chosen: staged bytes of what is in the pool may
// be gone, so it should not be shown from there.
env::Task<Status> DriveImpl::settle_candidate(JournalContent& content) {
  const HeadPtr head = host_.current();
  if (!content.candidate || head->state.sequence < content.candidate->state.sequence) co_return Status{};
  auto in_tree = co_await generation_in(host_, journal_->id(), head);
  if (!in_tree || *in_tree < content.sealed_generation) co_return Status{};
  content.base = base_after(content.candidate, head);
  auto status = co_await journal_->finish(content.sealed_generation, content.base, content.sealed, content.active);
  content.candidate = nullptr;
  content.sealed.clear();
  co_return status;
}

env::Task<bool> DriveImpl::fits(uint64_t bytes) {
  // Pending data has precedence: the cache gives way.
  const uint64_t limit = options_.cache_bytes - std::min(options_.cache_bytes / 8, kReserveSlack);
  const uint64_t taken = staging_->disk_bytes();
  if (taken + bytes > limit) co_return false;
  chunks_->set_disk_limit(options_.cache_bytes - taken);
  if (pending_->memory() > kEditsWait) co_return false;
  const Time now = world_.clock.now();
  if (!available_known_ || now - available_at_ >= kSpaceAge ||
      staging_->appended_bytes() - appended_then_ >= kSpaceBytes) {
    auto space = co_await world_.workers.run([&] { return world_.disk.space(options_.folder); });
    available_known_ = space.has_value();
    available_ = space ? space->available : UINT64_MAX;
    available_at_ = now;
    appended_then_ = staging_->appended_bytes();
  }
  co_return available_ >= options_.keep_free&& available_ - options_.keep_free >= bytes;
}

env::Task<FsStatus> DriveImpl::reserve(uint64_t bytes) {
  if (bytes > 0 && space_.total > 0 && committer_->pool_reachable()) {
    // The report does not know yet what was put there since, and what is on its way.
    const uint64_t since = uploader_->uploaded_bytes() - uploaded_at_report_ + pending_->staged_bytes();
    if (space_.free < since || space_.free - since < bytes) co_return fs_fail(ENOSPC);
  }
  for (;;) {
    if (bytes == 0 && pending_->memory() <= kEditsWait) co_return FsStatus{};
    const bool room = co_await fits(bytes);
    if (room) co_return FsStatus{};
    available_known_ = false;
    if (bytes == 0 && pending_->memory() <= kEditsWait) co_return FsStatus{};
    if (!committer_->frees_space()) co_return fs_fail(ENOSPC);
    committer_->ask_for_space();
    co_await committer_->changed().wait();
  }
}

}  // namespace

env::Task<Result<std::unique_ptr<Drive>>> Drive::open(env::World world, Volume& volume, DriveOptions options) {
  auto drive = std::make_unique<DriveImpl>(world, volume, std::move(options));
  CAIRN_CO_TRY(co_await drive->start());
  co_return drive;
}

env::Task<Result<std::optional<RegisterState>>> Drive::last_head(env::World world, std::string folder) {
  return Journal::last_head(world, journal_folder(folder));
}

}  // namespace cairn::volume
