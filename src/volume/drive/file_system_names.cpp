// FileSystem: names.

#include "volume/drive/file_system_impl.h"
#include "volume/limits.h"

namespace cairn::volume {

namespace {

void one_less(uint32_t& count) {
  if (count > 0) --count;
}

}  // namespace

int error_of_new_name(std::string_view name) {
  if (name.size() > kMaxNameSize) return ENAMETOOLONG;
  if (name.empty()) return ENOENT;
  if (name == "." || name == "..") return EEXIST;
  return name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos ? 0 : EINVAL;
}

env::Task<FsResult<std::optional<DirectoryEntry>>> FileSystem::Impl::find_entry(InodeId parent, std::string name) {
  auto found = co_await load_entry(pending_.items(), parent, std::move(name));
  if (!found) co_return fs_fail(found.error());
  co_return std::move(*found);
}

env::Task<FsResult<DirectoryEntry>> FileSystem::Impl::entry(InodeId parent, std::string name) {
  if (name.size() > kMaxNameSize) co_return fs_fail(ENAMETOOLONG);
  auto found = co_await find_entry(parent, std::move(name));
  if (!found) co_return std::unexpected(found.error());
  if (*found) co_return std::move(**found);
  auto directory = co_await load(parent);
  if (!directory) co_return std::unexpected(directory.error());
  co_return fs_fail(directory->is_directory() ? ENOENT : ENOTDIR);
}

env::Task<FsResult<NodeInfo>> FileSystem::Impl::lookup(InodeId parent, std::string name) {
  InodeId id = parent;
  if (name == "..") {
    auto directory = co_await load(parent);
    if (!directory) co_return std::unexpected(directory.error());
    id = directory->parent;
  } else if (name != ".") {
    auto found = co_await entry(parent, std::move(name));
    if (!found) co_return std::unexpected(found.error());
    id = found->inode;
  }
  auto inode = co_await load(id);
  // It went between the two looks.
  if (!inode) co_return fs_fail(inode.error().number == ESTALE ? ENOENT : inode.error().number);
  co_return shown(id, std::move(*inode));
}

env::Task<FsStatus> FileSystem::Impl::inherit(Work& work, InodeId parent, InodeId id, Inode& inode, Caller caller) {
  auto directory = co_await use_directory(work, parent);
  if (!directory) co_return std::unexpected(directory.error());
  inode.mode &= 07777;
  inode.uid = caller.uid;
  inode.gid = caller.gid;
  if (((*directory)->mode & kSetGroupId) != 0) {
    inode.gid = (*directory)->gid;
    inode.group = (*directory)->group;
    if (inode.is_directory()) inode.mode |= kSetGroupId;
  }
  inode.mtime = inode.ctime = inode.atime = inode.btime = work.now;
  inode.parent = parent;
  if (inode.type == FileType::symlink) co_return FsStatus{};
  std::optional<std::string> fallback;
  if ((*directory)->has_xattrs) {
    auto found = co_await xattr(parent, std::string(kAclDefault));
    if (!found) co_return std::unexpected(found.error());
    fallback = std::move(*found);
  }
  if (!fallback) {
    inode.mode &= ~caller.umask;
    co_return FsStatus{};
  }
  auto acl = parse_acl(*fallback);
  if (!acl) co_return fs_fail(EIO);
  const AclMode given = inherit_acl(*acl, inode.mode);
  inode.mode = given.mode;
  if (given.more) work.edits.insert_or_assign(xattr_key(id, kAclAccess), encode_acl(*acl));
  if (inode.is_directory()) work.edits.insert_or_assign(xattr_key(id, kAclDefault), std::move(*fallback));
  inode.has_xattrs = given.more || inode.is_directory();
  co_return FsStatus{};
}

env::Task<FsResult<InodeId>> FileSystem::Impl::make_in(Work& work, InodeId parent, std::string name, Inode inode,
                                                       Caller caller) {
  const InodeId id = numbers_.next();
  CAIRN_FS_TRY(co_await inherit(work, parent, id, inode, caller));
  Inode& directory = work.inodes.at(parent);
  directory.mtime = directory.ctime = work.now;
  if (inode.is_directory()) {
    ++directory.links;
  } else {
    inode.links = 1;
    ++work.figures.files;
    work.figures.bytes += static_cast<int64_t>(inode.size);
  }
  work.edits.emplace(entry_key(parent, name), encode_entry(id, inode.type));
  work.inodes.emplace(id, std::move(inode));
  co_return id;
}

env::Task<FsResult<NodeInfo>> FileSystem::Impl::make(InodeId parent, std::string name, Inode inode, Caller caller) {
  if (const int error = error_of_new_name(name); error != 0) co_return fs_fail(error);
  if (inode.type == FileType::symlink && inode.size == 0) co_return fs_fail(ENOENT);
  if (inode.type == FileType::symlink && inode.size > kMaxTargetSize) co_return fs_fail(ENAMETOOLONG);
  const auto share = co_await begin_change(0);
  if (!share) co_return std::unexpected(share.error());
  const auto turn = co_await names_.acquire();
  const auto lock = co_await locks_.lock(parent);
  auto there = co_await find_entry(parent, name);
  if (!there) co_return std::unexpected(there.error());
  if (*there) co_return fs_fail(EEXIST);
  Work work = begin_work();
  auto made = co_await make_in(work, parent, std::move(name), std::move(inode), caller);
  if (!made) co_return std::unexpected(made.error());
  CAIRN_FS_TRY(apply(work));
  co_return shown(*made, std::move(work.inodes.at(*made)));
}

env::Task<FsResult<NodeInfo>> FileSystem::Impl::link(InodeId id, InodeId parent, std::string name) {
  if (const int error = error_of_new_name(name); error != 0) co_return fs_fail(error);
  const auto share = co_await begin_change(0);
  if (!share) co_return std::unexpected(share.error());
  const auto turn = co_await names_.acquire();
  const auto locks = co_await locks_.lock({id, parent});
  Work work = begin_work();
  auto directory = co_await use_directory(work, parent);
  if (!directory) co_return std::unexpected(directory.error());
  auto inode = co_await use(work, id);
  if (!inode) co_return std::unexpected(inode.error());
  if ((*inode)->is_directory()) co_return fs_fail(EPERM);
  if ((*inode)->links >= kMaxLinks) co_return fs_fail(EMLINK);
  auto there = co_await find_entry(parent, name);
  if (!there) co_return std::unexpected(there.error());
  if (*there) co_return fs_fail(EEXIST);
  if (pending_.is_orphan(id)) {
    work.revived = id;
    work.figures.bytes += static_cast<int64_t>((*inode)->size);
    (*inode)->links = 0;
  }
  ++(*inode)->links;
  ++work.figures.files;
  (*inode)->parent = parent;
  (*inode)->ctime = (*directory)->mtime = (*directory)->ctime = work.now;
  work.edits.emplace(entry_key(parent, name), encode_entry(id, (*inode)->type));
  CAIRN_FS_TRY(apply(work));
  co_return shown(id, std::move(work.inodes.at(id)));
}

env::Task<FsStatus> FileSystem::Impl::end_inode(Work& work, InodeId id) {
  auto items = co_await load_items(pending_.items(), id);
  if (!items) co_return fs_fail(items.error());
  auto inode = co_await use(work, id);
  if (!inode) co_return std::unexpected(inode.error());
  (*inode)->links = 0;
  (*inode)->ctime = work.now;
  for (const auto& [key, value] : *items) work.edits.insert_or_assign(key, std::nullopt);
  work.edits.insert_or_assign(inode_key(id), std::nullopt);
  items->insert_or_assign(inode_key(id), encode_inode(**inode));
  work.inodes.erase(id);
  work.ended.emplace_back(id, std::move(*items));
  co_return FsStatus{};
}

env::Task<FsStatus> FileSystem::Impl::drop_name(Work& work, InodeId id) {
  auto inode = co_await use(work, id);
  if (!inode) co_return std::unexpected(inode.error());
  --work.figures.files;
  if ((*inode)->links > 1) {
    --(*inode)->links;
    (*inode)->ctime = work.now;
    co_return FsStatus{};
  }
  work.figures.bytes -= static_cast<int64_t>((*inode)->size);
  auto ended = co_await end_inode(work, id);
  co_return ended;
}

env::Task<FsStatus> FileSystem::Impl::must_be_empty(InodeId directory) {
  auto empty = co_await is_empty_directory(pending_.items(), directory);
  if (!empty) co_return fs_fail(empty.error());
  if (!*empty) co_return fs_fail(ENOTEMPTY);
  co_return FsStatus{};
}

env::Task<FsStatus> FileSystem::Impl::must_not_be_below(InodeId directory, InodeId above) {
  auto below = co_await is_below(pending_.items(), directory, above);
  if (!below) co_return fs_fail(below.error().code == Code::too_large ? ELOOP : errno_of(below.error()).number);
  if (*below) co_return fs_fail(EINVAL);
  co_return FsStatus{};
}

env::Task<FsStatus> FileSystem::Impl::unlink(InodeId parent, std::string name) {
  const auto share = co_await begin_change(0);
  if (!share) co_return std::unexpected(share.error());
  const auto turn = co_await names_.acquire();
  auto found = co_await entry(parent, name);
  if (!found) co_return std::unexpected(found.error());
  if (found->type == FileType::directory) co_return fs_fail(EISDIR);
  const auto locks = co_await locks_.lock({parent, found->inode});
  Work work = begin_work();
  auto directory = co_await use_directory(work, parent);
  if (!directory) co_return std::unexpected(directory.error());
  CAIRN_FS_TRY(co_await drop_name(work, found->inode));
  (*directory)->mtime = (*directory)->ctime = work.now;
  work.edits.insert_or_assign(entry_key(parent, name), std::nullopt);
  co_return apply(work);
}

env::Task<FsStatus> FileSystem::Impl::remove_directory(InodeId parent, std::string name) {
  if (name == ".") co_return fs_fail(EINVAL);
  if (name == "..") co_return fs_fail(ENOTEMPTY);
  const auto share = co_await begin_change(0);
  if (!share) co_return std::unexpected(share.error());
  const auto turn = co_await names_.acquire();
  auto found = co_await entry(parent, name);
  if (!found) co_return std::unexpected(found.error());
  if (found->type != FileType::directory) co_return fs_fail(ENOTDIR);
  const auto locks = co_await locks_.lock({parent, found->inode});
  CAIRN_FS_TRY(co_await must_be_empty(found->inode));
  Work work = begin_work();
  auto directory = co_await use_directory(work, parent);
  if (!directory) co_return std::unexpected(directory.error());
  CAIRN_FS_TRY(co_await end_inode(work, found->inode));
  (*directory)->mtime = (*directory)->ctime = work.now;
  one_less((*directory)->links);
  work.edits.insert_or_assign(entry_key(parent, name), std::nullopt);
  co_return apply(work);
}

env::Task<FsStatus> FileSystem::Impl::rename(InodeId from_parent, std::string from, InodeId to_parent, std::string to,
                                             uint32_t flags) {
  const bool exchange = flags == kRenameExchange, no_replace = flags == kRenameNoReplace;
  if (flags != 0 && !exchange && !no_replace) co_return fs_fail(EINVAL);
  if (from == "." || from == ".." || to == "." || to == "..") co_return fs_fail(EBUSY);
  if (const int error = error_of_new_name(to); error != 0) co_return fs_fail(error);
  const auto share = co_await begin_change(0);
  if (!share) co_return std::unexpected(share.error());
  const auto turn = co_await names_.acquire();
  auto source = co_await entry(from_parent, from);
  if (!source) co_return std::unexpected(source.error());
  auto target = co_await find_entry(to_parent, to);
  if (!target) co_return std::unexpected(target.error());
  if (exchange && !*target) co_return fs_fail(ENOENT);
  if (no_replace && *target) co_return fs_fail(EEXIST);
  if (*target && (*target)->inode == source->inode) co_return FsStatus{};  // two names of one file

  std::vector<InodeId> changed = {from_parent, to_parent, source->inode};
  if (*target) changed.push_back((*target)->inode);
  const auto locks = co_await locks_.lock(std::move(changed));
  Work work = begin_work();
  auto source_directory = co_await use_directory(work, from_parent);
  if (!source_directory) co_return std::unexpected(source_directory.error());
  auto target_directory = co_await use_directory(work, to_parent);
  if (!target_directory) co_return std::unexpected(target_directory.error());

  const bool source_is_directory = source->type == FileType::directory;
  const bool target_is_directory = *target && (*target)->type == FileType::directory;
  if (source_is_directory) CAIRN_FS_TRY(co_await must_not_be_below(to_parent, source->inode));
  if (exchange && target_is_directory) CAIRN_FS_TRY(co_await must_not_be_below(from_parent, (*target)->inode));
  if (*target && !exchange) {
    if (source_is_directory && !target_is_directory) co_return fs_fail(ENOTDIR);
    if (!source_is_directory && target_is_directory) co_return fs_fail(EISDIR);
    if (target_is_directory) {
      CAIRN_FS_TRY(co_await must_be_empty((*target)->inode));
      CAIRN_FS_TRY(co_await end_inode(work, (*target)->inode));
      one_less((*target_directory)->links);
    } else {
      CAIRN_FS_TRY(co_await drop_name(work, (*target)->inode));
    }
  }
  auto moved = co_await use(work, source->inode);
  if (!moved) co_return std::unexpected(moved.error());
  (*moved)->parent = to_parent;
  (*moved)->ctime = work.now;
  if (source_is_directory) {
    one_less((*source_directory)->links);
    ++(*target_directory)->links;
  }
  work.edits.insert_or_assign(entry_key(from_parent, from), std::nullopt);
  work.edits.insert_or_assign(entry_key(to_parent, to), encode_entry(source->inode, source->type));
  if (exchange) {
    auto other = co_await use(work, (*target)->inode);
    if (!other) co_return std::unexpected(other.error());
    (*other)->parent = from_parent;
    (*other)->ctime = work.now;
    if (target_is_directory) {
      one_less((*target_directory)->links);
      ++(*source_directory)->links;
    }
    work.edits.insert_or_assign(entry_key(from_parent, from), encode_entry((*target)->inode, (*target)->type));
  }
  (*source_directory)->mtime = (*source_directory)->ctime = work.now;
  (*target_directory)->mtime = (*target_directory)->ctime = work.now;
  co_return apply(work);
}

}  // namespace cairn::volume
