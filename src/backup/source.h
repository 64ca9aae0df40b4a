#pragma once
// What a backup needs of the machine's files: to walk them, and to read what has changed. The client has it over POSIX,
// the simulator over trees in memory.
//
// All calls block: make them from Workers. next() belongs to one task at a time; complete() and open() may run beside
// it.

#include <memory>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "volume/inode.h"

namespace cairn::backup {

// What one lstat tells of an entry.
struct SourceEntry {
  std::string path;  // on the machine, absolute
  std::string name;  // in the snapshot's folder, raw
  volume::FileType type = volume::FileType::file;
  uint32_t mode = 0, uid = 0, gid = 0;
  uint64_t links = 1, size = 0, device = 0, inode = 0, rdev = 0;
  bool holes = false;  // less is allocated than its size
  WallTime mtime = 0, ctime = 0, atime = 0, btime = 0;
};

// What a walk comes by, depth first: a folder is entered, then what is in it, in the order of the names' bytes, then it
// is left. An entry that cannot be looked at, or a folder that cannot be listed, failed and is nothing else.
struct ScanEvent {
  enum class Kind : uint8_t { enter, entry, leave, failed } kind = Kind::entry;
  SourceEntry entry;        // leave: empty; failed: only its path
  bool on_the_way = false;  // a folder above what is backed up, nothing else of it is
  Error error{};            // failed
};

// What must be read of an entry that is new or has changed.
struct Detail {
  SourceEntry entry;
  std::vector<volume::Xattr> xattrs;
  std::string owner, group;
  std::string target;            // of a symbolic link
  uint32_t flags = 0;            // of a file or folder: os::kFileFlags
  std::optional<Bytes> content;  // of a small file without holes: all of it
  bool changed = false;          // while it was read
  std::optional<Error> error;    // it could not be read
};

// A regular file that is read in order, hole by hole.
class SourceFile {
 public:
  struct Piece {
    uint64_t offset = 0;
    Buffer bytes;  // empty: a hole of `hole` bytes
    uint64_t hole = 0;
  };
  virtual ~SourceFile() = default;
  // From `offset` on, at most `most` bytes; nothing at the end of the file.
  virtual Result<std::optional<Piece>> read(uint64_t offset, size_t most) = 0;
  // Whether it is not any more what `entry` says.
  virtual Result<bool> changed_since(const SourceEntry& entry) = 0;
};

class Source {
 public:
  virtual ~Source() = default;
  // The next events of the walk; none at the end.
  virtual std::vector<ScanEvent> next() = 0;
  virtual void complete(std::span<Detail> details) = 0;
  virtual Result<std::unique_ptr<SourceFile>> open(const std::string& path) = 0;
};

}  // namespace cairn::backup
