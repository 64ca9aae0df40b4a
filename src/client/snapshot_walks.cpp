#include "client/snapshot_walks.h"

#include <algorithm>
#include <set>

#include "backup/patterns.h"
#include "client/namespace_ops.h"
#include "client/snapshots.h"
#include "client/tree_path.h"
#include "crypto/hash.h"
#include "volume/keys.h"

namespace cairn::client {

namespace {

using volume::Inode;
using volume::InodeId;
using volume::View;

constexpr size_t kListPage = 4096;
constexpr size_t kExtentPage = 4096;

struct Entry {
  std::string name;
  InodeId id = 0;
  Inode inode;
};

// All entries of a folder, in the order of their names' bytes.
env::Task<Result<std::vector<Entry>>> entries_of(View view, InodeId folder) {
  std::vector<Entry> all;
  std::string after;
  for (;;) {
    auto page = co_await view.list(folder, after, kListPage);
    if (!page) co_return fail(std::move(page.error()));
    if (page->empty()) co_return all;
    after = page->back().name;
    std::vector<InodeId> ids;
    for (const volume::DirectoryEntry& entry : *page) ids.push_back(entry.inode);
    auto inodes = co_await view.inodes(std::move(ids));
    if (!inodes) co_return fail(std::move(inodes.error()));
    for (size_t i = 0; i < page->size(); ++i) {
      if (!(*inodes)[i]) co_return fail(Code::damaged, "the snapshot has a name and not its file");
      all.push_back({std::move((*page)[i].name), (*page)[i].inode, std::move(*(*inodes)[i])});
    }
  }
}

env::Task<Result<std::vector<volume::Extent>>> extents_of(View view, InodeId id, uint64_t size) {
  std::vector<volume::Extent> all;
  for (uint64_t from = 0; from < size;) {
    auto page = co_await view.extents(id, from, size, kExtentPage);
    if (!page) co_return fail(std::move(page.error()));
    if (page->empty()) break;
    from = page->back().end();
    all.insert(all.end(), page->begin(), page->end());
  }
  co_return all;
}

// Depth first; `visit` says whether to go on.
using VisitEntry = std::function<env::Task<Result<bool>>(std::string path, const Entry& entry)>;
env::Task<Result<bool>> walk(View view, InodeId folder, std::string path, size_t depth, const VisitEntry& visit) {
  if (depth > volume::kMaxPathDepth) co_return fail(Code::too_large, "folders are nested too deeply");
  auto entries = co_await entries_of(view, folder);
  if (!entries) co_return fail(std::move(entries.error()), printable(path));
  for (const Entry& entry : *entries) {
    const std::string below = join(path, entry.name);
    auto more = co_await visit(below, entry);
    if (!more || !*more) co_return more;
    if (!entry.inode.is_directory()) continue;
    more = co_await walk(view, entry.id, below, depth + 1, visit);
    if (!more || !*more) co_return more;
  }
  co_return true;
}

// What two snapshots have under one folder each.
class Differ {
 public:
  Differ(View before, View after, bool metadata, std::function<bool(const DiffChange&)> visit)
      : before_(std::move(before)), after_(std::move(after)), metadata_(metadata), visit_(std::move(visit)) {}

  // Folders that are one inode in both snapshots and not in here have nothing that differs below them.
  env::Task<Status> find_touched(volume::Volume& volume, std::string before, std::string after) {
    std::set<InodeId> inodes;
    auto done = co_await volume.diff_snapshots(std::move(before), std::move(after),
                                               [&](std::vector<volume::Difference> batch) -> env::Task<Status> {
                                                 for (const volume::Difference& difference : batch) {
                                                   if (const auto inode = volume::inode_of_key(difference.key))
                                                     inodes.insert(*inode);
                                                 }
                                                 co_return Status{};
                                               });
    if (!done) co_return done;
    for (const InodeId inode : inodes) {
      CAIRN_CO_TRY(co_await touch(before_, inode));
      CAIRN_CO_TRY(co_await touch(after_, inode));
    }
    co_return Status{};
  }

