#pragma once
// rebalance, and what a mount does of it behind.

#include "cairn/rebalance.h"
#include "client/core.h"

namespace cairn::client {

// Live bytes that are written anew between two commits: each counts, so that a break-off loses little.
inline constexpr uint64_t kRecodeStep = kGiB;
// Domains come and go with machines that are switched off; a mount has packs follow their number downwards, or for the
// sake of space, only when it has been the same for so long (the longest grace of repair).
inline constexpr Duration kDomainsSettle = std::chrono::hours(72);

class SettledDomains {
 public:
  void look(size_t domains, Time now) {
    if (since_ && domains == domains_) return;
    domains_ = domains;
    since_ = now;
  }
  bool settled(Time now) const { return since_ && now - *since_ >= kDomainsSettle; }

 private:
  size_t domains_ = 0;
  std::optional<Time> since_;
};

env::Task<Result<RebalanceReport>> rebalance_volumes(Core& core, RebalanceOptions options);

}  // namespace cairn::client
