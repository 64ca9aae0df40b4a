#include "backup/retention.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>

#include "backup/selection.h"

namespace cairn::backup {

namespace {

// One option that keeps the last snapshot of each period.
struct Rule {
  std::string reason;
  std::function<int64_t(WallTime, size_t)> bucket;
  int64_t left = 0;               // how many more it may keep; kUnlimited: any number
  std::optional<WallTime> after;  // it looks at nothing that is not newer
  bool on_time = true;            // ignores the future
  std::optional<int64_t> last{};  // the bucket it kept a snapshot of last
};

std::vector<Rule> rules_of(const Policy& policy, WallTime newest, const UtcOffset& offset) {
  std::vector<Rule> rules;
  if (policy.last != 0) {
    rules.push_back({.reason = "last snapshot",
                     .bucket = [](WallTime, size_t index) { return static_cast<int64_t>(index); },
                     .left = policy.last,
                     .after = std::nullopt,
                     .on_time = false});
  }
  struct Named {
    const char* name;
    Period period;
    const PeriodRule* rule;
  };
  const Named periods[] = {{"hourly", Period::hour, &policy.hourly},
                           {"daily", Period::day, &policy.daily},
                           {"weekly", Period::week, &policy.weekly},
                           {"monthly", Period::month, &policy.monthly},
                           {"yearly", Period::year, &policy.yearly}};
  for (const Named& one : periods) {
    const auto bucket = [period = one.period, offset](WallTime time, size_t) {
      return period_of(time, period, offset);
    };
    if (one.rule->count != 0)
      rules.push_back({.reason = std::string(one.name) + " snapshot",
                       .bucket = bucket,
                       .left = one.rule->count,
                       .after = std::nullopt});
    if (!one.rule->within.empty())
      rules.push_back({.reason = fmt::format("{} within {}", one.name, to_string(one.rule->within)),
                       .bucket = bucket,
                       .left = kUnlimited,
                       .after = before(newest, one.rule->within, offset)});
  }
  return rules;
}

// "7", "unlimited", "-1".
Result<int64_t> parse_count(std::string_view text) {
  if (text == "unlimited") return kUnlimited;
  int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc{} || end != text.data() + text.size() || count < kUnlimited)
    return fail(Code::bad_input, fmt::format("'{}' is no number of snapshots (a number, or 'unlimited')", text));
  return count;
}

bool count_in_use(const PeriodRule& rule) {
  return rule.count != 0 || !rule.within.empty();
}

}  // namespace

bool Policy::empty() const {
  return last == 0 && !count_in_use(hourly) && !count_in_use(daily) && !count_in_use(weekly) &&
         !count_in_use(monthly) && !count_in_use(yearly) && within.empty() && tags.empty() && !size;
}

Status set_keep_option(Policy& policy, std::string_view option, std::string_view value) {
  struct Named {
    std::string_view name;
    PeriodRule* rule;
  };
  const Named periods[] = {{"hourly", &policy.hourly},
                           {"daily", &policy.daily},
                           {"weekly", &policy.weekly},
                           {"monthly", &policy.monthly},
                           {"yearly", &policy.yearly}};
  const auto set_count = [&](int64_t& into) -> Status {
    auto count = parse_count(value);
    if (!count) return fail(std::move(count.error()));
    into = *count;
    return {};
  };
  const auto set_span = [&](Span& into) -> Status {
    auto span = parse_span(value);
    if (!span) return fail(std::move(span.error()));
    into = *span;
    return {};
  };
  if (option == "keep-last") return set_count(policy.last);
  if (option == "keep-within") return set_span(policy.within);
  if (option == "keep-tag") {
    policy.tags.push_back(parse_tag_list(value));
    return {};
  }
  if (option == "keep-size") {
    auto size = parse_size(value);
    if (!size) return fail(std::move(size.error()));
    policy.size = *size;
    return {};
  }
  for (const Named& one : periods) {
    if (option == fmt::format("keep-{}", one.name)) return set_count(one.rule->count);
    if (option == fmt::format("keep-within-{}", one.name)) return set_span(one.rule->within);
  }
  return fail(Code::bad_input, fmt::format("no option '{}'", option));
}