  env::Task<Result<bool>> compare(InodeId before, InodeId after, std::string path, size_t depth) {
    if (depth > volume::kMaxPathDepth) co_return fail(Code::too_large, "folders are nested too deeply");
    if (before == after && before != 0 && !touched_.contains(before)) co_return true;
    std::vector<Entry> old_entries, new_entries;
    if (before != 0) {
      auto list = co_await entries_of(before_, before);
      if (!list) co_return fail(std::move(list.error()), printable(path));
      old_entries = std::move(*list);
    }
    if (after != 0) {
      auto list = co_await entries_of(after_, after);
      if (!list) co_return fail(std::move(list.error()), printable(path));
      new_entries = std::move(*list);
    }
    auto a = old_entries.begin();
    auto b = new_entries.begin();
    while (a != old_entries.end() || b != new_entries.end()) {
      const bool only_old = b == new_entries.end() || (a != old_entries.end() && a->name < b->name);
      const bool only_new = !only_old && (a == old_entries.end() || b->name < a->name);
      const Entry* old_entry = only_new ? nullptr : &*a;
      const Entry* new_entry = only_old ? nullptr : &*b;
      if (!only_new) ++a;
      if (!only_old) ++b;
      auto more =
          co_await one(old_entry, new_entry, join(path, (old_entry != nullptr ? old_entry : new_entry)->name), depth);
      if (!more || !*more) co_return more;
    }
    co_return true;
  }

  void finish(DiffReport& report) {
    report.changed_files = report_.changed_files;
    report.added = report_.added;
    report.removed = report_.removed;
    for (const auto& [chunk, length] : new_chunks_) {
      if (!old_chunks_.contains(chunk)) ++report.added.blobs, report.added.bytes += length;
    }
    for (const auto& [chunk, length] : old_chunks_) {
      if (!new_chunks_.contains(chunk)) ++report.removed.blobs, report.removed.bytes += length;
    }
  }

 private:
  // The inode, and the folders above it.
  env::Task<Status> touch(const View& view, InodeId inode) {
    auto& seen = &view == &before_ ? touched_before_ : touched_after_;
    while (seen.insert(inode).second) {
      touched_.insert(inode);
      auto about = co_await view.inode(inode);
      if (!about && about.error().code == Code::not_found) co_return Status{};
      if (!about) co_return fail(std::move(about.error()));
      inode = about->parent;
    }
    co_return Status{};
  }

  bool tell(std::string path, const Inode& inode, std::string modifier) {
    if (inode.is_directory()) path += '/';
    return visit_({.path = std::move(path), .modifier = std::move(modifier)});
  }
  static void count(DiffFigures& figures, const Inode& inode) {
    ++(inode.is_directory() ? figures.dirs : inode.is_file() ? figures.files : figures.others);
  }
  env::Task<Status> add_chunks(const View& view, const Entry& entry, std::map<ChunkId, uint64_t>& chunks) {
    if (!entry.inode.is_file()) co_return Status{};
    auto extents = co_await extents_of(view, entry.id, entry.inode.size);
    if (!extents) co_return fail(std::move(extents.error()));
    for (const volume::Extent& extent : *extents) chunks.emplace(extent.chunk, extent.length);
    co_return Status{};
  }

  env::Task<Result<bool>> one(const Entry* before, const Entry* after, std::string path, size_t depth) {
    if (before != nullptr && after != nullptr && before->inode.type == after->inode.type) {
      auto more = co_await both(*before, *after, path, depth);
      co_return more;
    }
    if (before != nullptr && after != nullptr) {  // of another type
      if (!tell(path, after->inode, "T")) co_return false;
      if (before->inode.is_file() || after->inode.is_file()) ++report_.changed_files;
    }
    if (before != nullptr) {
      if (after == nullptr && !tell(path, before->inode, "-")) co_return false;
      count(report_.removed, before->inode);
      CAIRN_CO_TRY(co_await add_chunks(before_, *before, old_chunks_));
      if (before->inode.is_directory()) {
        auto more = co_await compare(before->id, 0, path, depth + 1);
        if (!more || !*more) co_return more;
      }
    }
    if (after != nullptr) {
      if (before == nullptr && !tell(path, after->inode, "+")) co_return false;
      count(report_.added, after->inode);
      CAIRN_CO_TRY(co_await add_chunks(after_, *after, new_chunks_));
      if (after->inode.is_directory()) {
        auto more = co_await compare(0, after->id, path, depth + 1);
        if (!more || !*more) co_return more;
      }
    }
    co_return true;
  }

