// Commands on the pool and this device: init, invite, join, recover, status, nodes, ping, doctor.

#include <fcntl.h>
#include <fmt/format.h>
#include <qrencode.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iostream>

#include "tools/command.h"
#include "tools/hosting_text.h"
#include "tools/mount_registry.h"

namespace cairn::tools {

namespace {

// Writes the phrase where only the owner reads it. It is written before anything else is made.
Status write_phrase(const std::string& path, const std::string& phrase) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0)
    return fail(errno == EEXIST ? Code::exists : Code::io,
                "cannot write the phrase to '" + path + "': " + std::strerror(errno));
  const std::string text = phrase + "\n";
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  ::close(fd);
  return written ? Status{} : fail(Code::io, "cannot write the phrase to '" + path + "'");
}

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

// Shows the words once, or puts them into the file. Returns false when the file could not be written.
int hand_over_phrase(const Output& output, const NewDevice& device, const std::string& phrase_out) {
  if (!phrase_out.empty()) {
    if (auto done = write_phrase(phrase_out, device.phrase); !done) {
      emit_text(stderr, "The recovery phrase is: {}\n", device.phrase);
      return output.fail(phrase_out, done.error());
    }
    output.say("Recovery phrase written to " + phrase_out);
    return kDone;
  }
  if (output.json) return kDone;
  emit_text(
      "\nYour recovery phrase. Write it down: it is shown once, and it is the only way back to your files\n"
      "when this machine is lost. Who has it can read them.\n\n");
  size_t number = 0;
  std::string word;
  for (const char c : device.phrase + " ") {
    if (c != ' ') {
      word += c;
      continue;
    }
    ++number;
    emit_text("  {:2}. {:<10}{}", number, word, number % 6 == 0 ? "\n" : "");
    word.clear();
  }
  emit_text("\n");
  return kDone;
}

Json device_json(const NewDevice& device, bool with_phrase) {
  Json object = {{"pool", {{"id", device.pool_id}, {"name", device.pool_name}}},
                 {"member", device.member_id},
                 {"node", device.node_id}};
  if (with_phrase && !device.phrase.empty()) object["phrase"] = device.phrase;
  return object;
}

std::string user_name() {
  const char* name = std::getenv("USER");
  return name != nullptr && *name != '\0' ? name : "owner";
}

struct DeviceFlags {
  StoreOptions stores;
  std::string listen, phrase_out, name;
  void declare(CLI::App& app, bool with_phrase) {
    stores.declare(app);
    app.add_option("--listen", listen, "HOST:PORT to serve at (default 0.0.0.0:4774; port 0: any free one)");
    if (with_phrase)
      app.add_option("--phrase-out", phrase_out,
                     "write the 24 words into this new file (mode 0600) instead of showing them")
          ->type_name("FILE");
  }
  Result<DeviceOptions> options(const Context& context) const {
    auto specs = stores.specs();
    if (!specs) return fail(specs.error());
    if (!phrase_out.empty() && exists(phrase_out))
      return fail(Code::exists, "'" + phrase_out + "' is there already and is not overwritten");
    return DeviceOptions{.home = context.home, .node_name = name, .listen = listen, .stores = *specs};
  }
};

Command init_command() {
  return {"init", "make a new pool, with this machine as its first node",
          "cairn init --name family --store /srv/cairn --limit 200G", [](CLI::App& app) {
            auto flags = std::make_shared<DeviceFlags>();
            auto pool = std::make_shared<std::string>("cairn");
            app.add_option("--name", *pool, "the pool's name");
            flags->declare(app, true);
            return [=](Context& context) {
              auto options = flags->options(context);
              if (!options) return context.output.fail(context.home, options.error());
              auto device = init_pool(*options, *pool, user_name());
              if (!device) return context.output.fail(context.home, device.error());
              if (context.output.json) context.output.emit(device_json(*device, flags->phrase_out.empty()));
              context.output.say(fmt::format("Pool {} ({}) made; this node is {}.", device->pool_name, device->pool_id,
                                             device->node_id.substr(0, 8)));
              const int code = hand_over_phrase(context.output, *device, flags->phrase_out);
              context.output.say("Next: run `cairnd` here, then `cairn invite` for each further machine.");
              return code;
            };
          }};
}

