#pragma once
// End to end: put and get through daemons (six, as a rule) of their own processes on this machine, with the CPU time of
// all of them.

#include <optional>
#include <string>
#include <vector>

#include "bench/stages.h"
#include "cairn/client.h"

namespace cairn::bench {

struct PoolBenchOptions {
  size_t nodes = 6;
  uint64_t megabytes = 1024;
  size_t rounds = 3;  // of the stages, and of the put and get that are compared with them; the middle one is shown
  uint64_t small_files = 10000;
  uint64_t large_gib = 0;  // 0: without this step
  std::string folder;
};

// One piece of work.
struct PoolStep {
  std::string name;
  uint64_t bytes = 0, files = 0;
  double seconds = 0;
  double client_cpu = 0, daemons_cpu = 0;  // seconds
  double limit_cpu = 0;                    // what the stages alone imply; 0: not comparable
  double cores = 0;                        // that all processes kept busy, from the client's start to its end
  std::optional<double> disk_busy;  // the part of that time in which the disk had something to do; where it is known
  uint64_t packs = 0, requests = 0, wire_bytes = 0;
  ReadFigures data_reads, tree_reads;
  uint64_t raced = 0;
  uint64_t client_peak = 0, daemons_peak = 0;  // bytes of memory in this step: of the client; of the largest daemon
  std::vector<double> ratios, all_cores;       // of all rounds

  double ratio() const { return (client_cpu + daemons_cpu) / limit_cpu; }
};

struct PoolReportFigures {
  size_t nodes = 0;
  uint32_t k = 0, m = 0;
  std::vector<PoolStep> steps;
};

Result<PoolReportFigures> measure_pool(const PoolBenchOptions& options);
std::string to_text(const PoolReportFigures& report);
std::string to_json(const PoolReportFigures& report);

}  // namespace cairn::bench
