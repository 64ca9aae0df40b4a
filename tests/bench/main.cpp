// cairn-bench: what Cairn costs on this machine. Ratios within one run mean something, times of two runs less.

#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/limits.h"
#include "bench/client_step.h"
#include "bench/pool_bench.h"
#include "bench/stages.h"
#include "os/memory.h"

int main(int argc, char** argv) {
  using namespace cairn;
  os::tune_allocator();
  CLI::App app("Benchmarks of Cairn");
  app.require_subcommand(1);
  bool json = false;
  app.add_flag("--json", json, "print JSON");
  app.fallthrough();

  bench::StageOptions stage_options;
  CLI::App* stages = app.add_subcommand("stages", "each stage alone, and the limit that their sum implies");
  stages->add_option("-k", stage_options.k, "data shards")->check(CLI::Range(1U, kMaxSlots))->capture_default_str();
  stages->add_option("-m", stage_options.m, "parity shards")->check(CLI::Range(0U, kMaxSlots))->capture_default_str();
  stages->add_option("--folder", stage_options.folder, "where the disk stages write (default: temporary files)")
      ->check(CLI::ExistingDirectory);
  stages->add_flag("--quick", stage_options.quick, "few bytes: only to see that everything runs");

  bench::PoolBenchOptions pool_options;
  CLI::App* pool =
      app.add_subcommand("pool", "put and get through six real daemons on this machine, beside that limit");
  pool->add_option("--nodes", pool_options.nodes, "daemons")->check(CLI::Range(1, 64))->capture_default_str();
  pool->add_option("--megabytes", pool_options.megabytes, "of incompressible data")->capture_default_str();
  pool->add_option("--rounds", pool_options.rounds, "of it, each beside the stages")
      ->capture_default_str()
      ->check(CLI::Range(1, 100));
  pool->add_option("--files", pool_options.small_files, "of 4 KiB")->capture_default_str();
  pool->add_option("--folder", pool_options.folder, "where everything is (default: temporary files)")
      ->check(CLI::ExistingDirectory);

  pool->add_option("--large-gib", pool_options.large_gib, "puts and gets so many GiB more, as a stream: for the memory")
      ->capture_default_str();

  bench::ClientWork work;
  CLI::App* client = app.add_subcommand("client", "one step of `pool`, in a process of its own")->group("");
  client->add_option("home", work.home)->required();
  client->add_option("kind", work.kind)->required();
  client->add_option("source", work.source)->required();
  client->add_option("target", work.target)->required();
  client->add_option("--offset", work.offset);
  client->add_option("--length", work.length);

  CLI11_PARSE(app, argc, argv);

  if (client->parsed()) return bench::client_main(work);

  if (pool->parsed()) {
    auto report = bench::measure_pool(pool_options);
    if (!report) {
      std::fprintf(stderr, "cairn-bench: %s\n", to_string(report.error()).c_str());
      return 1;
    }
    std::fputs((json ? bench::to_json(*report) : bench::to_text(*report)).c_str(), stdout);
  }

  if (stages->parsed()) {
    if (stage_options.k + stage_options.m > kMaxSlots) {
      std::fprintf(stderr, "cairn-bench: k + m must be at most %u\n", kMaxSlots);
      return 2;
    }
    const bench::StageReport report = bench::measure_stages(stage_options);
    std::fputs((json ? bench::to_json(report) : bench::to_text(report)).c_str(), stdout);
  }
  return 0;
}
