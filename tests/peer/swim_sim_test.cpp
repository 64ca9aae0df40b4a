// Membership in pools of 10, 100 and 1,000 nodes under virtual time, against the published figures of SWIM and
// Lifeguard. (10,000 nodes: swim_bench, by hand; figures in src/peer/SWIM.md.)

#include <catch2/catch.hpp>
#include <cmath>

#include "peer/swim_experiments.h"

namespace cairn::peer {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

SwimWorldOptions pool_of(size_t nodes, uint64_t seed, uint32_t rings = kRings) {
  SwimWorldOptions options{.nodes = nodes, .swim = SwimOptions::lan(), .seed = seed};
  options.swim.rings = rings;
  return options;
}

}  // namespace

TEST_CASE("the first detection takes about e/(e-1) periods, whatever the size") {
  // SWIM, section 3.1: 1 / (1 - e^-1) = 1.58 for any member probing any other. On rings a little less: each of the six
  // that watch a node comes to it once in six periods, not by chance.
  const double published = 1 / (1 - std::exp(-1));
  for (const uint32_t rings : {0U, kRings}) {
    for (const size_t nodes : {10, 100, 1000}) {
      Spread probes;
      const size_t crashes = nodes == 10 ? 1 : nodes == 100 ? 4 : 10, runs = nodes == 10 ? 60 : nodes == 100 ? 15 : 3;
      for (uint64_t seed = 1; seed <= runs; ++seed) {
        const auto result = crash_some(pool_of(nodes, seed, rings), crashes, false);
        REQUIRE(result.suspected.count == crashes);
        for (size_t i = 0; i < result.first_probe.count; ++i) probes.add(result.first_probe.mean);
      }
      INFO(nodes << " nodes, rings " << rings << ": first probe in period " << probes.mean << " of " << probes.count);
      // Three standard errors of a geometric distribution with this mean: 0.96 / sqrt(30) each.
      CHECK(probes.mean == Approx(published).margin(rings == 0 ? 0.5 : 0.6));
      CHECK(probes.mean < published + 0.5);
    }
  }
}

TEST_CASE("a failure is known to all within O(log n) periods, and departed after its time") {
  for (const size_t nodes : {10, 100, 1000}) {
    const auto options = pool_of(nodes, 5);
    const auto result = crash_some(options, nodes == 1000 ? 3 : 1, true);
    INFO(nodes << " nodes: suspected after " << result.suspected.mean << ", by all " << result.all_suspect.worst
               << " later, departed everywhere after " << result.departed.worst << " periods");
    REQUIRE(result.departed.count > 0);
    CHECK(result.all_suspect.worst < 0.5 * std::log(static_cast<double>(nodes)) + 1);
    // Suspicion: 5 log10(n) periods once it is confirmed; the confirmations come within a few.
    const double low = 5 * std::log10(static_cast<double>(nodes));
    CHECK(result.departed.worst > low);
    CHECK(result.departed.worst < low + 12);
  }
}

TEST_CASE("a newcomer is known to all within O(log n) periods, for a few kilobytes per node") {
  for (const size_t nodes : {10, 100, 1000}) {
    const auto result = join_one(pool_of(nodes, 6));
    INFO(nodes << " nodes: known after " << result.periods << " periods, " << result.bytes_per_node << " bytes each");
    CHECK(result.periods < 0.5 * std::log(static_cast<double>(nodes)) + 1);
    CHECK(result.bytes_per_node < 700 * 2 * std::log(static_cast<double>(nodes) + 1) + 2000);
  }
}

TEST_CASE("an idle node's traffic and sessions do not depend on the size of the pool, and stay under 1 KiB/s") {
  // A message is a TLS record in a packet of its own, and is acknowledged by another: 22 + 52 + 52 bytes.
  constexpr double kAround = 126;
  double first = 0;
  for (const size_t nodes : {10, 100, 1000}) {
    const auto lan = idle(pool_of(nodes, 7), seconds(30));
    INFO(nodes << " nodes: " << lan.bytes_per_second << " bytes/s, worst " << lan.worst << ", partners "
               << lan.partners);
    if (first == 0) first = lan.bytes_per_second;
    CHECK(lan.bytes_per_second == Approx(first).epsilon(0.05));
    CHECK(lan.worst + 4 * kAround < 1024);  // four messages a period of 1 s, sent and received
    CHECK(lan.partners <= 2.0 * kRings);
  }
}

TEST_CASE("slow nodes make healthy ones depart, with Lifeguard over 50 times less, here never") {
  // 16 of 100 nodes have no time for 16 s, again and again, with breaks of 1 s: Lifeguard's "interval" experiment.
  const auto run = [](bool lifeguard, bool all_of_it) {
    auto options = pool_of(100, 7);
    options.swim.lifeguard = lifeguard;
    options.swim.cautious = all_of_it;
    options.swim.observers = all_of_it ? kMaxDoubts - 1 : 1;
    return slow_nodes(options, 16, seconds(16), seconds(1), seconds(400));
  };
  const FalseResult swim = run(false, false), lifeguard = run(true, false), ours = run(true, true);
  const double ratio =
      static_cast<double>(swim.departed) / static_cast<double>(std::max<size_t>(lifeguard.departed, 1));
  WARN("false departures: SWIM " << swim.departed << ", Lifeguard " << lifeguard.departed << " (" << ratio
                                 << " times fewer), ours " << ours.departed << "; false suspicions: " << swim.suspected
                                 << ", " << lifeguard.suspected << ", " << ours.suspected);
  CHECK(ratio >= 50);
  CHECK(swim.suspected > 5 * lifeguard.suspected);
  CHECK(ours.departed == 0);
}

}  // namespace cairn::peer
