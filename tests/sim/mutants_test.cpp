// A rule that is broken on purpose must be noticed by some seed of the simulation; the unbroken rules pass
// the same seeds (CMakeLists.txt).

#include <catch2/catch.hpp>

#include "sim/pool_machines.h"
#include "sim/pool_sim.h"

namespace cairn::sim {
namespace {

bool noticed(const std::function<void(PoolSetup&)>& breaks, bool healing = true) {
  for (uint64_t seed = 1; seed <= (healing ? 30U : 60U); ++seed) {
    PoolSimOptions options{.nodes = 20, .healing = healing, .breaks = breaks};
    const auto result = run_pool_simulation(seed, options);
    if (result.failures.empty()) continue;
    WARN("seed " << seed << ": " << result.failures.front());
    return true;
  }
  return false;
}

}  // namespace

TEST_CASE("mutant: a surplus copy is dropped without an audit of the one that stays") {
  REQUIRE(noticed([](PoolSetup& setup) { setup.healing.repair.without_surplus_audit = true; }));
}
TEST_CASE("mutant: surplus copies stay") {
  REQUIRE(noticed([](PoolSetup& setup) { setup.healing.repair.without_surplus = true; }));
}
TEST_CASE("mutant: siblings do not agree on who repairs") {
  REQUIRE(noticed([](PoolSetup& setup) {
    setup.healing.repair.without_intents = true;
    setup.healing.repair.without_ranks = true;
  }));
}
TEST_CASE("mutant: nobody is audited") {
  REQUIRE(noticed([](PoolSetup& setup) { setup.healing.audit.without_audits = true; }));
}
TEST_CASE("mutant: what was on a lost disk is not disclaimed, and nobody is audited") {
  REQUIRE(noticed([](PoolSetup& setup) {
    setup.healing.repair.without_disclaiming = true;
    setup.healing.audit.without_audits = true;
  }));
}
TEST_CASE("mutant: sources are used without proof") {
  REQUIRE(noticed([](PoolSetup& setup) { setup.healing.mover.without_proofs = true; }));
}
TEST_CASE("mutant: new holders are chosen whatever their domain") {
  REQUIRE(noticed([](PoolSetup& setup) { setup.healing.mover.without_domains = true; }));
}
TEST_CASE("mutant: departed nodes are not looked up, and there is no walk") {
  REQUIRE(noticed([](PoolSetup& setup) {
    setup.healing.repair.without_walks = true;
    setup.healing.repair.times.walk_every = setup.healing.repair.times.walk_delay = std::chrono::hours(100);
  }));
}
TEST_CASE("mutant: what a keeper promised does not bind it") {
  REQUIRE(noticed([](PoolSetup& setup) { setup.acceptor.accept_lower_ballots = true; }, false));
}

}  // namespace cairn::sim
