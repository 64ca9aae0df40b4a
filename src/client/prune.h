#pragma once
// prune and undelete.

#include "cairn/prune.h"
#include "client/core.h"
#include "volume/collect.h"

namespace cairn::client {

env::Task<Result<PruneReport>> prune_volumes(Core& core, PruneOptions options);
env::Task<Result<std::vector<ForgottenReport>>> list_forgotten(Core& core);
env::Task<Result<std::vector<SnapshotReport>>> undelete_snapshots(Core& core, std::vector<std::string> names);

}  // namespace cairn::client
