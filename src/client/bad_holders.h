#pragma once
// HOME/bad_holders: who gave wrong bytes, for `status` (wire.BadHolders). The newest kMaxBadHolders are kept.

#include "env/disk.h"
#include "pool/client.h"

namespace cairn::client {

inline constexpr size_t kMaxBadHolders = 256;  // a screen's worth a hundred times over

struct BadHolder {
  pool::BadShard bad;
  WallTime found = 0;
};

// Adds to what is kept; the same shard of the same holder is kept once, with its last time.
Status add_bad_holders(env::Disk& disk, const std::string& home, const std::vector<BadHolder>& found);
Result<std::vector<BadHolder>> read_bad_holders(env::Disk& disk, const std::string& home);

}  // namespace cairn::client
