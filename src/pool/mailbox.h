#pragma once
// Mailbox: what several tasks report to the one that started them. Strand only; one receiver at a time.

#include <deque>
#include <optional>

#include "env/task.h"

namespace cairn::pool {

// Declare it before the TaskGroup whose tasks send into it. It is bounded by the number of those tasks' reports.
template <class T>
class Mailbox {
 public:
  Mailbox(env::Executor& executor, env::Clock& clock) : clock_(clock), arrived_(executor) {}
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  void send(T item) {
    items_.push_back(std::move(item));
    arrived_.notify_all();
  }

  // The next item; nothing when `deadline` comes first. Time::never() waits for an item.
  env::Task<std::optional<T>> receive(Time deadline) {
    Timer timer{clock_};
    while (items_.empty()) {
      if (clock_.now() >= deadline) co_return std::nullopt;
      if (timer.id == 0 && deadline != Time::never()) {
        timer.id = clock_.schedule(deadline, [this] { arrived_.notify_all(); });
      }
      co_await arrived_.wait();
    }
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    co_return item;
  }

 private:
  struct Timer {
    env::Clock& clock;
    env::TimerId id = 0;
    ~Timer() { clock.cancel(id); }
  };
  env::Clock& clock_;
  env::Signal arrived_;
  std::deque<T> items_;
};

// Until the signal is notified or the deadline comes, whichever is first. The signal outlives the task.
inline env::Task<void> wait_until(env::Clock& clock, env::Signal& signal, Time deadline) {
  struct Timer {
    env::Clock& clock;
    env::TimerId id = 0;
    ~Timer() { clock.cancel(id); }
  } timer{clock};
  if (clock.now() >= deadline) co_return;
  if (deadline != Time::never()) timer.id = clock.schedule(deadline, [&signal] { signal.notify_all(); });
  co_await signal.wait();
}

}  // namespace cairn::pool