void print_qr(const std::string& code) {
  QRcode* qr = QRcode_encodeString8bit(code.c_str(), 0, QR_ECLEVEL_L);
  if (qr == nullptr) return;
  // Two rows of modules for each line of text, with a quiet zone of 2.
  const auto dark = [&](int x, int y) {
    return x >= 0 && y >= 0 && x < qr->width && y < qr->width && (qr->data[y * qr->width + x] & 1) != 0;
  };
  for (int y = -2; y < qr->width + 2; y += 2) {
    std::string line;
    for (int x = -2; x < qr->width + 2; ++x) {
      const bool top = dark(x, y), bottom = dark(x, y + 1);
      line += top && bottom ? " " : top ? "\u2584" : bottom ? "\u2580" : "\u2588";
    }
    emit_text(stderr, "{}\n", line);
  }
  QRcode_free(qr);
}

Command invite_command() {
  return {"invite", "print a code with which one more machine may join", "cairn invite --expires 24h",
          [](CLI::App& app) {
            struct Flags {
              std::string role = "member", expires = "24h";
              uint32_t uses = 1;
            };
            auto flags = std::make_shared<Flags>();
            app.add_option("--role", flags->role, "member or admin")->check(CLI::IsMember({"member", "admin"}));
            app.add_option("--uses", flags->uses, "how many may join with it")->check(CLI::Range(1, 1000));
            app.add_option("--expires", flags->expires, "how long it is good")->check(duration_text());
            return [=](Context& context) {
              auto code = make_invite({.home = context.home,
                                       .admin = flags->role == "admin",
                                       .uses = flags->uses,
                                       .expires = *parse_duration(flags->expires)});
              if (!code) return context.output.fail(context.home, code.error());
              if (context.output.json) {
                context.output.emit({{"code", *code}, {"role", flags->role}, {"uses", flags->uses}});
              } else {
                emit_text("{}\n", *code);
                if (isatty(STDOUT_FILENO) != 0) print_qr(*code);
              }
              return static_cast<int>(kDone);
            };
          }};
}

Command join_command() {
  return {
      "join", "join a pool with a code from `cairn invite` or `cairn device add`",
      "cairn join cairn1... --store /srv/cairn --limit 200G", [](CLI::App& app) {
        auto flags = std::make_shared<DeviceFlags>();
        auto code = std::make_shared<std::string>();
        auto yes = std::make_shared<bool>(false);
        app.add_option("code", *code, "the code")->required();
        app.add_option("--name", flags->name, "this node's name (default: host name)");
        app.add_flag("--yes", *yes, "do not ask whether the pool's fingerprint is right");
        flags->declare(app, true);
        return [=](Context& context) {
          auto options = flags->options(context);
          if (!options) return context.output.fail(context.home, options.error());
          if (is_device_code(*code)) {
            auto device = join_device(*options, *code);
            if (!device) return context.output.fail(context.home, device.error());
            if (context.output.json) context.output.emit(device_json(*device, false));
            context.output.say(fmt::format("Node {} of pool {} may add snapshots, and never remove: `cairn backup`.",
                                           device->node_id.substr(0, 8), printable(device->pool_name)));
            return static_cast<int>(kDone);
          }
          auto invite = read_invite(*code);
          if (!invite) return context.output.fail("", invite.error());
          if (!*yes) {
            emit_text(stderr, "Pool {} with fingerprint {}\n", printable(invite->pool_name), invite->fingerprint);
            if (!confirm("Is this the fingerprint that you were told?"))
              return context.output.fail("", Error{Code::cancelled, "the fingerprint was not confirmed"});
          }
          auto device = join_pool(*options, *code, user_name());
          if (!device) return context.output.fail(context.home, device.error());
          if (context.output.json) context.output.emit(device_json(*device, flags->phrase_out.empty()));
          context.output.say(fmt::format("Joined pool {} ({}) as node {}.", printable(device->pool_name),
                                         device->pool_id, device->node_id.substr(0, 8)));
          const int result = hand_over_phrase(context.output, *device, flags->phrase_out);
          context.output.say("Next: run `cairnd` here.");
          return result;
        };
      }};
}

