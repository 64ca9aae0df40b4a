#pragma once
// Contract of env::Workers (src/env/workers.h). Jobs touch atomics only: they may be on any thread.

#include <atomic>

#include "env/contract.h"

namespace cairn::env::contract {

inline void check_workers(const MakeBench& make) {
  const auto bench = make();
  World world = bench->world(0);
  REQUIRE(world.workers.threads() >= 1);

  SECTION("a job's result comes back, also one that can only be moved") {
    const auto number = run(*bench, world.workers.run([] { return 42; }));
    CHECK(number == 42);
    const auto text = run(*bench, world.workers.run([] { return std::make_unique<std::string>("done"); }));
    CHECK(*text == "done");
    const auto status = run(*bench, world.workers.run([]() -> Status { return fail(Code::no_space, "full"); }));
    REQUIRE_FALSE(status);
    CHECK(status.error().code == Code::no_space);
  }

  SECTION("a job may refer to the frame of its caller") {
    const auto sum = run(*bench, [](World w) -> Task<uint64_t> {
      const std::vector<uint64_t> numbers{1, 2, 3, 4};
      auto total = co_await w.workers.run([&numbers] {
        uint64_t all = 0;
        for (const uint64_t n : numbers) all += n;
        return all;
      });
      co_return total;
    }(world));
    CHECK(sum == 10);
  }

  SECTION("many jobs at the same time all end, each resumed on the strand") {
    const auto results = run(*bench, [](World w) -> Task<std::vector<int>> {
      std::vector<Task<int>> tasks;
      tasks.reserve(200);
      for (int i = 0; i < 200; ++i) tasks.push_back(w.workers.run([i] { return i * i; }));
      auto all = co_await when_all(w.executor, std::move(tasks));
      co_return all;
    }(world));
    REQUIRE(results.size() == 200);
    for (int i = 0; i < 200; ++i) CHECK(results[static_cast<size_t>(i)] == i * i);
  }

  SECTION("jobs of a task that is destroyed never run afterwards") {
    std::atomic<int> began = 0;
    std::atomic<int> ended = 0;
    int after = -1;
    bench->run([](World w, std::atomic<int>& begin, std::atomic<int>& end, int& at_cancel) -> Task<void> {
      {
        TaskGroup group(w.executor);
        for (int i = 0; i < 500; ++i) {
          group.spawn([](World v, std::atomic<int>& b, std::atomic<int>& e) -> Task<void> {
            co_await v.workers.run([&]() -> int {
              ++b;
              for (volatile int spin = 0; spin < 20'000; spin = spin + 1) {
              }
              return ++e;
            });
          }(w, begin, end));
        }
        OneShot<bool> turn(w.executor);
        w.executor.post([turn] { turn.set(true); });
        co_await turn;
      }
      // None is half-way now, and none begins any more.
      at_cancel = begin;
      CHECK(begin == end);
      co_await sleep_for(w.clock, std::chrono::milliseconds(5));
      auto more = co_await w.workers.run([] { return 1; });
      CHECK(more == 1);
    }(world, began, ended, after));
    CHECK(began == after);
    CHECK(ended == after);
  }

  SECTION("a task that is destroyed between its job's end and its resumption is not resumed") {
    bool resumed = false;
    bench->run([](World w, bool& flag) -> Task<void> {
      for (int round = 0; round < 50; ++round) {
        std::atomic<bool> ran = false;
        bool gone = false;
        {
          TaskGroup group(w.executor);
          // Resumed while its group lives is fine: a thread may be that quick.
          group.spawn([](World v, std::atomic<bool>& r, const bool& ended, bool& f) -> Task<void> {
            co_await v.workers.run([&r]() -> int { return r = true; });
            if (ended) f = true;
          }(w, ran, gone, flag));
          // The strand is kept busy until the job has run, where there are threads; else it is cancelled before.
          OneShot<bool> turn(w.executor);
          w.executor.post([turn] { turn.set(true); });
          co_await turn;
          for (volatile int spin = 0; spin < 100'000 && !ran; spin = spin + 1) {
          }
        }
        gone = true;
      }
      co_await sleep_for(w.clock, std::chrono::milliseconds(2));
    }(world, resumed));
    CHECK_FALSE(resumed);
  }
}

}  // namespace cairn::env::contract
