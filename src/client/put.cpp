#include "client/put.h"

#include "client/local_files.h"
#include "client/meter.h"
#include "client/partial.h"
#include "client/tree_path.h"
#include "volume/errors.h"

namespace cairn::client {

namespace {

using volume::ends_the_work;
using volume::FileType;
using volume::InodeId;

// Commits at least so often while there is something to commit: what a kill -9 can lose of finished files.
constexpr Duration kCommitPeriod = std::chrono::seconds(20);
constexpr size_t kReadBlock = 2 * kMiB;

// Writes into a file from an offset on; unlike Transaction::write_file() what is there stays, so it can be committed as
// it grows.
class Appender final : public volume::FileWriter {
 public:
  Appender(volume::Transaction& edit, InodeId inode, uint64_t offset) : edit_(edit), inode_(inode), offset_(offset) {}
  env::Task<Status> write(Buffer bytes) override {
    const uint64_t at = offset_;
    offset_ += bytes.size();
    auto done = co_await edit_.write(inode_, at, std::move(bytes));
    co_return done;
  }
  env::Task<Status> skip(uint64_t length) override {
    offset_ += length;
    co_return Status{};
  }
  env::Task<Status> finish(std::optional<WallTime>) override {
    auto done = co_await edit_.truncate(inode_, offset_);  // a hole at the end
    co_return done;
  }

 private:
  volume::Transaction& edit_;
  InodeId inode_;
  uint64_t offset_;
};

// One run of put.
class Putter {
 public:
  Putter(Core& core, OpenVolume& target, TransferOptions options)
      : core_(core),
        world_(core.world()),
        target_(target),
        options_(std::move(options)),
        meter_(world_.clock, options_.on_progress),
        traffic_before_(core.peers().traffic()),
        packs_before_(core.pool().counters().packs_written),
        last_commit_(world_.clock.now()) {}

  Status begin() {
    auto transaction = target_.volume->begin();
    if (!transaction) return fail(std::move(transaction.error()));
    edit_ = std::move(*transaction);
    return {};
  }

  env::Task<Result<TransferReport>> files(std::vector<std::string> sources, TreePath destination, bool into) {
    CAIRN_CO_TRY(begin());
    auto tree = co_await world_.workers.run([&] { return Result<TreeSize>(measure(sources)); });
    if (tree) {
      meter_.progress.files_total = tree->files;
      meter_.progress.bytes_total = tree->bytes;
    }
    into = into || sources.size() > 1;
    for (std::string& source : sources) {
      auto done = co_await put_one(source, destination.path, into);
      if (!done) co_return fail(std::move(done.error()));
    }
    auto swept = co_await sweep_partials(*edit_, world_.clock.wall_now(), std::nullopt);
    if (!swept) co_return fail(std::move(swept.error()));
    co_return co_await finish();
  }

  env::Task<Result<TransferReport>> stream(Client::ReadBytes read, TreePath destination) {
    CAIRN_CO_TRY(begin());
    if (destination.path == "/") co_return fail(Code::bad_input, "a stream needs a file name");
    auto parent = co_await edit_->make_directories(parent_of(destination.path), {.mode = 0755});
    if (!parent) co_return fail(std::move(parent.error()), parent_of(destination.path));
    auto file = co_await claim_name(*parent, name_of(destination.path), FileType::file);
    if (!file) co_return fail(std::move(file.error()));
    InodeId inode = file->value_or(0);
    if (!*file) {
      auto made = co_await edit_->make_file(*parent, name_of(destination.path), {.mode = 0644});
      if (!made) co_return fail(std::move(made.error()));
      inode = *made;
    }
    auto writer = co_await edit_->write_file(inode);
    if (!writer) co_return fail(std::move(writer.error()));
    for (;;) {
      auto block = co_await world_.workers.run([&] { return fill(read); });
      if (!block) co_return fail(std::move(block.error()));
      if (block->empty()) break;
      meter_.progress.bytes_done += block->size();
      report_.bytes += block->size();
      auto written = co_await (*writer)->write(std::move(*block));
      if (!written) co_return fail(std::move(written.error()));
      meter_.tick();
    }
    auto done = co_await (*writer)->finish();
    if (!done) co_return fail(std::move(done.error()));
    ++report_.files;
    co_return co_await finish();
  }

