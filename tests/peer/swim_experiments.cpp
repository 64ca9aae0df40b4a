#include "peer/swim_experiments.h"

#include <cmath>

namespace cairn::peer {

namespace {

double periods(Duration duration, const SwimWorldOptions& options) {
  return static_cast<double>(duration.count()) / static_cast<double>(options.swim.period.count());
}

}  // namespace

FailureResult crash_some(const SwimWorldOptions& options, size_t crashes, bool until_departed) {
  SwimWorld world(options);
  world.run_for(options.swim.period * 5);
  struct Watched {
    Time crashed{};
    std::optional<Time> doubted, last_doubted, last_departed;
    size_t doubters = 0, departers = 0;
  };
  std::map<size_t, Watched> watched;
  world.on_state = [&](size_t, size_t about, NodeState state) {
    const auto found = watched.find(about);
    if (found == watched.end()) return;
    Watched& w = found->second;
    if (state == NodeState::suspect) {
      if (!w.doubted) w.doubted = world.now();
      w.last_doubted = world.now();
      ++w.doubters;
    } else if (state == NodeState::departed) {
      w.last_departed = world.now();
      ++w.departers;
    }
  };
  for (size_t i = 0; i < crashes; ++i) {
    // Not all in the same instant of their periods.
    world.run_for(
        Duration(static_cast<int64_t>(world.prng().below(static_cast<uint64_t>(options.swim.period.count())))));
    const size_t node = options.nodes - 1 - i;
    watched[node].crashed = world.now();
    world.crash(node);
  }
  const size_t live = options.nodes - crashes;
  const bool done = world.run_until(
      [&] {
        return std::ranges::all_of(watched, [&](const auto& entry) {
          return (until_departed ? entry.second.departers : entry.second.doubters) >= live;
        });
      },
      std::chrono::hours(1));
  FailureResult result;
  if (!done) return result;
  for (const auto& [node, w] : watched) {
    const auto probe = world.first_probe(node);
    if (probe) result.first_probe.add(std::ceil(periods(*probe - w.crashed, options)));
    result.suspected.add(periods(*w.doubted - w.crashed, options));
    result.all_suspect.add(periods(*w.last_doubted - *w.doubted, options));
    if (w.last_departed) result.departed.add(periods(*w.last_departed - w.crashed, options));
  }
  return result;
}

JoinResult join_one(SwimWorldOptions options) {
  options.capacity = options.nodes + 1;
  SwimWorld world(options);
  world.run_for(options.swim.period * 3);
  const uint64_t before = world.counters().bytes;
  const Time begun = world.now();
  const size_t newcomer = options.nodes;
  world.join(newcomer, 0);
  const bool done = world.run_until(
      [&] {
        for (size_t i = 0; i < options.nodes; ++i) {
          if (!world.knows(i, newcomer)) return false;
        }
        return true;
      },
      options.swim.period * 200);
  JoinResult result{.periods = done ? periods(world.now() - begun, options) : INFINITY};
  world.run_for(options.swim.period * 20);  // what is sent on after everybody knows
  const TrafficResult quiet = idle(options, options.swim.period * 10);
  result.bytes_per_node = static_cast<double>(world.counters().bytes - before) / static_cast<double>(options.nodes) -
                          quiet.bytes_per_second / 2 * std::chrono::duration<double>(world.now() - begun).count();
  return result;
}

TrafficResult idle(const SwimWorldOptions& options, Duration watched) {
  SwimWorld world(options);
  world.run_for(options.swim.period * 5);
  std::vector<uint64_t> before;
  for (size_t i = 0; i < options.nodes; ++i) {
    before.push_back(world.sent(i) + world.received(i));
    world.partners(i);
  }
  world.run_for(watched);
  TrafficResult result;
  const double seconds = std::chrono::duration<double>(watched).count();
  for (size_t i = 0; i < options.nodes; ++i) {
    const double rate = static_cast<double>(world.sent(i) + world.received(i) - before[i]) / seconds;
    result.bytes_per_second += rate / static_cast<double>(options.nodes);
    result.worst = std::max(result.worst, rate);
    result.partners += static_cast<double>(world.partners(i)) / static_cast<double>(options.nodes);
  }
  return result;
}

FalseResult slow_nodes(const SwimWorldOptions& options, size_t slow, Duration blocked, Duration awake,
                       Duration watched) {
  SwimWorld world(options);
  FalseResult result;
  world.on_state = [&](size_t, size_t about, NodeState state) {
    if (about < slow) return;  // that one really is away
    if (state == NodeState::suspect) ++result.suspected;
    if (state == NodeState::departed) ++result.departed;
  };
  world.run_for(options.swim.period * 3);
  std::vector<Time> next(slow);
  for (Time& time : next) {
    time = world.now() + Duration(static_cast<int64_t>(world.prng().below(static_cast<uint64_t>(blocked.count()))));
  }
  const Time end = world.now() + watched;
  while (world.now() < end) {
    const auto soonest = std::ranges::min_element(next);
    if (*soonest >= end) break;
    if (*soonest > world.now()) world.run_for(*soonest - world.now());
    world.freeze(static_cast<size_t>(soonest - next.begin()), blocked);
    *soonest = world.now() + blocked + awake;
  }
  world.run_for(end > world.now() ? end - world.now() : Duration{});
  return result;
}

}  // namespace cairn::peer
