// `cairn demo`: a real pool of daemons on this machine. Stores a tree, kills daemons with SIGKILL, reads everything
// back and compares it bit for bit.

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <random>
#include <thread>

#include "tools/command.h"
#include "tools/daemon_process.h"
#include "tools/demo_tree.h"

namespace cairn::tools {

namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;

volatile std::sig_atomic_t demo_interrupted = 0;  // NOLINT
void on_interrupt(int) {
  demo_interrupted = 1;
}

struct Flags {
  size_t nodes = 6, kill = 2;
  std::string keep, path;
};

class Demo {
 public:
  Demo(const Output& output, Flags flags) : output_(output), flags_(std::move(flags)) {}

  int run() {
    std::signal(SIGINT, on_interrupt);
    std::signal(SIGTERM, on_interrupt);
    auto done = play();
    daemons_.clear();
    if (!work_.empty() && flags_.keep.empty()) {
      std::error_code error;
      fs::remove_all(work_, error);
    }
    if (!done)
      return output_.fail(
          "", demo_interrupted != 0 ? Error{Code::interrupted, "everything that was started has ended"} : done.error());
    return *done;
  }

 private:
  void tell(const std::string& line) {
    if (!output_.json && !output_.quiet) {
      emit_text("[{:6.1f} s] {}\n", std::chrono::duration<double>(SteadyClock::now() - start_).count(), line);
      std::fflush(stdout);
    }
  }
  std::string home(size_t node) const { return work_ + fmt::format("/node{}", node + 1); }

  Status start_pool() {
    const std::string program = fs::read_symlink("/proc/self/exe").parent_path().string() + "/cairnd";
    for (size_t i = 0; i < flags_.nodes; ++i) {
      if (demo_interrupted != 0) return fail(Code::interrupted);
      const DeviceOptions device{.home = home(i),
                                 .node_name = fmt::format("node{}", i + 1),
                                 .listen = "127.0.0.1:0",
                                 .stores = {{.path = home(i) + "/store", .limit = store_limit_, .keep_free_share = 0}}};
      if (i == 0) {
        auto made = init_pool(device, "demo", "founder");
        if (!made) return fail(made.error());
      } else {
        auto code = make_invite({.home = home(0)});
        if (!code) return fail(code.error());
        auto joined = join_pool(device, *code, fmt::format("member{}", i + 1));
        if (!joined) return fail(joined.error());
      }
      daemons_.push_back(std::make_unique<DaemonProcess>());
      CAIRN_TRY(daemons_.back()->start(program, home(i), work_ + fmt::format("/node{}.log", i + 1),
                                       [] { return demo_interrupted != 0; }));
      tell(fmt::format("node{} serves (process {})", i + 1, daemons_.back()->pid()));
    }
    return {};
  }

