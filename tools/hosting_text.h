#pragma once
// How what a host lends is shown: in `status`, `store ls` and while it is taken back.

#include "cairn/client.h"
#include "tools/output.h"

namespace cairn::tools {

Json store_json(const StoreReport& store);
Json lending_json(const LendingReport& lending);
void print_stores(const std::vector<StoreReport>& stores);
// Lines of `status`: whether and how fast it lends, and the stores that are not simply well.
void print_lending(const LendingReport& lending, const std::vector<StoreReport>& stores);
std::string lending_line(const LendingReport& lending);

}  // namespace cairn::tools
