#pragma once
// dump: a file of a snapshot, or a folder as a tar or zip archive, to a stream.

#include "cairn/backup.h"
#include "client/core.h"

namespace cairn::client {

// `write` blocks; it is called from Workers.
env::Task<Status> dump_snapshot(Core& core, std::string name, SnapshotFilter filter, std::string path, bool zip,
                                Client::WriteBytes write);

}  // namespace cairn::client