Command recover_command() {
  return {"recover", "make this machine a device of mine again, from the recovery phrase",
          "cairn recover --phrase-file words.txt --pool 3f2a... --peer 192.0.2.7:4774", [](CLI::App& app) {
            struct Flags : DeviceFlags {
              std::string phrase_file, pool, peer;
            };
            auto flags = std::make_shared<Flags>();
            app.add_option("--phrase-file", flags->phrase_file, "file with the 24 words, '-' for standard input")
                ->required();
            app.add_option("--pool", flags->pool, "the pool's ID")->required();
            app.add_option("--peer", flags->peer, "HOST:PORT of any live peer")->required();
            app.add_option("--name", flags->name, "this node's name (default: host name)");
            flags->declare(app, false);
            return [=](Context& context) {
              auto options = flags->options(context);
              if (!options) return context.output.fail(context.home, options.error());
              std::string phrase;
              if (flags->phrase_file == "-") {
                phrase.assign(std::istreambuf_iterator<char>(std::cin), {});
              } else {
                std::ifstream file(flags->phrase_file);
                if (!file) return context.output.fail(flags->phrase_file, Error{Code::not_found, "no such file"});
                phrase.assign(std::istreambuf_iterator<char>(file), {});
              }
              auto device = recover_device(*options, phrase, flags->pool, flags->peer);
              if (!device) return context.output.fail(flags->peer, device.error());
              if (context.output.json) context.output.emit(device_json(*device, false));
              context.output.say(fmt::format("This machine is node {} of pool {} now. Your volumes: `cairn volume ls`.",
                                             device->node_id.substr(0, 8), printable(device->pool_name)));
              return static_cast<int>(kDone);
            };
          }};
}

Command kit_command() {
  return {"recovery-kit", "phrase, pool ID and peers on one page, to print", "cairn recovery-kit | lpr", [](CLI::App&) {
            return [](Context& context) {
              auto kit = recovery_kit(context.home);
              if (!kit) return context.output.fail(context.home, kit.error());
              if (context.output.json) {
                context.output.emit({{"phrase", kit->phrase},
                                     {"pool", {{"id", kit->pool_id}, {"name", kit->pool_name}}},
                                     {"member", kit->member_name},
                                     {"peers", kit->peers}});
                return static_cast<int>(kDone);
              }
              emit_text("CAIRN RECOVERY KIT - keep it secret, keep it safe, keep it on paper\n\n");
              emit_text("Pool         {}\nPool ID      {}\nFingerprint  {}\nMember       {}\n\nRecovery phrase\n",
                        printable(kit->pool_name), kit->pool_id, kit->fingerprint, printable(kit->member_name));
              size_t number = 0;
              std::string word;
              for (const char c : kit->phrase + " ") {
                if (c != ' ') {
                  word += c;
                  continue;
                }
                ++number;
                emit_text("  {:2}. {:<10}{}", number, word, number % 6 == 0 ? "\n" : "");
                word.clear();
              }
              emit_text("\nPeers\n");
              for (const auto& peer : kit->peers) emit_text("  {}\n", printable(peer));
              emit_text(
                  "\nTo get everything back on an empty machine: write the words into a file, then\n"
                  "  cairn recover --phrase-file FILE --pool {} --peer HOST:PORT\n  cairn get main:/ DIRECTORY\n",
                  kit->pool_id);
              return static_cast<int>(kDone);
            };
          }};
}

Json node_json(const NodeReport& node) {
  return {{"id", node.id},
          {"name", node.name},
          {"state", node.state},
          {"used", node.used},
          {"limit", node.limit},
          {"free", node.free},
          {"audit", node.audit},
          {"audits_passed", node.audits_passed},
          {"audits_failed", node.audits_failed},
          {"online", node.online},
          {"path", node.path},
          {"member", node.member},
          {"domain", node.domain},
          {"addresses", node.addresses},
          {"lends", node.lends},
          {"self", node.self},
          {"gone", node.gone},
          {"last_heard_seconds", node.last_heard_seconds}};
}

void print_nodes(const std::vector<NodeReport>& nodes, bool all) {
  emit_text("{:<10}{:<18}{:<10}{:>11} {:>11} {:>7}  {:<8}{}\n", "NODE", "NAME", "STATE", "USED", "LIMIT", "ONLINE",
            "PATH", "AUDIT");
  size_t gone = 0;
  for (const NodeReport& node : nodes) {
    if (node.gone && !all && !node.self) {
      ++gone;
      continue;
    }
    const std::string online = node.online < 0 ? "-" : fmt::format("{:.1f}%", 100 * node.online);
    emit_text("{:<10}{:<18}{:<10}{:>11} {:>11} {:>7}  {:<8}{}\n", node.id.substr(0, 8),
              printable(node.name) + (node.self ? " (me)" : ""), node.state, format_size(node.used),
              format_size(node.limit), online, node.path, node.audit);
  }
  if (gone > 0)
    emit_text("{} that left or {} removed: `cairn nodes --all`\n",
              gone == 1 ? "One node" : fmt::format("{} nodes", gone), gone == 1 ? "was" : "were");
}

