// A rule of healing that is broken on purpose must be noticed by some seed of the simulation; the unbroken rules pass
// the same seeds ("healing simulation" in CMakeLists.txt).

#include <catch2/catch.hpp>

#include "sim/pool_sim.h"

namespace cairn::sim {
namespace {

bool noticed(const std::function<void(pool::HealingOptions&)>& breaks) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    PoolSimOptions options{.nodes = 20, .healing = true, .breaks = breaks};
    const auto result = run_pool_simulation(seed, options);
    if (result.failures.empty()) continue;
    WARN("seed " << seed << ": " << result.failures.front());
    return true;
  }
  return false;
}

}  // namespace

TEST_CASE("mutant: a surplus copy is dropped without an audit of the one that stays") {
  REQUIRE(noticed([](pool::HealingOptions& options) { options.repair.without_surplus_audit = true; }));
}
TEST_CASE("mutant: surplus copies stay") {
  REQUIRE(noticed([](pool::HealingOptions& options) { options.repair.without_surplus = true; }));
}
TEST_CASE("mutant: siblings do not agree on who repairs") {
  REQUIRE(noticed([](pool::HealingOptions& options) {
    options.repair.without_intents = true;
    options.repair.without_ranks = true;
  }));
}
TEST_CASE("mutant: nobody is audited") {
  REQUIRE(noticed([](pool::HealingOptions& options) { options.audit.without_audits = true; }));
}
TEST_CASE("mutant: what was on a lost disk is not disclaimed, and nobody is audited") {
  REQUIRE(noticed([](pool::HealingOptions& options) {
    options.repair.without_disclaiming = true;
    options.audit.without_audits = true;
  }));
}
TEST_CASE("mutant: sources are used without proof") {
  REQUIRE(noticed([](pool::HealingOptions& options) { options.mover.without_proofs = true; }));
}
TEST_CASE("mutant: new holders are chosen whatever their domain") {
  REQUIRE(noticed([](pool::HealingOptions& options) { options.mover.without_domains = true; }));
}
TEST_CASE("mutant: departed nodes are not looked up, and there is no walk") {
  REQUIRE(noticed([](pool::HealingOptions& options) {
    options.repair.without_walks = true;
    options.repair.times.walk_every = options.repair.times.walk_delay = std::chrono::hours(100);
  }));
}

}  // namespace cairn::sim
