#pragma once
// A drive as a folder of this machine, by FUSE.
//
//   auto drive = Drive::open(options);
//   auto mount = Mount::start(**drive, {.directory = "/mnt"});
//   (*mount)->wait_for(...);                              // until somebody unmounts it
//
// The drive outlives its mount. Locks (flock, fcntl) are the kernel's: local to the mount.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cairn/drive.h"

namespace cairn {

// Extended attributes of the root that are no part of the volume: reading the first gives MountOptions::describe's
// text; reading the second waits until everything that was accepted before is in the pool and gives it then. Only who
// made the mount, and root, may.
inline constexpr const char* kStatusXattr = "system.cairn.status";
inline constexpr const char* kSyncXattr = "system.cairn.sync";

struct MountOptions {
  std::string directory;
  std::string source = "main";  // what the table of mounts shows
  bool read_only = false;
  bool allow_other = false;                    // other users may use it, as the permissions say
  std::vector<std::string> options;            // of the kernel: "dev", "suid", "noexec", "noatime" ...
  std::function<std::string()> describe = {};  // on the drive's strand; must not block
};

class Mount {
 public:
  // Returns once it serves.
  static Result<std::unique_ptr<Mount>> start(Drive& drive, MountOptions options);
  // Detaches it when it is still mounted: who has files open in it gets errors.
  ~Mount();
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  // True when it has been unmounted within this time.
  bool wait_for(Duration duration);
  // Detaches it from the directory; it ends once nobody has a file open in it.
  void detach();

 private:
  class Impl;
  explicit Mount(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cairn
