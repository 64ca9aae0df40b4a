#pragma once
// Users' trees: what walking and restoring them needs of POSIX beyond env::Disk.
//
// Names are raw bytes: anything but '/' and NUL, up to 255 of them. Everything goes through open folders, so a folder
// that is renamed meanwhile, or a symbolic link that is put in its place, leads nowhere else: no call here follows a
// link but Folder::open(). All calls block: make them from Workers. Objects may move between threads; one thread at a
// time uses one object. Errors as in os/posix.h: not_found, exists, no_space, unsupported, io.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/units.h"
#include "os/past_cache.h"
#include "os/posix.h"

namespace cairn::os {

enum class FileType { regular, folder, symlink, fifo, socket, character_device, block_device, unknown };

struct FileInfo {
  FileType type = FileType::unknown;
  uint32_t mode = 0;  // permissions with set-id and sticky bits, 07777
  uint32_t user = 0, group = 0;
  uint64_t size = 0;       // bytes; of a symbolic link: its target's length
  uint64_t allocated = 0;  // bytes of blocks; less than size: there are holes
  WallTime modified = 0, changed = 0, accessed = 0;
  WallTime born = 0;                            // 0 where the file system does not tell
  uint64_t device = 0, inode = 0;               // equal in both: the same file
  uint64_t links = 1;                           // above 1: there are hard links
  uint32_t device_major = 0, device_minor = 0;  // of device files
  // Whether a file with this information holds the same bytes as when it was taken, as far as the file system tells.
  bool same_content(const FileInfo& other) const;
};

struct ExtendedAttribute {
  std::string name;  // with its namespace: "user.comment"
  std::string value;
  auto operator<=>(const ExtendedAttribute&) const = default;
};

// What is restored beside the content.
struct Attributes {
  std::optional<uint32_t> mode;                        // 07777; ignored for symbolic links
  std::optional<std::pair<uint32_t, uint32_t>> owner;  // user and group
  std::vector<ExtendedAttribute> extended;
  std::optional<WallTime> modified;
  std::optional<WallTime> accessed;  // none: left as it is
};
// What the system or the file system would not take; the rest was set.
struct Refused {
  bool owner = false;
  std::vector<std::string> extended;  // names
  bool any() const { return owner || !extended.empty(); }
};

// The flags of chattr(1) that a person sets, as FS_IOC_GETFLAGS numbers them; others say how the file system keeps it.
inline constexpr uint32_t kFileFlags = 0x2083'c4ff;
inline constexpr uint32_t kImmutableFlag = 0x10, kAppendOnlyFlag = 0x20;

struct Extent {
  uint64_t offset = 0, length = 0;
  auto operator<=>(const Extent&) const = default;
};

// A regular file that is read.
class SourceFile {
 public:
  // Fewer bytes than asked only at the end.
  Result<size_t> read_at(uint64_t offset, MutableByteView into) const;
  // As the file is now: compare with what lstat told to see whether it changed while it was read.
  Result<FileInfo> info() const;
  // The next run of data at or after `offset` (SEEK_DATA, SEEK_HOLE): what lies between runs reads as zeros. Nothing
  // after the last. The whole file is one run where the file system does not tell.
  Result<std::optional<Extent>> next_data(uint64_t offset) const;
  // Tells the kernel that it will be read once from front to back, or that a part will not be read again.
  void will_read_once() const;
  void done_with(uint64_t offset, uint64_t length) const;
  Result<std::vector<ExtendedAttribute>> extended() const;
  uint32_t flags() const;  // kFileFlags; 0 where the file system has none

 private:
  friend class Folder;
  SourceFile(Descriptor descriptor, std::string name) : descriptor_(std::move(descriptor)), name_(std::move(name)) {}
  Descriptor descriptor_;
  std::string name_;
};

// A regular file that is being restored, under a temporary name until it is whole.
class TargetFile {
 public:
  TargetFile(TargetFile&&) noexcept = default;
  TargetFile& operator=(TargetFile&&) noexcept = default;

