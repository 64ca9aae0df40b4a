#pragma once
// What `status`, `nodes`, `ping` and `doctor` say.

#include "client/core.h"

namespace cairn::client {

env::Task<Result<PoolReport>> pool_report(Core& core);
env::Task<Result<std::vector<NodeReport>>> node_reports(Core& core);
env::Task<Result<HostingReport>> hosting_report(Core& core);
env::Task<Result<std::vector<VolumeReport>>> volume_reports(Core& core, bool with_packs);
env::Task<Result<VolumeReport>> volume_report(Core& core, OpenVolume& open, bool with_packs);
env::Task<Result<PingReport>> ping_node(Core& core, std::string node);
env::Task<Result<std::vector<Finding>>> examine(Core& core);

}  // namespace cairn::client
