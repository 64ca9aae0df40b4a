#pragma once
// The member's own files: bringing entries of a volume back. Blocks: call from Workers.
//
// A file is written under a temporary name beside its own and renamed when it is whole. Ownership and extended
// attributes that the system refuses (no privileges, another file system) are left out: the content counts.

#include <memory>

#include "base/bytes.h"
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
// Another name for a file; replaces what is no folder.
Status make_hard_link(const std::string& existing, const std::string& path);
// Symbolic link, FIFO, socket or device. False when the same is there already; replaces what is no folder.
Result<bool> restore_special(const std::string& path, const RestoredAttributes& about);
// A regular file of this size and mtime.
Result<bool> same_file_there(const std::string& path, const RestoredAttributes& about);
Status restore_small_file(const std::string& path, ByteView content, const RestoredAttributes& about);

// From this size on an interrupted get goes on within the file.
inline constexpr uint64_t kResumableFile = 64 * kMiB;

// A file on its way. `record_path`: where it is noted how far it is, in the home; the file's place and version are part
// of its name, so a record of another version is never found.
class PartFile {
 public:
  static Result<std::unique_ptr<PartFile>> open(env::Disk& disk, const std::string& path,
                                                const std::string& record_path, uint64_t size);
  ~PartFile();
  uint64_t complete_up_to() const { return synced_; }
  // In the order of offsets.
  Status write(uint64_t offset, ByteView bytes);
  // Grows it to its size (a hole at the end), sets everything, gives it its name.
  Status finish(const RestoredAttributes& about);

 private:
  struct Open;
  PartFile(env::Disk& disk, std::unique_ptr<Open> open, std::string record_path, uint64_t size, uint64_t synced);
  env::Disk& disk_;
  std::unique_ptr<Open> open_;
  std::string record_path_;
  uint64_t size_, synced_, written_;
};

}  // namespace cairn::client
