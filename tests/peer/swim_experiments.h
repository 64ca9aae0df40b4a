#pragma once
// Experiments on simulated Swims, shared by tests (small, bounded) and swim_bench (large, by hand).

#include "peer/swim_world.h"

namespace cairn::peer {

struct Spread {
  double mean = 0, worst = 0;
  size_t count = 0;
  void add(double value) {
    mean = (mean * static_cast<double>(count) + value) / static_cast<double>(count + 1);
    worst = std::max(worst, value);
    ++count;
  }
};

struct FailureResult {
  Spread first_probe;  // periods of the protocol until one contains a probe of the crashed node, as SWIM counts
  Spread suspected;    // periods from the crash until the first node doubts it
  Spread all_suspect;  // periods from then until every live node does
  Spread departed;     // periods from the crash until every live node holds it for departed
};
// Crashes `crashes` nodes of a pool at about the same time, and watches.
FailureResult crash_some(const SwimWorldOptions& options, size_t crashes, bool until_departed);

struct JoinResult {
  double periods = 0;         // until every node knows the newcomer
  double bytes_per_node = 0;  // sent for it, on average
};
JoinResult join_one(SwimWorldOptions options);

struct TrafficResult {
  double bytes_per_second = 0;  // sent and received by a node, on average
  double worst = 0;             // by the busiest
  double partners = 0;          // others it exchanged messages with, on average
};
TrafficResult idle(const SwimWorldOptions& options, Duration watched);

struct FalseResult {
  size_t suspected = 0;  // healthy nodes that some node began to suspect, counted per pair
  size_t departed = 0;   // and held for departed
};
// `slow` nodes have no time for `blocked` long, again and again, with breaks of `awake`.
FalseResult slow_nodes(const SwimWorldOptions& options, size_t slow, Duration blocked, Duration awake,
                       Duration watched);

}  // namespace cairn::peer
