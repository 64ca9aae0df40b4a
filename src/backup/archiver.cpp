#include "backup/archiver.h"

#include <algorithm>
#include <map>

#include "backup/selection.h"

namespace cairn::backup {

namespace {

using volume::DirectoryEntry;
using volume::FileType;
using volume::Inode;
using volume::InodeId;

// Errors of one file are noted and the work goes on; what concerns the pool ends it.
bool ends_the_work(const Error& error) {
  switch (error.code) {
    case Code::too_few_peers:
    case Code::no_space:
    case Code::unreachable:
    case Code::timeout:
    case Code::closed:
    case Code::unknown_outcome:
    case Code::denied:
    case Code::corrupt:
    case Code::damaged:
    case Code::interrupted:
      return true;
    default:
      return false;
  }
}

// What the parent snapshot has under a name.
struct Known {
  InodeId id = 0;
  Inode inode;
};

// A folder that the walk is in, beside the same folder of the parent snapshot.
struct Level {
  SourceEntry about;
  InodeId inode = 0;            // zero until it is made
  std::optional<Inode> before;  // none: it is new, nothing of the parent is below it
  bool dirty = false;           // an entry was put or taken away, so its times are not the source's now
  bool root = false;            // of the snapshot: stands for no folder

  // The parent's entries, page by page.
  std::vector<DirectoryEntry> entries;
  std::vector<std::optional<Inode>> inodes;
  size_t at = 0;
  bool ended = false;
};
using LevelPtr = std::shared_ptr<Level>;

// Something to be done to the new tree.
struct Action {
  enum class Kind : uint8_t { make, put, leave, remove } kind = Kind::put;
  LevelPtr level;  // make: the one to be made
  LevelPtr above;  // make: where
  std::optional<Known> known;
  Detail detail;  // put, and leave of a folder that changed
  bool detail_wanted = false;
  std::string name;  // remove
};

}  // namespace

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

class Archiver::Impl {
 public:
  Impl(env::World world, volume::Volume& volume, Source& source, ArchiveOptions options)
      : world_(world), volume_(volume), source_(source), options_(std::move(options)), record_(options_.about) {}

