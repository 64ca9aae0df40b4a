// The parts of SWIM that are pure, and the protocol among a few simulated nodes.

#include "peer/swim.h"

#include <catch2/catch.hpp>

#include "peer/follower.h"
#include "peer/lan.h"
#include "peer/limits.h"
#include "peer/swim_world.h"

namespace cairn::peer {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

NodeId node(uint8_t number) {
  NodeId id;
  id.bytes.fill(number);
  return id;
}
Time at(Duration since_start) {
  return Time{since_start};
}
Doubt doubt(uint8_t about, uint8_t by, uint64_t sequence = 1) {
  return {.about = node(about), .incarnation = {1, sequence}, .by = node(by), .signature = {}};
}

SwimWorldOptions few(size_t nodes, uint64_t seed = 1) {
  return {.nodes = nodes, .swim = SwimOptions::lan(), .seed = seed};
}
bool all_say(SwimWorld& world, size_t about, NodeState state) {
  for (size_t i = 0; i < world.size(); ++i) {
    if (i != about && world.up(i) && world.state(i, about) != state) return false;
  }
  return true;
}

}  // namespace

// --- suspicion ---

TEST_CASE("a suspicion is as short as it may be when enough others confirm it, and long while nobody does") {
  const Duration low = seconds(10), high = seconds(60);
  CHECK(suspicion_timeout(low, high, 0, 3) == high);
  CHECK(suspicion_timeout(low, high, 3, 3) == low);
  CHECK(suspicion_timeout(low, high, 9, 3) == low);
  CHECK(suspicion_timeout(low, high, 0, 0) == low);
  // Lifeguard's formula: the first confirmation takes away half of it when 3 are expected (ln 2 / ln 4).
  CHECK(suspicion_timeout(low, high, 1, 3) == seconds(35));
  CHECK(suspicion_timeout(low, high, 2, 3) < suspicion_timeout(low, high, 1, 3));
}

TEST_CASE("doubts are kept once for each observer, for one incarnation, and a newer record ends them") {
  Suspicions suspicions;
  CHECK(suspicions.add(doubt(1, 2), at(seconds(1))));
  CHECK_FALSE(suspicions.add(doubt(1, 2), at(seconds(2))));
  CHECK(suspicions.add(doubt(1, 3), at(seconds(3))));
  CHECK(suspicions.find(node(1))->doubts.size() == 2);
  CHECK(suspicions.find(node(1))->began == at(seconds(1)));
  CHECK(suspicions.find(node(1))->latest == at(seconds(3)));
  CHECK_FALSE(suspicions.add(doubt(1, 4, 0), at(seconds(4))));  // about an older one
  CHECK(suspicions.add(doubt(1, 4, 2), at(seconds(4))));        // about a newer one
  CHECK(suspicions.find(node(1))->doubts.size() == 1);
  suspicions.depart(node(1));
  CHECK(suspicions.open() == 0);
  CHECK(suspicions.departed() == std::vector{node(1)});
  suspicions.revive(node(1), at(seconds(5)));
  CHECK(suspicions.open() == 1);
  CHECK_FALSE(suspicions.refuted(node(1), {1, 2}));
  CHECK(suspicions.refuted(node(1), {1, 3}));
  CHECK(suspicions.find(node(1)) == nullptr);
  CHECK(suspicions.hash() == 0);
}

TEST_CASE("two nodes that know the same doubts have the same hash, and so have two who know enough of them") {
  Suspicions one, two;
  one.add(doubt(1, 2), at({}));
  one.add(doubt(1, 3), at({}));
  two.add(doubt(1, 3), at(seconds(9)));
  CHECK(one.hash() != two.hash());
  two.add(doubt(1, 2), at(seconds(9)));
  CHECK(one.hash() == two.hash());
  CHECK(one.hash_of(node(1)) == one.hash());
  for (uint8_t by : {4, 5}) one.add(doubt(1, by), at({}));
  for (uint8_t by : {6, 7}) two.add(doubt(1, by), at({}));
  CHECK(one.hash() == two.hash());
  CHECK_FALSE(one.add(doubt(1, 8), at({})));
}

