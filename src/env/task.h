#pragma once
// Coroutines: Task<T>, TaskGroup and the things a task waits for.
//
// A Task is lazy and owned: it runs when it is awaited or spawned, and destroying it destroys its frame and all that
// it waits for. So cancelling is destroying: every awaitable here takes itself back when its frame goes. Work that no
// TaskGroup owns does not exist.
//
// Everything here belongs to one strand (env/executor.h). Waking a task always goes through Executor::post, never
// straight out of the waker's call, so the waker's state cannot change under it. Two rules for the user:
//  * never destroy a TaskGroup, or call cancel(), from inside one of its own tasks;
//  * hold no std::mutex across co_await.

#include <algorithm>
#include <coroutine>
#include <exception>
#include <list>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/result.h"
#include "env/executor.h"

namespace cairn::env {

template <class T = void>
class Task;

namespace detail {

struct PromiseBase {
  std::coroutine_handle<> continuation;

  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) const noexcept {
      auto next = self.promise().continuation;
      return next ? next : std::noop_coroutine();
    }
    void await_resume() const noexcept {}
  };

  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }
  [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  template <class U>
    requires std::constructible_from<T, U&&>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() const noexcept {}
};

}  // namespace detail

template <class T>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task() = default;
  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      destroy();
      handle_ = std::exchange(other.handle_, {});
    }
    return *this;
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() { destroy(); }

  auto operator co_await() && noexcept {
    struct Awaiter {
      Handle handle;
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiting) const noexcept {
        handle.promise().continuation = waiting;
        return handle;
      }
      T await_resume() const {
        if constexpr (!std::is_void_v<T>) return std::move(*handle.promise().value);
      }
    };
    CAIRN_ASSERT(handle_);
    return Awaiter{handle_};
  }

 private:
  void destroy() {
    if (handle_) std::exchange(handle_, {}).destroy();
  }
  Handle handle_;
};

template <class T>
Task<T> detail::Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> detail::Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

namespace detail {

// One suspended coroutine that somebody may wake once. Shared by the waiter and its waker; the waiter's end forgets it.
struct Waiter {
  explicit Waiter(std::coroutine_handle<> waiting) : handle(waiting) {}
  std::coroutine_handle<> handle;  // null once it was resumed or has gone
  bool waits = false;              // is in a signal's list
  bool chosen = false;             // woken alone, for one event
  void resume() {
    if (handle) std::exchange(handle, {}).resume();
  }
};
inline void wake(Executor& executor, const std::shared_ptr<Waiter>& waiter) {
  executor.post([waiter] { waiter->resume(); });
}

}  // namespace detail

// A value that is set once and taken by one task, and awaited by one at a time; the two ends are copies of it. Setting
// a second time is ignored (answers race with deadlines). An await that is destroyed while it waits, or was woken and
// has not yet run, takes nothing: a later one gets the value.
template <class T>
class OneShot {
 public:
  explicit OneShot(Executor& executor) : state_(std::make_shared<State>(executor)) {}

  // Strand only. True when this call was the one that set it.
  bool set(T value) const {
    if (state_->value) return false;
    state_->value.emplace(std::move(value));
    if (state_->waiter) detail::wake(state_->executor, state_->waiter);
    return true;
  }
  bool is_set() const { return state_->value.has_value(); }

  auto operator co_await() const noexcept {
    struct Awaiter {
      std::shared_ptr<State> state;
      std::shared_ptr<detail::Waiter> waiter;
      explicit Awaiter(std::shared_ptr<State> shared) : state(std::move(shared)) {}
      Awaiter(const Awaiter&) = delete;
      Awaiter& operator=(const Awaiter&) = delete;
      ~Awaiter() {
        if (!waiter) return;
        waiter->handle = {};
        if (state->waiter == waiter) state->waiter.reset();
      }
      bool await_ready() const noexcept { return state->value.has_value(); }
      void await_suspend(std::coroutine_handle<> handle) {
        CAIRN_ASSERT(!state->waiter);
        waiter = std::make_shared<detail::Waiter>(handle);
        state->waiter = waiter;
      }
      T await_resume() { return std::move(*state->value); }
    };
    return Awaiter(state_);
  }

 private:
  struct State {
    explicit State(Executor& e) : executor(e) {}
    Executor& executor;
    std::optional<T> value;
    std::shared_ptr<detail::Waiter> waiter;
  };
  std::shared_ptr<State> state_;
};

// Wakes all that wait at notify_all(), or the one that waits longest at notify_one(). Remembers nothing: test your
// condition in a loop.
//   while (!ready) co_await signal.wait();
// Who was chosen by notify_one() and is destroyed before its turn passes the wake-up on to the next.
class Signal {
  struct State {
    explicit State(Executor& e) : executor(e) {}
    void notify_one();
    Executor& executor;
    std::list<std::shared_ptr<detail::Waiter>> waiters;
  };

 public:
  explicit Signal(Executor& executor) : state_(std::make_shared<State>(executor)) {}
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

