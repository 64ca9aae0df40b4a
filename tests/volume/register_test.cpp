// The register's rules one by one: promises, owners, keepers that change, and how a register is found again.

#include <catch2/catch.hpp>

#include "volume/linearizability.h"
#include "volume/register_cluster.h"
#include "volume/register_keepers.h"

namespace cairn::volume {
namespace {

Bytes content(std::string_view text) {
  return to_bytes(text);
}

// A register that a machine has founded, with a first value.
struct Founded {
  explicit Founded(Cluster& cluster, size_t at = 0, std::string_view text = "x")
      : founding(founded_by(cluster, at)), reg(cluster.machine(at).world(), cluster.machine(at), founding) {
    auto written = cluster.run(reg.write({}, content(text)));
    REQUIRE(written);
    state = std::move(*written);
  }
  static Bytes founded_by(Cluster& cluster, size_t at) {
    auto founding = cluster.run(found_head(cluster.machine(at).world(), cluster.machine(at)));
    REQUIRE(founding);
    return *founding;
  }
  const Bytes founding;
  Register reg;
  RegisterState state;
};

// A register of three keepers (machines 0 to 2) and two proposers on machines that keep nothing.
struct Duel {
  explicit Duel(uint64_t seed, AcceptorFaults faults) : cluster(seed, 5, {.faults = faults}) {
    cluster.set_lending(3);
    auto bytes = cluster.run(found_head(cluster.machine(3).world(), cluster.machine(3)));
    REQUIRE(bytes);
    founding = *parse_founding(*bytes);
  }
  // Both read an empty register; the keepers lose their power; both write what they meant to write.
  std::vector<RegisterOp> run() {
    Proposer first(cluster.machine(3).world(), cluster.machine(3), founding, {});
    Proposer second(cluster.machine(4).world(), cluster.machine(4), founding, {});
    const Time deadline = Time::never();
    auto early = cluster.run(first.prepare(deadline));
    auto late = cluster.run(second.prepare(deadline));
    REQUIRE(early);
    REQUIRE(late);
    for (size_t i = 0; i < 3; ++i) {
      cluster.crash(i);
      cluster.restart(i);
    }
    using enum RegisterOp::Outcome;
    std::vector<RegisterOp> history;
    auto one = cluster.run(first.propose(*early, first.make_value(std::nullopt, content("one")), deadline));
    history.push_back({.kind = RegisterOp::Kind::write, .invoked = 1, .returned = 3, .value = 1});
    history.back().outcome = one && *one ? ok : unknown;
    auto two = cluster.run(second.propose(*late, second.make_value(std::nullopt, content("two")), deadline));
    history.push_back({.kind = RegisterOp::Kind::write, .invoked = 2, .returned = 4, .value = 2});
    history.back().outcome = two && *two ? ok : unknown;
    return history;
  }
  Cluster cluster;
  Founding founding;
};

TEST_CASE("a promise survives a power cut of every keeper") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const auto result = check_linearizable(Duel(seed, {}).run());
    INFO("seed " << seed << ": " << result.reason);
    CHECK(result.linearizable);
  }
}

TEST_CASE("keepers that forget promises are caught") {
  bool caught = false;
  for (uint64_t seed = 1; seed <= 20 && !caught; ++seed) {
    caught = !check_linearizable(Duel(seed, {.forget_promises = true}).run()).linearizable;
  }
  CHECK(caught);
}

TEST_CASE("a register is written, read, and found by a fresh object on another machine") {
  Cluster cluster(7, 5);
  auto founding = cluster.run(found_head(cluster.machine(0).world(), cluster.machine(0)));
  REQUIRE(founding);
  Register writer(cluster.machine(0).world(), cluster.machine(0), *founding);
  auto empty = cluster.run(writer.read());
  REQUIRE(empty);
  CHECK(empty->sequence == 0);
  CHECK(empty->config.keepers.size() == 5);
  auto first = cluster.run(writer.write(*empty, content("a")));
  REQUIRE(first);
  auto second = cluster.run(writer.write(*first, content("b")));
  REQUIRE(second);
  auto stale = cluster.run(writer.write(*first, content("c")));
  REQUIRE_FALSE(stale);
  CHECK(stale.error().code == Code::conflict);

  Register reader(cluster.machine(3).world(), cluster.machine(3), *founding);
  auto seen = cluster.run(reader.read());
  REQUIRE(seen);
  CHECK(seen->content == content("b"));
  CHECK(seen->writer == cluster.identity(0).node);
  CHECK(chain_contains(*seen, 1, first->hash) == true);
  CHECK(chain_contains(*seen, 1, second->hash) == false);
  reader.expect_at_least(9);
  auto older = cluster.run(reader.read());
  REQUIRE_FALSE(older);
  CHECK(older.error().code == Code::damaged);
}