 private:
  // A directory that is being filled.
  struct Level {
    InodeId inode = 0;
    bool fresh = false;  // made by this run: nothing is in it that was not put there just now
    LocalEntry about;
  };

  static TreeSize measure(const std::vector<std::string>& sources);
  // A block of the stream; short only at its end.
  static Result<Buffer> fill(const Client::ReadBytes& read) {
    Buffer block(kReadBlock);
    size_t have = 0;
    while (have < block.size()) {
      auto got = read(block.data() + have, block.size() - have);
      if (!got) return fail(std::move(got.error()));
      if (*got == 0) break;
      have += *got;
    }
    return block.slice(0, have);
  }

  void failed(const std::string& path, const Error& error) {
    ++report_.failed;
    if (options_.on_error) options_.on_error(path, error);
  }

  env::Task<Status> put_one(std::string source, std::string destination, bool into) {
    const std::string own_name = base_name_of(source);
    auto kind = co_await world_.workers.run([&] { return type_of(source); });
    if (!kind) {
      failed(source, kind.error());
      co_return Status{};
    }
    std::string directory = destination;
    std::string name = own_name;
    bool merge_root = false;
    if (!into && *kind == FileType::directory) {
      merge_root = destination == "/";  // the folder's content becomes the root's
      directory = parent_of(destination);
      name = name_of(destination);
    } else if (!into) {
      auto there = co_await edit_->view().resolve(destination);
      if (!there && there.error().code != Code::not_found) co_return fail(std::move(there.error()));
      if (!there || !there->inode.is_directory()) {
        directory = parent_of(destination);
        name = name_of(destination);
      }
    }
    if (name.empty() && !merge_root) merge_root = *kind == FileType::directory;
    if (name.empty() && !merge_root) co_return fail(Code::bad_input, "the destination needs a name");
    auto parent = co_await edit_->make_directories(directory, {.mode = 0755});
    if (!parent) co_return fail(std::move(parent.error()), directory);
    levels_.clear();
    levels_.push_back({.inode = *parent, .fresh = false, .about = {}});

    TreeWalk walk(source, name);
    auto next = co_await world_.workers.run([&] { return walk.next(); });
    while (!next.empty()) {
      // The next batch is read while this one is stored.
      env::OneShot<std::vector<WalkEvent>> ahead(world_.executor);
      env::TaskGroup reading(world_.executor);
      reading.spawn(
          [](env::Workers& workers, TreeWalk& w, env::OneShot<std::vector<WalkEvent>> out) -> env::Task<void> {
            out.set(co_await workers.run([&] { return w.next(); }));
          }(world_.workers, walk, ahead));
      for (WalkEvent& event : next) {
        auto done = co_await take(std::move(event), merge_root);
        if (!done) co_return fail(std::move(done.error()));
        meter_.tick();
        if (edit_->full() || world_.clock.now() - last_commit_ > kCommitPeriod) {
          auto committed = co_await commit();
          if (!committed) co_return fail(std::move(committed.error()));
        }
      }
      next = co_await ahead;
    }
    co_return Status{};
  }

  env::Task<Status> take(WalkEvent event, bool merge_root) {
    switch (event.kind) {
      case WalkEvent::Kind::failed:
        failed(event.entry.path, event.error);
        co_return Status{};
      case WalkEvent::Kind::enter: {
        auto done = co_await enter(std::move(event.entry), merge_root && levels_.size() == 1);
        co_return done;
      }
      case WalkEvent::Kind::leave: {
        auto done = co_await leave();
        co_return done;
      }
      case WalkEvent::Kind::entry:
        break;
    }
    if (skipping_ > 0) co_return Status{};
    meter_.progress.current = event.entry.path;
    const std::string path = event.entry.path;
    const uint64_t size = event.entry.type == FileType::file ? event.entry.size : 0;
    auto done = co_await put_entry(std::move(event.entry));
    ++meter_.progress.files_done;
    meter_.progress.bytes_done = bytes_before_ += size;
    if (!done) {
      if (ends_the_work(done.error())) co_return fail(std::move(done.error()), printable(path));
      failed(path, done.error());
    }
    co_return Status{};
  }

