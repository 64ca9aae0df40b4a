// cairnd: the daemon that lends disk space. Foreground; logs to stderr; one `ready NODEID HOST:PORT` line on stdout.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "cairn/daemon.h"
#include "cairn/home.h"

namespace {

constexpr char kHostHelp[] = R"(The host comes first. In HOME/config.toml, which is followed while the daemon runs:

  [limits]
  up = "2M"              bytes a second to other machines; "none": no limit
  down = "8M"            bytes a second from them (commands of this home are not limited)
  on_battery = false     lend nothing while the machine runs on battery
  on_metered = false     lend nothing while NetworkManager calls the connection metered
  priority = "low"       for processor and disk, or "normal"; read at the start

  [[schedule]]           in these hours what stands here counts instead; the first that fits
  days = "mon-fri"       also "sat,sun"; without it every day
  hours = "08:00-18:30"  local time; "22:00-06:00" goes over midnight; without it the whole day
  up = "500K"
  lend = false           lend nothing in these hours

A store stops taking when its disk is 90 % full (keep_free), moves shards to other nodes until 15 % are free, and
below 2 %, or when you write so fast that it would be full within a moment, drops at once what the pool can spare:
your programs find room as long as they write less in 0.15 s than was free when they began. See also cairn store,
pause, resume and leave.

Once a week the daemon has the space of what you removed given back, as `cairn prune` does; prune_every = "none" at
the top of the file: only when you say so.)";

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Runs a Cairn node: lends disk space to the pool of its home.\n\nExample:\n  cairnd --home ~/.local/share/cairn",
      "cairnd");
  app.footer(kHostHelp);
  cairn::DaemonOptions options;
  app.add_option("--home", options.home,
                 "home directory: one device in one pool (default: $CAIRN_HOME, else $XDG_DATA_HOME/cairn)");
  app.add_option("--listen", options.listen,
                 "HOST:PORT to serve at; port 0 picks a free one; kept in the configuration");
  app.add_option("--log", options.log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  bool version = false;
  app.add_flag("--version", version, "print the version");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (version) {
    std::printf("cairnd %s\n", cairn::kVersion);
    return 0;
  }
  options.home = cairn::resolve_home(options.home);
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (const auto beside = self.parent_path() / "cairn"; !error && std::filesystem::exists(beside, error))
    options.cairn = beside;
  options.on_ready = [](const std::string& node_id, const std::string& address) {
    std::printf("ready %s %s\n", node_id.c_str(), address.c_str());
    std::fflush(stdout);
  };
  auto done = cairn::run_daemon(options);
  if (!done) {
    std::fprintf(stderr, "cairnd: cannot run on '%s': %s\n", options.home.c_str(),
                 cairn::to_string(done.error()).c_str());
    return done.error().code == cairn::Code::not_found ? 10 : 1;
  }
  return 0;
}