  env::Task<Result<bool>> both(const Entry& before, const Entry& after, std::string path, size_t depth) {
    std::string modifier;
    if (before.inode.is_file()) {
      auto same = co_await same_content(before, after);
      if (!same) co_return fail(std::move(same.error()), printable(path));
      if (!*same) {
        modifier += 'M';
        ++report_.changed_files;
        CAIRN_CO_TRY(co_await add_chunks(before_, before, old_chunks_));
        CAIRN_CO_TRY(co_await add_chunks(after_, after, new_chunks_));
      }
    }
    if (metadata_) {
      auto same = co_await same_metadata(before, after);
      if (!same) co_return fail(std::move(same.error()), printable(path));
      if (!*same) modifier += 'U';
    } else if (before.inode.type == volume::FileType::symlink && before.inode.inline_data != after.inode.inline_data) {
      modifier += 'M';
    }
    if (!modifier.empty() && !tell(path, after.inode, modifier)) co_return false;
    if (!before.inode.is_directory()) co_return true;
    auto more = co_await compare(before.id, after.id, path, depth + 1);
    co_return more;
  }

  env::Task<Result<bool>> same_content(const Entry& before, const Entry& after) {
    if (before.inode.size != after.inode.size || before.inode.inline_data != after.inode.inline_data) co_return false;
    if (before.id == after.id && before.inode.version == after.inode.version) co_return true;
    auto a = co_await extents_of(before_, before.id, before.inode.size);
    if (!a) co_return fail(std::move(a.error()));
    auto b = co_await extents_of(after_, after.id, after.inode.size);
    if (!b) co_return fail(std::move(b.error()));
    co_return std::ranges::equal(*a, *b, [](const volume::Extent& x, const volume::Extent& y) {
      return x.offset == y.offset && x.length == y.length && x.chunk == y.chunk && x.chunk_offset == y.chunk_offset;
    });
  }

  env::Task<Result<bool>> same_metadata(const Entry& before, const Entry& after) {
    Inode a = before.inode, b = after.inode;
    for (Inode* inode : {&a, &b}) {  // what is not the file's own
      inode->version = 0;
      inode->parent = 0;
      inode->size = 0;
      inode->atime = 0;
      if (inode->is_file()) inode->inline_data.clear();
    }
    if (!(a == b)) co_return false;
    if (!a.has_xattrs) co_return true;
    auto x = co_await before_.xattrs(before.id);
    if (!x) co_return fail(std::move(x.error()));
    auto y = co_await after_.xattrs(after.id);
    if (!y) co_return fail(std::move(y.error()));
    co_return *x == *y;
  }

