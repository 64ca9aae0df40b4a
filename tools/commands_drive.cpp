// Commands of the drive: mount, umount, sync.

#include <fmt/format.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "tools/command.h"
#include "tools/mount_process.h"

namespace cairn::tools {

namespace {

constexpr auto kShowEvery = std::chrono::milliseconds(200);

std::atomic<bool> interrupted = false;
void on_interrupt(int) {
  interrupted = true;
}
// Ctrl-C ends a wait, not what is waited for.
void catch_interrupts() {
  struct sigaction action{};
  action.sa_handler = on_interrupt;  // without SA_RESTART: what blocks returns
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

// Shows how much of what was pending is in the pool, until `over` says that nothing is waited for any more.
template <class Over>
void show_until(const Output& output, const std::function<std::optional<MountRecord>()>& look, Over over) {
  ProgressLine line(output, false);
  const auto show = line.callback();
  const auto start = std::chrono::steady_clock::now();
  uint64_t total = 0;
  while (!over() && !interrupted) {
    std::this_thread::sleep_for(kShowEvery / 4);
    if (!show || std::chrono::steady_clock::now() - start < kShowEvery) continue;
    const auto now = look();
    if (!now) continue;
    total = std::max(total, now->drive.pending_bytes);
    Progress progress{.bytes_done = total - now->drive.pending_bytes,
                      .bytes_total = total,
                      .seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
                      .current = now->drive.pool_reachable ? "" : "the pool is away"};
    show(progress);
    std::this_thread::sleep_for(kShowEvery);
  }
}

// Until everything that the mount has accepted is in the pool.
Status sync_mount(const Output& output, const std::string& directory) {
  std::atomic<bool> done = false;
  Asked asked;
  std::thread thread([&] {
    asked = ask_mount(directory, kSyncXattr);
    done = true;
  });
  show_until(output, [&] { return ask_mount(directory, kStatusXattr).record; }, [&] { return done.load(); });
  // The mount ends a call whose caller is to end.
  while (!done) {
    ::pthread_kill(thread.native_handle(), SIGTERM);
    std::this_thread::sleep_for(kShowEvery);
  }
  thread.join();
  if (asked.record) return {};
  if (asked.error == EINTR || interrupted) return fail(Code::interrupted, "what is not in the pool yet goes on");
  if (asked.error == ENOTCONN) return fail(Code::closed, "the process of the mount has died; mount it again");
  return fail(Code::io, std::strerror(asked.error));
}

// Until the process has ended. False: interrupted.
bool wait_for_process(const Output& output, const MountRecord& record) {
  show_until(output, [&] { return read_mount(record.home, record.key); }, [&] { return !record.alive(); });
  return !interrupted;
}

Command mount_command() {
  return {"mount", "show a volume as a folder of this machine",
          "cairn mount ~/Cairn                          # the volume main\n"
          "  cairn mount photos /mnt -o ro,allow_other    # another volume, for reading, for all users\n"
          "  cairn mount latest /mnt/backup               # the last snapshot, or one by its name\n"
          "  cairn mount --snapshots backups /mnt/all     # all snapshots of a volume, each a folder\n"
          "  mount -t cairn main /mnt -o home=/root/.local/share/cairn,allow_other\n"
          "  # and as a line of /etc/fstab:\n"
          "  main  /mnt  cairn  home=/root/.local/share/cairn,allow_other,_netdev,nofail  0  0\n\n"
          "What is written is accepted at once, lies in a journal on this machine's disk, and goes into the pool\n"
          "behind. `cairn sync` waits for that, `cairn umount` too; `cairn status` says how much is not there yet.\n"
          "After a crash, mount again: nothing that fsync acknowledged is lost. Locks are local to a mount.\n\n" +
              mount_options_help(),
          [](CLI::App& app) {
            auto words = std::make_shared<std::vector<std::string>>();
            auto options = std::make_shared<std::vector<std::string>>();
            auto given = std::make_shared<MountWords>();
            app.add_option("words", *words, "[VOLUME] DIR")->required()->expected(1, 2)->type_name("[VOLUME] DIR");
            app.add_option("-o", *options, "options, see below")->type_name("OPTIONS")->allow_extra_args(false);
            app.add_flag("--foreground", given->foreground, "stay; Ctrl-C unmounts");
            app.add_flag("--snapshots", given->drive.snapshots, "show the volume's snapshots, each as a folder");
            return [=](Context& context) {
              MountWords mount = *given;
              mount.drive.home = context.home;
              mount.drive.log_level = context.output.verbose ? "debug" : "warning";
              for (const std::string& text : *options) {
                if (auto applied = apply_mount_options(text, mount); !applied)
                  return context.output.fail(words->back(), applied.error());
              }
              if (words->size() > 1) mount.drive.volume = words->front();
              mount.mount.directory = plain_path(words->back());
              if (mount.drive.snapshots) mount.drive.read_only = true;
              if (auto done = run_mount(mount); !done) return context.output.fail(mount.mount.directory, done.error());
              if (mount.foreground) return static_cast<int>(kDone);
              if (context.output.json) {
                if (auto asked = ask_mount(mount.mount.directory, kStatusXattr); asked.record)
                  context.output.emit(asked.record->json());
              }
              context.output.say(
                  fmt::format("{} is mounted on {}", printable(mount.drive.volume), printable(mount.mount.directory)));
              return static_cast<int>(kDone);
            };
          }};
}

// Takes the mount away where nobody uses it.
Status unmount(const std::string& directory) {
  if (::umount2(directory.c_str(), UMOUNT_NOFOLLOW) == 0) return {};
  if (errno == EPERM && run_fusermount(directory, false)) return {};
  if (errno == EBUSY)
    return fail(Code::io,
                "somebody uses it: close the files that are open in it and leave its folders (fuser -vm shows who)");
  return fail(Code::io, std::strerror(errno));
}

int umount_dead(const Context& context, const std::string& directory) {
  if (!detach_directory(directory)) return context.output.fail(directory, {Code::io, std::strerror(errno)});
  std::string line = "unmounted; its process had died";
  for (const MountRecord& record : list_mounts(context.home)) {
    if (record.directory == directory && record.drive.pending_bytes > 0)
      line += fmt::format("; {} that are not in the pool wait in the journal until it is mounted again",
                          format_size(record.drive.pending_bytes));
  }
  context.output.say(line);
  return kDone;
}

Command umount_command() {
  return {
      "umount", "take a mounted volume away, once everything is in the pool",
      "cairn umount ~/Cairn\n  cairn umount ~/Cairn --now    # at once; the rest goes to the pool with the next mount",
      [](CLI::App& app) {
        auto given = std::make_shared<std::string>();
        auto now = std::make_shared<bool>(false);
        app.add_option("dir", *given, "where it is mounted")->required()->type_name("DIR");
        app.add_flag("--now", *now, "do not wait: what is not in the pool stays in the journal");
        return [=](Context& context) {
          const std::string directory = plain_path(*given);
          const Asked asked = ask_mount(directory, kStatusXattr);
          if (asked.error == ENOTCONN) return umount_dead(context, directory);
          if (!asked.record)
            return context.output.fail(directory, {Code::not_found, "no volume of yours is mounted there"});
          catch_interrupts();
          if (!*now && !asked.record->drive.read_only) {
            if (auto synced = sync_mount(context.output, directory); !synced)
              return context.output.fail(directory, synced.error());
          }
          if (auto done = unmount(directory); !done) return context.output.fail(directory, done.error());
          if (*now) ::kill(asked.record->pid, SIGTERM);
          if (!wait_for_process(context.output, *asked.record))
            return context.output.fail(directory, {Code::interrupted, "it is unmounted, the rest is still uploaded"});
          const auto left = read_mount(asked.record->home, asked.record->key);
          const uint64_t pending = left ? left->drive.pending_bytes : 0;
          if (context.output.json) context.output.emit({{"dir", directory}, {"pending_bytes", pending}});
          context.output.say(pending == 0 ? "Unmounted; everything is in the pool."
                                          : fmt::format("Unmounted; {} wait in the journal for the next mount.",
                                                        format_size(pending)));
          return static_cast<int>(kDone);
        };
      }};
}

Command sync_command() {
  return {"sync", "wait until everything written to a mount is in the pool", "cairn sync ~/Cairn", [](CLI::App& app) {
            auto given = std::make_shared<std::string>();
            app.add_option("dir", *given, "where it is mounted (default: all mounts of the home)")->type_name("DIR");
            return [=](Context& context) {
              catch_interrupts();
              std::vector<std::string> directories;
              if (!given->empty()) {
                directories.push_back(plain_path(*given));
              } else {
                for (const MountRecord& record : list_mounts(context.home)) {
                  if (!record.alive()) {
                    if (record.drive.pending_bytes > 0)
                      context.output.warn(fmt::format("{} of {} wait in the journal until it is mounted again",
                                                      format_size(record.drive.pending_bytes), record.drive.volume));
                  } else if (record.state == "uploading") {
                    if (!wait_for_process(context.output, record))
                      return context.output.fail(record.directory, {Code::interrupted, "the upload goes on"});
                  } else {
                    directories.push_back(record.directory);
                  }
                }
              }
              for (const std::string& directory : directories) {
                if (!ask_mount(directory, kStatusXattr).record)
                  return context.output.fail(directory, {Code::not_found, "no volume of yours is mounted there"});
                if (auto synced = sync_mount(context.output, directory); !synced)
                  return context.output.fail(directory, synced.error());
              }
              if (context.output.json) context.output.emit({{"synced", directories}});
              context.output.say("Everything is in the pool.");
              return static_cast<int>(kDone);
            };
          }};
}

}  // namespace

std::vector<Command> drive_commands() {
  return {mount_command(), umount_command(), sync_command()};
}

}  // namespace cairn::tools
