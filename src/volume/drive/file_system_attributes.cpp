// FileSystem: attributes, extended attributes and ACLs.

#include "volume/drive/file_system_impl.h"
#include "volume/limits.h"

namespace cairn::volume {

namespace {

// All names of one inode, each with a NUL behind it, as listxattr() gives them: Linux takes no more.
constexpr size_t kMaxXattrList = 64 * kKiB;

int error_of_xattr(std::string_view name) {
  if (name.size() > kMaxNameSize) return ERANGE;
  if (name == kAclAccess || name == kAclDefault) return 0;
  for (const std::string_view prefix : {"user.", "trusted.", "security."}) {
    if (name.starts_with(prefix)) return name.size() > prefix.size() ? 0 : EINVAL;
  }
  return EOPNOTSUPP;
}

}  // namespace

env::Task<FsResult<NodeInfo>> FileSystem::Impl::attributes(InodeId id) {
  auto inode = co_await load(id);
  if (!inode) co_return std::unexpected(inode.error());
  co_return shown(id, std::move(*inode));
}

env::Task<FsStatus> FileSystem::Impl::change_mode(Work& work, InodeId id, Inode& inode, uint32_t mode) {
  const bool same_bits = ((mode ^ inode.mode) & 0777) == 0;
  inode.mode = mode & 07777;
  if (same_bits || !inode.has_xattrs || inode.type == FileType::symlink) co_return FsStatus{};
  auto value = co_await xattr(id, std::string(kAclAccess));
  if (!value) co_return std::unexpected(value.error());
  if (!*value) co_return FsStatus{};
  auto acl = parse_acl(**value);
  if (!acl) co_return fs_fail(EIO);
  change_acl_mode(*acl, mode);
  work.edits.insert_or_assign(xattr_key(id, kAclAccess), encode_acl(*acl));
  co_return FsStatus{};
}

env::Task<FsStatus> FileSystem::Impl::drop_capabilities(Work& work, InodeId id, Inode& inode) {
  if (!inode.has_xattrs || !inode.is_file()) co_return FsStatus{};
  const std::string name = "security.capability";
  auto there = co_await xattr(id, name);
  if (!there) co_return std::unexpected(there.error());
  if (!*there) co_return FsStatus{};
  auto dropped = co_await put_xattr(work, id, inode, name, std::nullopt);
  co_return dropped;
}

env::Task<FsResult<NodeInfo>> FileSystem::Impl::set_attributes(InodeId id, AttributeSet set) {
  if (set.size && *set.size > options_.max_file_size) co_return fs_fail(EFBIG);
  const auto share = co_await begin_change(0);
  if (!share) co_return std::unexpected(share.error());
  const auto lock = co_await locks_.lock(id);
  Work work = begin_work();
  auto used = co_await use(work, id);
  if (!used) co_return std::unexpected(used.error());
  Inode& inode = **used;
  if (set.size) {
    if (inode.is_directory()) co_return fs_fail(EISDIR);
    if (!inode.is_file()) co_return fs_fail(EINVAL);
    CAIRN_FS_TRY(co_await resize(work, id, inode, *set.size));
  }
  if (set.size || set.uid || set.gid) CAIRN_FS_TRY(co_await drop_capabilities(work, id, inode));
  uint32_t mode = set.mode.value_or(inode.mode);
  if (set.uid) {
    if (*set.uid != inode.uid) inode.owner.clear();
    inode.uid = *set.uid;
  }
  if (set.gid) {
    if (*set.gid != inode.gid) inode.group.clear();
    inode.gid = *set.gid;
  }
  if ((set.uid || set.gid || set.kill_set_id) && !inode.is_directory()) mode = without_set_id(mode);
  if (mode != inode.mode) CAIRN_FS_TRY(co_await change_mode(work, id, inode, mode));
  if (set.atime_now) inode.atime = work.now;
  if (set.mtime_now) inode.mtime = work.now;
  if (set.atime) inode.atime = *set.atime;
  if (set.mtime) inode.mtime = *set.mtime;
  inode.ctime = work.now;
  CAIRN_FS_TRY(apply(work));
  co_return shown(id, std::move(work.inodes.at(id)));
}

env::Task<FsResult<std::string>> FileSystem::Impl::read_link(InodeId id) {
  auto inode = co_await load(id);
  if (!inode) co_return std::unexpected(inode.error());
  if (inode->type != FileType::symlink) co_return fs_fail(EINVAL);
  co_return std::move(inode->inline_data);
}

env::Task<FsResult<std::optional<std::string>>> FileSystem::Impl::xattr(InodeId id, std::string name) {
  auto value = co_await pending_.items()->get(xattr_key(id, name));
  if (!value) co_return fs_fail(value.error());
  co_return std::move(*value);
}

env::Task<FsResult<std::string>> FileSystem::Impl::get_xattr(InodeId id, std::string name) {
  if (const int error = error_of_xattr(name); error != 0) co_return fs_fail(error);
  auto value = co_await xattr(id, std::move(name));
  if (!value) co_return std::unexpected(value.error());
  if (!*value) co_return fs_fail(ENODATA);
  co_return std::move(**value);
}

env::Task<FsResult<std::vector<std::string>>> FileSystem::Impl::list_xattrs(InodeId id) {
  KeyRange range = range_of(id, ItemKind::xattr);
  auto items = co_await pending_.items()->scan(std::move(range.first), std::move(range.last), kMaxXattrList);
  if (!items) co_return fs_fail(items.error());
  std::vector<std::string> names;
  for (const Item& item : *items) {
    const auto key = parse_inode_key(item.key);
    if (!key) co_return fs_fail(EIO);
    names.emplace_back(key->name);
  }
  co_return names;
}

env::Task<FsStatus> FileSystem::Impl::put_xattr(Work& work, InodeId id, Inode& inode, std::string name,
                                                std::optional<std::string> value) {
  KeyRange range = range_of(id, ItemKind::xattr);
  auto items = co_await pending_.items()->scan(std::move(range.first), std::move(range.last), kMaxXattrList);
  if (!items) co_return fs_fail(items.error());
  size_t length = value ? name.size() + 1 : 0;
  for (const Item& item : *items) {
    const auto key = parse_inode_key(item.key);
    if (!key) co_return fs_fail(EIO);
    if (key->name != name) length += key->name.size() + 1;
  }
  if (value && length > kMaxXattrList) co_return fs_fail(ENOSPC);
  inode.has_xattrs = length > 0;
  inode.ctime = work.now;
  work.edits.insert_or_assign(xattr_key(id, name), std::move(value));
  co_return FsStatus{};
}

env::Task<FsStatus> FileSystem::Impl::set_xattr(InodeId id, std::string name, std::string value, uint32_t flags,
                                                SetterGroups groups) {
  if (const int error = error_of_xattr(name); error != 0) co_return fs_fail(error);
  if ((flags & ~(kXattrCreate | kXattrReplace)) != 0) co_return fs_fail(EINVAL);
  if (value.size() > kMaxXattrSize) co_return fs_fail(E2BIG);
  const bool is_access = name == kAclAccess, is_default = name == kAclDefault;
  Acl acl;
  if (is_access || is_default) {
    auto parsed = parse_acl(value);
    if (!parsed) co_return std::unexpected(parsed.error());
    acl = std::move(*parsed);
  }
  const auto share = co_await begin_change(0);
  if (!share) co_return std::unexpected(share.error());
  const auto lock = co_await locks_.lock(id);
  Work work = begin_work();
  auto used = co_await use(work, id);
  if (!used) co_return std::unexpected(used.error());
  Inode& inode = **used;
  auto there = co_await xattr(id, name);
  if (!there) co_return std::unexpected(there.error());
  if ((flags & kXattrCreate) != 0 && *there) co_return fs_fail(EEXIST);
  if ((flags & kXattrReplace) != 0 && !*there) co_return fs_fail(ENODATA);
  std::optional<std::string> kept = std::move(value);
  if (is_access || is_default) {
    if (inode.type == FileType::symlink) co_return fs_fail(EOPNOTSUPP);
    if (is_default && !inode.is_directory() && !acl.empty()) co_return fs_fail(EACCES);
    bool needed = !acl.empty();
    if (is_access && needed) {
      const AclMode given = mode_of_acl(acl, inode.mode);
      inode.mode = given.mode;
      needed = given.more;
    }
    if (!needed) {
      kept.reset();
    } else {
      kept = encode_acl(acl);
    }
  }
  if (is_access && groups && std::ranges::find(*groups, inode.gid) == groups->end()) inode.mode &= ~kSetGroupId;
  if (kept || *there) {
    CAIRN_FS_TRY(co_await put_xattr(work, id, inode, std::move(name), std::move(kept)));
  }
  inode.ctime = work.now;
  co_return apply(work);
}

env::Task<FsStatus> FileSystem::Impl::remove_xattr(InodeId id, std::string name) {
  if (const int error = error_of_xattr(name); error != 0) co_return fs_fail(error);
  const auto share = co_await begin_change(0);
  if (!share) co_return std::unexpected(share.error());
  const auto lock = co_await locks_.lock(id);
  Work work = begin_work();
  auto inode = co_await use(work, id);
  if (!inode) co_return std::unexpected(inode.error());
  auto there = co_await xattr(id, name);
  if (!there) co_return std::unexpected(there.error());
  if (!*there) co_return fs_fail(ENODATA);
  CAIRN_FS_TRY(co_await put_xattr(work, id, **inode, std::move(name), std::nullopt));
  co_return apply(work);
}

}  // namespace cairn::volume
