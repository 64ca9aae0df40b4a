#pragma once
// Spans of calendar time as restic writes them: "2y5m7d3h" (years, months, days, hours), and the calendar of retention.

#include <functional>
#include <string>

#include "base/result.h"
#include "base/units.h"

namespace cairn::backup {

struct Span {
  int64_t years = 0, months = 0, days = 0, hours = 0;
  bool empty() const { return years == 0 && months == 0 && days == 0 && hours == 0; }
  bool operator==(const Span&) const = default;
};

// Whole numbers, each with its unit, in any order; "1w" is not one (say 7d). Code::bad_input.
Result<Span> parse_span(std::string_view text);
std::string to_string(const Span& span);

// Seconds that local time is ahead of UTC at a moment: the time zone of whoever asks.
using UtcOffset = std::function<int64_t(WallTime)>;

// `span` before `time`. Years, months and days are counted on the calendar of the zone; a day that the month does not
// have runs over into the next one (a month before 31 March is 31 February, that is 3 March), as in Go's AddDate, which
// restic's users know. Hours are hours.
WallTime before(WallTime time, const Span& span, const UtcOffset& offset);

enum class Period { hour, day, week, month, year };
// A number that two moments share exactly when they lie in the same hour, day, week (from Monday), month or year.
int64_t period_of(WallTime time, Period period, const UtcOffset& offset);

}  // namespace cairn::backup
