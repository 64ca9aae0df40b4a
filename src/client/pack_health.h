#pragma once
// How many live shards packs have, asked of their holders.

#include "client/core.h"

namespace cairn::client {

struct PacksHealth {
  uint64_t at_goal = 0;
  std::vector<PackId> below_goal, lost;  // fewer slots than k + m; fewer than k
};

// `on_pack`: after each, how many of how many.
env::Task<PacksHealth> check_packs(Core& core, std::vector<pool::PackRef> packs,
                                   std::function<void(uint64_t done, uint64_t total)> on_pack = {});

}  // namespace cairn::client