TEST_CASE("a write without a majority says that nothing was sent, and loses nothing") {
  Cluster cluster(8, 3);
  Founded head(cluster, 0, "kept");
  cluster.crash(1);
  cluster.crash(2);
  auto lonely = cluster.run(head.reg.write(head.state, content("lost")));
  REQUIRE_FALSE(lonely);
  CHECK(lonely.error().code == Code::too_few_peers);
  CHECK(head.reg.attempted().empty());
  cluster.restart(1);
  auto again = cluster.run(head.reg.read());
  REQUIRE(again);
  CHECK(again->content == content("kept"));
}

TEST_CASE("keepers that are started anew are waited for, however fast they are seen to be away") {
  Cluster cluster(31, 4, {.refuse = true});
  cluster.set_lending(3);
  Founded head(cluster, 3);
  cluster.crash(0);
  cluster.crash(1);
  cluster.sim.after(std::chrono::seconds(3), [&] {
    cluster.restart(0);
    cluster.restart(1);
  });
  auto seen = cluster.run(head.reg.read());
  REQUIRE(seen);
  CHECK(seen->content == content("x"));
}

TEST_CASE("keepers on machines that take seconds for each answer are waited for") {
  Cluster cluster(32, 4);
  cluster.set_lending(3);
  Founded head(cluster, 3);
  cluster.set_options({.busy = std::chrono::milliseconds(4500)});
  auto seen = cluster.run(head.reg.read());
  REQUIRE(seen);
  CHECK(seen->content == content("x"));
}

TEST_CASE("a register moves from one keeper to three to five, and a stranger to the change finds it") {
  Cluster cluster(9, 7);
  cluster.set_lending(1);
  Founded head(cluster);
  CHECK(head.state.config.keepers.size() == 1);
  cluster.set_lending(3);
  REQUIRE(cluster.run(head.reg.adapt_keepers()));
  cluster.set_lending(7);
  REQUIRE(cluster.run(head.reg.adapt_keepers()));
  auto moved = cluster.run(head.reg.read());
  REQUIRE(moved);
  CHECK(moved->config.keepers.size() == 5);
  CHECK(moved->config.epoch == 2);
  CHECK(moved->sequence == head.state.sequence);  // a move is no write
  CHECK(moved->hash == head.state.hash);
  REQUIRE(cluster.run(head.reg.adapt_keepers()));  // nothing to do
  CHECK(cluster.run(head.reg.read())->config.epoch == 2);

  // The first keeper has gone for good: only the nodes know where the register lives now.
  const size_t first = *cluster.find(head.state.config.keepers[0]);
  const size_t other = first == 6 ? 5 : 6;
  if (first != 0) cluster.crash(first);
  Register finder(cluster.machine(other).world(), cluster.machine(other), head.founding);
  auto found = cluster.run(finder.read());
  REQUIRE(found);
  CHECK(found->content == content("x"));
  auto written = cluster.run(finder.write(head.state, content("y")));  // on the state from before the moves
  CHECK(written);
}

TEST_CASE("a keeper that lost its disk counts as another node and is replaced") {
  Cluster cluster(10, 4);
  Founded head(cluster);
  REQUIRE(head.state.config.keepers.size() == 3);
  std::vector<size_t> keepers;
  for (const NodeId& keeper : head.state.config.keepers) keepers.push_back(*cluster.find(keeper));
  std::erase(keepers, size_t{0});  // machine 0 runs the client
  cluster.replace_disk(keepers[0]);
  REQUIRE(cluster.run(head.reg.adapt_keepers()));
  auto moved = cluster.run(head.reg.read());
  REQUIRE(moved);
  CHECK(moved->config.epoch == 1);
  CHECK(moved->content == content("x"));
  // Now another of the first three may go too.
  cluster.replace_disk(keepers[1]);
  auto still = cluster.run(head.reg.read());
  REQUIRE(still);
  CHECK(still->content == content("x"));
}

