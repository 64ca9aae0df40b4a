// The event loop, the workers and RealWorld beyond the contract suite.

#include <unistd.h>

#include <csignal>
#include <thread>

#include "os/memory.h"
#include "os/real_bench.h"
#include "os/real_world.h"

namespace cairn::os {

TEST_CASE("threads post to the strand, each in its order") {
  EventLoop loop;
  constexpr int kThreads = 4, kPosts = 2000;
  std::vector<int> last(kThreads, -1);
  bool in_order = true;
  int left = kThreads * kPosts;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kPosts; ++i) {
        loop.post([&, thread, i] {
          in_order = in_order && loop.on_strand() && std::exchange(last[static_cast<size_t>(thread)], i) == i - 1;
          if (--left == 0) loop.stop();
        });
      }
    });
  }
  CHECK_FALSE(loop.on_strand());
  loop.run();
  CHECK(left == 0);
  CHECK(in_order);
}

TEST_CASE("a loop that was stopped before it runs returns at once, and runs afterwards") {
  EventLoop loop;
  bool ran = false;
  loop.stop();
  loop.run();
  loop.post([&] {
    ran = true;
    loop.stop();
  });
  loop.run();
  CHECK(ran);
}

TEST_CASE("what a loop never ran is destroyed with it") {
  const auto token = std::make_shared<int>(1);
  {
    EventLoop loop;
    loop.post([token] {});
    loop.schedule(loop.now() + std::chrono::hours(1), [token] {});
    CHECK(token.use_count() == 3);
  }
  CHECK(token.use_count() == 1);
}

TEST_CASE("a signal calls the handler on the strand") {
  EventLoop loop;
  std::vector<int> seen;
  {
    const Signals signals(loop, [&](int signal) {
      seen.push_back(signal);
      CHECK(loop.on_strand());
      if (seen.size() == 1) std::raise(SIGINT);
      if (seen.size() == 2) loop.stop();
    });
    loop.post([] { std::raise(SIGTERM); });
    loop.run();
  }
  CHECK(seen == std::vector<int>{SIGTERM, SIGINT});
}

TEST_CASE("a descriptor is watched until its callback says so, and stays open") {
  EventLoop loop;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  int calls = 0;
  loop.post([&] { REQUIRE(::write(ends[1], "abc", 3) == 3); });
  const Readable readable(loop, ends[0], [&] {
    CHECK(loop.on_strand());
    char byte = 0;
    REQUIRE(::read(ends[0], &byte, 1) == 1);  // what is left makes it readable at once
    if (++calls < 3) return true;
    loop.stop();
    return false;
  });
  loop.run();
  CHECK(calls == 3);
  CHECK(::write(ends[1], "d", 1) == 1);
  char byte = 0;
  CHECK(::read(ends[0], &byte, 1) == 1);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("block_on gives a task's result, with and without a thread of its own") {
  NullLog log;
  const TemporaryFolder folder;
  RealWorld world({.log = log, .device_seed = test_seed(1), .workers = 2, .root = folder.path()});
  const auto work = [](env::World w, int number) -> env::Task<Result<int>> {
    co_await env::sleep_for(w.clock, std::chrono::microseconds(10));
    const int doubled = co_await w.workers.run([number] { return 2 * number; });
    if (doubled > 100) co_return fail(Code::too_large);
    co_return doubled;
  };
  CHECK(world.block_on(work(world.world(), 4)).value() == 8);
  CHECK(world.block_on(work(world.world(), 400)).error().code == Code::too_large);
  world.start();
  std::atomic<int> sum = 0;
  {
    std::vector<std::jthread> callers;
    for (int i = 1; i <= 8; ++i) {
      callers.emplace_back([&, i] { sum += world.block_on(work(world.world(), i)).value(); });
    }
  }
  CHECK(sum == 72);
  world.stop();
  CHECK(world.block_on(work(world.world(), 5)).value() == 10);
}

TEST_CASE("random bytes differ and fill all") {
  OsRandom random;
  Bytes one(100'000), two(100'000);
  random.fill(one);
  random.fill(two);
  random.fill({});
  CHECK(one != two);
  CHECK(std::count(one.begin(), one.end(), 0) < 1000);  // expected: 390
  CHECK(random.id<ChunkId>() != random.id<ChunkId>());
}

TEST_CASE("a job that runs is waited for when its task is destroyed, one that waits never begins") {
  EventLoop loop;
  WorkerPool workers(loop, 1);
  std::atomic<bool> began = false, let_go = false, ended = false, second = false;
  env::TaskGroup holding(loop), waiting(loop);
  loop.post([&] {
    holding.spawn([](WorkerPool& pool, std::atomic<bool>& begin, std::atomic<bool>& go,
                     std::atomic<bool>& end) -> env::Task<void> {
      // On this frame: were the job not waited for, it would write into freed memory.
      std::vector<int> scratch(1000);
      co_await pool.run([&] {
        begin = true;
        while (!go) std::this_thread::yield();
        for (int round = 0; round < 2000; ++round) {
          for (int& number : scratch) number += round;
        }
        return end = true;
      });
    }(workers, began, let_go, ended));
    waiting.spawn([](WorkerPool& pool, std::atomic<bool>& ran) -> env::Task<void> {
      co_await pool.run([&] { return ran = true; });
    }(workers, second));
    loop.post([&] {  // both have been submitted by now, and the only thread is in the first
      while (!began) std::this_thread::yield();
      waiting.cancel();
      let_go = true;
      holding.cancel();
      CHECK(ended);
      loop.stop();
    });
  });
  loop.run();
  CHECK(ended);
  CHECK_FALSE(second);
}

TEST_CASE("setting the allocator is harmless") {
  tune_allocator();
  release_memory();
  const Bytes bytes(8 * kMiB, 1);
  CHECK(bytes.back() == 1);
}

}  // namespace cairn::os
