#include "tools/mount_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

namespace cairn::tools {

namespace {

constexpr auto kLook = std::chrono::milliseconds(200);  // for signals, between which the process sleeps
constexpr auto kRecordEvery = std::chrono::seconds(1);  // what `cairn status` shows of a mount that was killed
constexpr auto kTakeOver = std::chrono::seconds(30);    // for the process of an earlier mount to put its journal down
constexpr off_t kMaxLog = 4 << 20;                      // a longer log is begun anew by the next mount

// What the process says to the one that started it.
struct Word {
  bool served = false;
  Error error{};
};
void say(int pipe, const Word& word) {
  if (pipe < 0) return;
  std::string text = word.served ? "+" : fmt::format("{} {}", static_cast<int>(word.error.code), word.error.context);
  [[maybe_unused]] const ssize_t written = ::write(pipe, text.data(), text.size());
}
Word hear(int pipe) {
  std::string text;
  char buffer[1024];
  ssize_t got = 0;
  while ((got = ::read(pipe, buffer, sizeof buffer)) != 0) {
    if (got < 0 && errno != EINTR) break;
    if (got > 0) text.append(buffer, static_cast<size_t>(got));
  }
  if (text.starts_with('+')) return {.served = true};
  if (text.empty()) return {.error = {Code::io, "the process of the mount ended; see its log"}};
  char* rest = nullptr;
  const auto code = static_cast<Code>(std::strtol(text.c_str(), &rest, 10));
  return {.error = {code, *rest == ' ' ? rest + 1 : rest}};
}

// One signal that asks for the end, if it has come.
bool asked_to_end(const sigset_t& signals) {
  constexpr timespec kNow{};
  return ::sigtimedwait(&signals, nullptr, &kNow) > 0;
}

class Server {
 public:
  Server(const MountWords& words, std::string key, std::string log) : words_(words) {
    record_ = {.directory = words.mount.directory,
               .home = words.drive.home,
               .key = std::move(key),
               .log = std::move(log),
               .state = "mounted",
               .pid = ::getpid(),
               .started = process_start(::getpid())};
    sigemptyset(&signals_);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals_, signal);
    ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);  // before any thread: all inherit it
  }

  Status run(int pipe) {
    DriveOptions wanted = words_.drive;
    wanted.distinct = record_.key;
    auto drive = Drive::open(wanted);
    if (!drive) return fail(std::move(drive.error()));
    MountOptions options = words_.mount;
    options.source = words_.drive.volume;
    const bool read_only = (*drive)->status().read_only;  // snapshots are, whatever was asked for
    options.read_only = read_only;
    options.describe = [base = record_, &drive] {
      MountRecord now = base;
      now.drive = (*drive)->status();
      return now.json().dump(-1, ' ', false, Json::error_handler_t::replace);
    };
    auto mount = Mount::start(**drive, std::move(options));
    if (!mount) return fail(std::move(mount.error()));
    keep_record(**drive);
    say(pipe, {.served = true});
    if (pipe >= 0) ::close(pipe);
    bool left = false;
    while (!(*mount)->wait_for(kLook)) {
      keep_record(**drive);
      if (!asked_to_end(signals_)) continue;
      left = true;
      (*mount)->detach();
      (*mount)->wait_for(std::chrono::seconds(1));
      break;
    }
    mount->reset();
    if (!left && !read_only) left = !upload_rest(**drive);
    finish(**drive);
    drive->reset();
    return {};
  }

 private:
  // Unmounted by umount(8): what is not in the pool goes there, unless a signal says to leave it in the journal.
  bool upload_rest(Drive& drive) {
    record_.state = "uploading";
    std::atomic<bool> done = false;
    const auto ticket = drive.sync({}, [&done](std::expected<void, int>) {
      done = true;
      done.notify_all();
    });
    while (!done) {
      keep_record(drive);
      if (asked_to_end(signals_)) {
        drive.interrupt(ticket);
        done.wait(false);
        return false;
      }
      if (!done) std::this_thread::sleep_for(kLook / 4);
    }
    return true;
  }

  void keep_record(Drive& drive) {
    const auto now = std::chrono::steady_clock::now();
    if (now - kept_at_ < kRecordEvery && record_.state == kept_state_) return;
    kept_at_ = now;
    record_.drive = drive.status();
    const std::string text = record_.json().dump();
    if (text == kept_text_) return;
    kept_text_ = text;
    kept_state_ = record_.state;
    if (auto written = write_mount(record_); !written) emit_text(stderr, "{}\n", to_string(written.error()));
  }

