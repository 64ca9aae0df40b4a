#include "tools/mount_registry.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "cairn/mount.h"

namespace cairn::tools {

namespace {

std::string path_of(const std::string& home, const std::string& key) {
  return mounts_folder(home) + "/" + key + ".json";
}

std::optional<MountRecord> read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return file ? MountRecord::parse(text.str()) : std::nullopt;
}

}  // namespace

uint64_t process_start(int pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(file, line)) return 0;
  // The name in parentheses may hold anything; the start is the 20th field behind it. A zombie does not run.
  std::istringstream rest(line.substr(line.rfind(')') + 1));
  std::string field, state;
  rest >> state;
  if (state == "Z" || state == "X") return 0;
  for (int i = 0; i < 19; ++i) rest >> field;
  return std::strtoull(field.c_str(), nullptr, 10);
}

bool MountRecord::alive() const {
  return pid > 0 && process_start(pid) == started;
}

Json MountRecord::json() const {
  Json object;
  put_path(object, "dir", directory);
  object["volume"] = drive.volume;
  object["state"] = state;
  object["read_only"] = drive.read_only;
  object["pending_bytes"] = drive.pending_bytes;
  object["pending_edits"] = drive.pending_edits;
  object["cache_bytes"] = drive.cache_bytes;
  object["cache_limit"] = drive.cache_limit;
  object["uploaded_bytes"] = drive.uploaded_bytes;
  object["commits"] = drive.commits;
  object["conflicts"] = drive.conflicts;
  object["head_sequence"] = drive.head_sequence;
  object["pool_reachable"] = drive.pool_reachable;
  object["last_error"] = drive.last_error;
  object["pid"] = pid;
  object["started"] = started;
  object["home"] = home;
  object["key"] = key;
  object["journal"] = drive.journal;
  object["log"] = log;
  return object;
}

std::optional<MountRecord> MountRecord::parse(const std::string& text) {
  const Json object = Json::parse(text, nullptr, false);
  if (!object.is_object()) return std::nullopt;
  try {
    MountRecord record;
    record.directory = object.at("dir");
    record.drive.volume = object.at("volume");
    record.state = object.at("state");
    record.drive.read_only = object.at("read_only");
    record.drive.pending_bytes = object.at("pending_bytes");
    record.drive.pending_edits = object.at("pending_edits");
    record.drive.cache_bytes = object.at("cache_bytes");
    record.drive.cache_limit = object.at("cache_limit");
    record.drive.uploaded_bytes = object.at("uploaded_bytes");
    record.drive.commits = object.at("commits");
    record.drive.conflicts = object.at("conflicts");
    record.drive.head_sequence = object.at("head_sequence");
    record.drive.pool_reachable = object.at("pool_reachable");
    record.drive.last_error = object.at("last_error");
    record.pid = object.at("pid");
    record.started = object.at("started");
    record.home = object.at("home");
    record.key = object.at("key");
    record.drive.journal = object.at("journal");
    record.log = object.at("log");
    return record;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

std::string mount_key(const std::string& volume, const std::string& cache_dir, const std::string& distinct) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const unsigned char c : volume + '\0' + cache_dir + '\0' + distinct) hash = (hash ^ c) * 0x100000001b3;
  return fmt::format("{:016x}", hash);
}

std::string mounts_folder(const std::string& home) {
  const std::string folder = home + "/mounts";
  ::mkdir(folder.c_str(), 0700);
  return folder;
}

Status write_mount(const MountRecord& record) {
  const std::string path = path_of(record.home, record.key), temporary = path + ".new";
  const std::string text = record.json().dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written = fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (fd >= 0) ::close(fd);
  if (!written || ::rename(temporary.c_str(), path.c_str()) != 0)
    return fail(Code::io, "cannot write '" + path + "': " + std::strerror(errno));
  return {};
}

void remove_mount(const std::string& home, const std::string& key) {
  ::unlink(path_of(home, key).c_str());
}

std::optional<MountRecord> read_mount(const std::string& home, const std::string& key) {
  return read_file(path_of(home, key));
}

std::vector<MountRecord> list_mounts(const std::string& home) {
  std::vector<MountRecord> records;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(home + "/mounts", error)) {
    if (entry.path().extension() != ".json") continue;
    auto record = read_file(entry.path());
    if (!record) continue;
    if (record->alive()) {
      auto asked = ask_mount(record->directory, kStatusXattr);
      if (asked.record && asked.record->pid == record->pid) {
        record = std::move(asked.record);
      } else {
        record->state = "uploading";  // it has just been unmounted
      }
    } else {
      record->state = "left";
      // What was accepted after the last time that the file was written counts too.
      if (auto rest = left_in_journal(record->drive.journal)) {
        record->drive.pending_bytes = rest->bytes;
        record->drive.pending_edits = rest->edits;
      }
    }
    records.push_back(std::move(*record));
  }
  std::ranges::sort(records, {}, &MountRecord::directory);
  return records;
}

Asked ask_mount(const std::string& directory, const char* name) {
  std::string text(64 * kKiB, '\0');
  const ssize_t got = ::getxattr(directory.c_str(), name, text.data(), text.size());
  if (got < 0) return {.error = errno};
  text.resize(static_cast<size_t>(got));
  auto record = MountRecord::parse(text);
  const int error = record ? 0 : EINVAL;
  return {.record = std::move(record), .error = error};
}

}  // namespace cairn::tools
