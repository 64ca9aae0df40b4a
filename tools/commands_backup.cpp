// backup and snapshots: restic's names, letters and meanings.

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "tools/command.h"
#include "tools/file_text.h"
#include "tools/profiles.h"

extern char** environ;

namespace cairn::tools {

namespace {

// A command whose output is backed up; an end with an error is an error of reading.
class PipedCommand {
 public:
  Status start(std::vector<std::string> words) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail(Code::io, std::string("no pipe: ") + std::strerror(errno));
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const int error = ::posix_spawnp(&pid_, arguments[0], &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    output_ = ends[0];
    name_ = words[0];
    if (error != 0) return fail(Code::io, "cannot run '" + name_ + "': " + std::strerror(error));
    return {};
  }
  ~PipedCommand() {
    if (output_ >= 0) ::close(output_);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  }
  Result<size_t> read(void* into, size_t size) {
    for (;;) {
      const ssize_t got = ::read(output_, into, size);
      if (got > 0) return static_cast<size_t>(got);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail(Code::io, "cannot read from '" + name_ + "': " + std::strerror(errno));
      break;
    }
    int how = 0;
    if (pid_ > 0 && ::waitpid(std::exchange(pid_, -1), &how, 0) > 0 && how != 0)
      return fail(Code::io, fmt::format("'{}' ended with {}", name_,
                                        WIFEXITED(how) ? fmt::format("exit code {}", WEXITSTATUS(how))
                                                       : fmt::format("signal {}", WTERMSIG(how))));
    return 0;
  }

