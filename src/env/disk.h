#pragma once
// Disk: files and folders, with the durability that each call promises. All calls block: make them from Workers.
//
// What is durable: bytes after File::sync(); a created, renamed or removed name after sync_dir() of its folder. What
// was not synced may be gone, or there in part (torn), after a crash. Paths are absolute or relative to the world's
// root, separated by '/'.

#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/units.h"

namespace cairn::env {

// Calls on one File from several threads are allowed where the ranges do not overlap.
class File {
 public:
  virtual ~File() = default;
  // Fewer bytes than asked only at the end of the file.
  virtual Result<size_t> read_at(uint64_t offset, MutableByteView into) = 0;
  // All parts one after the other from offset on. Code::no_space when the disk is full; part may then be written.
  virtual Status write_at(uint64_t offset, std::span<const ByteView> parts) = 0;
  // The same two past the system's cache of pages where it can: for much that nobody else wants soon, so that it does
  // not push out what others use, and is not copied. Only whole pages at such offsets and addresses go that way
  // (kPageAlignment); all else, and everywhere where the system cannot, is as above.
  virtual Result<size_t> read_past_cache(uint64_t offset, MutableByteView into) { return read_at(offset, into); }
  virtual Status write_past_cache(uint64_t offset, std::span<const ByteView> parts) { return write_at(offset, parts); }
  virtual Status sync() = 0;  // data, and the size when it changed (fdatasync)
  virtual Result<uint64_t> size() = 0;
  virtual Status truncate(uint64_t size) = 0;
  // Reserves blocks without changing the size that size() tells (fallocate KEEP_SIZE). Unsupported is success.
  virtual Status allocate(uint64_t offset, uint64_t length) = 0;
  // Gives blocks back; the range reads as zeros. Code::unsupported where the file system cannot.
  virtual Status punch_hole(uint64_t offset, uint64_t length) = 0;
  // Bytes of blocks that the file really takes.
  virtual Result<uint64_t> allocated() = 0;

  Status write_at(uint64_t offset, ByteView bytes) { return write_at(offset, std::span<const ByteView>(&bytes, 1)); }
};

enum class OpenMode {
  read,        // must exist
  read_write,  // must exist
  create,      // made when it is not there
  create_new,  // Code::exists when it is there
};

struct Space {
  uint64_t total = 0;      // bytes of the file system that holds the path
  uint64_t available = 0;  // bytes that an unprivileged writer could still take
  uint64_t device = 0;     // the same for all paths of one file system
};

// Held by one process (and one holder inside it) at a time; freed when destroyed or when the process ends.
class DiskLock {
 public:
  virtual ~DiskLock() = default;
};

class Disk {
 public:
  virtual ~Disk() = default;
  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  virtual Status make_dirs(const std::string& path) = 0;                      // with parents, mode 0700, and durable
  virtual Status rename(const std::string& from, const std::string& to) = 0;  // replaces `to`
  virtual Status remove(
      const std::string& path) = 0;  // a file or an empty folder; Code::not_found when it is not there
  virtual Status sync_dir(const std::string& path) = 0;
  virtual Result<std::vector<std::string>> list(const std::string& path) = 0;  // names, sorted
  virtual Result<bool> exists(const std::string& path) = 0;
  virtual Result<Space> space(const std::string& path) = 0;
  // Code::overloaded when another holds it.
  virtual Result<std::unique_ptr<DiskLock>> lock(const std::string& path) = 0;
};

// The whole file; Code::too_large beyond max_size.
Result<Bytes> read_file(Disk& disk, const std::string& path, uint64_t max_size = 16 * kMiB);
// Durable when it returns, and never half there: temporary name, sync, rename, sync of the folder. Mode 0600.
Status write_file(Disk& disk, const std::string& path, ByteView bytes);

}  // namespace cairn::env