  auto wait() noexcept {
    struct Awaiter {
      std::shared_ptr<State> state;
      std::shared_ptr<detail::Waiter> waiter;
      std::list<std::shared_ptr<detail::Waiter>>::iterator place;
      explicit Awaiter(std::shared_ptr<State> shared) : state(std::move(shared)) {}
      Awaiter(const Awaiter&) = delete;
      Awaiter& operator=(const Awaiter&) = delete;
      ~Awaiter() {
        if (!waiter || !waiter->handle) return;
        waiter->handle = {};
        if (waiter->waits) state->waiters.erase(place);
        if (waiter->chosen) state->notify_one();
      }
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> handle) {
        waiter = std::make_shared<detail::Waiter>(handle);
        waiter->waits = true;
        place = state->waiters.insert(state->waiters.end(), waiter);
      }
      void await_resume() const noexcept {}
    };
    return Awaiter(state_);
  }
  void notify_all();
  void notify_one() { state_->notify_one(); }

 private:
  std::shared_ptr<State> state_;  // shared with the waiters
};

// Owns running tasks. Destroying it, or cancel(), ends them where they stand. It outlives each join().
class TaskGroup {
 public:
  explicit TaskGroup(Executor& executor);
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  ~TaskGroup();

  // The task starts with the executor's next turn.
  void spawn(Task<void> task);
  // Until no task is left.
  Task<void> join();
  void cancel();
  size_t size() const { return roots_.size(); }
  bool empty() const { return roots_.empty(); }

 private:
  struct Root;  // a coroutine that tells its group when it has ended
  friend struct RootPromise;
  struct Entry;
  void finished(std::list<std::shared_ptr<Entry>>::iterator entry);
  Executor& executor_;
  std::list<std::shared_ptr<Entry>> roots_;
  Signal emptied_;
};

// Counts permits; acquire() is first come, first served. The Permit gives them back.
class Semaphore {
 public:
  class Permit {
   public:
    Permit() = default;
    Permit(Permit&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), count_(other.count_) {}
    Permit& operator=(Permit&& other) noexcept {
      if (this != &other) {
        release();
        owner_ = std::exchange(other.owner_, nullptr);
        count_ = other.count_;
      }
      return *this;
    }
    ~Permit() { release(); }
    void release();

   private:
    friend class Semaphore;
    Permit(Semaphore* owner, uint64_t count) : owner_(owner), count_(count) {}
    Semaphore* owner_ = nullptr;
    uint64_t count_ = 0;
  };

  Semaphore(Executor& executor, uint64_t permits) : executor_(executor), free_(permits), capacity_(permits) {}
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;
  // More than the capacity counts as the capacity, so that it can be had at all. The semaphore outlives its permits.
  Task<Permit> acquire(uint64_t count = 1);
  std::optional<Permit> try_acquire(uint64_t count = 1);
  uint64_t free() const { return free_; }

 private:
  struct Request {
    uint64_t count;
    OneShot<Permit> granted;
  };
  void grant();  // to those that wait, in their order, while it suffices for the first
  Executor& executor_;
  uint64_t free_;
  uint64_t capacity_;
  std::list<Request> queue_;
};

// Suspends until `when`. Destroying the frame cancels the timer.
class SleepUntil {
 public:
  SleepUntil(Clock& clock, Time when) : clock_(clock), when_(when) {}
  SleepUntil(const SleepUntil&) = delete;
  SleepUntil& operator=(const SleepUntil&) = delete;
  ~SleepUntil() {
    if (timer_ != 0) clock_.cancel(timer_);
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    timer_ = clock_.schedule(when_, [this, handle] {
      timer_ = 0;
      handle.resume();
    });
  }
  void await_resume() const noexcept {}

 private:
  Clock& clock_;
  Time when_;
  TimerId timer_ = 0;
};
inline SleepUntil sleep_until(Clock& clock, Time when) {
  return {clock, when};
}
inline SleepUntil sleep_for(Clock& clock, Duration duration) {
  return {clock, clock.now() + duration};
}

// The task's result, or Code::timeout at the deadline; the task is then destroyed where it stands.
template <class T>
Task<Result<T>> with_deadline(Executor& executor, Clock& clock, Time deadline, Task<Result<T>> task) {
  OneShot<Result<T>> outcome(executor);
  TaskGroup group(executor);
  group.spawn([](Task<Result<T>> inner, OneShot<Result<T>> out) -> Task<void> { out.set(co_await std::move(inner)); }(
                                                                    std::move(task), outcome));
  const TimerId timer = clock.schedule(deadline, [outcome] { outcome.set(fail(Code::timeout)); });
  struct Cancel {
    Clock& clock;
    TimerId timer;
    ~Cancel() { clock.cancel(timer); }
  } cancel{clock, timer};
  co_return co_await outcome;
}

// Runs all at the same time; the results in the order of the tasks.
template <class T>
Task<std::vector<T>> when_all(Executor& executor, std::vector<Task<T>> tasks) {
  std::vector<std::optional<T>> slots(tasks.size());
  TaskGroup group(executor);
  for (size_t i = 0; i < tasks.size(); ++i) {
    group.spawn([](Task<T> inner, std::optional<T>& slot) -> Task<void> { slot.emplace(co_await std::move(inner)); }(
                                                              std::move(tasks[i]), slots[i]));
  }
  co_await group.join();
  std::vector<T> results;
  results.reserve(slots.size());
  for (auto& slot : slots) results.push_back(std::move(*slot));
  co_return results;
}

}  // namespace cairn::env
