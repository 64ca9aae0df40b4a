// HOME/config.toml: limits and schedules, and edits that change only what they mean.
#include <catch2/catch.hpp>

#include "client/config.h"

namespace cairn::client {
namespace {

Config read(const std::string& text) {
  auto config = parse_config(text, "config.toml");
  INFO((config ? "" : to_string(config.error())));
  REQUIRE(config);
  return *config;
}
std::string refused(const std::string& text) {
  auto config = parse_config(text, "config.toml");
  REQUIRE_FALSE(config);
  REQUIRE(config.error().code == Code::bad_input);
  return config.error().context;
}
WeekTime at(unsigned day, unsigned hour, unsigned minute = 0) {
  return {day, hour * 60 + minute};
}

TEST_CASE("without limits and schedules everything is allowed at any time") {
  const HostRules rules = read("name = \"a\"\n").rules;
  for (unsigned day = 0; day < 7; ++day) REQUIRE(allowed_at(rules, at(day, 12)) == Allowance{});
  REQUIRE(rules.on_battery);
  REQUIRE(rules.on_metered);
  REQUIRE(rules.low_priority);
}

TEST_CASE("a schedule counts in its hours, and of several the first that fits") {
  const HostRules rules = read(R"(
[limits]
up = "2M"
down = "8M/s"
on_battery = false
on_metered = false
priority = "normal"
[[schedule]]
days = "mon-fri"
hours = "08:00-18:30"
up = "500K"
[[schedule]]
days = "fri,sat"
hours = "22:00-06:00"
down = "none"
up = "none"
[[schedule]]
days = "sun"
lend = false
)")
                              .rules;
  REQUIRE_FALSE(rules.on_battery);
  REQUIRE_FALSE(rules.on_metered);
  REQUIRE_FALSE(rules.low_priority);
  const Allowance usual{.up = 2 * kMiB, .down = 8 * kMiB};
  const Allowance work{.up = 500 * kKiB, .down = 8 * kMiB};
  REQUIRE(allowed_at(rules, at(0, 7, 59)) == usual);
  REQUIRE(allowed_at(rules, at(0, 8)) == work);
  REQUIRE(allowed_at(rules, at(4, 18, 29)) == work);
  REQUIRE(allowed_at(rules, at(4, 18, 30)) == usual);
  REQUIRE(allowed_at(rules, at(5, 12)) == usual);
  REQUIRE(allowed_at(rules, at(4, 21, 59)) == usual);
  REQUIRE(allowed_at(rules, at(4, 22)) == Allowance{});     // Friday night
  REQUIRE(allowed_at(rules, at(5, 5, 59)) == Allowance{});  // until Saturday morning
  REQUIRE(allowed_at(rules, at(5, 6)) == usual);
  REQUIRE(allowed_at(rules, at(6, 5)) == Allowance{});  // Saturday's night goes first,
  REQUIRE_FALSE(allowed_at(rules, at(6, 7)).lend);      // then Sunday
  REQUIRE(allowed_at(rules, at(6, 7)).up == Rate(2 * kMiB));
  REQUIRE(allowed_at(rules, at(0, 0)) == usual);
}

TEST_CASE("days and hours are read as people write them") {
  REQUIRE(*parse_days("mon") == 0b0000001);
  REQUIRE(*parse_days("Sat, Sun") == 0b1100000);
  REQUIRE(*parse_days("fri-mon") == 0b1110001);
  REQUIRE(*parse_days("mon-sun") == 0b1111111);
  REQUIRE(*parse_hours("00:00-24:00") == std::pair<uint16_t, uint16_t>(0, 1440));
  for (const char* days : {"", "monday", "mon-", "mon,,tue", "1-5"}) REQUIRE_FALSE(parse_days(days));
  for (const char* hours :
       {"", "8-18", "08:00", "24:00-01:00", "08:60-09:00", "08:00-08:00", "25:00-26:00", "08:00-24:01"})
    REQUIRE_FALSE(parse_hours(hours));
}

TEST_CASE("what cannot be understood is refused with what is wrong about it") {
  REQUIRE_THAT(refused("[limits]\nup = \"fast\"\n"), Catch::Contains("'fast' is no rate"));
  REQUIRE_THAT(refused("[limits]\nup = \"0\"\n"), Catch::Contains("cairn pause"));
  REQUIRE_THAT(refused("[limits]\nupload = \"1M\"\n"), Catch::Contains("there is no 'upload'"));
  REQUIRE_THAT(refused("[limits]\non_battery = \"no\"\n"), Catch::Contains("config.toml"));
  REQUIRE_THAT(refused("[limits]\npriority = \"high\"\n"), Catch::Contains("priority"));
  REQUIRE_THAT(refused("[[schedule]]\ndays = \"weekend\"\n"), Catch::Contains("'weekend' are no days"));
  REQUIRE_THAT(refused("[[schedule]]\nhours = \"9-5\"\n"), Catch::Contains("'9-5' are no hours"));
  REQUIRE_THAT(refused("[[schedule]]\nhour = \"09:00-17:00\"\n"), Catch::Contains("there is no 'hour'"));
  REQUIRE_THAT(refused("paused = \"yes\"\n"), Catch::Contains("config.toml"));
  REQUIRE_THAT(refused("[[store]]\npath = \"/a\"\nlimit = \"1G\"\nkeep_free = \"x%\"\n"), Catch::Contains("keep_free"));
}

constexpr char kWritten[] = R"(# my node
name = "attic"   # upstairs
listen = "0.0.0.0:4774"

# the big disk
[[store]]
path = "/srv/big"
limit = "200G"   # half of it
keep_free = "10%"

# the old one
[[store]]
path = "/srv/old"
limit = "50G"

# at work
[[schedule]]
days = "mon-fri"
lend = false
)";

TEST_CASE("a flag is set and taken back without touching anything else") {
  const std::string paused = with_flag(kWritten, "paused", true);
  REQUIRE(read(paused).paused);
  REQUIRE(with_flag(paused, "paused", true) == paused);
  REQUIRE(with_flag(paused, "paused", false) == kWritten);
  REQUIRE(read(with_flag("name = \"x\"", "leaving", true)).leaving);
  REQUIRE(read(with_flag("", "leaving", true)).leaving);
}

TEST_CASE("a store is changed, marked and taken out, and all else in the file stays as it was") {
  auto small = with_changed_store(kWritten, {.path = "/srv/old", .limit = 20 * kGiB, .keep_free_share = 0.10}, false);
  REQUIRE(small);
  std::string expected = kWritten;
  expected.replace(expected.find("limit = \"50G\""), 13, "limit = \"21474836480\"");
  REQUIRE(*small == expected);
  auto keep = with_changed_store(
      kWritten, {.path = "/srv/big", .limit = 200 * kGiB, .keep_free = 7 * kGiB, .keep_free_share = 0}, true);
  REQUIRE(keep);
  const Config config = read(*keep);
  REQUIRE(config.stores[0].keep_free == 7 * kGiB);
  REQUIRE(config.stores[0].limit == 200 * kGiB);
  REQUIRE(config.removing == std::vector<std::string>{"/srv/big"});
  REQUIRE_THAT(*keep, Catch::Contains("limit = \"200G\"   # half of it\n"));
  auto back = with_changed_store(*keep, {.path = "/srv/big", .limit = 200 * kGiB, .keep_free_share = 0.10}, false);
  REQUIRE(back);
  REQUIRE(*back == kWritten);
  auto gone = without_store(kWritten, "/srv/big");
  REQUIRE(gone);
  REQUIRE(read(*gone).stores.size() == 1);
  REQUIRE(read(*gone).stores[0].path == "/srv/old");
  REQUIRE_THAT(*gone, Catch::Contains("# the old one\n[[store]]") && Catch::Contains("lend = false"));
  REQUIRE(without_store(kWritten, "/srv/other").error().code == Code::not_found);
}

TEST_CASE("a file that lines do not show as they are is left to a person") {
  const std::string inlined = "name = \"a\"\nstore = [{path = \"/a\", limit = \"1G\"}]\n";
  REQUIRE(read(inlined).stores.size() == 1);
  REQUIRE(with_changed_store(inlined, {.path = "/a", .limit = 2 * kGiB}, false).error().code == Code::bad_input);
  REQUIRE(without_store(inlined, "/a").error().code == Code::bad_input);
}

}  // namespace
}  // namespace cairn::client