TEST_CASE("the doubts of those who are no members any more end with them") {
  Suspicions suspicions, fresh;
  for (uint8_t by : {2, 3}) suspicions.add(doubt(1, by), at({}));
  suspicions.add(doubt(4, 3), at({}));
  suspicions.keep_observers([](const NodeId& by) { return by != node(3); });
  fresh.add(doubt(1, 2), at({}));
  CHECK(suspicions.find(node(4)) == nullptr);
  CHECK(suspicions.hash() == fresh.hash());
}

// --- news ---

TEST_CASE("news are sent so many times, those that were sent least first, and not to who told them") {
  NewsQueue queue;
  queue.add("a", "first", node(1));
  CHECK(queue.take(node(2), 2, 100) == std::vector<std::string>{"first"});
  queue.add("b", "second", {});
  CHECK(queue.take(node(1), 2, 100) == std::vector<std::string>{"second"});
  CHECK(queue.take(node(2), 2, 14) == std::vector<std::string>{"second"});  // one of two fits; younger first
  CHECK(queue.take(node(2), 2, 100) == std::vector<std::string>{"first"});
  CHECK(queue.empty());
}

TEST_CASE("newer news of a subject replace older ones, a large piece travels alone, and the queue is bounded") {
  NewsQueue queue;
  queue.add("a", "old", {});
  queue.add("a", "new", {});
  CHECK(queue.size() == 1);
  CHECK(queue.take(node(1), 1, 100) == std::vector<std::string>{"new"});
  queue.add("large", std::string(1000, 'x'), {});
  queue.add("small", "y", {});
  CHECK(queue.take(node(1), 1, 100) == std::vector<std::string>{"y"});
  CHECK(queue.take(node(1), 1, 100).size() == 1);
  for (size_t i = 0; i < kMaxNewsQueue + 10; ++i) queue.add(std::to_string(i), "n", {});
  CHECK(queue.size() == kMaxNewsQueue);
  queue.drop("100");
  CHECK(queue.size() == kMaxNewsQueue - 1);
}

// --- followers, profiles ---

TEST_CASE("a follower believes what it was told, but its own eyes more") {
  Follower follower;
  CHECK(follower.state(node(1), at({})) == NodeState::unknown);
  follower.told({{node(2), NodeState::departed}}, at(seconds(1)));
  CHECK(follower.state(node(1), at(seconds(1))) == NodeState::alive);
  CHECK(follower.state(node(2), at(seconds(1))) == NodeState::departed);
  follower.heard(node(2), at(seconds(2)));
  CHECK(follower.state(node(2), at(seconds(2))) == NodeState::alive);
  follower.failed(node(1), at(seconds(3)));
  CHECK(follower.state(node(1), at(seconds(4))) == NodeState::suspect);
  CHECK(follower.state(node(1), at(seconds(14))) == NodeState::alive);  // worth another try
  follower.told({{node(1), NodeState::suspect}}, at(seconds(20)));
  CHECK(follower.state(node(1), at(seconds(20))) == NodeState::suspect);
  CHECK(follower.state(node(2), at(seconds(20))) == NodeState::alive);
  follower.keep_only({node(2)});
  CHECK(follower.last_heard(node(2)) == at(seconds(2)));
}

TEST_CASE("local addresses are told from others") {
  for (const char* host : {"10.1.2.3", "127.0.0.1", "192.168.0.9", "172.16.0.1", "172.31.255.1", "169.254.1.1", "::1",
                           "fd12:3456::1", "fe80::1", "fc00::"}) {
    INFO(host);
    CHECK(is_private(host));
  }
  for (const char* host : {"8.8.8.8", "172.32.0.1", "192.169.0.1", "2001:db8::1", "ff02::1", "nas.example", "10.1.2",
                           "10.1.2.3.4", "10.1.2.999", "fd1::1", ""}) {
    INFO(host);
    CHECK_FALSE(is_private(host));
  }
}

// --- the protocol, among a few ---

