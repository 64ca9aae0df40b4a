#include "client/backup_run.h"

#include <glob.h>
#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "cairn/home.h"
#include "client/local_source.h"
#include "client/meter.h"
#include "client/snapshots.h"

namespace cairn::client {

namespace {

// One file that is read from a stream.
class StreamSource final : public backup::Source {
 public:
  StreamSource(std::string name, WallTime now, std::function<Result<size_t>(void*, size_t)> bytes)
      : name_(std::move(name)), now_(now), bytes_(std::move(bytes)) {}
  std::vector<backup::ScanEvent> next() override {
    if (std::exchange(told_, true)) return {};
    backup::ScanEvent event;
    event.entry = {.path = "/" + name_,
                   .name = name_,
                   .mode = 0600,
                   .uid = ::getuid(),
                   .gid = ::getgid(),
                   .mtime = now_,
                   .ctime = now_,
                   .atime = now_};
    return {event};
  }
  void complete(std::span<backup::Detail>) override {}
  Result<std::unique_ptr<backup::SourceFile>> open(const std::string&) override {
    return std::make_unique<Stream>(bytes_);
  }

 private:
  class Stream final : public backup::SourceFile {
   public:
    explicit Stream(std::function<Result<size_t>(void*, size_t)>& bytes) : bytes_(bytes) {}
    Result<std::optional<Piece>> read(uint64_t offset, size_t most) override {
      Buffer block(most);
      size_t have = 0;
      while (have < block.size()) {
        auto got = bytes_(block.data() + have, block.size() - have);
        if (!got) return fail(std::move(got.error()));
        if (*got == 0) break;
        have += *got;
      }
      if (have == 0) return std::optional<Piece>();
      return std::optional(Piece{.offset = offset, .bytes = block.slice(0, have), .hole = 0});
    }
    Result<bool> changed_since(const backup::SourceEntry&) override { return false; }

