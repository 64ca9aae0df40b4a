// Peers in the simulated world: gossip, requests, deadlines, cancelling, caps, removal.

#include "peer/peers.h"

#include <catch2/catch.hpp>

#include "peer/limits.h"
#include "peer/pool.h"

namespace cairn::peer {
namespace {

using env::Task;

// Serves shard_get: answers with the request's body and as many bytes of payload as it says, once `open` is notified.
struct Gate {
  explicit Gate(env::Executor& executor) : opened(executor) {}
  env::Signal opened;
  bool open = false;
  int started = 0, finished = 0, destroyed = 0;

  Task<Result<Reply>> serve(Request request) {
    ++started;
    struct Count {
      int& count;
      ~Count() { ++count; }
    } count{destroyed};
    while (!open) co_await opened.wait();
    ++finished;
    Reply reply{.body = request.body, .payload = request.payload};
    co_return reply;
  }
};

Task<Result<Reply>> call_later(Peers& peers, NodeId to, wire::Method method, Bytes body, Buffer payload,
                               Duration timeout) {
  return peers.call(to, method, std::move(body), std::move(payload), timeout);
}

Result<Reply> echo(Request request) {
  return Reply{.body = std::move(request.body), .payload = request.payload};
}
Task<Result<Reply>> echo_task(Request request) {
  co_return echo(std::move(request));
}

}  // namespace

TEST_CASE("thirty nodes that know one address know each other within seconds") {
  TestPool pool(1, 30);
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(30); }, seconds(20)));
  for (Daemon* daemon : pool.daemons) {
    CHECK(daemon->peers.membership().members().size() == 30);
    CHECK(daemon->peers.usable(pool.node(3)));
    CHECK(daemon->peers.state(pool.node(3)) == NodeState::alive);
  }
  // Gossip keeps to a few sessions and little traffic when nothing happens.
  const auto before = pool.sim.network().total().bytes;
  pool.sim.run_for(seconds(10));
  CHECK((pool.sim.network().total().bytes - before) / 30 / 10 < 64 * kKiB);
}

TEST_CASE("the same seed gives the same run") {
  const auto run = [] {
    TestPool pool(5, 6);
    pool.start_all();
    pool.sim.run_for(seconds(5));
    return pool.sim.trace().hash();
  };
  CHECK(run() == run());
}

TEST_CASE("a node that crashed becomes suspect, and alive again when it is back") {
  TestPool pool(2, 5);
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(5); }, seconds(20)));
  pool.sim.node(4).crash();
  pool.daemons.pop_back();
  REQUIRE(pool.sim.run_until(
      [&] {
        return std::ranges::all_of(
            pool.daemons, [&](Daemon* daemon) { return daemon->peers.state(pool.node(4)) == NodeState::suspect; });
      },
      seconds(60)));
  REQUIRE(pool.sim.run_until([&] { return pool.peers(0).state(pool.node(4)) == NodeState::departed; },
                             std::chrono::minutes(10)));
  pool.sim.node(4).restart();
  pool.start(4, {pool.address(0)});
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(5); }, seconds(30)));
  CHECK(pool.peers(0).membership().node(pool.node(4))->boot_seq == 2);
}

TEST_CASE("a partition heals by itself") {
  TestPool pool(3, 6);
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(6); }, seconds(20)));
  pool.sim.network().partition({0, 1, 2});
  REQUIRE(pool.sim.run_until([&] { return pool.peers(0).state(pool.node(4)) == NodeState::suspect; }, seconds(30)));
  // Three on this side cannot reach it: that is enough. Whether one acts on it is another question (repair).
  REQUIRE(pool.sim.run_until([&] { return pool.peers(0).state(pool.node(4)) == NodeState::departed; },
                             std::chrono::minutes(1)));
  CHECK(pool.peers(0).state(pool.node(1)) == NodeState::alive);
  pool.sim.network().heal();
  CHECK(pool.sim.run_until([&] { return pool.all_know(6); }, std::chrono::minutes(1)));
}

