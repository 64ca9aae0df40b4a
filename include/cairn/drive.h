#pragma once
// A volume as a drive: POSIX file operations on it, accepted into a local journal and uploaded behind.
//
// Calls are asynchronous: each takes a callback that is called exactly once, on the drive's strand (a thread of its
// own), perhaps before the call returns when that is made on the strand. Any thread may call; a callback must not
// block. Errors are numbers of <errno.h>. Inodes are numbers; the root is 1. Permissions are not checked: that is for
// the caller (of a mount: the kernel). An operation happens as a whole or not at all.

#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cairn/buffer.h"
#include "cairn/client.h"

namespace cairn {

inline constexpr uint64_t kDriveRoot = 1;

struct DriveOptions {
  std::string home;
  std::string log_level = "warning";
  std::string volume = "main";  // or a snapshot's name, or "latest"; see `snapshots`
  bool snapshots = false;       // all snapshots of the volume, each a directory of the root, read-only
  bool read_only = false;
  std::string cache_dir;                        // of journal and cache; empty: in the home
  uint64_t cache_bytes = 10 * kGiB;             // of it, all together
  bool fsync_to_pool = false;                   // else fsync means: durable on the local disk
  std::string distinct;                         // tells read-only drives of one cache_dir apart
  bool access_times = true;                     // relatime
  Duration timeout = std::chrono::seconds(30);  // of a read of what is not cached, while the pool is away
};

// An inode's attributes.
struct DriveNode {
  uint64_t inode = 0, parent = 0;  // parent: of a directory
  FileType type{};
  uint32_t mode = 0, uid = 0, gid = 0, links = 0;  // mode: 07777
  uint64_t size = 0, device = 0;
  WallTime mtime = 0, ctime = 0, atime = 0;
};
struct DriveOpened {
  uint64_t handle = 0;
  bool keep_cache = false;  // what was read from the file before is still right
  DriveNode node;
};
struct DriveEntry {
  std::string name;
  uint64_t inode = 0, cookie = 0;  // cookie: of the place behind it
  FileType type{};
  std::optional<DriveNode> node;  // when asked for
};
// Who asks; the umask is applied here, because a default ACL overrides it.
struct DriveCaller {
  uint32_t uid = 0, gid = 0, umask = 0;
};
// Only what is set is changed.
struct DriveAttributes {
  std::optional<uint32_t> mode, uid, gid;
  std::optional<uint64_t> size;
  std::optional<WallTime> atime, mtime;
  bool atime_now = false, mtime_now = false;
  bool kill_set_id = false;  // the set-id bits go, as with a change of content by who may not keep them
};
struct DriveSpace {
  uint64_t total = 0, free = 0;  // bytes of files, redundancy subtracted
  uint64_t files = 0;
};
// Something that another mount (or command) has changed: what is cached of it is wrong.
struct DriveChange {
  enum class Kind { content, attributes, entry } kind{};
  uint64_t inode = 0;  // of an entry: the directory
  std::string name;    // of an entry
};
struct DriveStatus {
  std::string volume, journal;  // journal: its folder
  bool read_only = false;
  uint64_t pending_bytes = 0, pending_edits = 0;  // not in the pool yet
  uint64_t cache_bytes = 0, cache_limit = 0;
  uint64_t uploaded_bytes = 0, commits = 0, conflicts = 0;  // since it was opened
  uint64_t head_sequence = 0;
  bool pool_reachable = true;
  std::string last_error;
};

class Drive {
 public:
  // Blocks. Code::not_found: no such volume or snapshot; Code::overloaded: another process has this journal open.
  static Result<std::unique_ptr<Drive>> open(const DriveOptions& options);
  // Ends all calls (EINTR), makes the journal durable. What is not in the pool stays in the journal.
  ~Drive();
  Drive(const Drive&) = delete;
  Drive& operator=(const Drive&) = delete;

  template <class T>
  using Reply = std::move_only_function<void(std::expected<T, int>)>;
  // Names a call that is under way; 0: it has been answered.
  using Ticket = uint64_t;
  // The call is answered with EINTR, unless it has ended meanwhile.
  void interrupt(Ticket ticket);

