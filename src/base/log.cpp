#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace cairn {

namespace {

class StderrLog final : public Log {
 public:
  explicit StderrLog(LogLevel level) : Log(level), logger_("cairn", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    logger_.set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    logger_.set_level(spdlog::level::trace);
  }

 private:
  void emit(LogLevel level, std::string_view line) override {
    logger_.log(static_cast<spdlog::level::level_enum>(level), "{}", line);
  }
  spdlog::logger logger_;
};

static_assert(static_cast<int>(LogLevel::warning) == SPDLOG_LEVEL_WARN);
static_assert(static_cast<int>(LogLevel::error) == SPDLOG_LEVEL_ERROR);

}  // namespace

std::unique_ptr<Log> make_stderr_log(LogLevel level) {
  return std::make_unique<StderrLog>(level);
}

}  // namespace cairn
