// Rates of payloads under virtual time: what a limited node sends and takes, and who does not wait.

#include "peer/pacing.h"

#include <catch2/catch.hpp>

#include "peer/limits.h"
#include "peer/pool.h"

namespace cairn::peer {
namespace {

using env::Task;

double in_seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

Task<Result<Reply>> megabyte(Request) {
  co_return Reply{.body = {}, .payload = Buffer(kMiB)};
}
Task<Result<Reply>> nothing(Request) {
  co_return Reply{};
}

// `count` requests at once; how long until all were answered well.
struct Burst {
  Duration took{};
  size_t good = 0, overloaded = 0;
};
Burst burst(TestPool& pool, size_t from, size_t to, wire::Method method, size_t count, uint64_t payload) {
  Burst result;
  const Time begin = pool.sim.clock().now();
  env::TaskGroup group(pool.sim.executor());
  for (size_t i = 0; i < count; ++i) {
    group.spawn([](TestPool& p, size_t a, size_t b, wire::Method what, uint64_t size, Burst& into) -> Task<void> {
      auto reply = co_await p.peers(a).call(p.node(b), what, {}, Buffer(size), std::chrono::minutes(5));
      if (reply) ++into.good;
      if (!reply && reply.error().code == Code::overloaded) ++into.overloaded;
    }(pool, from, to, method, payload, result));
  }
  REQUIRE(pool.sim.run_until([&] { return group.empty(); }, std::chrono::hours(1)));
  result.took = pool.sim.clock().now() - begin;
  return result;
}

}  // namespace

TEST_CASE("a bucket lets pass its rate over time, however large the pieces are") {
  for (const uint64_t piece : {uint64_t{1000}, 4 * kMiB}) {
    TokenBucket bucket;
    Time now{seconds(100)};
    bucket.set_rate(kMiB, now);
    const Time begin = now;
    uint64_t passed = 0;
    while (passed < 64 * kMiB) {
      now = std::max(now, bucket.ready());
      bucket.take(piece, now);
      passed += piece;
    }
    now = std::max(now, bucket.ready());
    REQUIRE(in_seconds(now - begin) == Approx(static_cast<double>(passed) / kMiB).margin(in_seconds(kPacingBurst)));
  }
}

TEST_CASE("a debt is kept in bytes when the rate changes, and without a rate nobody waits") {
  TokenBucket bucket;
  const Time now{seconds(100)};
  REQUIRE(bucket.ready() <= now);
  bucket.set_rate(kMiB, now);
  bucket.take(10 * kMiB, now + seconds(1));
  const Time later = now + seconds(1);
  const double debt = in_seconds(bucket.ready() - later);
  REQUIRE(debt == Approx(10).margin(in_seconds(kPacingBurst)));
  bucket.set_rate(2 * kMiB, later);
  REQUIRE(in_seconds(bucket.ready() - later) == Approx(debt / 2));
  bucket.set_rate(std::nullopt, later);
  REQUIRE(bucket.ready() <= later);
}

TEST_CASE("a node serves others at its rate, while small requests and its own processes do not wait") {
  TestPool pool(11, 3);
  pool.setup = [](Peers& peers, size_t) {
    peers.serve(wire::Method::shard_get, Access::members, megabyte);
    peers.serve(wire::Method::shard_put, Access::members, nothing);
  };
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(3); }, seconds(20)));
  const Burst free = burst(pool, 1, 0, wire::Method::shard_get, 8, 0);
  REQUIRE(free.good == 8);
  pool.peers(0).pacing().set_rates(kMiB, std::nullopt);
  env::TaskGroup group(pool.sim.executor());
  bool pinged = false;
  const Time begin = pool.sim.clock().now();
  group.spawn([](TestPool& p, Time start, bool& done) -> Task<void> {
    co_await env::sleep_for(p.sim.clock(), seconds(1));
    auto pong = co_await p.peers(2).call(p.node(0), wire::Method::ping, ping_body(), {}, seconds(5));
    REQUIRE(pong);
    REQUIRE(p.sim.clock().now() - start < seconds(2));
    done = true;
  }(pool, begin, pinged));
  const Burst slow = burst(pool, 1, 0, wire::Method::shard_get, 10, 0);
  REQUIRE(pinged);
  REQUIRE(slow.good == 10);
  REQUIRE(in_seconds(slow.took) == Approx(9).margin(1));
  // What it sends of its own accord is paced by the same bucket.
  const Burst sent = burst(pool, 0, 1, wire::Method::shard_put, 10, kMiB);
  REQUIRE(sent.good == 10);
  REQUIRE(in_seconds(sent.took) == Approx(10).margin(1));
  // A limit that is lifted frees who waits.
  pool.peers(0).pacing().set_rates(std::nullopt, std::nullopt);
  const Burst again = burst(pool, 1, 0, wire::Method::shard_get, 8, 0);
  REQUIRE(in_seconds(again.took) < 1.0);
}

TEST_CASE("what arrives is taken at the rate; who sends much faster is told to go elsewhere") {
  TestPool pool(12, 2);
  pool.setup = [](Peers& peers, size_t) {
    peers.serve(wire::Method::shard_get, Access::members, megabyte);
    peers.serve(wire::Method::shard_put, Access::members, nothing);
  };
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(2); }, seconds(20)));
  pool.peers(0).pacing().set_rates(std::nullopt, kMiB);
  const Time begin = pool.sim.clock().now();
  size_t taken = 0, refused = 0;
  for (int i = 0; i < 20; ++i) {
    const Burst some = burst(pool, 1, 0, wire::Method::shard_put, 4, kMiB);
    taken += some.good;
    refused += some.overloaded;
  }
  REQUIRE(taken + refused == 80);
  REQUIRE(refused > 0);
  const double took = in_seconds(pool.sim.clock().now() - begin);
  REQUIRE(static_cast<double>(taken) <= took + 4);
  // And what it asks for itself.
  pool.sim.run_for(std::chrono::minutes(5));
  const Time asked = pool.sim.clock().now();
  for (int i = 0; i < 10; ++i) REQUIRE(pool.call(0, 1, wire::Method::shard_get));
  REQUIRE(in_seconds(pool.sim.clock().now() - asked) == Approx(9).margin(1));
}

}  // namespace cairn::peer
