#pragma once
// A random life of one register: clients on several machines, and everything that goes wrong; what they saw is
// recorded.

#include "volume/linearizability.h"
#include "volume/register_cluster.h"

namespace cairn::volume {

struct LifeOptions {
  size_t machines = 6;
  size_t clients = 4;
  size_t ops_per_client = 14;
  bool crashes = true;
  bool partitions = true;
  bool clock_jumps = true;
  bool reconfigurations = true;  // 1 -> 3 -> 5 keepers as more machines lend, and replacements
  bool lost_disks = false;
  ClusterOptions network{.loss = 0.03, .repeat = 0.05, .slow = 0.05, .faults = {}};
  ProposerFaults proposer_faults;
  Duration faults_for = std::chrono::seconds(25);
};

struct Life {
  std::vector<RegisterOp> history;
  RegisterConfig last_config;
  bool ended_readable = false;                    // all machines up and connected again: the register could be read
  std::string trouble;                            // why not
  size_t writes = 0, conflicts = 0, unknown = 0;  // outcomes
};

Life live(uint64_t seed, const LifeOptions& options);

}  // namespace cairn::volume