  // What is under the name already, when it may stay (of the wanted type); else the name is cleared.
  env::Task<Result<std::optional<InodeId>>> claim_name(InodeId parent, std::string name, FileType wanted) {
    auto there = co_await edit_->view().lookup(parent, name);
    if (!there && there.error().code == Code::not_found) co_return std::optional<InodeId>();
    if (!there) co_return fail(std::move(there.error()));
    if (there->type == wanted) co_return std::optional<InodeId>(there->inode);
    Status cleared;
    if (there->type == FileType::directory) {
      // A folder is never replaced by a file: that would remove what nobody named.
      co_return fail(Code::exists, "a folder of that name is in the volume");
    }
    cleared = co_await edit_->unlink(parent, name);
    if (!cleared) co_return fail(std::move(cleared.error()));
    co_return std::optional<InodeId>();
  }

  env::Task<Status> enter(LocalEntry entry, bool is_root) {
    if (skipping_ > 0) {
      ++skipping_;
      co_return Status{};
    }
    if (is_root) {
      levels_.push_back({.inode = levels_.back().inode, .fresh = false, .about = std::move(entry)});
      co_return Status{};
    }
    const Level& parent = levels_.back();
    std::optional<InodeId> existing;
    if (!parent.fresh) {
      auto claimed = co_await claim_name(parent.inode, entry.name, FileType::directory);
      if (!claimed) {
        if (ends_the_work(claimed.error())) co_return fail(std::move(claimed.error()));
        failed(entry.path, claimed.error());
        skipping_ = 1;
        co_return Status{};
      }
      existing = *claimed;
    }
    InodeId inode = existing.value_or(0);
    if (!existing) {
      auto made = co_await edit_->make_directory(parent.inode, entry.name, about(entry));
      if (!made) {
        if (ends_the_work(made.error())) co_return fail(std::move(made.error()));
        failed(entry.path, made.error());
        skipping_ = 1;
        co_return Status{};
      }
      inode = *made;
      ++report_.directories;
    }
    levels_.push_back({.inode = inode, .fresh = !existing, .about = std::move(entry)});
    co_return Status{};
  }

  // The folder's own attributes come last: filling it changes its times.
  env::Task<Status> leave() {
    if (skipping_ > 0) {
      --skipping_;
      co_return Status{};
    }
    const Level level = std::move(levels_.back());
    levels_.pop_back();
    if (!level.fresh) {
      auto now = co_await edit_->view().inode(level.inode);
      if (!now) co_return fail(std::move(now.error()));
      if (same_attributes(*now, level.about) && now->mtime == level.about.mtime) {
        auto xattrs = co_await put_xattrs(level.inode, level.about, now->has_xattrs);
        co_return xattrs;
      }
    }
    auto set = co_await set_attributes(level.inode, level.about);
    if (!set) co_return set;
    auto xattrs = co_await put_xattrs(level.inode, level.about, !level.fresh);
    co_return xattrs;
  }

  env::Task<Status> put_entry(LocalEntry entry) {
    const Level level{.inode = levels_.back().inode, .fresh = levels_.back().fresh, .about = {}};
    const bool linked = entry.links > 1 && entry.type != FileType::directory;
    if (linked) {
      const auto first = links_.find({entry.device, entry.inode});
      if (first != links_.end()) {
        auto done = co_await put_link(first->second, level, entry.name);
        co_return done;
      }
    }
    std::optional<InodeId> existing;
    if (!level.fresh) {
      auto claimed = co_await claim_name(level.inode, entry.name, entry.type);
      if (!claimed) co_return fail(std::move(claimed.error()));
      existing = *claimed;
    }
    InodeId inode = 0;
    if (entry.type == FileType::file) {
      auto done = co_await put_file(level.inode, existing, entry);
      if (!done) co_return fail(std::move(done.error()));
      inode = *done;
    } else {
      auto done = co_await put_special(level.inode, existing, entry);
      if (!done) co_return fail(std::move(done.error()));
      inode = *done;
    }
    if (linked) links_[{entry.device, entry.inode}] = inode;
    auto xattrs = co_await put_xattrs(inode, entry, existing.has_value());
    co_return xattrs;
  }

  env::Task<Status> put_link(InodeId inode, Level level, std::string name) {
    auto there = co_await edit_->view().lookup(level.inode, name);
    if (there && there->inode == inode) {
      ++report_.unchanged;
      co_return Status{};
    }
    if (there && there->type == FileType::directory)
      co_return fail(Code::exists, "a folder of that name is in the volume");
    if (there) {
      auto cleared = co_await edit_->unlink(level.inode, name);
      if (!cleared) co_return cleared;
    }
    auto done = co_await edit_->link(inode, level.inode, name);
    if (done) ++report_.files;
    co_return done;
  }

