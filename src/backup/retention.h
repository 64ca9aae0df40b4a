#pragma once
// Retention: which snapshots a policy keeps, as restic's documentation of `forget` says it. Pure.
//
// The options are joined by "or": what one of them keeps is kept. Snapshots are looked at from the newest to the
// oldest.

#include <optional>

#include "backup/record.h"
#include "backup/span.h"

namespace cairn::backup {

inline constexpr int64_t kUnlimited = -1;

// The five calendar periods, each with a count and a span.
struct PeriodRule {
  int64_t count = 0;  // of periods that have a snapshot; the last one of each is kept; kUnlimited: of all
  Span within;        // the last snapshot of each period that is newer than this before the newest snapshot
};

struct Policy {
  int64_t last = 0;
  PeriodRule hourly, daily, weekly, monthly, yearly;
  Span within;                                 // all that are newer than this before the newest snapshot
  std::vector<std::vector<std::string>> tags;  // snapshots that have all tags of one list; {""}: that have none
  // Cairn's own: the newest snapshots as long as what their runs have stored (data_added_packed) comes to no more than
  // this; the newest one in any case.
  std::optional<uint64_t> size;

  bool empty() const;
};

// Sets what an option of `forget` says: "keep-last", "keep-hourly" and so on with "7" or "unlimited", "keep-within",
// "keep-within-hourly" and so on with a span, "keep-tag" with a list "a,b" (may be repeated), "keep-size".
// Code::bad_input.
Status set_keep_option(Policy& policy, std::string_view option, std::string_view value);

struct Verdict {
  bool keep = false;
  std::vector<std::string> reasons;  // "daily snapshot", "oldest weekly snapshot", "within 7d", "has tags [a, b]"
};

// One for each of `snapshots` (of one group, in any order), in their order.
//
// * The options on time ignore snapshots that are newer than `now`; those are never removed.
// * When an option on periods has not found as many as it may keep, the oldest snapshot is kept too.
// * Partial snapshots do not count and are not removed: the next run of their backup takes them up.
std::vector<Verdict> judge(const Policy& policy, const std::vector<Record>& snapshots, WallTime now,
                           const UtcOffset& offset);

// How `forget`, `snapshots` and `backup` group: "host,paths" is the default, "" puts all into one group.
struct GroupBy {
  bool host = false, paths = false, tags = false;
};
Result<GroupBy> parse_group_by(std::string_view text);

struct Group {
  std::string host;
  std::vector<std::string> paths, tags;  // sorted; only what it is grouped by is set
  std::vector<Record> snapshots;         // oldest first
};
// In the order of host, paths, tags.
std::vector<Group> group(std::vector<Record> snapshots, GroupBy by);

}  // namespace cairn::backup
