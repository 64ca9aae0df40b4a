#pragma once
// How probable it is that stored data is lost: for cairn-durability and `cairn status`. Pure functions; the model and
// its limits are described in src/pool/durability.h.

#include <cstdint>

namespace cairn {

struct LossQuestion {
  uint32_t k = 1, m = 0;      // data and parity shards, each on a machine of its own
  double lifetime_years = 5;  // mean time until a machine is lost for good
  double repair_years = 0;    // until a lost shard is somewhere else again; infinity: never
  double horizon_years = 1;
  double packs = 1;
  uint32_t samples = 1000;  // histories per level of the Monte Carlo; 0: none
  uint64_t seed = 1;
};
struct LossAnswer {
  double markov = 0;   // of one pack
  double of_any = 0;   // of any of the packs, by the chain, if they were lost independently
  double periods = 0;  // of one pack by Backblaze's published method; 0 without repair
  // Monte Carlo with fixed repair times; the error is one standard error, relative. Not complete: too rare to be seen.
  double monte_carlo = 0, monte_carlo_error = 0;
  bool monte_carlo_complete = false;
};
// k + m at most 256, times > 0.
LossAnswer estimate_loss(const LossQuestion& question);

// The published methods themselves: probability of loss a year, and of loss.
double published_loss_by_periods(uint32_t shards, uint32_t lost, double annual_failure_rate, double period_years);
long double published_loss_by_poisson(uint32_t k, uint32_t n, double p);

}  // namespace cairn
