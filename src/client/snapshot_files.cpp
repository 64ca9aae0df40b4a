#include "client/snapshot_files.h"

#include <algorithm>

#include "client/snapshots.h"

namespace cairn::client {

using volume::DirectoryEntry;
using volume::DirectoryItem;
using volume::fs_fail;
using volume::Inode;
using volume::NodeInfo;

namespace {

constexpr size_t kListPage = 1000;
constexpr size_t kExtentPage = 64;

}  // namespace

std::optional<SnapshotFiles::Place> SnapshotFiles::place_of(uint64_t number) const {
  if (!as_folders_) return Place{.inode = number == volume::kRootInode ? trees_.front().root : number};
  if (number < 2 || number - 2 >= places_.size()) return std::nullopt;
  return places_[number - 2];
}

uint64_t SnapshotFiles::number_of(Place place) {
  if (!as_folders_) return place.inode == trees_.front().root ? volume::kRootInode : place.inode;
  const auto [at, added] = numbers_.try_emplace(place, places_.size() + 2);
  if (added) places_.push_back(place);
  return at->second;
}

NodeInfo SnapshotFiles::shown(Place place, Inode inode) {
  if (inode.is_directory()) {
    inode.links += 2;
    inode.parent = place.inode == trees_[place.tree].root ? volume::kRootInode
                                                          : number_of({.tree = place.tree, .inode = inode.parent});
  }
  return {.id = number_of(place), .inode = std::move(inode)};
}

NodeInfo SnapshotFiles::folder_of_all() const {
  Inode root = volume::empty_root();
  root.mode = 0555;
  root.links = 2;
  root.parent = volume::kRootInode;
  for (const Tree& tree : trees_) {
    if (tree.gone) continue;
    ++root.links;
    root.mtime = root.ctime = std::max(root.mtime, tree.time);
  }
  return {.id = volume::kRootInode, .inode = std::move(root)};
}

SnapshotFiles::Reply<Inode> SnapshotFiles::load(Place place) {
  auto inode = co_await answered(trees_[place.tree].view.inode(place.inode));
  co_return inode;
}

SnapshotFiles::Reply<NodeInfo> SnapshotFiles::lookup(uint64_t parent, std::string name) {
  Place found;
  if (is_folder_of_all(parent)) {
    const auto tree = std::ranges::find_if(trees_, [&](const Tree& one) { return !one.gone && one.name == name; });
    if (tree == trees_.end()) co_return fs_fail(ENOENT);
    found = {.tree = static_cast<size_t>(tree - trees_.begin()), .inode = tree->root};
  } else {
    const auto place = place_of(parent);
    if (!place) co_return fs_fail(ESTALE);
    auto entry = co_await answered(trees_[place->tree].view.lookup(place->inode, std::move(name)));
    if (!entry) co_return std::unexpected(entry.error());
    found = {.tree = place->tree, .inode = entry->inode};
  }
  auto inode = co_await load(found);
  if (!inode) co_return std::unexpected(inode.error());
  co_return shown(found, std::move(*inode));
}

SnapshotFiles::Reply<NodeInfo> SnapshotFiles::attributes(uint64_t number) {
  if (is_folder_of_all(number)) co_return folder_of_all();
  const auto place = place_of(number);
  if (!place) co_return fs_fail(ESTALE);
  auto inode = co_await load(*place);
  if (!inode) co_return std::unexpected(inode.error());
  co_return shown(*place, std::move(*inode));
}

SnapshotFiles::Reply<std::string> SnapshotFiles::read_link(uint64_t number) {
  const auto place = place_of(number);
  if (!place) co_return fs_fail(ESTALE);
  auto target = co_await answered(trees_[place->tree].view.read_link(place->inode));
  co_return target;
}

SnapshotFiles::Reply<std::string> SnapshotFiles::get_xattr(uint64_t number, std::string name) {
  if (is_folder_of_all(number)) co_return fs_fail(ENODATA);
  const auto place = place_of(number);
  if (!place) co_return fs_fail(ESTALE);
  auto all = co_await answered(trees_[place->tree].view.xattrs(place->inode));
  if (!all) co_return std::unexpected(all.error());
  const auto found = std::ranges::find(*all, name, &volume::Xattr::name);
  if (found == all->end()) co_return fs_fail(ENODATA);
  co_return std::move(found->value);
}

SnapshotFiles::Reply<std::vector<std::string>> SnapshotFiles::list_xattrs(uint64_t number) {
  std::vector<std::string> names;
  if (is_folder_of_all(number)) co_return names;
  const auto place = place_of(number);
  if (!place) co_return fs_fail(ESTALE);
  auto all = co_await answered(trees_[place->tree].view.xattrs(place->inode));
  if (!all) co_return std::unexpected(all.error());
  for (volume::Xattr& xattr : *all) names.push_back(std::move(xattr.name));
  co_return names;
}

SnapshotFiles::Reply<volume::FileSystem::Opened> SnapshotFiles::open(uint64_t number, bool truncate,
                                                                     bool /*kill_set_id*/) {
  if (truncate) co_return fs_fail(EROFS);
  const auto place = place_of(number);
  if (!place) co_return fs_fail(ESTALE);
  auto inode = co_await load(*place);
  if (!inode) co_return std::unexpected(inode.error());
  const uint64_t handle = next_handle_++;
  open_.emplace(handle, Open{.place = *place});
  co_return volume::FileSystem::Opened{.handle = handle, .keep_cache = true, .node = shown(*place, std::move(*inode))};
}

env::Task<volume::FsStatus> SnapshotFiles::release(uint64_t handle) {
  open_.erase(handle);
  co_return volume::FsStatus{};
}

env::Task<volume::FsStatus> SnapshotFiles::release_directory(uint64_t handle) {
  open_.erase(handle);
  co_return volume::FsStatus{};
}

SnapshotFiles::Reply<uint64_t> SnapshotFiles::open_directory(uint64_t number) {
  Open open{.root = is_folder_of_all(number)};
  if (!open.root) {
    const auto place = place_of(number);
    if (!place) co_return fs_fail(ESTALE);
    open.place = *place;
  }
  const volume::FileType directory = volume::FileType::directory;
  open.entries = {{.name = ".", .inode = number, .type = directory}, {.name = "..", .inode = 1, .type = directory}};
  if (open.root) {
    for (size_t i = 0; i < trees_.size(); ++i) {
      if (trees_[i].gone) continue;
      open.entries.push_back({.name = trees_[i].name, .inode = trees_[i].root, .type = directory});
      open.trees.push_back(i);
    }
    open.whole = true;
  }
  const uint64_t handle = next_handle_++;
  open_.emplace(handle, std::move(open));
  co_return handle;
}

env::Task<volume::FsStatus> SnapshotFiles::list_more(Open& open, size_t until) {
  while (!open.whole && open.entries.size() < until) {
    const std::string after = open.entries.size() > 2 ? open.entries.back().name : "";
    const size_t before = open.entries.size();
    auto more = co_await answered(trees_[open.place.tree].view.list(open.place.inode, after, kListPage));
    if (!more) co_return std::unexpected(more.error());
    if (open.entries.size() != before) continue;  // another read of the same handle was faster
    open.whole = more->size() < kListPage;
    open.entries.insert(open.entries.end(), std::make_move_iterator(more->begin()),
                        std::make_move_iterator(more->end()));
  }
  co_return volume::FsStatus{};
}

SnapshotFiles::Reply<std::vector<DirectoryItem>> SnapshotFiles::read_directory(uint64_t handle, uint64_t cookie,
                                                                               size_t limit, bool with_inodes) {
  const auto found = open_.find(handle);
  if (found == open_.end()) co_return fs_fail(EBADF);
  Open& open = found->second;  // the kernel releases it after its last read
  auto listed = co_await list_more(open, cookie + limit);
  if (!listed) co_return std::unexpected(listed.error());
  std::vector<DirectoryItem> items;
  std::vector<Place> places;
  for (size_t i = cookie; i < open.entries.size() && items.size() < limit; ++i) {
    const DirectoryEntry& entry = open.entries[i];
    const bool dots = i < 2;
    Place place{.tree = open.root && !dots ? open.trees[i - 2] : open.place.tree, .inode = entry.inode};
    items.push_back({.entry = entry, .cookie = i + 1, .inode = std::nullopt});
    if (!dots) items.back().entry.inode = number_of(place);
    places.push_back(place);
  }
  if (!with_inodes) co_return items;
  const size_t first = cookie < 2 ? std::min<size_t>(2 - cookie, items.size()) : 0;
  if (open.root) {
    for (size_t i = first; i < items.size(); ++i) {
      auto inode = co_await load(places[i]);
      if (inode) items[i].inode = shown(places[i], std::move(*inode)).inode;
    }
    co_return items;
  }
  std::vector<volume::InodeId> ids;
  for (size_t i = first; i < items.size(); ++i) ids.push_back(places[i].inode);
  auto inodes = co_await answered(trees_[open.place.tree].view.inodes(std::move(ids)));
  if (!inodes) co_return std::unexpected(inodes.error());
  for (size_t i = first; i < items.size(); ++i) {
    auto& inode = (*inodes)[i - first];
    if (inode) items[i].inode = shown(places[i], std::move(*inode)).inode;
  }
  co_return items;
}

SnapshotFiles::Reply<std::vector<Buffer>> SnapshotFiles::read(uint64_t handle, uint64_t offset, size_t length) {
  const auto found = open_.find(handle);
  if (found == open_.end()) co_return fs_fail(EBADF);
  const Place place = found->second.place;
  auto bytes = co_await answered(trees_[place.tree].view.read(place.inode, offset, length));
  if (!bytes) co_return std::unexpected(bytes.error());
  std::vector<Buffer> pieces;
  if (!bytes->empty()) pieces.push_back(Buffer::copy_of(*bytes));
  co_return pieces;
}

SnapshotFiles::Reply<uint64_t> SnapshotFiles::seek_data(uint64_t number, uint64_t offset) {
  const auto place = place_of(number);
  if (!place) co_return fs_fail(ESTALE);
  auto inode = co_await load(*place);
  if (!inode) co_return std::unexpected(inode.error());
  if (offset >= inode->size) co_return fs_fail(ENXIO);
  if (offset < inode->inline_data.size()) co_return offset;
  auto next = co_await answered(trees_[place->tree].view.extents(place->inode, offset, inode->size, 1));
  if (!next) co_return std::unexpected(next.error());
  if (next->empty()) co_return fs_fail(ENXIO);
  co_return std::max(offset, next->front().offset);
}

SnapshotFiles::Reply<uint64_t> SnapshotFiles::seek_hole(uint64_t number, uint64_t offset) {
  const auto place = place_of(number);
  if (!place) co_return fs_fail(ESTALE);
  auto inode = co_await load(*place);
  if (!inode) co_return std::unexpected(inode.error());
  if (offset >= inode->size) co_return fs_fail(ENXIO);
  if (offset < inode->inline_data.size()) co_return static_cast<uint64_t>(inode->inline_data.size());
  while (offset < inode->size) {
    auto run = co_await answered(trees_[place->tree].view.extents(place->inode, offset, inode->size, kExtentPage));
    if (!run) co_return std::unexpected(run.error());
    if (run->empty()) co_return offset;
    for (const volume::Extent& extent : *run) {
      if (extent.offset > offset) co_return offset;
      offset = extent.end();
    }
  }
  co_return std::min(offset, inode->size);
}

env::Task<Result<std::vector<std::string>>> SnapshotFiles::follow() {
  CAIRN_CO_TRY(co_await volume_->refresh());
  const uint64_t sequence = volume_->head().sequence;
  std::vector<std::string> changed;
  if (sequence == sequence_) co_return changed;
  auto all = co_await volume_->snapshots();
  if (!all) co_return fail(std::move(all.error()));
  const auto here = [&](const volume::SnapshotInfo& info) {
    return std::ranges::find_if(
        trees_, [&](const Tree& tree) { return !tree.gone && tree.id == info.name && tree.made == info.root; });
  };
  std::vector<Tree> fresh;
  for (const volume::SnapshotInfo& info : *all) {
    if (here(info) != trees_.end()) continue;
    auto view = co_await volume_->view_snapshot(info.name);
    if (!view) co_return fail(std::move(view.error()));
    // Backups are named by long numbers; the time in front sorts them.
    const bool backup = info.name.size() == 64;
    std::string folder = backup ? format_time(info.created) + "-" + info.name.substr(0, 8) : info.name;
    std::ranges::replace(folder, '/', '_');
    fresh.push_back({.name = std::move(folder),
                     .id = info.name,
                     .made = info.root,
                     .view = std::move(*view),
                     .time = info.created});
  }
  for (Tree& tree : trees_) {
    if (tree.gone || std::ranges::any_of(*all, [&](const volume::SnapshotInfo& info) {
          return tree.id == info.name && tree.made == info.root;
        }))
      continue;
    tree.gone = true;
    changed.push_back(tree.name);
  }
  for (Tree& tree : fresh) {
    changed.push_back(tree.name);
    trees_.push_back(std::move(tree));
  }
  sequence_ = sequence;
  co_return changed;
}

env::Task<Result<std::unique_ptr<SnapshotFiles>>> open_snapshot_files(Core& core, std::string name, bool as_folders) {
  if (as_folders) {
    auto open = co_await core.open_volume(name, false);
    if (!open) co_return fail(std::move(open.error()));
    auto files = std::make_unique<SnapshotFiles>((*open)->volume.get(), true);
    auto listed = co_await files->follow();
    if (!listed) co_return fail(std::move(listed.error()));
    co_return files;
  }
  auto backups = co_await open_backups(core, false);
  if (!backups) co_return fail(std::move(backups.error()));
  auto found = co_await find_snapshot(**backups, name, {});
  if (!found) co_return fail(std::move(found.error()), name);
  auto view = co_await (*backups)->volume->view_snapshot(found->info.name);
  if (!view) co_return fail(std::move(view.error()));
  auto root = co_await view->resolve(found->subfolder);
  if (!root) co_return fail(std::move(root.error()), found->subfolder);
  auto files = std::make_unique<SnapshotFiles>(nullptr, false);
  files->add({.name = "", .view = std::move(*view), .root = root->id, .time = found->info.created});
  co_return files;
}

}  // namespace cairn::client
