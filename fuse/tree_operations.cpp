// Names, attributes, directories.

#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "fuse/beyond_libfuse.h"
#include "fuse/operations.h"

namespace cairn::fuse {

namespace {

// Least bytes that a directory entry takes in a listing, with a name of usual length: how many to ask the drive for.
constexpr size_t kEntrySize = 40, kEntrySizePlus = 168;

// "." and ".." are asked for by the kernel for file handles (NFS).
void lookup_dots(fuse_req_t request, fuse_ino_t directory, bool parent) {
  Session& session = Session::of(request);
  if (!parent) {
    session.began(request, session.drive().attributes(directory, replying_entry(request)));
    return;
  }
  session.began(request,
                session.drive().attributes(
                    directory, replying<DriveNode>(request, [](Session& s, fuse_req_t to, const DriveNode& node) {
                      s.began(to, s.drive().attributes(node.parent, replying_entry(to)));
                    })));
}

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  if (std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0) return lookup_dots(request, parent, name[1] != '\0');
  Session& session = Session::of(request);
  session.began(request, session.drive().lookup(parent, name, [request](std::expected<DriveNode, int> node) {
    Session& s = Session::of(request);
    s.ended(request);
    if (node) return s.answer_entry(request, *node);
    if (node.error() != ENOENT) {
      fuse_reply_err(request, node.error());
      return;
    }
    // That a name is not there is kept too.
    fuse_entry_param nothing{};
    nothing.entry_timeout = kKernelCacheSeconds;
    fuse_reply_entry(request, &nothing);
  }));
}

// Inodes are numbers of the volume: nothing is kept for what the kernel knows.
void forget(fuse_req_t request, fuse_ino_t /*inode*/, uint64_t /*count*/) {
  fuse_reply_none(request);
}
void forget_multi(fuse_req_t request, size_t /*count*/, fuse_forget_data* /*forgets*/) {
  fuse_reply_none(request);
}

void getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info* /*file*/) {
  Session& session = Session::of(request);
  session.began(request, session.drive().attributes(inode, replying_attributes(request)));
}

WallTime to_wall(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

void setattr(fuse_req_t request, fuse_ino_t inode, struct stat* attributes, int valid, fuse_file_info* /*file*/) {
  Session& session = Session::of(request);
  DriveAttributes set;
  set.kill_set_id = kills_set_id(session.request());
  if ((valid & FUSE_SET_ATTR_MODE) != 0) set.mode = attributes->st_mode & 07777;
  if ((valid & FUSE_SET_ATTR_UID) != 0) set.uid = attributes->st_uid;
  if ((valid & FUSE_SET_ATTR_GID) != 0) set.gid = attributes->st_gid;
  if ((valid & FUSE_SET_ATTR_SIZE) != 0) set.size = static_cast<uint64_t>(attributes->st_size);
  if ((valid & FUSE_SET_ATTR_ATIME_NOW) != 0) {
    set.atime_now = true;
  } else if ((valid & FUSE_SET_ATTR_ATIME) != 0) {
    set.atime = to_wall(attributes->st_atim);
  }
  if ((valid & FUSE_SET_ATTR_MTIME_NOW) != 0) {
    set.mtime_now = true;
  } else if ((valid & FUSE_SET_ATTR_MTIME) != 0) {
    set.mtime = to_wall(attributes->st_mtim);
  }
  session.began(request, session.drive().set_attributes(inode, set, caller_of(request), replying_attributes(request)));
}

void readlink(fuse_req_t request, fuse_ino_t inode) {
  Session& session = Session::of(request);
  session.began(request, session.drive().read_link(inode, replying<std::string>(request, [](Session&, fuse_req_t to,
                                                                                            const std::string& target) {
                                                     fuse_reply_readlink(to, target.c_str());
                                                   })));
}

void mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  Session& session = Session::of(request);
  FileType type = FileType::file;
  if (S_ISFIFO(mode)) type = FileType::fifo;
  if (S_ISSOCK(mode)) type = FileType::socket;
  if (S_ISCHR(mode)) type = FileType::character_device;
  if (S_ISBLK(mode)) type = FileType::block_device;
  session.began(request, session.drive().make_node(parent, name, type, mode & 07777, device, caller_of(request),
                                                   replying_entry(request)));
}

void mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  Session& session = Session::of(request);
  session.began(
      request, session.drive().make_directory(parent, name, mode & 07777, caller_of(request), replying_entry(request)));
}

void symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  Session& session = Session::of(request);
  session.began(request,
                session.drive().make_symlink(parent, name, target, caller_of(request), replying_entry(request)));
}

void link(fuse_req_t request, fuse_ino_t inode, fuse_ino_t parent, const char* name) {
  Session& session = Session::of(request);
  session.began(request, session.drive().link(inode, parent, name, replying_entry(request)));
}

void unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Session& session = Session::of(request);
  session.began(request, session.drive().unlink(parent, name, replying(request)));
}

void rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Session& session = Session::of(request);
  session.began(request, session.drive().remove_directory(parent, name, replying(request)));
}

void rename(fuse_req_t request, fuse_ino_t from_parent, const char* from, fuse_ino_t to_parent, const char* to,
            unsigned flags) {
  Session& session = Session::of(request);
  session.began(request, session.drive().rename(from_parent, from, to_parent, to, flags, replying(request)));
}

void opendir(fuse_req_t request, fuse_ino_t inode, fuse_file_info* file) {
  Session& session = Session::of(request);
  session.began(request, session.drive().open_directory(
                             inode, replying<uint64_t>(
                                        request, [open = *file](Session& self, fuse_req_t to, uint64_t handle) mutable {
                                          self.opened();
                                          open.fh = handle;
                                          // The kernel drops the listing that it keeps when it, or the notifier, sees a
                                          // change.
                                          open.cache_readdir = 1;
                                          open.keep_cache = 1;
                                          fuse_reply_open(to, &open);
                                        })));
}

size_t add_entry(fuse_req_t request, std::span<char> room, const DriveEntry& entry, bool plus) {
  fuse_entry_param param{};
  if (entry.node) {
    param = Session::entry_of(*entry.node);
  } else {
    DriveNode known{.inode = entry.inode, .type = entry.type};
    param.attr = Session::entry_of(known).attr;  // its number and type; no inode for the kernel to keep
  }
  const auto cookie = static_cast<off_t>(entry.cookie);
  return plus ? fuse_add_direntry_plus(request, room.data(), room.size(), entry.name.c_str(), &param, cookie)
              : fuse_add_direntry(request, room.data(), room.size(), entry.name.c_str(), &param.attr, cookie);
}

void list(fuse_req_t request, size_t size, off_t offset, fuse_file_info* file, bool plus) {
  Session& session = Session::of(request);
  const size_t limit = std::max<size_t>(1, size / (plus ? kEntrySizePlus : kEntrySize));
  auto answer = [size, plus](Session&, fuse_req_t to, const std::vector<DriveEntry>& entries) {
    auto bytes = std::make_unique_for_overwrite<char[]>(size);
    size_t used = 0;
    for (const DriveEntry& entry : entries) {
      const size_t more = add_entry(to, {bytes.get() + used, size - used}, entry, plus);
      if (more > size - used) break;
      used += more;
    }
    fuse_reply_buf(to, bytes.get(), used);
  };
  session.began(request, session.drive().read_directory(file->fh, static_cast<uint64_t>(offset), limit, plus,
                                                        replying<std::vector<DriveEntry>>(request, std::move(answer))));
}
void readdir(fuse_req_t request, fuse_ino_t /*inode*/, size_t size, off_t offset, fuse_file_info* file) {
  list(request, size, offset, file, false);
}
void readdirplus(fuse_req_t request, fuse_ino_t /*inode*/, size_t size, off_t offset, fuse_file_info* file) {
  list(request, size, offset, file, true);
}

void releasedir(fuse_req_t request, fuse_ino_t /*inode*/, fuse_file_info* file) {
  Session& session = Session::of(request);
  session.released();
  session.began(request, session.drive().release_directory(file->fh, replying(request)));
}

void statfs(fuse_req_t request, fuse_ino_t /*inode*/) {
  Session& session = Session::of(request);
  session.began(request, session.drive().space(
                             replying<DriveSpace>(request, [](Session&, fuse_req_t to, const DriveSpace& space) {
                               constexpr uint64_t kBlock = 4096, kFreeInodes = 1ULL << 32;
                               struct statvfs result{};
                               result.f_bsize = result.f_frsize = kBlock;
                               result.f_blocks = space.total / kBlock;
                               result.f_bfree = result.f_bavail = space.free / kBlock;
                               result.f_files = space.files + kFreeInodes;
                               result.f_ffree = result.f_favail = kFreeInodes;
                               result.f_namemax = 255;
                               fuse_reply_statfs(to, &result);
                             })));
}

