// cairn-sim: runs simulated pools from seeds, and says which seeds fail.
//
// Each seed has a process of its own: what a crashed machine left in memory goes with it, and a seed that ends its
// process (an assertion, a sanitizer) fails alone.

#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>

#include "sim/pool_sim.h"

namespace {

using namespace cairn;

int run_seed(uint64_t seed, const sim::PoolSimOptions& options, bool twice) {
  const std::clock_t began = std::clock();
  auto result = sim::run_pool_simulation(seed, options);
  if (twice && sim::run_pool_simulation(seed, options).trace != result.trace) {
    result.failures.emplace_back("a second run had another trace");
  }
  std::printf("%s (%.1f s)\n", to_string(result).c_str(), static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC);
  for (const auto& text : result.failures) std::printf("  %s\n", text.c_str());
  return result.failures.empty() ? 0 : 1;
}

// False: it failed.
bool run_apart(uint64_t seed, const std::function<int()>& run) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) std::exit(run());
  int status = -1;
  if (child < 0 || ::waitpid(child, &status, 0) != child) {
    std::perror("cairn-sim");
    return false;
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
    std::printf("seed %llu: FAILED, its process ended with status %d\n", static_cast<unsigned long long>(seed), status);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seed = 1;
  uint64_t seeds = 1;
  uint64_t step = 1;
  sim::PoolSimOptions options;
  int64_t fault_seconds = 30;
  bool trace = false;
  bool twice = false;
  CLI::App app("Runs a whole pool of production code under virtual time, from a seed.");
  app.add_option("--seed", seed, "the first seed");
  app.add_option("--seeds", seeds, "how many seeds");
  app.add_option("--step", step, "from one seed to the next (to share them among processes)");
  app.add_option("--nodes", options.nodes, "holders");
  app.add_option("--clients", options.clients, "writers and readers");
  app.add_option("--faults", fault_seconds, "seconds of virtual time with faults");
  app.add_flag("--healing", options.healing, "then lose machines and disks, and require that the holders heal");
  app.add_flag("--own-code", options.own_code, "the code that a pool of this size takes by itself: (16, 8) from 25 on");
  app.add_flag("--drawn", options.drawn, "let each seed draw whether it does so");
  app.add_flag("--trace", trace, "print what happens");
  app.add_flag("--twice", twice, "run each seed twice and compare the traces");
  CLI11_PARSE(app, argc, argv);
  options.faults = std::chrono::seconds(fault_seconds);
  if (trace) {
    options.reader = [](Time now, std::string_view who, std::string_view what) {
      std::printf("%12.6f %.*s %.*s\n", static_cast<double>((now - Time{}).count()) / 1e9, static_cast<int>(who.size()),
                  who.data(), static_cast<int>(what.size()), what.data());
    };
  }
  uint64_t failed = 0;
  for (uint64_t i = 0; i < seeds; ++i) {
    const uint64_t one = seed + i * step;
    if (!run_apart(one, [&] { return run_seed(one, options, twice); })) ++failed;
  }
  if (failed > 0)
    std::printf("%llu of %llu seeds failed\n", static_cast<unsigned long long>(failed),
                static_cast<unsigned long long>(seeds));
  return failed > 0 ? 1 : 0;
}
