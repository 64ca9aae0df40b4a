#include "base/units.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <ctime>

namespace cairn {

namespace {

// Reads a non-negative decimal number from the front of text and removes it.
Result<double> take_number(std::string_view& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc{} || !std::isfinite(value) || std::signbit(value))
    return fail(Code::bad_input, "a number is missing");
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

}  // namespace

Result<uint64_t> parse_size(std::string_view text) {
  const std::string all(text);
  auto number = take_number(text);
  if (!number) return fail(Code::bad_input, fmt::format("'{}' is not a size (use for instance 200G or 1.5T)", all));
  double factor = 1;
  if (!text.empty()) {
    constexpr std::string_view kSuffixes = "KMGTP";
    const char letter = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
    if (const size_t power = kSuffixes.find(letter); power != std::string_view::npos) {
      factor = std::pow(1024.0, static_cast<double>(power) + 1);
      text.remove_prefix(1);
      if (!text.empty() && (text[0] == 'i' || text[0] == 'I')) {
        text.remove_prefix(1);
        if (text.empty()) text = "?";
      }
    }
    if (!text.empty() && (text[0] == 'B' || text[0] == 'b')) text.remove_prefix(1);
  }
  const double bytes = *number * factor;
  if (!text.empty() || bytes >= 9.2e18) {
    return fail(Code::bad_input, fmt::format("'{}' is not a size (use for instance 200G or 1.5T)", all));
  }
  return static_cast<uint64_t>(bytes);
}

std::string format_size(uint64_t bytes) {
  constexpr std::array<const char*, 6> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

Result<Duration> parse_duration(std::string_view text) {
  const std::string all(text);
  const auto bad = [&] {
    return fail(Code::bad_input, fmt::format("'{}' is not a duration (use for instance 24h or 7d)", all));
  };
  double seconds = 0;
  if (text.empty()) return bad();
  while (!text.empty()) {
    auto number = take_number(text);
    if (!number) return bad();
    if (text.starts_with("ms")) {
      seconds += *number / 1000;
      text.remove_prefix(2);
      continue;
    }
    constexpr std::array<std::pair<char, double>, 5> kUnits = {
        {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}}};
    const auto* unit = std::ranges::find_if(kUnits, [&](const auto& u) { return !text.empty() && u.first == text[0]; });
    if (unit == kUnits.end()) return bad();
    seconds += *number * unit->second;
    text.remove_prefix(1);
  }
  if (seconds > 9e9) return bad();
  return Duration(static_cast<int64_t>(seconds * 1e9));
}

std::string format_duration(Duration duration) {
  const int64_t total = std::chrono::duration_cast<std::chrono::seconds>(duration).count();
  if (total >= 3600) return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
  return fmt::format("{}:{:02}", total / 60, total % 60);
}

std::string format_time(WallTime time) {
  int64_t seconds = time / 1'000'000'000;
  if (time % 1'000'000'000 < 0) --seconds;
  const auto clock = static_cast<std::time_t>(seconds);
  std::tm parts{};
  gmtime_r(&clock, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

Result<WallTime> parse_time(std::string_view text) {
  std::tm parts{};
  const std::string copy(text);
  const char* end = strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (end == nullptr || (*end != 'Z' && *end != '\0')) {
    return fail(Code::bad_input, fmt::format("'{}' is not a time (use for instance 2026-11-23T09:15:00Z)", copy));
  }
  return static_cast<WallTime>(timegm(&parts)) * 1'000'000'000;
}

}  // namespace cairn
