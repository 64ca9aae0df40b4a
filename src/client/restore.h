#pragma once
// restore: a snapshot, or a part of it, into a folder.

#include "cairn/backup.h"
#include "client/core.h"

namespace cairn::client {

env::Task<Result<RestoreReport>> run_restore(Core& core, RestoreOptions options);

}  // namespace cairn::client