TEST_CASE("a process without a server settles by asking one node, and knows who is alive") {
  TestPool pool(4, 4);
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(4); }, seconds(20)));
  // A second process of node 3's home: same device, no server.
  Peers client(pool.sim.node(3).world(), pool.identities[3], pool.peers(3).membership(), {.serve = false});
  client.start({});
  const Time before = pool.sim.now();
  REQUIRE(pool.sim.run(client.settle(seconds(10))));
  CHECK(pool.sim.now() - before < seconds(1));
  CHECK(client.live_nodes().size() == 4);
  // It is no server, though it has sessions to all.
  CHECK(pool.sim.run(client.call(pool.node(3), wire::Method::ping, ping_body(), {}, seconds(5))));
  CHECK(pool.sim.run(pool.peers(0).call(pool.node(3), wire::Method::ping, ping_body(), {}, seconds(5))));
  pool.sim.run(client.stop());
}

TEST_CASE("a pool of one settles at once, and asks itself without a network") {
  TestPool pool(6, 1);
  pool.setup = [](Peers& peers, size_t) { peers.serve(wire::Method::shard_get, Access::members, echo_task); };
  pool.start(0);
  CHECK(pool.sim.run(pool.peers(0).settle(seconds(10))));
  CHECK(pool.sim.now() - Time{} < seconds(1));
  const auto reply = pool.call(0, 0, wire::Method::shard_get, to_bytes("abc"));
  REQUIRE(reply);
  CHECK(reply->body == to_bytes("abc"));
  CHECK(pool.sim.network().total().connects == 0);
}

TEST_CASE("requests go both ways on one session, many at a time, with payloads") {
  TestPool pool(7, 2);
  pool.setup = [](Peers& peers, size_t) {
    peers.serve(wire::Method::shard_put, Access::members, [](Request request) -> Task<Result<Reply>> {
      const Bytes digest = to_bytes(crypto::sha256(request.payload).view());
      co_return Reply{.body = digest, .payload = {}};
    });
    peers.serve(wire::Method::shard_get, Access::members, [](Request) -> Task<Result<Reply>> {
      Buffer payload(kMaxShardSize);
      std::ranges::fill(payload.span(), uint8_t{7});
      co_return Reply{.body = {}, .payload = payload};
    });
  };
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(2); }, seconds(20)));
  std::vector<Task<Result<Reply>>> calls;
  std::vector<Bytes> expected;
  for (size_t i = 0; i < 40; ++i) {
    Buffer payload(i * 50'000 + 3);
    pool.sim.prng().fill(payload.span());
    expected.push_back(to_bytes(crypto::sha256(payload).view()));
    calls.push_back(
        call_later(pool.peers(i % 2), pool.node(1 - i % 2), wire::Method::shard_put, {}, payload, seconds(60)));
  }
  auto replies = pool.sim.run(env::when_all(pool.sim.executor(), std::move(calls)));
  for (size_t i = 0; i < replies.size(); ++i) {
    REQUIRE(replies[i]);
    CHECK(replies[i]->body == expected[i]);
  }
  const auto big = pool.call(0, 1, wire::Method::shard_get, {}, {}, seconds(30));
  REQUIRE(big);
  CHECK(big->payload.size() == kMaxShardSize);
  CHECK(std::ranges::all_of(big->payload.view(), [](uint8_t byte) { return byte == 7; }));
  CHECK(pool.call(0, 1, wire::Method::shard_put, Bytes(100'000)).error().code == Code::too_large);
}

TEST_CASE("many callers at the same time dial once") {
  TestPool pool(8, 2);
  pool.start_with(1, *pool.membership);
  pool.start_with(0, pool.peers(1).membership());
  std::vector<Task<Result<Reply>>> calls;
  for (int i = 0; i < 20; ++i) {
    calls.push_back(call_later(pool.peers(0), pool.node(1), wire::Method::ping, ping_body(), {}, seconds(5)));
  }
  for (auto& reply : pool.sim.run(env::when_all(pool.sim.executor(), std::move(calls)))) CHECK(reply);
  CHECK(pool.sim.network().total().connects == 1);  // the first gossip's too
}

TEST_CASE("what the handler answers and what nobody serves come back as errors") {
  TestPool pool(9, 2);
  pool.setup = [](Peers& peers, size_t) {
    peers.serve(wire::Method::shard_get, Access::members,
                [](Request) -> Task<Result<Reply>> { co_return fail(Code::no_space, "full, \xC3\xA4 and more"); });
    peers.serve(wire::Method::admin_status, Access::own_device, echo_task);
  };
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(2); }, seconds(20)));
  CHECK(pool.call(0, 1, wire::Method::shard_get).error().code == Code::no_space);
  CHECK(pool.call(0, 1, wire::Method::pack_header).error().code == Code::unsupported);
  CHECK(pool.call(0, 1, wire::Method::admin_status).error().code == Code::denied);
  CHECK(pool.sim.run(pool.peers(0).call(NodeId{}, wire::Method::ping, {}, {}, seconds(1))).error().code ==
        Code::unreachable);
  // The session is still good.
  CHECK(pool.call(0, 1, wire::Method::ping, ping_body()));
}

