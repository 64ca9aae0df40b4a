#pragma once
// The injected logger: an event name and key=value pairs. Never keys or plaintext. A line that a remote can trigger at
// will goes through a RateLimit.

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/units.h"

namespace cairn {

enum class LogLevel { trace, debug, info, warning, error, off };

// Thread-safe. Outlives everything that it is handed to.
class Log {
 public:
  explicit Log(LogLevel level = LogLevel::info) : level_(level) {}
  virtual ~Log() = default;
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // log.info("shard_stored", "pack={} slot={}", pack.short_hex(), slot);
  template <class... Args>
  void debug(std::string_view event, fmt::format_string<Args...> format = "", Args&&... args) {
    write(LogLevel::debug, event, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void info(std::string_view event, fmt::format_string<Args...> format = "", Args&&... args) {
    write(LogLevel::info, event, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void warning(std::string_view event, fmt::format_string<Args...> format = "", Args&&... args) {
    write(LogLevel::warning, event, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void error(std::string_view event, fmt::format_string<Args...> format = "", Args&&... args) {
    write(LogLevel::error, event, format, std::forward<Args>(args)...);
  }
  bool enabled(LogLevel level) const { return level >= level_; }

 protected:
  // One line without a newline.
  virtual void emit(LogLevel level, std::string_view line) = 0;

 private:
  template <class... Args>
  void write(LogLevel level, std::string_view event, fmt::format_string<Args...> format, Args&&... args) {
    if (!enabled(level)) return;
    std::string line(event);
    std::string rest = fmt::format(format, std::forward<Args>(args)...);
    if (!rest.empty()) line += " " + rest;
    emit(level, line);
  }
  LogLevel level_;
};

// Drops everything; for tests.
class NullLog final : public Log {
 public:
  NullLog() : Log(LogLevel::off) {}

 private:
  void emit(LogLevel, std::string_view) override {}
};

// Lines with time and level on stderr (spdlog).
std::unique_ptr<Log> make_stderr_log(LogLevel level);

// At most `burst` lines per `period`; not thread-safe. `if (limit.allow(clock.now())) log.warning(...)`
class RateLimit {
 public:
  RateLimit(uint32_t burst, Duration period) : burst_(burst), period_(period) {}
  bool allow(Time now) {
    if (now - window_start_ >= period_) {
      window_start_ = now;
      in_window_ = 0;
    }
    return in_window_++ < burst_;
  }

 private:
  uint32_t burst_;
  Duration period_;
  Time window_start_{};
  uint32_t in_window_ = 0;
};

}  // namespace cairn
