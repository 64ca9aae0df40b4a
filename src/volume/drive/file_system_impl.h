#pragma once
// What is behind file_system.h, split by concern:
//
//   file_system.cpp             turns and locks, one operation's changes, what the drive asks for
//   file_system_names.cpp       lookup, make, link, unlink, rename
//   file_system_attributes.cpp  attributes, extended attributes, ACLs
//   file_system_open.cpp        open files
//   file_system_directory.cpp   open directories
//   file_system_write.cpp       write, truncate, allocate, copy
//   file_system_read.cpp        read, read-ahead, seek
//
// Order of what an operation takes: its share of the gate (if it changes something), then the turn of names, then the
// locks of the inodes that it reads or changes, in the order of their numbers. Only reserve() is waited for before: who
// waits for room holds nothing, because room is made by commits, which may need the gate.

#include "env/world.h"
#include "volume/drive/acl.h"
#include "volume/drive/file_system.h"
#include "volume/item_edits.h"

// Hands on the errno of a FsStatus or FsResult in a coroutine.
#define CAIRN_FS_TRY(...)                                                                            \
  do {                                                                                               \
    if (auto cairn_try_ = (__VA_ARGS__); !cairn_try_) co_return std::unexpected(cairn_try_.error()); \
  } while (false)

namespace cairn::volume {

inline constexpr uint32_t kSetUserId = 04000, kSetGroupId = 02000, kGroupMayRun = 010;  // of a mode

// The mode without the set-id bits that a change of owner or content takes away. Set-group-ID without the right to run
// means mandatory locks, not an identity.
inline uint32_t without_set_id(uint32_t mode) {
  return mode & ~(kSetUserId | ((mode & kGroupMayRun) != 0 ? kSetGroupId : 0));
}

// Of a name that is to be given; 0 when it may be.
int error_of_new_name(std::string_view name);

inline std::unexpected<Errno> fs_fail(const Error& error) {
  return std::unexpected(errno_of(error));
}

// One turn for each inode that somebody uses just now.
class InodeLocks {
  struct Entry {
    explicit Entry(env::Executor& executor) : turn(executor, 1) {}
    env::Semaphore turn;
    size_t users = 0;
  };
  using Entries = std::unordered_map<InodeId, Entry>;

 public:
  // A place in the row; with the permit, the turn itself.
  class Lock {
   public:
    Lock(Entries& entries, InodeId inode, Entry& entry) : entries_(&entries), inode_(inode), entry_(&entry) {
      ++entry_->users;
    }
    Lock(Lock&& other) noexcept
        : entries_(std::exchange(other.entries_, nullptr)),
          inode_(other.inode_),
          entry_(other.entry_),
          permit_(std::move(other.permit_)) {}
    Lock& operator=(Lock&&) = delete;
    ~Lock() {
      if (entries_ == nullptr) return;
      permit_.release();
      if (--entry_->users == 0) entries_->erase(inode_);
    }

   private:
    friend class InodeLocks;
    Entries* entries_;
    InodeId inode_;
    Entry* entry_;
    env::Semaphore::Permit permit_;
  };

  explicit InodeLocks(env::Executor& executor) : executor_(executor) {}
  env::Task<Lock> lock(InodeId inode);
  // Each once, in the order of their numbers.
  env::Task<std::vector<Lock>> lock(std::vector<InodeId> inodes);

 private:
  env::Executor& executor_;
  Entries entries_;
};

class FileSystem::Impl {
 public:
  Impl(env::World world, Pending& pending, InodeNumbers& numbers, Staging& staging, ChunkCache& chunks,
       FileSystemOptions options);

  env::Task<FsResult<NodeInfo>> lookup(InodeId parent, std::string name);
  env::Task<FsResult<NodeInfo>> make(InodeId parent, std::string name, Inode inode, Caller caller);
  env::Task<FsResult<NodeInfo>> link(InodeId inode, InodeId parent, std::string name);
  env::Task<FsStatus> unlink(InodeId parent, std::string name);
  env::Task<FsStatus> remove_directory(InodeId parent, std::string name);
  env::Task<FsStatus> rename(InodeId from_parent, std::string from, InodeId to_parent, std::string to, uint32_t flags);

  env::Task<FsResult<NodeInfo>> attributes(InodeId inode);
  env::Task<FsResult<NodeInfo>> set_attributes(InodeId inode, AttributeSet set);
  env::Task<FsResult<std::string>> read_link(InodeId inode);
  env::Task<FsResult<std::string>> get_xattr(InodeId inode, std::string name);
  env::Task<FsResult<std::vector<std::string>>> list_xattrs(InodeId inode);
  env::Task<FsStatus> set_xattr(InodeId inode, std::string name, std::string value, uint32_t flags,
                                SetterGroups groups = std::nullopt);
  env::Task<FsStatus> remove_xattr(InodeId inode, std::string name);

