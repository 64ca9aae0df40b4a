#include "pool/durability.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/result.h"

namespace cairn::pool {

namespace {

// A square matrix with no negative element.
class Matrix {
 public:
  explicit Matrix(size_t size) : size_(size), cells_(size * size) {}
  double& at(size_t row, size_t column) { return cells_[row * size_ + column]; }
  double at(size_t row, size_t column) const { return cells_[row * size_ + column]; }
  size_t size() const { return size_; }

  friend Matrix operator*(const Matrix& a, const Matrix& b) {
    Matrix product(a.size());
    for (size_t i = 0; i < a.size(); ++i) {
      for (size_t j = 0; j < a.size(); ++j) {
        for (size_t l = 0; l < a.size(); ++l) product.at(i, j) += a.at(i, l) * b.at(l, j);
      }
    }
    return product;
  }
  friend Matrix operator+(const Matrix& a, const Matrix& b) {
    Matrix sum = a;
    for (size_t i = 0; i < sum.cells_.size(); ++i) sum.cells_[i] += b.cells_[i];
    return sum;
  }
  friend Matrix operator*(double factor, const Matrix& a) {
    Matrix scaled = a;
    for (double& cell : scaled.cells_) cell *= factor;
    return scaled;
  }

 private:
  size_t size_;
  std::vector<double> cells_;
};

}  // namespace

double loss_by_markov(const LossModel& model) {
  const uint32_t shards = model.k + model.m;
  const size_t states = model.m + 2;  // 0..m lost, and the pack lost
  const double loss = 1 / model.lifetime_years, back = 1 / model.repair_years;
  const auto up = [&](size_t i) { return static_cast<double>(shards - i) * loss; };
  const auto down = [&](size_t i) { return static_cast<double>(i) * back; };

  // Uniformised: exp(Q t) = sum of Poisson(rate t) weights times powers of a stochastic matrix, for a time so short
  // that few terms suffice; then squared as often as the horizon needs. Nothing is ever subtracted.
  double rate = 0;
  for (size_t i = 0; i + 1 < states; ++i) rate = std::max(rate, up(i) + down(i));
  Matrix jump(states);
  for (size_t i = 0; i + 1 < states; ++i) {
    jump.at(i, i + 1) = up(i) / rate;
    if (i > 0) jump.at(i, i - 1) = down(i) / rate;
    jump.at(i, i) = std::max(0.0, 1 - (up(i) + down(i)) / rate);
  }
  jump.at(states - 1, states - 1) = 1;

  const double total = rate * model.horizon_years;
  const int squarings = total > 0.5 ? static_cast<int>(std::ceil(std::log2(total / 0.5))) : 0;
  const double step = std::ldexp(total, -squarings);
  Matrix power(states);
  for (size_t i = 0; i < states; ++i) power.at(i, i) = 1;
  double weight = std::exp(-step);
  Matrix transition = weight * power;
  // Enough terms that even the way through all states is there with all its digits.
  for (size_t term = 1; term < states + 30; ++term) {
    power = power * jump;
    weight *= step / static_cast<double>(term);
    transition = transition + weight * power;
  }
  for (int i = 0; i < squarings; ++i) transition = transition * transition;
  return std::min(1.0, transition.at(0, states - 1));
}

namespace {

// A moment in the history of a pack: when, and when each lost shard will be back (sorted, soonest last).
struct History {
  double now = 0;
  std::vector<double> back;
};

class Simulation {
 public:
  Simulation(const LossModel& model, RepairTime repair, env::Prng& prng)
      : model_(model), repair_(repair), prng_(prng) {}

  // Until one shard more is lost than `history` begins with, or the horizon. True: it was reached.
  bool climb(History& history) {
    const size_t goal = history.back.size() + 1;
    const double shards = model_.k + model_.m;
    for (;;) {
      const double lost = static_cast<double>(history.back.size());
      const double next = history.now + exponential(model_.lifetime_years / (shards - lost));
      const double back = history.back.empty() ? INFINITY : history.back.back();
      history.now = std::min(next, back);
      if (history.now >= model_.horizon_years) return false;
      if (back < next) {
        history.back.pop_back();
        continue;
      }
      const double took = repair_ == RepairTime::fixed ? model_.repair_years : exponential(model_.repair_years);
      const double until = history.now + took;
      history.back.insert(std::ranges::upper_bound(history.back, until, std::greater<>()), until);
      if (history.back.size() == goal) return true;
    }
  }

 private:
  double exponential(double mean) { return -mean * std::log1p(-prng_.unit()); }
  const LossModel& model_;
  RepairTime repair_;
  env::Prng& prng_;
};

// Histories of one level at most: beyond it the level counts as not reached.
constexpr uint64_t kMaxHistories = 20'000'000;

}  // namespace

LossEstimate loss_by_monte_carlo(const LossModel& model, RepairTime repair, uint32_t samples, env::Prng& prng) {
  CAIRN_ASSERT(samples >= 2);
  Simulation simulation(model, repair, prng);
  LossEstimate estimate{.probability = 1};
  double variance = 0;
  std::vector<History> from{History{}};
  for (uint32_t level = 0; level <= model.m; ++level) {
    std::vector<History> reached;
    uint64_t tried = 0;
    while (reached.size() < samples && tried < kMaxHistories) {
      History history = from[prng.below(from.size())];
      ++tried;
      if (simulation.climb(history)) reached.push_back(std::move(history));
    }
    if (reached.size() < 2) return {.probability = 0, .relative_error = 0, .complete = false};
    // Tried until a number of successes: (successes - 1) / (tries - 1) is without bias (Haldane 1945).
    const double hits = static_cast<double>(reached.size());
    const double share = std::min(1.0, (hits - 1) / static_cast<double>(tried - 1));
    estimate.probability *= share;
    variance += (1 - share) / hits;
    from = std::move(reached);
  }
  estimate.relative_error = std::sqrt(variance);
  return estimate;
}

double loss_by_periods(uint32_t shards, uint32_t lost, double annual_failure_rate, double period_years) {
  if (lost == 0) return 1;
  const double p = -std::expm1(-annual_failure_rate * period_years);
  double in_period = 0;
  for (uint32_t i = shards; i >= lost; --i) {  // small terms first
    double ways = 1;                           // of choosing i shards
    for (uint32_t j = 0; j < i; ++j) ways = ways * (shards - j) / (j + 1);
    in_period += ways * std::pow(p, i) * std::pow(1 - p, shards - i);
  }
  return -std::expm1(std::log1p(-std::min(in_period, 1.0)) / period_years);
}

long double loss_by_poisson(uint32_t k, uint32_t n, double p) {
  // P(more than n - k): the terms from n - k + 1 on, which soon fall faster than a geometric series.
  const long double mean = static_cast<long double>(p) * n;
  long double term = std::exp(-mean), sum = 0;
  for (uint32_t i = 1; i < n - k + 1 + 1000; ++i) {
    term *= mean / i;
    if (i > n - k) sum += term;
  }
  return sum;
}

double loss_of_any(double probability, double packs) {
  if (probability >= 1) return packs > 0 ? 1 : 0;
  return -std::expm1(packs * std::log1p(-probability));
}

}  // namespace cairn::pool
