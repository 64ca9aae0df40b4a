// Commands on volumes: create, ls, info.

#include <fmt/format.h>

#include "cairn/force_head.h"

#include "tools/command.h"

namespace cairn::tools {

namespace {

Json volume_json(const VolumeReport& volume) {
  return {{"name", volume.name},
          {"id", volume.id},
          {"files", volume.files},
          {"bytes", volume.bytes},
          {"sequence", volume.sequence},
          {"keepers", volume.keepers},
          {"keepers_alive", volume.keepers_alive},
          {"packs", volume.packs},
          {"stored_bytes", volume.stored_bytes},
          {"deduplicates", volume.deduplicates},
          {"written", volume.written == 0 ? Json(nullptr) : Json(format_time(volume.written))}};
}

Command create_command() {
  return {"volume create", "make a volume of your own", "cairn volume create photos", [](CLI::App& app) {
            auto name = std::make_shared<std::string>();
            auto dedup = std::make_shared<bool>(false);
            app.add_option("name", *name, "its name")->required();
            app.add_flag("--dedup", *dedup, "store equal content once (content-defined chunks)");
            return [=](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto volume = client->create_volume(*name, *dedup);
              if (!volume) return context.output.fail(*name, volume.error());
              if (context.output.json) context.output.emit(volume_json(*volume));
              context.output.say(fmt::format("Volume {} made ({}).", printable(volume->name), volume->id.substr(0, 8)));
              return static_cast<int>(kDone);
            };
          }};
}

Command ls_command() {
  return {"volume ls", "your volumes", "cairn volume ls", [](CLI::App&) {
            return [](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto volumes = client->volumes();
              if (!volumes) return context.output.fail(context.home, volumes.error());
              Json list = Json::array();
              if (!context.output.json && !context.output.quiet)
                emit_text("{:<20}{:<10}{:>10} {:>12}  {}\n", "VOLUME", "ID", "FILES", "BYTES", "LAST COMMIT");
              for (const auto& volume : *volumes) {
                list.push_back(volume_json(volume));
                if (!context.output.json) {
                  emit_text("{:<20}{:<10}{:>10} {:>12}  {}\n", printable(volume.name), volume.id.substr(0, 8),
                            volume.files, format_size(volume.bytes),
                            volume.written == 0 ? "never" : format_time(volume.written));
                }
              }
              if (context.output.json) context.output.emit({{"volumes", list}});
              return static_cast<int>(kDone);
            };
          }};
}

Command info_command() {
  return {"volume info", "one volume: size, keepers, packs", "cairn volume info main", [](CLI::App& app) {
            auto name = std::make_shared<std::string>();
            app.add_option("name", *name, "its name")->required();
            return [=](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto volume = client->volume(*name);
              if (!volume) return context.output.fail(*name, volume.error());
              if (context.output.json) {
                context.output.emit(volume_json(*volume));
                return static_cast<int>(kDone);
              }
              emit_text(
                  "Volume    {}\nID        {}\nFiles     {} ({})\nCommits   {}{}\nKeepers   {} of {} alive\nPacks     "
                  "{} ({} with redundancy)\n",
                  printable(volume->name), volume->id, volume->files, format_size(volume->bytes), volume->sequence,
                  volume->written == 0 ? "" : ", last at " + format_time(volume->written), volume->keepers_alive,
                  volume->keepers.size(), volume->packs, format_size(volume->stored_bytes));
              return static_cast<int>(kDone);
            };
          }};
}

std::string names(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& name : list) text += (text.empty() ? "" : ", ") + printable(name);
  return text.empty() ? "none" : text;
}

int run_force_head(Context& context, const std::string& name, bool give_up) {
  int code = kDone;
  Client* client = context.client(code);
  if (client == nullptr) return code;
  const Output& output = context.output;
  auto report = force_head(*client, name, give_up);
  if (!report) return output.fail(name, report.error());
  if (output.json) {
    output.emit({{"volume", report->volume},
                 {"forced", report->forced},
                 {"keepers_answering", report->answering},
                 {"keepers_lost", report->lost},
                 {"best_sequence", report->best},
                 {"best_written", report->best_written == 0 ? Json(nullptr) : Json(format_time(report->best_written))},
                 {"seen_sequence", report->seen},
                 {"account_lost", report->account_lost},
                 {"sequence", report->sequence},
                 {"keepers", report->keepers}});
  }
  output.say(fmt::format("{}: keepers that answer: {}; that do not: {}", printable(report->volume),
                         names(report->answering), names(report->lost)));
  output.say(fmt::format("  the best commit that is known is {}{}", report->best,
                         report->best_written == 0 ? "" : " of " + format_time(report->best_written)));
  if (report->seen > report->best)
    output.warn(
        fmt::format("this device has seen commit {}: what came after {} is missing until one of the keepers that "
                    "do not answer, or the device that made it, is back",
                    report->seen, report->best));
  if (report->account_lost) output.say("  the account's keepers do not answer either: it is forced with it");
  if (report->forced) {
    output.say(fmt::format("Forced: the volume goes on from commit {} with the keepers {}.", report->sequence,
                           names(report->keepers)));
    output.say("Should the old keepers come back, what only they had is put into it again by itself.");
    return kDone;
  }
  if (!output.json) {
    output.warn(
        "nothing was done. Start the keepers that do not answer, if you can: then nothing is lost. Only when they are "
        "gone for ever, run it again with --give-up-keepers");
  }
  return kUsage;
}

Command force_head_command() {
  return {
      "volume force-head", "have a volume go on whose keepers are lost for ever",
      "cairn volume force-head main                      # looks: who answers, what is known\n"
      "  cairn volume force-head main --give-up-keepers    # goes on from the best commit that is known\n"
      "For when more than half of a volume's keepers will never come back. A commit that only they had is not in the "
      "volume then; devices that have seen it say so.",
      [](CLI::App& app) {
        auto name = std::make_shared<std::string>();
        auto give_up = std::make_shared<bool>(false);
        app.add_option("name", *name, "the volume")->required();
        app.add_flag("--give-up-keepers", *give_up, "the keepers that do not answer are gone for ever: go on without");
        return [=](Context& context) { return run_force_head(context, *name, *give_up); };
      }};
}

}  // namespace

std::vector<Command> volume_commands() {
  return {create_command(), ls_command(), info_command(), force_head_command()};
}

}  // namespace cairn::tools
