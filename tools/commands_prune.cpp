// prune, undelete: giving space back, and having back what was forgotten.

#include <fmt/format.h>

#include "cairn/prune.h"
#include "tools/command.h"
#include "tools/file_text.h"

namespace cairn::tools {

namespace {

Json volume_json(const PruneReport::Volume& volume) {
  return {{"volume", volume.name},
          {"packs", volume.packs},
          {"bytes", volume.bytes},
          {"removed_packs", volume.removed_packs},
          {"removed_bytes", volume.removed_bytes},
          {"told_packs", volume.told_packs},
          {"repacked_packs", volume.repacked_packs},
          {"repacked_bytes", volume.repacked_bytes},
          {"recoded_packs", volume.recoded_packs},
          {"unused_bytes", volume.unused_bytes},
          {"waiting_packs", volume.waiting_packs},
          {"forgotten_snapshots", volume.forgotten_snapshots}};
}

Command prune_command() {
  return {
      "prune", "give back the space of what nothing refers to any more",
      "cairn prune\n  cairn prune -n main\n  cairn prune --max-unused 0", [](CLI::App& app) {
        struct Flags {
          PruneOptions options;
          std::string max_repack, min_age;
        };
        auto flags = std::make_shared<Flags>();
        PruneOptions& options = flags->options;
        app.add_option("volumes", options.volumes, "these (default: all of yours)");
        app.add_flag("-n,--dry-run", options.dry_run, "only say what would be done");
        app.add_option("--max-unused", options.max_unused,
                       "may stay unused inside of packs that are needed: a share, a size, or 'unlimited'")
            ->capture_default_str();
        app.add_option("--max-repack-size", flags->max_repack, "copy at most so much out of them")->check(size_text());
        app.add_flag("--repack-small", options.repack_small, "put all small packs together");
        app.add_option("--min-age", flags->min_age, "snapshots forgotten a shorter time ago keep their data")
            ->check(duration_text());
        return [=](Context& context) {
          PruneOptions with = flags->options;
          if (!flags->max_repack.empty()) with.max_repack_size = *parse_size(flags->max_repack);
          if (!flags->min_age.empty()) with.min_age = *parse_duration(flags->min_age);
          int code = kDone;
          Client* client = context.client(code);
          if (client == nullptr) return code;
          if (context.output.json && !context.output.quiet) {
            with.on_progress = [&](const PruneProgress& progress) {
              context.output.emit({{"message_type", "status"},
                                   {"volume", progress.volume},
                                   {"phase", progress.phase},
                                   {"done", progress.done},
                                   {"total", progress.total}});
            };
          }
          auto report = prune(*client, with);
          if (!report) return context.output.fail("", report.error());
          if (context.output.json) {
            Json volumes = Json::array();
            for (const auto& volume : report->volumes) volumes.push_back(volume_json(volume));
            context.output.emit(
                {{"message_type", "summary"}, {"dry_run", with.dry_run}, {"volumes", std::move(volumes)}});
            return static_cast<int>(kDone);
          }
          print_prune(context, *report, with.dry_run);
          return static_cast<int>(kDone);
        };
      }};
}

Command undelete_command() {
  return {"undelete", "have back snapshots that were forgotten, until they are gone",
          "cairn undelete\n  cairn undelete 9f2c01aa", [](CLI::App& app) {
            auto names = std::make_shared<std::vector<std::string>>();
            app.add_option("snapshots", *names, "their IDs' first digits; none: lists what can be had back");
            return [=](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              if (names->empty()) {
                auto list = forgotten_snapshots(*client);
                if (!list) return context.output.fail("", list.error());
                if (context.output.json) {
                  Json array = Json::array();
                  for (const ForgottenReport& one : *list) {
                    Json object = snapshot_json(one.snapshot);
                    object["forgotten"] = format_time(one.forgotten);
                    object["pruned"] = one.pruned;
                    array.push_back(std::move(object));
                  }
                  context.output.emit(array);
                } else {
                  std::vector<SnapshotReport> snapshots;
                  std::map<std::string, std::string> notes;
                  for (const ForgottenReport& one : *list) {
                    snapshots.push_back(one.snapshot);
                    notes[one.snapshot.id] =
                        "forgotten " + format_time(one.forgotten) + (one.pruned ? ", pruned: goes soon" : "");
                  }
                  print_snapshots(snapshots, [&](const SnapshotReport& one) { return notes[one.id]; });
                }
                return static_cast<int>(kDone);
              }
              auto restored = undelete(*client, *names);
              if (!restored) return context.output.fail("", restored.error());
              if (context.output.json) {
                for (const SnapshotReport& one : *restored)
                  context.output.emit({{"message_type", "restored"}, {"snapshot_id", one.id}});
                context.output.emit({{"message_type", "summary"}, {"restored_snapshots", restored->size()}});
              } else {
                for (const SnapshotReport& one : *restored)
                  context.output.say(fmt::format("snapshot {} is there again", one.id.substr(0, 8)));
              }
              return static_cast<int>(kDone);
            };
          }};
}

}  // namespace

void print_prune(Context& context, const PruneReport& report, bool dry_run) {
  const char* would = dry_run ? "would be " : "";
  for (const auto& volume : report.volumes) {
    context.output.say(fmt::format("{}: {} in {} packs", volume.name, format_size(volume.bytes), volume.packs));
    if (volume.repacked_packs > 0)
      context.output.say(fmt::format("  {}repacked: {} packs, {} copied out of them", would, volume.repacked_packs,
                                     format_size(volume.repacked_bytes)));
    context.output.say(fmt::format("  {}removed:  {} packs, {}; holders give the space back in three days", would,
                                   volume.removed_packs, format_size(volume.removed_bytes)));
    if (volume.waiting_packs > 0)
      context.output.say(fmt::format("  waiting:  {} packs that were never committed, until they are a week old",
                                     volume.waiting_packs));
    context.output.say(fmt::format("  unused:   {} inside of packs that are needed", format_size(volume.unused_bytes)));
  }
}

std::vector<Command> prune_commands() {
  return {prune_command(), undelete_command()};
}

}  // namespace cairn::tools
