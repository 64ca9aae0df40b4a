#pragma once
// find, stats and diff: what snapshots have, and what sets them apart.

#include "cairn/backup.h"
#include "client/core.h"

namespace cairn::client {

env::Task<Status> find_in_snapshots(Core& core, FindOptions options,
                                    std::function<void(const SnapshotReport&)> on_snapshot,
                                    std::function<bool(const FileStatus&)> visit);
env::Task<Result<StatsReport>> snapshot_stats(Core& core, StatsOptions options);
env::Task<Result<DiffReport>> diff_snapshots(Core& core, std::string before, std::string after, bool metadata,
                                             std::function<bool(const DiffChange&)> visit);

}  // namespace cairn::client