  Ticket lookup(uint64_t parent, std::string name, Reply<DriveNode> reply);
  Ticket make_node(uint64_t parent, std::string name, FileType type, uint32_t mode, uint64_t device, DriveCaller caller,
                   Reply<DriveNode> reply);  // any type but directories and symbolic links
  Ticket make_directory(uint64_t parent, std::string name, uint32_t mode, DriveCaller caller, Reply<DriveNode> reply);
  Ticket make_symlink(uint64_t parent, std::string name, std::string target, DriveCaller caller,
                      Reply<DriveNode> reply);
  Ticket link(uint64_t inode, uint64_t parent, std::string name, Reply<DriveNode> reply);
  Ticket unlink(uint64_t parent, std::string name, Reply<void> reply);
  Ticket remove_directory(uint64_t parent, std::string name, Reply<void> reply);
  // Flags of renameat2(2).
  Ticket rename(uint64_t from_parent, std::string from, uint64_t to_parent, std::string to, uint32_t flags,
                Reply<void> reply);

  Ticket attributes(uint64_t inode, Reply<DriveNode> reply);
  Ticket set_attributes(uint64_t inode, DriveAttributes set, DriveCaller caller, Reply<DriveNode> reply);
  Ticket read_link(uint64_t inode, Reply<std::string> reply);
  Ticket get_xattr(uint64_t inode, std::string name, Reply<std::string> reply);
  Ticket list_xattrs(uint64_t inode, Reply<std::vector<std::string>> reply);
  Ticket set_xattr(uint64_t inode, std::string name, std::string value, uint32_t flags,
                   std::optional<std::vector<uint32_t>> groups, Reply<void> reply);
  Ticket remove_xattr(uint64_t inode, std::string name, Reply<void> reply);

  Ticket create(uint64_t parent, std::string name, uint32_t mode, bool exclusive, DriveCaller caller,
                Reply<DriveOpened> reply);
  Ticket make_unnamed(uint64_t directory, uint32_t mode, DriveCaller caller, Reply<DriveOpened> reply);  // O_TMPFILE
  Ticket open(uint64_t inode, bool truncate, bool kill_set_id, Reply<DriveOpened> reply);
  Ticket release(uint64_t handle, Reply<void> reply);
  Ticket open_directory(uint64_t directory, Reply<uint64_t> reply);
  // Entries after the place that the cookie names (0: all). None: the end.
  Ticket read_directory(uint64_t handle, uint64_t cookie, size_t limit, bool with_nodes,
                        Reply<std::vector<DriveEntry>> reply);
  Ticket release_directory(uint64_t handle, Reply<void> reply);

  // The range's bytes in order; fewer only at the end of the file.
  Ticket read(uint64_t handle, uint64_t offset, size_t length, Reply<std::vector<Buffer>> reply);
  // Keeps the buffer: nobody writes to it any more. `append`: at the file's end. The answer is the length.
  Ticket write(uint64_t handle, uint64_t offset, Buffer bytes, bool append, bool kill_set_id, Reply<size_t> reply);
  // Flags of fallocate(2).
  Ticket allocate(uint64_t handle, uint32_t mode, uint64_t offset, uint64_t length, bool kill_set_id,
                  Reply<void> reply);
  Ticket seek_data(uint64_t inode, uint64_t offset, Reply<uint64_t> reply);
  Ticket seek_hole(uint64_t inode, uint64_t offset, Reply<uint64_t> reply);
  Ticket copy_range(uint64_t from, uint64_t from_offset, uint64_t to, uint64_t to_offset, size_t length,
                    bool kill_set_id, Reply<size_t> reply);

  // What was accepted before is durable on the local disk, or in the pool (fsync_to_pool).
  Ticket fsync(Reply<void> reply);
  // Everything accepted before is in the pool; waits for as long as the pool is away. `progress` may be empty.
  Ticket sync(std::function<void(const DriveStatus&)> progress, Reply<void> reply);
  Ticket space(Reply<DriveSpace> reply);

  // Blocks for a moment when it is not called on the strand.
  DriveStatus status();
  // Called on the strand with each commit of others that was taken over. Before any call that caches anything.
  void on_change(std::function<void(std::vector<DriveChange>)> changed);

  // Runs `work` on the strand.
  void post(std::move_only_function<void()> work);
  // Calls `readable` on the strand whenever the descriptor can be read, until it returns false. One at a time; the
  // descriptor stays the caller's and must stay open until then or until the drive has gone.
  void watch(int descriptor, std::move_only_function<bool()> readable);

 private:
  class Impl;
  explicit Drive(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// What a journal (DriveStatus::journal) holds that no process has open, and that may not be in the pool.
// Code::not_found when there is none, Code::overloaded when a process has it open.
struct DriveRest {
  uint64_t bytes = 0, edits = 0;
};
Result<DriveRest> left_in_journal(const std::string& folder);

}  // namespace cairn
