// Joining by invite and coming back by phrase, in the simulated world.

#include <catch2/catch.hpp>

#include "peer/limits.h"
#include "peer/pool.h"

namespace cairn::peer {
namespace {

using env::Task;

struct Joining : TestPool {
  explicit Joining(uint64_t seed) : TestPool(seed, 1) { start(0); }

  std::string invite(uint32_t uses = 1, Duration lasts = std::chrono::hours(1), Role role = Role::member) {
    auto code = create_invite(sim.node(0).world(), identities[0], peers(0).membership(), "invites", {address(0)},
                              {.role = role, .uses = uses, .expires = wall_now() + lasts.count()});
    REQUIRE(code);
    return *code;
  }
  WallTime wall_now() { return sim.node(0).clock().wall_now(); }
  // A machine that belongs to nobody yet.
  size_t machine() {
    const size_t index = sim.size();
    devices.push_back(sim::give_identity(sim.add_node()));
    return index;
  }
  Task<Result<Joined>> join_task(size_t index, std::string code, uint64_t who) {
    return join(sim.node(index).world(), person(who), devices.at(index - 1), std::move(code), "anna", "laptop",
                seconds(20));
  }
  Result<Joined> join_from(size_t index, std::string code, uint64_t who) {
    return sim.run(join_task(index, std::move(code), who));
  }
  // What a node would do with the code's content changed and the checksum made right again.
  static std::string edited(const std::string& code, const std::function<void(Invite&)>& change) {
    Invite invite = parse_invite(code).value();
    change(invite);
    return format_invite(invite);
  }
  size_t members() { return peers(0).membership().members().size(); }

