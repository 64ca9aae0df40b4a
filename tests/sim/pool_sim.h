#pragma once
// A whole pool in one thread: production holders and clients, random puts and gets, and what can go wrong.
//
// README.md says what a seed draws, what must hold whatever the seed, and what it costs.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/units.h"
#include "sim/trace.h"

namespace cairn::sim {

struct PoolSetup;  // pool_machines.h

struct PoolSimOptions {
  size_t nodes = 30;
  size_t clients = 2;
  Duration faults = std::chrono::seconds(30);  // virtual time with faults
  // Afterwards the holders are left to themselves: machines are lost for good, come back with an empty disk, lie, or
  // are away for long, up to m of them at once; each time every pack must be whole again by a deadline.
  bool healing = false;
  bool own_code = false;                   // the one that a pool of this size takes by itself
  bool drawn = false;                      // one of four seeds of a pool of up to 100 do so
  std::function<void(PoolSetup&)> breaks;  // a rule, which must be noticed
  bool lying_disks = false;                // they do not keep what they said is synced: must be noticed
  Trace::Reader reader;                    // sees every line of the trace
};

struct PoolSimResult {
  uint64_t seed = 0;
  uint64_t trace = 0;  // hash; the same for the same seed and options
  uint64_t events = 0, network_bytes = 0;
  uint64_t puts = 0, puts_failed = 0, files_acknowledged = 0, gets = 0, gets_failed = 0;
  uint64_t removals = 0, collections = 0, packs_buried = 0;
  uint64_t crashes = 0, partitions = 0, rots = 0, liars = 0;
  bool equivocator = false;                               // there was a keeper that equivocates
  uint64_t forks_noticed = 0;                             // by clients that refused a head
  uint64_t losses = 0, repairs = 0, surplus_dropped = 0;  // with `healing`: machines; shards
  uint64_t bytes_lost = 0, bytes_moved = 0;               // of shards, to repair them
  std::vector<std::string> failures;                      // what must not happen, and did
};

PoolSimResult run_pool_simulation(uint64_t seed, PoolSimOptions options = {});
// One line for people.
std::string to_string(const PoolSimResult& result);

}  // namespace cairn::sim
