#pragma once
// backup: the machine's files, or a stream, into a new snapshot.

#include "cairn/backup.h"
#include "client/core.h"

namespace cairn::client {

env::Task<Result<BackupReport>> run_backup(Core& core, BackupOptions options);

}  // namespace cairn::client
