#pragma once
// put: local files and folders into a volume. Streams with bounded memory; commits as it goes; an interrupted run goes
// on where it stopped.

#include "client/core.h"

namespace cairn::client {

env::Task<Result<TransferReport>> put_files(Core& core, std::vector<std::string> sources, TreePath destination,
                                            bool into, TransferOptions options);
// `read` blocks; it is called from Workers.
env::Task<Result<TransferReport>> put_stream(Core& core, Client::ReadBytes read, TreePath destination,
                                             TransferOptions options);

}  // namespace cairn::client
