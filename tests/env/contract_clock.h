#pragma once
// Contract of env::Executor and env::Clock (src/env/executor.h).

#include "env/contract.h"

namespace cairn::env::contract {

inline void check_clock(const MakeBench& make) {
  const auto bench = make();
  World world = bench->world(0);

  SECTION("posted functions run later, one after the other, in their order") {
    std::vector<int> ran;
    bench->run([](World w, std::vector<int>& out) -> Task<void> {
      OneShot<bool> done(w.executor);
      for (int i = 0; i < 100; ++i) w.executor.post([&out, i] { out.push_back(i); });
      CHECK(out.empty());
      w.executor.post([done] { done.set(true); });
      co_await done;
    }(world, ran));
    REQUIRE(ran.size() == 100);
    CHECK(std::ranges::is_sorted(ran));
  }

  SECTION("a function that posts runs before what it posts") {
    std::vector<int> ran;
    bench->run([](World w, std::vector<int>& out) -> Task<void> {
      OneShot<bool> done(w.executor);
      w.executor.post([&w, &out, done] {
        w.executor.post([&out, done] {
          out.push_back(2);
          done.set(true);
        });
        out.push_back(1);
      });
      co_await done;
    }(world, ran));
    CHECK(ran == std::vector<int>{1, 2});
  }

  SECTION("a timer runs when its time has come, not before, and never inside the call") {
    bench->run([](World w) -> Task<void> {
      for (const Duration delay : {Duration(-1'000'000), Duration(0), Duration(1), Duration(3'000'000)}) {
        const Time when = w.clock.now() + delay;
        OneShot<Time> ran(w.executor);
        w.clock.schedule(when, [&w, ran] { ran.set(w.clock.now()); });
        CHECK_FALSE(ran.is_set());
        const Time at = co_await ran;
        CHECK(at >= when);
      }
    }(world));
  }

  SECTION("timers run in the order of their times") {
    std::vector<int> ran;
    bench->run([](World w, std::vector<int>& out) -> Task<void> {
      const Time start = w.clock.now();
      OneShot<bool> done(w.executor);
      for (const int i : {3, 1, 2, 0}) {
        w.clock.schedule(start + std::chrono::milliseconds(2 + 3 * i), [&out, i, done] {
          out.push_back(i);
          if (i == 3) done.set(true);
        });
      }
      co_await done;
    }(world, ran));
    CHECK(ran == std::vector<int>{0, 1, 2, 3});
  }

  SECTION("a cancelled timer does not run, also when it was due already") {
    std::vector<int> ran;
    bench->run([](World w, std::vector<int>& out) -> Task<void> {
      const TimerId soon = w.clock.schedule(w.clock.now() + std::chrono::milliseconds(1), [&out] { out.push_back(1); });
      const TimerId due = w.clock.schedule(w.clock.now(), [&out] { out.push_back(2); });
      CHECK(soon != 0);
      CHECK(due != 0);
      CHECK(soon != due);
      w.clock.cancel(soon);
      w.clock.cancel(due);
      w.clock.cancel(due);
      w.clock.cancel(0);
      co_await sleep_for(w.clock, std::chrono::milliseconds(5));
    }(world, ran));
    CHECK(ran.empty());
  }

  SECTION("a timer that is due at the same time cancels its neighbour") {
    std::vector<int> ran;
    bench->run([](World w, std::vector<int>& out) -> Task<void> {
      const Time when = w.clock.now() + std::chrono::milliseconds(2);
      TimerId second = 0;
      w.clock.schedule(when, [&] {
        out.push_back(1);
        w.clock.cancel(second);
      });
      second = w.clock.schedule(when, [&out] { out.push_back(2); });
      co_await sleep_for(w.clock, std::chrono::milliseconds(6));
    }(world, ran));
    CHECK(ran == std::vector<int>{1});
  }

  SECTION("cancelling a timer that has run is ignored and hits no other") {
    bool second_ran = false;
    bench->run([](World w, bool& flag) -> Task<void> {
      OneShot<bool> first(w.executor);
      const TimerId old = w.clock.schedule(w.clock.now(), [first] { first.set(true); });
      co_await first;
      OneShot<bool> second(w.executor);
      w.clock.schedule(w.clock.now() + std::chrono::milliseconds(1), [second] { second.set(true); });
      w.clock.cancel(old);
      flag = co_await second;
    }(world, second_ran));
    CHECK(second_ran);
  }

  SECTION("a timer for the end of time is accepted and never comes") {
    bool ran = false;
    bench->run([](World w, bool& flag) -> Task<void> {
      const TimerId never = w.clock.schedule(Time::never(), [&flag] { flag = true; });
      co_await sleep_for(w.clock, std::chrono::milliseconds(3));
      w.clock.cancel(never);
    }(world, ran));
    CHECK_FALSE(ran);
  }

  SECTION("time never goes back") {
    bench->run([](World w) -> Task<void> {
      Time last = w.clock.now();
      for (int i = 0; i < 20; ++i) {
        co_await sleep_for(w.clock, std::chrono::microseconds(100));
        const Time now = w.clock.now();
        CHECK(now >= last + std::chrono::microseconds(100));
        last = now;
      }
      CHECK(w.clock.wall_now() > 1'700'000'000LL * 1'000'000'000LL);
    }(world));
  }
}

}  // namespace cairn::env::contract
