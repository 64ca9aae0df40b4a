#pragma once
// Which snapshot a person means: IDs in their short forms, `latest`, and the filters --host, --tag and --path.

#include <optional>

#include "backup/record.h"

namespace cairn::backup {

// Filters; what is empty does not filter.
struct Filter {
  std::vector<std::string> hosts;              // one of these
  std::vector<std::vector<std::string>> tags;  // all of one list; {""}: no tags at all
  std::vector<std::string> paths;              // all of these were named
  bool matches(const Record& snapshot) const;
};

// "a,b" as it stands after --tag: the list [a, b]; "" is [""], which means snapshots without tags.
std::vector<std::string> parse_tag_list(std::string_view text);
bool has_all_tags(const Record& snapshot, const std::vector<std::string>& list);

// "9f2c01aa", "latest", "latest~2" (two before the latest), each with ":/sub/folder" behind it or not.
struct SnapshotName {
  std::string id;         // hex digits, or empty: the latest
  uint64_t before = 0;    // of latest~N
  std::string subfolder;  // begins with '/'; "/" when none was given
};
// Code::bad_input.
Result<SnapshotName> parse_snapshot_name(std::string_view text);

// The index of the snapshot meant. `latest` looks at what passes the filter and is not partial; an ID at all.
// Code::not_found; Code::bad_input when the digits fit several.
Result<size_t> find_snapshot(const std::vector<Record>& snapshots, const SnapshotName& name, const Filter& filter);

}  // namespace cairn::backup
