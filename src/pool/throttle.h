#pragma once
// Throttle: bounds what background work moves in bytes per second, and lets the foreground go first.

#include <functional>

#include "env/task.h"
#include "pool/limits.h"

namespace cairn::pool {

// Strand only. Who asks first goes first; a large piece of work makes the next one wait, not itself.
class Throttle {
 public:
  // `busy`: is there foreground work now? Then it goes at 1/kForegroundShare of the rate.
  Throttle(env::Clock& clock, uint64_t bytes_per_second, std::function<bool()> busy = {})
      : clock_(clock), rate_(bytes_per_second), busy_(std::move(busy)) {}
  void set_rate(uint64_t bytes_per_second) { rate_ = bytes_per_second; }

  // Until so many bytes may be moved. What is urgent takes its part at the full rate whoever else is at work.
  env::Task<void> take(uint64_t bytes, bool urgent = false) {
    const Time now = clock_.now();
    const Time mine = std::max(next_, now);
    const uint64_t rate = std::max<uint64_t>(1, !urgent && busy_ && busy_() ? rate_ / kForegroundShare : rate_);
    next_ = mine + Duration(static_cast<int64_t>(static_cast<double>(bytes) * 1e9 / static_cast<double>(rate)));
    if (mine > now) co_await env::sleep_until(clock_, mine);
  }

 private:
  env::Clock& clock_;
  uint64_t rate_;
  std::function<bool()> busy_;
  Time next_{};
};

}  // namespace cairn::pool
