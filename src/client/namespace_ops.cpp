#include "client/namespace_ops.h"

#include "client/partial.h"
#include "client/report.h"
#include "client/snapshots.h"
#include "client/tree_path.h"

namespace cairn::client {

FileStatus describe(std::string path, volume::InodeId id, const volume::Inode& inode) {
  FileStatus status{.path = std::move(path),
                    .type = static_cast<FileType>(static_cast<int>(inode.type) - 1),
                    .mode = inode.mode,
                    .uid = inode.uid,
                    .gid = inode.gid,
                    .links = inode.is_directory() ? inode.links + 2 : inode.links,
                    .size = inode.size,
                    .inode = inode.source_inode != 0 ? inode.source_inode : id,
                    .device = inode.rdev,
                    .mtime = inode.mtime,
                    .ctime = inode.ctime,
                    .btime = inode.btime,
                    .target = {},
                    .owner = inode.owner,
                    .group = inode.group};
  if (inode.type == volume::FileType::symlink) status.target = inode.inline_data;
  return status;
}

namespace {

constexpr size_t kListPage = 4096;
// Entries removed between two looks at the transaction's size.
constexpr size_t kRemoveStep = 4096;
constexpr size_t kMaxVolumeName = 64;

env::Task<Result<OpenVolume*>> opened(Core& core, std::string tree, bool create) {
  auto settled = co_await core.settle();
  if (!settled) co_return fail(std::move(settled.error()));
  auto open = co_await core.open_volume(std::move(tree), create);
  co_return open;
}

static_assert(static_cast<int>(FileType::file) == static_cast<int>(volume::FileType::file) - 1);
static_assert(static_cast<int>(FileType::block_device) == static_cast<int>(volume::FileType::block_device) - 1);

// False when `visit` wants no more.
env::Task<Result<bool>> walk(volume::View view, volume::InodeId folder, std::string path, bool recursive, size_t depth,
                             const std::function<bool(const FileStatus&)>& visit) {
  if (depth > volume::kMaxPathDepth) co_return fail(Code::too_large, "folders are nested too deeply");
  std::string after;
  for (;;) {
    auto page = co_await view.list(folder, after, kListPage);
    if (!page) co_return fail(std::move(page.error()));
    if (page->empty()) co_return true;
    after = page->back().name;
    std::vector<volume::InodeId> numbers;
    for (const volume::DirectoryEntry& entry : *page) numbers.push_back(entry.inode);
    auto inodes = co_await view.inodes(std::move(numbers));
    if (!inodes) co_return fail(std::move(inodes.error()), printable(path));
    for (size_t i = 0; i < page->size(); ++i) {
      const volume::DirectoryEntry& entry = (*page)[i];
      const std::string child = join(path, entry.name);
      if (child == kPartialDirectory) continue;
      const std::optional<volume::Inode>& inode = (*inodes)[i];
      if (!inode) co_return fail(Code::damaged, printable(child) + ": the volume has its name and not the file");
      if (!visit(describe(child, entry.inode, *inode))) co_return false;
      if (!recursive || !inode->is_directory()) continue;
      auto below = co_await walk(view, entry.inode, child, true, depth + 1, visit);
      if (!below || !*below) co_return below;
    }
  }
}

bool is_reserved(const std::string& path) {
  return path == kPartialDirectory || path.starts_with(std::string(kPartialDirectory) + "/");
}

env::Task<Status> committed(std::unique_ptr<volume::Transaction> edit) {
  auto done = co_await edit->commit();
  if (!done) co_return fail(std::move(done.error()));
  co_return Status{};
}

}  // namespace

env::Task<Status> list_folder(Core& core, TreePath path, bool recursive, std::function<bool(const FileStatus&)> visit) {
  auto tree = co_await tree_view(core, path.tree);
  if (!tree) co_return fail(std::move(tree.error()));
  const volume::View view = std::move(*tree);
  auto found = co_await view.resolve(path.path);
  if (!found) co_return fail(std::move(found.error()));
  if (!found->inode.is_directory()) {
    visit(describe(path.path, found->id, found->inode));
    co_return Status{};
  }
  auto done = co_await walk(view, found->id, path.path, recursive, 0, visit);
  if (!done) co_return fail(std::move(done.error()));
  co_return Status{};
}

env::Task<Status> list_snapshot(Core& core, std::string name, SnapshotFilter filter, std::vector<std::string> folders,
                                bool recursive, std::function<void(const SnapshotReport&)> on_snapshot,
                                std::function<bool(const FileStatus&)> visit) {
  auto open = co_await open_snapshot(core, std::move(name), std::move(filter));
  if (!open) co_return fail(std::move(open.error()));
  const volume::View& view = open->view;
  on_snapshot(report_of(open->found.record, open->found.info));
  const bool whole = folders.empty();
  if (whole) folders.push_back(open->found.subfolder);
  for (const std::string& folder : folders) {
    const std::string path = normalize(folder);
    auto at = co_await view.resolve(path);
    if (!at) co_return fail(std::move(at.error()));
    if (path != "/" && !visit(describe(path, at->id, at->inode))) co_return Status{};
    if (!at->inode.is_directory()) continue;
    auto more = co_await walk(view, at->id, path, whole || recursive, 0, visit);
    if (!more) co_return fail(std::move(more.error()));
    if (!*more) break;
  }
  co_return Status{};
}

env::Task<Result<FileStatus>> stat_path(Core& core, TreePath path) {
  auto tree = co_await tree_view(core, path.tree);
  if (!tree) co_return fail(std::move(tree.error()));
  auto found = co_await tree->resolve(path.path);
  if (!found) co_return fail(std::move(found.error()));
  co_return describe(path.path, found->id, found->inode);
}

env::Task<Status> make_folder(Core& core, TreePath path, bool parents) {
  if (is_reserved(path.path)) co_return fail(Code::denied, "this name is Cairn's own");
  auto open = co_await opened(core, path.tree, true);
  if (!open) co_return fail(std::move(open.error()));
  auto edit = (*open)->volume->begin();
  if (!edit) co_return fail(std::move(edit.error()));
  if (parents) {
    auto made = co_await (*edit)->make_directories(path.path, {.mode = 0755});
    if (!made) co_return fail(std::move(made.error()));
    if ((*edit)->empty()) co_return Status{};
  } else {
    if (path.path == "/") co_return fail(Code::exists, "the root is always there");
    auto place = co_await (*edit)->view().resolve_parent(path.path);
    if (!place) co_return fail(std::move(place.error()));
    auto made = co_await (*edit)->make_directory(place->parent, place->name, {.mode = 0755});
    if (!made) co_return fail(std::move(made.error()));
  }
  auto done = co_await committed(std::move(*edit));
  co_return done;
}

env::Task<Status> move_path(Core& core, TreePath from, TreePath to) {
  if (from.tree != to.tree) co_return fail(Code::bad_input, "mv stays within one tree: use get and put between trees");
  if (is_reserved(from.path) || is_reserved(to.path)) co_return fail(Code::denied, "this name is Cairn's own");
  auto open = co_await opened(core, from.tree, false);
  if (!open) co_return fail(std::move(open.error()));
  auto edit = (*open)->volume->begin();
  if (!edit) co_return fail(std::move(edit.error()));
  const volume::View view = (*edit)->view();
  auto source = co_await view.resolve_parent(from.path);
  if (!source) co_return fail(std::move(source.error()));
  std::string destination = to.path;
  auto there = co_await view.resolve(destination);
  if (there && there->inode.is_directory() && destination != from.path) destination = join(destination, source->name);
  if (!there && there.error().code != Code::not_found) co_return fail(std::move(there.error()));
  auto target = co_await view.resolve_parent(destination);
  if (!target) co_return fail(std::move(target.error()), destination);
  auto moved = co_await (*edit)->rename(source->parent, source->name, target->parent, target->name);
  if (!moved) co_return moved;
  if ((*edit)->empty()) co_return Status{};
  auto done = co_await committed(std::move(*edit));
  co_return done;
}

env::Task<Status> remove_path(Core& core, TreePath path, bool recursive) {
  if (path.path == "/") co_return fail(Code::bad_input, "the root cannot be removed; name what is in it");
  if (is_reserved(path.path)) co_return fail(Code::denied, "this name is Cairn's own");
  auto open = co_await opened(core, path.tree, false);
  if (!open) co_return fail(std::move(open.error()));
  auto edit = (*open)->volume->begin();
  if (!edit) co_return fail(std::move(edit.error()));
  auto place = co_await (*edit)->view().resolve_parent(path.path);
  if (!place) co_return fail(std::move(place.error()));
  auto entry = co_await (*edit)->view().lookup(place->parent, place->name);
  if (!entry) co_return fail(std::move(entry.error()));
  if (entry->type == volume::FileType::directory && !recursive)
    co_return fail(Code::bad_input, "it is a folder: say -r");
  // All at once where that fits a transaction; a huge tree goes in pieces, from its leaves on.
  for (;;) {
    auto gone = co_await (*edit)->remove_some(place->parent, place->name, kRemoveStep);
    if (!gone) co_return fail(std::move(gone.error()));
    if (*gone) break;
    if (!(*edit)->full()) continue;
    auto part = co_await (*edit)->commit();
    if (!part) co_return fail(std::move(part.error()));
  }
  auto done = co_await committed(std::move(*edit));
  co_return done;
}

env::Task<Result<VolumeReport>> create_volume(Core& core, std::string name, bool deduplicates) {
  const bool plain = !name.empty() && name.size() <= kMaxVolumeName &&
                     name.find_first_of(":/\n\r\t") == std::string::npos && name != "latest" && name[0] != '-';
  if (!plain)
    co_return fail(Code::bad_input,
                   "a volume's name has 1 to 64 bytes without ':', '/' and control characters, and is not 'latest'");
  auto settled = co_await core.settle();
  if (!settled) co_return fail(std::move(settled.error()));
  auto made = co_await core.account().create_volume(name, deduplicates);
  if (!made) co_return fail(std::move(made.error()));
  auto report = co_await one_volume(core, name);
  co_return report;
}

env::Task<Result<VolumeReport>> one_volume(Core& core, std::string name) {
  auto open = co_await opened(core, std::move(name), false);
  if (!open) co_return fail(std::move(open.error()));
  auto report = co_await volume_report(core, **open, true);
  co_return report;
}

}  // namespace cairn::client