TEST_CASE("another process of the same home may use what is for the node's own device") {
  TestPool pool(10, 1);
  pool.setup = [](Peers& peers, size_t) { peers.serve(wire::Method::admin_status, Access::own_device, echo_task); };
  pool.start(0);
  Peers client(pool.sim.node(0).world(), pool.identities[0], pool.peers(0).membership(), {.serve = false});
  client.start({});
  CHECK(pool.sim.run(client.call(pool.node(0), wire::Method::admin_status, to_bytes("x"), {}, seconds(5))));
  pool.sim.run(client.stop());
}

TEST_CASE("a request without an answer ends at its deadline, and its handler with it") {
  TestPool pool(11, 2);
  Gate gate(pool.sim.node(1).executor());
  pool.setup = [&](Peers& peers, size_t) {
    peers.serve(wire::Method::shard_get, Access::members, [&](Request r) { return gate.serve(std::move(r)); });
  };
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(2); }, seconds(20)));
  const Time before = pool.sim.now();
  CHECK(pool.call(0, 1, wire::Method::shard_get, {}, {}, seconds(3)).error().code == Code::timeout);
  CHECK(pool.sim.now() - before == seconds(3));
  CHECK(gate.started == 1);
  CHECK(pool.sim.run_until([&] { return gate.destroyed == 1; }, seconds(1)));
  CHECK(gate.finished == 0);
  CHECK(pool.call(0, 1, wire::Method::ping, ping_body()));
}

TEST_CASE("destroying the calling task cancels the request at the other end") {
  TestPool pool(12, 2);
  Gate gate(pool.sim.node(1).executor());
  pool.setup = [&](Peers& peers, size_t) {
    peers.serve(wire::Method::shard_get, Access::members, [&](Request r) { return gate.serve(std::move(r)); });
  };
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(2); }, seconds(20)));
  {
    env::TaskGroup group(pool.sim.executor());
    for (int i = 0; i < 50; ++i) {
      group.spawn([](Peers& peers, NodeId to) -> Task<void> {
        static_cast<void>(co_await peers.call(to, wire::Method::shard_get, {}, {}, seconds(300)));
      }(pool.peers(0), pool.node(1)));
    }
    CHECK(pool.sim.run_until([&] { return gate.started == static_cast<int>(kMaxRunning); }, seconds(5)));
  }
  CHECK(pool.sim.run_until([&] { return gate.destroyed == static_cast<int>(kMaxRunning); }, seconds(1)));
  pool.sim.run_for(seconds(1));
  CHECK(gate.started == static_cast<int>(kMaxRunning));  // those that waited for their turn never ran
  CHECK(pool.call(0, 1, wire::Method::ping, ping_body()));
}

TEST_CASE("a request on a session that dies is answered closed, a later one finds a new session") {
  TestPool pool(13, 2);
  Gate gate(pool.sim.node(1).executor());
  pool.setup = [&](Peers& peers, size_t) {
    peers.serve(wire::Method::shard_get, Access::members, [&](Request r) { return gate.serve(std::move(r)); });
  };
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(2); }, seconds(20)));
  pool.sim.after(seconds(1), [&] { pool.sim.network().reset_streams(0, 1); });
  CHECK(pool.call(0, 1, wire::Method::shard_get, {}, {}, seconds(30)).error().code == Code::closed);
  CHECK(pool.sim.run_until([&] { return gate.destroyed == 1; }, seconds(1)));
  CHECK(pool.call(0, 1, wire::Method::ping, ping_body()));
}

