#pragma once
// Making what is stored fit the pool as it is now: packs whose code is not what the number of domains wants are written
// anew, and shards move from full nodes to those with room.

#include <functional>
#include <map>

#include "cairn/client.h"

namespace cairn {

struct RebalanceOptions {
  std::vector<std::string> volumes;  // none: all of the member's
  bool dry_run = false;
  std::optional<uint64_t> rate;  // bytes a second; none: what the configuration gives to healing
  // "marking", "copying", "locating" (packs), "moving" (bytes).
  std::function<void(const std::string& volume, const char* phase, uint64_t done, uint64_t total)> on_progress;
  std::function<void(const std::string& what, const Error& error)> on_error;  // a move that failed; the rest goes on
};

struct RebalanceReport {
  struct Volume {
    std::string name;
    uint64_t packs = 0;
    std::map<std::pair<uint32_t, uint32_t>, uint64_t> codes;  // packs by (k, m), after it
    uint64_t recoded_packs = 0, recoded_bytes = 0;            // written anew; dry run: that would be
    uint64_t unfit_packs = 0;                                 // still of another code
    uint64_t moved_shards = 0, moved_bytes = 0;               // dry run: that would be
    uint64_t failed_moves = 0;
    uint64_t incomplete_packs = 0;  // lack a shard: their holders, or `cairn repair`, see to that first
  };
  uint32_t k = 0, m = 0;  // what the pool's domains want
  uint64_t domains = 0;
  double least_used = 0, most_used = 0;  // shares of the emptiest and the fullest node, after it
  std::vector<Volume> volumes;
};

// May be interrupted and run again at any time, beside other work: it goes on where it was. No pack has less than
// before at any moment. What was written anew takes room for three days more, in the trash. Code::not_found,
// too_few_peers.
Result<RebalanceReport> rebalance(Client& client, const RebalanceOptions& options);

}  // namespace cairn
