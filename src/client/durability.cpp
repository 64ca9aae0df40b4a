// The public face of pool/durability.h.

#include "pool/durability.h"

#include <cmath>

#include "cairn/durability.h"

namespace cairn {

LossAnswer estimate_loss(const LossQuestion& question) {
  const pool::LossModel model{.k = question.k,
                              .m = question.m,
                              .lifetime_years = question.lifetime_years,
                              .repair_years = question.repair_years,
                              .horizon_years = question.horizon_years};
  LossAnswer answer{.markov = pool::loss_by_markov(model)};
  answer.of_any = pool::loss_of_any(answer.markov, question.packs);
  if (std::isfinite(question.repair_years)) {
    const double yearly = pool::loss_by_periods(question.k + question.m, question.m + 1, 1 / question.lifetime_years,
                                                question.repair_years);
    answer.periods = pool::loss_of_any(yearly, question.horizon_years);
  }
  if (question.samples > 0) {
    env::Prng prng(question.seed);
    const auto estimate = pool::loss_by_monte_carlo(model, pool::RepairTime::fixed, question.samples, prng);
    answer.monte_carlo = estimate.probability;
    answer.monte_carlo_error = estimate.relative_error;
    answer.monte_carlo_complete = estimate.complete;
  }
  return answer;
}

double published_loss_by_periods(uint32_t shards, uint32_t lost, double annual_failure_rate, double period_years) {
  return pool::loss_by_periods(shards, lost, annual_failure_rate, period_years);
}
long double published_loss_by_poisson(uint32_t k, uint32_t n, double p) {
  return pool::loss_by_poisson(k, n, p);
}

}  // namespace cairn
