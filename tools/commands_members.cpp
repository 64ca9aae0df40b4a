// Commands on who is in the pool: member ls, member rm, device rm.

#include <fmt/format.h>

#include "tools/command.h"

namespace cairn::tools {

namespace {

std::string state_of(const MemberReport& member) {
  return member.removed ? "removed" : "member";
}

Json member_json(const MemberReport& member) {
  return {{"id", member.id},           {"name", member.name},   {"role", member.admin ? "admin" : "member"},
          {"state", state_of(member)}, {"nodes", member.nodes}, {"self", member.self}};
}

Command member_ls_command() {
  return {"member ls", "who is in the pool", "cairn member ls", [](CLI::App&) {
            return [](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto members = client->members();
              if (!members) return context.output.fail(context.home, members.error());
              if (context.output.json) {
                Json list = Json::array();
                for (const MemberReport& member : *members) list.push_back(member_json(member));
                context.output.emit({{"members", list}});
                return static_cast<int>(kDone);
              }
              emit_text("{:<10}{:<24}{:<8}{:>6}  {}\n", "MEMBER", "NAME", "ROLE", "NODES", "STATE");
              for (const MemberReport& member : *members)
                emit_text("{:<10}{:<24}{:<8}{:>6}  {}\n", member.id.substr(0, 8),
                          printable(member.name) + (member.self ? " (me)" : ""), member.admin ? "admin" : "member",
                          member.nodes, state_of(member));
              return static_cast<int>(kDone);
            };
          }};
}

Command member_rm_command() {
  return {"member rm", "remove a member from the pool, with all devices, for good", "cairn member rm alice",
          [](CLI::App& app) {
            auto name = std::make_shared<std::string>();
            auto yes = std::make_shared<bool>(false);
            app.add_option("member", *name, "name, or the first digits of the ID")->required();
            app.add_flag("--yes", *yes, "do not ask");
            return [=](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto found = client->find_member(*name);
              if (!found) return context.output.fail(*name, found.error());
              if (!*yes && !confirm(fmt::format("Remove {} ({}) with {} node{} for good? What these keep for others is "
                                                "made anew elsewhere; their own volumes can be reached no more.",
                                                printable(found->name), found->id.substr(0, 8), found->nodes,
                                                found->nodes == 1 ? "" : "s")))
                return context.output.fail(*name, Error{Code::cancelled, "nothing was done"});
              auto removed = client->remove_member(found->id);
              if (!removed) return context.output.fail(*name, removed.error());
              if (context.output.json) context.output.emit(member_json(*removed));
              context.output.say(
                  fmt::format("Member {} ({}) is removed.", printable(removed->name), removed->id.substr(0, 8)));
              return static_cast<int>(kDone);
            };
          }};
}

Command device_add_command() {
  return {"device add", "a further machine of mine that may add snapshots and never remove",
          "cairn device add --append-only webserver     # prints a code, a secret, for `cairn join` on that machine\n"
          "  cairn snapshots --volume backups-webserver   # here: what it has backed up",
          [](CLI::App& app) {
            auto name = std::make_shared<std::string>();
            auto append_only = std::make_shared<bool>(false);
            app.add_option("name", *name, "its name; its snapshots go into the volume backups-NAME")->required();
            app.add_flag("--append-only", *append_only,
                         "others refuse whatever it would remove (a full device: `cairn recover` with the phrase)")
                ->required();
            return [=](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto made = client->add_append_only_device(*name);
              if (!made) return context.output.fail(*name, made.error());
              if (context.output.json) {
                context.output.emit({{"code", *made}, {"volume", "backups-" + *name}});
              } else {
                emit_text("{}\n", *made);
              }
              return static_cast<int>(kDone);
            };
          }};
}

Command device_rm_command() {
  return {
      "device rm", "revoke a device: lost, stolen or sold", "cairn device rm old-laptop", [](CLI::App& app) {
        auto name = std::make_shared<std::string>();
        auto yes = std::make_shared<bool>(false);
        app.add_option("node", *name, "name, or the first digits of the ID")->required();
        app.add_flag("--yes", *yes, "do not ask");
        return [=](Context& context) {
          int code = kDone;
          Client* client = context.client(code);
          if (client == nullptr) return code;
          auto found = client->find_device(*name);
          if (!found) return context.output.fail(*name, found.error());
          if (!*yes && !confirm(fmt::format("Revoke {} ({}) of {} for good? What it keeps for others is made anew "
                                            "elsewhere.",
                                            printable(found->name), found->id.substr(0, 8), printable(found->member))))
            return context.output.fail(*name, Error{Code::cancelled, "nothing was done"});
          auto revoked = client->revoke_device(found->id);
          if (!revoked) return context.output.fail(*name, revoked.error());
          if (context.output.json)
            context.output.emit({{"id", revoked->id}, {"name", revoked->name}, {"state", revoked->state}});
          context.output.say(
              fmt::format("Device {} ({}) is revoked.", printable(revoked->name), revoked->id.substr(0, 8)));
          return static_cast<int>(kDone);
        };
      }};
}

}  // namespace

std::vector<Command> member_commands() {
  return {member_ls_command(), member_rm_command(), device_add_command(), device_rm_command()};
}

}  // namespace cairn::tools