TEST_CASE("nodes that are well never doubt each other") {
  SwimWorld world(few(20));
  size_t changes = 0;
  world.on_state = [&](size_t, size_t, NodeState) { ++changes; };
  world.run_for(minutes(10));
  CHECK(changes == 0);
  for (size_t i = 0; i < 20; ++i) {
    CHECK(all_say(world, i, NodeState::alive));
    CHECK(world.swim(i).local_health() == 0);
    CHECK(world.swim(i).counters().failed_probes == 0);
    CHECK_FALSE(world.swim(i).has_news());
  }
}

TEST_CASE("in a pool of two, what one told the other is nobody's news any more, and only probes go to and fro") {
  SwimWorld world(few(2));
  world.run_for(minutes(1));
  const Doubt lie{.about = world.id(1), .incarnation = {1, 1}, .by = world.id(0), .signature = {}};
  world.swim(1).take_doubt(lie, world.id(0), true);  // it refutes that by a new record
  world.run_for(minutes(1));
  REQUIRE(world.swim(1).counters().refutations == 1);
  CHECK_FALSE(world.swim(0).has_news());
  CHECK_FALSE(world.swim(1).has_news());
  const uint64_t before = world.counters().messages;
  world.run_for(seconds(100));
  CHECK(world.counters().messages - before <= 2 * 2 * 100 + 4);  // a probe a second each, and its answer
}

TEST_CASE("a node that crashed becomes suspect everywhere, then departed; alive at once where it is heard again") {
  SwimWorld world(few(10));
  world.run_for(seconds(5));
  world.crash(9);
  REQUIRE(world.run_until([&] { return all_say(world, 9, NodeState::suspect); }, seconds(20)));
  REQUIRE(world.run_until([&] { return all_say(world, 9, NodeState::departed); }, seconds(60)));
  for (size_t i = 0; i < 9; ++i) CHECK(world.swim(i).suspicions().find(world.id(9))->doubts.size() >= 3);
  world.swim(0).heard(world.id(9));
  CHECK(world.state(0, 9) == NodeState::alive);
  CHECK(world.state(1, 9) == NodeState::departed);
}

TEST_CASE("one observer, or one liar, makes a node suspect but not departed, and it refutes that") {
  SwimWorld world(few(10));
  world.run_for(seconds(5));
  Doubt lie{.about = world.id(1), .incarnation = {1, 1}, .by = world.id(0), .signature = Bytes(64)};
  CHECK(world.swim(2).take_doubt(lie, world.id(0), true));
  CHECK(world.state(2, 1) == NodeState::suspect);
  REQUIRE(world.run_until([&] { return all_say(world, 1, NodeState::alive); }, seconds(10)));
  CHECK(world.swim(1).counters().refutations == 1);
  // Old doubts are worth nothing any more.
  CHECK_FALSE(world.swim(2).take_doubt(lie, world.id(0), true));
  // More than one refutation a period is not to be had.
  for (uint64_t sequence = 2; sequence < 30; ++sequence) {
    lie.incarnation.sequence = sequence;
    world.swim(1).take_doubt(lie, world.id(0), true);
  }
  CHECK(world.swim(1).counters().refutations <= 2);
}

TEST_CASE("in a pool of two nobody can confirm a doubt: only a long silence decides") {
  SwimWorld world(few(2));
  world.run_for(seconds(5));
  world.crash(1);
  world.run_for(minutes(9));
  CHECK(world.state(0, 1) == NodeState::suspect);
  world.run_for(minutes(2));
  CHECK(world.state(0, 1) == NodeState::departed);
}

TEST_CASE("a pool of three agrees that the third has departed") {
  SwimWorld world(few(3));
  world.run_for(seconds(5));
  world.crash(2);
  CHECK(world.run_until([&] { return all_say(world, 2, NodeState::departed); }, minutes(1)));
}

