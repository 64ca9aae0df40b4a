// cairn-durability: how probable it is that data is lost, for a code, a lifetime of machines and a time of repair.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "cairn/durability.h"
#include "cairn/units.h"

namespace {

using Json = nlohmann::ordered_json;
constexpr double kDaysPerYear = 365;  // as the published tables count
constexpr double kSecondsPerYear = kDaysPerYear * 86400;

// "5y", "6.5d", "12h"; "never".
std::optional<double> years_of(const std::string& text) {
  if (text == "never") return INFINITY;
  if (text.ends_with('y')) {
    char* end = nullptr;
    const double years = std::strtod(text.c_str(), &end);
    if (end != text.c_str() + text.size() - 1 || !(years > 0) || !std::isfinite(years)) return std::nullopt;
    return years;
  }
  const auto duration = cairn::parse_duration(text);
  if (!duration || duration->count() <= 0) return std::nullopt;
  return std::chrono::duration<double>(*duration).count() / kSecondsPerYear;
}
// "0.405%" or "0.00405"
std::optional<double> share_of(const std::string& text) {
  char* end = nullptr;
  double share = std::strtod(text.c_str(), &end);
  if (std::string_view(end) == "%") {
    share /= 100;
  } else if (*end != '\0' || end == text.c_str()) {
    return std::nullopt;
  }
  return share > 0 && std::isfinite(share) ? std::optional(share) : std::nullopt;
}
template <class Parse>
CLI::Validator checked(Parse parse, const char* what) {
  return {[=](const std::string& text) { return parse(text) ? std::string() : "'" + text + "' is not " + what; }, ""};
}

std::string nines(double loss) {
  return loss > 0 ? fmt::format("{:.1f} nines", -std::log10(loss)) : "never";
}

void print_tables() {
  fmt::print(
      "Backblaze: 17+3, annual failure rate 0.405 %, 6.5 days of repair. Loss a year when so many of 20 are lost in "
      "one\n"
      "period (github.com/Backblaze/erasure-coding-durability):\n");
  for (uint32_t lost = 8; lost > 0; --lost)
    fmt::print("  {:>2}  {:.3e}{}\n", lost, cairn::published_loss_by_periods(20, lost, 0.00405, 6.5 / kDaysPerYear),
               lost == 4 ? "   <- a pack of 17+3 is lost" : "");
  fmt::print("\nStorj: Poisson with p = 0.1 a month (white paper v3.0, section 3.4):\n    k    n  durability\n");
  constexpr std::pair<uint32_t, uint32_t> kCodes[] = {{2, 4},  {4, 8},   {8, 16},  {16, 32},  {20, 40}, {32, 64},
                                                      {1, 1},  {1, 2},   {1, 3},   {1, 10},   {1, 16},  {4, 6},
                                                      {4, 12}, {20, 30}, {20, 50}, {100, 150}};
  for (const auto& [k, n] : kCodes)
    fmt::print("  {:>3}  {:>3}  {:.15f} %\n", k, n, 100 - 100 * cairn::published_loss_by_poisson(k, n, 0.1));
}

constexpr const char* kExamples =
    "Times: 5y, 6.5d, 12h, 30m; --repair never: what is lost is not rebuilt.\n\n"
    "Examples:\n"
    "  cairn-durability --data 4 --parity 2 --lifetime 5y --repair 2d\n"
    "  cairn-durability --data 17 --parity 3 --afr 0.405% --repair 6.5d      Backblaze's own figures\n"
    "  cairn-durability --data 16 --parity 8 --lifetime 3y --repair 12h --packs 1000000 --years 10 --json\n"
    "  cairn-durability --tables                                            the published tables\n\n"
    "The model: every shard on a machine of its own, machines lost for good independently of each other. What takes\n"
    "several at once (a house, a bad release) is not in it: believe the exponent only as far as you believe that.\n"
    "Backblaze's method sees only losses within one period, so the chain gives about m+1 times as much.";

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("How probable it is that data is lost, by a Markov chain and by Monte Carlo.", "cairn-durability");
  app.footer(kExamples);
  app.failure_message(CLI::FailureMessage::simple);
  cairn::LossQuestion question{.k = 4, .m = 2};
  std::string lifetime = "5y", repair = "2d", afr;
  bool json = false, tables = false;
  app.add_option("--data", question.k, "data shards k (default 4)")->check(CLI::Range(1, 256));
  app.add_option("--parity", question.m, "parity shards m (default 2)")->check(CLI::Range(0, 128));
  auto* life = app.add_option("--lifetime", lifetime, "mean time until a machine is lost for good (default 5y)")
                   ->check(checked(years_of, "a time such as 5y or 90d"));
  app.add_option("--afr", afr, "the same as an annual failure rate, e.g. 0.405%")
      ->check(checked(share_of, "a share such as 1.5%"))
      ->excludes(life);
  app.add_option("--repair", repair, "until a lost shard is rebuilt elsewhere, with all waiting (default 2d)")
      ->check(checked(years_of, "a time such as 12h or never"));
  app.add_option("--years", question.horizon_years, "the time looked at (default 1)")->check(CLI::Range(0.0, 1e6));
  app.add_option("--packs", question.packs, "also for any of so many packs")->check(CLI::Range(1.0, 1e15));
  app.add_option("--samples", question.samples, "histories at each level of the Monte Carlo; 0: none (default 1000)")
      ->check(CLI::IsMember({0}) | CLI::Range(2, 1'000'000));
  app.add_option("--seed", question.seed, "of the Monte Carlo (default 1)");
  app.add_flag("--json", json, "print JSON");
  app.add_flag("--tables", tables, "print the published tables, computed here");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (tables) {
    print_tables();
    return 0;
  }
  question.lifetime_years = afr.empty() ? *years_of(lifetime) : 1 / *share_of(afr);
  question.repair_years = *years_of(repair);
  if (!std::isfinite(question.lifetime_years)) {
    fmt::print(stderr, "cairn-durability: --lifetime never: then nothing is ever lost\n");
    return 2;
  }
  const cairn::LossAnswer answer = cairn::estimate_loss(question);
  if (json) {
    Json object = {{"k", question.k},
                   {"m", question.m},
                   {"lifetime_years", question.lifetime_years},
                   {"repair_days", nullptr},
                   {"years", question.horizon_years},
                   {"packs", question.packs},
                   {"markov", answer.markov},
                   {"markov_any_pack", answer.of_any},
                   {"periods", nullptr},
                   {"monte_carlo", nullptr}};
    if (std::isfinite(question.repair_years)) {
      object["repair_days"] = question.repair_years * kDaysPerYear;
      object["periods"] = answer.periods;
    }
    if (answer.monte_carlo_complete)
      object["monte_carlo"] = {{"probability", answer.monte_carlo},
                               {"relative_error", answer.monte_carlo_error},
                               {"samples", question.samples},
                               {"seed", question.seed}};
    fmt::print("{}\n", object.dump());
    return 0;
  }
  fmt::print("Loss of a pack of {}+{} within {:g} year{} (lifetime {:.4g} years, repair {}):\n", question.k, question.m,
             question.horizon_years, question.horizon_years == 1 ? "" : "s", question.lifetime_years,
             std::isfinite(question.repair_years) ? fmt::format("{:.4g} days", question.repair_years * kDaysPerYear)
                                                  : "never");
  fmt::print("  Markov chain          {:.3e}  ({})\n", answer.markov, nines(answer.markov));
  if (answer.monte_carlo_complete) {
    fmt::print("  Monte Carlo           {:.3e}  +- {:.1f} %  (seed {})\n", answer.monte_carlo,
               100 * answer.monte_carlo_error, question.seed);
  } else if (question.samples > 0) {
    fmt::print("  Monte Carlo           too rare to be seen\n");
  }
  if (std::isfinite(question.repair_years)) fmt::print("  Backblaze's method    {:.3e}\n", answer.periods);
  if (question.packs > 1)
    fmt::print("  any of {:g} packs  {:.3e}  ({})\n", question.packs, answer.of_any, nines(answer.of_any));
  return 0;
}
