// Sizes, durations, times and errors as people read and write them.

#include "base/units.h"

#include <catch2/catch.hpp>

#include "base/log.h"

namespace cairn {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TEST_CASE("sizes are read with binary suffixes") {
  const std::pair<const char*, uint64_t> good[] = {{"0", 0},
                                                   {"4096", 4096},
                                                   {"312B", 312},
                                                   {"1K", kKiB},
                                                   {"200G", 200 * kGiB},
                                                   {"200g", 200 * kGiB},
                                                   {"512MiB", 512 * kMiB},
                                                   {"512mib", 512 * kMiB},
                                                   {"512MB", 512 * kMiB},
                                                   {"1.5T", 3 * kTiB / 2},
                                                   {"2P", 2048 * kTiB}};
  for (const auto& [text, bytes] : good) {
    INFO(text);
    auto size = parse_size(text);
    REQUIRE(size);
    CHECK(*size == bytes);
  }
  for (const char* wrong :
       {"", "G", "-1", "+1", "1X", "1.5.5G", "1 G", "1Gi", "1GiBB", "99999P", "nan", "inf", "-0", "0x10", "1e3"}) {
    INFO(wrong);
    auto size = parse_size(wrong);
    REQUIRE_FALSE(size);
    CHECK(size.error().code == Code::bad_input);
  }
}

TEST_CASE("sizes are written with one decimal") {
  CHECK(format_size(0) == "0 B");
  CHECK(format_size(312) == "312 B");
  CHECK(format_size(1023) == "1023 B");
  CHECK(format_size(1024) == "1.0 KiB");
  CHECK(format_size(1536 * kMiB) == "1.5 GiB");
  CHECK(format_size(kMiB - 1) == "1.0 MiB");
  CHECK(format_size(UINT64_MAX) == "16384.0 PiB");
}

TEST_CASE("durations are read, also as sums") {
  const std::pair<const char*, Duration> good[] = {
      {"24h", hours(24)},     {"30m", minutes(30)},         {"7d", hours(24 * 7)},
      {"90s", seconds(90)},   {"500ms", milliseconds(500)}, {"1h30m", minutes(90)},
      {"2w", hours(24 * 14)}, {"1.5h", minutes(90)},        {"0s", Duration(0)}};
  for (const auto& [text, duration] : good) {
    INFO(text);
    auto read = parse_duration(text);
    REQUIRE(read);
    CHECK(*read == duration);
  }
  for (const char* wrong : {"", "5", "h", "-5s", "5 s", "5y", "1h30", "1e3s", "999999999999s"}) {
    INFO(wrong);
    auto read = parse_duration(wrong);
    REQUIRE_FALSE(read);
    CHECK(read.error().code == Code::bad_input);
  }
}

TEST_CASE("durations are written as clocks show them") {
  CHECK(format_duration(seconds(0)) == "0:00");
  CHECK(format_duration(seconds(65)) == "1:05");
  CHECK(format_duration(hours(2) + minutes(3) + seconds(4)) == "2:03:04");
  CHECK(format_duration(hours(100)) == "100:00:00");
}

TEST_CASE("times are RFC 3339 in UTC, before 1970 and after 2038 too") {
  const std::pair<const char*, int64_t> vectors[] = {{"1970-01-01T00:00:00Z", 0},
                                                     {"2026-11-23T09:15:00Z", 1795425300},
                                                     {"1969-12-31T23:59:59Z", -1},
                                                     {"2100-02-28T23:59:59Z", 4107542399}};
  for (const auto& [text, at] : vectors) {
    INFO(text);
    CHECK(format_time(at * 1'000'000'000) == text);
    auto read = parse_time(text);
    REQUIRE(read);
    CHECK(*read == at * 1'000'000'000);
  }
  CHECK(format_time(-1) == "1969-12-31T23:59:59Z");
  for (const char* wrong : {"", "2026", "2026-13-01T00:00:00Z", "2026-11-23 09:15:00", "2026-11-23T09:15:00+01:00"}) {
    INFO(wrong);
    CHECK_FALSE(parse_time(wrong));
  }
}

TEST_CASE("monotonic times add and subtract") {
  const Time start{seconds(5)};
  CHECK((start + seconds(3)) - start == seconds(3));
  CHECK(start - seconds(6) < Time{});
  CHECK(start < Time::never());
}

TEST_CASE("errors say what and where") {
  CHECK(to_string(Error{Code::corrupt, "chunk tag mismatch"}) == "corrupt: chunk tag mismatch");
  CHECK(to_string(Error{Code::timeout, ""}) == "timed out");
  const Status inner = fail(Code::io, "disk");
  const Status outer = fail(inner.error(), "store");
  CHECK(to_string(outer.error()) == "input/output error: store: disk");
  const auto handed_on = [](Status status) -> Result<int> {
    CAIRN_TRY(status);
    return 1;
  };
  CHECK(*handed_on({}) == 1);
  CHECK(handed_on(inner).error().code == Code::io);
}

TEST_CASE("a rate limit lets a burst through in each period") {
  RateLimit limit(2, seconds(10));
  const Time start{hours(1)};
  CHECK(limit.allow(start));
  CHECK(limit.allow(start + seconds(1)));
  CHECK_FALSE(limit.allow(start + seconds(2)));
  CHECK_FALSE(limit.allow(start + seconds(9)));
  CHECK(limit.allow(start + seconds(10)));
}

TEST_CASE("a log line is its event, then key=value; lines below its level are not made") {
  struct Lines final : Log {
    Lines() : Log(LogLevel::info) {}
    void emit(LogLevel level, std::string_view line) override { lines.emplace_back(level, line); }
    std::vector<std::pair<LogLevel, std::string>> lines;
  } log;
  log.debug("hidden", "a={}", 1);
  log.info("plain");
  log.warning("shard_stored", "pack={} slot={}", "12ab", 3);
  REQUIRE(log.lines.size() == 2);
  CHECK(log.lines[0] == std::pair(LogLevel::info, std::string("plain")));
  CHECK(log.lines[1] == std::pair(LogLevel::warning, std::string("shard_stored pack=12ab slot=3")));
}

}  // namespace cairn