  View before_, after_;
  bool metadata_;
  std::function<bool(const DiffChange&)> visit_;
  std::set<InodeId> touched_, touched_before_, touched_after_;
  std::map<ChunkId, uint64_t> old_chunks_, new_chunks_;
  DiffReport report_;
};

}  // namespace

env::Task<Status> find_in_snapshots(Core& core, FindOptions options,
                                    std::function<void(const SnapshotReport&)> on_snapshot,
                                    std::function<bool(const FileStatus&)> visit) {
  auto patterns = backup::Patterns::parse(options.patterns, options.ignore_case);
  if (!patterns) co_return fail(std::move(patterns.error()));
  auto backups = co_await open_backups(core, false);
  if (!backups) co_return fail(std::move(backups.error()));
  auto chosen = co_await select_snapshots(**backups, std::move(options.filter), std::move(options.names));
  if (!chosen) co_return fail(std::move(chosen.error()));
  for (const FoundSnapshot& one : *chosen) {
    on_snapshot(report_of(one.record, one.info));
    auto view = co_await (*backups)->volume->view_snapshot(one.record.id.hex());
    if (!view) co_return fail(std::move(view.error()));
    auto root = co_await view->resolve(one.subfolder);
    if (!root) co_return fail(std::move(root.error()));
    const VisitEntry look = [&](std::string path, const Entry& entry) -> env::Task<Result<bool>> {
      const Inode& inode = entry.inode;
      const bool in_time =
          (!options.oldest || inode.mtime >= *options.oldest) && (!options.newest || inode.mtime <= *options.newest);
      if (!in_time || !patterns->match_whole(path)) co_return true;
      co_return visit(describe(std::move(path), entry.id, inode));
    };
    auto more = co_await walk(*view, root->id, one.subfolder, 0, look);
    if (!more) co_return fail(std::move(more.error()));
    if (!*more) break;
  }
  co_return Status{};
}

env::Task<Result<StatsReport>> snapshot_stats(Core& core, StatsOptions options) {
  using Mode = StatsOptions::Mode;
  auto backups = co_await open_backups(core, false);
  if (!backups) co_return fail(std::move(backups.error()));
  auto chosen = co_await select_snapshots(**backups, std::move(options.filter), std::move(options.names));
  if (!chosen) co_return fail(std::move(chosen.error()));
  StatsReport report{.snapshots = chosen->size()};
  std::set<Hash> contents;
  std::set<ChunkId> chunks;
  for (const FoundSnapshot& one : *chosen) {
    auto opened = co_await (*backups)->volume->view_snapshot(one.record.id.hex());
    if (!opened) co_return fail(std::move(opened.error()));
    const View view = std::move(*opened);
    auto root = co_await view.resolve(one.subfolder);
    if (!root) co_return fail(std::move(root.error()));
    std::set<InodeId> linked;  // files with several names are written once
    const VisitEntry add = [&](std::string, const Entry& entry) -> env::Task<Result<bool>> {
      const Inode& inode = entry.inode;
      if (options.mode == Mode::restore_size) {
        ++report.files;
        if (inode.is_file() && (inode.links <= 1 || linked.insert(entry.id).second)) report.size += inode.size;
        co_return true;
      }
      if (!inode.is_file()) co_return true;
      if (inode.links > 1 && !linked.insert(entry.id).second) co_return true;
      auto extents = co_await extents_of(view, entry.id, inode.inline_data.empty() ? inode.size : 0);
      if (!extents) co_return fail(std::move(extents.error()));
      if (options.mode == Mode::files_by_contents) {
        Bytes key;
        append_be64(key, inode.size);
        append(key, as_bytes(inode.inline_data));
        for (const volume::Extent& extent : *extents) {
          append_be64(key, extent.offset);
          append(key, extent.chunk.view());
        }
        if (contents.insert(crypto::sha256(key)).second) {
          ++report.files;
          report.size += inode.size;
        }
        co_return true;
      }
      for (const volume::Extent& extent : *extents) {
        if (!chunks.insert(extent.chunk).second) continue;
        ++report.blobs;
        report.size += extent.sealed_length;
        report.uncompressed_size += extent.length;
      }
      co_return true;
    };
    auto more = co_await walk(view, root->id, one.subfolder, 0, add);
    if (!more) co_return fail(std::move(more.error()));
  }
  co_return report;
}

env::Task<Result<DiffReport>> diff_snapshots(Core& core, std::string before, std::string after, bool metadata,
                                             std::function<bool(const DiffChange&)> visit) {
  auto backups = co_await open_backups(core, false);
  if (!backups) co_return fail(std::move(backups.error()));
  volume::Volume& volume = *(*backups)->volume;
  auto a = co_await find_snapshot(**backups, std::move(before), {});
  if (!a) co_return fail(std::move(a.error()));
  auto b = co_await find_snapshot(**backups, std::move(after), {});
  if (!b) co_return fail(std::move(b.error()));
  auto old_view = co_await volume.view_snapshot(a->record.id.hex());
  if (!old_view) co_return fail(std::move(old_view.error()));
  auto new_view = co_await volume.view_snapshot(b->record.id.hex());
  if (!new_view) co_return fail(std::move(new_view.error()));
  auto old_root = co_await old_view->resolve(a->subfolder);
  if (!old_root) co_return fail(std::move(old_root.error()), a->subfolder);
  auto new_root = co_await new_view->resolve(b->subfolder);
  if (!new_root) co_return fail(std::move(new_root.error()), b->subfolder);
  if (!old_root->inode.is_directory() || !new_root->inode.is_directory())
    co_return fail(Code::bad_input, "only folders are compared");
  Differ differ(*old_view, *new_view, metadata, std::move(visit));
  auto touched = co_await differ.find_touched(volume, a->record.id.hex(), b->record.id.hex());
  if (!touched) co_return fail(std::move(touched.error()));
  auto more = co_await differ.compare(old_root->id, new_root->id, a->subfolder == b->subfolder ? a->subfolder : "/", 0);
  if (!more) co_return fail(std::move(more.error()));
  DiffReport report{.before = report_of(a->record, a->info), .after = report_of(b->record, b->info)};
  differ.finish(report);
  co_return report;
}

}  // namespace cairn::client
