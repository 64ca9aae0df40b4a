#pragma once
// Drive: one volume as a mount has it: its file system, the local journal, and the task that uploads and commits
// behind.
//
//   auto drive = co_await Drive::open(world, *volume, options);
//   (*drive)->files().lookup(...)                  // see file_system.h
//   co_await (*drive)->sync();                     // until everything is in the pool
//   co_await (*drive)->close();
//
// Bounds: a write waits, or fails with ENOSPC once nothing can be given free any more (the pool is away), when the
// folder would take more than cache_bytes, the disk would have less than keep_free, or edits take 48 MiB of memory
// (limits.h); it fails at once when the pool could not take the bytes. So no error comes after a write was accepted.
//
// On the strand. The volume outlives it. What was accepted lies in the journal's folder until it is in a head; a drive
// that is opened on the same folder goes on from there, at once.

#include "volume/drive/file_system.h"
#include "volume/volume.h"

namespace cairn::volume {

struct DriveOptions {
  std::string folder;                // of the journal, staging area and cache; one drive at a time (overloaded)
  uint64_t cache_bytes = 10 * kGiB;  // of the folder, all together; pending data has precedence over the cache
  uint64_t keep_free = 256 * kMiB;   // of the disk that the folder is on
  size_t memory_bytes = 64 * kMiB;   // of plaintext kept in memory
  bool read_only = false;
  bool fsync_to_pool = false;  // -o fsync=pool: at its redundancy goal
  Duration commit_after = std::chrono::seconds(5);
  uint64_t commit_bytes = 64 * kMiB;
  Duration poll_head = std::chrono::seconds(1);  // for other mounts' commits
  Duration timeout = std::chrono::seconds(30);   // of an uncached read, or an fsync to it, when the pool is away
  FileSystemOptions files;
};

struct DriveStatus {
  uint64_t pending_bytes = 0;  // of files, not in the pool yet
  uint64_t pending_edits = 0;  // items, data and metadata
  uint64_t cache_bytes = 0, cache_limit = 0;
  uint64_t uploaded_bytes = 0;  // since the drive was opened
  uint64_t commits = 0, conflicts = 0;
  uint64_t head_sequence = 0;
  bool pool_reachable = true;
  std::string last_error;  // why the last commit failed; empty after a success
};

// What an earlier process left in a folder.
struct DriveLeft {
  uint64_t bytes = 0, edits = 0;  // that may not be in the pool
};

class Drive {
 public:
  // Of a folder that no drive has open (overloaded). Code::not_found.
  static env::Task<Result<DriveLeft>> left_behind(env::World world, std::string folder);
  // Code::overloaded when another drive has the folder.
  static env::Task<Result<std::unique_ptr<Drive>>> open(env::World world, Volume& volume, DriveOptions options);
  // The head that a drive upon `folder` last knew: VolumeOptions::last_head, so that a volume opens, and what is cached
  // can be read and anything written, while the pool is away. Nothing for a new folder. No drive has the folder open.
  static env::Task<Result<std::optional<RegisterState>>> last_head(env::World world, std::string folder);
  virtual ~Drive() = default;

  virtual FileSystem& files() = 0;
  // What callers' caches must forget because of others' commits, in order, a batch for each commit.
  virtual void on_change(std::function<void(std::vector<Change>)> changed) = 0;

  // fsync: what was accepted before is durable on the local disk (or in the pool: fsync_to_pool).
  virtual env::Task<FsStatus> fsync() = 0;
  // Returns once everything accepted before the call is in the pool; `progress` is called as it goes. Keeps trying
  // while the pool is away.
  virtual env::Task<Status> sync(std::function<void(const DriveStatus&)> progress = {}) = 0;
  // Space as the pool has it; kept up to date by the owner of the drive.
  virtual void set_space(SpaceReport space) = 0;
  virtual SpaceReport space() const = 0;
  virtual DriveStatus status() const = 0;
  // Reads the head anew, now.
  virtual env::Task<Status> refresh() = 0;
  // The journal is durable; nothing more is uploaded. The drive is then only to be destroyed.
  virtual env::Task<Status> close() = 0;
};

}  // namespace cairn::volume