  env::Task<Result<ArchiveResult>> run() {
    record_.id = world_.random.id<SnapshotId>();
    record_.summary.backup_start = world_.clock.wall_now();
    if (record_.time == 0) record_.time = record_.summary.backup_start;
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

 private:
  // The snapshot whose tree the new one begins as.
  env::Task<Status> choose_base() {
    CAIRN_CO_TRY(co_await volume_.refresh());
    auto snapshots = co_await volume_.snapshots();
    if (!snapshots) co_return fail(std::move(snapshots.error()));
    auto records = records_of(*snapshots);
    if (!records) co_return fail(std::move(records.error()));
    const Record* newest = nullptr;
    for (const Record& record : *records) {
      if (record.host != record_.host || record.paths != record_.paths || record.set != record_.set) continue;
      if (record.partial) partials_.push_back(record.id.hex());
      if (newest == nullptr || std::pair(newest->time, newest->id) < std::pair(record.time, record.id))
        newest = &record;
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

  // --- the walk ---

  env::Task<Status> walk() {
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

  void failed(const std::string& path, const Error& error) {
    ++errors_;
    ++progress_.errors;
    if (options_.on_error) options_.on_error(path, error);
  }
  // Noted, and no error: what was read is stored.
  void note_change(const std::string& path) {
    if (options_.on_error)
      options_.on_error(path, {Code::conflict, "it changed while it was read; what was read is stored"});
  }
  void item(const std::string& path, const char* what, uint64_t size) {
    if (options_.on_item) options_.on_item(path, what, size);
  }
  void tell() {
    if (options_.on_progress) options_.on_progress(progress_);
  }

  env::Task<Status> load_page(Level& level) {
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

  // What the parent has under the name; what it has before that name is gone.
  env::Task<Result<std::optional<Known>>> find(LevelPtr level, std::string name, std::vector<Action>& actions) {
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
  env::Task<Status> rest_is_gone(LevelPtr level, std::vector<Action>& actions) {
    // No name is longer, so this one comes after all that are there.
    auto none = co_await find(std::move(level), std::string(volume::kMaxNameSize + 1, '\xff'), actions);
    if (!none) co_return fail(std::move(none.error()));
    co_return Status{};
  }

  bool unchanged(const Inode& before, const SourceEntry& now) const {
    return before.type == now.type && before.mtime == now.mtime && before.size == size_of(now) &&
           (options_.ignore_ctime || before.ctime == now.ctime) &&
           (options_.ignore_inode || before.source_inode == now.inode);
  }
  // As an inode has it: none for folders and devices.
  static uint64_t size_of(const SourceEntry& entry) {
    return entry.type == FileType::file || entry.type == FileType::symlink ? entry.size : 0;
  }

  env::Task<Status> plan(ScanEvent event, std::vector<Action>& actions) {
    switch (event.kind) {
      case ScanEvent::Kind::failed:
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

  void done_with(const SourceEntry& entry) {
    if (entry.type == FileType::file) {
      ++progress_.files_done;
      progress_.bytes_done = bytes_before_ += entry.size;
    }
  }
  static std::string printable_path(const std::string& path) { return is_utf8(path) ? path : "a file"; }
  static bool is_utf8(const std::string& text) { return volume::is_utf8(text); }

  // --- changes ---

  // In groups: the details of the next one are read while one is stored.
  env::Task<Status> apply(std::vector<Action> actions) {
    using Group = std::pair<size_t, size_t>;
    std::vector<Group> groups;
    uint64_t bytes = 0;
    for (size_t i = 0, begin = 0; i < actions.size(); ++i) {
      const SourceEntry& entry = actions[i].detail.entry;
      if (actions[i].detail_wanted && entry.type == FileType::file && entry.size <= kSmallFile) bytes += entry.size;
      if (i + 1 == actions.size() || i + 1 - begin >= kDetailBatch || bytes >= kDetailBytes) {
        groups.emplace_back(begin, i + 1);
        begin = i + 1;
        bytes = 0;
      }
    }
    if (groups.empty()) {
      tell();
      co_return Status{};
    }
    const auto read = [&](Group group) {
      return world_.workers.run([this, &actions, group] {
        std::vector<Detail> wanted;
        for (size_t i = group.first; i < group.second; ++i) {
          if (actions[i].detail_wanted) wanted.push_back(std::move(actions[i].detail));
        }
        source_.complete(wanted);
        auto next = wanted.begin();
        for (size_t i = group.first; i < group.second; ++i) {
          if (actions[i].detail_wanted) actions[i].detail = std::move(*next++);
        }
        return true;
      });
    };
    co_await read(groups[0]);
    for (size_t g = 0; g < groups.size(); ++g) {
      env::OneShot<bool> ahead(world_.executor);
      env::TaskGroup reading(world_.executor);
      if (g + 1 < groups.size()) {
        reading.spawn([](env::Task<bool> job, env::OneShot<bool> out) -> env::Task<void> {
          out.set(co_await std::move(job));
        }(read(groups[g + 1]), ahead));
      }
      for (size_t i = groups[g].first; i < groups[g].second; ++i) {
        Action& action = actions[i];
        auto done = co_await perform(action);
        if (!done) co_return fail(std::move(done.error()), printable_path(action.detail.entry.path));
        action.detail = {};  // its content is stored
        tell();
        CAIRN_CO_TRY(co_await checkpoint());
      }
      if (g + 1 < groups.size()) co_await ahead;
    }
    co_return Status{};
  }

  env::Task<Status> perform(Action& action) {
    switch (action.kind) {
      case Action::Kind::remove: {
        auto done = co_await files().remove_tree(action.level->inode, action.name);
        action.level->dirty = true;
        co_return done;
      }
      case Action::Kind::make: {
        if (action.known) {
          auto cleared = co_await files().remove_tree(action.above->inode, action.level->about.name);
          if (!cleared) co_return cleared;
        }
        auto made = co_await files().make_directory(action.above->inode, action.level->about.name,
                                                    {.mode = action.level->about.mode});
        if (!made) co_return fail(std::move(made.error()));
        action.level->inode = *made;
        action.above->dirty = true;
        co_return Status{};
      }
      case Action::Kind::leave: {
        auto done = co_await leave(action);
        co_return done;
      }
      case Action::Kind::put:
        break;
    }
    progress_.current = action.detail.entry.path;
    auto done = co_await put(action);
    if (!done && !options_.errors_end && !ends_the_work(done.error())) {
      failed(action.detail.entry.path, done.error());
      done = Status{};
    }
    done_with(action.detail.entry);
    co_return done;
  }

  // The folder's own attributes come last: filling it changes its times.
  env::Task<Status> leave(Action& action) {
    Level& level = *action.level;
    const Detail& detail = action.detail;
    Summary& summary = record_.summary;
    if (detail.error) failed(level.about.path, *detail.error);
    const bool changed =
        !level.before || level.dirty || action.detail_wanted || !same_attributes(*level.before, detail);
    if (!level.before) {
      ++summary.dirs_new;
    } else if (changed) {
      ++summary.dirs_changed;
    } else {
      ++summary.dirs_unmodified;
    }
    if (!changed) co_return Status{};
    if (action.detail_wanted) CAIRN_CO_TRY(co_await put_xattrs(level.inode, detail, level.before));
    auto done = co_await set_attributes(level.inode, detail, action.detail_wanted);
    co_return done;
  }
  static bool same_attributes(const Inode& before, const Detail& detail) {
    const SourceEntry& entry = detail.entry;
    return before.mode == entry.mode && before.uid == entry.uid && before.gid == entry.gid &&
           before.source_inode == entry.inode;
  }

  env::Task<Status> put(Action& action) {
    const Detail& detail = action.detail;
    const SourceEntry& entry = detail.entry;
    Level& level = *action.level;
    const std::optional<Known>& known = action.known;
    const bool linked = entry.links > 1;
    if (linked) {
      if (const auto first = links_.find({entry.device, entry.inode}); first != links_.end()) {
        if (known && known->id == first->second) co_return Status{};
        if (known) CAIRN_CO_TRY(co_await take_away(level, entry.name));
        auto done = co_await files().link(first->second, level.inode, entry.name);
        level.dirty = true;
        co_return done;
      }
    }
    if (detail.error) {
      if (known) CAIRN_CO_TRY(co_await take_away(level, entry.name));
      co_return fail(*detail.error);
    }
    if (detail.changed) note_change(entry.path);
    // One that has other names as well is not written over unless it is the same file still.
    bool reuse = known && known->inode.type == entry.type &&
                 (known->inode.links <= 1 ||
                  (known->inode.source_inode == entry.inode && known->inode.source_device == entry.device));
    if (entry.type == FileType::symlink) reuse = reuse && known->inode.inline_data == detail.target;
    if (entry.type != FileType::file && entry.type != FileType::symlink)
      reuse = reuse && known->inode.rdev == entry.rdev;
    if (known && !reuse) CAIRN_CO_TRY(co_await take_away(level, entry.name));
    auto stored = entry.type == FileType::file ? co_await put_file(level, detail, reuse ? known->id : 0)
                                               : co_await put_special(level, detail, reuse ? known->id : 0);
    if (!stored) {
      if (reuse && !ends_the_work(stored.error())) CAIRN_CO_TRY(co_await take_away(level, entry.name));
      co_return fail(std::move(stored.error()));
    }
    if (!reuse) level.dirty = true;
    if (linked || (reuse && known->inode.links > 1)) remember_link(entry, *stored);
    CAIRN_CO_TRY(co_await put_xattrs(*stored, detail, reuse ? std::optional(known->inode) : std::nullopt));
    auto done = co_await set_attributes(*stored, detail, true);
    co_return done;
  }

  env::Task<Status> take_away(Level& level, std::string name) {
    level.dirty = true;
    auto done = co_await files().remove_tree(level.inode, std::move(name));
    co_return done;
  }

  env::Task<Result<InodeId>> put_special(Level& level, const Detail& detail, InodeId existing) {
    if (existing != 0) co_return existing;
    const SourceEntry& entry = detail.entry;
    if (entry.type == FileType::symlink) {
      auto made = co_await files().make_symlink(level.inode, entry.name, detail.target, {.mode = entry.mode});
      co_return made;
    }
    auto made = co_await files().make_node(level.inode, entry.name, entry.type, entry.rdev, {.mode = entry.mode});
    co_return made;
  }

  env::Task<Result<InodeId>> put_file(Level& level, const Detail& detail, InodeId existing) {
    const SourceEntry& entry = detail.entry;
    std::unique_ptr<SourceFile> file;
    if (!detail.content) {  // opened first: what cannot be read leaves no empty file behind
      auto opened = co_await world_.workers.run([&] { return source_.open(entry.path); });
      if (!opened) co_return fail(std::move(opened.error()));
      file = std::move(*opened);
    }
    InodeId inode = existing;
    if (existing == 0) {
      auto made = co_await files().make_file(level.inode, entry.name, {.mode = entry.mode});
      if (!made) co_return fail(std::move(made.error()));
      inode = *made;
      if (detail.content && detail.content->empty()) co_return inode;
    }
    auto writer = co_await files().write_file(inode);
    if (!writer) co_return fail(std::move(writer.error()));
    Status copied;
    if (detail.content) {
      copied = co_await (*writer)->write(Buffer::copy_of(*detail.content));
    } else {
      copied = co_await copy(*file, **writer, entry);
    }
    if (copied) copied = co_await (*writer)->finish(entry.mtime);
    if (!copied) {
      writer->reset();
      if (existing == 0 && !ends_the_work(copied.error())) CAIRN_CO_TRY(co_await take_away(level, entry.name));
      co_return fail(std::move(copied.error()));
    }
    co_return inode;
  }

  env::Task<Status> copy(SourceFile& file, volume::FileWriter& writer, const SourceEntry& entry) {
    using Read = Result<std::optional<SourceFile::Piece>>;
    uint64_t offset = 0;
    Read piece = co_await world_.workers.run([&] { return file.read(0, kReadBlock); });
    while (piece && *piece) {
      SourceFile::Piece current = std::move(**piece);
      offset = current.offset + (current.bytes.empty() ? current.hole : current.bytes.size());
      // The next block is read while the writer takes this one.
      env::OneShot<Read> ahead(world_.executor);
      env::TaskGroup reading(world_.executor);
      reading.spawn(
          [](env::Workers& workers, SourceFile& from, uint64_t at, env::OneShot<Read> out) -> env::Task<void> {
            out.set(co_await workers.run([&] { return from.read(at, kReadBlock); }));
          }(world_.workers, file, offset, ahead));
      auto written =
          current.bytes.empty() ? co_await writer.skip(current.hole) : co_await writer.write(std::move(current.bytes));
      if (!written) co_return written;
      progress_.bytes_done = bytes_before_ + offset;
      tell();
      CAIRN_CO_TRY(co_await checkpoint());
      piece = co_await ahead;
    }
    if (!piece) co_return fail(std::move(piece.error()));
    record_.summary.total_bytes_processed += offset - entry.size;  // of a stream no size was known
    auto changed = co_await world_.workers.run([&] { return file.changed_since(entry); });
    if (!changed) co_return fail(std::move(changed.error()));
    if (*changed) note_change(entry.path);
    co_return Status{};
  }

  env::Task<Status> put_xattrs(InodeId inode, const Detail& detail, std::optional<Inode> before) {
    std::vector<volume::Xattr> there;
    if (before && before->has_xattrs) {
      auto list = co_await files().view().xattrs(inode);
      if (!list) co_return fail(std::move(list.error()));
      there = std::move(*list);
    }
    for (const volume::Xattr& xattr : detail.xattrs) {
      const auto same = std::ranges::find(there, xattr.name, &volume::Xattr::name);
      const bool as_before = same != there.end() && same->value == xattr.value;
      if (same != there.end()) there.erase(same);
      if (as_before) continue;
      auto set = co_await files().set_xattr(inode, xattr.name, xattr.value);
      if (!set) co_return set;
    }
    for (const volume::Xattr& gone : there) {
      auto removed = co_await files().remove_xattr(inode, gone.name);
      if (!removed) co_return removed;
    }
    co_return Status{};
  }

  env::Task<Status> set_attributes(InodeId inode, const Detail& detail, bool names_known) {
    const SourceEntry& entry = detail.entry;
    volume::AttributeChange change{.mode = entry.mode, .uid = entry.uid, .gid = entry.gid};
    if (names_known) {
      change.owner = detail.owner;
      change.group = detail.group;
    }
    change.mtime = entry.mtime;
    change.atime = entry.mtime;  // reading changes atimes: kept, it would make every snapshot differ
    change.btime = entry.btime;
    change.ctime = entry.ctime;
    change.source_inode = entry.inode;
    change.source_device = entry.device;
    auto done = co_await files().set_attributes(inode, std::move(change));
    co_return done;
  }

  // --- hard links ---

  void remember_link(const SourceEntry& entry, InodeId inode) {
    links_[{entry.device, entry.inode}] = inode;
    link_ctimes_[inode] = entry.ctime;
  }
  // Names that came and went have changed the ctimes of files with several: they are the source's again.
  env::Task<Status> settle_links() {
    if (files().empty() && !saved_) co_return Status{};
    for (const auto& [inode, ctime] : link_ctimes_) {
      auto now = co_await files().view().inode(inode);
      if (!now) co_return fail(std::move(now.error()));
      if (now->ctime == ctime) continue;
      auto set = co_await files().set_attributes(inode, {.ctime = ctime});
      if (!set) co_return set;
    }
    co_return Status{};
  }

  // --- saving ---

  env::Task<Status> checkpoint() {
    const bool due = world_.clock.now() - last_save_ >= options_.checkpoint_period;
    if (!files().full() && !due) co_return Status{};
    auto done = co_await save(true);
    co_return done;
  }
  env::Task<Status> save(bool partial) {
    record_.partial = partial;
    CAIRN_CO_TRY(co_await files().flush());
    count_stored();
    record_.summary.backup_end = world_.clock.wall_now();
    auto done = co_await writer_->save(record_.id.hex(), encode_record(record_),
                                       partial ? std::vector<std::string>() : partials_);
    if (!done) co_return done;
    saved_ = true;
    count_stored();  // with the tree's nodes, for the caller; the record has those of the saves before
    last_save_ = world_.clock.now();
    progress_.bytes_safe = progress_.bytes_done;
    co_return Status{};
  }
  void count_stored() {
    const volume::StoredFigures stored = writer_->stored();
    record_.summary.data_blobs = stored.chunks;
    record_.summary.tree_blobs = stored.nodes;
    record_.summary.data_added = stored.chunk_bytes + stored.node_bytes;
    record_.summary.data_added_packed = stored.sealed_chunk_bytes + stored.sealed_node_bytes;
  }

  volume::Transaction& files() { return writer_->files(); }

  env::World world_;
  volume::Volume& volume_;
  Source& source_;
  ArchiveOptions options_;
  Record record_;
  SnapshotId base_;  // whose tree it begins as; zero: none
  bool from_partial_ = false;
  bool saved_ = false;                 // a checkpoint at least
  std::vector<std::string> partials_;  // of earlier runs of this backup: they go when this one is whole
  std::unique_ptr<volume::SnapshotWriter> writer_;
  std::optional<volume::View> base_view_;
  std::vector<LevelPtr> levels_;
  std::map<std::pair<uint64_t, uint64_t>, InodeId> links_;  // (device, inode) of files with several names
  std::map<InodeId, WallTime> link_ctimes_;
  ArchiveProgress progress_;
  uint64_t bytes_before_ = 0;  // of the files that are done
  uint64_t seen_ = 0, errors_ = 0;
  Time last_save_;
};

Archiver::Archiver(env::World world, volume::Volume& volume, Source& source, ArchiveOptions options)
    : impl_(std::make_unique<Impl>(world, volume, source, std::move(options))) {}
Archiver::~Archiver() = default;

env::Task<Result<ArchiveResult>> Archiver::run() {
  return impl_->run();
}

}  // namespace cairn::backup