TEST_CASE("the halves of a pool that was split find each other again, and all is refuted") {
  SwimWorld world(few(12, 3));
  world.run_for(seconds(5));
  world.partition(6);
  REQUIRE(world.run_until([&] { return world.state(0, 11) == NodeState::departed; }, minutes(3)));
  REQUIRE(world.run_until([&] { return world.state(11, 0) == NodeState::departed; }, minutes(3)));
  CHECK(world.state(0, 1) == NodeState::alive);
  world.partition(0);
  REQUIRE(world.run_until(
      [&] {
        for (size_t i = 0; i < 12; ++i) {
          if (!all_say(world, i, NodeState::alive)) return false;
        }
        return true;
      },
      minutes(2)));
  world.run_for(minutes(1));
  for (size_t i = 0; i < 12; ++i) CHECK(world.swim(i).suspicions().all().empty());
}

TEST_CASE("a machine that slept doubts nobody for it, and the others take it back at once") {
  SwimWorld world(few(10, 4));
  world.run_for(seconds(5));
  size_t departed_by_sleeper = 0;
  world.on_state = [&](size_t who, size_t, NodeState state) {
    if (who == 0 && state != NodeState::alive) ++departed_by_sleeper;
  };
  const Time awake = world.now() + minutes(30);
  world.freeze(0, minutes(30));
  REQUIRE(world.run_until([&] { return all_say(world, 0, NodeState::departed); }, minutes(5)));
  world.run_for(awake - world.now());
  CHECK(world.run_until([&] { return all_say(world, 0, NodeState::alive); }, seconds(20)));
  CHECK(departed_by_sleeper == 0);
}

TEST_CASE("a machine that has no time for some seconds is suspect, but not departed") {
  SwimWorldOptions options = few(10, 5);
  options.swim.least_suspicion = kLeastSuspicion;
  SwimWorld world(options);
  world.run_for(seconds(5));
  std::map<NodeState, size_t> seen;
  world.on_state = [&](size_t, size_t, NodeState state) { ++seen[state]; };
  for (int i = 0; i < 5; ++i) {
    world.freeze(3, seconds(20));
    world.run_for(seconds(25));
    CHECK(world.run_until([&] { return all_say(world, 3, NodeState::alive); }, seconds(10)));
  }
  CHECK(seen[NodeState::suspect] >= 5 * 8);
  CHECK(seen[NodeState::departed] == 0);
  // One that is away does depart.
  world.crash(3);
  CHECK(world.run_until([&] { return all_say(world, 3, NodeState::departed); }, minutes(1)));
}

TEST_CASE("a newcomer that knows one node is known to all, and knows all") {
  SwimWorldOptions options = few(15);
  options.capacity = 16;
  SwimWorld world(options);
  world.run_for(seconds(3));
  world.join(15, 0);
  REQUIRE(world.run_until([&] { return all_say(world, 15, NodeState::alive) && world.knows(7, 15); }, seconds(10)));
  for (size_t i = 0; i < 15; ++i) CHECK(world.state(15, i) == NodeState::alive);
}

TEST_CASE("requests that are malformed or too full are refused") {
  SwimWorld world(few(2));
  const auto ask = [&](Bytes body) {
    std::optional<Result<Bytes>> answer;
    auto task = [](Swim& swim, NodeId from, Bytes request, std::optional<Result<Bytes>>& out) -> env::Task<void> {
      out = co_await swim.answer(from, std::move(request));
    }(world.swim(0), world.id(1), std::move(body), answer);
    struct Now final : env::Executor {
      std::deque<std::move_only_function<void()>> queue;
      void post(std::move_only_function<void()> fn) override { queue.push_back(std::move(fn)); }
    } executor;
    env::TaskGroup group(executor);
    group.spawn(std::move(task));
    for (; !executor.queue.empty(); executor.queue.pop_front()) executor.queue.front()();
    return std::move(*answer);
  };
  CHECK(ask(Bytes(3, 0xFF)).error().code == Code::bad_input);
  CHECK(ask({}));
  CHECK(ask({0x08, 0x02}).error().code == Code::bad_input);  // a probe of nobody
  Bytes full;
  for (int i = 0; i < kMaxNewsPerMessage + 2; ++i) full.insert(full.end(), {0x22, 0x00});
  CHECK(ask(full).error().code == Code::bad_input);
}

}  // namespace cairn::peer
