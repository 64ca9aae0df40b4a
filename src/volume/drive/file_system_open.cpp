// FileSystem: open files.

#include "volume/drive/file_system_impl.h"
#include "volume/limits.h"

namespace cairn::volume {

FileSystem::Impl::OpenFilePtr FileSystem::Impl::file(FileHandle handle) const {
  const auto at = files_.find(handle);
  return at == files_.end() ? nullptr : at->second;
}

void FileSystem::Impl::see(InodeId id, uint64_t version) {
  if (seen_.size() >= kSeenFiles) seen_.clear();
  seen_.insert_or_assign(id, version);
}

FileSystem::Opened FileSystem::Impl::opened(InodeId id, Inode inode) {
  const auto seen = seen_.find(id);
  const bool keep = seen != seen_.end() && seen->second == inode.version;
  see(id, inode.version);
  ++open_[id].handles;
  const FileHandle handle = next_handle_++;
  auto file = std::make_shared<OpenFile>();
  file->inode = id;
  files_.emplace(handle, std::move(file));
  return {.handle = handle, .keep_cache = keep, .node = shown(id, std::move(inode))};
}

env::Task<FsResult<FileSystem::Opened>> FileSystem::Impl::open(InodeId id, bool truncate, bool kill_set_id) {
  if (truncate) {
    auto cut = co_await set_attributes(id, {.size = 0, .kill_set_id = kill_set_id});
    if (!cut) co_return std::unexpected(cut.error());
  }
  // With its turn: else the file could end between the look at it and the opening.
  const auto lock = co_await locks_.lock(id);
  auto inode = co_await load(id);
  if (!inode) co_return std::unexpected(inode.error());
  if (inode->is_directory()) co_return fs_fail(EISDIR);
  if (!inode->is_file()) co_return fs_fail(ENXIO);
  co_return opened(id, std::move(*inode));
}

env::Task<FsResult<FileSystem::Opened>> FileSystem::Impl::create(InodeId parent, std::string name, uint32_t mode,
                                                                 bool exclusive, Caller caller) {
  if (const int error = error_of_new_name(name); error != 0) co_return fs_fail(error);
  const auto share = co_await begin_change(0);
  if (!share) co_return std::unexpected(share.error());
  const auto turn = co_await names_.acquire();
  auto there = co_await find_entry(parent, name);
  if (!there) co_return std::unexpected(there.error());
  if (*there) {
    if (exclusive) co_return fs_fail(EEXIST);
    auto found = co_await open((*there)->inode, false, false);
    co_return found;
  }
  const auto lock = co_await locks_.lock(parent);
  Work work = begin_work();
  auto made = co_await make_in(work, parent, std::move(name), {.type = FileType::file, .mode = mode}, caller);
  if (!made) co_return std::unexpected(made.error());
  CAIRN_FS_TRY(apply(work));
  co_return opened(*made, std::move(work.inodes.at(*made)));
}

env::Task<FsResult<FileSystem::Opened>> FileSystem::Impl::make_unnamed(InodeId directory, uint32_t mode,
                                                                       Caller caller) {
  const auto share = co_await begin_change(0);
  if (!share) co_return std::unexpected(share.error());
  const auto lock = co_await locks_.lock(directory);
  Work work = begin_work();
  Inode inode{.type = FileType::file, .mode = mode};
  const InodeId id = numbers_.next();
  CAIRN_FS_TRY(co_await inherit(work, directory, id, inode, caller));
  work.edits.insert_or_assign(inode_key(id), encode_inode(inode));
  pending_.add_orphan(id, std::move(work.edits));
  co_return opened(id, std::move(inode));
}

void FileSystem::Impl::close_inode(InodeId id) {
  const auto at = open_.find(id);
  CAIRN_ASSERT(at != open_.end() && at->second.handles > 0);
  if (--at->second.handles > 0) return;
  open_.erase(at);
  if (!pending_.is_orphan(id)) return;
  pending_.take_orphan(id);
  seen_.erase(id);
}

env::Task<FsStatus> FileSystem::Impl::release(FileHandle handle) {
  const OpenFilePtr open = file(handle);
  if (!open) co_return fs_fail(EBADF);
  const InodeId id = open->inode;
  // With its turn: what is being changed exists until then.
  const auto lock = co_await locks_.lock(id);
  if (files_.erase(handle) == 0) co_return fs_fail(EBADF);
  const bool written = open_.at(id).written;
  close_inode(id);
  if (!written || is_open(id) || !closed) co_return FsStatus{};
  auto inode = co_await load(id);
  if (inode && closed) closed(id, inode->size);
  co_return FsStatus{};
}

}  // namespace cairn::volume
