#pragma once
// FileSystem: the operations of a POSIX file system over a drive's pending edits and its tree, without FUSE.
//
// The numbers of inodes are those of the tree; the root is 1. Who may do what is checked by the caller (the kernel,
// with default_permissions); what POSIX says about set-id bits, link counts, times, sticky renames' errors and so on is
// done here. Every task is on the strand and may be destroyed at any time: an operation happens as a whole or not at
// all. Operations that change names take turns; operations on one file's bytes take turns. Errors are POSIX numbers;
// ESTALE: an inode that is not there any more (the kernel then looks its name up anew).
//
// Inodes are given as stat() shows them: a directory's links are 2 and the number of its subdirectories, 0 when it was
// removed while it is open.
//
// A staged extent never crosses a multiple of kExtentSize (128 KiB) of its file, so that each becomes one placed extent
// under the same key: edits that were made upon staged extents stay right when these are committed.

#include <deque>
#include <map>
#include <unordered_map>

#include "volume/drive/chunk_cache.h"
#include "volume/drive/errno.h"
#include "volume/drive/pending.h"
#include "volume/drive/staging.h"
#include "volume/transaction.h"

namespace cairn::volume {

// Who asks. `umask` as FUSE hands it over: applied here, because a default ACL of the parent overrides it.
struct Caller {
  uint32_t uid = 0, gid = 0, umask = 0;
};

// Only what is set is changed.
struct AttributeSet {
  std::optional<uint32_t> mode, uid, gid;
  std::optional<uint64_t> size;
  std::optional<WallTime> atime, mtime;
  bool atime_now = false, mtime_now = false;
  bool kill_set_id = false;  // takes the set-id bits away, as a change of content by who may not keep them does
};

// As linux/fs.h has them.
inline constexpr uint32_t kRenameNoReplace = 1, kRenameExchange = 2;
inline constexpr uint32_t kFallocateKeepSize = 1, kFallocatePunchHole = 2, kFallocateZeroRange = 16;
inline constexpr uint32_t kXattrCreate = 1, kXattrReplace = 2;

using FileHandle = uint64_t;
// The groups of one who sets an attribute; nothing for root, who may set what they like.
using SetterGroups = std::optional<std::vector<uint32_t>>;

struct DirectoryItem {
  DirectoryEntry entry;
  uint64_t cookie = 0;         // of the place behind it
  std::optional<Inode> inode;  // when asked for (readdirplus) and there
};

struct SpaceReport {
  uint64_t total = 0, free = 0;  // bytes of files that the pool holds and could still take, redundancy subtracted
  uint64_t files = 0;
};

struct FileSystemOptions {
  bool read_only = false;
  uint64_t max_file_size = 8ULL << 40;  // 8 TiB
  bool relatime = true;                 // else no access times
  std::optional<RootOwner> root_owner;
};

// What a drive's caches above (the kernel's) must forget.
struct Change {
  enum class Kind { content, attributes, entry } kind{};
  InodeId inode = 0;  // of an entry: the directory
  std::string name;   // of an entry
};

class FileSystem {
 public:
  // Waits until `bytes` more may be staged; ENOSPC when they never may. Made by the drive: backpressure and quota.
  // Called by each operation that changes something, with 0 when it stages no bytes: the memory of edits is bounded
  // too.
  using Reserve = std::function<env::Task<FsStatus>(uint64_t bytes)>;

  FileSystem(env::World world, Pending& pending, InodeNumbers& numbers, Staging& staging, ChunkCache& chunks,
             FileSystemOptions options);
  ~FileSystem();
  void set_reserve(Reserve reserve);

  // --- names ---
  env::Task<FsResult<NodeInfo>> lookup(InodeId parent, std::string name);
  env::Task<FsResult<NodeInfo>> make_node(InodeId parent, std::string name, FileType type, uint32_t mode, uint64_t rdev,
                                          Caller caller);
  env::Task<FsResult<NodeInfo>> make_directory(InodeId parent, std::string name, uint32_t mode, Caller caller);
  env::Task<FsResult<NodeInfo>> make_symlink(InodeId parent, std::string name, std::string target, Caller caller);
  env::Task<FsResult<NodeInfo>> link(InodeId inode, InodeId parent, std::string name);
  env::Task<FsStatus> unlink(InodeId parent, std::string name);
  env::Task<FsStatus> remove_directory(InodeId parent, std::string name);
  env::Task<FsStatus> rename(InodeId from_parent, std::string from, InodeId to_parent, std::string to, uint32_t flags);

