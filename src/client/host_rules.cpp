#include "client/host_rules.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace cairn::client {

namespace {

constexpr std::array<std::string_view, 7> kDays = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::optional<unsigned> day_of(std::string_view text) {
  std::string lower;
  for (const char c : trimmed(text)) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (unsigned day = 0; day < kDays.size(); ++day) {
    if (lower == kDays[day]) return day;
  }
  return std::nullopt;
}

std::optional<unsigned> number_of(std::string_view text, unsigned most) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.size() != 2 || value > most) return std::nullopt;
  return value;
}

std::optional<unsigned> minute_of(std::string_view text) {
  text = trimmed(text);
  if (text.size() != 5 || text[2] != ':') return std::nullopt;
  const auto hour = number_of(text.substr(0, 2), 24);
  const auto minute = number_of(text.substr(3), 59);
  if (!hour || !minute || *hour * 60 + *minute > 24 * 60) return std::nullopt;
  return *hour * 60 + *minute;
}

bool fits(const ScheduleEntry& entry, WeekTime now) {
  const auto on = [&](unsigned day) { return (entry.days >> day & 1) != 0; };
  if (entry.from < entry.to) return on(now.day) && now.minute >= entry.from && now.minute < entry.to;
  return (on(now.day) && now.minute >= entry.from) || (on((now.day + 6) % 7) && now.minute < entry.to);
}

}  // namespace

Allowance allowed_at(const HostRules& rules, WeekTime now) {
  Allowance allowance{.up = rules.up, .down = rules.down};
  for (const ScheduleEntry& entry : rules.schedule) {
    if (!fits(entry, now)) continue;
    if (entry.up) allowance.up = *entry.up;
    if (entry.down) allowance.down = *entry.down;
    if (entry.lend) allowance.lend = *entry.lend;
    break;
  }
  return allowance;
}

Result<Rate> parse_rate(std::string_view text) {
  std::string_view number = trimmed(text);
  if (number == "none") return Rate{};
  if (number.ends_with("/s")) number.remove_suffix(2);
  auto bytes = parse_size(number);
  if (!bytes) return fail(Code::bad_input, fmt::format("'{}' is no rate: use for instance \"2M\" or \"none\"", text));
  if (*bytes < kLeastRate)
    return fail(Code::bad_input, fmt::format("{} a second is too little for shards to pass: the least is {}; to lend "
                                             "nothing use `cairn pause` or lend = false in a schedule",
                                             format_size(*bytes), format_size(kLeastRate)));
  return Rate(*bytes);
}

Result<uint8_t> parse_days(std::string_view text) {
  const auto wrong = [&] {
    return fail(Code::bad_input, fmt::format("'{}' are no days: use for instance \"mon-fri\" or \"sat,sun\"", text));
  };
  uint8_t days = 0;
  std::string_view rest = text;
  for (bool more = true; more;) {
    const size_t comma = rest.find(',');
    more = comma != std::string_view::npos;
    const std::string_view part = rest.substr(0, comma);
    if (more) rest = rest.substr(comma + 1);
    const size_t dash = part.find('-');
    const auto first = day_of(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : day_of(part.substr(dash + 1));
    if (!first || !last) return wrong();
    for (unsigned day = *first;; day = (day + 1) % 7) {
      days |= static_cast<uint8_t>(1U << day);
      if (day == *last) break;
    }
  }
  return days;
}

Result<std::pair<uint16_t, uint16_t>> parse_hours(std::string_view text) {
  const size_t dash = text.find('-');
  const auto from = dash == std::string_view::npos ? std::nullopt : minute_of(text.substr(0, dash));
  const auto to = dash == std::string_view::npos ? std::nullopt : minute_of(text.substr(dash + 1));
  if (!from || !to || *from == 24 * 60 || *from == *to)
    return fail(Code::bad_input, fmt::format("'{}' are no hours: use for instance \"08:00-18:30\"", text));
  return std::pair(static_cast<uint16_t>(*from), static_cast<uint16_t>(*to));
}

}  // namespace cairn::client