  env::Task<Result<InodeId>> put_special(InodeId parent, std::optional<InodeId> existing, LocalEntry entry) {
    if (existing) {
      auto now = co_await edit_->view().inode(*existing);
      if (!now) co_return fail(std::move(now.error()));
      const bool same_content =
          entry.type == FileType::symlink ? now->inline_data == entry.target : now->rdev == entry.rdev;
      if (same_content) {
        if (same_attributes(*now, entry) && now->mtime == entry.mtime) {
          ++report_.unchanged;
          co_return *existing;
        }
        auto set = co_await set_attributes(*existing, entry);
        if (!set) co_return fail(std::move(set.error()));
        ++report_.others;
        co_return *existing;
      }
      auto cleared = co_await edit_->unlink(parent, entry.name);
      if (!cleared) co_return fail(std::move(cleared.error()));
    }
    ++report_.others;
    if (entry.type == FileType::symlink) {
      auto made = co_await edit_->make_symlink(parent, entry.name, entry.target, about(entry));
      co_return made;
    }
    auto made = co_await edit_->make_node(parent, entry.name, entry.type, entry.rdev, about(entry));
    co_return made;
  }

  env::Task<Result<InodeId>> put_file(InodeId parent, std::optional<InodeId> existing, LocalEntry entry) {
    InodeId inode = existing.value_or(0);
    if (existing) {
      auto now = co_await edit_->view().inode(inode);
      if (!now) co_return fail(std::move(now.error()));
      if (now->size == entry.size && now->mtime == entry.mtime) {
        ++report_.unchanged;
        if (!same_attributes(*now, entry)) {
          auto set = co_await set_attributes(inode, entry);
          if (!set) co_return fail(std::move(set.error()));
        }
        co_return inode;
      }
    }
    if (entry.size >= kPartialFile) {
      auto done = co_await put_large(parent, existing, entry);
      co_return done;
    }
    std::unique_ptr<LocalReader> reader;
    if (!entry.content) {  // opened first: what cannot be read leaves no empty file behind
      auto opened = co_await world_.workers.run([&] { return LocalReader::open(entry.path); });
      if (!opened) co_return fail(std::move(opened.error()));
      reader = std::move(*opened);
    }
    if (!existing) {
      auto made = co_await edit_->make_file(parent, entry.name, about(entry));
      if (!made) co_return fail(std::move(made.error()));
      inode = *made;
    }
    if (existing || entry.size > 0) {
      auto writer = co_await edit_->write_file(inode);
      if (!writer) co_return fail(std::move(writer.error()));
      Status copied;
      if (entry.content) {
        report_.bytes += entry.content->size();
        copied = co_await (*writer)->write(Buffer::copy_of(*entry.content));
      } else {
        copied = co_await copy(*reader, **writer, 0, entry);
      }
      if (copied) copied = co_await (*writer)->finish(entry.mtime);
      if (!copied) {
        if (!existing && !ends_the_work(copied.error())) {
          auto undone = co_await edit_->unlink(parent, entry.name);
          if (!undone) co_return fail(std::move(undone.error()));
        }
        co_return fail(std::move(copied.error()));
      }
    }
    if (existing) {
      auto set = co_await set_attributes(inode, entry);
      if (!set) co_return fail(std::move(set.error()));
    }
    ++report_.files;
    co_return inode;
  }