TEST_CASE("a node that is down is unreachable at once while its back-off lasts") {
  TestPool pool(14, 2);
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(2); }, seconds(20)));
  pool.sim.node(1).crash(sim::CrashKind::process);
  pool.daemons.pop_back();
  CHECK_FALSE(pool.call(0, 1, wire::Method::ping, ping_body()));
  CHECK(pool.call(0, 1, wire::Method::ping, ping_body()).error().code == Code::unreachable);
  const Time before = pool.sim.now();
  for (int i = 0; i < 20; ++i)
    CHECK(pool.call(0, 1, wire::Method::ping, ping_body()).error().code == Code::unreachable);
  CHECK(pool.sim.now() - before < seconds(2));
}

TEST_CASE("a silent peer's session is found dead, though its requests have long deadlines") {
  TestPool pool(15, 2);
  Gate gate(pool.sim.node(1).executor());
  pool.setup = [&](Peers& peers, size_t) {
    peers.serve(wire::Method::shard_get, Access::members, [&](Request r) { return gate.serve(std::move(r)); });
  };
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(2); }, seconds(20)));
  pool.sim.after(seconds(1), [&] { pool.sim.network().partition({0}); });
  const Time before = pool.sim.now();
  CHECK(pool.call(0, 1, wire::Method::shard_get, {}, {}, std::chrono::minutes(10)).error().code == Code::closed);
  CHECK(pool.sim.now() - before < 3 * kSilenceTimeout + seconds(5));
}

TEST_CASE("a slow answer is waited for: the session is probed and lives") {
  TestPool pool(16, 2);
  Gate gate(pool.sim.node(1).executor());
  pool.setup = [&](Peers& peers, size_t) {
    peers.serve(wire::Method::shard_get, Access::members, [&](Request r) { return gate.serve(std::move(r)); });
  };
  // No gossip that would keep the line busy.
  for (size_t i = 0; i < 2; ++i) {
    pool.start(i, {}, {.serve = true, .probe_period = std::chrono::hours(10)});
  }
  REQUIRE(pool.peers(0).membership().add_node(pool.peers(1).membership().node_entries().at(0)));
  pool.sim.after(std::chrono::minutes(2), [&] {
    gate.open = true;
    gate.opened.notify_all();
  });
  CHECK(pool.call(0, 1, wire::Method::shard_get, {}, {}, std::chrono::minutes(10)));
  // Idle sessions end, by the side that dialled.
  CHECK(pool.peers(0).sessions() == 1);
  pool.sim.run_for(std::chrono::minutes(3));
  CHECK(pool.peers(0).sessions() == 0);
  CHECK(pool.peers(1).sessions() == 0);
}

TEST_CASE("a removed member's sessions end, everywhere, and it cannot come back") {
  TestPool pool(17, 4);
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(4); }, seconds(20)));
  const bool device_only = GENERATE(false, true);
  const std::string action = device_only ? revoke_action(pool.node(3)) : remove_action(pool.member(3));
  REQUIRE(pool.peers(0).membership().append(pool.identities[0], 1, action));
  pool.peers(0).membership_changed();
  REQUIRE(pool.sim.run_until([&] { return pool.peers(3).sessions() == 0; }, seconds(20)));
  for (size_t i = 0; i < 3; ++i) {
    CHECK(pool.sim.run_until([&] { return pool.peers(i).membership().nodes().size() == 3; }, seconds(20)));
    CHECK(pool.peers(i).state(pool.node(3)) == NodeState::removed);
    pool.sim.run_for(seconds(20));
    const auto refused = pool.call(3, i, wire::Method::ping, ping_body());
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Code::denied);
    CHECK(pool.call(i, 3, wire::Method::ping, ping_body()).error().code == Code::unreachable);
  }
}