 private:
  std::string name_;
  pid_t pid_ = -1;
  int output_ = -1;
};

Result<size_t> read_stdin(void* into, size_t size) {
  for (;;) {
    const ssize_t got = ::read(STDIN_FILENO, into, size);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) return fail(Code::io, std::string("cannot read standard input: ") + std::strerror(errno));
  }
}

// "2026-11-23 09:15:00" on the local clock, RFC 3339 in UTC, or "now".
Result<std::optional<WallTime>> parse_when(const std::string& text) {
  if (text.empty() || text == "now") return std::optional<WallTime>();
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%d %H:%M:%S", &parts);
  if (end == nullptr || *end != '\0') {
    auto time = parse_time(text);
    if (!time) return fail(Code::bad_input, "'" + text + "' is not a time (use for instance 2026-11-23 09:15:00)");
    return std::optional(*time);
  }
  parts.tm_isdst = -1;
  return std::optional(static_cast<WallTime>(::mktime(&parts)) * 1'000'000'000);
}

// What -v says of each entry.
std::function<void(const std::string&, const std::string&, uint64_t)> item_printer(const Output& output) {
  return [&output](const std::string& path, const std::string& what, uint64_t size) {
    if (output.json) {
      Json object = {{"message_type", "verbose_status"}, {"action", what}};
      put_path(object, "item", path);
      object["data_size"] = size;
      output.emit(object);
    } else if (what != "unchanged") {
      emit_text("{:<9} {}\n", what, printable(path));
    }
  };
}

int finish_backup(const Context& context, const Result<BackupReport>& report, bool dry_run, bool wait_placed) {
  if (!report) return context.output.fail("", report.error());
  const SnapshotSummary& summary = report->snapshot.summary;
  if (context.output.json) {
    Json object = {{"message_type", "summary"}};
    if (dry_run) object["dry_run"] = true;
    object.update(summary_json(summary));
    object["total_duration"] = report->seconds;
    if (report->saved) object["snapshot_id"] = report->snapshot.id;
    object["error_count"] = report->errors;
    object["resumed_files"] = report->resumed_files;
    object["packs_below_goal"] = report->packs_below_goal;
    object["bytes_sent"] = report->bytes_sent;
    object["bytes_received"] = report->bytes_received;
    context.output.emit(object);
  } else {
    context.output.say(fmt::format("Files:       {:5} new, {:5} changed, {:5} unmodified", summary.files_new,
                                   summary.files_changed, summary.files_unmodified));
    context.output.say(fmt::format("Dirs:        {:5} new, {:5} changed, {:5} unmodified", summary.dirs_new,
                                   summary.dirs_changed, summary.dirs_unmodified));
    context.output.say(fmt::format("{} to the pool: {} ({} stored)", dry_run ? "Would be added" : "Added",
                                   format_size(summary.data_added), format_size(summary.data_added_packed)));
    context.output.say(fmt::format("processed {} files, {} in {}", summary.total_files_processed,
                                   format_size(summary.total_bytes_processed),
                                   format_duration(Duration(static_cast<int64_t>(report->seconds * 1e9)))));
    if (report->resumed_files > 0)
      context.output.say(fmt::format("went on from a partial snapshot, which had {} files", report->resumed_files));
    if (report->packs_below_goal > 0)
      context.output.say(fmt::format("{} packs are below their redundancy goal", report->packs_below_goal));
    if (report->errors > 0) context.output.say(fmt::format("{} entries could NOT be read", report->errors));
    if (report->saved) {
      context.output.say(fmt::format("snapshot {} saved", report->snapshot.id.substr(0, 8)));
    } else if (!dry_run) {
      context.output.say("nothing has changed, no snapshot was made");
    }
  }
  if (report->errors > 0) return kPartly;
  if (wait_placed && report->packs_below_goal > 0) return kBelowGoal;
  return kDone;
}

struct BackupFlags {
  BackupOptions options;
  std::string when, wait;
  bool from_stdin = false, from_command = false;
  std::string larger_than_text;
  std::string profile, max_age;
  bool status = false;
};

void declare_backup(CLI::App& app, BackupFlags& flags) {
  BackupOptions& options = flags.options;
  app.add_option("paths", options.paths, "files and folders (or, with --stdin-from-command, a command and its words)");
  app.add_option("--profile", flags.profile, "take options from this profile of HOME/profiles.toml, see below")
      ->type_name("NAME");
  app.add_flag("--status", flags.status,
               "back up nothing, say how old the last snapshot of each set is; exit 3 when one is too old");
  app.add_option("--max-age", flags.max_age, "with --status: what is too old where a profile does not say (e.g. 26h)")
      ->check(duration_text());
  app.add_option("-e,--exclude", options.excludes, "leave out what fits the pattern (may be repeated)");
  app.add_option("--iexclude", options.iexcludes, "the same, whatever the case of its letters");
  app.add_option("--exclude-file", options.exclude_files, "a file with a pattern on each line");
  app.add_option("--iexclude-file", options.iexclude_files, "the same, whatever the case");
  app.add_flag("--exclude-caches", options.exclude_caches, "leave out what is in folders with a CACHEDIR.TAG");
  app.add_option("--exclude-if-present", options.exclude_if_present,
                 "NAME[:HEADER]: leave out what is in folders that hold such a file");
  app.add_option("--exclude-larger-than", flags.larger_than_text, "leave out files larger than this")
      ->check(size_text());
  app.add_flag("-x,--one-file-system", options.one_file_system, "stay on the file systems of what is named");
  app.add_option("--files-from", options.files_from, "a file with more paths, as patterns of the shell");
  app.add_option("--files-from-verbatim", options.files_from_verbatim, "a file with a path on each line");
  app.add_option("--files-from-raw", options.files_from_raw, "a file with paths that end with NUL");
  app.add_flag("--stdin", flags.from_stdin, "back up standard input");
  app.add_flag("--stdin-from-command", flags.from_command, "back up what a command prints; fails when that fails");
  app.add_option("--stdin-filename", options.stdin_filename, "what it is called")->capture_default_str();
  app.add_option("--tag", options.tags, "tags of the snapshot: a,b (may be repeated)");
  app.add_option("-H,--host", options.host, "instead of this machine's name");
  app.add_option("--set", options.set, "the backup set that it belongs to");
  app.add_option("--parent", options.parent,
                 "compare with this snapshot (default: the last one of the same host and paths)");
  app.add_flag("-f,--force", options.force, "read every file anew");
  app.add_flag("--ignore-ctime", options.ignore_ctime, "a file with another ctime may be unchanged");
  app.add_flag("--ignore-inode", options.ignore_inode, "a file with another inode number or ctime may be unchanged");
  app.add_flag("-n,--dry-run", options.dry_run, "only say what would be done");
  app.add_flag("--skip-if-unchanged", options.skip_if_unchanged, "make no snapshot when nothing has changed");
  app.add_option("--time", flags.when, "of the snapshot, for instance '2026-11-23 09:15:00' (default: now)");
  app.add_option("--wait", flags.wait, "placed: return once every pack is at its redundancy goal (else exit 16)")
      ->check(CLI::IsMember({"placed"}));
}

// One row of `backup --status`.
struct SetStatus {
  std::string name;
  bool from_profile = false;
  std::optional<SnapshotReport> last;
  std::optional<Duration> max_age;

  Duration age(WallTime now) const { return Duration(last ? now - last->time : 0); }
  bool stale(WallTime now) const { return max_age && (!last || age(now) > *max_age); }
};

std::vector<SetStatus> sets_of(const std::vector<Profile>& profiles, const std::vector<SnapshotReport>& snapshots,
                               std::optional<Duration> max_age) {
  std::vector<SetStatus> sets;
  for (const Profile& profile : profiles)
    sets.push_back({profile.set(), true, std::nullopt, profile.max_age ? profile.max_age : max_age});
  for (const SnapshotReport& one : snapshots) {  // oldest first
    if (one.partial) continue;
    std::string name = one.set;
    if (name.empty()) {
      name = one.host + ":";
      for (const std::string& path : one.paths) name += (name.ends_with(':') ? "" : ",") + path;
    }
    auto at = std::ranges::find(sets, name, &SetStatus::name);
    if (at == sets.end()) at = sets.insert(sets.end(), {name, false, std::nullopt, max_age});
    if (!at->last || one.time >= at->last->time) at->last = one;
  }
  return sets;
}

int backup_status(Context& context, const BackupFlags& flags) {
  auto profiles = read_profiles(context.home);
  if (!profiles) return context.output.fail("", profiles.error());
  if (!flags.profile.empty()) {
    std::erase_if(*profiles, [&](const Profile& profile) { return profile.name != flags.profile; });
    if (auto found = read_profile(context.home, flags.profile); !found)
      return context.output.fail(flags.profile, found.error());
  }
  std::optional<Duration> max_age;
  if (!flags.max_age.empty()) max_age = *parse_duration(flags.max_age);
  int code = kDone;
  Client* client = context.client(code);
  if (client == nullptr) return code;
  auto snapshots = Backups(*client).snapshots({});
  if (!snapshots && snapshots.error().code != Code::not_found) return context.output.fail("", snapshots.error());
  auto sets = sets_of(*profiles, snapshots ? *snapshots : std::vector<SnapshotReport>(), max_age);
  if (!flags.profile.empty()) std::erase_if(sets, [](const SetStatus& set) { return !set.from_profile; });
  const auto now = static_cast<WallTime>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count());
  Json list = Json::array();
  if (!context.output.json)
    context.output.say(
        fmt::format("{:<24}  {:<20}  {:<10}  {:<10}  {}", "Set", "Last snapshot", "Age", "May be", "State"));
  for (const SetStatus& set : sets) {
    const char* state = !set.last ? "never" : set.stale(now) ? "stale" : "ok";
    if (set.stale(now)) code = kPartly;
    if (context.output.json) {
      Json object = {{"state", state}, {"stale", set.stale(now)}};
      put_path(object, "set", set.name);
      if (set.last) {
        object["snapshot_id"] = set.last->id;
        object["time"] = format_time(set.last->time);
        object["age_seconds"] = std::chrono::duration_cast<std::chrono::seconds>(set.age(now)).count();
      }
      if (set.max_age)
        object["max_age_seconds"] = std::chrono::duration_cast<std::chrono::seconds>(*set.max_age).count();
      list.push_back(std::move(object));
    } else {
      context.output.say(fmt::format(
          "{:<24}  {:<20}  {:<10}  {:<10}  {}", printable(set.name), set.last ? format_time(set.last->time) : "-",
          set.last ? format_duration(set.age(now)) : "-", set.max_age ? format_duration(*set.max_age) : "any", state));
    }
  }
  if (context.output.json)
    context.output.emit({{"message_type", "summary"}, {"sets", list}, {"stale", code == kPartly}});
  return code;
}

// What the profile has forgotten after its backup.
int forget_after(const Context& context, Client& client, const Profile& profile, const SnapshotReport& snapshot) {
  if (profile.keep.empty()) return kDone;
  ForgetOptions options;
  options.filter = {.hosts = {snapshot.host}, .tags = {}, .paths = snapshot.paths};
  options.keep = profile.keep;
  auto report = Backups(client).forget(options);
  if (!report) return context.output.fail("forget of profile " + profile.name, report.error());
  context.output.say(fmt::format("forgot {} older snapshots", report->removed.size()));
  return kDone;
}

int run_backup(Context& context, BackupFlags flags, const Profile* profile) {
  BackupOptions& options = flags.options;
  auto when = parse_when(flags.when);
  if (!when) return context.output.fail(flags.when, when.error());
  options.time = *when;
  if (!flags.larger_than_text.empty()) options.exclude_larger_than = *parse_size(flags.larger_than_text);
  options.ignore_ctime = options.ignore_ctime || options.ignore_inode;  // as in restic
  PipedCommand command;
  if (flags.from_command) {
    if (options.paths.empty())
      return context.output.fail("", {Code::bad_input, "--stdin-from-command needs a command"});
    if (auto started = command.start(options.paths); !started) return context.output.fail("", started.error());
    options.stdin_bytes = [&command](void* into, size_t size) { return command.read(into, size); };
  } else if (flags.from_stdin) {
    if (!options.paths.empty())
      return context.output.fail("", {Code::bad_input, "--stdin and paths do not go together"});
    options.stdin_bytes = read_stdin;
  }
  int code = kDone;
  Client* client = context.client(code);
  if (client == nullptr) return code;
  const Output& output = context.output;
  options.on_error = [&output](const std::string& path, const Error& error) {
    if (error.code == Code::conflict && !output.json) {
      output.warn("'" + path + "': " + error.context);
    } else {
      output.file_error(path, error);
    }
  };
  if (output.verbose) options.on_item = item_printer(output);
  Result<BackupReport> report;
  {
    ProgressLine line(output, true);
    options.on_progress = line.callback();
    report = Backups(*client).backup(options);
  }
  code = finish_backup(context, report, options.dry_run, !flags.wait.empty());
  if (profile != nullptr && report && report->saved && !options.dry_run) {
    if (const int forgot = forget_after(context, *client, *profile, report->snapshot); forgot != kDone) return forgot;
  }
  return code;
}

Command backup_command() {
  return {
      "backup", "make a snapshot of files and folders",
      "cairn backup ~/Documents --exclude '*.o' --tag work\n  mysqldump shop | cairn backup --stdin --stdin-filename "
      "shop.sql\n"
      "  cairn backup --profile home                # with HOME/profiles.toml:\n"
      "    [home]\n"
      "    paths = [\"/home/u\"]\n"
      "    exclude = [\"*.o\", \"/home/u/tmp\"]         # any long option of this command\n"
      "    one-file-system = true\n"
      "    max-age = \"26h\"                         # what --status calls too old\n"
      "    [home.forget]                           # after each backup, of its host and paths\n"
      "    keep-daily = 7\n"
      "  cairn backup --status                      # exit 3: a set is too old\n"
      "  systemctl --user enable --now cairn-backup@home.timer",
      [](CLI::App& app) {
        auto flags = std::make_shared<BackupFlags>();
        declare_backup(app, *flags);
        return [flags, &app](Context& context) {
          if (flags->status) return backup_status(context, *flags);
          if (flags->profile.empty()) return run_backup(context, *flags, nullptr);
          auto profile = read_profile(context.home, flags->profile);
          if (!profile) return context.output.fail(flags->profile, profile.error());
          if (auto applied = apply_profile(*profile, app); !applied)
            return context.output.fail(flags->profile, applied.error());
          return run_backup(context, *flags, &*profile);
        };
      }};
}

Command snapshots_command() {
  return {"snapshots", "list the snapshots", "cairn snapshots --host laptop\n  cairn snapshots latest --json",
          [](CLI::App& app) {
            struct Flags {
              std::vector<std::string> names;
              SnapshotFilter filter;
              uint64_t latest = 0;
            };
            auto flags = std::make_shared<Flags>();
            app.add_option("snapshots", flags->names, "only these: the first digits of their IDs, or latest");
            declare_filter(app, flags->filter);
            app.add_option("--latest", flags->latest, "only the last so many of each host and paths");
            return [=](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto found = Backups(*client).snapshots(flags->filter, flags->names);
              if (!found) return context.output.fail("", found.error());
              if (flags->latest > 0) {
                std::map<std::pair<std::string, std::vector<std::string>>, uint64_t> seen;
                std::vector<SnapshotReport> last;
                for (auto one = found->rbegin(); one != found->rend(); ++one) {
                  if (++seen[{one->host, one->paths}] <= flags->latest) last.insert(last.begin(), *one);
                }
                *found = std::move(last);
              }
              if (context.output.json) {
                Json list = Json::array();
                for (const SnapshotReport& one : *found) list.push_back(snapshot_json(one));
                context.output.emit(list);
              } else {
                print_snapshots(*found);
              }
              return static_cast<int>(kDone);
            };
          }};
}

int finish_restore(const Context& context, const Result<RestoreReport>& report, bool dry_run) {
  if (!report) return context.output.fail("", report.error());
  if (context.output.json) {
    Json object = {{"message_type", "summary"},
                   {"seconds_elapsed", static_cast<uint64_t>(report->seconds)},
                   {"total_files", report->files},
                   {"files_restored", report->files_restored},
                   {"files_skipped", report->files_skipped},
                   {"files_deleted", report->files_deleted},
                   {"total_bytes", report->bytes},
                   {"bytes_restored", report->bytes_restored},
                   {"bytes_skipped", report->bytes_skipped}};
    if (dry_run) object["dry_run"] = true;
    object["snapshot_id"] = report->snapshot.id;
    object["dirs_restored"] = report->directories;
    object["files_verified"] = report->files_verified;
    object["error_count"] = report->failed;
    object["resumed_bytes"] = report->resumed_bytes;
    object["requests"] = report->requests;
    object["bytes_received"] = report->bytes_received;
    context.output.emit(object);
  } else {
    std::string line =
        fmt::format("{} {} files and folders ({}) of snapshot {} in {:.1f} s", dry_run ? "Would restore" : "Restored",
                    report->files_restored + report->directories, format_size(report->bytes_restored),
                    report->snapshot.id.substr(0, 8), report->seconds);
    if (report->files_skipped > 0)
      line += fmt::format("; skipped {} ({})", report->files_skipped, format_size(report->bytes_skipped));
    if (report->files_deleted > 0)
      line += fmt::format("; {} {}", dry_run ? "would delete" : "deleted", report->files_deleted);
    if (report->files_verified > 0) line += fmt::format("; verified {}", report->files_verified);
    if (report->failed > 0) line += fmt::format("; {} FAILED", report->failed);
    context.output.say(line);
  }
  return report->failed > 0 ? kPartly : kDone;
}

Command restore_command() {
  return {
      "restore", "bring a snapshot back into a folder",
      "cairn restore latest -t /tmp/back\n  cairn restore 9f2c01aa:/home/u -t /home/u -i '*.txt'", [](CLI::App& app) {
        struct Flags {
          RestoreOptions options;
          std::string overwrite = "always";
          bool sparse = false;
        };
        auto flags = std::make_shared<Flags>();
        RestoreOptions& options = flags->options;
        app.add_option("snapshot", options.snapshot, "an ID's first digits, or latest; with :/FOLDER a part of it")
            ->required();
        app.add_option("-t,--target", options.target, "the folder to restore into")->required();
        app.add_option("-i,--include", options.includes, "only what fits the pattern (may be repeated)");
        app.add_option("--iinclude", options.iincludes, "the same, whatever the case of its letters");
        app.add_option("-e,--exclude", options.excludes, "leave out what fits the pattern (may be repeated)");
        app.add_option("--iexclude", options.iexcludes, "the same, whatever the case of its letters");
        app.add_option("--overwrite", flags->overwrite, "files that are there: always, if-changed, if-newer, never")
            ->check(CLI::IsMember({"always", "if-changed", "if-newer", "never"}))
            ->capture_default_str();
        app.add_flag("--delete", options.remove, "remove what the snapshot has not, in the folders that it has");
        app.add_flag("--verify", options.verify, "read what was restored again and compare");
        app.add_flag("--sparse", flags->sparse, "holes come back as holes: always so");
        app.add_flag("--dry-run", options.dry_run, "only say what would be done");
        declare_filter(app, options.filter);
        return [=](Context& context) {
          RestoreOptions with = flags->options;
          using Overwrite = RestoreOptions::Overwrite;
          with.overwrite = flags->overwrite == "never"        ? Overwrite::never
                           : flags->overwrite == "if-newer"   ? Overwrite::if_newer
                           : flags->overwrite == "if-changed" ? Overwrite::if_changed
                                                              : Overwrite::always;
          int code = kDone;
          Client* client = context.client(code);
          if (client == nullptr) return code;
          const Output& output = context.output;
          with.on_error = [&output](const std::string& path, const Error& error) { output.file_error(path, error); };
          if (output.verbose) with.on_item = item_printer(output);
          Result<RestoreReport> report;
          {
            ProgressLine line(output, false);
            with.on_progress = line.callback();
            report = Backups(*client).restore(with);
          }
          return finish_restore(context, report, with.dry_run);
        };
      }};
}

}  // namespace

std::vector<Command> backup_commands() {
  return {backup_command(), snapshots_command(), restore_command()};
}

}  // namespace cairn::tools