Json volume_json(const VolumeReport& volume) {
  return {{"name", volume.name},
          {"id", volume.id},
          {"files", volume.files},
          {"bytes", volume.bytes},
          {"sequence", volume.sequence}};
}

Json report_json(const PoolReport& report, const std::vector<MountRecord>& mounts) {
  Json object = {{"pool", {{"id", report.id}, {"name", report.name}}},
                 {"member", report.member},
                 {"node", report.node},
                 {"daemon_running", report.daemon_running}};
  object["nodes"] = Json::array();
  for (const auto& node : report.nodes) object["nodes"].push_back(node_json(node));
  object["stores"] = Json::array();
  for (const auto& store : report.stores) object["stores"].push_back(store_json(store));
  object["lending"] = lending_json(report.lending);
  object["volumes"] = Json::array();
  for (const auto& volume : report.volumes) object["volumes"].push_back(volume_json(volume));
  object["mounts"] = Json::array();
  for (const MountRecord& mount : mounts) object["mounts"].push_back(mount.json());
  object["packs"] = {{"at_goal", report.packs.at_goal},
                     {"below_goal", report.packs.below_goal},
                     {"lost", report.packs.lost},
                     {"below", report.packs.below}};
  object["redundancy"] = {{"k", report.k}, {"m", report.m}};
  object["loss"] = nullptr;
  if (report.loss) {
    object["loss"] = {{"per_pack_and_year", report.loss->per_pack},
                      {"node_lifetime_years", report.loss->node_lifetime_years},
                      {"repaired", report.loss->repaired}};
    if (report.loss->repaired) object["loss"]["repair_days"] = report.loss->repair_days;
  }
  object["bad_holders"] = Json::array();
  for (const auto& bad : report.bad_holders) {
    object["bad_holders"].push_back({{"node", bad.node},
                                     {"pack", bad.pack},
                                     {"slot", bad.slot},
                                     {"what", bad.what},
                                     {"found", format_time(bad.found)}});
  }
  object["warnings"] = report.warnings;
  return object;
}

void print_mounts(const std::vector<MountRecord>& mounts) {
  for (const MountRecord& mount : mounts) {
    const DriveStatus& drive = mount.drive;
    std::string line = fmt::format("Mount {} ({})", printable(mount.directory), printable(drive.volume));
    if (mount.state == "uploading") line += ", unmounted";
    if (mount.state == "left") line += ", NOT MOUNTED";
    if (drive.pending_bytes == 0 && drive.pending_edits == 0) {
      line += ": everything is in the pool";
    } else {
      line += fmt::format(": {} not in the pool yet", drive.pending_bytes > 0
                                                          ? format_size(drive.pending_bytes)
                                                          : fmt::format("{} changes", drive.pending_edits));
      if (mount.state == "left") line += fmt::format("; mount {} again to go on", printable(drive.volume));
    }
    line += fmt::format("; cache {} of {}", format_size(drive.cache_bytes), format_size(drive.cache_limit));
    if (!drive.pool_reachable) line += "; the pool is away";
    if (!drive.last_error.empty()) line += "; last error: " + printable(drive.last_error);
    emit_text("{}\n", line);
  }
}