TEST_CASE("what a removed member has under way ends on both sides, and it is told why") {
  TestPool pool(27, 3);
  Gate gate(pool.sim.executor());
  pool.setup = [&](Peers& peers, size_t) {
    peers.serve(wire::Method::shard_get, Access::members,
                [&](Request request) { return gate.serve(std::move(request)); });
  };
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(3); }, seconds(20)));
  std::optional<Result<Reply>> hers, ours;
  env::TaskGroup group(pool.sim.executor());
  const auto begin = [&](size_t from, size_t to, std::optional<Result<Reply>>& out) {
    group.spawn([](Peers& peers, NodeId node, std::optional<Result<Reply>>& into) -> Task<void> {
      into = co_await peers.call(node, wire::Method::shard_get, {}, {}, std::chrono::hours(1));
    }(pool.peers(from), pool.node(to), out));
  };
  begin(2, 0, hers);
  begin(0, 2, ours);
  REQUIRE(pool.sim.run_until([&] { return gate.started == 2; }, seconds(10)));
  CHECK_FALSE(pool.peers(2).refusal());
  REQUIRE(pool.peers(0).membership().append(pool.identities[0], 1, remove_action(pool.member(2))));
  pool.peers(0).membership_changed();
  REQUIRE(pool.sim.run_until([&] { return hers && ours && gate.destroyed == 2; }, seconds(2)));
  CHECK(gate.finished == 0);
  REQUIRE_FALSE(*hers);
  CHECK(hers->error().code == Code::denied);
  CHECK(hers->error().context == "this member was removed from the pool");
  REQUIRE_FALSE(*ours);
  REQUIRE(pool.peers(2).refusal());
  CHECK(pool.peers(2).refusal()->context == "this member was removed from the pool");
  CHECK_FALSE(pool.peers(0).refusal());
  CHECK_FALSE(pool.peers(1).refusal());
  // It goes on asking, and nothing is served.
  for (size_t i = 0; i < 2; ++i) {
    CHECK(pool.call(2, i, wire::Method::ping, ping_body()).error().code == Code::denied);
  }
  CHECK(pool.peers(0).membership().removed_nodes().size() == 1);
  const auto kept = Membership::parse(pool.peers(0).membership().serialize());
  REQUIRE(kept);
  CHECK(kept->removed(pool.node(2)));
  CHECK(kept->nodes().size() == 2);
}

TEST_CASE("a node that was away when the others were admitted is told of them, with all gone whom it knew") {
  TestPool pool(29, 2);
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(2); }, seconds(20)));
  pool.sim.node(1).crash();
  const Membership old = *pool.membership;
  for (int i = 0; i < 3; ++i) pool.add();
  // Those who come know its address from the founder.
  const Membership& now = pool.peers(0).membership();
  for (size_t i = 2; i < 5; ++i) {
    REQUIRE(pool.peers(0).membership().append(pool.identities[0], 1, add_action(pool.member(i))));
  }
  pool.peers(0).membership_changed();
  for (size_t i = 2; i < 5; ++i) pool.start_with(i, now, {pool.address(0)});
  const auto knows = [&](size_t i, size_t count) { return pool.peers(i).membership().nodes().size() == count; };
  REQUIRE(pool.sim.run_until([&] { return knows(2, 5) && knows(3, 5) && knows(4, 5); }, seconds(20)));
  pool.sim.node(0).crash();
  pool.sim.run_for(std::chrono::minutes(2));
  pool.sim.node(1).restart();
  pool.start_with(1, old, {pool.address(0)});
  REQUIRE(pool.sim.run_until([&] { return knows(1, 5); }, std::chrono::minutes(3)));
  REQUIRE(pool.sim.run_until(
      [&] {
        for (size_t i = 2; i < 5; ++i) {
          if (pool.peers(1).state(pool.node(i)) != NodeState::alive ||
              pool.peers(i).state(pool.node(1)) != NodeState::alive)
            return false;
        }
        return true;
      },
      std::chrono::minutes(2)));
  for (size_t i = 1; i < 5; ++i) CHECK_FALSE(pool.peers(i).refusal());
}

