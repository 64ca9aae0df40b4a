#include "tools/mount_options.h"

#include <array>
#include <filesystem>

namespace cairn::tools {

namespace {

// What the kernel understands, handed on as it is.
constexpr std::array kKernel = {"dev",    "nodev", "suid",    "nosuid",   "exec",
                                "noexec", "atime", "noatime", "diratime", "nodiratime",
                                "sync",   "async", "dirsync", "relatime", "strictatime"};
// What is meant for mount(8), fstab and the init system, or is so anyway.
constexpr std::array kIgnored = {"rw",
                                 "defaults",
                                 "auto",
                                 "noauto",
                                 "user",
                                 "users",
                                 "nouser",
                                 "owner",
                                 "group",
                                 "_netdev",
                                 "nofail",
                                 "silent",
                                 "default_permissions",
                                 "norelatime"};

bool among(const auto& list, const std::string& word) {
  for (const char* known : list) {
    if (word == known) return true;
  }
  return false;
}

Status apply_word(const std::string& word, MountWords& to) {
  const size_t equals = word.find('=');
  const std::string name = word.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
  if (word.empty() || among(kIgnored, word) || name.starts_with("x-") || name == "comment") {
    // rw is the default; a later "ro" wins as an earlier one would not
    if (word == "rw") to.drive.read_only = false;
    // As mount(8) has it for those that any user may mount.
    if (word == "user" || word == "users")
      to.mount.options.insert(to.mount.options.end(), {"nodev", "nosuid", "noexec"});
    return {};
  }
  if (word == "ro") {
    to.drive.read_only = true;
  } else if (word == "allow_other") {
    to.mount.allow_other = true;
  } else if (word == "noatime") {
    to.drive.access_times = false;
    to.mount.options.push_back(word);
  } else if (among(kKernel, word)) {
    if (word != "relatime" && word != "strictatime") to.mount.options.push_back(word);
  } else if (name == "fsync" && (value == "pool" || value == "local")) {
    to.drive.fsync_to_pool = value == "pool";
  } else if (name == "timeout") {
    auto duration = parse_duration(value);
    if (!duration) return fail(Code::bad_input, "timeout takes a time such as 30s, not '" + value + "'");
    to.drive.timeout = *duration;
  } else if (name == "cache") {
    auto size = parse_size(value);
    if (!size) return fail(Code::bad_input, "cache takes a size such as 20G, not '" + value + "'");
    to.drive.cache_bytes = *size;
  } else if (name == "cache-dir" && !value.empty()) {
    to.drive.cache_dir = plain_path(value);
  } else if (name == "home" && !value.empty()) {
    to.drive.home = plain_path(value);
  } else {
    return fail(Code::bad_input, "the mount option '" + word + "' is not known; see cairn mount --help");
  }
  return {};
}

}  // namespace

Status apply_mount_options(const std::string& words, MountWords& to) {
  size_t from = 0;
  while (from <= words.size()) {
    const size_t comma = std::min(words.find(',', from), words.size());
    CAIRN_TRY(apply_word(words.substr(from, comma - from), to));
    from = comma + 1;
  }
  return {};
}

std::string mount_options_help() {
  return R"(Options of -o, separated by commas:
  ro               for reading only
  allow_other      other users may use it too, as its permissions say (a user needs user_allow_other
                   in /etc/fuse.conf; permissions are always checked)
  fsync=pool       fsync returns when the pool has it (default: when this machine's disk has it)
  timeout=30s      how long a read of what is not cached waits for the pool before it fails
  cache=SIZE       of the local disk, for what is cached and what is not yet in the pool (default 10G)
  cache-dir=DIR    where that is (default: in the home); each mount of a volume needs one of its own
  home=DIR         as --home, for fstab
  noatime, dev, suid, noexec, rw, user, nofail, _netdev, x-...   as mount(8) has them)";
}

std::string plain_path(const std::string& path) {
  std::error_code error;
  auto absolute = std::filesystem::absolute(path, error).lexically_normal();
  std::string text = error ? path : absolute.string();
  while (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text;
}

}  // namespace cairn::tools
