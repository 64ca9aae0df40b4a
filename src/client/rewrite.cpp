#include "client/rewrite.h"

#include <algorithm>

#include "backup/patterns.h"
#include "client/backup_run.h"
#include "client/snapshots.h"
#include "client/tree_path.h"

namespace cairn::client {

namespace {

using volume::Inode;
using volume::InodeId;

constexpr size_t kListPage = 4096;

// One snapshot's tree without what the patterns fit.
class Cutter {
 public:
  Cutter(volume::SnapshotWriter& writer, const backup::Patterns& excludes, const backup::Patterns& iexcludes,
         const std::set<std::string>& paths)
      : writer_(writer), base_(writer.base()), excludes_(excludes), iexcludes_(iexcludes), paths_(paths) {}

  env::Task<Status> run() {
    auto done = co_await folder(volume::kRootInode, "/", 0);
    if (!done) co_return done;
    // Names that went have changed the ctimes of files that have others.
    for (const auto& [id, ctime] : linked_) {
      auto now = co_await writer_.files().view().inode(id);
      if (!now && now.error().code == Code::not_found) continue;
      if (!now) co_return fail(std::move(now.error()));
      done = co_await writer_.files().set_attributes(id, {.ctime = ctime});
      if (!done) co_return done;
    }
    co_return Status{};
  }
  uint64_t removed() const { return removed_; }
  uint64_t files() const { return files_; }
  uint64_t bytes() const { return bytes_; }

 private:
  env::Task<Status> folder(InodeId id, std::string path, size_t depth) {
    if (depth > volume::kMaxPathDepth) co_return fail(Code::too_large, "folders are nested too deeply");
    bool touched = false;
    std::string after;
    for (;;) {
      auto page = co_await base_.list(id, after, kListPage);
      if (!page) co_return fail(std::move(page.error()));
      if (page->empty()) break;
      after = page->back().name;
      for (const volume::DirectoryEntry& entry : *page) {
        const std::string below = join(path, entry.name);
        if (paths_.contains(below) || excludes_.match(below) || iexcludes_.match(below)) {
          auto counted = co_await count(entry.inode, depth + 1);
          if (!counted) co_return counted;
          auto gone = co_await writer_.files().remove_tree(id, entry.name);
          if (!gone) co_return gone;
          ++removed_;
          touched = true;
        } else if (entry.type == volume::FileType::directory) {
          auto done = co_await folder(entry.inode, below, depth + 1);
          if (!done) co_return done;
        }
      }
    }
    if (!touched) co_return Status{};
    auto about = co_await base_.inode(id);
    if (!about) co_return fail(std::move(about.error()));
    auto done = co_await writer_.files().set_attributes(id, {.mtime = about->mtime, .ctime = about->ctime});
    co_return done;
  }

  // What goes with an entry.
  env::Task<Status> count(InodeId id, size_t depth) {
    if (depth > volume::kMaxPathDepth) co_return fail(Code::too_large, "folders are nested too deeply");
    auto inode = co_await base_.inode(id);
    if (!inode) co_return fail(std::move(inode.error()));
    if (inode->is_file()) {
      ++files_;
      bytes_ += inode->size;
    }
    if (!inode->is_directory()) {
      if (inode->links > 1) linked_.emplace(id, inode->ctime);
      co_return Status{};
    }
    std::string after;
    for (;;) {
      auto page = co_await base_.list(id, after, kListPage);
      if (!page) co_return fail(std::move(page.error()));
      if (page->empty()) co_return Status{};
      after = page->back().name;
      for (const volume::DirectoryEntry& entry : *page) {
        auto done = co_await count(entry.inode, depth + 1);
        if (!done) co_return done;
      }
    }
  }

  volume::SnapshotWriter& writer_;
  volume::View base_;
  const backup::Patterns &excludes_, &iexcludes_;
  const std::set<std::string>& paths_;
  std::map<InodeId, WallTime> linked_;
  uint64_t removed_ = 0, files_ = 0, bytes_ = 0;
};

}  // namespace

env::Task<Result<RewriteReport>> rewrite_snapshots(Core& core, RewriteOptions options) {
  if (options.forget) CAIRN_CO_TRY(core.refuse_append_only());
  std::vector<std::string> all;
  auto excludes = read_patterns(options.excludes, options.exclude_files, false, all);
  if (!excludes) co_return fail(std::move(excludes.error()));
  auto iexcludes = read_patterns(options.iexcludes, options.iexclude_files, true, all);
  if (!iexcludes) co_return fail(std::move(iexcludes.error()));
  if (all.empty() && options.paths.empty() && options.new_host.empty() && !options.new_time)
    co_return fail(Code::bad_input, "nothing to change was named (for instance --exclude '*.iso')");
  auto backups = co_await open_backups(core, false);
  if (!backups) co_return fail(std::move(backups.error()));
  volume::Volume& volume = *(*backups)->volume;
  auto chosen = co_await select_snapshots(**backups, options.filter, options.names);
  if (!chosen) co_return fail(std::move(chosen.error()));
  RewriteReport report;
  for (const FoundSnapshot& one : *chosen) {
    if (one.record.partial) continue;  // its run saves it anew
    auto writer = co_await volume.begin_snapshot(one.record.id.hex());
    if (!writer) co_return fail(std::move(writer.error()));
    Cutter cutter(**writer, *excludes, *iexcludes, options.paths);
    auto cut = co_await cutter.run();
    if (!cut) co_return fail(std::move(cut.error()), one.record.id.short_hex());
    backup::Record record = one.record;
    if (!options.new_host.empty()) record.host = options.new_host;
    if (options.new_time) record.time = *options.new_time;
    // It is saved long after: from here on the time is what it was believed to be.
    if (!options.new_time) record.time = backup::retention_time(one.record, one.info.created, (*backups)->append_only);
    record.from_clock = false;
    if (cutter.removed() == 0 && options.new_host.empty() && !options.new_time) continue;
    if (record.original.is_zero()) record.original = record.id;
    record.id = core.world().random.id<backup::SnapshotId>();
    record.summary.total_files_processed -= std::min(record.summary.total_files_processed, cutter.files());
    record.summary.total_bytes_processed -= std::min(record.summary.total_bytes_processed, cutter.bytes());
    if (!options.forget && std::ranges::find(record.tags, options.mark) == record.tags.end())
      record.tags.push_back(options.mark);
    report.changed.emplace_back(one.record.id.hex(), options.dry_run ? "" : record.id.hex());
    report.removed_files += cutter.files();
    report.removed_bytes += cutter.bytes();
    if (options.dry_run) continue;
    std::vector<std::string> gone;
    if (options.forget) gone.push_back(one.record.id.hex());
    auto saved = co_await (*writer)->save(record.id.hex(), backup::encode_record(record), std::move(gone));
    if (!saved) co_return fail(std::move(saved.error()));
  }
  if (!report.changed.empty() && !options.dry_run) co_await core.pool().settle();
  co_return report;
}

}  // namespace cairn::client