TEST_CASE("a removal at thirty nodes closes all sessions of the member at once, everywhere") {
  constexpr size_t kNodes = 30;
  TestPool pool(26, kNodes);
  const bool device_only = GENERATE(false, true);
  // The slow profile: what closes sessions is the news itself, and not the next probe.
  for (size_t i = 0; i < kNodes; ++i) pool.start(i, {pool.address(0)}, {.serve = true, .probe_period = seconds(5)});
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(kNodes); }, std::chrono::minutes(1)));
  // A request that nobody answers holds a session of each node with the one that goes, in both directions.
  const size_t gone = kNodes - 1;
  for (size_t i = 0; i < gone; ++i)
    REQUIRE(pool.call(i % 2 ? i : gone, i % 2 ? gone : i, wire::Method::ping, ping_body()));
  REQUIRE(pool.peers(gone).sessions() >= kNodes - 1);
  const std::string action = device_only ? revoke_action(pool.node(gone)) : remove_action(pool.member(gone));
  REQUIRE(pool.peers(0).membership().append(pool.identities[0], 1, action));
  pool.peers(0).membership_changed();
  const Time removed = pool.sim.now();
  const auto known = [&] {
    return static_cast<size_t>(std::ranges::count_if(
        pool.daemons, [&](Daemon* daemon) { return daemon->peers.state(pool.node(gone)) == NodeState::removed; }));
  };
  REQUIRE(pool.sim.run_until([&] { return known() >= kNodes - 1 && pool.peers(gone).sessions() == 0; }, seconds(20)));
  CHECK(pool.sim.now() - removed < seconds(3));  // a few rounds of news, 1 s each
  UNSCOPED_INFO("after " << std::chrono::duration_cast<milliseconds>(pool.sim.now() - removed).count() << " ms");
  for (size_t i = 0; i < gone; ++i)
    CHECK(pool.call(gone, i, wire::Method::ping, ping_body()).error().code == Code::denied);
}

TEST_CASE("a node needs a dozen sessions, however many nodes there are, and is quiet when nothing happens") {
  constexpr size_t kNodes = 60;
  TestPool pool(24, kNodes);
  for (size_t i = 0; i < kNodes; ++i) pool.start(i, {pool.address(0)}, {.serve = true, .probe_period = seconds(5)});
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(kNodes); }, std::chrono::minutes(2)));
  pool.sim.run_for(2 * kIdleTimeout + std::chrono::minutes(1));  // those of the beginning end
  const auto before = pool.sim.network().total();
  pool.sim.run_for(std::chrono::minutes(2));
  const auto after = pool.sim.network().total();
  CHECK(after.connects - before.connects <= kNodes / 10);
  CHECK((after.bytes - before.bytes) * 2 / kNodes / 120 < 64);  // bytes a second, sent and received
  for (size_t i = 0; i < kNodes; ++i) {
    INFO(i);
    CHECK(pool.peers(i).sessions() <= 3 * kRings);
    CHECK(pool.peers(i).live_nodes().size() == kNodes);
  }
}

TEST_CASE("a node that nobody can dial stays alive: it keeps sessions to those that watch it") {
  TestPool pool(25, 20);
  for (size_t i = 0; i < 19; ++i) pool.start(i, {pool.address(0)});
  Daemon& hidden = pool.start_with(19, *pool.membership, {pool.address(0)});
  NodeInfo info = *hidden.peers.membership().node(pool.node(19));
  info.addresses.clear();
  hidden.peers.set_own_record(info);
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(20); }, seconds(30)));
  size_t departed = 0;
  for (int second = 0; second < 300; ++second) {
    pool.sim.run_for(seconds(1));
    for (size_t i = 0; i < 19; ++i) departed += pool.peers(i).state(pool.node(19)) == NodeState::departed ? 1 : 0;
  }
  CHECK(departed == 0);
}

TEST_CASE("a further device of a member is admitted by its certificate alone") {
  TestPool pool(18, 2);
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(2); }, seconds(20)));
  pool.add_machine(pool.member(1));
  pool.start(2, {pool.address(0)});
  CHECK(pool.sim.run_until([&] { return pool.all_know(3); }, seconds(20)));
  CHECK(pool.peers(0).membership().node(pool.node(2))->member == pool.member(1).id());
}

