// Calls of a drive: at once where they can, else until they end or are interrupted.

#include "client/calls.h"

#include <catch2/catch.hpp>

#include "os/event_loop.h"

namespace cairn::client {
namespace {

using Outcome = std::expected<int, int>;
constexpr int kInterrupted = -1;

struct Fixture {
  os::EventLoop loop;
  env::Signal go{loop};
  Calls calls;
  std::vector<Outcome> answers;
  int frames = 0;

  struct Alive {
    explicit Alive(int& c) : count(c) { ++count; }
    Alive(const Alive&) = delete;
    ~Alive() { --count; }
    int& count;
  };
  env::Task<Outcome> work(int number, bool waits) {
    const Alive alive(frames);
    if (waits) co_await go.wait();
    co_return number;
  }
  bool begin(Calls::Ticket ticket, bool waits) {
    return calls.begin<Outcome>(
        ticket, work(static_cast<int>(ticket), waits), [this](Outcome outcome) { answers.push_back(outcome); },
        std::unexpected(kInterrupted));
  }
  void run() {
    loop.post([this] { loop.post([this] { loop.stop(); }); });
    loop.run();
  }
};

}  // namespace

TEST_CASE("a call that needs no waiting is answered before begin() returns") {
  Fixture f;
  CHECK(f.begin(7, false));
  CHECK(f.answers == std::vector<Outcome>{7});
  CHECK(f.calls.size() == 0);
  CHECK(f.frames == 0);
}

TEST_CASE("a call that waits is answered when its wait is over") {
  Fixture f;
  CHECK_FALSE(f.begin(7, true));
  CHECK(f.answers.empty());
  f.go.notify_all();
  f.run();
  CHECK(f.answers == std::vector<Outcome>{7});
  CHECK(f.calls.size() == 0);
}

TEST_CASE("an interrupted call is destroyed and answered once") {
  Fixture f;
  f.begin(7, true);
  f.begin(8, true);
  f.calls.interrupt(7);
  CHECK(f.frames == 1);
  f.calls.interrupt(7);
  f.go.notify_all();
  f.run();
  CHECK(f.answers == std::vector<Outcome>{std::unexpected(kInterrupted), 8});
  f.calls.interrupt(8);
  CHECK(f.answers.size() == 2);
}

TEST_CASE("all calls may be interrupted, and those that nobody interrupted go unanswered with their table") {
  Fixture f;
  f.begin(1, true);
  f.begin(2, true);
  f.calls.interrupt_all();
  CHECK(f.answers == std::vector<Outcome>{std::unexpected(kInterrupted), std::unexpected(kInterrupted)});
  {
    Calls calls;
    calls.begin<Outcome>(
        3, f.work(3, true), [&f](Outcome outcome) { f.answers.push_back(outcome); }, std::unexpected(kInterrupted));
    CHECK(f.frames == 1);
  }
  CHECK(f.frames == 0);
  CHECK(f.answers.size() == 2);
}

}  // namespace cairn::client
