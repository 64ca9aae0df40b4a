#pragma once
// forget and tag: what becomes of snapshots as such.

#include "cairn/backup.h"
#include "client/core.h"

namespace cairn::client {

env::Task<Result<ForgetReport>> forget_snapshots(Core& core, ForgetOptions options);
env::Task<Result<TagReport>> tag_snapshots(Core& core, TagOptions options);

}  // namespace cairn::client
