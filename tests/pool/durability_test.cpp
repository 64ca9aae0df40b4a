// Loss probabilities: against published digits, against closed forms, and the two methods against each other.

#include "pool/durability.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>

namespace cairn::pool {

TEST_CASE("Backblaze's table for 17+3 at an annual failure rate of 0.405 % and 6.5 days of repair") {
  // github.com/Backblaze/erasure-coding-durability, README.md: the column annual_loss_rate, from 4 lost shards to 0.
  const char* const published[] = {"7.354e-12", "2.399e-08", "5.545e-05", "7.781e-02", "1.000e+00"};
  uint32_t lost = 4;
  for (const char* digits : published) {
    INFO(lost);
    CHECK(fmt::format("{:.3e}", loss_by_periods(20, lost--, 0.00405, 6.5 / 365)) == digits);
  }
  // For rarer losses their program drops the fraction of the 56.15 periods of a year to rounding; 56 give its digits.
  const char* const rare[] = {"8.117e-82", "2.251e-76", "2.965e-71", "2.466e-66", "1.453e-61", "6.447e-57",
                              "2.235e-52", "6.197e-48", "1.396e-43", "2.581e-39", "3.936e-35", "4.962e-31",
                              "5.159e-27", "4.402e-23", "3.052e-19", "1.693e-15"};
  lost = 20;
  for (const char* digits : rare) {
    INFO(lost);
    CHECK(fmt::format("{:.3e}", loss_by_periods(20, lost--, 0.00405, 6.5 / 365) * 56 / (365 / 6.5)) == digits);
  }
}

TEST_CASE("Storj's tables of the Poisson model at p = 0.1") {
  // White paper v3.0, section 3.4, to the last printed digit. The codes were computed with more digits than a double
  // has and cut off behind the 15th.
  const struct {
    uint32_t k, n;
    const char* durability;  // per cent
  } codes[] = {{2, 4, "99.207366813274616"},   {4, 8, "99.858868985411326"},    {8, 16, "99.995462406878260"},
               {16, 32, "99.999994620652776"}, {20, 40, "99.999999807694154"},  {32, 64, "99.999999999990544"},
               {4, 6, "97.688471224736705"},   {4, 12, "99.999514117129605"},   {20, 30, "99.970766304935266"},
               {20, 50, "99.999999999999548"}, {100, 150, "99.999999999973570"}};
  for (const auto& row : codes) {
    INFO(row.k << " of " << row.n);
    const long double durability = 100 - 100 * loss_by_poisson(row.k, row.n, 0.1);
    std::string digits = fmt::format("{:.18f}", durability);
    digits.resize(digits.size() - 3);
    if (digits != row.durability) digits = fmt::format("{:.15f}", durability);  // one of them was rounded
    CHECK(digits == row.durability);
  }
  // Replication as doubles.
  const struct {
    uint32_t n;
    const char* durability;
  } copies[] = {{1, "90.483741803595962"},
                {2, "98.247690369357827"},
                {3, "99.640050681691051"},
                {10, "99.999988857452166"},
                {16, "99.999999998036174"}};
  for (const auto& row : copies) {
    INFO(row.n << " copies");
    CHECK(fmt::format("{:.15f}", 100 - 100 * static_cast<double>(loss_by_poisson(1, row.n, 0.1))) == row.durability);
  }
}

TEST_CASE("the chain agrees with what can be written down") {
  // One copy, no repair: an exponential lifetime.
  CHECK(loss_by_markov({.k = 1, .m = 0, .lifetime_years = 5, .repair_years = INFINITY}) ==
        Approx(1 - std::exp(-0.2)).epsilon(1e-12));
  // Never repaired: binomial.
  const double p = 1 - std::exp(-1 / 4.0);
  double more_than_two = 0;
  for (int i = 3; i <= 6; ++i) {
    const double ways[] = {1, 6, 15, 20, 15, 6, 1};
    more_than_two += ways[i] * std::pow(p, i) * std::pow(1 - p, 6 - i);
  }
  CHECK(loss_by_markov({.k = 4, .m = 2, .lifetime_years = 4, .repair_years = INFINITY}) ==
        Approx(more_than_two).epsilon(1e-12));
  // A mirror with rare failures: MTTDL = (3 lambda + mu) / (2 lambda^2), the textbook's RAID 1.
  const double lambda = 1 / 10.0, mu = 365;
  CHECK(loss_by_markov({.k = 1, .m = 1, .lifetime_years = 10, .repair_years = 1 / mu, .horizon_years = 100}) ==
        Approx(1 - std::exp(-100 * 2 * lambda * lambda / (3 * lambda + mu))).epsilon(1e-4));
  // Rare losses of a wide code: n lambda * product of (n-i) lambda / (i mu), to first order; none of the digits go.
  double first_order = 24 * 1e-2;
  for (int i = 1; i <= 8; ++i) first_order *= (24 - i) * 1e-2 / (i * 8766.0);
  const double chain = loss_by_markov({.k = 16, .m = 8, .lifetime_years = 100, .repair_years = 1 / 8766.0});
  CHECK(chain < 1e-38);
  CHECK(chain == Approx(first_order).epsilon(1e-2));
  CHECK(loss_by_markov({.k = 4, .m = 2, .repair_years = 1, .horizon_years = 0}) == 0);
}

TEST_CASE("the chain gives about m+1 times what the method of periods gives, which misses what spans two periods") {
  // Over ten years: what a year's beginning, when nothing is lost yet, spares it is then small.
  const double chain =
      loss_by_markov({.k = 17, .m = 3, .lifetime_years = 1 / 0.00405, .repair_years = 6.5 / 365, .horizon_years = 10});
  CHECK(chain / (10 * loss_by_periods(20, 4, 0.00405, 6.5 / 365)) == Approx(4).epsilon(0.01));
}

TEST_CASE(
    "Monte Carlo agrees with the chain from one loss in two to one in a trillion, whatever the shape of repairs") {
  const LossModel models[] = {{.k = 4, .m = 2, .lifetime_years = 2, .repair_years = 0.5},
                              {.k = 4, .m = 2, .lifetime_years = 5, .repair_years = 2 / 365.25},
                              {.k = 17, .m = 3, .lifetime_years = 1 / 0.00405, .repair_years = 6.5 / 365},
                              {.k = 1, .m = 1, .lifetime_years = 3, .repair_years = INFINITY}};
  for (const LossModel& model : models) {
    env::Prng prng(7);
    const double chain = loss_by_markov(model);
    const LossEstimate exponential = loss_by_monte_carlo(model, RepairTime::exponential, 2000, prng);
    INFO(model.k << "+" << model.m << " chain " << chain << " Monte Carlo " << exponential.probability << " +- "
                 << exponential.relative_error);
    REQUIRE(exponential.complete);
    CHECK(exponential.relative_error < 0.1);
    CHECK(std::abs(exponential.probability / chain - 1) < 5 * exponential.relative_error);
    if (chain > 0.01) continue;  // where repairs are rare their shape matters
    const LossEstimate fixed = loss_by_monte_carlo(model, RepairTime::fixed, 2000, prng);
    CHECK(std::abs(fixed.probability / chain - 1) < 5 * fixed.relative_error + 0.02);
  }
}

TEST_CASE("the same seed gives the same estimate") {
  const LossModel model{.k = 4, .m = 2, .lifetime_years = 2, .repair_years = 0.1};
  const auto run = [&](uint64_t seed) {
    env::Prng prng(seed);
    return loss_by_monte_carlo(model, RepairTime::fixed, 100, prng).probability;
  };
  CHECK(run(1) == run(1));
  CHECK(run(1) != run(2));
}

TEST_CASE("any of many packs") {
  CHECK(loss_of_any(1e-12, 1e6) == Approx(1e-6).epsilon(1e-5));
  CHECK(loss_of_any(0.5, 2) == Approx(0.75));
  CHECK(loss_of_any(1, 3) == 1);
  CHECK(loss_of_any(0.5, 0) == 0);
}

}  // namespace cairn::pool
