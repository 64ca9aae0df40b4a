#pragma once
// rewrite: snapshots anew without what should not have been in them, or with another host or time.

#include "cairn/backup.h"
#include "client/core.h"

namespace cairn::client {

env::Task<Result<RewriteReport>> rewrite_snapshots(Core& core, RewriteOptions options);

}  // namespace cairn::client
