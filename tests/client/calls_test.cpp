// Calls of a drive: at once where they can, else until they end or are interrupted.

#include "client/calls.h"

#include <catch2/catch.hpp>

#include "os/event_loop.h"

namespace cairn::client {
namespace {

using Outcome = std::expected<int, int>;

struct Fixture {
  os::EventLoop loop;
  env::Signal go{loop};
  Calls calls{loop};
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
  static Outcome failed(int error) { return std::unexpected(error); }
  bool begin(Calls::Ticket ticket, bool waits) {
    return calls.begin<Outcome>(
        ticket, work(static_cast<int>(ticket), waits), [this](Outcome outcome) { answers.push_back(outcome); }, failed);
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
  CHECK(f.answers == std::vector<Outcome>{std::unexpected(EINTR), 8});
  f.calls.interrupt(8);
  CHECK(f.answers.size() == 2);
}

TEST_CASE("a call whose time is over ends, others go on") {
  Fixture f;
  const auto begin = [&](Calls::Ticket ticket, std::optional<Duration> patience) {
    f.calls.begin<Outcome>(
        ticket, f.work(static_cast<int>(ticket), true), [&f](Outcome outcome) { f.answers.push_back(outcome); },
        Fixture::failed, patience);
  };
  begin(1, Duration{});
  begin(2, std::chrono::hours(1));
  begin(3, std::nullopt);
  CHECK(f.calls.expire() == 1);
  CHECK(f.answers == std::vector<Outcome>{std::unexpected(EIO)});
  CHECK(f.frames == 2);
  CHECK(f.calls.expire() == 0);
  f.go.notify_all();
  f.run();
  CHECK(f.answers.size() == 3);
}

TEST_CASE("all calls may be interrupted, and those that nobody interrupted go unanswered with their table") {
  Fixture f;
  f.begin(1, true);
  f.begin(2, true);
  f.calls.interrupt_all();
  CHECK(f.answers == std::vector<Outcome>{std::unexpected(EINTR), std::unexpected(EINTR)});
  {
    Calls calls(f.loop);
    calls.begin<Outcome>(3, f.work(3, true), [&f](Outcome outcome) { f.answers.push_back(outcome); }, Fixture::failed);
    CHECK(f.frames == 1);
  }
  CHECK(f.frames == 0);
  CHECK(f.answers.size() == 2);
}

}  // namespace cairn::client
