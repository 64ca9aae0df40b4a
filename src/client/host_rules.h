#pragma once
// What a host allows Cairn to take of it, and when: the [limits] and [[schedule]] of HOME/config.toml. Pure.
//
//   [limits]
//   up = "2M"                # bytes a second that the daemon sends to other machines; "none" (the default): no limit
//   down = "8M"              # and that it receives. Commands of this home (put, get, mount) are not limited
//   on_battery = true        # false: lends nothing while the machine runs on battery
//   on_metered = true        # false: lends nothing while NetworkManager says that the connection is metered
//   priority = "low"         # of the daemon for processor and disk; "normal": as every program. Read at its start
//
//   [[schedule]]             # in these hours what stands here counts instead; of several the first that fits
//   days = "mon-fri"         # also "sat,sun"; without it every day
//   hours = "08:00-18:30"    # local time; "22:00-06:00" begins on the days named; without it the whole day
//   up = "500K"
//   down = "none"
//   lend = false             # lends nothing in these hours
//
// Lending nothing: new shards are refused, shards are not served to other members, and nothing is moved or repaired.
// The node stays in the pool, and its shards count as there.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/result.h"
#include "cairn/units.h"

namespace cairn::client {

// Bytes a second; none: no limit.
using Rate = std::optional<uint64_t>;

struct ScheduleEntry {
  uint8_t days = 0x7F;    // bit 0: Monday
  uint16_t from = 0;      // minute of the day
  uint16_t to = 24 * 60;  // the first minute that is no longer meant; <= from: on the day after
  std::optional<Rate> up, down;
  std::optional<bool> lend;
  bool operator==(const ScheduleEntry&) const = default;
};

struct HostRules {
  Rate up, down;
  bool on_battery = true, on_metered = true;
  bool low_priority = true;
  std::vector<ScheduleEntry> schedule;
  bool operator==(const HostRules&) const = default;
};

// A moment in the week, local time.
struct WeekTime {
  unsigned day = 0;     // 0: Monday
  unsigned minute = 0;  // of the day
};

struct Allowance {
  Rate up, down;
  bool lend = true;
  bool operator==(const Allowance&) const = default;
};
Allowance allowed_at(const HostRules& rules, WeekTime now);

// A shard of 4 MiB must pass within what a request may take (peer/limits.h: 10 minutes).
inline constexpr uint64_t kLeastRate = 16 * kKiB;
// "2M", "2M/s", "none". Code::bad_input.
Result<Rate> parse_rate(std::string_view text);
// "mon-fri", "sat,sun", "fri-mon": bit 0 is Monday. Code::bad_input.
Result<uint8_t> parse_days(std::string_view text);
// "08:00-18:30": minutes of the day, the second one up to 24:00. Code::bad_input.
Result<std::pair<uint16_t, uint16_t>> parse_hours(std::string_view text);

}  // namespace cairn::client