  std::vector<crypto::PrivateKey> devices;
};

}  // namespace

TEST_CASE("who holds an invite joins, knows the pool, and is known by all") {
  Joining pool(1);
  const size_t index = pool.machine();
  const Role role = GENERATE(Role::member, Role::admin);
  auto joined = pool.join_from(index, pool.invite(1, std::chrono::hours(1), role), 50);
  REQUIRE(joined);
  CHECK(joined->membership.pool() == pool.id());
  CHECK(joined->membership.nodes().size() == 1);
  CHECK(joined->identity.node == pool.sim.node(index).id());
  const Member* member = pool.peers(0).membership().member(person(50).id());
  REQUIRE(member);
  CHECK(member->name == "anna");
  CHECK(member->role == role);
  pool.identities.push_back(joined->identity);
  pool.start_with(index, joined->membership);
  CHECK(pool.sim.run_until([&] { return pool.all_know(2); }, seconds(20)));
}

TEST_CASE("expired, edited and used invites are refused, each in its own way") {
  Joining pool(2);
  const size_t index = pool.machine();
  SECTION("expired") {
    const std::string code = pool.invite(1, seconds(30));
    pool.sim.run_for(seconds(31));
    CHECK(pool.join_from(index, code, 50).error().code == Code::expired);
    // Writing another date into it does not help.
    const auto later = Joining::edited(code, [](Invite& invite) { invite.expires *= 2; });
    CHECK(pool.join_from(index, later, 50).error().code == Code::denied);
  }
  SECTION("edited") {
    const std::string code = pool.invite();
    const std::vector<std::function<void(Invite&)>> changes{
        [](Invite& invite) { invite.role = Role::admin; }, [](Invite& invite) { invite.secret[3] ^= 1; },
        [](Invite& invite) { invite.id[3] ^= 1; },         [](Invite& invite) { invite.pool_name = "x"; },
        [](Invite& invite) { invite.pool.bytes[0] ^= 1; }, [](Invite& invite) { invite.node.bytes[0] ^= 1; }};
    for (const auto& change : changes) {
      const auto refused = pool.join_from(index, Joining::edited(code, change), 50);
      REQUIRE_FALSE(refused);
      CHECK(refused.error().code == Code::denied);
    }
    // None of that used it up.
    CHECK(pool.join_from(index, code, 50));
  }
  SECTION("mistyped") {
    std::string code = pool.invite();
    code[30] = code[30] == 'a' ? 'b' : 'a';
    CHECK(pool.join_from(index, code, 50).error().code == Code::bad_input);
  }
  SECTION("used") {
    const std::string code = pool.invite();
    CHECK(pool.join_from(index, code, 50));
    const size_t second = pool.machine();
    CHECK(pool.join_from(second, code, 51).error().code == Code::used);
    CHECK(pool.members() == 2);
  }
  SECTION("another pool's") {
    Joining other(3);
    other.peers(0);
    const auto foreign = Joining::edited(other.invite(), [&](Invite& invite) {
      invite.pool = pool.id();
      invite.node = pool.node(0);
      invite.addresses = {pool.address(0)};
    });
    CHECK(pool.join_from(index, foreign, 50).error().code == Code::denied);
  }
}

TEST_CASE("an invite for several admits so many") {
  Joining pool(4);
  const std::string code = pool.invite(3);
  for (uint64_t i = 0; i < 3; ++i) CHECK(pool.join_from(pool.machine(), code, 50 + i));
  CHECK(pool.join_from(pool.machine(), code, 60).error().code == Code::used);
  CHECK(pool.members() == 4);
}

TEST_CASE("the same joiner may ask again when the answer was lost, even after the invite's time") {
  Joining pool(5);
  const std::string code = pool.invite(1, seconds(30));
  const size_t index = pool.machine();
  CHECK(pool.join_from(index, code, 50));
  pool.sim.run_for(std::chrono::minutes(1));
  CHECK(pool.join_from(index, code, 50));
  CHECK(pool.members() == 2);
  CHECK(pool.peers(0).membership().log().size() == 1);
  // Another device of the same member may do so too, another member may not.
  CHECK(pool.join_from(pool.machine(), code, 50));
  CHECK(pool.join_from(pool.machine(), code, 51).error().code == Code::expired);
}

TEST_CASE("of parallel joins with one single-use invite exactly one wins") {
  for (uint64_t seed = 10; seed < 16; ++seed) {
    Joining pool(seed);
    const std::string code = pool.invite();
    std::vector<Task<Result<Joined>>> joins;
    for (uint64_t i = 0; i < 8; ++i) {
      const size_t index = pool.machine();
      joins.push_back(pool.join_task(index, code, 50 + i));
    }
    int won = 0, used = 0;
    for (auto& joined : pool.sim.run(env::when_all(pool.sim.executor(), std::move(joins)))) {
      if (joined) {
        ++won;
      } else {
        CHECK(joined.error().code == Code::used);
        ++used;
      }
    }
    CHECK(won == 1);
    CHECK(used == 7);
    CHECK(pool.members() == 2);
  }
}

TEST_CASE("a crash at any point of a join leaves an invite that is burned for the joiner or not at all") {
  // The disk dies after so many operations of the join; then power is lost and the node starts over what is left.
  int burned = 0, unburned = 0;
  for (uint64_t operations = 0; operations < 9; ++operations) {
    for (uint64_t seed = 20; seed < 24; ++seed) {
      Joining pool(seed);
      const std::string code = pool.invite();
      const size_t index = pool.machine(), other = pool.machine();
      const Membership saved = pool.peers(0).membership();  // what the composition root had on disk before
      pool.sim.node(0).disk().crash_after(operations);
      const auto first = pool.join_from(index, code, 50);
      pool.sim.node(0).crash();
      pool.sim.node(0).restart();
      pool.start_with(0, saved);

      const bool admitted = is_member(pool.peers(0).membership(), person(50));
      if (first) CHECK(admitted);  // what was handed out is not forgotten
      if (admitted) {
        ++burned;
        CHECK(pool.join_from(other, code, 51).error().code == Code::used);
        auto again = pool.join_from(index, code, 50);
        REQUIRE(again);
        CHECK(is_member(again->membership, person(50)));
      } else {
        ++unburned;
        CHECK(pool.join_from(other, code, 51));
        CHECK(pool.join_from(index, code, 50).error().code == Code::used);
      }
      CHECK(pool.members() == 2);
      // The chain goes on without a fork.
      if (first) {
        Membership joiner = first->membership;
        for (const auto& record : pool.peers(0).membership().log()) CHECK(joiner.add_log(record));
      }
    }
  }
  CHECK(burned > 0);
  CHECK(unburned > 0);
}

TEST_CASE("an invite that cannot be burned admits nobody") {
  Joining pool(6);
  const std::string code = pool.invite();
  const size_t index = pool.machine();
  pool.sim.node(0).disk().set_error_chance(0, 1);
  CHECK(pool.join_from(index, code, 50).error().code == Code::io);
  CHECK(pool.members() == 1);
  pool.sim.node(0).disk().set_error_chance(0, 0);
  CHECK(pool.join_from(index, code, 50));
}

TEST_CASE("only an admin invites, and within bounds") {
  Joining pool(7);
  const size_t index = pool.machine();
  auto joined = pool.join_from(index, pool.invite(), 50);
  REQUIRE(joined);
  const env::World world = pool.sim.node(index).world();
  const InviteTerms terms{.expires = world.clock.wall_now() + 1'000'000'000'000};
  CHECK(create_invite(world, joined->identity, joined->membership, "invites", {pool.address(0)}, terms).error().code ==
        Code::denied);
  const env::World admin_world = pool.sim.node(0).world();
  const auto make = [&](InviteTerms these, std::vector<env::Address> addresses) {
    return create_invite(admin_world, pool.identities[0], pool.peers(0).membership(), "invites", std::move(addresses),
                         these);
  };
  CHECK(make({.uses = 0, .expires = terms.expires}, {pool.address(0)}).error().code == Code::bad_input);
  CHECK(make({.expires = 1}, {pool.address(0)}).error().code == Code::bad_input);
  CHECK(make(terms, {}).error().code == Code::bad_input);
}

TEST_CASE("a removed member cannot come back by an old answer, nor by a new invite") {
  Joining pool(8);
  const size_t index = pool.machine();
  const std::string code = pool.invite(2);
  REQUIRE(pool.join_from(index, code, 50));
  REQUIRE(pool.peers(0).membership().append(pool.identities[0], 1, remove_action(person(50))));
  CHECK(pool.join_from(index, code, 50).error().code == Code::denied);
  CHECK(pool.join_from(index, pool.invite(), 50).error().code == Code::denied);
}

TEST_CASE("records of invites that expired long ago are removed") {
  Joining pool(9);
  pool.invite(1, seconds(30));
  CHECK(pool.sim.node(0).disk().list("invites")->size() == 1);
  pool.sim.node(0).jump_wall_clock(std::chrono::days(31));
  REQUIRE(pool.sim.run(pool.daemons[0]->invites.open()));
  CHECK(pool.sim.node(0).disk().list("invites")->empty());
}

TEST_CASE("the phrase, the pool's ID and one address bring the membership back") {
  TestPool pool(10, 4);
  pool.start_all();
  REQUIRE(pool.sim.run_until([&] { return pool.all_know(4); }, seconds(20)));
  sim::SimNode& fresh = pool.sim.add_node();
  const crypto::PrivateKey device = sim::give_identity(fresh);
  const auto fetch = [&](const MemberKeys& keys, const PoolId& id) {
    return pool.sim.run(
        fetch_membership(fresh.world(), make_identity(keys, id, device, "new", 1), pool.address(2), seconds(10)));
  };
  const auto fetched = fetch(pool.member(3), pool.id());
  REQUIRE(fetched);
  CHECK(fetched->members().size() == 4);
  CHECK(fetched->nodes().size() == 4);
  CHECK(fetch(person(999), pool.id()).error().code == Code::wrong_phrase);
  CHECK(fetch(pool.member(3), *pool_of_genesis(genesis_of(pool.founder, 5))).error().code == Code::denied);

  REQUIRE(pool.peers(2).membership().append(pool.identities[0], 1, remove_action(pool.member(3))));
  CHECK(fetch(pool.member(3), pool.id()).error().code == Code::denied);
}

TEST_CASE("a newcomer does not wait for ever, and believes no false node") {
  TestPool pool(11, 1);
  sim::SimNode& liar = pool.sim.add_node();
  const crypto::PrivateKey liar_key = sim::give_identity(liar);
  sim::SimNode& fresh = pool.sim.add_node();
  const crypto::PrivateKey device = sim::give_identity(fresh);
  const auto fetch = [&] {
    return pool.sim.run(fetch_membership(fresh.world(), make_identity(pool.founder, pool.id(), device, "new", 1),
                                         {liar.host(), kPort}, seconds(10)));
  };
  CHECK(fetch().error().code == Code::unreachable);  // nobody listens
  {
    // A device that is in no log serves the true genesis and a log that does not admit it.
    const Identity identity = make_identity(person(77), pool.id(), liar_key, "liar", 1);
    PeersOptions options{.serve = true};
    Daemon& daemon = liar.own(std::make_shared<Daemon>(liar.world(), identity, *pool.membership, options));
    REQUIRE(daemon.peers.listen({"0.0.0.0", kPort}));
    daemon.peers.start({});
    CHECK(fetch().error().code == Code::denied);
  }
}

}  // namespace cairn::peer
