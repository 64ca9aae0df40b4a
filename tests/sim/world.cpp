#include "sim/world.h"

namespace cairn::sim {

class SimWorld::TesterStrand final : public env::Executor {
 public:
  explicit TesterStrand(Scheduler& scheduler) : scheduler_(scheduler) {}
  void post(std::move_only_function<void()> fn) override { scheduler_.at(scheduler_.now(), 0, std::move(fn)); }

 private:
  Scheduler& scheduler_;
};

class SimWorld::TesterClock final : public env::Clock {
 public:
  explicit TesterClock(Scheduler& scheduler) : scheduler_(scheduler) {}
  Time now() const override { return scheduler_.now(); }
  WallTime wall_now() const override { return scheduler_.now().since_start.count(); }
  env::TimerId schedule(Time when, std::move_only_function<void()> fn) override {
    return scheduler_.at(when, 0, std::move(fn));
  }
  void cancel(env::TimerId timer) override { scheduler_.cancel(timer); }

 private:
  Scheduler& scheduler_;
};

SimWorld::SimWorld(uint64_t seed)
    : seed_(seed),
      prng_(seed),
      scheduler_(trace_),
      network_(*this),
      strand_(std::make_unique<TesterStrand>(scheduler_)),
      clock_(std::make_unique<TesterClock>(scheduler_)) {}

SimWorld::~SimWorld() {
  for (const auto& node : nodes_) {
    if (node->up()) node->crash(CrashKind::process);
  }
  for (const auto& node : nodes_) scheduler_.drop(node->index() + 1);
  scheduler_.drop(0);
}

SimNode& SimWorld::add_node() {
  nodes_.push_back(std::make_unique<SimNode>(*this, static_cast<NodeIndex>(nodes_.size()), prng_.next()));
  return *nodes_.back();
}

env::Executor& SimWorld::executor() {
  return *strand_;
}
env::Clock& SimWorld::clock() {
  return *clock_;
}

bool SimWorld::run_until(const std::function<bool()>& condition, Duration limit) {
  CAIRN_ASSERT(scheduler_.running() == 0);
  const Time end = now() + limit;
  while (!condition()) {
    if (!scheduler_.step(end)) return false;
  }
  return true;
}

bool SimWorld::look_until(const std::function<bool()>& condition, Duration every, Duration limit) {
  for (const Time end = now() + limit; !condition(); run_for(every)) {
    if (now() >= end) return false;
  }
  return true;
}

void SimWorld::run_for(Duration duration) {
  const Time end = now() + duration;
  while (scheduler_.step(end)) {
  }
  scheduler_.advance_to(end);
}

void SimWorld::after(Duration delay, std::move_only_function<void()> fn) {
  scheduler_.at(now() + delay, 0, std::move(fn));
}

std::string SimWorld::stuck_text(Duration limit) const {
  return fmt::format("the task did not end: {} (seed {}, {} events pending, virtual time {})",
                     scheduler_.empty() ? "nothing is left to run"
                                        : "it waits for what does not come within " + format_duration(limit),
                     seed_, scheduler_.pending(), format_duration(now() - Time{}));
}

}  // namespace cairn::sim