  // Bytes that are never written stay a hole.
  Status write_at(uint64_t offset, ByteView bytes) const;
  // The same past the system's cache of pages where it can, as env::File says of it: for large files.
  Status write_past_cache(uint64_t offset, ByteView bytes) const;
  // Room on the disk for bytes that will be written, and no room for bytes that will not. Code::unsupported where the
  // file system cannot.
  Status allocate(uint64_t offset, uint64_t size) const;
  Status punch_hole(uint64_t offset, uint64_t size) const;
  Status truncate(uint64_t size) const;  // also to grow it over a hole at the end
  Result<FileInfo> info() const;
  Result<size_t> read_at(uint64_t offset, MutableByteView into) const;
  Status sync() const;
  // Makes it what `attributes` says and gives it its name, in place of whatever file had it (not a folder:
  // Code::exists). Not durable until sync() before it and Folder::sync() after it.
  Result<Refused> commit(const Attributes& attributes);
  // Takes the temporary file away. Without commit() or discard() it stays, for a later call to go on with.
  Status discard();

 private:
  friend class Folder;
  TargetFile() = default;
  Descriptor descriptor_, folder_;
  std::unique_ptr<PastCache> past_cache_;
  std::string temporary_, name_;
};

// An open folder; all names are of its own entries.
class Folder {
 public:
  // Follows symbolic links in the path.
  static Result<Folder> open(const std::string& path);
  Folder(Folder&&) noexcept = default;
  Folder& operator=(Folder&&) noexcept = default;

  struct Entry {
    std::string name;
    FileType type = FileType::unknown;  // unknown where the file system does not say: ask info()
    uint64_t inode = 0;
  };
  // The entries one after the other, in the file system's order, without "." and ".."; nothing after the last. A
  // handful is buffered, never the whole. rewind() starts again.
  Result<std::optional<Entry>> next();
  void rewind();

  // ---- reading ----
  Result<FileInfo> info() const;  // of the folder itself
  Result<FileInfo> info(const std::string& name) const;
  Result<Folder> open_folder(const std::string& name) const;
  Result<SourceFile> open_file(const std::string& name) const;   // Code::unsupported when it is not a regular file
  Result<std::string> read_link(const std::string& name) const;  // raw bytes
  Result<std::vector<ExtendedAttribute>> extended() const;
  Result<std::vector<ExtendedAttribute>> extended(const std::string& name) const;  // sorted; of a link itself

  // kFileFlags of a file or folder (of this one without a name); 0 where there are none, or it may not be opened.
  uint32_t flags() const;
  uint32_t flags(const std::string& name) const;

  // ---- making; Code::exists when the name is taken ----
  Status make_folder(const std::string& name) const;  // mode 0700 until apply()
  Status make_symlink(const std::string& name, const std::string& target) const;
  // A second name for `existing` in `from`; the link itself when it is a symbolic one.
  Status make_link(const std::string& name, const Folder& from, const std::string& existing) const;
  // fifo, socket, character_device, block_device; the last two need privileges.
  Status make_special(const std::string& name, FileType type, uint32_t device_major, uint32_t device_minor) const;
  // A file that gets the name when it is whole. Its temporary name follows from `name`, so a second call finds what an
  // interrupted one left: kept with resume, emptied without.
  Result<TargetFile> make_file(const std::string& name, bool resume) const;
  static bool is_temporary(std::string_view name);

  // ---- changing ----
  Result<Refused> apply(const std::string& name, const Attributes& attributes) const;
  Result<Refused> apply(const Attributes& attributes) const;  // to the folder itself: after all its entries are made
  // False when the caller may not, or the file system cannot. Last of all: an immutable file takes nothing more.
  bool set_flags(const std::string& name, uint32_t flags) const;
  Status remove(const std::string& name) const;         // anything but a folder
  Status remove_folder(const std::string& name) const;  // an empty one
  Status rename(const std::string& from, const Folder& to_folder, const std::string& to) const;  // replaces
  Status sync() const;
  // The whole file system that holds the folder: cheaper than a sync of each of many small files.
  Status sync_all() const;

 private:
  struct Reader;
  struct CloseReader {
    void operator()(Reader* reader) const;
  };
  explicit Folder(Descriptor descriptor, std::string name)
      : descriptor_(std::move(descriptor)), name_(std::move(name)) {}
  Descriptor descriptor_;
  std::string name_;  // for messages
  std::unique_ptr<Reader, CloseReader> reader_;
};

// Everything of the path but its last part, opened, and that part ("." for "/"). Code::not_found as for Folder::open().
struct Place {
  Folder folder;
  std::string name;
};
Result<Place> open_parent(const std::string& path);

}  // namespace cairn::os
