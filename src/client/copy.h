#pragma once
// copy: snapshots of one volume into another, of the same pool or of another one.

#include "cairn/backup.h"
#include "client/core.h"

namespace cairn::client {

// Runs on `core`'s strand; what is on the strand of `from` it has done by its workers. `from` is another core.
env::Task<Result<CopyReport>> copy_snapshots(Core& from, Core& core, CopyOptions options);

}  // namespace cairn::client
