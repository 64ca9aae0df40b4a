// The half of an archiver's run that writes: files, attributes, hard links, and the snapshot itself.

#include <algorithm>

#include "backup/archiver_impl.h"
#include "volume/errors.h"

namespace cairn::backup {

using volume::ends_the_work;
using volume::FileType;
using volume::Inode;
using volume::InodeId;

env::Task<Status> Archiver::Impl::apply(std::vector<Action> actions) {
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

env::Task<Status> Archiver::Impl::perform(Action& action) {
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

env::Task<Status> Archiver::Impl::leave(Action& action) {
  Level& level = *action.level;
  const Detail& detail = action.detail;
  Summary& summary = record_.summary;
  if (detail.error && options_.errors_end) co_return fail(*detail.error);
  if (detail.error) failed(level.about.path, *detail.error);
  const bool changed = !level.before || level.dirty || action.detail_wanted || !same_attributes(*level.before, detail);
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

env::Task<Status> Archiver::Impl::put(Action& action) {
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
  if (entry.type != FileType::file && entry.type != FileType::symlink) reuse = reuse && known->inode.rdev == entry.rdev;
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

env::Task<Status> Archiver::Impl::take_away(Level& level, std::string name) {
  level.dirty = true;
  auto done = co_await files().remove_tree(level.inode, std::move(name));
  co_return done;
}

env::Task<Result<InodeId>> Archiver::Impl::put_special(Level& level, const Detail& detail, InodeId existing) {
  if (existing != 0) co_return existing;
  const SourceEntry& entry = detail.entry;
  if (entry.type == FileType::symlink) {
    auto made = co_await files().make_symlink(level.inode, entry.name, detail.target, {.mode = entry.mode});
    co_return made;
  }
  auto made = co_await files().make_node(level.inode, entry.name, entry.type, entry.rdev, {.mode = entry.mode});
  co_return made;
}

env::Task<Result<InodeId>> Archiver::Impl::put_file(Level& level, const Detail& detail, InodeId existing) {
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

env::Task<Status> Archiver::Impl::copy(SourceFile& file, volume::FileWriter& writer, const SourceEntry& entry) {
  using Read = Result<std::optional<SourceFile::Piece>>;
  uint64_t offset = 0;
  Read piece = co_await world_.workers.run([&] { return file.read(0, kReadBlock); });
  while (piece && *piece) {
    SourceFile::Piece current = std::move(**piece);
    offset = current.offset + (current.bytes.empty() ? current.hole : current.bytes.size());
    // The next block is read while the writer takes this one.
    env::OneShot<Read> ahead(world_.executor);
    env::TaskGroup reading(world_.executor);
    reading.spawn([](env::Workers& workers, SourceFile& from, uint64_t at, env::OneShot<Read> out) -> env::Task<void> {
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

env::Task<Status> Archiver::Impl::put_xattrs(InodeId inode, const Detail& detail, std::optional<Inode> before) {
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

env::Task<Status> Archiver::Impl::set_attributes(InodeId inode, const Detail& detail, bool names_known) {
  const SourceEntry& entry = detail.entry;
  volume::AttributeChange change{.mode = entry.mode, .uid = entry.uid, .gid = entry.gid};
  if (names_known) {
    change.owner = detail.owner;
    change.group = detail.group;
    change.flags = detail.flags;
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

env::Task<Status> Archiver::Impl::settle_links() {
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

env::Task<Status> Archiver::Impl::checkpoint() {
  const bool due = world_.clock.now() - last_save_ >= options_.checkpoint_period;
  if (!files().full() && !due) co_return Status{};
  auto done = co_await save(true);
  co_return done;
}

env::Task<Status> Archiver::Impl::save(bool partial) {
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

void Archiver::Impl::count_stored() {
  const volume::StoredFigures stored = writer_->stored();
  record_.summary.data_blobs = stored.chunks;
  record_.summary.tree_blobs = stored.nodes;
  record_.summary.data_added = stored.chunk_bytes + stored.node_bytes;
  record_.summary.data_added_packed = stored.sealed_chunk_bytes + stored.sealed_node_bytes;
}

}  // namespace cairn::backup
