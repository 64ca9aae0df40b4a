#pragma once
// RealWorld: everything that a composition root needs from this room, made, owned and taken down in the right order.
//
//   os::tune_allocator();
//   os::RealWorld world({.log = *log, .device_seed = seed});
//   auto answer = world.block_on(work(world.world()));   // the calling thread is the strand meanwhile
// or, where other threads call in (the public library):
//   world.start();                                       // a thread of its own is the strand
//   auto answer = world.block_on(work(world.world()));   // any thread
//   world.stop();

#include <condition_variable>
#include <thread>

#include "env/world.h"
#include "os/disk.h"
#include "os/event_loop.h"
#include "os/meta_store.h"
#include "os/network.h"
#include "os/random.h"
#include "os/workers.h"

namespace cairn::os {

struct RealWorldOptions {
  Log& log;
  // The device key's seed. May come later, by set_identity(); without it the network refuses to work.
  std::optional<crypto::Key> device_seed = std::nullopt;
  unsigned workers = 0;   // 0: as WorkerPool chooses
  std::string root = {};  // where relative paths of disk and meta_stores start; empty: the working folder
};

class RealWorld {
 public:
  explicit RealWorld(RealWorldOptions options);
  // All that uses world() has gone before. Stops the thread if there is one.
  ~RealWorld();
  RealWorld(const RealWorld&) = delete;
  RealWorld& operator=(const RealWorld&) = delete;

  env::World world();
  EventLoop& loop() { return loop_; }
  // Before the first use of the network.
  void set_identity(const crypto::Key& device_seed) { network_.set_identity(device_seed); }
  TlsNetwork& network() { return network_; }

  // The calling thread becomes the strand until stop().
  void run() { loop_.run(); }
  // A thread of its own becomes the strand.
  void start();
  // Any thread but that one. What was posted and has not run stays for the next run() or start().
  void stop();

  // Runs a task to its end and gives its result. From any thread after start(); else from a thread that may become the
  // strand meanwhile. Never from the strand itself.
  template <class T>
  T block_on(env::Task<T> task) {
    CAIRN_ASSERT(!loop_.on_strand());
    auto call = std::make_shared<Blocked<T>>(loop_);
    const bool threaded = thread_.joinable();
    loop_.post([this, call, threaded, work = std::move(task)]() mutable {
      call->group.spawn(fill(*this, call, std::move(work), threaded));
    });
    if (!threaded) {
      loop_.run();
      CAIRN_ASSERT(call->done);  // nobody else may stop the loop meanwhile
    } else {
      std::unique_lock lock(call->mutex);
      call->ended.wait(lock, [&] { return call->done; });
    }
    if constexpr (!std::is_void_v<T>) return std::move(*call->result);
  }

 private:
  template <class T>
  struct Blocked {
    explicit Blocked(env::Executor& executor) : group(executor) {}
    std::mutex mutex;
    std::condition_variable ended;
    bool done = false;  // under mutex
    std::optional<std::conditional_t<std::is_void_v<T>, bool, T>> result;
    env::TaskGroup group;
  };

  template <class T>
  static env::Task<void> fill(RealWorld& self, std::shared_ptr<Blocked<T>> call, env::Task<T> task, bool threaded) {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(task);
    } else {
      call->result.emplace(co_await std::move(task));
    }
    // Posted, so that this frame has left the group by then: the caller may destroy it at once.
    self.loop_.post([&self, call, threaded] {
      {
        const std::lock_guard guard(call->mutex);
        call->done = true;
      }
      call->ended.notify_all();
      if (!threaded) self.loop_.stop();
    });
  }

  Log& log_;
  EventLoop loop_;
  OsRandom random_;
  PosixDisk disk_;
  LevelStores meta_stores_;
  TlsNetwork network_;
  WorkerPool workers_;
  std::thread thread_;
};

}  // namespace cairn::os
