#pragma once
// Executor and Clock: the one strand that owns a node's protocol state, and its time.

#include <cstdint>
#include <functional>

#include "base/units.h"

namespace cairn::env {

// Runs functions one after the other on the protocol strand (in the simulator: the one simulated thread).
class Executor {
 public:
  virtual ~Executor() = default;
  // Queues fn; never runs it inside the call. Any thread may call. Order of calls from one thread is kept.
  virtual void post(std::move_only_function<void()> fn) = 0;
};

using TimerId = uint64_t;  // 0 is never given out

// Strand only, but for now() and wall_now(), which any thread may call.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time now() const = 0;
  virtual WallTime wall_now() const = 0;
  // Runs fn on the strand once `when` has come. One that is due at once still runs later, never inside the call.
  virtual TimerId schedule(Time when, std::move_only_function<void()> fn) = 0;
  // After this returns fn does not run. A timer that has run, or 0, is ignored.
  virtual void cancel(TimerId timer) = 0;
};

}  // namespace cairn::env