  // Until the client sees every node alive.
  Status wait_for_all(Client& client) {
    const auto deadline = SteadyClock::now() + std::chrono::seconds(60);
    while (SteadyClock::now() < deadline && demo_interrupted == 0) {
      auto nodes = client.nodes();
      if (!nodes) return fail(nodes.error());
      const auto alive =
          std::ranges::count_if(*nodes, [](const NodeReport& node) { return node.path == "direct" && node.lends; });
      if (static_cast<size_t>(alive) == flags_.nodes) return {};
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return fail(Code::too_few_peers, "not all nodes came up");
  }

  Result<int> play() {
    if (flags_.keep.empty()) {
      std::string pattern = (fs::temp_directory_path() / "cairn-demo-XXXXXX").string();
      if (::mkdtemp(pattern.data()) == nullptr) return fail(Code::io, "cannot make a temporary folder");
      work_ = pattern;
    } else {
      if (fs::exists(flags_.keep) && !fs::is_empty(flags_.keep))
        return fail(Code::exists, "'" + flags_.keep + "' is not empty");
      work_ = fs::absolute(flags_.keep).string();
      fs::create_directories(work_);
    }
    std::string source = flags_.path;
    if (source.empty()) {
      source = work_ + "/tree";
      CAIRN_TRY(write_demo_tree(source));
    }
    auto before = digest_tree(source);
    if (!before) return fail(before.error());
    tell(fmt::format("{}: {} files, {}", flags_.path.empty() ? "the built-in tree" : printable(source), before->files,
                     format_size(before->bytes)));
    store_limit_ = std::max<uint64_t>(256 * kMiB, before->bytes * 2 + 64 * kMiB);

    CAIRN_TRY(start_pool());
    auto client = Client::open({.home = home(0)});
    if (!client) return fail(client.error());
    CAIRN_TRY(wait_for_all(**client));
    auto report = (*client)->report();
    if (!report) return fail(report.error());
    tell(fmt::format("all {} nodes know each other; packs are coded {}+{}", flags_.nodes, report->k, report->m));

    std::vector<std::string> failed_files;
    TransferOptions options;
    options.wait_placed = true;
    options.on_error = [&](const std::string& path, const Error& error) {
      failed_files.push_back(path);
      output_.file_error(path, error);
    };
    auto put = (*client)->put({source}, "main:/kept", options);
    if (!put) return fail(put.error());
    if (demo_interrupted != 0) return fail(Code::interrupted);
    tell(fmt::format("stored {} files, {} in {} packs in {:.1f} s ({}/s); {} packs below their goal", put->files,
                     format_size(put->bytes), put->packs, put->seconds,
                     format_size(static_cast<uint64_t>(static_cast<double>(put->bytes) / std::max(put->seconds, 1e-3))),
                     put->packs_below_goal));

    std::vector<size_t> order(flags_.nodes);
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), std::mt19937(std::random_device{}()));
    std::vector<std::string> killed;
    for (size_t i = 0; i < flags_.kill; ++i) {
      const pid_t pid = daemons_[order[i]]->pid();
      daemons_[order[i]]->end(SIGKILL);
      killed.push_back(fmt::format("node{}", order[i] + 1));
      tell(fmt::format("kill -9 {} ({})", pid, killed.back()));
    }
    client->reset();  // a new client, that has nothing in memory
    client = Client::open({.home = home(0)});
    if (!client) return fail(client.error());
    const std::string restored = work_ + "/restored";
    auto got = (*client)->get("main:/kept", restored, options);
    if (!got) return fail(got.error());
    tell(fmt::format(
        "read back {} files, {} in {:.1f} s ({}/s)", got->files, format_size(got->bytes), got->seconds,
        format_size(static_cast<uint64_t>(static_cast<double>(got->bytes) / std::max(got->seconds, 1e-3)))));

    auto after = digest_tree(restored);
    if (!after) return fail(after.error());
    size_t differences = failed_files.size();
    for (const auto& [path, what] : before->entries) {
      const auto found = after->entries.find(path);
      if (found != after->entries.end() && found->second == what) continue;
      ++differences;
      output_.warn(fmt::format("'{}' was [{}] and came back as [{}]", path, what,
                               found == after->entries.end() ? "nothing" : found->second));
    }
    for (const auto& [path, what] : after->entries) {
      if (before->entries.contains(path)) continue;
      ++differences;
      output_.warn(fmt::format("'{}' came back and was not there", path));
    }
    if (output_.json) {
      output_.emit({{"message_type", "summary"},
                    {"nodes", flags_.nodes},
                    {"killed", killed},
                    {"k", report->k},
                    {"m", report->m},
                    {"files", before->files},
                    {"bytes", before->bytes},
                    {"entries", before->entries.size()},
                    {"differences", differences},
                    {"put_seconds", put->seconds},
                    {"get_seconds", got->seconds}});
    }
    if (differences > 0) return fail(Code::damaged, fmt::format("{} entries differ", differences));
    tell(fmt::format("all {} entries are the same, bit for bit: SHA-256, size, permissions, times and links",
                     before->entries.size()));
    if (!flags_.keep.empty()) tell("everything is kept in " + work_);
    return static_cast<int>(kDone);
  }

  const Output& output_;
  Flags flags_;
  SteadyClock::time_point start_ = SteadyClock::now();
  std::string work_;
  uint64_t store_limit_ = 0;
  std::vector<std::unique_ptr<DaemonProcess>> daemons_;
};

Command demo_command() {
  return {"demo", "a real pool on this machine: store a tree, kill daemons, read it back, compare",
          "cairn demo --nodes 6 --kill 2 ~/Pictures", [](CLI::App& app) {
            auto flags = std::make_shared<Flags>();
            app.add_option("--nodes", flags->nodes, "daemons to start")->check(CLI::Range(1, 32));
            app.add_option("--kill", flags->kill, "how many of them to kill with SIGKILL")->check(CLI::Range(0, 31));
            app.add_option("--keep", flags->keep, "work in this new folder and leave it (default: a temporary one)")
                ->type_name("DIR");
            app.add_option("path", flags->path, "what to store (default: a built-in tree)");
            return [=](Context& context) {
              if (flags->kill >= flags->nodes)
                return context.output.fail("", Error{Code::bad_input, "--kill must be less than --nodes"});
              return Demo(context.output, *flags).run();
            };
          }};
}

}  // namespace

std::vector<Command> demo_commands() {
  return {demo_command()};
}

}  // namespace cairn::tools
