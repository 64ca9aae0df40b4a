// Task, TaskGroup and what a task waits for, on the simulated strand.

#include "env/task.h"

#include <catch2/catch.hpp>

#include "sim/identity.h"
#include "sim/world.h"

namespace cairn::env {
namespace {

using std::chrono::milliseconds;

// Counts the frames that hold one.
struct Alive {
  explicit Alive(int& c) : count(&c) { ++*count; }
  Alive(const Alive& other) : count(other.count) { ++*count; }
  Alive& operator=(const Alive&) = delete;
  ~Alive() { --*count; }
  int* count;
};

Task<int> answer(int number) {
  co_return number;
}

Task<int> deep(int levels) {
  if (levels == 0) co_return 0;
  const int below = co_await deep(levels - 1);
  co_return below + 1;
}

Task<void> note(std::vector<int>& out, int number) {
  out.push_back(number);
  co_return;
}

}  // namespace

TEST_CASE("a task runs only when it is awaited, and gives its value") {
  sim::SimWorld sim(1);
  std::vector<int> ran;
  Task<void> unused = note(ran, 1);
  CHECK(ran.empty());
  sim.run(note(ran, 2));
  CHECK(ran == std::vector<int>{2});
  CHECK(sim.run(answer(7)) == 7);
}

TEST_CASE("a task's value may be one that can only be moved") {
  sim::SimWorld sim(1);
  auto text = sim.run([]() -> Task<std::unique_ptr<std::string>> { co_return std::make_unique<std::string>("x"); }());
  CHECK(*text == "x");
}

TEST_CASE("awaiting thousands of levels and thousands of ready tasks needs no stack") {
  sim::SimWorld sim(1);
  CHECK(sim.run(deep(20'000)) == 20'000);
  const int sum = sim.run([]() -> Task<int> {
    int all = 0;
    for (int i = 0; i < 200'000; ++i) all += co_await answer(1);
    co_return all;
  }());
  CHECK(sum == 200'000);
}

TEST_CASE("moving a task moves its frame, and assigning destroys the old one") {
  int alive = 0;
  const auto holding = [](Alive) -> Task<void> { co_return; };
  {
    Task<void> first = holding(Alive(alive));
    Task<void> second = holding(Alive(alive));
    CHECK(alive == 2);
    second = std::move(first);
    CHECK(alive == 1);
    Task<void> third(std::move(second));
    CHECK(alive == 1);
  }
  CHECK(alive == 0);
}

TEST_CASE("spawned tasks begin with the strand's next turn, in their order") {
  sim::SimWorld sim(1);
  std::vector<int> ran;
  TaskGroup group(sim.executor());
  for (int i = 0; i < 5; ++i) group.spawn(note(ran, i));
  CHECK(ran.empty());
  CHECK(group.size() == 5);
  sim.run(group.join());
  CHECK(ran == std::vector<int>{0, 1, 2, 3, 4});
  CHECK(group.empty());
}

TEST_CASE("join waits for tasks that were spawned meanwhile, by a task of the group itself") {
  sim::SimWorld sim(1);
  int ended = 0;
  TaskGroup group(sim.executor());
  struct Grow {
    static Task<void> run(sim::SimWorld& sim, TaskGroup& group, int& ended, int left) {
      co_await sleep_for(sim.clock(), milliseconds(1));
      if (left > 0) group.spawn(run(sim, group, ended, left - 1));
      ++ended;
    }
  };
  group.spawn(Grow::run(sim, group, ended, 9));
  sim.run(group.join());
  CHECK(ended == 10);
}

TEST_CASE("destroying a group destroys tasks that never began, that wait, and none that has ended") {
  sim::SimWorld sim(1);
  int alive = 0;
  int ended = 0;
  {
    TaskGroup group(sim.executor());
    const auto sleeper = [](sim::SimWorld& s, Alive, int& e, Duration how_long) -> Task<void> {
      co_await sleep_for(s.clock(), how_long);
      ++e;
    };
    for (int i = 0; i < 4; ++i) group.spawn(sleeper(sim, Alive(alive), ended, milliseconds(i)));
    sim.run_for(milliseconds(1) + Duration(1));
    CHECK(ended == 2);
    CHECK(alive == 2);
    group.spawn(sleeper(sim, Alive(alive), ended, milliseconds(0)));
    CHECK(alive == 3);
  }
  CHECK(alive == 0);
  sim.run_for(milliseconds(100));
  CHECK(ended == 2);
}

TEST_CASE("a task may cancel another group, whose tasks end at once and wake its join") {
  sim::SimWorld sim(1);
  int alive = 0;
  TaskGroup group(sim.executor());
  group.spawn(
      [](sim::SimWorld& s, Alive) -> Task<void> { co_await sleep_until(s.clock(), Time::never()); }(sim, Alive(alive)));
  sim.run([](sim::SimWorld& s, TaskGroup& g, int& a) -> Task<void> {
    TaskGroup joiner(s.executor());
    bool joined = false;
    joiner.spawn([](TaskGroup& inner, bool& flag) -> Task<void> {
      co_await inner.join();
      flag = true;
    }(g, joined));
    co_await sleep_for(s.clock(), milliseconds(1));
    CHECK(a == 1);
    CHECK_FALSE(joined);
    g.cancel();
    CHECK(a == 0);
    co_await joiner.join();
    CHECK(joined);
  }(sim, group, alive));
}

TEST_CASE("a OneShot keeps the first value, before or after its await") {
  sim::SimWorld sim(1);
  sim.run([](sim::SimWorld& s) -> Task<void> {
    OneShot<int> early(s.executor());
    CHECK(early.set(1));
    CHECK_FALSE(early.set(2));
    CHECK(early.is_set());
    const int first = co_await early;
    CHECK(first == 1);

    OneShot<int> late(s.executor());
    s.after(milliseconds(2), [late] {
      late.set(3);
      late.set(4);
    });
    const int second = co_await late;
    CHECK(second == 3);
  }(sim));
}

TEST_CASE("a OneShot's await that is destroyed takes nothing, waiting or already woken") {
  sim::SimWorld sim(1);
  const bool woken = GENERATE(false, true);
  int alive = 0;
  OneShot<std::string> shot(sim.executor());
  {
    TaskGroup group(sim.executor());
    group.spawn([](OneShot<std::string> s, Alive) -> Task<void> { co_await s; }(shot, Alive(alive)));
    sim.run_for(milliseconds(1));
    if (woken) shot.set("kept");
  }
  CHECK(alive == 0);
  sim.run_for(milliseconds(1));
  if (!woken) sim.after(milliseconds(1), [shot] { shot.set("kept"); });
  const auto value = sim.run([](OneShot<std::string> s) -> Task<std::string> { co_return co_await s; }(shot));
  CHECK(value == "kept");
}

TEST_CASE("a signal wakes all or the one that waits longest, never inside the call") {
  sim::SimWorld sim(1);
  Signal signal(sim.executor());
  std::vector<int> woken;
  TaskGroup group(sim.executor());
  const auto waiter = [](Signal& s, std::vector<int>& out, int number) -> Task<void> {
    co_await s.wait();
    out.push_back(number);
  };
  for (int i = 0; i < 5; ++i) group.spawn(waiter(signal, woken, i));
  sim.run_for(milliseconds(1));
  signal.notify_one();
  CHECK(woken.empty());
  sim.run_for(milliseconds(1));
  CHECK(woken == std::vector<int>{0});
  signal.notify_all();
  sim.run_for(milliseconds(1));
  CHECK(woken == std::vector<int>{0, 1, 2, 3, 4});
  signal.notify_one();  // nobody waits: forgotten
  group.spawn(waiter(signal, woken, 5));
  sim.run_for(milliseconds(1));
  CHECK(woken.size() == 5);
}

TEST_CASE("a wake-up for one is passed on when its task is destroyed first") {
  sim::SimWorld sim(1);
  Signal signal(sim.executor());
  std::vector<int> woken;
  const auto waiter = [](Signal& s, std::vector<int>& out, int number) -> Task<void> {
    co_await s.wait();
    out.push_back(number);
  };
  TaskGroup stays(sim.executor());
  {
    TaskGroup goes(sim.executor());
    goes.spawn(waiter(signal, woken, 1));
    sim.run_for(milliseconds(1));
    stays.spawn(waiter(signal, woken, 2));
    sim.run_for(milliseconds(1));
    signal.notify_one();
  }
  sim.run_for(milliseconds(1));
  CHECK(woken == std::vector<int>{2});
}

TEST_CASE("a task that was woken by notify_all and is destroyed before its turn does not run") {
  sim::SimWorld sim(1);
  Signal signal(sim.executor());
  std::vector<int> woken;
  {
    TaskGroup group(sim.executor());
    group.spawn([](Signal& s, std::vector<int>& out) -> Task<void> {
      co_await s.wait();
      out.push_back(1);
    }(signal, woken));
    sim.run_for(milliseconds(1));
    signal.notify_all();
  }
  sim.run_for(milliseconds(1));
  CHECK(woken.empty());
}

TEST_CASE("a semaphore serves first come, first served, also those that ask for more") {
  sim::SimWorld sim(1);
  Semaphore semaphore(sim.executor(), 3);
  std::vector<int> order;
  TaskGroup group(sim.executor());
  const auto user = [](sim::SimWorld& s, Semaphore& sem, std::vector<int>& out, int number, uint64_t count,
                       Duration hold) -> Task<void> {
    auto permit = co_await sem.acquire(count);
    out.push_back(number);
    co_await sleep_for(s.clock(), hold);
  };
  group.spawn(user(sim, semaphore, order, 0, 2, milliseconds(10)));
  group.spawn(user(sim, semaphore, order, 1, 3, milliseconds(10)));  // must wait, and not be passed by
  group.spawn(user(sim, semaphore, order, 2, 1, milliseconds(10)));
  group.spawn(user(sim, semaphore, order, 3, 2, milliseconds(10)));
  sim.run_for(milliseconds(5));
  CHECK(order == std::vector<int>{0});
  CHECK(semaphore.free() == 1);
  CHECK_FALSE(semaphore.try_acquire(1));  // others were first
  sim.run_for(milliseconds(10));
  CHECK(order == std::vector<int>{0, 1});
  CHECK(semaphore.free() == 0);
  sim.run(group.join());
  CHECK(order == std::vector<int>{0, 1, 2, 3});
  CHECK(semaphore.free() == 3);
}

TEST_CASE("asking a semaphore for more than it has gets all of it") {
  sim::SimWorld sim(1);
  Semaphore semaphore(sim.executor(), 4);
  sim.run([](Semaphore& s) -> Task<void> {
    {
      auto permit = co_await s.acquire(1000);
      CHECK(s.free() == 0);
      CHECK_FALSE(s.try_acquire());
      auto moved = std::move(permit);
      permit.release();
      CHECK(s.free() == 0);
    }
    CHECK(s.free() == 4);
    auto some = s.try_acquire(3);
    CHECK(some);
    CHECK(s.free() == 1);
    some->release();
    some->release();
    CHECK(s.free() == 4);
  }(semaphore));
}

TEST_CASE("a permit is never lost with a task that is destroyed while it waits or just after it was granted") {
  sim::SimWorld sim(1);
  Semaphore semaphore(sim.executor(), 1);
  bool had = false;
  auto held = semaphore.try_acquire();
  TaskGroup stays(sim.executor());
  const bool granted = GENERATE(false, true);
  {
    TaskGroup goes(sim.executor());
    goes.spawn([](Semaphore& s) -> Task<void> { auto permit = co_await s.acquire(); }(semaphore));
    sim.run_for(milliseconds(1));
    stays.spawn([](Semaphore& s, bool& flag) -> Task<void> {
      auto permit = co_await s.acquire();
      flag = true;
    }(semaphore, had));
    sim.run_for(milliseconds(1));
    if (granted) held.reset();
  }
  held.reset();
  sim.run_for(milliseconds(1));
  CHECK(had);
  CHECK(semaphore.free() == 1);
}

TEST_CASE("thousands of waiters of a semaphore cost one turn each") {
  sim::SimWorld sim(1);
  Semaphore semaphore(sim.executor(), 2);
  TaskGroup group(sim.executor());
  int ended = 0;
  for (int i = 0; i < 10'000; ++i) {
    group.spawn([](sim::SimWorld& s, Semaphore& sem, int& e) -> Task<void> {
      auto permit = co_await sem.acquire();
      co_await sleep_for(s.clock(), Duration(1));
      ++e;
    }(sim, semaphore, ended));
  }
  const uint64_t before = sim.scheduler().executed();
  sim.run(group.join());
  CHECK(ended == 10'000);
  CHECK(sim.scheduler().executed() - before < 60'000);
}

TEST_CASE("a deadline gives the result in time, or timeout and destroys the task") {
  sim::SimWorld sim(1);
  int alive = 0;
  const auto slow = [](sim::SimWorld& s, Alive, Duration how_long) -> Task<Result<int>> {
    co_await sleep_for(s.clock(), how_long);
    co_return 5;
  };
  const auto limited = [&](Duration how_long, Time deadline) {
    return sim.run(with_deadline(sim.executor(), sim.clock(), deadline, slow(sim, Alive(alive), how_long)));
  };
  const auto in_time = limited(milliseconds(5), sim.now() + milliseconds(10));
  REQUIRE(in_time);
  CHECK(*in_time == 5);
  CHECK(alive == 0);
  const auto late = limited(milliseconds(15), sim.now() + milliseconds(10));
  REQUIRE_FALSE(late);
  CHECK(late.error().code == Code::timeout);
  CHECK(alive == 0);
  CHECK(limited(milliseconds(5), Time::never()));
  const auto passed = limited(milliseconds(5), sim.now() - milliseconds(1));
  REQUIRE_FALSE(passed);
  CHECK(passed.error().code == Code::timeout);
  CHECK(sim.scheduler().empty());  // no timer is left behind
}

TEST_CASE("a task with a deadline that is destroyed takes its timer and its inner task along") {
  sim::SimWorld sim(1);
  int alive = 0;
  {
    TaskGroup group(sim.executor());
    group.spawn([](sim::SimWorld& s, Alive a) -> Task<void> {
      const auto forever = [](sim::SimWorld& w, Alive) -> Task<Result<int>> {
        co_await sleep_until(w.clock(), Time::never());
        co_return 1;
      };
      co_await with_deadline(s.executor(), s.clock(), s.now() + milliseconds(50), forever(s, a));
    }(sim, Alive(alive)));
    sim.run_for(milliseconds(1));
    CHECK(alive >= 2);
  }
  CHECK(alive == 0);
  CHECK(sim.scheduler().empty());
}

TEST_CASE("when_all runs all at the same time and keeps their order") {
  sim::SimWorld sim(1);
  const auto results = sim.run([](sim::SimWorld& s) -> Task<std::vector<int>> {
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 5; ++i) {
      tasks.push_back([](sim::SimWorld& w, int n) -> Task<int> {
        co_await sleep_for(w.clock(), milliseconds(10 - n));
        co_return n;
      }(s, i));
    }
    auto all = co_await when_all(s.executor(), std::move(tasks));
    co_return all;
  }(sim));
  CHECK(results == std::vector<int>{0, 1, 2, 3, 4});
  CHECK(sim.now() - Time{} == milliseconds(10));
  const auto none = sim.run([](sim::SimWorld& s) -> Task<std::vector<int>> {
    auto all = co_await when_all(s.executor(), std::vector<Task<int>>{});
    co_return all;
  }(sim));
  CHECK(none.empty());
}

// Every kind of await, and a task that is destroyed in it: the frame goes, nothing runs afterwards, and the thing that
// was waited for goes on working.
TEST_CASE("a task can be destroyed at every kind of await") {
  sim::SimWorld sim(3);
  sim::SimNode& node = sim.add_node();
  sim::SimNode& other = sim.add_node();
  sim::give_identity(node);
  sim::give_identity(other);
  World world = node.world();
  std::unique_ptr<Stream> accepted;
  auto listener = other.world().network.listen({other.host(), 7000},
                                               [&](std::unique_ptr<Stream> stream) { accepted = std::move(stream); });
  REQUIRE(listener);
  auto stream = sim.run(world.network.connect({other.host(), 7000}, other.id(), Time::never()));
  REQUIRE(stream);

  Signal signal(world.executor);
  OneShot<int> shot(world.executor);
  Semaphore semaphore(world.executor, 1);
  const auto held = semaphore.try_acquire();
  TaskGroup busy(world.executor);
  busy.spawn([](World w) -> Task<void> { co_await sleep_until(w.clock, Time::never()); }(world));
  Bytes buffer(10);
  const Bytes much(8 * kMiB);
  int alive = 0;
  int resumed = 0;

  std::vector<std::pair<const char*, std::function<Task<void>()>>> kinds;
  kinds.emplace_back("sleep", [&] {
    return [](World w, Alive, int& r) -> Task<void> {
      co_await sleep_for(w.clock, std::chrono::hours(1));
      ++r;
    }(world, Alive(alive), resumed);
  });
  kinds.emplace_back("signal", [&] {
    return [](Signal& s, Alive, int& r) -> Task<void> {
      co_await s.wait();
      ++r;
    }(signal, Alive(alive), resumed);
  });
  kinds.emplace_back("one shot", [&] {
    return [](OneShot<int> s, Alive, int& r) -> Task<void> {
      co_await s;
      ++r;
    }(shot, Alive(alive), resumed);
  });
  kinds.emplace_back("semaphore", [&] {
    return [](Semaphore& s, Alive, int& r) -> Task<void> {
      auto permit = co_await s.acquire();
      ++r;
    }(semaphore, Alive(alive), resumed);
  });
  kinds.emplace_back("join", [&] {
    return [](TaskGroup& g, Alive, int& r) -> Task<void> {
      co_await g.join();
      ++r;
    }(busy, Alive(alive), resumed);
  });
  kinds.emplace_back("job", [&] {
    return [](World w, Alive, int& r) -> Task<void> {
      co_await w.workers.run([] { return 1; });
      ++r;
    }(world, Alive(alive), resumed);
  });
  kinds.emplace_back("read", [&] {
    return [](Stream& s, MutableByteView into, Alive, int& r) -> Task<void> {
      co_await s.read_some(into);
      ++r;
    }(**stream, buffer, Alive(alive), resumed);
  });
  kinds.emplace_back("connect", [&] {
    return [](World w, Address to, Alive, int& r) -> Task<void> {
      co_await w.network.connect(to, std::nullopt, Time::never());
      ++r;
    }(world, {other.host(), 7000}, Alive(alive), resumed);
  });
  kinds.emplace_back("deadline", [&] {
    return [](World w, Alive a, int& r) -> Task<void> {
      const auto inner = [](World v, Alive) -> Task<Result<int>> {
        co_await sleep_for(v.clock, std::chrono::hours(1));
        co_return 1;
      };
      co_await with_deadline(w.executor, w.clock, w.clock.now() + std::chrono::minutes(1), inner(w, a));
      ++r;
    }(world, Alive(alive), resumed);
  });
  kinds.emplace_back("when_all", [&] {
    return [](World w, Alive a, int& r) -> Task<void> {
      const auto inner = [](World v, Alive) -> Task<int> {
        co_await sleep_for(v.clock, std::chrono::hours(1));
        co_return 1;
      };
      std::vector<Task<int>> tasks;
      for (int i = 0; i < 3; ++i) tasks.push_back(inner(w, a));
      co_await when_all(w.executor, std::move(tasks));
      ++r;
    }(world, Alive(alive), resumed);
  });
  kinds.emplace_back("write", [&] {
    return [](Stream& s, ByteView bytes, Alive, int& r) -> Task<void> {
      std::vector<ByteView> parts{bytes};
      co_await s.write(std::move(parts));
      ++r;
    }(**stream, much, Alive(alive), resumed);
  });

  for (const auto& [name, make] : kinds) {
    INFO(name);
    for (const bool begun : {false, true}) {
      TaskGroup group(world.executor);
      group.spawn(make());
      if (begun) {
        for (int turn = 0; turn < 3; ++turn) sim.run_for(Duration(1));
        CHECK(group.size() == 1);
      }
      CHECK(alive >= 1);
      group.cancel();
      CHECK(alive == 0);
      sim.run_for(milliseconds(50));
    }
  }
  sim.run_for(std::chrono::hours(2));
  CHECK(resumed == 0);
}

}  // namespace cairn::env
