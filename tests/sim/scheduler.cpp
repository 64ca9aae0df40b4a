#include "sim/scheduler.h"

namespace cairn::sim {

Scheduler::~Scheduler() {
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].used) take(slot);  // a destructor may make events, too
  }
}

env::TimerId Scheduler::at(Time when, Owner owner, std::move_only_function<void()> fn) {
  uint32_t slot;
  if (free_.empty()) {
    slot = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  Slot& made = slots_[slot];
  made.owner = owner;
  made.used = true;
  made.fn = std::move(fn);
  ++pending_;
  const Entry entry{when, sequence_++, slot, made.generation};
  if (when <= now_) {
    due_.push_back(entry);
  } else if (when != Time::never()) {
    later_.push(entry);
  }
  return static_cast<uint64_t>(made.generation) << 32 | slot;
}

std::move_only_function<void()> Scheduler::take(uint32_t slot) {
  Slot& taken = slots_[slot];
  auto fn = std::move(taken.fn);
  taken.fn = nullptr;
  taken.used = false;
  ++taken.generation;
  free_.push_back(slot);
  --pending_;
  return fn;
}

void Scheduler::cancel(env::TimerId event) {
  const auto slot = static_cast<uint32_t>(event);
  const auto generation = static_cast<uint32_t>(event >> 32);
  if (slot >= slots_.size() || !slots_[slot].used || slots_[slot].generation != generation) return;
  const auto fn = take(slot);  // destroyed when nothing here is being changed any more
}

void Scheduler::drop(Owner owner) {
  for (bool found = true; found;) {  // what is destroyed may make more
    std::vector<std::move_only_function<void()>> dropped;
    for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot].used && slots_[slot].owner == owner) dropped.push_back(take(slot));
    }
    found = !dropped.empty();
  }
}

bool Scheduler::step(Time limit) {
  while (!due_.empty() && !alive(due_.front())) due_.pop_front();
  while (!later_.empty() && !alive(later_.top())) later_.pop();
  Entry next;
  if (!later_.empty() && (later_.top().when <= now_ || due_.empty())) {
    next = later_.top();
    if (next.when > limit) return false;
    later_.pop();
  } else if (!due_.empty()) {
    next = due_.front();
    due_.pop_front();
  } else {
    return false;
  }
  now_ = std::max(now_, next.when);
  running_ = slots_[next.slot].owner;
  ++executed_;
  trace_.mix(static_cast<uint64_t>(now_.since_start.count()));
  trace_.mix(running_);
  {
    auto fn = take(next.slot);
    fn();
  }
  running_ = 0;
  return true;
}

}  // namespace cairn::sim
