#pragma once
// Each stage of the way of a byte alone, and the limit that their sum implies for one byte in and for one byte out.

#include <string>
#include <vector>

#include "bench/measure.h"

namespace cairn::bench {

struct StageOptions {
  uint32_t k = 4, m = 2;
  std::string folder;  // for the disk stages; empty: the system's folder for temporary files
  bool quick = false;  // a few megabytes each: to see that it runs, not for figures
};

// What a byte of the user costs in a stage: the stage's input per user byte, client and all holders together.
struct Weights {
  double put = 0;     // a drive's file: fixed extents, random chunk IDs
  double backup = 0;  // the same with content-defined chunks and hashed chunk IDs
  double get = 0;     // all holders of data shards alive
};

struct Stage {
  std::string name;
  Rate rate;
  Weights weights;
};

struct StageReport {
  StageOptions options;
  std::vector<Stage> stages;
  double round_trips_per_second = 0;  // 64 bytes there and back in one session, one at a time
  double handshakes_per_second = 0;   // mutual TLS, both ends

  // CPU seconds per user byte, summed over all stages.
  Weights cpu_seconds_per_byte() const;
};

StageReport measure_stages(const StageOptions& options);

std::string to_text(const StageReport& report);
std::string to_json(const StageReport& report);

}  // namespace cairn::bench