  env::Task<FsResult<Opened>> create(InodeId parent, std::string name, uint32_t mode, bool exclusive, Caller caller);
  env::Task<FsResult<Opened>> make_unnamed(InodeId directory, uint32_t mode, Caller caller);
  env::Task<FsResult<Opened>> open(InodeId inode, bool truncate, bool kill_set_id);
  env::Task<FsStatus> release(FileHandle handle);
  env::Task<FsResult<FileHandle>> open_directory(InodeId directory);
  env::Task<FsResult<std::vector<DirectoryItem>>> read_directory(FileHandle handle, uint64_t cookie, size_t limit,
                                                                 bool with_inodes);
  env::Task<FsStatus> release_directory(FileHandle handle);

  env::Task<FsResult<std::vector<Buffer>>> read(FileHandle handle, uint64_t offset, size_t length);
  env::Task<FsResult<size_t>> write(FileHandle handle, uint64_t offset, Buffer bytes, bool append, bool kill_set_id);
  env::Task<FsStatus> allocate(FileHandle handle, uint32_t mode, uint64_t offset, uint64_t length,
                               bool kill_set_id = false);
  env::Task<FsResult<uint64_t>> seek_data(InodeId inode, uint64_t offset);
  env::Task<FsResult<uint64_t>> seek_hole(InodeId inode, uint64_t offset);
  env::Task<FsResult<size_t>> copy_range(FileHandle from, uint64_t from_offset, FileHandle to, uint64_t to_offset,
                                         size_t length, bool kill_set_id = false);

  env::Task<Status> exclusively(std::function<env::Task<Status>()> work);
  bool is_open(InodeId inode) const { return open_.contains(inode); }
  void keep_open(InodeId inode, EditMap items);
  void content_changed(InodeId inode) { seen_.erase(inode); }
  WallTime now() const { return world_.clock.wall_now(); }

  Reserve reserve;
  std::function<void(InodeId, uint64_t)> closed;

 private:
  // --- one operation's changes: file_system.cpp ---
  struct Work {
    std::map<InodeId, Inode> inodes;                 // as they will be
    EditMap edits;                                   // all others
    std::vector<std::pair<InodeId, EditMap>> ended;  // without a name from now on, with what they had
    InodeId revived = 0;                             // an orphan that has a name from now on
    Figures figures;
    WallTime now = 0;
    std::shared_ptr<void> hold;  // no staged byte goes before the edits are applied
  };
  // EROFS; then waits for room for `bytes`, then for its share of the gate.
  env::Task<FsResult<env::Semaphore::Permit>> begin_change(uint64_t bytes);
  Work begin_work();
  FsStatus apply(Work& work);
  // The inode in `work`, loaded when it is not there. Valid as long as `work`. ESTALE.
  env::Task<FsResult<Inode*>> use(Work& work, InodeId id);
  // A directory that entries may be put into. ENOTDIR; ENOENT for one that was removed and is still open.
  env::Task<FsResult<Inode*>> use_directory(Work& work, InodeId id);
  env::Task<FsResult<Inode>> load(InodeId id);
  NodeInfo shown(InodeId id, Inode inode) const;

  // --- names ---
  env::Task<FsResult<InodeId>> make_in(Work& work, InodeId parent, std::string name, Inode inode, Caller caller);
  // Owner, set-id bit and ACLs as the directory passes them on; umask.
  env::Task<FsStatus> inherit(Work& work, InodeId parent, InodeId id, Inode& inode, Caller caller);
  env::Task<FsResult<DirectoryEntry>> entry(InodeId parent, std::string name);  // ENOENT, ENAMETOOLONG
  env::Task<FsResult<std::optional<DirectoryEntry>>> find_entry(InodeId parent, std::string name);
  env::Task<FsStatus> drop_name(Work& work, InodeId id);
  env::Task<FsStatus> end_inode(Work& work, InodeId id);
  env::Task<FsStatus> must_be_empty(InodeId directory);
  env::Task<FsStatus> must_not_be_below(InodeId directory, InodeId above);

