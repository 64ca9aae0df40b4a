#pragma once
// How many live shards packs have, asked of their holders.

#include <set>

#include "client/core.h"

namespace cairn::client {

// It takes the pool some time to notice that a node has gone; who asks how safe things are should not have to wait for
// that. So those count that answer now.
env::Task<std::set<NodeId>> who_answers(Core& core);

struct PacksHealth {
  uint64_t at_goal = 0;
  std::vector<PackId> below_goal, lost;  // fewer slots than k + m; fewer than k
};

// `on_pack`: after each, how many of how many.
env::Task<PacksHealth> check_packs(Core& core, std::vector<pool::PackRef> packs,
                                   std::function<void(uint64_t done, uint64_t total)> on_pack = {});

}  // namespace cairn::client
