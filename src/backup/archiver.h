#pragma once
// Archiver: one run of backup: walks the source beside the parent snapshot's tree and writes what differs.
//
//   Archiver archiver(world, *volume, source, options);
//   auto record = co_await archiver.run();
//
// What stat says is compared first; nothing more is read of an entry whose type, size, mtime, ctime and inode number
// are those of the parent. Every kCheckpointPeriod a partial snapshot is saved under the name that the whole one gets,
// so a run that is killed is gone on from: its files and chunks are there already.

#include <functional>

#include "backup/limits.h"
#include "backup/record.h"
#include "backup/source.h"
#include "env/world.h"
#include "volume/snapshot_writer.h"
#include "volume/volume.h"

namespace cairn::backup {

struct ArchiveProgress {
  uint64_t files_done = 0, bytes_done = 0, errors = 0;
  uint64_t bytes_safe = 0;  // of bytes_done, in the last checkpoint
  std::string current;
};

struct ArchiveOptions {
  // host, user, paths, tags and what else the caller knows; id, parent, partial and figures are the archiver's.
  Record about;
  std::optional<SnapshotId> parent;  // instead of the last snapshot of the same host, paths and set
  bool force = false;                // reads every file, whatever the parent says
  bool ignore_ctime = false, ignore_inode = false;
  bool dry_run = false;            // looks and compares only
  bool errors_end = false;         // what cannot be read ends the run: for streams and copies
  bool skip_if_unchanged = false;  // no snapshot when its tree would be the parent's
  Duration checkpoint_period = kCheckpointPeriod;

  std::function<void(const ArchiveProgress&)> on_progress;
  std::function<void(const std::string& path, const Error& error)> on_error;  // the run goes on
  // "new", "modified", "unchanged"; sizes of regular files
  std::function<void(const std::string& path, const char* what, uint64_t size)> on_item;
};

struct ArchiveResult {
  Record record;
  ChunkId tree;        // equal for equal trees
  bool saved = false;  // not of a dry run, nor when it was skipped as unchanged
  uint64_t errors = 0;
  uint64_t resumed_files = 0;  // that were taken from a partial snapshot
};

// The records of a volume's snapshots; those that are not of backups are left out.
Result<std::vector<Record>> records_of(const std::vector<volume::SnapshotInfo>& snapshots);

class Archiver {
 public:
  // What it is given outlives it.
  Archiver(env::World world, volume::Volume& volume, Source& source, ArchiveOptions options);
  ~Archiver();
  // Errors: what concerns the pool; of single entries it tells on_error and goes on. Code::not_found when nothing at
  // all could be read.
  env::Task<Result<ArchiveResult>> run();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cairn::backup
