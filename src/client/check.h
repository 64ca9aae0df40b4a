#pragma once
// What `cairn check` does: structure of the volumes, whether each pack has its live shards, and the bytes themselves.

#include "cairn/backup.h"
#include "client/core.h"

namespace cairn::client {

env::Task<Result<CheckReport>> check_volumes(Core& core, CheckOptions options);

}  // namespace cairn::client
