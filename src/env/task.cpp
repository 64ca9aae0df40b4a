#include "env/task.h"

namespace cairn::env {

void Signal::notify_all() {
  auto woken = std::exchange(waiters_, {});
  for (const auto& waiter : woken) {
    if (waiter->handle) detail::wake(*executor_, waiter);
  }
}

void Signal::notify_one() {
  while (!waiters_.empty()) {
    auto waiter = std::move(waiters_.front());
    waiters_.pop_front();
    if (!waiter->handle) continue;
    detail::wake(*executor_, waiter);
    return;
  }
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
  owner->signal_.notify_all();
}

Task<Semaphore::Permit> Semaphore::acquire(uint64_t count) {
  count = std::min(count, capacity_);
  const uint64_t ticket = next_ticket_++;
  queue_.insert(ticket);
  struct Leave {  // also when the frame is destroyed while it waits
    Semaphore& owner;
    uint64_t ticket;
    ~Leave() {
      owner.queue_.erase(ticket);
      owner.signal_.notify_all();
    }
  } leave{*this, ticket};
  while (*queue_.begin() != ticket || free_ < count) co_await signal_.wait();
  free_ -= count;
  co_return Permit(this, count);
}

std::optional<Semaphore::Permit> Semaphore::try_acquire(uint64_t count) {
  count = std::min(count, capacity_);
  if (!queue_.empty() || free_ < count) return std::nullopt;
  free_ -= count;
  return Permit(this, count);
}

}  // namespace cairn::env
