#pragma once
// A volume whose keepers' majority is lost for ever.

#include "cairn/client.h"

namespace cairn {

struct ForceHeadReport {
  std::string volume;
  std::vector<std::string> answering, lost;  // keepers, by their nodes' names
  uint64_t best = 0;                         // the best commit that is known; 0: none
  WallTime best_written = 0;
  uint64_t seen = 0;  // the highest commit that this device has seen
  bool account_lost = false;
  bool forced = false;               // done; else this is what would be
  uint64_t sequence = 0;             // forced: of the head now
  std::vector<std::string> keepers;  // forced: now
};

// Gives the volume's keepers up when `give_up` says so; otherwise only looks. The account's too, when its majority does
// not answer either. Code::conflict: a majority answers, there is nothing to force.
Result<ForceHeadReport> force_head(Client& client, const std::string& volume, bool give_up);

}  // namespace cairn