  // From `offset` on to its end, or up to `limit` bytes further.
  env::Task<Status> copy(LocalReader& reader, volume::FileWriter& writer, uint64_t offset, LocalEntry entry,
                         uint64_t limit = UINT64_MAX) {
    const uint64_t start = offset;
    auto before = co_await world_.workers.run([&] { return reader.stamp(); });
    if (!before) co_return fail(std::move(before.error()));
    // The next block is read while the writer takes this one.
    auto piece = co_await world_.workers.run([&] { return reader.read(offset, kReadBlock); });
    while (piece && *piece && offset - start < limit) {
      LocalReader::Piece current = std::move(**piece);
      offset = current.offset + (current.bytes.empty() ? current.hole : current.bytes.size());
      env::OneShot<Result<std::optional<LocalReader::Piece>>> ahead(world_.executor);
      env::TaskGroup reading(world_.executor);
      reading.spawn([](env::Workers& workers, LocalReader& r, uint64_t at,
                       env::OneShot<Result<std::optional<LocalReader::Piece>>> out) -> env::Task<void> {
        out.set(co_await workers.run([&] { return r.read(at, kReadBlock); }));
      }(world_.workers, reader, offset, ahead));
      Status written;
      if (current.bytes.empty()) {
        written = co_await writer.skip(current.hole);
      } else {
        report_.bytes += current.bytes.size();
        written = co_await writer.write(std::move(current.bytes));
      }
      if (!written) co_return written;
      meter_.progress.bytes_done = bytes_before_ + offset;
      meter_.tick();
      piece = co_await ahead;
    }
    if (!piece) co_return fail(std::move(piece.error()));
    auto after = co_await world_.workers.run([&] { return reader.stamp(); });
    if (!after) co_return fail(std::move(after.error()));
    if (*after != *before || after->size != entry.size || after->mtime != entry.mtime) {
      failed(entry.path, Error{Code::conflict, "it changed while it was read; what was read is stored"});
    }
    co_return Status{};
  }

  // A large file is stored piece by piece in a place of its own, with a commit after each, and moved under its name
  // when it is whole: an interrupted run goes on at the last piece.
  env::Task<Result<InodeId>> put_large(InodeId parent, std::optional<InodeId> existing, LocalEntry entry) {
    auto opened = co_await world_.workers.run([&] { return LocalReader::open(entry.path); });
    if (!opened) co_return fail(std::move(opened.error()));
    auto shelf = co_await edit_->make_directories(std::string(kPartialDirectory), {.mode = 0700});
    if (!shelf) co_return fail(std::move(shelf.error()));
    const PartialName part = partial_name(core_.identity().node, parent, entry);
    auto swept = co_await sweep_partials(*edit_, world_.clock.wall_now(), part);
    if (!swept) co_return fail(std::move(swept.error()));
    const std::string mark = part.text();
    auto begun = co_await edit_->view().lookup(*shelf, mark);
    if (!begun && begun.error().code != Code::not_found) co_return fail(std::move(begun.error()));
    InodeId inode = 0;
    uint64_t offset = 0;
    if (begun) {
      inode = begun->inode;
      auto now = co_await edit_->view().inode(inode);
      if (!now) co_return fail(std::move(now.error()));
      offset = now->size;
      report_.resumed_bytes += offset;
    } else {
      auto made = co_await edit_->make_file(*shelf, mark, about(entry));
      if (!made) co_return fail(std::move(made.error()));
      inode = *made;
    }
    while (offset < entry.size) {
      Appender appender(*edit_, inode, offset);
      auto copied = co_await copy(**opened, appender, offset, entry, kPartialStep);
      if (!copied) co_return fail(std::move(copied.error()));
      auto done = co_await appender.finish(entry.mtime);
      if (!done) co_return fail(std::move(done.error()));
      auto now = co_await edit_->view().inode(inode);
      if (!now) co_return fail(std::move(now.error()));
      if (now->size <= offset) break;  // the file has become shorter
      offset = now->size;
      if (offset < entry.size) {
        auto committed = co_await commit();
        if (!committed) co_return fail(std::move(committed.error()));
      }
    }
    if (existing) {
      // The old file keeps its identity (hard links, extended attributes) only by its name; its content is replaced
      // whole.
      auto cleared = co_await edit_->unlink(parent, entry.name);
      if (!cleared) co_return fail(std::move(cleared.error()));
    }
    auto moved = co_await edit_->rename(*shelf, mark, parent, entry.name);
    if (!moved) co_return fail(std::move(moved.error()));
    auto set = co_await set_attributes(inode, entry);
    if (!set) co_return fail(std::move(set.error()));
    ++report_.files;
    co_return inode;
  }

  env::Task<Status> put_xattrs(InodeId inode, LocalEntry entry, bool may_have) {
    std::vector<volume::Xattr> there;
    if (may_have) {
      auto list = co_await edit_->view().xattrs(inode);
      if (!list) co_return fail(std::move(list.error()));
      there = std::move(*list);
    }
    for (const LocalXattr& xattr : entry.xattrs) {
      const auto same = std::ranges::find_if(there, [&](const volume::Xattr& old) { return old.name == xattr.name; });
      const bool unchanged = same != there.end() && same->value == xattr.value;
      if (same != there.end()) there.erase(same);
      if (unchanged) continue;
      auto set = co_await edit_->set_xattr(inode, xattr.name, xattr.value);
      if (!set) co_return set;
    }
    for (const volume::Xattr& gone : there) {
      auto removed = co_await edit_->remove_xattr(inode, gone.name);
      if (!removed) co_return removed;
    }
    co_return Status{};
  }

