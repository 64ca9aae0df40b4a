#pragma once
// The contract suite: what the headers of src/env promise, as tests that run over every implementation.
//
// An implementation brings a Bench, and calls check_clock(make), check_workers(make), check_disk(make),
// check_meta_store(make) and check_network(make) each from a TEST_CASE of its own; they contain Catch sections:
//   TEST_CASE("the simulated clock keeps the contract") { env::contract::check_clock(make_bench); }

#include <catch2/catch.hpp>

#include "env/world.h"

namespace cairn::env::contract {

// One or two worlds under test, made anew for each section. All worlds share one strand's thread: run() drives them.
class Bench {
 public:
  virtual ~Bench() = default;
  // Node 0 or 1, with a disk and a network of its own, or both with the same disk. The root of the disk is an empty
  // folder. Both have an identity.
  virtual World world(size_t node) = 0;
  virtual NodeId id(size_t node) = 0;
  // The host part of an address at which node `node` listens and the other reaches it ("127.0.0.1").
  virtual std::string host(size_t node) = 0;
  // Drives the strands until the task, whose frames wait on these worlds, has ended; fails the test (by FAIL or an
  // exception) when that does not happen within a minute. Called from outside the strand.
  virtual void run(Task<void> task) = 0;
  // The executor on which run() starts its task: that of world(0) unless there is a better one.
  virtual Executor& executor() { return world(0).executor; }
  // Node 0 loses its power, if that can be had, or at least all its handles (which the caller has destroyed before);
  // the worlds stay valid. True when unsynced writes may be gone by it.
  virtual bool power_cycle() = 0;
};
using MakeBench = std::function<std::unique_ptr<Bench>()>;

// Runs f(arguments...) as a coroutine to its end and returns what it returned. f is a captureless lambda or a function;
// what it refers to outlives the call.
template <class T>
T run(Bench& bench, Task<T> task) {
  std::optional<T> result;
  bench.run([](Task<T> inner, std::optional<T>& out) -> Task<void> { out.emplace(co_await std::move(inner)); }(
                                                         std::move(task), result));
  REQUIRE(result.has_value());
  return std::move(*result);
}

// Adapts when a test waits for a flag that something posted sets: looks again every millisecond.
inline Task<bool> until(Clock& clock, std::function<bool()> condition, Duration limit = std::chrono::seconds(20)) {
  const Time end = clock.now() + limit;
  while (!condition()) {
    if (clock.now() >= end) co_return false;
    co_await sleep_for(clock, std::chrono::milliseconds(1));
  }
  co_return true;
}

}  // namespace cairn::env::contract