TEST_CASE("a keeper that lends no more, and one that departed, hand their part over to others") {
  Cluster cluster(24, 8);
  cluster.set_lending(7);
  Founded head(cluster, 7);
  const auto here = [&](size_t i) { return *cluster.machine(i).server().acceptor().registers_here(); };
  const size_t leaver = *cluster.find(head.state.config.keepers[0]), lost = *cluster.find(head.state.config.keepers[1]);
  CHECK(here(leaver) == 1);
  cluster.set_lending(leaver, false);
  REQUIRE(cluster.run(head.reg.adapt_keepers()));
  CHECK(here(leaver) == 0);  // so it may go
  cluster.crash(leaver);
  cluster.crash(lost);
  cluster.set_gone(lost, true);
  REQUIRE(cluster.run(head.reg.adapt_keepers()));
  auto now = cluster.run(head.reg.read());
  REQUIRE(now);
  CHECK(now->content == content("x"));
  CHECK(now->config.keepers.size() == 5);
  for (const size_t i : {leaver, lost}) CHECK_FALSE(has_keeper(now->config, cluster.identity(i).node));
  for (const NodeId& keeper : now->config.keepers) CHECK(here(*cluster.find(keeper)) == 1);
}

TEST_CASE("keepers that are held for gone, and answer, are found and stay") {
  Cluster cluster(23, 6);
  Founded head(cluster);
  for (const NodeId& keeper : head.state.config.keepers) cluster.set_gone(*cluster.find(keeper), true);
  Register finder(cluster.machine(1).world(), cluster.machine(1), head.founding);
  auto found = cluster.run(finder.read());
  REQUIRE(found);
  CHECK(found->content == content("x"));
  REQUIRE(cluster.run(finder.adapt_keepers()));
  auto after = cluster.run(finder.read());
  REQUIRE(after);
  CHECK(std::ranges::all_of(head.state.config.keepers, [&](const NodeId& keeper) {
    return std::ranges::find(after->config.keepers, keeper) != after->config.keepers.end();
  }));
}

TEST_CASE("keepers that all lost their disks do not say that nothing was written") {
  Cluster cluster(11, 4);
  cluster.set_lending(3);
  Founded head(cluster, 3);
  for (size_t i = 0; i < 3; ++i) cluster.replace_disk(i);
  Register fresh(cluster.machine(3).world(), cluster.machine(3), head.founding);
  auto lost = cluster.run(fresh.read());
  REQUIRE_FALSE(lost);
  CHECK(lost.error().code == Code::too_few_peers);
}

TEST_CASE("another member can neither read nor write a register, nor forge its values") {
  Cluster cluster(12, 3);
  Founded head(cluster);

  crypto::AccountSecret secret{};
  secret[0] = 99;
  const auto stranger = peer::MemberKeys::derive(secret);
  const Founding parsed = *parse_founding(head.founding);
  wire::RegisterPeekRequest peek;
  peek.set_register_(parsed.id.raw());
  auto answer =
      cluster.run(cluster.machine(0).server().handle(wire::Method::register_peek, stranger.id(), wire::encode(peek)));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Code::denied);

  peer::Identity forger = cluster.identity(1);
  forger.member = stranger;
  forger.certificate = peer::Certificate::issue(stranger, forger.pool, forger.device.public_key(), "forger", 0);
  Value value{.sequence = 1, .config = parsed.first, .content = content("forged"), .writer = forger.node};
  sign_value(parsed, forger, value);
  auto forged = parse_value(parsed, value.encoded);
  REQUIRE_FALSE(forged);
  CHECK(forged.error().code == Code::denied);
  sign_value(parsed, cluster.identity(1), value);
  CHECK(parse_value(parsed, value.encoded));
  value.encoded.mutable_body()->back() ^= 1;
  CHECK_FALSE(parse_value(parsed, value.encoded));
}

