#include "env/task.h"

namespace cairn::env {

void Signal::notify_all() {
  auto woken = std::exchange(state_->waiters, {});
  for (const auto& waiter : woken) {
    waiter->waits = false;
    detail::wake(state_->executor, waiter);
  }
}

void Signal::State::notify_one() {
  if (waiters.empty()) return;
  const auto waiter = std::move(waiters.front());
  waiters.pop_front();
  waiter->waits = false;
  waiter->chosen = true;
  detail::wake(executor, waiter);
}

struct TaskGroup::Entry {
  std::coroutine_handle<> root;  // null once it has ended or was cancelled
  TaskGroup* group = nullptr;
  std::list<std::shared_ptr<Entry>>::iterator position;
};

// The outermost frame of a spawned task. When it ends, its group forgets it; the frame is destroyed there and then,
// at its final suspension point.
struct TaskGroup::Root {
  struct promise_type {
    Entry* entry = nullptr;
    Root get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    auto final_suspend() const noexcept {
      struct Awaiter {
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<promise_type> self) const noexcept {
          const Entry& ended = *self.promise().entry;
          ended.group->finished(ended.position);
        }
        void await_resume() const noexcept {}
      };
      return Awaiter{};
    }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;

  static Root run(Task<void> task) { co_await std::move(task); }
};

TaskGroup::TaskGroup(Executor& executor) : executor_(executor), emptied_(executor) {}

TaskGroup::~TaskGroup() {
  cancel();
}

void TaskGroup::spawn(Task<void> task) {
  auto entry = std::make_shared<Entry>();
  Root root = Root::run(std::move(task));
  root.handle.promise().entry = entry.get();
  entry->root = root.handle;
  entry->group = this;
  entry->position = roots_.insert(roots_.end(), entry);
  executor_.post([weak = std::weak_ptr(entry)] {
    if (auto alive = weak.lock(); alive && alive->root) alive->root.resume();
  });
}

void TaskGroup::finished(std::list<std::shared_ptr<Entry>>::iterator position) {
  const std::shared_ptr<Entry> entry = *position;
  roots_.erase(position);
  std::exchange(entry->root, {}).destroy();
  if (roots_.empty()) emptied_.notify_all();
}

Task<void> TaskGroup::join() {
  while (!roots_.empty()) co_await emptied_.wait();
}

void TaskGroup::cancel() {
  while (!roots_.empty()) {
    const std::shared_ptr<Entry> entry = roots_.front();
    roots_.pop_front();
    std::exchange(entry->root, {}).destroy();
  }
  emptied_.notify_all();
}

void Semaphore::Permit::release() {
  if (owner_ == nullptr) return;
  Semaphore* owner = std::exchange(owner_, nullptr);
  owner->free_ += count_;
  owner->grant();
}

void Semaphore::grant() {
  while (!queue_.empty() && free_ >= queue_.front().count) {
    const Request first = queue_.front();
    queue_.pop_front();
    free_ -= first.count;
    first.granted.set(Permit(this, first.count));
  }
}

Task<Semaphore::Permit> Semaphore::acquire(uint64_t count) {
  count = std::min(count, capacity_);
  if (auto permit = try_acquire(count)) co_return std::move(*permit);
  // A permit that was granted to a frame that is destroyed before it runs again is given back by the OneShot's end.
  const OneShot<Permit> granted(executor_);
  struct Place {
    Semaphore& owner;
    const OneShot<Permit>& granted;
    std::list<Request>::iterator at;
    ~Place() {
      if (granted.is_set()) return;
      owner.queue_.erase(at);
      owner.grant();  // it may have stood in the way of smaller ones
    }
  } place{*this, granted, queue_.insert(queue_.end(), Request{count, granted})};
  auto permit = co_await granted;
  co_return permit;
}

std::optional<Semaphore::Permit> Semaphore::try_acquire(uint64_t count) {
  count = std::min(count, capacity_);
  if (!queue_.empty() || free_ < count) return std::nullopt;
  free_ -= count;
  return Permit(this, count);
}

}  // namespace cairn::env
