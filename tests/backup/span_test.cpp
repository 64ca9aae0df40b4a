#include "backup/span.h"

#include <catch2/catch.hpp>

using namespace cairn;
using namespace cairn::backup;

TEST_CASE("spans are years, months, days and hours") {
  CHECK(parse_span("1y5m7d2h") == Span{.years = 1, .months = 5, .days = 7, .hours = 2});
  CHECK(parse_span("2h7d") == Span{.days = 7, .hours = 2});
  CHECK(parse_span("75y") == Span{.years = 75});
  CHECK(parse_span("0d")->empty());
  CHECK(to_string(*parse_span("2h7d5m1y")) == "1y5m7d2h");
  for (const char* text :
       {"", "7", "1w", "d", "1 d", "-1d", "1d2", "1.5d", "1d1d", "99999999999999999999d", "2000000h"})
    CHECK(parse_span(text).error().code == Code::bad_input);
}

TEST_CASE("a span before a time follows the calendar") {
  const auto utc = [](WallTime) -> int64_t { return 0; };
  const auto back = [&](const char* time, const char* span) {
    return format_time(before(*parse_time(time), *parse_span(span), utc));
  };
  CHECK(back("2026-11-23T09:15:00Z", "1h") == "2026-11-23T08:15:00Z");
  CHECK(back("2026-11-23T09:15:00Z", "30d") == "2026-10-24T09:15:00Z");
  CHECK(back("2026-01-15T09:15:00Z", "1m") == "2025-12-15T09:15:00Z");
  CHECK(back("2026-01-15T09:15:00Z", "13m") == "2024-12-15T09:15:00Z");
  CHECK(back("2026-03-31T10:00:00Z", "1m") == "2026-03-03T10:00:00Z");
  CHECK(back("2024-02-29T10:00:00Z", "1y") == "2023-03-01T10:00:00Z");
  CHECK(back("2024-03-31T10:00:00Z", "1m") == "2024-03-02T10:00:00Z");
  CHECK(back("1970-01-01T00:00:00Z", "1d") == "1969-12-31T00:00:00Z");
  // Before all that can be said in nanoseconds is before everything.
  CHECK(before(0, Span{.years = 1'000'000}, utc) == INT64_MIN);
  CHECK(before(1, Span{.hours = 1}, utc) == -3'600'000'000'000 + 1);
}

TEST_CASE("periods before 1970 are cut like those after it") {
  const auto utc = [](WallTime) -> int64_t { return 0; };
  const auto at = [](const char* time) { return *parse_time(time); };
  const auto same = [&](const char* a, const char* b, Period period) {
    return period_of(at(a), period, utc) == period_of(at(b), period, utc);
  };
  CHECK(same("1969-12-31T23:00:00Z", "1969-12-31T23:59:59Z", Period::hour));
  CHECK_FALSE(same("1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", Period::hour));
  CHECK_FALSE(same("1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", Period::day));
  CHECK(same("1969-12-29T00:00:00Z", "1970-01-04T23:59:59Z", Period::week));
  CHECK_FALSE(same("1969-12-28T23:59:59Z", "1969-12-29T00:00:00Z", Period::week));
  CHECK_FALSE(same("1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", Period::month));
  CHECK_FALSE(same("1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", Period::year));
}
