#pragma once
// Which mounts there are: a file HOME/mounts/KEY.json for each journal that is mounted, or that holds something which
// is not in the pool.
//
// The process of a mount writes its own file, whole each time. A file whose process has gone without taking it away
// tells of a mount that was killed, or left with --now: until the journal is mounted again.

#include <optional>
#include <string>
#include <vector>

#include "cairn/drive.h"
#include "tools/output.h"

namespace cairn::tools {

struct MountRecord {
  std::string directory, home, key, log;
  std::string state;  // "mounted", "uploading" (unmounted, its process goes on), "left" (nobody does)
  int pid = 0;
  uint64_t started = 0;  // the process's start, as /proc tells: a pid may be another process's by now
  DriveStatus drive;

  // The process runs.
  bool alive() const;
  Json json() const;
  static std::optional<MountRecord> parse(const std::string& text);
};

// A name for the journal: of the volume and the folder.
std::string mount_key(const std::string& volume, const std::string& cache_dir, const std::string& distinct);
std::string mounts_folder(const std::string& home);  // made when it is not there
Status write_mount(const MountRecord& record);
void remove_mount(const std::string& home, const std::string& key);
std::optional<MountRecord> read_mount(const std::string& home, const std::string& key);
// All of a home, as they are now: of a mount that serves what itself says, of a journal that nobody has open what lies
// in it.
std::vector<MountRecord> list_mounts(const std::string& home);

// What the mount on this directory says; nothing when there is none of ours that answers. `name`: kStatusXattr, or
// kSyncXattr, which blocks.
struct Asked {
  std::optional<MountRecord> record;
  int error = 0;  // ENOTCONN: its process is dead
};
Asked ask_mount(const std::string& directory, const char* name);

// The start of this process or another one, as /proc tells; 0: no such process.
uint64_t process_start(int pid);

}  // namespace cairn::tools
