// A pool of 30 production nodes under virtual time; scripts/sim.sh runs many more seeds.

#include "sim/pool_sim.h"

#include <catch2/catch.hpp>

namespace cairn::sim {

TEST_CASE("a pool under faults keeps every acknowledged file, and the same seed gives the same trace") {
  const uint64_t seed = GENERATE(range(1, 4));
  const PoolSimResult first = run_pool_simulation(seed);
  INFO(to_string(first));
  for (const auto& failure : first.failures) FAIL_CHECK(failure);
  CHECK(first.files_acknowledged > 0);
  const PoolSimResult second = run_pool_simulation(seed);
  CHECK(first.trace == second.trace);
  CHECK(first.events == second.events);
}

TEST_CASE("a pool on disks that lie about what is synced is found out") {
  const PoolSimOptions options{.nodes = 8, .clients = 1, .faults = std::chrono::seconds(20), .lying_disks = true};
  size_t noticed = 0;
  for (uint64_t seed = 1; seed <= 3; ++seed) noticed += run_pool_simulation(seed, options).failures.empty() ? 0U : 1U;
  CHECK(noticed > 0);
}

TEST_CASE("another seed is another history") {
  PoolSimOptions options{.nodes = 8, .clients = 1, .faults = std::chrono::seconds(10)};
  CHECK(run_pool_simulation(100, options).trace != run_pool_simulation(101, options).trace);
}

}  // namespace cairn::sim