std::vector<Verdict> judge(const Policy& policy, const std::vector<Record>& snapshots, WallTime now,
                           const UtcOffset& offset) {
  std::vector<Verdict> verdicts(snapshots.size());
  std::vector<size_t> order;  // of those that count, newest first
  for (size_t i = 0; i < snapshots.size(); ++i) {
    if (snapshots[i].partial) {
      verdicts[i] = {.keep = true, .reasons = {"partial snapshot"}};
    } else {
      order.push_back(i);
    }
  }
  std::ranges::sort(order, [&](size_t a, size_t b) {
    return std::pair(snapshots[a].time, snapshots[a].id) > std::pair(snapshots[b].time, snapshots[b].id);
  });
  const auto in_future = [&](size_t i) { return snapshots[i].time > now; };
  WallTime newest = INT64_MIN;
  for (const size_t i : order) {
    if (!in_future(i)) newest = std::max(newest, snapshots[i].time);
  }
  if (newest == INT64_MIN) newest = now;
  std::vector<Rule> rules = rules_of(policy, newest, offset);
  const WallTime within = before(newest, policy.within, offset);

  uint64_t stored = 0;
  for (size_t nth = 0; nth < order.size(); ++nth) {
    const size_t i = order[nth];
    const Record& snapshot = snapshots[i];
    const bool oldest = nth + 1 == order.size();
    std::vector<std::string>& reasons = verdicts[i].reasons;
    for (const auto& list : policy.tags) {
      if (has_all_tags(snapshot, list)) reasons.push_back(fmt::format("has tags [{}]", fmt::join(list, ", ")));
    }
    if (in_future(i)) {
      if (!policy.empty()) reasons.emplace_back("in the future");
    } else if (!policy.within.empty() && snapshot.time > within) {
      reasons.push_back("within " + to_string(policy.within));
    }
    for (Rule& rule : rules) {
      if (rule.left == 0 || (rule.on_time && in_future(i))) continue;
      if (rule.after && snapshot.time <= *rule.after) continue;
      const int64_t bucket = rule.bucket(snapshot.time, nth);
      const bool is_new = rule.last != bucket;
      if (!is_new && !oldest) continue;
      reasons.push_back(is_new ? rule.reason : "oldest " + rule.reason);
      rule.last = bucket;
      if (rule.left > 0) --rule.left;
    }
    if (policy.size) {
      const uint64_t added = snapshot.summary.data_added_packed;
      const bool fits = stored <= *policy.size && added <= *policy.size - stored;
      if (fits || nth == 0) reasons.push_back("within " + format_size(*policy.size));
      stored = fits ? stored + added : UINT64_MAX;
    }
    verdicts[i].keep = !reasons.empty();
  }
  return verdicts;
}

Result<GroupBy> parse_group_by(std::string_view text) {
  GroupBy by;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view word = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    if (word == "host" || word == "hosts") {
      by.host = true;
    } else if (word == "path" || word == "paths") {
      by.paths = true;
    } else if (word == "tag" || word == "tags") {
      by.tags = true;
    } else if (!word.empty()) {
      return fail(Code::bad_input, fmt::format("cannot group by '{}' (host, paths, tags)", word));
    }
  }
  return by;
}

std::vector<Group> group(std::vector<Record> snapshots, GroupBy by) {
  using Key = std::tuple<std::string, std::vector<std::string>, std::vector<std::string>>;
  std::map<Key, Group> groups;
  for (Record& snapshot : snapshots) {
    auto sorted = [](std::vector<std::string> list) {
      std::ranges::sort(list);
      return list;
    };
    Key key{by.host ? snapshot.host : "", by.paths ? sorted(snapshot.paths) : std::vector<std::string>(),
            by.tags ? sorted(snapshot.tags) : std::vector<std::string>()};
    Group& one = groups[key];
    std::tie(one.host, one.paths, one.tags) = key;
    one.snapshots.push_back(std::move(snapshot));
  }
  std::vector<Group> result;
  for (auto& [key, one] : groups) {
    std::ranges::sort(one.snapshots, {}, [](const Record& record) { return std::pair(record.time, record.id); });
    result.push_back(std::move(one));
  }
  return result;
}

}  // namespace cairn::backup
