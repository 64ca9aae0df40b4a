// The frame of the file system: turns and locks, one operation's changes, what the drive asks for.

#include <algorithm>

#include "volume/drive/file_system_impl.h"
#include "volume/limits.h"

namespace cairn::volume {

namespace {

// More operations than this at once do not occur; the gate is closed by taking all of them.
constexpr uint64_t kShares = uint64_t{1} << 32;

}  // namespace

env::Task<InodeLocks::Lock> InodeLocks::lock(InodeId inode) {
  Lock lock(entries_, inode, entries_.try_emplace(inode, executor_).first->second);
  lock.permit_ = co_await lock.entry_->turn.acquire();
  co_return lock;
}

env::Task<std::vector<InodeLocks::Lock>> InodeLocks::lock(std::vector<InodeId> inodes) {
  std::ranges::sort(inodes);
  const auto repeated = std::ranges::unique(inodes);
  inodes.erase(repeated.begin(), repeated.end());
  std::vector<Lock> locks;
  locks.reserve(inodes.size());
  for (const InodeId inode : inodes) {
    auto next = co_await lock(inode);
    locks.push_back(std::move(next));
  }
  co_return locks;
}

FileSystem::Impl::Impl(env::World world, Pending& pending, InodeNumbers& numbers, Staging& staging, ChunkCache& chunks,
                       FileSystemOptions options)
    : world_(world),
      pending_(pending),
      numbers_(numbers),
      staging_(staging),
      chunks_(chunks),
      options_(options),
      opened_(world.clock.wall_now()),
      gate_(world.executor, kShares),
      names_(world.executor, 1),
      locks_(world.executor),
      zeros_(kExtentSize),
      group_(world.executor) {
  std::ranges::fill(zeros_.span(), 0);
}

env::Task<FsResult<env::Semaphore::Permit>> FileSystem::Impl::begin_change(uint64_t bytes) {
  if (options_.read_only) co_return fs_fail(EROFS);
  if (reserve) CAIRN_FS_TRY(co_await reserve(bytes));
  auto share = co_await gate_.acquire();
  co_return share;
}

FileSystem::Impl::Work FileSystem::Impl::begin_work() {
  return {.inodes = {}, .edits = {}, .ended = {}, .figures = {}, .now = now(), .hold = staging_.hold()};
}

FsStatus FileSystem::Impl::apply(Work& work) {
  for (const auto& [id, inode] : work.inodes) work.edits.insert_or_assign(inode_key(id), encode_inode(inode));
  EditMap taken;
  if (work.revived != 0) {
    taken = pending_.take_orphan(work.revived);
    for (const auto& [key, value] : taken) work.edits.emplace(key, value);
  }
  if (auto applied = pending_.apply(std::move(work.edits), work.figures); !applied) {
    if (work.revived != 0) pending_.add_orphan(work.revived, std::move(taken));
    return fs_fail(applied.error());
  }
  for (auto& [id, items] : work.ended) {
    if (is_open(id)) {
      pending_.add_orphan(id, std::move(items));
    } else {
      seen_.erase(id);
    }
  }
  // Changes that were made here went through the kernel's pages.
  for (const auto& [id, inode] : work.inodes) {
    if (const auto at = seen_.find(id); at != seen_.end()) at->second = inode.version;
  }
  return {};
}

env::Task<FsResult<Inode>> FileSystem::Impl::load(InodeId id) {
  auto inode = co_await load_inode(pending_.items(), id);
  if (!inode) co_return fs_fail(inode.error());
  if (!*inode) co_return fs_fail(ESTALE);
  if (id == kRootInode && options_.root_owner) own_root(**inode, *options_.root_owner, opened_);
  co_return std::move(**inode);
}

env::Task<FsResult<Inode*>> FileSystem::Impl::use(Work& work, InodeId id) {
  if (const auto known = work.inodes.find(id); known != work.inodes.end()) co_return &known->second;
  auto inode = co_await load(id);
  if (!inode) co_return std::unexpected(inode.error());
  co_return &work.inodes.emplace(id, std::move(*inode)).first->second;
}

env::Task<FsResult<Inode*>> FileSystem::Impl::use_directory(Work& work, InodeId id) {
  auto inode = co_await use(work, id);
  if (!inode) co_return inode;
  if (!(*inode)->is_directory()) co_return fs_fail(ENOTDIR);
  if (pending_.is_orphan(id)) co_return fs_fail(ENOENT);
  co_return inode;
}

NodeInfo FileSystem::Impl::shown(InodeId id, Inode inode) const {
  if (inode.is_directory()) inode.links = pending_.is_orphan(id) ? 0 : inode.links + 2;
  return {id, std::move(inode)};
}

env::Task<Status> FileSystem::Impl::exclusively(std::function<env::Task<Status>()> work) {
  const auto all = co_await gate_.acquire(kShares);
  auto done = co_await work();
  co_return done;
}

void FileSystem::Impl::keep_open(InodeId inode, EditMap items) {
  if (!is_open(inode) || pending_.is_orphan(inode)) return;
  const auto at = items.find(inode_key(inode));
  if (at == items.end() || !at->second) return;
  auto about = decode_inode(*at->second);
  if (!about) return;
  about->links = 0;
  at->second = encode_inode(*about);
  pending_.add_orphan(inode, std::move(items));
}

// --- FileSystem ---

FileSystem::FileSystem(env::World world, Pending& pending, InodeNumbers& numbers, Staging& staging, ChunkCache& chunks,
                       FileSystemOptions options)
    : impl_(std::make_unique<Impl>(world, pending, numbers, staging, chunks, options)) {}
FileSystem::~FileSystem() = default;
void FileSystem::set_reserve(Reserve reserve) {
  impl_->reserve = std::move(reserve);
}
void FileSystem::on_closed(std::function<void(InodeId, uint64_t)> closed) {
  impl_->closed = std::move(closed);
}
env::Task<Status> FileSystem::exclusively(std::function<env::Task<Status>()> work) {
  return impl_->exclusively(std::move(work));
}
bool FileSystem::is_open(InodeId inode) const {
  return impl_->is_open(inode);
}
void FileSystem::keep_open(InodeId inode, EditMap items) {
  impl_->keep_open(inode, std::move(items));
}
void FileSystem::content_changed(InodeId inode) {
  impl_->content_changed(inode);
}

env::Task<FsResult<NodeInfo>> FileSystem::lookup(InodeId parent, std::string name) {
  return impl_->lookup(parent, std::move(name));
}
env::Task<FsResult<NodeInfo>> FileSystem::make_node(InodeId parent, std::string name, FileType type, uint32_t mode,
                                                    uint64_t rdev, Caller caller) {
  return impl_->make(parent, std::move(name), {.type = type, .mode = mode, .rdev = rdev}, caller);
}
env::Task<FsResult<NodeInfo>> FileSystem::make_directory(InodeId parent, std::string name, uint32_t mode,
                                                         Caller caller) {
  return impl_->make(parent, std::move(name), {.type = FileType::directory, .mode = mode}, caller);
}
env::Task<FsResult<NodeInfo>> FileSystem::make_symlink(InodeId parent, std::string name, std::string target,
                                                       Caller caller) {
  Inode inode{.type = FileType::symlink, .mode = 0777, .size = target.size()};
  inode.inline_data = std::move(target);
  return impl_->make(parent, std::move(name), std::move(inode), caller);
}
env::Task<FsResult<NodeInfo>> FileSystem::link(InodeId inode, InodeId parent, std::string name) {
  return impl_->link(inode, parent, std::move(name));
}
env::Task<FsStatus> FileSystem::unlink(InodeId parent, std::string name) {
  return impl_->unlink(parent, std::move(name));
}
env::Task<FsStatus> FileSystem::remove_directory(InodeId parent, std::string name) {
  return impl_->remove_directory(parent, std::move(name));
}
env::Task<FsStatus> FileSystem::rename(InodeId from_parent, std::string from, InodeId to_parent, std::string to,
                                       uint32_t flags) {
  return impl_->rename(from_parent, std::move(from), to_parent, std::move(to), flags);
}
env::Task<FsResult<NodeInfo>> FileSystem::attributes(InodeId inode) {
  return impl_->attributes(inode);
}
env::Task<FsResult<NodeInfo>> FileSystem::set_attributes(InodeId inode, AttributeSet set, Caller) {
  return impl_->set_attributes(inode, std::move(set));
}
env::Task<FsResult<std::string>> FileSystem::read_link(InodeId inode) {
  return impl_->read_link(inode);
}
env::Task<FsResult<std::string>> FileSystem::get_xattr(InodeId inode, std::string name) {
  return impl_->get_xattr(inode, std::move(name));
}
env::Task<FsResult<std::vector<std::string>>> FileSystem::list_xattrs(InodeId inode) {
  return impl_->list_xattrs(inode);
}
env::Task<FsStatus> FileSystem::set_xattr(InodeId inode, std::string name, std::string value, uint32_t flags,
                                          SetterGroups groups) {
  return impl_->set_xattr(inode, std::move(name), std::move(value), flags, std::move(groups));
}
env::Task<FsStatus> FileSystem::remove_xattr(InodeId inode, std::string name) {
  return impl_->remove_xattr(inode, std::move(name));
}
env::Task<FsResult<FileSystem::Opened>> FileSystem::create(InodeId parent, std::string name, uint32_t mode,
                                                           bool exclusive, Caller caller) {
  return impl_->create(parent, std::move(name), mode, exclusive, caller);
}
env::Task<FsResult<FileSystem::Opened>> FileSystem::make_unnamed(InodeId directory, uint32_t mode, Caller caller) {
  return impl_->make_unnamed(directory, mode, caller);
}
env::Task<FsResult<FileSystem::Opened>> FileSystem::open(InodeId inode, bool truncate, bool kill_set_id) {
  return impl_->open(inode, truncate, kill_set_id);
}
env::Task<FsStatus> FileSystem::release(FileHandle handle) {
  return impl_->release(handle);
}
env::Task<FsResult<FileHandle>> FileSystem::open_directory(InodeId directory) {
  return impl_->open_directory(directory);
}
env::Task<FsResult<std::vector<DirectoryItem>>> FileSystem::read_directory(FileHandle handle, uint64_t cookie,
                                                                           size_t limit, bool with_inodes) {
  return impl_->read_directory(handle, cookie, limit, with_inodes);
}
env::Task<FsStatus> FileSystem::release_directory(FileHandle handle) {
  return impl_->release_directory(handle);
}
env::Task<FsResult<std::vector<Buffer>>> FileSystem::read(FileHandle handle, uint64_t offset, size_t length) {
  return impl_->read(handle, offset, length);
}
env::Task<FsResult<size_t>> FileSystem::write(FileHandle handle, uint64_t offset, Buffer bytes, bool append,
                                              bool kill_set_id) {
  return impl_->write(handle, offset, std::move(bytes), append, kill_set_id);
}
env::Task<FsStatus> FileSystem::allocate(FileHandle handle, uint32_t mode, uint64_t offset, uint64_t length,
                                         bool kill_set_id) {
  return impl_->allocate(handle, mode, offset, length, kill_set_id);
}
env::Task<FsResult<uint64_t>> FileSystem::seek_data(InodeId inode, uint64_t offset) {
  return impl_->seek_data(inode, offset);
}
env::Task<FsResult<uint64_t>> FileSystem::seek_hole(InodeId inode, uint64_t offset) {
  return impl_->seek_hole(inode, offset);
}
env::Task<FsResult<size_t>> FileSystem::copy_range(FileHandle from, uint64_t from_offset, FileHandle to,
                                                   uint64_t to_offset, size_t length, bool kill_set_id) {
  return impl_->copy_range(from, from_offset, to, to_offset, length, kill_set_id);
}

}  // namespace cairn::volume
