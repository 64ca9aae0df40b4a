#pragma once
// get: files and folders of a volume onto the local disk. A file appears under its final name when it is whole.

#include "client/core.h"

namespace cairn::client {

env::Task<Result<TransferReport>> get_files(Core& core, TreePath source, std::string destination,
                                            TransferOptions options);
// `write` blocks; it is called from Workers, in the order of the bytes.
env::Task<Result<TransferReport>> get_stream(Core& core, TreePath source, Client::WriteBytes write,
                                             TransferOptions options);

}  // namespace cairn::client
