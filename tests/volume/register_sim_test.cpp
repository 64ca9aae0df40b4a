// Linearizability of the register in the simulator, over many seeds, and of broken registers, which must be caught.

#include <catch2/catch.hpp>

#include "volume/register_history.h"

namespace cairn::volume {
namespace {

struct Sum {
  size_t writes = 0, conflicts = 0, unknown = 0, refused = 0;
  std::map<size_t, size_t> sizes;  // of the last configurations
  uint64_t epochs = 0;
};

Sum check_seeds(uint64_t first, uint64_t count, const LifeOptions& options) {
  Sum sum;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    const Life life = live(seed, options);
    const auto result = check_linearizable(life.history);
    INFO("seed " << seed << ": " << result.reason << " " << life.trouble);
    CHECK(result.linearizable);
    if (!options.lost_disks) CHECK(life.ended_readable);
    sum.writes += life.writes;
    sum.conflicts += life.conflicts;
    sum.unknown += life.unknown;
    sum.epochs += life.last_config.epoch;
    ++sum.sizes[life.last_config.keepers.size()];
  }
  return sum;
}

// Whether any of the seeds gives a history that no register could have made.
bool caught(uint64_t first, uint64_t count, const LifeOptions& options) {
  for (uint64_t seed = first; seed < first + count; ++seed) {
    if (!check_linearizable(live(seed, options).history).linearizable) return true;
  }
  return false;
}

TEST_CASE("concurrent writers see one register") {
  const Sum sum = check_seeds(1, 20, {.crashes = false, .partitions = false, .reconfigurations = false});
  CHECK(sum.writes > 100);
  CHECK(sum.conflicts > 20);
}

TEST_CASE("a register stays linearizable over crashes, lost messages, partitions and clock jumps") {
  const Sum sum = check_seeds(1000, 60, {.reconfigurations = false});
  CHECK(sum.writes > 200);
  CHECK(sum.unknown > 0);
}

TEST_CASE("a register stays linearizable while its keepers change from 1 to 3 to 5") {
  const Sum sum = check_seeds(2000, 60, {});
  CHECK(sum.writes > 200);
  CHECK(sum.epochs > 60);
}

TEST_CASE("a register stays linearizable when keepers lose their disks") {
  check_seeds(3000, 40, {.lost_disks = true});
}

TEST_CASE("a keeper that accepts lower ballots is caught") {
  LifeOptions options{.crashes = false, .partitions = false, .reconfigurations = false};
  options.network.faults.accept_lower_ballots = true;
  CHECK(caught(5000, 50, options));
}

TEST_CASE("a new configuration that does not begin with the old one's value is caught") {
  LifeOptions options{.crashes = false, .partitions = false};
  options.network.faults.skip_origin = true;
  CHECK(caught(6000, 50, options));
}

TEST_CASE("a reader that trusts one answer is caught") {
  CHECK(caught(7000, 200, {.reconfigurations = false, .proposer_faults = {.trust_one_answer = true}}));
}

}  // namespace
}  // namespace cairn::volume
