#include "backup/span.h"

#include <charconv>
#include <chrono>

namespace cairn::backup {

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kDay = 86400;
// Nothing that a person means is longer, and no sum of such overflows.
constexpr int64_t kMaxCount = 1'000'000;

int64_t floor_div(int64_t a, int64_t b) {
  return a / b - (a % b < 0 ? 1 : 0);
}

int64_t local_seconds(WallTime time, const UtcOffset& offset) {
  return floor_div(time, kSecond) + offset(time);
}

std::chrono::year_month_day date_of(int64_t days) {
  return std::chrono::year_month_day(std::chrono::sys_days(std::chrono::days(days)));
}

}  // namespace

Result<Span> parse_span(std::string_view text) {
  const std::string all(text);
  const auto bad = [&] {
    return fail(Code::bad_input, fmt::format("'{}' is not a span of time (use for instance 1y5m7d2h)", all));
  };
  Span span;
  if (text.empty()) return bad();
  while (!text.empty()) {
    int64_t count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (error != std::errc{} || count < 0 || count > kMaxCount || end == text.data() + text.size()) return bad();
    int64_t* const part = *end == 'y'   ? &span.years
                          : *end == 'm' ? &span.months
                          : *end == 'd' ? &span.days
                          : *end == 'h' ? &span.hours
                                        : nullptr;
    if (part == nullptr || *part != 0) return bad();  // a unit given twice is a slip of the pen
    *part = count;
    text.remove_prefix(static_cast<size_t>(end - text.data()) + 1);
  }
  return span;
}

std::string to_string(const Span& span) {
  std::string text;
  if (span.years != 0) text += fmt::format("{}y", span.years);
  if (span.months != 0) text += fmt::format("{}m", span.months);
  if (span.days != 0) text += fmt::format("{}d", span.days);
  if (span.hours != 0) text += fmt::format("{}h", span.hours);
  return text;
}

WallTime before(WallTime time, const Span& span, const UtcOffset& offset) {
  const int64_t local = local_seconds(time, offset);
  const int64_t fraction = time - floor_div(time, kSecond) * kSecond;
  const int64_t day = floor_div(local, kDay);
  const auto date = date_of(day);
  const int64_t month = static_cast<int64_t>(static_cast<int>(date.year())) * 12 +
                        static_cast<int64_t>(static_cast<unsigned>(date.month())) - 1 - span.years * 12 - span.months;
  const int64_t year = floor_div(month, 12);
  if (year < -30'000) return INT64_MIN;
  const std::chrono::sys_days first =
      std::chrono::year(static_cast<int>(year)) / std::chrono::month(static_cast<unsigned>(month - year * 12) + 1) / 1;
  const int64_t days =
      first.time_since_epoch().count() + static_cast<int64_t>(static_cast<unsigned>(date.day())) - 1 - span.days;
  const int64_t there = days * kDay + local - day * kDay;  // on the zone's clock
  // Nanoseconds since 1970 reach back to 1677.
  if (there < -9'000'000'000) return INT64_MIN;
  int64_t utc = there - offset(time);
  utc = there - offset(utc * kSecond);  // the zone's clock may have been set differently then
  return (utc - span.hours * 3600) * kSecond + fraction;
}

int64_t period_of(WallTime time, Period period, const UtcOffset& offset) {
  const int64_t local = local_seconds(time, offset);
  const int64_t day = floor_div(local, kDay);
  switch (period) {
    case Period::hour:
      return floor_div(local, 3600);
    case Period::day:
      return day;
    case Period::week:
      return floor_div(day + 3, 7);  // 1970-01-01 was a Thursday
    case Period::month: {
      const auto date = date_of(day);
      return static_cast<int64_t>(static_cast<int>(date.year())) * 12 + static_cast<unsigned>(date.month());
    }
    case Period::year:
      return static_cast<int>(date_of(day).year());
  }
  return 0;
}

}  // namespace cairn::backup