  static volume::NewInode about(const LocalEntry& entry) {
    return {.mode = entry.mode,
            .uid = entry.uid,
            .gid = entry.gid,
            .owner = entry.owner,
            .group = entry.group,
            .mtime = entry.mtime,
            .atime = entry.atime,
            .btime = entry.btime};
  }
  static bool same_attributes(const volume::Inode& now, const LocalEntry& entry) {
    return now.mode == entry.mode && now.uid == entry.uid && now.gid == entry.gid && now.owner == entry.owner &&
           now.group == entry.group;
  }
  env::Task<Status> set_attributes(InodeId inode, LocalEntry entry) {
    auto done = co_await edit_->set_attributes(inode, {.mode = entry.mode,
                                                       .uid = entry.uid,
                                                       .gid = entry.gid,
                                                       .owner = entry.owner,
                                                       .group = entry.group,
                                                       .mtime = entry.mtime});
    co_return done;
  }

  env::Task<Status> commit() {
    if (edit_->empty()) co_return Status{};
    auto done = co_await edit_->commit();
    if (!done) co_return fail(std::move(done.error()));
    last_commit_ = world_.clock.now();
    meter_.progress.bytes_safe = meter_.progress.bytes_done;
    for (const std::string& name : done->conflict_names)
      core_.world().log.warning("conflict", "kept={}", printable(name));
    co_return Status{};
  }

  env::Task<Result<TransferReport>> finish() {
    auto committed = co_await commit();
    if (!committed) co_return fail(std::move(committed.error()));
    // The slots that the quorum did not wait for are finished now: a put that has ended leaves packs at their goal.
    report_.packs_below_goal = co_await core_.pool().settle();
    co_await core_.adapt_keepers(target_);
    const peer::Traffic traffic = core_.peers().traffic();
    report_.bytes_sent = traffic.bytes_sent - traffic_before_.bytes_sent;
    report_.bytes_received = traffic.bytes_received - traffic_before_.bytes_received;
    report_.requests = traffic.requests_sent - traffic_before_.requests_sent;
    report_.packs = core_.pool().counters().packs_written - packs_before_;
    report_.seconds = meter_.seconds();
    co_return report_;
  }

  Core& core_;
  env::World world_;
  OpenVolume& target_;
  TransferOptions options_;
  Meter meter_;
  peer::Traffic traffic_before_;
  uint64_t packs_before_;
  Time last_commit_;
  std::unique_ptr<volume::Transaction> edit_;
  std::vector<Level> levels_;
  std::map<std::pair<uint64_t, uint64_t>, InodeId> links_;  // (device, inode) of hard-linked files
  size_t skipping_ = 0;                                     // levels below a folder that could not be made
  uint64_t bytes_before_ = 0;                               // of the files that are done
  TransferReport report_;
};

TreeSize Putter::measure(const std::vector<std::string>& sources) {
  TreeSize total;
  for (const std::string& source : sources) {
    const TreeSize size = tree_size(source);
    total.files += size.files;
    total.bytes += size.bytes;
  }
  return total;
}

}  // namespace

env::Task<Result<TransferReport>> put_files(Core& core, std::vector<std::string> sources, TreePath destination,
                                            bool into, TransferOptions options) {
  auto settled = co_await core.settle();
  if (!settled) co_return fail(std::move(settled.error()));
  auto target = co_await core.open_volume(destination.tree, true);
  if (!target) co_return fail(std::move(target.error()));
  Putter putter(core, **target, std::move(options));
  auto report = co_await putter.files(std::move(sources), std::move(destination), into);
  co_return report;
}

env::Task<Result<TransferReport>> put_stream(Core& core, Client::ReadBytes read, TreePath destination,
                                             TransferOptions options) {
  auto settled = co_await core.settle();
  if (!settled) co_return fail(std::move(settled.error()));
  auto target = co_await core.open_volume(destination.tree, true);
  if (!target) co_return fail(std::move(target.error()));
  Putter putter(core, **target, std::move(options));
  auto report = co_await putter.stream(std::move(read), std::move(destination));
  co_return report;
}

}  // namespace cairn::client