TEST_CASE("receipts of different ballots, or of too few keepers, begin no configuration") {
  Cluster cluster(13, 3);
  auto founding = cluster.run(found_head(cluster.machine(0).world(), cluster.machine(0)));
  const Founding parsed = *parse_founding(*founding);
  Value seal{.config = parsed.first, .sealed = true, .next = parsed.first};
  seal.next.epoch = 1;
  sign_value(parsed, cluster.identity(0), seal);
  const auto origin = [&](std::vector<uint64_t> counters) {
    wire::RegisterOrigin made;
    *made.mutable_value() = seal.encoded;
    for (size_t i = 0; i < counters.size(); ++i) {
      const size_t keeper = *cluster.find(parsed.first.keepers[i]);
      *made.add_receipts() = make_receipt(parsed.id, {counters[i], cluster.identity(0).node, 1}, seal.body_hash, 0,
                                          cluster.identity(keeper).node, cluster.identity(keeper).device);
    }
    return made;
  };
  CHECK(check_origin(parsed, origin({5, 5}), seal.next));
  CHECK_FALSE(check_origin(parsed, origin({5}), seal.next));
  CHECK_FALSE(check_origin(parsed, origin({5, 6}), seal.next));
  RegisterConfig other = seal.next;
  other.epoch = 2;
  CHECK_FALSE(check_origin(parsed, origin({5, 5}), other));
}

// Eight machines, of which five keep a register with the values "one" and "two"; machine 7 runs the owner's client.
struct Lost {
  explicit Lost(uint64_t seed) : cluster(seed, 8) {
    cluster.set_lending(5);
    founding = *cluster.run(found_head(cluster.machine(7).world(), cluster.machine(7)));
    client = std::make_unique<Register>(cluster.machine(7).world(), cluster.machine(7), founding);
    auto one = cluster.run(client->write({}, content("one")));
    REQUIRE(one);
    auto two = cluster.run(client->write(*one, content("two")));
    REQUIRE(two);
    state = *two;
    cluster.set_lending(8);
    REQUIRE(state.config.keepers.size() == 5);
    for (const NodeId& keeper : state.config.keepers) keepers.push_back(*cluster.find(keeper));
  }
  void crash(size_t first, size_t end) {
    for (size_t i = first; i < end; ++i) cluster.crash(keepers[i]);
  }
  void restart(size_t first, size_t end) {
    for (size_t i = first; i < end; ++i) cluster.restart(keepers[i]);
  }
  std::unique_ptr<Register> fresh(size_t machine) {
    return std::make_unique<Register>(cluster.machine(machine).world(), cluster.machine(machine), founding);
  }
  Cluster cluster;
  Bytes founding;
  std::unique_ptr<Register> client;
  RegisterState state;
  std::vector<size_t> keepers;
};

TEST_CASE("a register whose majority of keepers is lost goes on by its owner's word, from the best value there is") {
  Lost lost(41);
  auto none = lost.cluster.run(lost.client->force({}));
  REQUIRE_FALSE(none);
  CHECK(none.error().code == Code::conflict);  // nothing is lost
  lost.crash(0, 3);
  CHECK(lost.cluster.run(lost.client->read()).error().code == Code::too_few_peers);
  auto remains = lost.cluster.run(lost.client->look_at_remains());
  REQUIRE(remains);
  CHECK_FALSE(remains->majority());
  CHECK(remains->answering.size() == 2);
  CHECK(remains->lost.size() == 3);
  REQUIRE(remains->best);
  CHECK(remains->best->hash == lost.state.hash);
  auto forced = lost.cluster.run(lost.client->force({}));
  INFO((forced ? "" : to_string(forced.error())));
  REQUIRE(forced);
  CHECK(forced->content == content("two"));
  CHECK(forced->sequence == 2);  // a force is no write
  CHECK(forced->hash == lost.state.hash);
  REQUIRE(forced->forced.size() == 1);
  CHECK(forced->forced[0].lost == lost.state.config);
  CHECK_FALSE(parted_from(*forced, 0, 2, lost.state.hash));
  auto three = lost.cluster.run(lost.client->write(*forced, content("three")));
  REQUIRE(three);
  CHECK(three->sequence == 3);
  // Another machine knows only the first keepers, and is led on.
  auto other = lost.fresh(6);
  auto seen = lost.cluster.run(other->read());
  REQUIRE(seen);
  CHECK(seen->content == content("three"));
  CHECK(seen->forced == forced->forced);
  // The note stays through changes of keepers.
  REQUIRE(lost.cluster.run(lost.client->adapt_keepers()));
  CHECK(lost.cluster.run(lost.client->read())->forced == forced->forced);
}

