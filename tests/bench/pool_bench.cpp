#include "bench/pool_bench.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/client_step.h"
#include "cairn/setup.h"
#include "env/random.h"
#include "pool/placement.h"
#include "tools/daemon_process.h"

namespace cairn::bench {

namespace {

namespace fs = std::filesystem;

struct TemporaryFolder {
  fs::path path;
  ~TemporaryFolder() {
    std::error_code error;
    if (!path.empty()) fs::remove_all(path, error);
  }
};

// User and system time of a process, in seconds.
double cpu_of(int pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  std::getline(file, line);
  const size_t after_name = line.rfind(')');
  if (after_name == std::string::npos) return 0;
  std::istringstream fields(line.substr(after_name + 2));
  std::string field;
  double ticks = 0;
  for (int i = 3; i <= 15 && fields >> field; ++i) {
    if (i == 14 || i == 15) ticks += std::stod(field);  // utime, stime: proc(5)
  }
  return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

// From now on its peak of memory counts anew: proc(5), clear_refs.
void forget_peak(int pid) {
  std::ofstream(fmt::format("/proc/{}/clear_refs", pid)) << "5";
}

class PoolBench {
 public:
  explicit PoolBench(PoolBenchOptions options) : options_(std::move(options)) {}

  Result<PoolReportFigures> run() {
    std::string pattern =
        (options_.folder.empty() ? fs::temp_directory_path() : fs::path(options_.folder)) / "cairn-bench-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) return fail(Code::io, "no temporary folder");
    folder_.path = pattern;
    const content::PackGeometry code = pool::geometry_for(options_.nodes);
    report_.nodes = options_.nodes;
    report_.k = code.k;
    report_.m = code.m;
    CAIRN_TRY(start());
    const uint64_t bytes = options_.megabytes * kMiB;
    write_noise(folder_.path / "big", bytes);
    CAIRN_TRY(large_file());
    CAIRN_TRY(step(
        "cold 4 KiB read of it", 0,
        {.kind = "read", .source = "main:/big", .target = "-", .offset = bytes / 2 + 8 * kKiB, .length = 4 * kKiB}));
    const fs::path tree = folder_.path / "tree";
    fs::create_directories(tree);
    for (uint64_t i = 0; i < options_.small_files; ++i) write_noise(tree / fmt::format("{:06}", i), 4096);
    CAIRN_TRY(step(fmt::format("put {} files of 4 KiB", options_.small_files), 0,
                   {.kind = "put", .source = tree.string(), .target = "main:/tree"}));
    CAIRN_TRY(step(fmt::format("get {} files of 4 KiB", options_.small_files), 0,
                   {.kind = "get", .source = "main:/tree", .target = (folder_.path / "tree.out").string()}));
    if (options_.large_gib > 0) {
      CAIRN_TRY(
          step(fmt::format("put {} GiB, a stream", options_.large_gib), limits_.put,
               {.kind = "put-noise", .source = "-", .target = "main:/large", .length = options_.large_gib * kGiB}));
      CAIRN_TRY(step(fmt::format("read {} GiB, a stream", options_.large_gib), 0,
                     {.kind = "read", .source = "main:/large", .target = "-"}));
    }
    return std::move(report_);
  }

 private:
  // In turn with the stages, for a machine is not as fast at all times.
  Status large_file() {
    std::vector<PoolStep> puts, gets;
    for (size_t i = 0; i < options_.rounds; ++i) {
      limits_ = measure_stages({.k = report_.k, .m = report_.m, .folder = folder_.path, .quick = false})
                    .cpu_seconds_per_byte();
      const std::string file = i == 0 ? "main:/big" : fmt::format("main:/big{}", i);
      const fs::path out = folder_.path / "big.out";
      auto put = measure(fmt::format("put {} MiB, incompressible", options_.megabytes), limits_.put,
                         {.kind = "put", .source = (folder_.path / "big").string(), .target = file});
      if (!put) return fail(std::move(put.error()));
      puts.push_back(std::move(*put));
      auto get = measure(fmt::format("get {} MiB", options_.megabytes), limits_.get,
                         {.kind = "get", .source = file, .target = out.string()});
      if (!get) return fail(std::move(get.error()));
      gets.push_back(std::move(*get));
      fs::remove(out);
    }
    for (std::vector<PoolStep>* steps : {&puts, &gets}) {
      std::vector<double> ratios, cores;
      for (const PoolStep& one : *steps) {
        ratios.push_back(one.ratio());
        cores.push_back(one.cores);
      }
      std::ranges::sort(*steps, {}, &PoolStep::ratio);
      report_.steps.push_back((*steps)[(steps->size() - 1) / 2]);
      report_.steps.back().ratios = std::move(ratios);
      report_.steps.back().all_cores = std::move(cores);
    }
    return {};
  }

  std::string home(size_t i) const { return (folder_.path / fmt::format("node{}", i)).string(); }

  void write_noise(const fs::path& path, uint64_t size) {
    std::ofstream file(path, std::ios::binary);
    Bytes block(std::min<uint64_t>(size, 4 * kMiB));
    for (uint64_t done = 0; done < size; done += block.size()) {
      noise_.fill(block);
      file.write(reinterpret_cast<const char*>(block.data()),
                 static_cast<std::streamsize>(std::min<uint64_t>(block.size(), size - done)));
    }
  }

  Status start() {
    const std::string program = (fs::read_symlink("/proc/self/exe").parent_path() / "cairnd").string();
    const uint64_t limit = options_.rounds * options_.megabytes * kMiB + options_.small_files * 16 * kKiB +
                           (options_.large_gib + 1) * kGiB;
    for (size_t i = 0; i < options_.nodes; ++i) {
      const DeviceOptions device{.home = home(i),
                                 .node_name = fmt::format("node{}", i),
                                 .listen = "127.0.0.1:0",
                                 .stores = {{.path = home(i) + "/store", .limit = limit, .keep_free_share = 0}}};
      if (i == 0) {
        if (auto made = init_pool(device, "bench", "bench"); !made) return fail(std::move(made.error()));
      } else {
        auto code = make_invite({.home = home(0)});
        if (!code) return fail(std::move(code.error()));
        if (auto joined = join_pool(device, *code, fmt::format("member{}", i)); !joined)
          return fail(std::move(joined.error()));
      }
      daemons_.push_back(std::make_unique<tools::DaemonProcess>());
      CAIRN_TRY(daemons_.back()->start(program, home(i), home(i) + ".log", [] { return false; }));
    }
    auto client = Client::open({.home = home(0)});
    if (!client) return fail(std::move(client.error()));
    for (int i = 0; i < 600; ++i) {
      auto nodes = (*client)->nodes();
      if (!nodes) return fail(std::move(nodes.error()));
      if (std::ranges::count(*nodes, std::string("direct"), &NodeReport::path) >=
          static_cast<ptrdiff_t>(options_.nodes))
        return {};
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return fail(Code::too_few_peers, "not all daemons came up");
  }

  // How long the disk that all of this is on has had something to do: field 10 of its line in /proc/diskstats, kernel's
  // admin-guide/iostats. None where the folder is on no disk of this machine.
  std::optional<double> disk_seconds() const {
    struct stat folder{};
    if (::stat(folder_.path.c_str(), &folder) != 0) return std::nullopt;
    std::ifstream file("/proc/diskstats");
    for (std::string line; std::getline(file, line);) {
      std::istringstream fields(line);
      unsigned major = 0, minor = 0;
      std::string name;
      fields >> major >> minor >> name;
      if (major != ::gnu_dev_major(folder.st_dev) || minor != ::gnu_dev_minor(folder.st_dev)) continue;
      double milliseconds = 0;
      for (int field = 1; field <= 10 && fields >> milliseconds; ++field) {
      }
      return milliseconds / 1000;
    }
    return std::nullopt;
  }

  double daemons_cpu() const {
    double sum = 0;
    for (const auto& daemon : daemons_) sum += cpu_of(daemon->pid());
    return sum;
  }

  // Until the daemons have done what a transfer leaves for behind: it counts.
  void await_quiet() const {
    constexpr double kIdle = 0.02;  // CPU seconds of six daemons in a look's time: gossip
    double before = daemons_cpu();
    for (int i = 0; i < 60; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      const double now = daemons_cpu();
      if (now - std::exchange(before, now) <= kIdle) return;
    }
  }

  // With a client process of its own: nothing is warm.
  Result<PoolStep> measure(const std::string& name, double limit_per_byte, ClientWork work) {
    ::sync();  // what was written before is not written back beside it
    const double daemons_before = daemons_cpu();
    for (const auto& daemon : daemons_) forget_peak(daemon->pid());
    work.home = home(0);
    const double begin = wall_seconds();
    const std::optional<double> disk_before = disk_seconds();
    auto done = run_client(work);
    if (!done) return fail(std::move(done.error()), name);
    const double taken = wall_seconds() - begin;
    const double cores = (done->cpu + daemons_cpu() - daemons_before) / taken;
    std::optional<double> disk_busy = disk_seconds();
    if (disk_busy) disk_busy = (*disk_busy - disk_before.value_or(*disk_busy)) / taken;
    await_quiet();
    const TransferReport& report = done->report;
    PoolStep step{.name = name,
                  .bytes = report.bytes,
                  .files = report.files,
                  .seconds = report.seconds,
                  .client_cpu = done->cpu,
                  .daemons_cpu = daemons_cpu() - daemons_before,
                  .limit_cpu = limit_per_byte * static_cast<double>(report.bytes),
                  .cores = cores,
                  .disk_busy = disk_busy,
                  .packs = report.packs,
                  .requests = report.requests,
                  .wire_bytes = report.bytes_sent + report.bytes_received,
                  .data_reads = report.data_reads,
                  .tree_reads = report.tree_reads,
                  .raced = report.raced_reads,
                  .client_peak = done->peak};
    for (const auto& daemon : daemons_)
      step.daemons_peak = std::max(step.daemons_peak, peak_memory(std::to_string(daemon->pid())));
    return step;
  }
  Status step(const std::string& name, double limit_per_byte, ClientWork work) {
    auto measured = measure(name, limit_per_byte, std::move(work));
    if (!measured) return fail(std::move(measured.error()));
    report_.steps.push_back(std::move(*measured));
    return {};
  }

  PoolBenchOptions options_;
  TemporaryFolder folder_;
  std::vector<std::unique_ptr<tools::DaemonProcess>> daemons_;
  env::Prng noise_{42};
  Weights limits_;
  PoolReportFigures report_;
};

}  // namespace

Result<PoolReportFigures> measure_pool(const PoolBenchOptions& options) {
  return PoolBench(options).run();
}

namespace {
double in_kib(uint64_t bytes) {
  return static_cast<double>(bytes) / static_cast<double>(kKiB);
}
double in_mib(uint64_t bytes) {
  return static_cast<double>(bytes) / static_cast<double>(kMiB);
}
nlohmann::json reads_json(const ReadFigures& reads) {
  return {{"requests", reads.requests}, {"bytes", reads.bytes}, {"holders", reads.holders}};
}
}  // namespace

std::string to_text(const PoolReportFigures& report) {
  std::string text = fmt::format("{:<34} {:>8} {:>8} {:>9} {:>9} {:>9} {:>7} {:>6} {:>6} {:>6} {:>9} {:>10} {:>10}\n",
                                 fmt::format("{} daemons, code ({},{})", report.nodes, report.k, report.m), "MB/s",
                                 "files/s", "CPU-s all", "of client", "of stages", "ratio", "cores", "disk", "packs",
                                 "req./file", "client MiB", "daemon MiB");
  for (const PoolStep& step : report.steps) {
    const double cpu = step.client_cpu + step.daemons_cpu;
    text += fmt::format(
        "{:<34} {:>8.0f} {:>8.0f} {:>9.2f} {:>9.2f} {:>9} {:>7} {:>6.2f} {:>6} {:>6} {:>9.3f} {:>10.0f} {:>10.0f}\n",
        step.name, static_cast<double>(step.bytes) / step.seconds / 1e6, static_cast<double>(step.files) / step.seconds,
        cpu, step.client_cpu, step.limit_cpu > 0 ? fmt::format("{:.2f}", step.limit_cpu) : "-",
        step.limit_cpu > 0 ? fmt::format("{:.2f}", step.ratio()) : "-", step.cores,
        step.disk_busy ? fmt::format("{:.2f}", *step.disk_busy) : "-", step.packs,
        static_cast<double>(step.requests) / static_cast<double>(std::max<uint64_t>(step.files, 1)),
        in_mib(step.client_peak), in_mib(step.daemons_peak));
  }
  for (const PoolStep& step : report.steps) {
    if (step.ratios.size() < 2) continue;
    text += fmt::format("{:<34} the middle of {} rounds: ratios {:.2f}, cores {:.2f}\n", step.name, step.ratios.size(),
                        fmt::join(step.ratios, " "), fmt::join(step.all_cores, " "));
  }
  text += fmt::format("\n{:<34} {:>9} {:>8} {:>9} {:>9} {:>8} {:>9} {:>6}\n", "on the wire, by counters", "data KiB",
                      "requests", "holders", "tree KiB", "requests", "all KiB", "raced");
  for (const PoolStep& step : report.steps) {
    if (step.data_reads.requests == 0) continue;
    text += fmt::format("{:<34} {:>9.1f} {:>8} {:>9} {:>9.1f} {:>8} {:>9.1f} {:>6}\n", step.name,
                        in_kib(step.data_reads.bytes), step.data_reads.requests, step.data_reads.holders,
                        in_kib(step.tree_reads.bytes), step.tree_reads.requests, in_kib(step.wire_bytes), step.raced);
  }
  return text;
}

std::string to_json(const PoolReportFigures& report) {
  nlohmann::json json = {{"nodes", report.nodes}, {"k", report.k}, {"m", report.m}};
  for (const PoolStep& step : report.steps) {
    json["steps"].push_back({{"name", step.name},
                             {"bytes", step.bytes},
                             {"files", step.files},
                             {"seconds", step.seconds},
                             {"client_cpu_seconds", step.client_cpu},
                             {"daemons_cpu_seconds", step.daemons_cpu},
                             {"stage_cpu_seconds", step.limit_cpu},
                             {"ratios", step.ratios},
                             {"cores", step.cores},
                             {"disk_busy", step.disk_busy ? nlohmann::json(*step.disk_busy) : nlohmann::json()},
                             {"packs", step.packs},
                             {"requests", step.requests},
                             {"wire_bytes", step.wire_bytes},
                             {"data_reads", reads_json(step.data_reads)},
                             {"tree_reads", reads_json(step.tree_reads)},
                             {"raced_reads", step.raced},
                             {"client_peak_bytes", step.client_peak},
                             {"daemon_peak_bytes", step.daemons_peak}});
  }
  return json.dump(2) + "\n";
}

}  // namespace cairn::bench
