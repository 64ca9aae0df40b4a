#pragma once
// A whole pool in one thread: production holders and clients, random puts and gets, and what can go wrong.
//
// What holds whatever the seed: a file whose commit was acknowledged is there with the right bytes at the end, nothing
// that is read is ever wrong, and no plaintext or key is on any simulated wire or disk. The faults stay within what the
// code promises to survive: any number of crashes and partitions that end, the whole pool losing its power at once, and
// rot of at most ceil(m/2) shards.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/units.h"
#include "pool/healing.h"
#include "sim/trace.h"

namespace cairn::sim {

struct PoolSimOptions {
  size_t nodes = 30;
  size_t clients = 2;
  Duration faults = std::chrono::seconds(30);  // virtual time with faults
  // Afterwards the holders are left to themselves: machines are lost for good, come back with an empty disk, lie, or
  // are away for long, up to m of them at once; each time every pack must be whole again by a deadline.
  bool healing = false;
  std::function<void(pool::HealingOptions&)> breaks;  // a rule, which must be noticed
  bool lying_disks = false;                           // they do not keep what they said is synced: must be noticed
  Trace::Reader reader;                               // sees every line of the trace
};

struct PoolSimResult {
  uint64_t seed = 0;
  uint64_t trace = 0;  // hash; the same for the same seed and options
  uint64_t events = 0, network_bytes = 0;
  uint64_t puts = 0, puts_failed = 0, files_acknowledged = 0, gets = 0, gets_failed = 0;
  uint64_t crashes = 0, partitions = 0, rots = 0;
  uint64_t losses = 0, repairs = 0, surplus_dropped = 0;  // with `healing`: machines; shards
  uint64_t bytes_lost = 0, bytes_moved = 0;               // of shards, to repair them
  std::vector<std::string> failures;                      // what must not happen, and did
};

PoolSimResult run_pool_simulation(uint64_t seed, PoolSimOptions options = {});
// One line for people.
std::string to_string(const PoolSimResult& result);

}  // namespace cairn::sim
