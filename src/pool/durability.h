#pragma once
// How probable it is that a pack is lost: on paper (a Markov chain), by Monte Carlo, and by two published methods, so
// that the figures can be compared with those of others. Pure.
//
// The model: k+m shards, each on a node of its own. A node is lost for good after an exponential time, independently of
// the others; its shard is somewhere else again after the repair time, all lost shards being repaired at the same time.
// More than m lost at once: the pack is lost. What fails together (a house, a release with a bug) is not in it, so real
// pools do worse.

#include <cstdint>

#include "env/random.h"

namespace cairn::pool {

struct LossModel {
  uint32_t k = 1, m = 0;      // data and parity shards
  double lifetime_years = 1;  // mean time until a node is lost for good; > 0
  double repair_years = 0;    // mean time until a lost shard is back; infinity: never; > 0
  double horizon_years = 1;   // the time that is looked at; >= 0
};

// By the continuous-time Markov chain over the number of lost shards: lost at rate (k+m-i)/lifetime, back at
// i/repair_time, more than m is absorbing. Every term is positive, so that 1e-30 has as many good digits as 0.1.
double loss_by_markov(const LossModel& model);

enum class RepairTime { exponential, fixed };
struct LossEstimate {
  double probability = 0;
  double relative_error = 0;  // standard error / probability; that samples of a level share histories is not in it
  bool complete = true;       // false: losses are so rare that a level was not reached; probability is then 0
};
// By simulation of histories, with multilevel splitting: those in which one shard more is lost than in any before are
// continued many times, so that rare losses are found too. `samples` histories are gathered at each level. With
// exponential repair times it must agree with the chain; with fixed ones it shows how little their shape matters.
LossEstimate loss_by_monte_carlo(const LossModel& model, RepairTime repair, uint32_t samples, env::Prng& prng);

// Backblaze's method (github.com/Backblaze/erasure-coding-durability): the year is cut into periods as long as the
// repair time, each shard fails in a period with 1 - exp(-rate * period), and at least `lost` of `shards` in the same
// period are a loss. Per year. It does not see losses that span the border of two periods: for m+1 losses the chain
// gives about m+1 times as much.
double loss_by_periods(uint32_t shards, uint32_t lost, double annual_failure_rate, double period_years);

// Storj's method (white paper v3, 3.4): P(at most n-k of n shards are lost) when their number is Poisson with mean p*n.
// The probability of loss (1 - durability); a long double because the published digits are more than a double has.
long double loss_by_poisson(uint32_t k, uint32_t n, double p);

// Any of `packs` independent ones, each of which is lost with this probability.
double loss_of_any(double probability, double packs);

}  // namespace cairn::pool
