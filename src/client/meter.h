#pragma once
// Meter: counts long work and reports it a few times a second.

#include "cairn/client.h"
#include "env/executor.h"

namespace cairn::client {

class Meter {
 public:
  Meter(const env::Clock& clock, OnProgress on_progress)
      : clock_(clock), on_progress_(std::move(on_progress)), start_(clock.now()), last_(start_) {}
  Progress progress;

  void tick() {
    if (!on_progress_ || clock_.now() - last_ < std::chrono::milliseconds(200)) return;
    last_ = clock_.now();
    progress.seconds = seconds();
    on_progress_(progress);
  }
  double seconds() const { return std::chrono::duration<double>(clock_.now() - start_).count(); }

 private:
  const env::Clock& clock_;
  OnProgress on_progress_;
  Time start_, last_;
};

}  // namespace cairn::client
