#pragma once
// Snapshots by the names that people give them, and trees by theirs: a volume's, or a snapshot's.

#include "backup/archiver.h"
#include "backup/selection.h"
#include "cairn/backup.h"
#include "client/core.h"

namespace cairn::client {

// The volume of backups, its head read just now. Code::not_found when there never was a backup and not `create`;
// Code::bad_input when snapshots are to be made in a volume that does not deduplicate.
env::Task<Result<OpenVolume*>> open_backups(Core& core, bool create);

struct FoundSnapshot {
  backup::Record record;
  volume::SnapshotInfo info;
  std::string subfolder;  // "/" when none was named
};
env::Task<Result<std::vector<FoundSnapshot>>> all_snapshots(OpenVolume& backups);
// By a person's name for it.
env::Task<Result<FoundSnapshot>> find_snapshot(OpenVolume& backups, std::string name, SnapshotFilter filter);
struct OpenSnapshot {
  OpenVolume* backups = nullptr;
  FoundSnapshot found;
  volume::View view;
};
// The same, to be read.
env::Task<Result<OpenSnapshot>> open_snapshot(Core& core, std::string name, SnapshotFilter filter);
// All that pass the filter, oldest first; or the ones that are named.
env::Task<Result<std::vector<FoundSnapshot>>> select_snapshots(OpenVolume& backups, SnapshotFilter filter,
                                                               std::vector<std::string> names);

backup::Filter filter_of(const SnapshotFilter& filter);
SnapshotReport report_of(const backup::Record& record, const volume::SnapshotInfo& info);

// What TREE of TREE:/PATH stands for: a volume of that name, else a snapshot.
env::Task<Result<volume::View>> tree_view(Core& core, std::string tree);

}  // namespace cairn::client