Command status_command() {
  return {
      "status", "health of the pool on one screen", "cairn status", [](CLI::App&) {
        return [](Context& context) {
          int code = kDone;
          Client* client = context.client(code);
          if (client == nullptr) return code;
          auto report = client->report();
          if (!report) return context.output.fail(context.home, report.error());
          const auto mounts = list_mounts(context.home);
          if (context.output.json) {
            context.output.emit(report_json(*report, mounts));
            return static_cast<int>(kDone);
          }
          emit_text("Pool {} ({})  member {}\n", printable(report->name), report->id.substr(0, 8),
                    printable(report->member));
          emit_text("This node {}, daemon {}\n", report->node.substr(0, 8),
                    report->daemon_running ? "running" : "not running");
          print_lending(report->lending, report->stores);
          emit_text("\n");
          print_nodes(report->nodes, false);
          emit_text("\nNew packs are coded {}+{}: they survive the loss of any {} of their holders.\n", report->k,
                    report->m, report->m);
          for (const auto& volume : report->volumes)
            emit_text("Volume {:<12} {:>9} files  {:>11}\n", printable(volume.name), volume.files,
                      format_size(volume.bytes));
          print_mounts(mounts);
          const PackHealth& packs = report->packs;
          if (packs.lost > 0) {
            emit_text(
                "\nDAMAGE: {} packs have too few shards left to be read now; {} are below their goal, {} at it.\n",
                packs.lost, packs.below_goal, packs.at_goal);
          } else if (packs.below_goal > 0) {
            emit_text("\nBelow goal: {} of {} packs have fewer live shards than they should; all can be read.\n",
                      packs.below_goal, packs.below_goal + packs.at_goal);
          } else {
            emit_text("\nSafe: all {} packs are at their redundancy goal.\n", packs.at_goal);
          }
          if (report->loss)
            emit_text(
                "Chance that a new pack is lost within a year: {:.2g} (assumed: machines are lost independently, each "
                "once in {} years{}).\n",
                report->loss->per_pack, report->loss->node_lifetime_years,
                report->loss->repaired
                    ? fmt::format("; what they held is rebuilt within {:.0f} days", report->loss->repair_days)
                    : std::string("; there is no further one to rebuild on"));
          for (const auto& bad : report->bad_holders)
            emit_text("Wrong bytes: node {} pack {} slot {}: {} ({})\n", bad.node.substr(0, 8), bad.pack.substr(0, 8),
                      bad.slot, bad.what, format_time(bad.found));
          for (const auto& warning : report->warnings) emit_text("Warning: {}\n", printable(warning));
          return static_cast<int>(kDone);
        };
      }};
}

Command nodes_command() {
  return {"nodes", "the pool's nodes", "cairn nodes\n  cairn nodes --all --json", [](CLI::App& app) {
            auto all = std::make_shared<bool>(false);
            app.add_flag("--all", *all, "also those that left or were removed (JSON has them always: \"gone\")");
            return [=](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto nodes = client->nodes();
              if (!nodes) return context.output.fail(context.home, nodes.error());
              if (context.output.json) {
                Json list = Json::array();
                for (const auto& node : *nodes) list.push_back(node_json(node));
                context.output.emit({{"nodes", list}});
              } else {
                print_nodes(*nodes, *all);
              }
              return static_cast<int>(kDone);
            };
          }};
}

Command ping_command() {
  return {"ping", "reach one node and measure the way", "cairn ping attic-pc", [](CLI::App& app) {
            auto node = std::make_shared<std::string>();
            app.add_option("node", *node, "name, or the first digits of its ID")->required();
            return [=](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto answer = client->ping(*node);
              if (!answer) return context.output.fail(*node, answer.error());
              if (context.output.json) {
                context.output.emit({{"id", answer->id},
                                     {"name", answer->name},
                                     {"address", answer->address},
                                     {"milliseconds", answer->milliseconds}});
              } else {
                emit_text("{} {} at {}: {:.2f} ms\n", answer->id.substr(0, 8), printable(answer->name), answer->address,
                          answer->milliseconds);
              }
              return static_cast<int>(kDone);
            };
          }};
}

Command doctor_command() {
  return {"doctor", "look for what is wrong, with one fix a line", "cairn doctor", [](CLI::App&) {
            return [](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              bool all_well = true;
              Json list = Json::array();
              for (const Finding& finding : client->doctor()) {
                all_well = all_well && finding.ok;
                list.push_back({{"ok", finding.ok}, {"what", finding.what}, {"fix", finding.fix}});
                if (!context.output.json)
                  emit_text("{}  {}{}\n", finding.ok ? "ok  " : "FIX ", printable(finding.what),
                            finding.ok ? "" : ": " + printable(finding.fix));
              }
              if (context.output.json) context.output.emit({{"ok", all_well}, {"findings", list}});
              return static_cast<int>(all_well ? kDone : kFailed);
            };
          }};
}

}  // namespace

std::vector<Command> pool_commands() {
  return {init_command(),   invite_command(), join_command(), recover_command(), kit_command(),
          status_command(), nodes_command(),  ping_command(), doctor_command()};
}

}  // namespace cairn::tools