TEST_CASE("a change of the own record reaches everyone, and only a change is spread") {
  TestPool pool(19, 5);
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(5); }, seconds(20)));
  int changes = 0;
  pool.peers(4).on_change([&] { ++changes; });
  NodeInfo info = *pool.peers(0).membership().node(pool.node(0));
  const uint64_t sequence = info.sequence;
  pool.peers(0).set_own_record(info);
  CHECK(pool.peers(0).membership().node(pool.node(0))->sequence == sequence);
  info.free = 77;
  info.leaving = true;
  pool.peers(0).set_own_record(info);
  CHECK(pool.sim.run_until([&] { return pool.peers(4).membership().node(pool.node(0))->free == 77; }, seconds(20)));
  CHECK(changes == 1);
  CHECK(pool.peers(4).state(pool.node(0)) == NodeState::left);
}

TEST_CASE("one peer's flood takes its own share and nobody else's") {
  TestPool pool(20, 3);
  Gate gate(pool.sim.node(0).executor());
  pool.setup = [&](Peers& peers, size_t) {
    peers.serve(wire::Method::shard_put, Access::members, [&](Request r) -> Task<Result<Reply>> {
      auto reply = co_await gate.serve(std::move(r));
      if (reply) reply->payload = {};
      co_return reply;
    });
  };
  const PeersOptions options{.serve = true, .max_bytes_in_flight = 4 * kMiB};
  for (size_t i = 0; i < 3; ++i) pool.start(i, {pool.address(0)}, options);
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(3); }, seconds(20)));

  std::vector<Task<Result<Reply>>> calls;
  for (int i = 0; i < 30; ++i) {
    calls.push_back(call_later(pool.peers(1), pool.node(0), wire::Method::shard_put, {}, Buffer(1 * kMiB),
                               std::chrono::minutes(5)));
  }
  env::TaskGroup group(pool.sim.executor());
  std::optional<std::vector<Result<Reply>>> replies;
  group.spawn([](env::Executor& executor, std::vector<Task<Result<Reply>>> tasks,
                 std::optional<std::vector<Result<Reply>>>& out) -> Task<void> {
    out = co_await env::when_all(executor, std::move(tasks));
  }(pool.sim.executor(), std::move(calls), replies));
  pool.sim.run_for(seconds(3));
  CHECK(gate.started == 4);  // what fits in the share; the rest waits outside
  CHECK(pool.call(2, 0, wire::Method::ping, ping_body(), {}, seconds(1)));
  gate.open = true;
  gate.opened.notify_all();
  REQUIRE(pool.sim.run_until([&] { return replies.has_value(); }, std::chrono::minutes(2)));
  for (auto& reply : *replies) CHECK(reply);
}

TEST_CASE("a peer has at most so many sessions") {
  TestPool pool(21, 2);
  const PeersOptions options{.serve = true, .max_sessions_per_node = 3};
  pool.start(0, {}, options);
  std::vector<std::unique_ptr<Peers>> processes;
  int refused = 0;
  for (int i = 0; i < 6; ++i) {
    processes.push_back(std::make_unique<Peers>(pool.sim.node(1).world(), pool.identities[1], *pool.membership,
                                                PeersOptions{.serve = false}));
    REQUIRE(processes.back()->membership().add_node(pool.peers(0).membership().node_entries().at(0)));
    const auto reply =
        pool.sim.run(processes.back()->call(pool.node(0), wire::Method::ping, ping_body(), {}, seconds(5)));
    if (!reply) {
      CHECK(reply.error().code == Code::overloaded);
      ++refused;
    }
  }
  CHECK(refused == 3);
  pool.sim.run_for(kHelloTimeout + seconds(1));  // the refused ones are given time to read why
  CHECK(pool.peers(0).sessions() <= 3);
}

TEST_CASE("counters tell frames' bytes and requests") {
  TestPool pool(22, 2);
  for (size_t i = 0; i < 2; ++i) pool.start(i, {}, {.serve = true, .probe_period = std::chrono::hours(10)});
  REQUIRE(pool.peers(0).membership().add_node(pool.peers(1).membership().node_entries().at(0)));
  REQUIRE(pool.call(0, 1, wire::Method::ping, ping_body()));
  const Traffic sender = pool.peers(0).traffic(), receiver = pool.peers(1).traffic();
  CHECK(sender.requests_sent == 1);
  CHECK(receiver.requests_served == 1);
  CHECK(sender.bytes_sent == receiver.bytes_received);
  CHECK(sender.bytes_received == receiver.bytes_sent);
  CHECK(sender.bytes_sent > 0);
}

}  // namespace cairn::peer
