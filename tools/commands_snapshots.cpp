// forget, tag, rewrite, find, diff, stats, dump, unlock: restic's names, letters and meanings.

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "cairn/prune.h"
#include "tools/command.h"
#include "tools/file_text.h"

namespace cairn::tools {

namespace {

Json texts(const std::vector<std::string>& list) {
  Json array = Json::array();
  for (const std::string& text : list) array.push_back(is_utf8(text) ? text : printable(text));
  return array;
}

Json forget_json(const ForgetReport& report) {
  Json groups = Json::array();
  for (const ForgetReport::Group& group : report.groups) {
    Json keep = Json::array(), remove = Json::array(), reasons = Json::array();
    for (const ForgetReport::Kept& one : group.keep) {
      keep.push_back(snapshot_json(one.snapshot));
      reasons.push_back({{"snapshot", snapshot_json(one.snapshot)}, {"matches", texts(one.reasons)}});
    }
    for (const SnapshotReport& one : group.remove) remove.push_back(snapshot_json(one));
    groups.push_back({{"tags", texts(group.tags)},
                      {"host", is_utf8(group.host) ? group.host : printable(group.host)},
                      {"paths", texts(group.paths)},
                      {"keep", std::move(keep)},
                      {"remove", std::move(remove)},
                      {"reasons", std::move(reasons)}});
  }
  return groups;
}

void print_forget(const ForgetReport& report, bool dry_run) {
  for (const ForgetReport::Group& group : report.groups) {
    std::vector<std::string> by;
    if (!group.host.empty()) by.push_back("host " + printable(group.host));
    if (!group.tags.empty()) by.push_back(fmt::format("tags [{}]", fmt::join(group.tags, ", ")));
    if (!group.paths.empty()) by.push_back(fmt::format("paths [{}]", fmt::join(group.paths, ", ")));
    if (!by.empty()) emit_text("snapshots for ({}):\n", printable(fmt::format("{}", fmt::join(by, ", "))));
    emit_text("keep:\n");
    std::vector<SnapshotReport> kept;
    std::map<std::string, std::string> reasons;
    for (const ForgetReport::Kept& one : group.keep) {
      kept.push_back(one.snapshot);
      reasons[one.snapshot.id] = fmt::format("{}", fmt::join(one.reasons, ", "));
    }
    print_snapshots(kept, [&](const SnapshotReport& one) { return reasons[one.id]; });
    if (!group.remove.empty()) {
      emit_text("\n{}:\n", dry_run ? "would remove" : "remove");
      print_snapshots(group.remove);
    }
    emit_text("\n");
  }
  emit_text("{} {} snapshots\n", dry_run ? "would remove" : "removed", report.removed.size());
}

Command forget_command() {
  return {"forget", "remove snapshots by a policy, or by their IDs",
          "cairn forget --keep-daily 7 --keep-weekly 5 --keep-monthly 12 -n\n  cairn forget 9f2c01aa",
          [](CLI::App& app) {
            struct Flags {
              ForgetOptions options;
              std::vector<std::pair<std::string, std::vector<std::string>>> keep;
              bool prune = false;
            };
            auto flags = std::make_shared<Flags>();
            ForgetOptions& options = flags->options;
            app.add_option("snapshots", options.names, "these, whatever a policy says");
            struct Keep {
              const char* letter;
              const char* name;
              const char* what;
            };
            constexpr Keep kKeeps[] = {
                {"-l,", "keep-last", "the last N ('unlimited': all)"},
                {"-H,", "keep-hourly", "the last of each of the last N hours that have one"},
                {"-d,", "keep-daily", "the last of each of the last N days that have one"},
                {"-w,", "keep-weekly", "the last of each of the last N weeks that have one"},
                {"-m,", "keep-monthly", "the last of each of the last N months that have one"},
                {"-y,", "keep-yearly", "the last of each of the last N years that have one"},
                {"", "keep-within", "all newer than this before the newest, for instance 1y5m7d2h"},
                {"", "keep-within-hourly", "the last of each hour within this time"},
                {"", "keep-within-daily", "the last of each day within this time"},
                {"", "keep-within-weekly", "the last of each week within this time"},
                {"", "keep-within-monthly", "the last of each month within this time"},
                {"", "keep-within-yearly", "the last of each year within this time"},
                {"", "keep-tag", "all with these tags: a,b (may be repeated)"},
                {"", "keep-size",
                 "the newest, as long as what their runs have stored comes to no more, for instance 200G"}};
            flags->keep.reserve(std::size(kKeeps));
            for (const Keep& keep : kKeeps) {
              auto& place = flags->keep.emplace_back(keep.name, std::vector<std::string>());
              app.add_option(fmt::format("{}--{}", keep.letter, keep.name), place.second, keep.what);
            }
            app.add_option("--host", options.filter.hosts, "only snapshots of this host (may be repeated)");
            app.add_option("--tag", options.filter.tags, "only snapshots with these tags (may be repeated)");
            app.add_option("--path", options.filter.paths, "only snapshots of this path (may be repeated)");
            app.add_option("-g,--group-by", options.group_by, "each policy is for a group: host, paths, tags, or ''")
                ->capture_default_str();
            app.add_flag("-n,--dry-run", options.dry_run, "only say what would be done");
            app.add_flag("--prune", flags->prune, "then prune, when a snapshot was removed");
            return [=](Context& context) {
              ForgetOptions with = flags->options;
              for (const auto& [name, values] : flags->keep) {
                for (const std::string& value : values) with.keep.emplace_back(name, value);
              }
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto report = Backups(*client).forget(with);
              if (!report) return context.output.fail("", report.error());
              if (context.output.json) {
                context.output.emit(forget_json(*report));
              } else if (!context.output.quiet) {
                print_forget(*report, with.dry_run);
              }
              if (flags->prune && !report->removed.empty()) {
                auto pruned = prune(*client, {.volumes = {context.backups}, .dry_run = with.dry_run});
                if (!pruned) return context.output.fail("", pruned.error());
                if (!context.output.json) print_prune(context, *pruned, with.dry_run);
              }
              return static_cast<int>(kDone);
            };
          }};
}

Command tag_command() {
  return {"tag", "change snapshots' tags", "cairn tag --add keep latest", [](CLI::App& app) {
            struct Flags {
              TagOptions options;
              std::vector<std::string> set;
            };
            auto flags = std::make_shared<Flags>();
            app.add_option("snapshots", flags->options.names, "these; else all that pass the filters");
            app.add_option("--set", flags->set, "these tags in place of those that are there: a,b ('' for none)");
            app.add_option("--add", flags->options.add, "these too");
            app.add_option("--remove", flags->options.remove, "these no more");
            declare_filter(app, flags->options.filter);
            return [=](Context& context) {
              TagOptions with = flags->options;
              if (!flags->set.empty()) with.set = flags->set;
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto report = Backups(*client).tag(with);
              if (!report) return context.output.fail("", report.error());
              if (context.output.json) {
                for (const auto& [before, after] : report->changed)
                  context.output.emit(
                      {{"message_type", "changed"}, {"old_snapshot_id", before}, {"new_snapshot_id", after}});
                context.output.emit({{"message_type", "summary"}, {"changed_snapshots", report->changed.size()}});
              } else {
                context.output.say(fmt::format("changed the tags of {} snapshots", report->changed.size()));
              }
              return static_cast<int>(kDone);
            };
          }};
}

Command find_command() {
  return {
      "find", "find files in snapshots", "cairn find '*.docx' --snapshot latest", [](CLI::App& app) {
        struct Flags {
          FindOptions options;
          std::string oldest, newest;
          bool details = false;
        };
        auto flags = std::make_shared<Flags>();
        FindOptions& options = flags->options;
        app.add_option("patterns", options.patterns, "as for --exclude of backup")->required();
        app.add_option("-s,--snapshot", options.names, "only in these (may be repeated)");
        app.add_flag("-i,--ignore-case", options.ignore_case, "whatever the case of letters");
        app.add_flag("-l,--long", flags->details, "with mode, owner, size and time");
        app.add_option("-O,--oldest", flags->oldest, "modified then or later: 2026-11-23T09:15:00Z");
        app.add_option("-N,--newest", flags->newest, "modified then or earlier");
        declare_filter(app, options.filter);
        return [=](Context& context) {
          FindOptions with = flags->options;
          for (auto [text, into] : {std::pair(&flags->oldest, &with.oldest), std::pair(&flags->newest, &with.newest)}) {
            if (text->empty()) continue;
            auto time = parse_time(*text);
            if (!time) return context.output.fail(*text, time.error());
            *into = *time;
          }
          int code = kDone;
          Client* client = context.client(code);
          if (client == nullptr) return code;
          Json found = Json::array();
          std::string shown;  // the snapshot whose line stands above the last match
          std::string current;
          const auto head = [&](const SnapshotReport& snapshot) { current = snapshot.id; };
          auto done = Backups(*client).find(with, head, [&](const FileStatus& file) {
            if (context.output.json) {
              if (found.empty() || found.back()["snapshot"] != current)
                found.push_back({{"matches", Json::array()}, {"hits", 0}, {"snapshot", current}});
              Json match = file_json(file);
              match.erase("message_type");
              match.erase("struct_type");
              found.back()["matches"].push_back(std::move(match));
              found.back()["hits"] = found.back()["matches"].size();
              return true;
            }
            if (shown != current)
              emit_text("{}Found in snapshot {}\n", shown.empty() ? "" : "\n", current.substr(0, 8));
            shown = current;
            emit_text("{}\n", flags->details ? file_line(file, true) : printable(file.path));
            return std::ferror(stdout) == 0;
          });
          if (!done) return context.output.fail("", done.error());
          if (context.output.json) context.output.emit(found);
          return static_cast<int>(kDone);
        };
      }};
}

Json figures_json(const DiffFigures& figures) {
  return {{"files", figures.files},      {"dirs", figures.dirs}, {"others", figures.others},
          {"data_blobs", figures.blobs}, {"tree_blobs", 0},      {"bytes", figures.bytes}};
}

Command diff_command() {
  return {"diff", "what sets two snapshots apart", "cairn diff latest~1 latest", [](CLI::App& app) {
            struct Flags {
              std::string before, after;
              bool metadata = false;
            };
            auto flags = std::make_shared<Flags>();
            app.add_option("before", flags->before, "a snapshot, or a folder in it: ID:/FOLDER")->required();
            app.add_option("after", flags->after, "another one")->required();
            app.add_flag("--metadata", flags->metadata, "show changes of metadata (U) too");
            return [=](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto report =
                  Backups(*client).diff(flags->before, flags->after, flags->metadata, [&](const DiffChange& change) {
                    if (context.output.json) {
                      Json object = {{"message_type", "change"}};
                      put_path(object, "path", change.path);
                      object["modifier"] = change.modifier;
                      context.output.emit(object);
                    } else if (!context.output.quiet) {
                      emit_text("{:<4} {}\n", change.modifier, printable(change.path));
                    }
                    return std::ferror(stdout) == 0;
                  });
              if (!report) return context.output.fail("", report.error());
              const DiffFigures &added = report->added, &removed = report->removed;
              if (context.output.json) {
                context.output.emit({{"message_type", "statistics"},
                                     {"source_snapshot", report->before.id},
                                     {"target_snapshot", report->after.id},
                                     {"changed_files", report->changed_files},
                                     {"added", figures_json(added)},
                                     {"removed", figures_json(removed)}});
              } else {
                context.output.say(fmt::format("\nFiles:  {:5} new, {:5} removed, {:5} changed", added.files,
                                               removed.files, report->changed_files));
                context.output.say(fmt::format("Dirs:   {:5} new, {:5} removed", added.dirs, removed.dirs));
                context.output.say(fmt::format("Others: {:5} new, {:5} removed", added.others, removed.others));
                context.output.say(fmt::format("Chunks: {:5} new, {:5} removed", added.blobs, removed.blobs));
                context.output.say(
                    fmt::format("  Added:   {}\n  Removed: {}", format_size(added.bytes), format_size(removed.bytes)));
              }
              return static_cast<int>(kDone);
            };
          }};
}

Command stats_command() {
  return {"stats", "how much snapshots hold", "cairn stats latest --mode raw-data", [](CLI::App& app) {
            struct Flags {
              StatsOptions options;
              std::string mode = "restore-size";
            };
            auto flags = std::make_shared<Flags>();
            app.add_option("snapshots", flags->options.names, "these; else all that pass the filters");
            app.add_option(
                   "--mode", flags->mode,
                   "restore-size: what restores would write; files-by-contents: each content once; raw-data: what is "
                   "stored, before the erasure code")
                ->check(CLI::IsMember({"restore-size", "files-by-contents", "raw-data"}))
                ->capture_default_str();
            declare_filter(app, flags->options.filter);
            return [=](Context& context) {
              StatsOptions with = flags->options;
              using Mode = StatsOptions::Mode;
              with.mode = flags->mode == "raw-data"            ? Mode::raw_data
                          : flags->mode == "files-by-contents" ? Mode::files_by_contents
                                                               : Mode::restore_size;
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto report = Backups(*client).stats(with);
              if (!report) return context.output.fail("", report.error());
              const bool raw = with.mode == Mode::raw_data;
              if (context.output.json) {
                Json object = {{"total_size", report->size}};
                if (raw) {
                  object["total_uncompressed_size"] = report->uncompressed_size;
                  object["compression_ratio"] = report->size == 0 ? 1.0
                                                                  : static_cast<double>(report->uncompressed_size) /
                                                                        static_cast<double>(report->size);
                  object["total_blob_count"] = report->blobs;
                } else {
                  object["total_file_count"] = report->files;
                }
                object["snapshots_count"] = report->snapshots;
                context.output.emit(object);
              } else {
                context.output.say(fmt::format("Snapshots:  {}", report->snapshots));
                context.output.say(raw ? fmt::format("Chunks:     {}", report->blobs)
                                       : fmt::format("Files:      {}", report->files));
                context.output.say(fmt::format("Total size: {}", format_size(report->size)));
              }
              return static_cast<int>(kDone);
            };
          }};
}

Status write_all(int descriptor, const void* from, size_t size) {
  const char* at = static_cast<const char*>(from);
  while (size > 0) {
    const ssize_t put = ::write(descriptor, at, size);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail(Code::io, std::string("cannot write: ") + std::strerror(errno));
    at += put;
    size -= static_cast<size_t>(put);
  }
  return {};
}

Command dump_command() {
  return {"dump", "print a file of a snapshot, or a folder as a tar or zip archive",
          "cairn dump latest /etc | tar t\n  cairn dump latest /home/u/work --archive zip -t work.zip",
          [](CLI::App& app) {
            struct Flags {
              std::string snapshot, path, target, archive = "tar";
              SnapshotFilter filter;
            };
            auto flags = std::make_shared<Flags>();
            app.add_option("snapshot", flags->snapshot, "an ID's first digits, or latest")->required();
            app.add_option("path", flags->path, "a file or folder in it")->required();
            app.add_option("-t,--target", flags->target, "a file to write to (default: standard output)");
            app.add_option("-a,--archive", flags->archive, "of folders: tar or zip")
                ->check(CLI::IsMember({"tar", "zip"}))
                ->capture_default_str();
            declare_filter(app, flags->filter);
            return [=](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              int descriptor = STDOUT_FILENO;
              const std::string part = flags->target + ".part";  // whole, or not under its name
              if (!flags->target.empty()) {
                descriptor = ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
                if (descriptor < 0) return context.output.fail(flags->target, {Code::io, std::strerror(errno)});
              }
              auto done = Backups(*client).dump(
                  flags->snapshot, flags->filter, flags->path, flags->archive == "zip",
                  [descriptor](const void* from, size_t size) { return write_all(descriptor, from, size); });
              if (!flags->target.empty()) {
                if (::close(descriptor) != 0 && done) done = fail(Code::io, std::strerror(errno));
                if (done && ::rename(part.c_str(), flags->target.c_str()) != 0)
                  done = fail(Code::io, std::strerror(errno));
                if (!done) ::unlink(part.c_str());
              }
              if (!done) return context.output.fail(flags->path, done.error());
              return static_cast<int>(kDone);
            };
          }};
}

Command rewrite_command() {
  return {"rewrite", "take out of snapshots what should not be in them",
          "cairn rewrite --exclude '*.iso' --forget\n  cairn rewrite -n --exclude /home/u/secret latest",
          [](CLI::App& app) {
            struct Flags {
              RewriteOptions options;
              std::string new_time;
            };
            auto flags = std::make_shared<Flags>();
            RewriteOptions& options = flags->options;
            app.add_option("snapshots", options.names, "these; else all that pass the filters");
            app.add_option("-e,--exclude", options.excludes, "take out what fits the pattern (may be repeated)");
            app.add_option("--iexclude", options.iexcludes, "the same, whatever the case of its letters");
            app.add_option("--exclude-file", options.exclude_files, "a file with a pattern on each line");
            app.add_option("--iexclude-file", options.iexclude_files, "the same, whatever the case");
            app.add_option("--new-host", options.new_host, "another host");
            app.add_option("--new-time", flags->new_time, "another time: 2026-11-23T09:15:00Z");
            app.add_flag("--forget", options.forget, "in place of the old ones; else both are there");
            app.add_flag("-n,--dry-run", options.dry_run, "only say what would be done");
            declare_filter(app, options.filter);
            return [=](Context& context) {
              RewriteOptions with = flags->options;
              if (!flags->new_time.empty()) {
                auto time = parse_time(flags->new_time);
                if (!time) return context.output.fail(flags->new_time, time.error());
                with.new_time = *time;
              }
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto report = Backups(*client).rewrite(with);
              if (!report) return context.output.fail("", report.error());
              if (context.output.json) {
                for (const auto& [before, after] : report->changed) {
                  Json object = {{"message_type", "changed"}, {"old_snapshot_id", before}};
                  if (!after.empty()) object["new_snapshot_id"] = after;
                  context.output.emit(object);
                }
                context.output.emit({{"message_type", "summary"},
                                     {"changed_snapshots", report->changed.size()},
                                     {"removed_files", report->removed_files},
                                     {"removed_bytes", report->removed_bytes}});
              } else {
                context.output.say(fmt::format("{} {} snapshots without {} files ({})",
                                               with.dry_run ? "would rewrite" : "rewrote", report->changed.size(),
                                               report->removed_files, format_size(report->removed_bytes)));
              }
              return static_cast<int>(kDone);
            };
          }};
}

Command copy_command() {
  return {"copy", "copy snapshots into another volume, of this pool or of another one",
          "cairn copy --volume offsite                       # all of the volume `backups` that are not there yet\n"
          "  cairn copy --from-home ~/other-pool --host laptop # from another pool into `backups` of this one",
          [](CLI::App& app) {
            struct Flags {
              CopyOptions options;
              std::string from_volume = "backups", from_home;
            };
            auto flags = std::make_shared<Flags>();
            app.add_option("snapshots", flags->options.names, "these; else all that pass the filters");
            app.add_option("--from-volume", flags->from_volume, "the volume that they are in now")
                ->type_name("NAME")
                ->capture_default_str();
            app.add_option("--from-home", flags->from_home, "the home of the pool that they are in (default: this one)")
                ->type_name("DIR");
            app.add_flag("-n,--dry-run", flags->options.dry_run, "only say what would be copied");
            declare_filter(app, flags->options.filter);
            return [=](Context& context) {
              const Output& output = context.output;
              const std::string home = flags->from_home.empty() ? context.home : flags->from_home;
              if (home == context.home && flags->from_volume == context.backups)
                return output.fail("", {Code::bad_input,
                                        "a volume is not copied into itself: say --volume, "
                                        "--from-volume or --from-home"});
              auto from = Client::open({.home = home, .log_level = "error", .backups = flags->from_volume});
              if (!from) return output.fail(home, from.error());
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              CopyOptions with = flags->options;
              with.on_begin = [&](const SnapshotReport& one) {
                if (!output.json)
                  output.say(fmt::format("snapshot {} of {} at {} by {}@{}", one.id.substr(0, 8),
                                         printable(fmt::format("[{}]", fmt::join(one.paths, ", "))),
                                         format_time(one.time), printable(one.user), printable(one.host)));
              };
              with.on_done = [&](const SnapshotReport& one, const std::string& copy, bool skipped) {
                if (output.json) {
                  Json object = {{"message_type", skipped ? "skipped" : "copied"}, {"source_snapshot_id", one.id}};
                  if (!copy.empty()) object["snapshot_id"] = copy;
                  output.emit(object);
                } else if (skipped) {
                  output.say(fmt::format("skipping snapshot {}, it was copied to {} already", one.id.substr(0, 8),
                                         copy.substr(0, 8)));
                } else if (!copy.empty()) {
                  output.say(fmt::format("  snapshot {} saved", copy.substr(0, 8)));
                }
              };
              Result<CopyReport> report;
              {
                ProgressLine line(output, true);
                with.on_progress = line.callback();
                report = Backups(*client).copy(**from, with);
              }
              if (!report) return output.fail("", report.error());
              if (output.json) {
                Json object = {{"message_type", "summary"},
                               {"copied_snapshots", report->copied},
                               {"skipped_snapshots", report->skipped},
                               {"data_added", report->summary.data_added},
                               {"data_added_packed", report->summary.data_added_packed},
                               {"total_files_processed", report->summary.total_files_processed},
                               {"total_bytes_processed", report->summary.total_bytes_processed},
                               {"packs_below_goal", report->packs_below_goal},
                               {"total_duration", report->seconds}};
                if (with.dry_run) object["dry_run"] = true;
                output.emit(object);
              } else {
                output.say(fmt::format("{} {} snapshots, {} were there already", with.dry_run ? "would copy" : "copied",
                                       report->copied, report->skipped));
              }
              return static_cast<int>(kDone);
            };
          }};
}

Command unlock_command() {
  return {"unlock", "nothing: there are no locks", "cairn unlock", [](CLI::App&) {
            return [](Context& context) {
              context.output.say("there are no locks to remove: backups, restores and forget run side by side");
              return static_cast<int>(kDone);
            };
          }};
}

}  // namespace

std::vector<Command> snapshot_commands() {
  return {forget_command(), tag_command(),     find_command(), diff_command(),  stats_command(),
          dump_command(),   rewrite_command(), copy_command(), unlock_command()};
}

}  // namespace cairn::tools