// The caller asks for the length first, with size 0.
void reply_xattr(fuse_req_t request, std::string_view value, size_t size) {
  if (size == 0) {
    fuse_reply_xattr(request, value.size());
  } else if (value.size() > size) {
    fuse_reply_err(request, ERANGE);
  } else {
    fuse_reply_buf(request, value.data(), value.size());
  }
}

void getxattr(fuse_req_t request, fuse_ino_t inode, const char* name, size_t size) {
  Session& session = Session::of(request);
  if (inode == kDriveRoot && std::strncmp(name, "system.cairn.", 13) == 0 && session.options().describe &&
      session.from_owner(request)) {
    if (std::strcmp(name, kStatusXattr) == 0) return reply_xattr(request, session.options().describe(), size);
    if (std::strcmp(name, kSyncXattr) == 0) {
      auto done = [request, size](std::expected<void, int> synced) {
        Session& s = Session::of(request);
        s.ended(request);
        if (!synced) {
          fuse_reply_err(request, synced.error());
        } else {
          reply_xattr(request, s.options().describe(), size);
        }
      };
      session.began(request, session.drive().sync({}, std::move(done)));
      return;
    }
  }
  session.began(request, session.drive().get_xattr(
                             inode, name,
                             replying<std::string>(request, [size](Session&, fuse_req_t to, const std::string& value) {
                               reply_xattr(to, value, size);
                             })));
}

void listxattr(fuse_req_t request, fuse_ino_t inode, size_t size) {
  Session& session = Session::of(request);
  auto answer = [size](Session&, fuse_req_t to, const std::vector<std::string>& names) {
    std::string list;
    for (const std::string& name : names) list.append(name.c_str(), name.size() + 1);
    reply_xattr(to, list, size);
  };
  session.began(request,
                session.drive().list_xattrs(inode, replying<std::vector<std::string>>(request, std::move(answer))));
}

// Of the process that asks; nothing for root.
std::optional<std::vector<uint32_t>> groups_of(fuse_req_t request) {
  const fuse_ctx* caller = fuse_req_ctx(request);
  if (caller->uid == 0) return std::nullopt;
  gid_t further[1024];
  const int count = std::clamp(fuse_req_getgroups(request, static_cast<int>(std::size(further)), further), 0,
                               static_cast<int>(std::size(further)));
  std::vector<uint32_t> groups(further, further + count);
  groups.push_back(caller->gid);
  return groups;
}

void setxattr(fuse_req_t request, fuse_ino_t inode, const char* name, const char* value, size_t size, int flags) {
  Session& session = Session::of(request);
  std::optional<std::vector<uint32_t>> groups;
  if (std::strcmp(name, "system.posix_acl_access") == 0) groups = groups_of(request);
  session.began(request, session.drive().set_xattr(inode, name, std::string(value, size), static_cast<uint32_t>(flags),
                                                   std::move(groups), replying(request)));
}

void removexattr(fuse_req_t request, fuse_ino_t inode, const char* name) {
  Session& session = Session::of(request);
  session.began(request, session.drive().remove_xattr(inode, name, replying(request)));
}

}  // namespace

void add_tree_operations(fuse_lowlevel_ops& table) {
  table.lookup = lookup;
  table.forget = forget;
  table.forget_multi = forget_multi;
  table.getattr = getattr;
  table.setattr = setattr;
  table.readlink = readlink;
  table.mknod = mknod;
  table.mkdir = mkdir;
  table.symlink = symlink;
  table.link = link;
  table.unlink = unlink;
  table.rmdir = rmdir;
  table.rename = rename;
  table.opendir = opendir;
  table.readdir = readdir;
  table.readdirplus = readdirplus;
  table.releasedir = releasedir;
  table.statfs = statfs;
  table.getxattr = getxattr;
  table.listxattr = listxattr;
  table.setxattr = setxattr;
  table.removexattr = removexattr;
}

}  // namespace cairn::fuse
