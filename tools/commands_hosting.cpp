// Commands on what this machine lends: store, pause, resume, leave.

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "cairn/hosting.h"
#include "tools/command.h"
#include "tools/hosting_text.h"

namespace cairn::tools {

namespace {

constexpr auto kPoll = std::chrono::milliseconds(500);

volatile std::sig_atomic_t stop_waiting = 0;  // NOLINT
void on_stop(int) {
  stop_waiting = 1;
}

// Follows what the daemon does until `done` says so. On a terminal one line that is rewritten, JSON lines with --json.
// Ctrl-C ends the waiting and not the work.
struct Watched {
  std::string line;
  Json json;
  bool done = false;
  std::optional<Error> failed;
  std::string said;  // when it is done
};
int watch(Context& context, const std::string& on, const std::function<Watched(const HostingReport&)>& look,
          const std::string& goes_on) {
  int code = kDone;
  Client* client = context.client(code);
  if (client == nullptr) return code;
  auto report = client->hosting();
  if (report && !report->lending.running) {
    context.output.say("The daemon does not run: it begins with that when it is started.");
    return kDone;
  }
  stop_waiting = 0;
  std::signal(SIGINT, on_stop);
  std::signal(SIGTERM, on_stop);
  const bool terminal = isatty(STDERR_FILENO) != 0 && !context.output.json && !context.output.quiet;
  const auto erase = [&] {
    if (terminal) emit_text(stderr, "\r\033[K");
  };
  std::string shown;
  while (stop_waiting == 0) {
    report = client->hosting();
    if (!report) {
      erase();
      return context.output.fail(on, report.error());
    }
    const Watched now = look(*report);
    if (context.output.json && now.json.dump() != shown) {
      shown = now.json.dump();
      Json line = now.json;
      line["message_type"] = now.done ? "summary" : "status";
      context.output.emit(line);
    }
    if (terminal && !now.line.empty()) emit_text(stderr, "\r\033[K{}", now.line);
    if (now.done || now.failed) {
      erase();
      if (now.done && !now.said.empty()) context.output.say(now.said);
      return now.failed ? context.output.fail(on, *now.failed) : static_cast<int>(kDone);
    }
    if (!report->lending.running) {
      erase();
      return context.output.fail(on,
                                 Error{Code::closed, "the daemon has stopped: it goes on when it is started again"});
    }
    std::this_thread::sleep_for(kPoll);
  }
  erase();
  context.output.say(goes_on);
  return 130;
}

const StoreReport* find_store(const HostingReport& report, const std::string& path) {
  for (const StoreReport& store : report.stores) {
    if (store.path == path) return &store;
  }
  return nullptr;
}

Command store_add_command() {
  return {
      "store add", "lend space in one more directory", "cairn store add /mnt/usb --limit 500G --keep-free 10%",
      [](CLI::App& app) {
        struct Flags {
          std::string directory, limit, keep_free;
        };
        auto flags = std::make_shared<Flags>();
        app.add_option("directory", flags->directory, "where")->required();
        app.add_option("--limit", flags->limit, "how much at the most")->required()->check(size_text());
        app.add_option("--keep-free", flags->keep_free,
                       "what stays free on that disk whatever the limit: a size or a share (default 10%)");
        return [=](Context& context) {
          auto spec = store_spec(flags->directory, flags->limit, flags->keep_free);
          if (!spec) return context.output.fail(flags->directory, spec.error());
          if (auto done = add_store(context.home, *spec); !done)
            return context.output.fail(flags->directory, done.error());
          if (context.output.json) context.output.emit({{"path", spec->path}, {"limit", spec->limit}});
          context.output.say(fmt::format("Lending up to {} in {}.", format_size(spec->limit), printable(spec->path)));
          return static_cast<int>(kDone);
        };
      }};
}

Command store_ls_command() {
  return {"store ls", "what this machine lends", "cairn store ls", [](CLI::App&) {
            return [](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto hosting = client->hosting();
              if (!hosting) return context.output.fail(context.home, hosting.error());
              if (context.output.json) {
                Json list = Json::array();
                for (const auto& store : hosting->stores) list.push_back(store_json(store));
                context.output.emit({{"stores", list}, {"lending", lending_json(hosting->lending)}});
                return static_cast<int>(kDone);
              }
              print_stores(hosting->stores);
              if (hosting->lending.state != "lending" && hosting->lending.state != "stopped")
                emit_text("This host: {}\n", lending_line(hosting->lending));
              if (!hosting->lending.config_error.empty())
                emit_text("The configuration is not followed: {}\n", printable(hosting->lending.config_error));
              return static_cast<int>(kDone);
            };
          }};
}

Command store_resize_command() {
  return {
      "store resize", "lend more or less in a directory, or keep more or less of its disk free",
      "cairn store resize /mnt/usb 300G --keep-free 50G", [](CLI::App& app) {
        struct Flags {
          std::string directory, limit, keep_free;
          bool wait = false;
        };
        auto flags = std::make_shared<Flags>();
        app.add_option("directory", flags->directory, "which")->required();
        app.add_option("size", flags->limit, "how much at the most")->check(size_text());
        app.add_option("--keep-free", flags->keep_free,
                       "what stays free on that disk whatever the limit: a size or a share");
        app.add_flag("--wait", flags->wait, "until what is over the new limit has been moved away");
        return [=](Context& context) -> int {
          if (flags->limit.empty() && flags->keep_free.empty()) {
            context.output.fail(flags->directory, Error{Code::bad_input, "give a size, --keep-free, or both"});
            return kUsage;
          }
          // Its limit stands in for one that is not given: only what is free is read then.
          auto spec = store_spec(flags->directory, flags->limit.empty() ? "1G" : flags->limit, flags->keep_free);
          if (!spec) return context.output.fail(flags->directory, spec.error());
          StoreChange change;
          if (!flags->limit.empty()) change.limit = spec->limit;
          if (!flags->keep_free.empty()) change.keep_free = {spec->keep_free, spec->keep_free_share};
          if (auto done = change_store(context.home, spec->path, change); !done)
            return context.output.fail(flags->directory, done.error());
          if (context.output.json && !flags->wait) {
            Json object = {{"path", spec->path}};
            if (change.limit) object["limit"] = *change.limit;
            context.output.emit(object);
          }
          if (change.limit)
            context.output.say(
                fmt::format("Lending up to {} in {}.", format_size(*change.limit), printable(spec->path)));
          if (!flags->wait) {
            if (change.limit)
              context.output.say("What is over that is moved to other nodes; `cairn store ls` tells how far it is.");
            return kDone;
          }
          return watch(
              context, spec->path,
              [path = spec->path, limit = change.limit](const HostingReport& report) -> Watched {
                const StoreReport* store = find_store(report, path);
                if (store == nullptr) return {.failed = Error{Code::not_found, "it is not lent any more"}};
                Watched now{.line = path + ": " + store->state, .json = store_json(*store)};
                now.done = store->running && (!limit || store->limit == *limit) && store->used <= store->limit &&
                           store->phase != "draining" && store->phase != "opening" && store->phase != "offline";
                return now;
              },
              "It goes on without this command; `cairn store ls` tells how far it is.");
        };
      }};
}

Command store_rm_command() {
  return {
      "store rm", "take a directory back: what it holds is moved to other nodes first", "cairn store rm /mnt/usb",
      [](CLI::App& app) {
        struct Flags {
          std::string directory;
          bool cancel = false, lost = false, no_wait = false;
        };
        auto flags = std::make_shared<Flags>();
        app.add_option("directory", flags->directory, "which")->required();
        auto* cancel = app.add_flag("--cancel", flags->cancel, "lend it after all; what was moved away stays there");
        app.add_flag("--lost", flags->lost,
                     "its disk is gone for good: move nothing, let others make anew what it held")
            ->excludes(cancel);
        app.add_flag("--no-wait", flags->no_wait, "do not wait until it is empty");
        return [=](Context& context) -> int {
          auto path = store_path(flags->directory);
          if (!path) return context.output.fail(flags->directory, path.error());
          const Removal removal = flags->cancel ? Removal::cancel : flags->lost ? Removal::lost : Removal::drain;
          if (auto done = remove_store(context.home, *path, removal); !done)
            return context.output.fail(*path, done.error());
          if (removal != Removal::drain || flags->no_wait) {
            const char* what = flags->cancel ? "cancelled" : flags->lost ? "lost" : "draining";
            if (context.output.json) context.output.emit({{"path", *path}, {"state", what}});
            context.output.say(flags->cancel ? printable(*path) + " is lent as before."
                               : flags->lost ? printable(*path) + " is no longer lent; others make anew what it held."
                                             : printable(*path) + " is drained; `cairn store ls` tells how far it is.");
            return kDone;
          }
          const int code = watch(
              context, *path,
              [path = *path](const HostingReport& report) -> Watched {
                const StoreReport* store = find_store(report, path);
                if (store == nullptr)
                  return {.json = {{"path", path}, {"state", "removed"}},
                          .done = true,
                          .said = printable(path) + " is yours again."};
                Watched now{.line = path + ": " + store->state, .json = store_json(*store)};
                if (!store->removing)
                  now.failed = Error{Code::cancelled, "it was cancelled: the directory is lent as before"};
                if (store->phase == "offline")
                  now.failed = Error{Code::io, store->state + "; when its disk is lost for good use --lost"};
                return now;
              },
              "It goes on without this command; --cancel ends it.");
          return code;
        };
      }};
}

Command pause_command() {
  return {"pause", "take no more shards for now; what is here stays and is served", "cairn pause", [](CLI::App&) {
            return [](Context& context) {
              if (auto done = set_paused(context.home, true); !done)
                return context.output.fail(context.home, done.error());
              if (context.output.json) context.output.emit({{"state", "paused"}});
              context.output.say("Paused: this host takes no more until `cairn resume`.");
              return static_cast<int>(kDone);
            };
          }};
}

Command resume_command() {
  return {"resume", "take shards again after `cairn pause`", "cairn resume", [](CLI::App&) {
            return [](Context& context) {
              if (auto done = set_paused(context.home, false); !done)
                return context.output.fail(context.home, done.error());
              if (context.output.json) context.output.emit({{"state", "lending"}});
              context.output.say("This host lends again.");
              return static_cast<int>(kDone);
            };
          }};
}

Command leave_command() {
  return {"leave", "leave the pool for good: all that is held here is moved to other nodes first", "cairn leave",
          [](CLI::App& app) {
            struct Flags {
              bool cancel = false, no_wait = false;
            };
            auto flags = std::make_shared<Flags>();
            app.add_flag("--cancel", flags->cancel, "stay after all; what was moved away stays there");
            app.add_flag("--no-wait", flags->no_wait, "do not wait until everything is moved");
            return [=](Context& context) -> int {
              if (auto done = set_leaving(context.home, !flags->cancel); !done)
                return context.output.fail(context.home, done.error());
              if (flags->cancel || flags->no_wait) {
                if (context.output.json) context.output.emit({{"state", flags->cancel ? "lending" : "leaving"}});
                context.output.say(flags->cancel ? "This node stays."
                                                 : "This node leaves; `cairn store ls` tells how far it is.");
                return kDone;
              }
              const int code = watch(
                  context, context.home,
                  [](const HostingReport& report) -> Watched {
                    Watched now{.line = "This host: " + lending_line(report.lending),
                                .json = lending_json(report.lending)};
                    now.done = report.lending.state == "left";
                    now.said = "This node has left the pool; its daemon can be stopped.";
                    if (!now.done && report.lending.running && report.lending.state == "lending")
                      now.line = "Waiting for the daemon";
                    return now;
                  },
                  "It goes on without this command; `cairn leave --cancel` ends it.");
              if (code != kDone) return code;
              int opened = kDone;
              Client* client = context.client(opened);
              auto handed = client != nullptr ? client->hand_over_registers() : fail(Code::closed);
              if (!handed)
                context.output.warn(
                    "heads of your volumes are still kept here too: leave this daemon running until your next "
                    "commit (" +
                    to_string(handed.error()) + ")");
              return code;
            };
          }};
}

}  // namespace

std::vector<Command> hosting_commands() {
  return {store_add_command(), store_ls_command(), store_resize_command(), store_rm_command(),
          pause_command(),     resume_command(),   leave_command()};
}

}  // namespace cairn::tools
