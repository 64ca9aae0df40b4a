// Commands on volumes: create, ls, info.

#include <fmt/format.h>

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

}  // namespace

std::vector<Command> volume_commands() {
  return {create_command(), ls_command(), info_command()};
}

}  // namespace cairn::tools
