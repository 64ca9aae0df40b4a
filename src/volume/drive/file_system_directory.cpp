// FileSystem: open directories.

#include "volume/drive/file_system_impl.h"
#include "volume/view.h"

namespace cairn::volume {

namespace {

// Cookies: 1 behind ".", 2 behind "..", then one for each name given.
constexpr uint64_t kBehindDots = 2;
constexpr size_t kCountPage = 1000;  // names

}  // namespace

std::string_view FileSystem::Impl::OpenDirectory::name(size_t index) const {
  const uint32_t begin = index == 0 ? 0 : ends[index - 1];
  return std::string_view(names).substr(begin, ends[index] - begin);
}

void FileSystem::Impl::OpenDirectory::add(std::string_view name) {
  names += name;
  ends.push_back(static_cast<uint32_t>(names.size()));
}

FileSystem::Impl::OpenDirectoryPtr FileSystem::Impl::directory(FileHandle handle) const {
  const auto at = directories_.find(handle);
  return at == directories_.end() ? nullptr : at->second;
}

env::Task<FsResult<FileHandle>> FileSystem::Impl::open_directory(InodeId id) {
  const auto lock = co_await locks_.lock(id);
  auto inode = co_await load(id);
  if (!inode) co_return std::unexpected(inode.error());
  if (!inode->is_directory()) co_return fs_fail(ENOTDIR);
  ++open_[id].handles;
  const FileHandle handle = next_handle_++;
  auto open = std::make_shared<OpenDirectory>(world_.executor);
  open->inode = id;
  directories_.emplace(handle, std::move(open));
  co_return handle;
}

env::Task<FsStatus> FileSystem::Impl::release_directory(FileHandle handle) {
  const OpenDirectoryPtr open = directory(handle);
  if (!open) co_return fs_fail(EBADF);
  const auto lock = co_await locks_.lock(open->inode);
  if (directories_.erase(handle) == 0) co_return fs_fail(EBADF);
  close_inode(open->inode);
  co_return FsStatus{};
}

env::Task<FsStatus> FileSystem::Impl::fill_inodes(std::vector<DirectoryItem>& items) {
  std::vector<InodeId> wanted;
  for (const DirectoryItem& item : items) {
    if (item.cookie > kBehindDots) wanted.push_back(item.entry.inode);
  }
  auto inodes = co_await View(pending_.items(), nullptr).inodes(std::move(wanted));
  if (!inodes) co_return fs_fail(inodes.error());
  auto next = inodes->begin();
  for (DirectoryItem& item : items) {
    if (item.cookie <= kBehindDots) continue;
    if (*next) item.inode = shown(item.entry.inode, std::move(**next)).inode;
    ++next;
  }
  co_return FsStatus{};
}

// Names as if they had been given, until there are `count` or no more.
env::Task<FsStatus> FileSystem::Impl::count_up_to(OpenDirectoryPtr open, size_t count) {
  const KeyRange range = range_of(open->inode, ItemKind::entry);
  std::string from = open->count() == 0 ? range.first : entry_key(open->inode, open->name(open->count() - 1)) + '\0';
  while (open->count() < count) {
    const size_t wanted = std::min(count - open->count(), kCountPage);
    auto page = co_await pending_.items()->scan(from, range.last, wanted);
    if (!page) co_return fs_fail(page.error());
    for (const Item& item : *page) {
      const auto key = parse_inode_key(item.key);
      if (!key) co_return fs_fail(EIO);
      open->add(key->name);
    }
    if (page->size() < wanted) break;
    from = page->back().key + '\0';
  }
  co_return FsStatus{};
}

env::Task<FsResult<std::vector<DirectoryItem>>> FileSystem::Impl::read_directory(FileHandle handle, uint64_t cookie,
                                                                                 size_t limit, bool with_inodes) {
  const OpenDirectoryPtr open = directory(handle);
  if (!open) co_return fs_fail(EBADF);
  const auto turn = co_await open->turn.acquire();
  const InodeId id = open->inode;
  std::vector<DirectoryItem> given;
  if (cookie == 0) {
    open->names.clear();
    open->ends.clear();
  }
  if (cookie < kBehindDots) {
    const auto lock = co_await locks_.lock(id);
    const HeadPtr base = pending_.base();
    auto about = co_await load(id);
    if (!about) co_return std::unexpected(about.error());
    const InodeId parent = about->parent;
    if (cookie == 0) note_access(id, std::move(*about), base);
    if (cookie == 0 && given.size() < limit)
      given.push_back({.entry = {".", id, FileType::directory}, .cookie = 1, .inode = {}});
    if (given.size() < limit)
      given.push_back({.entry = {"..", parent, FileType::directory}, .cookie = kBehindDots, .inode = {}});
  }
  // The kernel began with a listing that it had kept from another handle, and lost the rest of it: that one's places
  // are these, as nothing has changed since (or it would not have been kept).
  if (cookie > kBehindDots + open->count()) CAIRN_FS_TRY(co_await count_up_to(open, cookie - kBehindDots));
  size_t index = cookie < kBehindDots ? 0 : std::min<size_t>(cookie - kBehindDots, open->count());
  const KeyRange range = range_of(id, ItemKind::entry);
  std::string from = index == 0 ? range.first : entry_key(id, open->name(index - 1)) + '\0';
  while (given.size() < limit) {
    // What was given before is given again, as far as it is still there, with nothing new among it; then what follows.
    const bool again = index < open->count();
    const std::string last = again ? entry_key(id, open->name(open->count() - 1)) + '\0' : range.last;
    const size_t wanted = limit - given.size();
    auto page = co_await pending_.items()->scan(from, last, wanted);
    if (!page) co_return fs_fail(page.error());
    for (const Item& item : *page) {
      const auto key = parse_inode_key(item.key);
      if (!key) co_return fs_fail(EIO);
      auto entry = decode_entry(key->name, item.value);
      if (!entry) co_return fs_fail(entry.error());
      if (again) {
        while (index < open->count() && open->name(index) < key->name) ++index;
        if (index == open->count() || open->name(index) != key->name) continue;
      } else {
        open->add(key->name);
      }
      ++index;
      given.push_back({.entry = std::move(*entry), .cookie = kBehindDots + index, .inode = {}});
    }
    if (page->size() == wanted) {
      from = page->back().key + '\0';
    } else if (again) {
      from = last;
      index = open->count();
    } else {
      break;
    }
  }
  if (with_inodes) CAIRN_FS_TRY(co_await fill_inodes(given));
  co_return given;
}

}  // namespace cairn::volume
