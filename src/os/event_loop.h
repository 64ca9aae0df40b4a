#pragma once
// EventLoop: the strand and the clock of a real process, on Asio.
//
// One thread at a time runs run(); that thread is the strand. Everything posted but not yet run when the loop is
// destroyed is destroyed without running.

#include <atomic>
#include <memory>

#include "env/executor.h"

namespace asio {
class io_context;
}

namespace cairn::os {

class EventLoop final : public env::Executor, public env::Clock {
 public:
  EventLoop();
  ~EventLoop() override;
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Runs what is posted until stop(). May be called again afterwards.
  void run();
  // Any thread, also before run(), which then returns at once.
  void stop();
  // True on the thread that is inside run().
  bool on_strand() const;

  void post(std::move_only_function<void()> fn) override;
  Time now() const override;
  WallTime wall_now() const override;
  env::TimerId schedule(Time when, std::move_only_function<void()> fn) override;
  void cancel(env::TimerId timer) override;

  asio::io_context& context();  // for this room

 private:
  friend class Signals;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Calls `on_signal` on the strand for each SIGTERM and SIGINT, for as long as it lives. SIGPIPE is ignored from then
// on. For composition roots: one per process.
class Signals {
 public:
  Signals(EventLoop& loop, std::move_only_function<void(int)> on_signal);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Calls `ready` on the strand whenever the descriptor can be read (or has failed), until that returns false or this
// goes. The descriptor stays the caller's and outlives this. Strand only.
class Readable {
 public:
  Readable(EventLoop& loop, int descriptor, std::move_only_function<bool()> ready);
  ~Readable();
  Readable(const Readable&) = delete;
  Readable& operator=(const Readable&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cairn::os
