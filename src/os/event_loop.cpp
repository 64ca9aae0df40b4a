#include "os/event_loop.h"

#include <csignal>
#include <thread>

#include "os/asio.h"

namespace cairn::os {

namespace {

std::chrono::steady_clock::time_point to_steady(Time when) {
  return std::chrono::steady_clock::time_point(
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(when.since_start));
}

}  // namespace

// All timers share one Asio timer, armed for the earliest: schedule and cancel are then two map operations, and a
// deadline that is never reached costs no allocation in Asio.
struct EventLoop::Impl {
  Impl() : context(1), timer(context) {}  // 1: one thread, so that its own posts need no lock
  ~Impl() {
    // What timers own may refer to the context, which goes next; what the context's queue owns may still cancel timers.
    deadlines.clear();
    std::exchange(timers, {}).clear();
  }

  void arm() {
    const Time first = timers.begin()->first.first;
    if (armed_for && *armed_for <= first) return;  // fires early and finds nothing due: harmless
    armed_for = first;
    timer.expires_at(to_steady(first));
    timer.async_wait([this](const asio::error_code& error) {
      if (error) return;
      armed_for.reset();
      fire();
    });
  }

  void fire() {
    const Time now{std::chrono::steady_clock::now().time_since_epoch()};
    // Only what was due at the start of this turn: a timer that schedules another for now does not hold up the loop.
    std::vector<env::TimerId> due;
    for (const auto& [key, fn] : timers) {
      if (key.first > now) break;
      due.push_back(key.second);
    }
    for (const env::TimerId id : due) {
      const auto when = deadlines.find(id);
      if (when == deadlines.end()) continue;  // cancelled by one before it
      auto node = timers.extract({when->second, id});
      deadlines.erase(when);
      node.mapped()();
    }
    if (!timers.empty()) arm();
  }

  std::optional<Time> armed_for;
  std::map<std::pair<Time, env::TimerId>, std::move_only_function<void()>> timers;
  std::unordered_map<env::TimerId, Time> deadlines;
  asio::io_context context;
  asio::steady_timer timer;
  env::TimerId next_timer = 1;
  std::atomic<std::thread::id> strand{};
  std::atomic<bool> stopping{false};
};

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()) {}
EventLoop::~EventLoop() = default;

void EventLoop::run() {
  CAIRN_ASSERT(impl_->strand.exchange(std::this_thread::get_id()) == std::thread::id{});
  const auto work = asio::make_work_guard(impl_->context);
  impl_->context.restart();
  if (!impl_->stopping) impl_->context.run();
  impl_->stopping = false;
  impl_->strand = std::thread::id{};
}

void EventLoop::stop() {
  impl_->stopping = true;
  // Through the queue: a stop() between run()'s restart() and its first turn must not be lost.
  asio::post(impl_->context, [this] {
    if (impl_->stopping) impl_->context.stop();
  });
}

bool EventLoop::on_strand() const {
  return impl_->strand.load() == std::this_thread::get_id();
}

void EventLoop::post(std::move_only_function<void()> fn) {
  asio::post(impl_->context, std::move(fn));
}

Time EventLoop::now() const {
  return {std::chrono::steady_clock::now().time_since_epoch()};
}

WallTime EventLoop::wall_now() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

env::TimerId EventLoop::schedule(Time when, std::move_only_function<void()> fn) {
  const env::TimerId id = impl_->next_timer++;
  impl_->deadlines.emplace(id, when);
  impl_->timers.emplace(std::pair(when, id), std::move(fn));
  impl_->arm();
  return id;
}

void EventLoop::cancel(env::TimerId timer) {
  const auto when = impl_->deadlines.find(timer);
  if (when == impl_->deadlines.end()) return;
  auto node = impl_->timers.extract({when->second, timer});
  impl_->deadlines.erase(when);
  // The node, and with it what fn owns, goes here: after both maps are whole again.
}

asio::io_context& EventLoop::context() {
  return impl_->context;
}

struct Signals::State : std::enable_shared_from_this<State> {
  State(asio::io_context& context, std::move_only_function<void(int)> fn)
      : set(context, SIGTERM, SIGINT), on_signal(std::move(fn)) {}
  void wait() {
    set.async_wait([self = shared_from_this()](const asio::error_code& error, int signal) {
      if (error || self->stopped) return;
      self->wait();
      self->on_signal(signal);
    });
  }
  asio::signal_set set;
  std::move_only_function<void(int)> on_signal;
  bool stopped = false;
};

Signals::Signals(EventLoop& loop, std::move_only_function<void(int)> on_signal)
    : state_(std::make_shared<State>(loop.context(), std::move(on_signal))) {
  std::signal(SIGPIPE, SIG_IGN);
  state_->wait();
}

Signals::~Signals() {
  state_->stopped = true;
  asio::error_code ignored;
  state_->set.cancel(ignored);
}

struct Readable::State : std::enable_shared_from_this<State> {
  State(asio::io_context& context, int fd, std::move_only_function<bool()> fn)
      : descriptor(context, fd), ready(std::move(fn)) {}
  ~State() {
    if (descriptor.is_open()) descriptor.release();
  }
  void wait() {
    descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                          [self = shared_from_this()](const asio::error_code& error) {
                            if (error || self->stopped) return;
                            if (self->ready()) return self->wait();
                            self->descriptor.release();  // the caller may close it now
                          });
  }
  asio::posix::stream_descriptor descriptor;
  std::move_only_function<bool()> ready;
  bool stopped = false;
};

Readable::Readable(EventLoop& loop, int descriptor, std::move_only_function<bool()> ready)
    : state_(std::make_shared<State>(loop.context(), descriptor, std::move(ready))) {
  state_->wait();
}

Readable::~Readable() {
  state_->stopped = true;
  if (state_->descriptor.is_open()) state_->descriptor.release();  // ends the wait
}

}  // namespace cairn::os
