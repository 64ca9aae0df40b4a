#pragma once
// Scheduler: the one queue of events of a simulation. Order: time, then sequence number.

#include <deque>
#include <queue>
#include <vector>

#include "env/executor.h"
#include "sim/trace.h"

namespace cairn::sim {

// Whose event it is: 0 the tester's own, else the index of the node + 1.
using Owner = uint32_t;

class Scheduler {
 public:
  explicit Scheduler(Trace& trace) : trace_(trace) {}
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  Time now() const { return now_; }
  // Never runs fn inside the call. Time::never() is accepted and never comes.
  env::TimerId at(Time when, Owner owner, std::move_only_function<void()> fn);
  void cancel(env::TimerId event);
  // Destroys all events of this owner unrun.
  void drop(Owner owner);
  // Runs the next event when it is due by `limit`; false when there is none (time then stands still).
  bool step(Time limit);
  void advance_to(Time when) { now_ = std::max(now_, when); }
  bool empty() const { return pending_ == 0; }
  size_t pending() const { return pending_; }
  // Whose event is running; 0 outside of all.
  Owner running() const { return running_; }
  uint64_t executed() const { return executed_; }

 private:
  struct Slot {
    uint32_t generation = 1;
    Owner owner = 0;
    bool used = false;
    std::move_only_function<void()> fn;
  };
  struct Entry {
    Time when;
    uint64_t sequence;
    uint32_t slot, generation;
    bool operator>(const Entry& other) const {
      return when != other.when ? when > other.when : sequence > other.sequence;
    }
  };
  bool alive(const Entry& entry) const {
    return slots_[entry.slot].used && slots_[entry.slot].generation == entry.generation;
  }
  std::move_only_function<void()> take(uint32_t slot);

  Trace& trace_;
  Time now_{};
  uint64_t sequence_ = 0, executed_ = 0;
  size_t pending_ = 0;
  Owner running_ = 0;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> later_;
  std::deque<Entry> due_;  // made when they were due already: younger than all in later_ that are due
};

}  // namespace cairn::sim
