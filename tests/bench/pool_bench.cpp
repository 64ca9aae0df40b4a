#include "bench/pool_bench.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cairn/setup.h"
#include "env/random.h"
#include "tools/daemon_process.h"

namespace cairn::bench {

namespace {

namespace fs = std::filesystem;
constexpr size_t kNodes = 6;

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

uint64_t peak_of(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/status");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * kKiB;
  }
  return 0;
}

double own_cpu() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class PoolBench {
 public:
  explicit PoolBench(PoolBenchOptions options) : options_(std::move(options)) {}

  Result<PoolReportFigures> run() {
    std::string pattern =
        (options_.folder.empty() ? fs::temp_directory_path() : fs::path(options_.folder)) / "cairn-bench-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) return fail(Code::io, "no temporary folder");
    folder_.path = pattern;
    CAIRN_TRY(start());
    limits_ = measure_stages({.k = 4, .m = 2, .folder = folder_.path, .quick = false}).cpu_seconds_per_byte();
    const uint64_t bytes = options_.megabytes * kMiB;
    write_noise(folder_.path / "big", bytes);
    CAIRN_TRY(step(fmt::format("put {} MiB, incompressible", options_.megabytes), limits_.put,
                   [&](Client& client) { return client.put({(folder_.path / "big").string()}, "main:/big", {}); }));
    CAIRN_TRY(step(fmt::format("get {} MiB", options_.megabytes), limits_.get,
                   [&](Client& client) { return client.get("main:/big", (folder_.path / "big.out").string(), {}); }));
    const fs::path tree = folder_.path / "tree";
    fs::create_directories(tree);
    for (uint64_t i = 0; i < options_.small_files; ++i) write_noise(tree / fmt::format("{:06}", i), 4096);
    CAIRN_TRY(step(fmt::format("put {} files of 4 KiB", options_.small_files), 0,
                   [&](Client& client) { return client.put({tree.string()}, "main:/tree", {}); }));
    CAIRN_TRY(step(fmt::format("get {} files of 4 KiB", options_.small_files), 0,
                   [&](Client& client) { return client.get("main:/tree", (folder_.path / "tree.out").string(), {}); }));
    return std::move(report_);
  }

 private:
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
    const uint64_t limit = options_.megabytes * kMiB + options_.small_files * 16 * kKiB + kGiB;
    for (size_t i = 0; i < kNodes; ++i) {
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
      if (std::ranges::count(*nodes, std::string("direct"), &NodeReport::path) == kNodes) return {};
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return fail(Code::too_few_peers, "not all daemons came up");
  }

  double daemons_cpu() const {
    double sum = 0;
    for (const auto& daemon : daemons_) sum += cpu_of(daemon->pid());
    return sum;
  }

  // With a client of its own: nothing is warm.
  Status step(const std::string& name, double limit_per_byte,
              const std::function<Result<TransferReport>(Client&)>& work) {
    const double own_before = own_cpu(), daemons_before = daemons_cpu();
    auto client = Client::open({.home = home(0)});
    if (!client) return fail(std::move(client.error()));
    auto done = work(**client);
    if (!done) return fail(std::move(done.error()), name);
    client->reset();
    PoolStep step{.name = name,
                  .bytes = done->bytes,
                  .files = done->files,
                  .seconds = done->seconds,
                  .client_cpu = own_cpu() - own_before,
                  .daemons_cpu = daemons_cpu() - daemons_before,
                  .limit_cpu = limit_per_byte * static_cast<double>(done->bytes),
                  .packs = done->packs,
                  .requests = done->requests,
                  .wire_bytes = done->bytes_sent + done->bytes_received,
                  .client_peak = peak_of("self")};
    for (const auto& daemon : daemons_)
      step.daemons_peak = std::max(step.daemons_peak, peak_of(std::to_string(daemon->pid())));
    report_.steps.push_back(step);
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

std::string to_text(const PoolReportFigures& report) {
  std::string text = fmt::format("{:<34} {:>8} {:>8} {:>9} {:>9} {:>9} {:>7} {:>6} {:>9} {:>9} {:>9}\n",
                                 "six daemons, code (4,2)", "MB/s", "files/s", "CPU-s all", "of client", "of stages",
                                 "ratio", "packs", "req./file", "client MB", "daemon MB");
  for (const PoolStep& step : report.steps) {
    const double cpu = step.client_cpu + step.daemons_cpu;
    text += fmt::format("{:<34} {:>8.0f} {:>8.0f} {:>9.2f} {:>9.2f} {:>9} {:>7} {:>6} {:>9.3f} {:>9.0f} {:>9.0f}\n",
                        step.name, static_cast<double>(step.bytes) / step.seconds / 1e6,
                        static_cast<double>(step.files) / step.seconds, cpu, step.client_cpu,
                        step.limit_cpu > 0 ? fmt::format("{:.2f}", step.limit_cpu) : "-",
                        step.limit_cpu > 0 ? fmt::format("{:.2f}", cpu / step.limit_cpu) : "-", step.packs,
                        static_cast<double>(step.requests) / static_cast<double>(std::max<uint64_t>(step.files, 1)),
                        static_cast<double>(step.client_peak) / 1e6, static_cast<double>(step.daemons_peak) / 1e6);
  }
  return text;
}

std::string to_json(const PoolReportFigures& report) {
  nlohmann::json json;
  for (const PoolStep& step : report.steps) {
    json["steps"].push_back({{"name", step.name},
                             {"bytes", step.bytes},
                             {"files", step.files},
                             {"seconds", step.seconds},
                             {"client_cpu_seconds", step.client_cpu},
                             {"daemons_cpu_seconds", step.daemons_cpu},
                             {"stage_cpu_seconds", step.limit_cpu},
                             {"packs", step.packs},
                             {"requests", step.requests},
                             {"wire_bytes", step.wire_bytes},
                             {"client_peak_bytes", step.client_peak},
                             {"daemon_peak_bytes", step.daemons_peak}});
  }
  return json.dump(2) + "\n";
}

}  // namespace cairn::bench