  void finish(Drive& drive) {
    record_.drive = drive.status();
    record_.state = "left";
    if (record_.drive.pending_bytes == 0 && record_.drive.pending_edits == 0) {
      remove_mount(record_.home, record_.key);
    } else {
      static_cast<void>(write_mount(record_));
    }
  }

  const MountWords& words_;
  MountRecord record_;
  sigset_t signals_;
  std::chrono::steady_clock::time_point kept_at_{};
  std::string kept_text_, kept_state_;
};

// A process that still uploads what an earlier mount left puts the journal down: the new one goes on with it.
Status take_over(const std::string& home, const std::string& key) {
  const auto record = read_mount(home, key);
  if (!record || !record->alive()) return {};
  const Asked asked = ask_mount(record->directory, kStatusXattr);
  if (asked.record && asked.record->pid == record->pid)
    return fail(Code::exists,
                fmt::format("the volume is mounted on '{}' with the same cache: use -o cache-dir=DIR for a "
                            "second mount",
                            record->directory));
  ::kill(record->pid, SIGTERM);
  const auto deadline = std::chrono::steady_clock::now() + kTakeOver;
  while (record->alive()) {
    if (std::chrono::steady_clock::now() > deadline)
      return fail(Code::overloaded,
                  fmt::format("process {} does not put down the journal of this volume", record->pid));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return {};
}

// The process of the mount that is there died: nobody answers.
Status clear_dead_mount(const std::string& directory) {
  struct stat info{};
  if (::stat(directory.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return {};
    return fail(Code::bad_input, "'" + directory + "' is not a directory");
  }
  if (errno == ENOTCONN || errno == ECONNABORTED) {
    if (detach_directory(directory) && ::stat(directory.c_str(), &info) == 0) return {};
  }
  if (errno == ENOENT) return fail(Code::not_found, "there is no such directory: make it with `mkdir -p`");
  return fail(Code::io, std::strerror(errno));
}

int open_log(const std::string& path) {
  struct stat info{};
  const bool long_one = ::stat(path.c_str(), &info) == 0 && info.st_size > kMaxLog;
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (long_one ? O_TRUNC : 0), 0600);
}

}  // namespace

bool detach_directory(const std::string& directory) {
  if (::umount2(directory.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return true;
  return run_fusermount(directory, true);
}

bool run_fusermount(const std::string& directory, bool lazy) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::execlp("fusermount3", "fusermount3", lazy ? "-uqz" : "-uq", "--", directory.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Status run_mount(const MountWords& words) {
  CAIRN_TRY(clear_dead_mount(words.mount.directory));
  if (::access((words.drive.home + "/identity").c_str(), F_OK) != 0)
    return fail(Code::not_found,
                "no pool in '" + words.drive.home + "': make one with `cairn init` or join one with `cairn join`");
  // Mounts for reading only have no journal that others could go on with.
  const std::string key = mount_key(words.drive.volume, words.drive.cache_dir,
                                    words.drive.read_only ? "read-only " + words.mount.directory : "");
  CAIRN_TRY(take_over(words.drive.home, key));
  const std::string log = mounts_folder(words.drive.home) + "/" + key + ".log";
  if (words.foreground) return Server(words, key, log).run(-1);

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(Code::io, "no pipe");
  const pid_t child = ::fork();
  if (child < 0) return fail(Code::io, "no process");
  if (child > 0) {
    ::close(ends[1]);
    const Word word = hear(ends[0]);
    ::close(ends[0]);
    return word.served ? Status{} : fail(word.error);
  }
  ::close(ends[0]);
  ::setsid();
  const int log_file = open_log(log), nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(log_file >= 0 ? log_file : nothing, STDOUT_FILENO);
  ::dup2(log_file >= 0 ? log_file : nothing, STDERR_FILENO);
  if (::chdir("/") != 0) ::_exit(1);
  Status done;
  {
    Server server(words, key, log);
    done = server.run(ends[1]);
  }
  if (!done) {
    say(ends[1], {.error = done.error()});
    emit_text(stderr, "{}\n", to_string(done.error()));
  }
  std::fflush(nullptr);
  ::_exit(done ? 0 : 1);
}

}  // namespace cairn::tools
