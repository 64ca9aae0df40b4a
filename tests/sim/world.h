#pragma once
// SimWorld: a whole network of simulated machines in one thread under virtual time, from one seed.
//
//   SimWorld sim(seed);
//   SimNode& node = sim.add_node();
//   auto store = sim.run(ShardStore::open(node.world(), options, true));
//   store->reset(); node.crash(); node.restart();
//
// Everything runs inside run(), run_for() and run_until(). Strand only: there are no threads. Production objects are
// destroyed before the world, or owned by their node (SimNode::own).

#include <stdexcept>

#include "sim/node.h"

namespace cairn::sim {

// The simulation could not end: a task waits for what never comes. what() says the seed and the state.
struct Stuck : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class SimWorld {
 public:
  explicit SimWorld(uint64_t seed);
  ~SimWorld();
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  uint64_t seed() const { return seed_; }
  SimNode& add_node();
  SimNode& node(size_t index) const { return *nodes_.at(index); }
  size_t size() const { return nodes_.size(); }
  SimNetwork& network() { return network_; }
  Trace& trace() { return trace_; }
  Scheduler& scheduler() { return scheduler_; }
  env::Prng& prng() { return prng_; }
  Time now() const { return scheduler_.now(); }

  // The tester's own strand and clock: they belong to no node and never crash.
  env::Executor& executor();
  env::Clock& clock();

  // Runs the simulation until the task has ended. Throws Stuck when nothing is left to run or the virtual time is over.
  template <class T>
  T run(env::Task<T> task, Duration limit = std::chrono::hours(1)) {
    if constexpr (std::is_void_v<T>) {
      bool ended = false;
      env::TaskGroup group(executor());
      group.spawn([](env::Task<void> inner, bool& flag) -> env::Task<void> {
        co_await std::move(inner);
        flag = true;
      }(std::move(task), ended));
      if (!run_until([&] { return ended; }, limit)) throw Stuck(stuck_text(limit));
    } else {
      std::optional<T> result;
      env::TaskGroup group(executor());
      group.spawn([](env::Task<T> inner, std::optional<T>& out) -> env::Task<void> {
        out.emplace(co_await std::move(inner));
      }(std::move(task), result));
      if (!run_until([&] { return result.has_value(); }, limit)) throw Stuck(stuck_text(limit));
      return std::move(*result);
    }
  }
  // Until the condition holds, tested after every event; false when nothing is left to run or the time is over.
  bool run_until(const std::function<bool()>& condition, Duration limit = std::chrono::hours(1));
  // The same, tested only every so often: for conditions that cost more than an event.
  bool look_until(const std::function<bool()>& condition, Duration every, Duration limit);
  // All events of the next `duration`; virtual time then stands at its end.
  void run_for(Duration duration);
  // An event of the tester's own.
  void after(Duration delay, std::move_only_function<void()> fn);

 private:
  class TesterStrand;
  class TesterClock;
  std::string stuck_text(Duration limit) const;

  uint64_t seed_;
  Trace trace_;
  env::Prng prng_;
  Scheduler scheduler_;
  SimNetwork network_;
  std::unique_ptr<TesterStrand> strand_;
  std::unique_ptr<TesterClock> clock_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
};

}  // namespace cairn::sim