   private:
    std::function<Result<size_t>(void*, size_t)>& bytes_;
  };
  std::string name_;
  WallTime now_;
  std::function<Result<size_t>(void*, size_t)> bytes_;
  bool told_ = false;
};

Result<std::string> read_text(const std::string& path) {
  if (path == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Code::not_found, "cannot read '" + path + "'");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::string variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value != nullptr ? value : "";
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// What was named on the command line and in files.
Result<backup::Targets> targets_of(const BackupOptions& options) {
  std::error_code error;
  backup::Targets targets(std::filesystem::current_path(error).string());
  if (error) return fail(Code::io, "the current folder cannot be told: " + error.message());
  std::vector<std::string> paths = options.paths;
  for (const std::string& from : options.files_from) {
    auto text = read_text(from);
    if (!text) return fail(std::move(text.error()));
    for (const std::string& pattern : backup::parse_pattern_file(*text, [](const std::string& name) {
           return "$" + name;  // variables are for exclude files
         })) {
      glob_t found{};
      if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
        paths.insert(paths.end(), found.gl_pathv, found.gl_pathv + found.gl_pathc);
      } else {
        paths.push_back(pattern);  // nothing fits: it is named as missing
      }
      ::globfree(&found);
    }
  }
  const auto add_lists = [&](const std::vector<std::string>& lists, char separator) -> Status {
    for (const std::string& from : lists) {
      auto text = read_text(from);
      if (!text) return fail(std::move(text.error()));
      for (std::string& path : split(*text, separator)) paths.push_back(std::move(path));
    }
    return {};
  };
  CAIRN_TRY(add_lists(options.files_from_verbatim, '\n'));
  CAIRN_TRY(add_lists(options.files_from_raw, '\0'));
  for (const std::string& path : paths) CAIRN_TRY(targets.add(path));
  if (targets.empty()) return fail(Code::bad_input, "nothing to back up was named");
  return targets;
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

std::string user_name() {
  passwd entry{};
  passwd* found = nullptr;
  char buffer[4096];
  if (::getpwuid_r(::getuid(), &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr) return found->pw_name;
  return std::to_string(::getuid());
}

}  // namespace

Result<backup::Patterns> read_patterns(std::vector<std::string> given, const std::vector<std::string>& files,
                                       bool ignore_case, std::vector<std::string>& all) {
  for (const std::string& path : files) {
    auto text = read_text(path);
    if (!text) return fail(std::move(text.error()));
    auto more = backup::parse_pattern_file(*text, variable);
    given.insert(given.end(), more.begin(), more.end());
  }
  all.insert(all.end(), given.begin(), given.end());
  return backup::Patterns::parse(given, ignore_case);
}

env::Task<Result<BackupReport>> run_backup(Core& core, BackupOptions options) {
  const env::World world = core.world();
  backup::ArchiveOptions with;
  with.about.time = options.time.value_or(0);
  with.about.host = options.host.empty() ? host_name() : options.host;
  with.about.user = user_name();
  with.about.uid = ::getuid();
  with.about.gid = ::getgid();
  for (const std::string& list : options.tags) {
    for (std::string& tag : backup::parse_tag_list(list)) {
      if (!tag.empty() && std::ranges::find(with.about.tags, tag) == with.about.tags.end())
        with.about.tags.push_back(std::move(tag));
    }
  }
  with.about.set = options.set;
  with.about.program_version = std::string("cairn ") + kVersion;
  with.force = options.force;
  with.ignore_ctime = options.ignore_ctime;
  with.ignore_inode = options.ignore_inode;
  with.dry_run = options.dry_run;
  with.skip_if_unchanged = options.skip_if_unchanged;
  // For tests, which cannot wait so long.
  if (const std::string seconds = variable("CAIRN_CHECKPOINT_SECONDS"); !seconds.empty())
    with.checkpoint_period = std::chrono::seconds(std::atoi(seconds.c_str()));
  with.on_error = options.on_error;
  with.on_item = options.on_item;

  // What was named is looked at before the pool is: a slip of the pen is told at once.
  std::optional<backup::Targets> targets;
  std::unique_ptr<backup::Source> source;
  if (options.stdin_bytes) {
    while (options.stdin_filename.starts_with('/')) options.stdin_filename.erase(0, 1);
    source = std::make_unique<StreamSource>(options.stdin_filename, world.clock.wall_now(), options.stdin_bytes);
    with.about.paths = {"/" + options.stdin_filename};
    with.errors_end = true;
  } else {
    ScanRules rules;
    auto excludes = read_patterns(options.excludes, options.exclude_files, false, with.about.excludes);
    if (!excludes) co_return fail(std::move(excludes.error()));
    auto iexcludes = read_patterns(options.iexcludes, options.iexclude_files, true, with.about.excludes);
    if (!iexcludes) co_return fail(std::move(iexcludes.error()));
    rules.excludes = std::move(*excludes);
    rules.iexcludes = std::move(*iexcludes);
    rules.exclude_caches = options.exclude_caches;
    rules.one_file_system = options.one_file_system;
    rules.larger_than = options.exclude_larger_than;
    for (const std::string& text : options.exclude_if_present) {
      auto mark = parse_mark(text);
      if (!mark) co_return fail(std::move(mark.error()));
      rules.if_present.push_back(std::move(*mark));
    }
    auto named = targets_of(options);
    if (!named) co_return fail(std::move(named.error()));
    targets.emplace(std::move(*named));
    with.about.paths = targets->paths();
    source = make_local_source(*targets, std::move(rules));
  }

  auto backups = co_await open_backups(core, true);
  if (!backups) co_return fail(std::move(backups.error()));
  if (!options.parent.empty()) {
    auto parent =
        co_await find_snapshot(**backups, options.parent, {.hosts = {with.about.host}, .tags = {}, .paths = {}});
    if (!parent) co_return fail(std::move(parent.error()), "the parent snapshot");
    with.parent = parent->record.id;
  }
  Meter meter(world.clock, options.on_progress);
  with.on_progress = [&meter](const backup::ArchiveProgress& now) {
    meter.progress.files_done = now.files_done;
    meter.progress.bytes_done = now.bytes_done;
    meter.progress.bytes_safe = now.bytes_safe;
    meter.progress.current = now.current;
    meter.tick();
  };
  const peer::Traffic before = core.peers().traffic();
  backup::Archiver archiver(world, *(*backups)->volume, *source, std::move(with));
  auto result = co_await archiver.run();
  if (!result) co_return fail(std::move(result.error()));
  BackupReport report{.saved = result->saved, .errors = result->errors, .resumed_files = result->resumed_files};
  // The slots that the quorum did not wait for are finished now.
  report.packs_below_goal = co_await core.pool().settle();
  if (result->saved) co_await core.adapt_keepers(**backups);
  report.snapshot = report_of(result->record, {.name = {}, .created = 0, .details = {}, .root = result->tree});
  const peer::Traffic traffic = core.peers().traffic();
  report.bytes_sent = traffic.bytes_sent - before.bytes_sent;
  report.bytes_received = traffic.bytes_received - before.bytes_received;
  report.seconds = meter.seconds();
  co_return report;
}

}  // namespace cairn::client
