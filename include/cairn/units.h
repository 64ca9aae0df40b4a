#pragma once
// Sizes and times as people read and write them.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "cairn/result.h"

namespace cairn {

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;
inline constexpr uint64_t kTiB = 1024 * kGiB;

using Duration = std::chrono::nanoseconds;

// Local monotonic time: differences mean something, the zero does not. Decides deadlines and safety.
struct Time {
  Duration since_start{};
  auto operator<=>(const Time&) const = default;
  friend Time operator+(Time t, Duration d) { return {t.since_start + d}; }
  friend Time operator-(Time t, Duration d) { return {t.since_start - d}; }
  friend Duration operator-(Time a, Time b) { return a.since_start - b.since_start; }
  static constexpr Time never() { return {Duration::max()}; }
};

// Nanoseconds since 1970-01-01 UTC. For people and expiry dates; never for safety.
using WallTime = int64_t;

// "200G" = 200 GiB; also "1.5T", "512MiB", "4096". Suffixes K M G T P, optional "iB" or "B", any case.
Result<uint64_t> parse_size(std::string_view text);
// "1.5 GiB", "312 B"
std::string format_size(uint64_t bytes);
// "24h", "30m", "7d", "90s", "500ms"; a sum such as "1h30m" too.
Result<Duration> parse_duration(std::string_view text);
// "1:05" or "2:03:04"
std::string format_duration(Duration duration);
// RFC 3339 in UTC with seconds, "2026-11-23T09:15:00Z"
std::string format_time(WallTime time);
Result<WallTime> parse_time(std::string_view text);

}  // namespace cairn
