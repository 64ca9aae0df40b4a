#pragma once
// How the benchmark takes its figures: CPU time of the measuring thread, median over rounds.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace cairn::bench {

double thread_cpu_seconds();
double process_cpu_seconds();  // all threads, system time with it
double wall_seconds();

struct Rate {
  double per_cpu_second = 0;   // bytes of the stage's own input
  double per_wall_second = 0;  // the same by the clock: less where the stage waits for a disk
};

// The median over `rounds` of run(), which works on `bytes` bytes each time. Once before for nothing: caches, page
// faults.
template <class Function>
Rate measure(uint64_t bytes, int rounds, Function run) {
  run();
  std::vector<double> cpu, wall;
  for (int i = 0; i < rounds; ++i) {
    const double cpu_begin = thread_cpu_seconds();
    const double wall_begin = wall_seconds();
    run();
    cpu.push_back(thread_cpu_seconds() - cpu_begin);
    wall.push_back(wall_seconds() - wall_begin);
  }
  const auto rate = [&](std::vector<double>& times) {
    std::ranges::nth_element(times, times.begin() + static_cast<ptrdiff_t>(times.size() / 2));
    return static_cast<double>(bytes) / std::max(times[times.size() / 2], 1e-9);
  };
  return {.per_cpu_second = rate(cpu), .per_wall_second = rate(wall)};
}

}  // namespace cairn::bench
