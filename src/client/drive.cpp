// The public Drive over Core and volume::Drive.

#include "client/drive.h"

#include "pool/limits.h"
#include "volume/collect.h"
#include "volume/drive/errno.h"

namespace cairn {

namespace {

// Space and status of the pool change slowly; a `df` may be this old.
constexpr Duration kLateLook = std::chrono::milliseconds(500);  // for calls whose time is over
constexpr Duration kSpaceEvery = std::chrono::seconds(5);
constexpr Duration kSnapshotsEvery = std::chrono::seconds(2);  // a read of the head at its keepers
// The space of what was removed comes back by itself: a walk over the tree's inner nodes each day, and what it finds.
constexpr Duration kFirstPrune = std::chrono::hours(1);
constexpr Duration kPruneEvery = std::chrono::hours(24);
// Between steps in which packs are written anew for the sake of their code (client/rebalance.h).
constexpr Duration kRecodeAgain = std::chrono::minutes(10);

}  // namespace

Drive::Drive(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Drive::~Drive() {
  impl_->close();
}

Result<std::unique_ptr<Drive>> Drive::open(const DriveOptions& options) {
  auto core = client::Core::open({.home = options.home, .log_level = options.log_level});
  if (!core) return fail(std::move(core.error()));
  auto impl = std::make_unique<Impl>(std::move(*core), options);
  auto opened = impl->core->run<void>([&] { return impl->open(); }, client::Core::Refused::goes_on);
  std::unique_ptr<Drive> drive(new Drive(std::move(impl)));
  if (!opened) return fail(std::move(opened.error()));
  return drive;
}

Drive::Impl::Impl(std::unique_ptr<client::Core> opened, DriveOptions wanted)
    : core(std::move(opened)),
      options(std::move(wanted)),
      world(core->world()),
      calls(world.clock),
      background(std::make_unique<env::TaskGroup>(world.executor)) {}

env::Task<Status> Drive::Impl::open() {
  background->spawn(end_late_calls());
  if (options.snapshots) co_return co_await open_snapshots();
  // Without the pool the volume opens as this journal last knew it.
  auto settled = co_await core->settle();
  auto open = co_await core->open_volume(
      options.volume, true, [this](const volume::VolumeEntry& entry, volume::VolumeOptions& how) -> env::Task<Status> {
        folder = options.cache_dir.empty() ? core->home().file("drives") : options.cache_dir;
        folder += "/" + entry.volume.hex();
        if (options.read_only) folder += "-ro-" + options.distinct;
        auto head = co_await volume::Drive::last_head(world, folder);
        if (!head) co_return fail(std::move(head.error()));
        how.last_head = std::move(*head);
        how.read_patience = options.timeout;
        how.depth = volume::kSparing;
        co_return Status{};
      });
  if (!open && open.error().code == Code::not_found) co_return co_await open_snapshots();  // of that name?
  if (!open) co_return fail(std::move(open.error()));
  volume_ = *open;
  if (settled) co_await core->adapt_keepers(*volume_);
  volume::DriveOptions drive_options{.folder = folder,
                                     .cache_bytes = options.cache_bytes,
                                     .read_only = options.read_only,
                                     .fsync_to_pool = options.fsync_to_pool,
                                     .timeout = options.timeout};
  drive_options.files.read_only = options.read_only;
  drive_options.files.relatime = options.access_times;
  drive_options.files.root_owner = client::this_user();
  auto made = co_await volume::Drive::open(world, *volume_->volume, drive_options);
  if (!made) co_return fail(std::move(made.error()));
  drive = std::move(*made);
  files = &drive->files();
  set_space();
  background->spawn(keep_space());
  if (!options.read_only) background->spawn(prune_now_and_then());
  co_return Status{};
}

// All of the volume, or the one that is called so.
env::Task<Status> Drive::Impl::open_snapshots() {
  auto settled = co_await core->settle();
  if (!settled) co_return fail(std::move(settled.error()));
  auto opened = co_await client::open_snapshot_files(*core, options.volume, options.snapshots);
  if (!opened) co_return fail(std::move(opened.error()), "no volume and no snapshot of this name");
  snapshots = std::move(*opened);
  options.read_only = true;
  set_space();
  background->spawn(keep_space());
  if (options.snapshots) background->spawn(follow_snapshots());
  co_return Status{};
}

env::Task<void> Drive::Impl::follow_snapshots() {
  while (true) {
    co_await env::sleep_for(world.clock, kSnapshotsEvery);
    auto changed = co_await snapshots->follow();
    if (!changed) {
      world.log.warning("snapshots_not_followed", "error={}", to_string(changed.error()));
      continue;
    }
    if (changed->empty() || !folders_changed) continue;
    std::vector<DriveChange> told;
    for (std::string& name : *changed)
      told.push_back({.kind = DriveChange::Kind::entry, .inode = volume::kRootInode, .name = std::move(name)});
    folders_changed(std::move(told));
  }
}

void Drive::Impl::close() {
  closing = true;
  auto closed = core->run<void>(
      [this]() -> env::Task<Status> {
        calls.interrupt_all();
        watches.clear();
        background->cancel();
        snapshots.reset();
        if (!drive) co_return Status{};
        auto done = co_await drive->close();
        drive.reset();
        co_return done;
      },
      client::Core::Refused::goes_on);
  if (!closed) world.log.error("drive_not_closed", "error={}", to_string(closed.error()));
}

// What the nodes that are alive have and could take, in bytes of files.
void Drive::Impl::set_space() {
  uint64_t total = 0, free = 0;
  for (const peer::NodeInfo& node : core->peers().membership().nodes()) {
    if (!node.lends || core->peers().state(node.id) != peer::NodeState::alive) continue;
    total += std::min(node.limit, node.used + node.free);
    free += node.free;
  }
  const content::PackGeometry geometry = core->pool().geometry_now();
  const double share =
      geometry.k == 0 ? 0 : static_cast<double>(geometry.k) / static_cast<double>(geometry.k + geometry.m);
  const volume::SpaceReport space{.total = static_cast<uint64_t>(static_cast<double>(total) * share),
                                  .free = static_cast<uint64_t>(static_cast<double>(free) * share),
                                  .files = volume_ != nullptr ? volume_->volume->head().files : 0};
  drive ? drive->set_space(space) : void(space_ = space);
}

env::Task<void> Drive::Impl::end_late_calls() {
  while (true) {
    co_await env::sleep_for(world.clock, kLateLook);
    if (const size_t late = calls.expire(); late > 0)
      world.log.warning("reads_timed_out", "errno=EHOSTUNREACH count={}", late);
  }
}

env::Task<void> Drive::Impl::keep_space() {
  while (true) {
    co_await env::sleep_for(world.clock, kSpaceEvery);
    set_space();
    domains_.look(core->pool().goal().domains, world.clock.now());
  }
}

env::Task<void> Drive::Impl::prune_now_and_then() {
  for (Duration pause = kFirstPrune;;) {
    co_await env::sleep_for(world.clock, pause);
    pause = kPruneEvery;
    volume::CollectOptions collect{.max_recode_bytes = client::kRecodeStep, .copy_rate = pool::kMoveRate};
    if (domains_.settled(world.clock.now())) collect.recode = volume::Recode::all;
    auto done = co_await volume::collect_garbage(volume_->volume->host(), collect);
    if (!done) {
      world.log.warning("not_pruned", "error={}", to_string(done.error()));
    } else if (done->dead_packs + done->copied_packs > 0) {
      world.log.info("pruned", "packs={} bytes={} taken_apart={}", done->dead_packs, done->dead_bytes,
                     done->copied_packs);
    }
    // Another step of the same, behind; unless none is to be had.
    if (done && done->recoded_packs > 0 && done->unfit_packs > 0) pause = kRecodeAgain;
    co_await core->adapt_keepers(*volume_);
  }
}

DriveStatus Drive::Impl::status() const {
  DriveStatus status{.volume = options.volume, .journal = folder, .read_only = options.read_only};
  if (!drive) return status;
  return describe(drive->status(), std::move(status));
}

DriveStatus Drive::Impl::describe(const volume::DriveStatus& now, DriveStatus status) const {
  status.pending_bytes = now.pending_bytes;
  status.pending_edits = now.pending_edits;
  status.cache_bytes = now.cache_bytes;
  status.cache_limit = now.cache_limit;
  status.uploaded_bytes = now.uploaded_bytes;
  status.commits = now.commits;
  status.conflicts = now.conflicts;
  status.head_sequence = now.head_sequence;
  status.pool_reachable = now.pool_reachable;
  status.last_error = now.last_error;
  return status;
}

void Drive::interrupt(Ticket ticket) {
  if (ticket == 0) return;
  if (impl_->core->on_strand()) return impl_->calls.interrupt(ticket);
  impl_->world.executor.post([impl = impl_.get(), ticket] { impl->calls.interrupt(ticket); });
}

DriveStatus Drive::status() {
  if (impl_->core->on_strand()) return impl_->status();
  auto status = impl_->core->run<DriveStatus>([this]() -> env::Task<Result<DriveStatus>> { co_return impl_->status(); },
                                              client::Core::Refused::goes_on);
  return status ? std::move(*status) : DriveStatus{};
}

void Drive::on_change(std::function<void(std::vector<DriveChange>)> changed) {
  impl_->world.executor.post([impl = impl_.get(), tell = std::move(changed)]() mutable {
    if (impl->snapshots) impl->folders_changed = std::move(tell);
    if (!impl->drive) return;
    if (!tell) return impl->drive->on_change([](const std::vector<volume::Change>&) {});
    impl->drive->on_change([tell = std::move(tell)](std::vector<volume::Change> changes) {
      std::vector<DriveChange> told;
      told.reserve(changes.size());
      for (volume::Change& change : changes) {
        told.push_back({.kind = static_cast<DriveChange::Kind>(change.kind),
                        .inode = change.inode,
                        .name = std::move(change.name)});
      }
      tell(std::move(told));
    });
  });
}
static_assert(static_cast<int>(DriveChange::Kind::content) == static_cast<int>(volume::Change::Kind::content) &&
              static_cast<int>(DriveChange::Kind::attributes) == static_cast<int>(volume::Change::Kind::attributes) &&
              static_cast<int>(DriveChange::Kind::entry) == static_cast<int>(volume::Change::Kind::entry));

void Drive::post(std::move_only_function<void()> work) {
  impl_->world.executor.post(std::move(work));
}

void Drive::watch(int descriptor, std::move_only_function<bool()> readable) {
  impl_->world.executor.post([impl = impl_.get(), descriptor, call = std::move(readable)]() mutable {
    if (impl->closing) return;
    impl->watches.push_back(std::make_unique<os::Readable>(impl->core->loop(), descriptor, std::move(call)));
  });
}

}  // namespace cairn
