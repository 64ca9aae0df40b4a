#pragma once
// The member's own files: bringing entries of a volume back. Blocks: call from Workers.
//
// A file is written under a temporary name beside its own and renamed when it is whole. Ownership and extended
// attributes that the system refuses (no privileges, another file system) are left out: the content counts.

#include <memory>

#include "base/bytes.h"
#include "content/keys.h"
#include "env/disk.h"
#include "volume/inode.h"

namespace cairn::client {

struct RestoredAttributes {
  volume::Inode inode;
  std::vector<volume::Xattr> xattrs;
};

Result<bool> is_directory(const std::string& path);  // follows links; false when it is not there
// True when it was made; false when a folder was there.
Result<bool> make_folder(const std::string& path);
Status restore_attributes(const std::string& path, const RestoredAttributes& about);
// Flags of chattr(1), where the caller may set them and the file system has them: last of all.
void restore_flags(const std::string& path, uint32_t flags);
// Takes away those that would let nothing be written here.
void make_changeable(const std::string& path);
// Another name for a file; replaces what is no folder.
Status make_hard_link(const std::string& existing, const std::string& path);
// Symbolic link, FIFO, socket or device. False when the same is there already; replaces what is no folder.
Result<bool> restore_special(const std::string& path, const RestoredAttributes& about);
// A regular file of this size and mtime.
Result<bool> same_file_there(const std::string& path, const RestoredAttributes& about);
Status restore_small_file(const std::string& path, ByteView content, const RestoredAttributes& about);

// What is there under a name, a link itself; nothing when it is free.
struct LocalState {
  volume::FileType type = volume::FileType::file;
  uint64_t size = 0;
  WallTime mtime = 0;
};
Result<std::optional<LocalState>> local_state(const std::string& path);
// Mode, owner, extended attributes and times of what is no folder and has its content.
Status restore_metadata(const std::string& path, const RestoredAttributes& about);
Result<std::vector<std::string>> names_in(const std::string& path);
// Whatever it is, with all below it. Follows no link.
Status remove_all(const std::string& path);
// Whether the file's bytes are these: an inline file's, or chunks that are named by their content's keyed hash, with
// holes between them.
struct ExpectedContent {
  uint64_t size = 0;
  std::string inline_data;
  std::vector<volume::Extent> extents;
};
Result<bool> has_content(const std::string& path, const ExpectedContent& expected, const content::VolumeKeys& keys);

// From this size on an interrupted get goes on within the file.
inline constexpr uint64_t kResumableFile = 64 * kMiB;

// Of a large file so much is allocated at once: more than one write at a time may then be with the disk, which a file
// that grows with each does not allow (ext4).
inline constexpr uint64_t kRoomStep = 256 * kMiB;

// Where it is noted how far a large file is: one record for each place that files are brought to, in the home, which
// says of which version of which file the part there is. Text: the key, a space, the bytes that are there for good.
struct PartRecord {
  std::string path;
  std::string key;  // without a space
};

// A file on its way.
class PartFile {
 public:
  // Goes on with what the record speaks of. If that is nothing, or another file, it begins anew, and no record is left
  // that could speak of what is written from then on.
  static Result<std::unique_ptr<PartFile>> open(env::Disk& disk, const std::string& path, PartRecord record,
                                                uint64_t size);
  ~PartFile();
  uint64_t complete_up_to() const { return synced_; }
  // Before each write, in the order of offsets: false when it has to be make_room() that takes these bytes on.
  bool take_on(uint64_t offset, uint64_t end);
  // Blocks; nothing is taken on meanwhile.
  Status make_room(uint64_t offset, uint64_t end);
  // From several threads at once.
  Status write(uint64_t offset, ByteView bytes) const;
  // All before `offset` is written: whether that should be kept now. Where it is, a later run goes on. One thread at a
  // time.
  bool is_due(uint64_t offset) const { return size_ >= kResumableFile && offset >= synced_ + kResumableFile; }
  Status keep(uint64_t offset);
  // When nothing else is under way. Grows it to its size (a hole at the end), sets everything, gives it its name.
  Status finish(const RestoredAttributes& about);

 private:
  struct Open;
  PartFile(env::Disk& disk, std::unique_ptr<Open> open, PartRecord record, uint64_t size, uint64_t synced);
  env::Disk& disk_;
  std::unique_ptr<Open> open_;
  PartRecord record_;
  uint64_t size_, synced_;
  uint64_t reached_;        // in the order of offsets
  uint64_t allocated_ = 0;  // there is room on the disk for the bytes from reached_ to here
  bool room_ahead_ = true;  // is made; not for a file with holes, nor where that cannot be undone
};

}  // namespace cairn::client
