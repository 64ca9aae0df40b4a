// cairn: everything a person types. The commands are in the table that command.h declares.

#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <map>
#include <set>

#include "cairn/home.h"
#include "tools/command.h"

namespace {

using namespace cairn::tools;

// What works on snapshots, which may be in another volume than `backups`.
const std::set<std::string> kOnSnapshots = {"backup", "snapshots", "restore", "forget",  "tag",   "find",
                                            "diff",   "stats",     "dump",    "rewrite", "copy",  "undelete",
                                            "ls",     "cat",       "get",     "stat",    "repair"};

struct Declared {
  CLI::App* app;
  std::function<int(Context&)> run;
};

void add_common(CLI::App& app, Context& context, std::string& home) {
  app.add_option("--home", home,
                 "home directory: one device in one pool (default: $CAIRN_HOME, else $XDG_DATA_HOME/cairn)")
      ->type_name("DIR");
  app.add_flag("--json", context.output.json, "print JSON");
  app.add_flag("-q,--quiet", context.output.quiet, "say only what went wrong");
  app.add_flag("-v,--verbose", context.output.verbose, "say more");
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app(
      "Cairn pools the idle disk space of its members' machines: encrypted here, erasure-coded, spread over peers.",
      "cairn");
  app.set_version_flag("--version", std::string("cairn ") + cairn::kVersion);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);

  Context context;
  std::string home;
  std::vector<Declared> declared;
  std::map<std::string, CLI::App*> groups;  // "store" of "store add"
  for (auto commands : {pool_commands(), member_commands(), hosting_commands(), volume_commands(), file_commands(),
                        drive_commands(), backup_commands(), snapshot_commands(), check_commands(), prune_commands(),
                        rebalance_commands(), demo_commands(), generate_commands()}) {
    for (Command& command : commands) {
      CLI::App* parent = &app;
      std::string name = command.name;
      if (const size_t space = name.find(' '); space != std::string::npos) {
        const std::string group = name.substr(0, space);
        name = name.substr(space + 1);
        auto& place = groups[group];
        if (place == nullptr) {
          place = app.add_subcommand(group, fmt::format("commands on {}s: see cairn {} --help", group, group));
          place->require_subcommand(1);
        }
        parent = place;
      }
      CLI::App* sub = parent->add_subcommand(name, command.summary);
      sub->footer("Example:\n  " + command.example);
      auto run = command.declare(*sub);
      // An option that may be repeated takes one word each time, not the paths that stand behind it.
      for (CLI::Option* option : sub->get_options()) {
        if (!option->get_positional()) option->allow_extra_args(false);
      }
      add_common(*sub, context, home);
      if (kOnSnapshots.contains(command.name))
        sub->add_option("-r,--volume", context.backups, "the volume that the snapshots are in")
            ->type_name("NAME")
            ->capture_default_str();
      declared.push_back({sub, [run = std::move(run), full = command.name](Context& c) {
                            c.output.command = full;
                            return run(c);
                          }});
    }
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kDone : kUsage;
  }
  context.home = cairn::resolve_home(home);
  for (Declared& command : declared) {
    if (!command.app->parsed()) continue;
    const int code = command.run(context);
    if (std::fflush(stdout) != 0) output_error = errno;
    const bool written = output_error == 0 && std::ferror(stdout) == 0;
    if (written || code != kDone) return code;
    // Who read from a pipe has seen enough and gone: not worth a word.
    if (output_error != EPIPE) std::fputs("cairn: not all that was to be said could be written\n", stderr);
    return kFailed;
  }
  return kUsage;
}
