#include "backup/retention.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "backup/selection.h"

using namespace cairn;
using namespace cairn::backup;

namespace {

SnapshotId id_of(size_t number) {
  SnapshotId id;
  for (size_t i = 0; i < 8; ++i) id.bytes[i] = static_cast<uint8_t>(number >> (56 - 8 * i));
  return id;
}

WallTime time_of(const std::string& text) {
  auto time = parse_time(text);
  INFO(text);
  REQUIRE(time);
  return *time;
}

// Central European time of 2026, written down here so that no data of the test machine decides.
int64_t berlin(WallTime time) {
  static const WallTime summer = *parse_time("2026-03-29T01:00:00Z"), winter = *parse_time("2026-10-25T01:00:00Z");
  return time >= summer && time < winter ? 7200 : 3600;
}

struct Case {
  std::string name, policy, zone = "+00:00";
  WallTime now = INT64_MAX;
  std::vector<std::pair<std::string, Record>> snapshots;
  std::set<std::string> keep;
  std::map<std::string, std::string> reasons;
};

UtcOffset offset_of(const std::string& zone) {
  if (zone == "berlin") return berlin;
  const int64_t seconds = std::stoi(zone.substr(1, 2)) * 3600 + std::stoi(zone.substr(4, 2)) * 60;
  return [signed_seconds = zone[0] == '-' ? -seconds : seconds](WallTime) { return signed_seconds; };
}

std::vector<Case> read_cases() {
  std::ifstream file(CAIRN_TEST_DATA "/retention.txt");
  REQUIRE(file);
  std::vector<Case> cases;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string verb, word;
    words >> verb;
    std::string rest;
    std::getline(words >> std::ws, rest);
    if (verb == "case") {
      cases.emplace_back().name = rest;
      continue;
    }
    Case& one = cases.back();
    std::istringstream in(rest);
    const auto add = [&](const std::string& name, WallTime time) -> Record& {
      Record& record = one.snapshots.emplace_back(name, Record{}).second;
      record.id = id_of(one.snapshots.size());
      record.time = time;
      return record;
    };
    if (verb == "zone") {
      one.zone = rest;
    } else if (verb == "now") {
      one.now = time_of(rest);
    } else if (verb == "policy") {
      one.policy = rest;
    } else if (verb == "at") {
      std::string name, time;
      in >> name >> time;
      Record& record = add(name, time_of(time));
      while (in >> word) {
        if (word == "partial") record.partial = true;
        if (word.starts_with("tags=")) record.tags = parse_tag_list(word.substr(5));
        if (word.starts_with("size=")) record.summary.data_added_packed = *parse_size(word.substr(5));
      }
    } else if (verb == "every") {
      std::string name, step, time;
      int count = 0;
      in >> name >> count >> step >> time;
      for (int i = 0; i < count; ++i)
        add(name + std::to_string(i + 1), time_of(time) + i * parse_duration(step)->count());
    } else if (verb == "keep") {
      while (in >> word) {
        const size_t dash = word.find('-');
        if (dash == std::string::npos) {
          one.keep.insert(word);
          continue;
        }
        const size_t digits = word.find_first_of("0123456789");
        const int last = std::stoi(word.substr(dash + 1));
        for (int i = std::stoi(word.substr(digits)); i <= last; ++i)
          one.keep.insert(word.substr(0, digits) + std::to_string(i));
      }
    } else if (verb == "reason") {
      in >> word;
      std::string text;
      std::getline(in >> std::ws, text);
      one.reasons[word] = text;
    } else {
      FAIL("unknown line: " << line);
    }
  }
  return cases;
}

Policy policy_of(const std::string& text) {
  Policy policy;
  std::istringstream in(text);
  for (std::string option, value; in >> option >> value;) {
    INFO(option << " " << value);
    REQUIRE(option.starts_with("--"));
    REQUIRE(set_keep_option(policy, option.substr(2), value == "''" ? "" : value));
  }
  return policy;
}

}  // namespace

