#include <algorithm>

#include "backup/archiver_impl.h"

namespace cairn::backup {

using volume::DirectoryEntry;
using volume::FileType;
using volume::Inode;
using volume::InodeId;

Result<std::vector<Record>> records_of(const std::vector<volume::SnapshotInfo>& snapshots) {
  std::vector<Record> records;
  for (const volume::SnapshotInfo& info : snapshots) {
    if (!SnapshotId::from_hex_text(info.name)) continue;
    auto record = decode_record(info.name, info.details);
    if (!record) return fail(std::move(record.error()));
    records.push_back(std::move(*record));
  }
  return records;
}

env::Task<Result<ArchiveResult>> Archiver::Impl::run() {
  record_.id = world_.random.id<SnapshotId>();
  record_.summary.backup_start = world_.clock.wall_now();
  if (record_.time == 0) {
    record_.time = record_.summary.backup_start;
    record_.from_clock = true;
  }
  CAIRN_CO_TRY(co_await choose_base());
  auto writer = co_await volume_.begin_snapshot(base_.is_zero() ? std::nullopt : std::optional(base_.hex()));
  if (!writer) co_return fail(std::move(writer.error()));
  writer_ = std::move(*writer);
  base_view_.emplace(writer_->base());
  const ChunkId root_before = writer_->root();
  last_save_ = world_.clock.now();

  auto root = std::make_shared<Level>();
  root->inode = volume::kRootInode;
  root->root = true;
  root->before = volume::empty_root();
  levels_ = {root};
  CAIRN_CO_TRY(co_await walk());
  if (record_.summary.total_files_processed == 0 && seen_ == 0 && errors_ > 0)
    co_return fail(Code::not_found, "nothing of what was named could be read");
  {
    std::vector<Action> last;
    CAIRN_CO_TRY(co_await rest_is_gone(root, last));
    CAIRN_CO_TRY(co_await apply(std::move(last)));
  }
  CAIRN_CO_TRY(co_await settle_links());

  ArchiveResult result;
  if (!options_.dry_run) {
    const bool unchanged = !from_partial_ && !base_.is_zero() && writer_->files().empty() && errors_ == 0 &&
                           writer_->root() == root_before;
    if (!(options_.skip_if_unchanged && unchanged)) {
      CAIRN_CO_TRY(co_await save(false));
      result.saved = true;
    }
  } else {
    record_.summary.backup_end = world_.clock.wall_now();
  }
  result.record = record_;
  result.tree = writer_->root();
  result.errors = errors_;
  result.resumed_files = from_partial_ ? record_.summary.files_unmodified : 0;
  co_return result;
}

env::Task<Status> Archiver::Impl::choose_base() {
  CAIRN_CO_TRY(co_await volume_.refresh());
  auto snapshots = co_await volume_.snapshots();
  if (!snapshots) co_return fail(std::move(snapshots.error()));
  auto records = records_of(*snapshots);
  if (!records) co_return fail(std::move(records.error()));
  const Record* newest = nullptr;
  for (const Record& record : *records) {
    if (record.host != record_.host || record.paths != record_.paths || record.set != record_.set) continue;
    if (record.partial) partials_.push_back(record.id.hex());
    if (newest == nullptr || std::pair(newest->time, newest->id) < std::pair(record.time, record.id)) newest = &record;
  }
  if (options_.parent) {
    const auto given = std::ranges::find(*records, *options_.parent, &Record::id);
    if (given == records->end()) co_return fail(Code::not_found, "the parent snapshot");
    base_ = given->id;
    from_partial_ = given->partial;
    record_.parent = given->id;
    co_return Status{};
  }
  if (newest == nullptr) co_return Status{};
  base_ = newest->id;
  from_partial_ = newest->partial;
  record_.parent = newest->partial ? newest->parent : newest->id;
  if (options_.force) record_.parent = {};
  co_return Status{};
}

env::Task<Status> Archiver::Impl::walk() {
  using Events = std::vector<ScanEvent>;
  Events events = co_await world_.workers.run([&] { return source_.next(); });
  while (!events.empty()) {
    // The next batch is walked while this one is compared and stored.
    env::OneShot<Events> ahead(world_.executor);
    env::TaskGroup walking(world_.executor);
    walking.spawn([](env::Workers& workers, Source& source, env::OneShot<Events> out) -> env::Task<void> {
      out.set(co_await workers.run([&] { return source.next(); }));
    }(world_.workers, source_, ahead));
    std::vector<Action> actions;
    for (ScanEvent& event : events) {
      auto planned = co_await plan(std::move(event), actions);
      if (!planned) co_return planned;
    }
    if (options_.dry_run) {
      tell();
    } else {
      auto done = co_await apply(std::move(actions));
      if (!done) co_return done;
    }
    events = co_await ahead;
  }
  co_return Status{};
}

env::Task<Status> Archiver::Impl::load_page(Level& level) {
  if (level.ended || level.at < level.entries.size()) co_return Status{};
  const std::string after = level.entries.empty() ? std::string() : level.entries.back().name;
  auto entries = co_await base_view_->list(level.inode, after, kListPage);
  if (!entries) co_return fail(std::move(entries.error()));
  level.entries = std::move(*entries);
  level.at = 0;
  level.ended = level.entries.empty();
  std::vector<InodeId> ids;
  ids.reserve(level.entries.size());
  for (const DirectoryEntry& entry : level.entries) ids.push_back(entry.inode);
  auto inodes = co_await base_view_->inodes(std::move(ids));
  if (!inodes) co_return fail(std::move(inodes.error()));
  level.inodes = std::move(*inodes);
  co_return Status{};
}

env::Task<Result<std::optional<Known>>> Archiver::Impl::find(LevelPtr level, std::string name,
                                                             std::vector<Action>& actions) {
  if (!level->before) co_return std::nullopt;
  for (;;) {
    CAIRN_CO_TRY(co_await load_page(*level));
    if (level->ended || level->entries[level->at].name > name) co_return std::nullopt;
    const size_t at = level->at++;
    if (level->entries[at].name == name) {
      std::optional<Inode>& inode = level->inodes[at];
      if (!inode) co_return fail(Code::damaged, "the parent snapshot has a name and not the file");
      co_return Known{level->entries[at].inode, std::move(*inode)};
    }
    Action gone{.kind = Action::Kind::remove, .level = level, .above = {}, .known = {}, .detail = {}, .name = {}};
    gone.name = level->entries[at].name;
    actions.push_back(std::move(gone));
  }
}

env::Task<Status> Archiver::Impl::rest_is_gone(LevelPtr level, std::vector<Action>& actions) {
  // No name is longer, so this one comes after all that are there.
  auto none = co_await find(std::move(level), std::string(volume::kMaxNameSize + 1, '\xff'), actions);
  if (!none) co_return fail(std::move(none.error()));
  co_return Status{};
}

env::Task<Status> Archiver::Impl::plan(ScanEvent event, std::vector<Action>& actions) {
  switch (event.kind) {
    case ScanEvent::Kind::failed:
      if (options_.errors_end) co_return fail(std::move(event.error), printable_path(event.entry.path));
      failed(event.entry.path, event.error);
      co_return Status{};
    case ScanEvent::Kind::leave: {
      const LevelPtr level = levels_.back();
      levels_.pop_back();
      CAIRN_CO_TRY(co_await rest_is_gone(level, actions));
      Action leave{.kind = Action::Kind::leave, .level = level, .above = {}, .known = {}, .detail = {}, .name = {}};
      leave.detail_wanted = !level->before || level->before->ctime != level->about.ctime ||
                            level->before->mtime != level->about.mtime || options_.force;
      leave.detail.entry = level->about;
      actions.push_back(std::move(leave));
      co_return Status{};
    }
    case ScanEvent::Kind::enter:
    case ScanEvent::Kind::entry:
      break;
  }
  if (!event.on_the_way) ++seen_;
  const LevelPtr above = levels_.back();
  auto known = co_await find(above, event.entry.name, actions);
  if (!known) co_return fail(std::move(known.error()), printable_path(event.entry.path));
  if (event.kind == ScanEvent::Kind::enter) {
    auto level = std::make_shared<Level>();
    level->about = std::move(event.entry);
    if (*known && (*known)->inode.is_directory()) {
      level->inode = (*known)->id;
      level->before = std::move((*known)->inode);
    } else {
      Action make{.kind = Action::Kind::make, .level = level, .above = above, .known = {}, .detail = {}, .name = {}};
      make.known = std::move(*known);
      actions.push_back(std::move(make));
    }
    levels_.push_back(std::move(level));
    co_return Status{};
  }

  const SourceEntry& entry = event.entry;
  const bool is_file = entry.type == FileType::file;
  Summary& summary = record_.summary;
  if (is_file) {
    ++summary.total_files_processed;
    summary.total_bytes_processed += entry.size;
  }
  if (*known && !options_.force && unchanged((*known)->inode, entry)) {
    if (is_file) {
      ++summary.files_unmodified;
      item(entry.path, "unchanged", entry.size);
    }
    if (entry.links > 1 || (*known)->inode.links > 1) remember_link(entry, (*known)->id);
    done_with(entry);
    co_return Status{};
  }
  if (is_file && (!*known || options_.force)) ++summary.files_new;
  if (is_file && *known && !options_.force) ++summary.files_changed;
  item(entry.path, *known ? "modified" : "new", is_file ? entry.size : 0);
  if (options_.dry_run) {
    if (is_file) summary.data_added += entry.size;
    done_with(entry);
    co_return Status{};
  }
  Action put{.kind = Action::Kind::put, .level = above, .above = {}, .known = {}, .detail = {}, .name = {}};
  put.known = std::move(*known);
  put.detail.entry = std::move(event.entry);
  put.detail_wanted = true;
  actions.push_back(std::move(put));
  co_return Status{};
}

Archiver::Archiver(env::World world, volume::Volume& volume, Source& source, ArchiveOptions options)
    : impl_(std::make_unique<Impl>(world, volume, source, std::move(options))) {}
Archiver::~Archiver() = default;

env::Task<Result<ArchiveResult>> Archiver::run() {
  return impl_->run();
}

}  // namespace cairn::backup
