#pragma once
// What is kept of a snapshot beside its tree: who, what, when, and what the run found. Its form on disk is
// wire.BackupSnapshot (wire/proto/backup.proto), in the details of the volume's snapshot (volume/FORMAT.md).

#include <string>
#include <vector>

#include "base/ids.h"
#include "base/units.h"

namespace cairn::backup {

using SnapshotId = Id<struct SnapshotIdTag>;  // random; the volume's snapshot is called by its 64 hex digits

// restic's figures of a run.
struct Summary {
  uint64_t files_new = 0, files_changed = 0, files_unmodified = 0;
  uint64_t dirs_new = 0, dirs_changed = 0, dirs_unmodified = 0;
  uint64_t data_blobs = 0, tree_blobs = 0;  // chunks of files, and nodes of the tree, that were new
  uint64_t data_added = 0;                  // bytes of these before they were sealed
  uint64_t data_added_packed = 0;           // as they are stored, before the erasure code
  uint64_t total_files_processed = 0, total_bytes_processed = 0;
  WallTime backup_start = 0, backup_end = 0;
  bool operator==(const Summary&) const = default;
};

struct Record {
  SnapshotId id;
  WallTime time = 0;
  SnapshotId parent;    // zero: none
  SnapshotId original;  // what it was called before its tags were changed; zero: it has its first name
  std::string host, user;
  uint32_t uid = 0, gid = 0;
  std::vector<std::string> paths;  // absolute, raw bytes, sorted
  std::vector<std::string> tags, excludes;
  std::string set;  // of `backup --set`
  std::string program_version;
  bool partial = false;     // a checkpoint of a run that has not ended
  bool from_clock = false;  // `time` is what the machine took the time for; else a person gave it
  Summary summary;
  bool operator==(const Record&) const = default;
};

// When it was made, for retention: `witnessed` is when the keepers saw it saved. A time later than that is not
// believed, nor one from a clock that was behind by more than the run took; a time that a person gave may be earlier.
// `strictly`: nobody's word is taken for an earlier time (of a device that may only add).
WallTime retention_time(const Record& record, WallTime witnessed, bool strictly);

Bytes encode_record(const Record& record);
// `id`: what the volume calls the snapshot. Code::corrupt when the details are not of the form.
Result<Record> decode_record(const std::string& id, ByteView details);

}  // namespace cairn::backup
