#pragma once
// Calls: the operations of a drive that are under way, each of which may be interrupted.
//
// A call runs at once, on its caller's stack, as far as it gets: most file operations need no waiting at all, and then
// cost neither a turn of the loop nor an entry here. One that waits too long can be ended. Strand only.

#include <cerrno>
#include <coroutine>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "env/task.h"

namespace cairn::client {

class Calls {
 public:
  using Ticket = uint64_t;
  explicit Calls(env::Clock& clock) : clock_(clock) {}
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;
  // Destroys what runs, unanswered: interrupt_all() answers.
  ~Calls() {
    for (auto& [ticket, call] : running_) call.handle.destroy();
  }

  // A ticket for begin(); from any thread where the caller keeps the counter apart.
  // Runs `task` and hands its result to `done`, with `ticket` for interrupt(). True: it has ended already.
  // `failed`: makes what done is given when it is ended: by interrupt() with EINTR, by expire() with EIO.
  // `patience`: how long it may take; none: as long as it likes.
  template <class T>
  bool begin(Ticket ticket, env::Task<T> task, std::move_only_function<void(T)> done, T (*failed)(int error),
             std::optional<Duration> patience = std::nullopt) {
    bool ended = false;
    auto root = run<T>(std::move(task), std::move(done), failed);
    auto& promise = root.handle.promise();
    promise.calls = this;
    promise.ticket = ticket;
    promise.ended = &ended;
    const auto handle = root.handle;
    handle.resume();
    if (ended) return true;
    promise.ended = nullptr;
    running_.emplace(ticket,
                     Running{handle, &promise, patience ? std::optional(clock_.now() + *patience) : std::nullopt});
    return false;
  }

  void interrupt(Ticket ticket, int error = EINTR) {
    const auto found = running_.find(ticket);
    if (found == running_.end()) return;
    const Running call = found->second;
    running_.erase(found);
    auto answer = call.promise->take_failed(error);
    call.handle.destroy();
    answer();
  }
  // Ends those whose time is over; how many.
  size_t expire() {
    const Time now = clock_.now();
    std::vector<Ticket> over;
    for (const auto& [ticket, call] : running_) {
      if (call.deadline && *call.deadline <= now) over.push_back(ticket);
    }
    for (const Ticket ticket : over) interrupt(ticket, EIO);
    return over.size();
  }
  void interrupt_all() {
    while (!running_.empty()) interrupt(running_.begin()->first);
  }
  size_t size() const { return running_.size(); }

 private:
  struct PromiseBase {
    Calls* calls = nullptr;
    Ticket ticket = 0;
    bool* ended = nullptr;                                                      // while begin() is running
    std::move_only_function<std::move_only_function<void()>(int)> take_failed;  // takes the callback out

    struct Final {
      bool await_ready() const noexcept { return false; }
      template <class P>
      void await_suspend(std::coroutine_handle<P> self) const noexcept {
        PromiseBase& promise = self.promise();
        if (promise.ended != nullptr) {
          *promise.ended = true;
        } else {
          promise.calls->running_.erase(promise.ticket);
        }
        self.destroy();
      }
      void await_resume() const noexcept {}
    };
    std::suspend_always initial_suspend() const noexcept { return {}; }
    Final final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
  };

  template <class T>
  struct Root {
    struct promise_type : PromiseBase {
      // The coroutine's own copies of its arguments.
      promise_type(env::Task<T>&, std::move_only_function<void(T)>& done, T (*&failed)(int)) {
        this->take_failed = [&done, failed](int error) -> std::move_only_function<void()> {
          return [callback = std::move(done), failed, error]() mutable { callback(failed(error)); };
        };
      }
      Root get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    };
    std::coroutine_handle<promise_type> handle;
  };
  template <class T>
  static Root<T> run(env::Task<T> task, std::move_only_function<void(T)> done, T (*)(int)) {
    auto result = co_await std::move(task);
    done(std::move(result));
  }

  struct Running {
    std::coroutine_handle<> handle;
    PromiseBase* promise;
    std::optional<Time> deadline;
  };
  env::Clock& clock_;
  std::unordered_map<Ticket, Running> running_;
};

}  // namespace cairn::client
