#pragma once
// The run behind Archiver: archiver.cpp walks and compares, archiver_store.cpp writes what differs.

#include <map>

#include "backup/archiver.h"
#include "base/text.h"

namespace cairn::backup {

// What the parent snapshot has under a name.
struct Known {
  volume::InodeId id = 0;
  volume::Inode inode;
};

// A folder that the walk is in, beside the same folder of the parent snapshot.
struct Level {
  SourceEntry about;
  volume::InodeId inode = 0;            // zero until it is made
  std::optional<volume::Inode> before;  // none: it is new, nothing of the parent is below it
  bool dirty = false;                   // an entry was put or taken away, so its times are not the source's now
  bool root = false;                    // of the snapshot: stands for no folder

  // The parent's entries, page by page.
  std::vector<volume::DirectoryEntry> entries;
  std::vector<std::optional<volume::Inode>> inodes;
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

class Archiver::Impl {
 public:
  Impl(env::World world, volume::Volume& volume, Source& source, ArchiveOptions options)
      : world_(world), volume_(volume), source_(source), options_(std::move(options)), record_(options_.about) {}

  env::Task<Result<ArchiveResult>> run();

 private:
  // The snapshot whose tree the new one begins as.
  env::Task<Status> choose_base();

  // --- the walk ---

  env::Task<Status> walk();

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

  env::Task<Status> load_page(Level& level);

  // What the parent has under the name; what it has before that name is gone.
  env::Task<Result<std::optional<Known>>> find(LevelPtr level, std::string name, std::vector<Action>& actions);
  env::Task<Status> rest_is_gone(LevelPtr level, std::vector<Action>& actions);

  bool unchanged(const volume::Inode& before, const SourceEntry& now) const {
    return before.type == now.type && before.mtime == now.mtime && before.size == size_of(now) &&
           (options_.ignore_ctime || before.ctime == now.ctime) &&
           (options_.ignore_inode || before.source_inode == now.inode);
  }
  // As an inode has it: none for folders and devices.
  static uint64_t size_of(const SourceEntry& entry) {
    return entry.type == volume::FileType::file || entry.type == volume::FileType::symlink ? entry.size : 0;
  }

  env::Task<Status> plan(ScanEvent event, std::vector<Action>& actions);

  void done_with(const SourceEntry& entry) {
    if (entry.type == volume::FileType::file) {
      ++progress_.files_done;
      progress_.bytes_done = bytes_before_ += entry.size;
    }
  }
  static std::string printable_path(const std::string& path) { return is_utf8(path) ? path : "a file"; }

  // --- changes ---

  // In groups: the details of the next one are read while one is stored.
  env::Task<Status> apply(std::vector<Action> actions);

  env::Task<Status> perform(Action& action);

  // The folder's own attributes come last: filling it changes its times.
  env::Task<Status> leave(Action& action);
  static bool same_attributes(const volume::Inode& before, const Detail& detail) {
    const SourceEntry& entry = detail.entry;
    return before.mode == entry.mode && before.uid == entry.uid && before.gid == entry.gid &&
           before.source_inode == entry.inode;
  }

  env::Task<Status> put(Action& action);

  env::Task<Status> take_away(Level& level, std::string name);

  env::Task<Result<volume::InodeId>> put_special(Level& level, const Detail& detail, volume::InodeId existing);

  env::Task<Result<volume::InodeId>> put_file(Level& level, const Detail& detail, volume::InodeId existing);

  env::Task<Status> copy(SourceFile& file, volume::FileWriter& writer, const SourceEntry& entry);

  env::Task<Status> put_xattrs(volume::InodeId inode, const Detail& detail, std::optional<volume::Inode> before);

  env::Task<Status> set_attributes(volume::InodeId inode, const Detail& detail, bool names_known);

  // --- hard links ---

  void remember_link(const SourceEntry& entry, volume::InodeId inode) {
    links_[{entry.device, entry.inode}] = inode;
    link_ctimes_[inode] = entry.ctime;
  }
  // Names that came and went have changed the ctimes of files with several: they are the source's again.
  env::Task<Status> settle_links();

  // --- saving ---

  env::Task<Status> checkpoint();
  env::Task<Status> save(bool partial);
  void count_stored();

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
  std::map<std::pair<uint64_t, uint64_t>, volume::InodeId> links_;  // (device, inode) of files with several names
  std::map<volume::InodeId, WallTime> link_ctimes_;
  ArchiveProgress progress_;
  uint64_t bytes_before_ = 0;  // of the files that are done
  uint64_t seen_ = 0, errors_ = 0;
  Time last_save_;
};

}  // namespace cairn::backup
