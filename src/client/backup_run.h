#pragma once
// backup: the machine's files, or a stream, into a new snapshot.

#include "backup/patterns.h"
#include "cairn/backup.h"
#include "client/core.h"

namespace cairn::client {

// Patterns that were given and those of files; all of them are added to `all`.
Result<backup::Patterns> read_patterns(std::vector<std::string> given, const std::vector<std::string>& files,
                                       bool ignore_case, std::vector<std::string>& all);

env::Task<Result<BackupReport>> run_backup(Core& core, BackupOptions options);

}  // namespace cairn::client
