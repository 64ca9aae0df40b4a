#include "backup/selection.h"

#include <algorithm>
#include <charconv>

namespace cairn::backup {

namespace {

// Shorter ones say too little to be meant.
constexpr size_t kLeastDigits = 4;

bool contains(const std::vector<std::string>& list, std::string_view text) {
  return std::ranges::find(list, text) != list.end();
}

}  // namespace

std::vector<std::string> parse_tag_list(std::string_view text) {
  std::vector<std::string> list;
  for (;;) {
    const size_t comma = text.find(',');
    std::string_view tag = text.substr(0, comma);
    while (tag.starts_with(' ')) tag.remove_prefix(1);
    while (tag.ends_with(' ')) tag.remove_suffix(1);
    list.emplace_back(tag);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  if (list.size() > 1) std::erase(list, "");
  if (list.empty()) list.emplace_back("");
  return list;
}

bool has_all_tags(const Record& snapshot, const std::vector<std::string>& list) {
  if (list.size() == 1 && list[0].empty()) return snapshot.tags.empty();
  return std::ranges::all_of(list, [&](const std::string& tag) { return contains(snapshot.tags, tag); });
}

bool Filter::matches(const Record& snapshot) const {
  if (!hosts.empty() && !contains(hosts, snapshot.host)) return false;
  if (!tags.empty() && std::ranges::none_of(tags, [&](const auto& list) { return has_all_tags(snapshot, list); }))
    return false;
  return std::ranges::all_of(paths, [&](const std::string& path) { return contains(snapshot.paths, path); });
}

Result<SnapshotName> parse_snapshot_name(std::string_view text) {
  const std::string all(text);
  const auto bad = [&] {
    return fail(Code::bad_input, fmt::format("'{}' is no snapshot (an ID's first digits, or 'latest')", all));
  };
  SnapshotName name{.id = {}, .before = 0, .subfolder = "/"};
  if (const size_t colon = text.find(':'); colon != std::string_view::npos) {
    name.subfolder = text.substr(colon + 1);
    if (!name.subfolder.starts_with('/')) name.subfolder.insert(0, "/");
    while (name.subfolder.size() > 1 && name.subfolder.ends_with('/')) name.subfolder.pop_back();
    text = text.substr(0, colon);
  }
  if (text.starts_with("latest")) {
    text.remove_prefix(6);
    if (text.empty()) return name;
    if (text[0] != '~') return bad();
    const char* const last = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data() + 1, last, name.before);
    if (error != std::errc{} || end != last) return bad();
    return name;
  }
  if (text.size() < kLeastDigits || text.size() > 2 * SnapshotId::kSize ||
      text.find_first_not_of("0123456789abcdef") != std::string_view::npos)
    return bad();
  name.id = text;
  return name;
}

Result<size_t> find_snapshot(const std::vector<Record>& snapshots, const SnapshotName& name, const Filter& filter) {
  std::vector<size_t> found;
  for (size_t i = 0; i < snapshots.size(); ++i) {
    const Record& snapshot = snapshots[i];
    if (name.id.empty() ? !snapshot.partial && filter.matches(snapshot) : snapshot.id.hex().starts_with(name.id))
      found.push_back(i);
  }
  if (name.id.empty()) {
    std::ranges::sort(found, [&](size_t a, size_t b) {
      return std::pair(snapshots[a].time, snapshots[a].id) > std::pair(snapshots[b].time, snapshots[b].id);
    });
    if (name.before >= found.size()) {
      return fail(Code::not_found, found.empty() ? std::string("no snapshot fits")
                                                 : fmt::format("there are only {} snapshots", found.size()));
    }
    return found[name.before];
  }
  if (found.empty()) return fail(Code::not_found, "no snapshot " + name.id);
  if (found.size() > 1) return fail(Code::bad_input, fmt::format("{} snapshots begin with {}", found.size(), name.id));
  return found[0];
}

}  // namespace cairn::backup