  // --- attributes ---
  env::Task<FsResult<NodeInfo>> attributes(InodeId inode);
  env::Task<FsResult<NodeInfo>> set_attributes(InodeId inode, AttributeSet set, Caller caller);
  env::Task<FsResult<std::string>> read_link(InodeId inode);
  env::Task<FsResult<std::string>> get_xattr(InodeId inode, std::string name);  // ENODATA
  env::Task<FsResult<std::vector<std::string>>> list_xattrs(InodeId inode);
  // system.posix_acl_* change the mode and the other way round, as acl(5) says. An access ACL that is set by
  // one who is not of the file's group takes the set-group-ID bit away.
  env::Task<FsStatus> set_xattr(InodeId inode, std::string name, std::string value, uint32_t flags,
                                SetterGroups groups = std::nullopt);
  env::Task<FsStatus> remove_xattr(InodeId inode, std::string name);

  // --- open files and directories ---
  struct Opened {
    FileHandle handle = 0;
    // The content is what it was when this drive last opened the file: pages that the kernel kept are right.
    bool keep_cache = false;
    NodeInfo node;
  };
  env::Task<FsResult<Opened>> create(InodeId parent, std::string name, uint32_t mode, bool exclusive, Caller caller);
  // A file without a name (O_TMPFILE); link() gives it one.
  env::Task<FsResult<Opened>> make_unnamed(InodeId directory, uint32_t mode, Caller caller);
  env::Task<FsResult<Opened>> open(InodeId inode, bool truncate, bool kill_set_id = false);
  env::Task<FsStatus> release(FileHandle handle);
  env::Task<FsResult<FileHandle>> open_directory(InodeId directory);
  // Entries after the place `cookie` names (0: from the beginning; "." and ".." come first). Entries that are there all
  // the while come exactly once, whatever comes and goes beside them.
  env::Task<FsResult<std::vector<DirectoryItem>>> read_directory(FileHandle handle, uint64_t cookie, size_t limit,
                                                                 bool with_inodes);
  env::Task<FsStatus> release_directory(FileHandle handle);

  // --- bytes ---
  // The bytes of a range, in order, holes as zeros; fewer only at the file's end.
  env::Task<FsResult<std::vector<Buffer>>> read(FileHandle handle, uint64_t offset, size_t length);
  // `append`: at the file's end, whatever the offset. Clears set-id bits when `kill_set_id`. Returns the length.
  env::Task<FsResult<size_t>> write(FileHandle handle, uint64_t offset, Buffer bytes, bool append, bool kill_set_id);
  env::Task<FsStatus> allocate(FileHandle handle, uint32_t mode, uint64_t offset, uint64_t length,
                               bool kill_set_id = false);
  env::Task<FsResult<uint64_t>> seek_data(InodeId inode, uint64_t offset);  // ENXIO beyond the end
  env::Task<FsResult<uint64_t>> seek_hole(InodeId inode, uint64_t offset);
  // Shares what is there: nothing is moved.
  env::Task<FsResult<size_t>> copy_range(FileHandle from, uint64_t from_offset, FileHandle to, uint64_t to_offset,
                                         size_t length, bool kill_set_id = false);

  // --- for the drive ---
  // Runs `work` while no operation that changes anything is under way, and none begins.
  env::Task<Status> exclusively(std::function<env::Task<Status>()> work);
  bool is_open(InodeId inode) const;
  // A file that others have removed while it is open here lives on until its last close, with these items.
  void keep_open(InodeId inode, EditMap items);
  // Others have changed it: the next open() does not keep caches.
  void content_changed(InodeId inode);
  // Called with each open file's last close and its size when its bytes were written (large ones are uploaded at once).
  void on_closed(std::function<void(InodeId, uint64_t size)> closed);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cairn::volume
