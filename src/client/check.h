#pragma once
// What `cairn check` and `repair` do: structure of the volumes, whether each pack has its live shards, and the bytes
// themselves; and what can be done about it.

#include "cairn/backup.h"
#include "client/core.h"

namespace cairn::client {

env::Task<Result<CheckReport>> check_volumes(Core& core, CheckOptions options);
env::Task<Result<RepairReport>> repair_volumes(Core& core, RepairOptions options);

}  // namespace cairn::client
