#pragma once
// The member's own files: walking a tree that is to be stored. Blocks: call from Workers.

#include <map>
#include <memory>

#include "base/bytes.h"
#include "os/files.h"
#include "volume/inode.h"
#include "volume/limits.h"

namespace cairn::client {

struct LocalXattr {
  std::string name, value;
};

// One entry of a local tree. Names are raw bytes.
struct LocalEntry {
  std::string path, name;
  volume::FileType type = volume::FileType::file;
  uint32_t mode = 0, uid = 0, gid = 0;
  uint64_t links = 1, size = 0, device = 0, inode = 0, rdev = 0;
  WallTime mtime = 0, ctime = 0, atime = 0;
  std::optional<WallTime> btime;  // where the file system knows it
  std::string owner, group;
  std::string target;  // of a symbolic link
  std::vector<LocalXattr> xattrs;
  // Of a small file without holes: all its bytes, so that a batch of them is one job.
  std::optional<Bytes> content;
};

// What a walk comes by, depth first: a directory is entered, then what is in it, then it is left.
struct WalkEvent {
  enum class Kind { enter, entry, leave, failed } kind = Kind::entry;
  LocalEntry entry;  // failed: only path is set
  Error error{};     // failed
};

inline constexpr size_t kWalkBatch = 256;              // events of one job
inline constexpr uint64_t kWalkBatchBytes = 4 * kMiB;  // content of one job
inline constexpr uint64_t kSmallFile = 128 * kKiB;     // files up to here are read by the walk

// Names of users and groups, each looked up once.
class OwnerNames {
 public:
  const std::string& user(uint32_t id);
  const std::string& group(uint32_t id);

 private:
  std::map<uint32_t, std::string> users_, groups_;
};

volume::FileType type_from(os::FileType type);
uint64_t device_number(const os::FileInfo& info);  // of a device file
// What the system tells of an entry, for LocalEntry and backup::SourceEntry alike.
template <class Entry>
void take_over(const os::FileInfo& info, Entry& entry) {
  entry.type = type_from(info.type);
  entry.mode = info.mode;
  entry.uid = info.user;
  entry.gid = info.group;
  entry.links = info.links;
  entry.size = info.size;
  entry.device = info.device;
  entry.inode = info.inode;
  entry.rdev = device_number(info);
  entry.mtime = info.modified;
  entry.ctime = info.changed;
  entry.atime = info.accessed;
}

class TreeWalk {
 public:
  // `root`: a path as given; `name`: what it is to be called.
  TreeWalk(std::string root, std::string name);
  ~TreeWalk();
  // The next events; none at the end.
  std::vector<WalkEvent> next();

 private:
  struct Level;
  struct Names;
  void visit(const void* parent_folder, const std::string& own_name, const std::string& path,
             const std::string& shown_name, std::vector<WalkEvent>& events);
  std::string root_, name_;
  bool started_ = false;
  uint64_t loaded_ = 0;  // bytes of content in the current batch
  std::vector<std::unique_ptr<Level>> stack_;
  std::unique_ptr<Names> names_;
};

// How much there is below the sources: for progress. Unreadable folders count as empty.
struct TreeSize {
  uint64_t files = 0, bytes = 0;
};
TreeSize tree_size(const std::string& root);
// Of the entry itself: a symbolic link is not followed.
Result<volume::FileType> type_of(const std::string& path);
// The last part of a path; of ".", ".." and "/" what they stand for ("" for the root).
std::string base_name_of(const std::string& path);

// A regular file that is read in order, hole by hole.
class LocalReader {
 public:
  static Result<std::unique_ptr<LocalReader>> open(const std::string& path);
  ~LocalReader();
  struct Piece {
    uint64_t offset = 0;
    Buffer bytes;  // empty: a hole of `hole` bytes
    uint64_t hole = 0;
  };
  // From `offset` on, at most `most` bytes; nothing at the end of the file.
  Result<std::optional<Piece>> read(uint64_t offset, size_t most);
  // Size, mtime and ctime as they are now, to see whether it changed meanwhile.
  struct Stamp {
    uint64_t size = 0;
    WallTime mtime = 0, ctime = 0;
    bool operator==(const Stamp&) const = default;
  };
  Result<Stamp> stamp() const;

 private:
  struct Open;
  explicit LocalReader(std::unique_ptr<Open> open);
  std::unique_ptr<Open> open_;
};

}  // namespace cairn::client
