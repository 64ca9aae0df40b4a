#include "os/host.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <csignal>
#include <vector>

#include "os/posix.h"

extern char** environ;

namespace cairn::os {

namespace {

// linux/ioprio.h is not for programs: class best-effort is 2, its lowest priority 7.
constexpr int kWhoProcess = 1;
constexpr int kLowestBestEffort = 2 << 13 | 7;
// A third of the processor of a program of nice 0 when both want all of it: still enough to answer others in time.
constexpr int kNice = 5;
// What busctl may take; it answers within 10 ms.
constexpr auto kPatience = std::chrono::seconds(2);

// The first line of a small file; empty when it cannot be read.
std::string line_of(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return {};
  std::array<char, 128> buffer{};
  const auto got = retry_interrupted([&] { return ::read(file.get(), buffer.data(), buffer.size()); });
  if (got <= 0) return {};
  const std::string text(buffer.data(), static_cast<size_t>(got));
  return text.substr(0, text.find('\n'));
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  DIR* const directory = ::opendir(folder.c_str());
  if (directory == nullptr) return names;
  while (const dirent* entry = ::readdir(directory)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  ::closedir(directory);
  return names;
}

// What a program prints, up to a few hundred bytes; nothing when it is not there, fails, or takes too long.
std::optional<std::string> output_of(std::vector<std::string> words) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
  const Descriptor out(ends[0]);
  Descriptor in(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, in.get(), 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = -1;
  const int failed = ::posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  in.reset();
  if (failed != 0) return std::nullopt;
  std::string text;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  bool ended = false;
  while (!ended && text.size() < 512) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd ready{out.get(), POLLIN, 0};
    if (left.count() <= 0 || ::poll(&ready, 1, static_cast<int>(left.count())) == 0) break;
    std::array<char, 128> buffer{};
    const auto got = retry_interrupted([&] { return ::read(out.get(), buffer.data(), buffer.size()); });
    if (got > 0) text.append(buffer.data(), static_cast<size_t>(got));
    ended = got <= 0;
  }
  if (!ended) ::kill(child, SIGKILL);
  int status = 0;
  if (retry_interrupted([&] { return ::waitpid(child, &status, 0); }) != child) return std::nullopt;
  if (!ended || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::nullopt;
  return text;
}

}  // namespace

void lower_priority() {
  ::syscall(SYS_ioprio_set, kWhoProcess, 0, kLowestBestEffort);
  // One that was started with less keeps it.
  errno = 0;
  const int now = ::getpriority(PRIO_PROCESS, 0);
  if (errno == 0 && now < kNice) ::setpriority(PRIO_PROCESS, 0, kNice);
}

bool on_battery(const std::string& sysfs) {
  const std::string supplies = sysfs + "/class/power_supply";
  bool discharging = false;
  for (const std::string& name : names_in(supplies)) {
    const std::string folder = supplies + "/" + name;
    if (line_of(folder + "/scope") == "Device") continue;  // of a mouse, of a phone
    if (line_of(folder + "/type") == "Battery") {
      discharging = discharging || line_of(folder + "/status") == "Discharging";
    } else if (line_of(folder + "/online") == "1") {
      return false;
    }
  }
  return discharging;
}

Result<std::unique_ptr<Child>> Child::start(const std::vector<std::string>& words) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);  // this program blocks signals that the other one is ended by
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  std::vector<std::string> copies = words;
  std::vector<char*> arguments;
  for (std::string& word : copies) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = -1;
  const int failed = ::posix_spawn(&child, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) return fail(Code::io, words.front() + " cannot be started");
  return std::unique_ptr<Child>(new Child(child));
}

Child::~Child() {
  if (ended()) return;
  ::kill(id_, SIGKILL);
  int status = 0;
  retry_interrupted([&] { return ::waitpid(id_, &status, 0); });
}

std::optional<int> Child::ended() {
  int status = 0;
  if (code_ || ::waitpid(id_, &status, WNOHANG) != id_) return code_;
  code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return code_;
}

void Child::terminate() {
  if (!ended()) ::kill(id_, SIGTERM);
}

std::optional<bool> on_metered() {
  auto answer = output_of({"busctl", "--system", "get-property", "org.freedesktop.NetworkManager",
                           "/org/freedesktop/NetworkManager", "org.freedesktop.NetworkManager", "Metered"});
  if (!answer || !answer->starts_with("u ")) return std::nullopt;
  const std::string value = answer->substr(2, answer->find('\n') - 2);
  return value == "1" || value == "3";  // NM_METERED_YES, NM_METERED_GUESS_YES
}

}  // namespace cairn::os