  // --- attributes ---
  env::Task<FsResult<std::optional<std::string>>> xattr(InodeId id, std::string name);
  env::Task<FsStatus> put_xattr(Work& work, InodeId id, Inode& inode, std::string name,
                                std::optional<std::string> value);
  env::Task<FsStatus> change_mode(Work& work, InodeId id, Inode& inode, uint32_t mode);
  // Capabilities of a program do not outlive a change of it, or of its owner.
  env::Task<FsStatus> drop_capabilities(Work& work, InodeId id, Inode& inode);

  // --- open files ---
  struct OpenInode {
    size_t handles = 0;
    bool written = false;  // since the first of them
  };
  struct OpenFile {
    InodeId inode = 0;
    // Read-ahead: where a run of reads began, where it goes on, bytes read in it; what is asked for already, how far to
    // look.
    uint64_t begin = 0, expected = 0, read = 0, asked = 0, window = 0;
    bool asking = false;
  };
  using OpenFilePtr = std::shared_ptr<OpenFile>;
  struct OpenDirectory {
    InodeId inode = 0;
    // Names given so far, in their order, one after the other; where each ends.
    std::string names;
    std::vector<uint32_t> ends;
    env::Semaphore turn;
    explicit OpenDirectory(env::Executor& executor) : turn(executor, 1) {}
    size_t count() const { return ends.size(); }
    std::string_view name(size_t index) const;
    void add(std::string_view name);
  };
  using OpenDirectoryPtr = std::shared_ptr<OpenDirectory>;
  Opened opened(InodeId id, Inode inode);
  OpenFilePtr file(FileHandle handle) const;
  OpenDirectoryPtr directory(FileHandle handle) const;
  // One handle less; what has no name ends with the last. The inode is locked.
  void close_inode(InodeId id);
  void see(InodeId id, uint64_t version);
  env::Task<FsStatus> count_up_to(OpenDirectoryPtr open, size_t count);
  env::Task<FsStatus> fill_inodes(std::vector<DirectoryItem>& items);

  // --- bytes ---
  // `fresh` takes the place of what lies in first <= byte < last; inline bytes beside it are staged.
  env::Task<FsStatus> put_range(Work& work, InodeId id, Inode& inode, uint64_t first, uint64_t last,
                                std::vector<Extent> fresh);
  env::Task<FsStatus> resize(Work& work, InodeId id, Inode& inode, uint64_t size);
  env::Task<FsResult<StagedPlace>> stage(Buffer bytes);
  // Whether a file of `size` can be inline: it is already, or has no extents.
  env::Task<FsResult<bool>> fits_inline(InodeId id, const Inode& inode, uint64_t size);
  // The size and the end of the changed part, figures, times, version.
  FsStatus finish_change(Work& work, InodeId id, uint64_t size);
  // After a change of content: size, figures, times, version.
  void set_size(Work& work, InodeId id, Inode& inode, uint64_t size) const;
  FsStatus apply_content(Work& work, InodeId id);
  struct Look {
    uint64_t size = 0;
    std::string inline_data;
    std::vector<Extent> extents;
  };
  env::Task<FsResult<Look>> look(InodeId id, uint64_t first, uint64_t last);
  env::Task<FsResult<std::vector<Buffer>>> gather(std::vector<Extent> extents, uint64_t first, uint64_t last);
  void read_ahead(const OpenFilePtr& file, uint64_t offset, uint64_t end, uint64_t size);
  env::Task<void> ask_ahead(OpenFilePtr file, uint64_t first, uint64_t last);
  // The access time after a read, when it is to be renewed. The inode is locked and was loaded upon `base`.
  void note_access(InodeId id, Inode inode, const HeadPtr& base);

  env::World world_;
  Pending& pending_;
  InodeNumbers& numbers_;
  Staging& staging_;
  ChunkCache& chunks_;
  FileSystemOptions options_;
  WallTime opened_;

  env::Semaphore gate_;   // a share for each operation that changes something; all of them: exclusively()
  env::Semaphore names_;  // operations that change names take turns
  InodeLocks locks_;
  std::unordered_map<InodeId, OpenInode> open_;
  std::unordered_map<FileHandle, OpenFilePtr> files_;
  std::unordered_map<FileHandle, OpenDirectoryPtr> directories_;
  FileHandle next_handle_ = 1;
  // Versions of the content that the kernel's pages were read from, of files that were opened lately.
  std::unordered_map<InodeId, uint64_t> seen_;
  Buffer zeros_;

  env::TaskGroup group_;  // last: its tasks use the others
};

// Cuts a staged run that begins at `offset` of a file where extents are cut: no staged extent crosses a multiple of
// kExtentSize.
std::vector<Extent> staged_extents(uint64_t offset, StagedPlace place, uint64_t length);

}  // namespace cairn::volume
