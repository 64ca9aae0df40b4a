#include "tools/file_text.h"

#include <fmt/format.h>

namespace cairn::tools {

const char* type_name(FileType type) {
  switch (type) {
    case FileType::file:
      return "file";
    case FileType::directory:
      return "dir";
    case FileType::symlink:
      return "symlink";
    case FileType::fifo:
      return "fifo";
    case FileType::socket:
      return "socket";
    case FileType::character_device:
      return "chardev";
    case FileType::block_device:
      return "dev";
  }
  return "unknown";
}

std::string mode_text(const FileStatus& file) {
  constexpr std::string_view kTypes = "-dlpscb";
  std::string text(1, kTypes[static_cast<size_t>(file.type)]);
  for (int shift = 6; shift >= 0; shift -= 3) {
    const uint32_t bits = file.mode >> shift & 7;
    text += (bits & 4) != 0 ? 'r' : '-';
    text += (bits & 2) != 0 ? 'w' : '-';
    text += (bits & 1) != 0 ? 'x' : '-';
  }
  if ((file.mode & 04000) != 0) text[3] = text[3] == 'x' ? 's' : 'S';
  if ((file.mode & 02000) != 0) text[6] = text[6] == 'x' ? 's' : 'S';
  if ((file.mode & 01000) != 0) text[9] = text[9] == 'x' ? 't' : 'T';
  return text;
}

std::string base_name(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos || slash + 1 == path.size() ? path : path.substr(slash + 1);
}

// restic's field names of a node.
Json file_json(const FileStatus& file) {
  Json object = {{"message_type", "node"}, {"struct_type", "node"}};
  put_path(object, "name", base_name(file.path));
  object["type"] = type_name(file.type);
  put_path(object, "path", file.path);
  object["uid"] = file.uid;
  object["gid"] = file.gid;
  object["size"] = file.size;
  object["mode"] = file.mode;
  object["permissions"] = mode_text(file);
  object["mtime"] = exact_time(file.mtime);
  object["mtime_ns"] = file.mtime;
  object["atime"] = exact_time(file.mtime);  // as restic without --with-atime: when a file was read is not kept
  object["ctime"] = exact_time(file.ctime);
  object["btime"] = exact_time(file.btime);
  if (!file.owner.empty()) put_path(object, "user", file.owner);
  if (!file.group.empty()) put_path(object, "group", file.group);
  object["inode"] = file.inode;
  object["links"] = file.links;
  if (file.type == FileType::symlink) put_path(object, "linktarget", file.target);
  return object;
}

std::string file_line(const FileStatus& file, bool full_path) {
  return fmt::format("{} {:>3} {:>6} {:>6} {:>12} {} {}{}", mode_text(file), file.links, file.uid, file.gid, file.size,
                     format_time(file.mtime), printable(full_path ? file.path : base_name(file.path)),
                     file.type == FileType::symlink ? " -> " + printable(file.target) : "");
}

std::string exact_time(WallTime time) {
  std::string text = format_time(time);
  int64_t fraction = time % 1'000'000'000;
  if (fraction < 0) fraction += 1'000'000'000;
  if (fraction == 0) return text;
  std::string digits = fmt::format("{:09}", fraction);
  digits.erase(digits.find_last_not_of('0') + 1);
  text.insert(text.size() - 1, "." + digits);
  return text;
}

Json snapshot_json(const SnapshotReport& snapshot) {
  const auto put_list = [](Json& into, const char* key, const std::vector<std::string>& list) {
    Json texts = Json::array(), raw = Json::array();
    bool all_utf8 = true;
    for (const std::string& text : list) {
      texts.push_back(is_utf8(text) ? text : printable(text));
      raw.push_back(base64(text));
      all_utf8 = all_utf8 && is_utf8(text);
    }
    into[key] = std::move(texts);
    if (!all_utf8) into[std::string(key) + "_b64"] = std::move(raw);
  };
  Json object = {{"time", exact_time(snapshot.time)}};
  if (!snapshot.parent.empty()) object["parent"] = snapshot.parent;
  object["tree"] = snapshot.tree;
  put_list(object, "paths", snapshot.paths);
  put_path(object, "hostname", snapshot.host);
  put_path(object, "username", snapshot.user);
  object["uid"] = snapshot.uid;
  object["gid"] = snapshot.gid;
  if (!snapshot.excludes.empty()) put_list(object, "excludes", snapshot.excludes);
  if (!snapshot.tags.empty()) put_list(object, "tags", snapshot.tags);
  if (!snapshot.original.empty()) object["original"] = snapshot.original;
  if (!snapshot.set.empty()) put_path(object, "set", snapshot.set);
  object["program_version"] = snapshot.program_version;
  if (snapshot.partial) object["partial"] = true;
  object["summary"] = summary_json(snapshot.summary);
  object["id"] = snapshot.id;
  object["short_id"] = snapshot.id.substr(0, 8);
  return object;
}

Json summary_json(const SnapshotSummary& summary) {
  return {{"backup_start", exact_time(summary.backup_start)},
          {"backup_end", exact_time(summary.backup_end)},
          {"files_new", summary.files_new},
          {"files_changed", summary.files_changed},
          {"files_unmodified", summary.files_unmodified},
          {"dirs_new", summary.dirs_new},
          {"dirs_changed", summary.dirs_changed},
          {"dirs_unmodified", summary.dirs_unmodified},
          {"data_blobs", summary.data_blobs},
          {"tree_blobs", summary.tree_blobs},
          {"data_added", summary.data_added},
          {"data_added_packed", summary.data_added_packed},
          {"total_files_processed", summary.total_files_processed},
          {"total_bytes_processed", summary.total_bytes_processed}};
}

void print_snapshots(const std::vector<SnapshotReport>& snapshots,
                     const std::function<std::string(const SnapshotReport&)>& more) {
  constexpr const char* kRow = "{:<8}  {:<20}  {:<10}  {:<10}  {:<24}  {}\n";
  emit_text(fmt::runtime(kRow), "ID", "Time", "Host", "Tags", more ? "Reasons" : "Size", "Paths");
  for (const SnapshotReport& one : snapshots) {
    const std::string size = format_size(one.summary.total_bytes_processed) + (one.partial ? " (partial)" : "");
    for (size_t line = 0; line < std::max<size_t>(1, std::max(one.paths.size(), one.tags.size())); ++line) {
      const bool first = line == 0;
      emit_text(fmt::runtime(kRow), first ? one.id.substr(0, 8) : "", first ? format_time(one.time) : "",
                first ? printable(one.host) : "", line < one.tags.size() ? printable(one.tags[line]) : "",
                !first ? ""
                : more ? more(one)
                       : size,
                line < one.paths.size() ? printable(one.paths[line]) : "");
    }
  }
  emit_text("{} snapshot{}\n", snapshots.size(), snapshots.size() == 1 ? "" : "s");
}

void declare_filter(CLI::App& app, SnapshotFilter& filter) {
  app.add_option("-H,--host", filter.hosts, "only snapshots of this host (may be repeated)");
  app.add_option("--tag", filter.tags, "only snapshots with these tags: a,b for both (may be repeated: one of them)");
  app.add_option("--path", filter.paths, "only snapshots of this absolute path (may be repeated: all of them)");
}

}  // namespace cairn::tools