TEST_CASE("a majority that was given up and comes back leads on to where the register is, and its values are found") {
  for (uint64_t seed = 50; seed < 56; ++seed) {
    INFO("seed " << seed);
    Lost lost(seed);
    // "three" is chosen by the three alone that are given up afterwards.
    lost.crash(3, 5);
    auto three = lost.cluster.run(lost.client->write(lost.state, content("three")));
    REQUIRE(three);
    lost.crash(0, 3);
    lost.restart(3, 5);
    auto owner = lost.fresh(7);
    auto forced = lost.cluster.run(owner->force({}));
    INFO((forced ? "" : to_string(forced.error())));
    REQUIRE(forced);
    CHECK(forced->sequence == 2);
    auto mine = lost.cluster.run(owner->write(*forced, content("mine")));
    REQUIRE(mine);
    // Who saw "three" can tell, whatever was written since.
    CHECK(parted_from(*mine, 0, three->sequence, three->hash));
    CHECK_FALSE(parted_from(*mine, 0, lost.state.sequence, lost.state.hash));
    CHECK_FALSE(parted_from(*mine, mine->era(), mine->sequence, mine->hash));
    lost.restart(0, 3);
    // The next change of keepers, or look at them, tells those that are back.
    REQUIRE(lost.cluster.run(owner->adapt_keepers()));
    auto stranger = lost.fresh(6);
    auto seen = lost.cluster.run(stranger->read());
    REQUIRE(seen);
    CHECK(seen->content == content("mine"));
    auto remains = lost.cluster.run(stranger->look_at_remains());
    REQUIRE(remains);
    CHECK(remains->majority());
    CHECK(remains->best->hash == mine->hash);
    REQUIRE(remains->strays.size() == 1);
    CHECK(remains->strays[0].content == content("three"));
    // Who stood upon "three" meets a conflict, not silence.
    auto late = lost.cluster.run(lost.client->write(*three, content("four")));
    REQUIRE_FALSE(late);
    CHECK(late.error().code == Code::conflict);
  }
}

TEST_CASE(
    "of a register that two devices force at once all follow one, and the other's values are seen to be missing") {
  Lost lost(61);
  lost.crash(0, 3);
  auto a = lost.fresh(6);
  auto by_a = lost.cluster.run(lost.client->force({}));
  REQUIRE(by_a);
  auto written = lost.cluster.run(lost.client->write(*by_a, content("a")));
  REQUIRE(written);
  // The other one does not hear of that.
  for (const NodeId& keeper : by_a->config.keepers) {
    if (const size_t i = *lost.cluster.find(keeper); lost.cluster.up(i) && i != 6 && i != 7) lost.cluster.crash(i);
  }
  auto again = lost.cluster.run(a->force({}));
  if (!again) return;  // everybody who could keep it was a keeper
  CHECK(again->era() > by_a->era());
  CHECK(parted_from(*again, by_a->era(), written->sequence, written->hash).has_value() ==
        (again->sequence < written->sequence));
}

TEST_CASE("keepers come from different domains before one domain gives a second") {
  std::vector<KeeperCandidate> nodes;
  for (uint8_t i = 0; i < 6; ++i) {
    KeeperCandidate node{.domain = i < 4 ? "big" : std::to_string(i), .lends = true, .usable = true};
    node.node.bytes[0] = i;
    nodes.push_back(node);
  }
  const auto order = keeper_order(Hash{}, nodes);
  REQUIRE(order.size() == 6);
  CHECK(std::set<std::string>{order[0].domain, order[1].domain, order[2].domain}.size() == 3);
}

}  // namespace
}  // namespace cairn::volume