TEST_CASE("every case of the golden file keeps what restic's documentation says") {
  const std::vector<Case> cases = read_cases();
  REQUIRE(cases.size() >= 60);
  for (const Case& one : cases) {
    INFO(one.name);
    std::vector<Record> records;
    for (const auto& [name, record] : one.snapshots) records.push_back(record);
    const auto verdicts = judge(policy_of(one.policy), records, one.now, offset_of(one.zone));
    REQUIRE(verdicts.size() == records.size());
    std::set<std::string> kept;
    for (size_t i = 0; i < verdicts.size(); ++i) {
      const std::string& name = one.snapshots[i].first;
      if (verdicts[i].keep) kept.insert(name);
      CHECK(verdicts[i].keep == !verdicts[i].reasons.empty());
      if (const auto expected = one.reasons.find(name); expected != one.reasons.end())
        CHECK(fmt::format("{}", fmt::join(verdicts[i].reasons, "; ")) == expected->second);
    }
    CHECK(kept == one.keep);
    for (const auto& [name, text] : one.reasons) CHECK(kept.contains(name));
  }
}

TEST_CASE("a policy of zeros is empty, and one with a single option is not") {
  Policy policy;
  CHECK(policy.empty());
  for (const char* option : {"keep-last", "keep-hourly", "keep-daily", "keep-weekly", "keep-monthly", "keep-yearly"}) {
    REQUIRE(set_keep_option(policy, option, "0"));
    CHECK(policy.empty());
    Policy one;
    REQUIRE(set_keep_option(one, option, "1"));
    CHECK_FALSE(one.empty());
  }
  for (const char* option : {"keep-within", "keep-within-hourly", "keep-within-daily", "keep-within-weekly",
                             "keep-within-monthly", "keep-within-yearly"}) {
    Policy one;
    REQUIRE(set_keep_option(one, option, "1d"));
    CHECK_FALSE(one.empty());
  }
  Policy size, tag;
  REQUIRE(set_keep_option(size, "keep-size", "1G"));
  CHECK_FALSE(size.empty());
  REQUIRE(set_keep_option(tag, "keep-tag", ""));
  CHECK_FALSE(tag.empty());
}

TEST_CASE("what is no value of a keep option is refused") {
  Policy policy;
  for (const char* value : {"", "x", "-2", "1.5", "3 ", "99999999999999999999"})
    CHECK(set_keep_option(policy, "keep-last", value).error().code == Code::bad_input);
  for (const char* value : {"", "1w", "7", "d", "-1d", "1d1d"})
    CHECK(set_keep_option(policy, "keep-within", value).error().code == Code::bad_input);
  CHECK(set_keep_option(policy, "keep-size", "much").error().code == Code::bad_input);
  CHECK(set_keep_option(policy, "keep-forever", "1").error().code == Code::bad_input);
  CHECK(policy.empty());
}

TEST_CASE("snapshots are grouped by host and paths, by tags, or not at all") {
  const auto make = [](size_t number, std::string host, std::vector<std::string> paths, std::vector<std::string> tags) {
    Record record;
    record.id = id_of(number);
    record.time = 100 - static_cast<WallTime>(number);
    record.host = std::move(host);
    record.paths = std::move(paths);
    record.tags = std::move(tags);
    return record;
  };
  const std::vector<Record> all = {make(1, "a", {"/x", "/y"}, {"t"}), make(2, "a", {"/y", "/x"}, {}),
                                   make(3, "b", {"/x", "/y"}, {"t"}), make(4, "a", {"/x"}, {})};
  auto by_default = parse_group_by("host,paths");
  REQUIRE(by_default);
  const auto groups = group(all, *by_default);
  REQUIRE(groups.size() == 3);
  CHECK(groups[0].paths == std::vector<std::string>{"/x"});
  CHECK(groups[1].host == "a");
  REQUIRE(groups[1].snapshots.size() == 2);
  CHECK(groups[1].snapshots[0].id == id_of(2));  // oldest first
  CHECK(groups[2].host == "b");
  CHECK(group(all, *parse_group_by("tags")).size() == 2);
  CHECK(group(all, *parse_group_by("")).size() == 1);
  CHECK(group(all, *parse_group_by("paths,tags")).size() == 3);
  CHECK(parse_group_by("colour").error().code == Code::bad_input);
}
