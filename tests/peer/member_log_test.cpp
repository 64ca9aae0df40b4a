// The member log: what is refused, what follows from removals, and that the order of arrival decides nothing.

#include <catch2/catch.hpp>

#include "env/random.h"
#include "peer/membership.h"
#include "peer/people.h"

namespace cairn::peer {
namespace {

// Hands records over in this order, again and again until nothing more is taken.
Membership replay(const Bytes& genesis, const std::vector<wire::LogRecord>& records) {
  Membership membership = *Membership::from_genesis(genesis);
  for (bool news = true; news;) {
    news = false;
    for (const auto& record : records) news |= membership.add_log(record).value_or(false);
  }
  return membership;
}

std::vector<std::string> summary(const Membership& membership) {
  std::vector<std::string> lines;
  for (const Member& member : membership.members()) {
    lines.push_back(member.id.short_hex() + (member.role == Role::admin ? " admin" : "") +
                    (member.removed ? " removed" : ""));
  }
  return lines;
}

}  // namespace

TEST_CASE("the founder is the first admin, and can admit others") {
  Founded pool;
  const MemberKeys anna = person(2);
  CHECK(pool.membership.is_admin(pool.device.certificate));
  CHECK(pool.membership.admits(device_of(anna, pool.membership.pool(), 2).certificate).error().code == Code::denied);
  pool.add(anna);
  CHECK(pool.membership.admits(device_of(anna, pool.membership.pool(), 2).certificate));
  CHECK(pool.membership.member(anna.id())->role == Role::member);
}

TEST_CASE("a plain member cannot admit, and neither can a stranger") {
  Founded pool;
  const MemberKeys anna = person(2);
  pool.add(anna);
  const Identity device = device_of(anna, pool.membership.pool(), 2);
  CHECK(pool.membership.append(device, 1, add_action(person(3))).error().code == Code::denied);

  wire::LogEntry entry = *wire::decode<wire::LogEntry>(add_action(person(3)));
  entry.set_version(1);
  entry.set_pool(pool.membership.pool().raw());
  entry.set_sequence(1);
  entry.set_previous(pool.membership.pool().raw());
  for (const Identity& author : {device, device_of(person(9), pool.membership.pool(), 9)}) {
    entry.set_author(author.node.raw());
    CHECK(pool.membership.add_log(forge(entry, author)).error().code == Code::denied);
  }
  CHECK_FALSE(is_member(pool.membership, person(3)));
  CHECK(pool.membership.log().size() == 1);
}

TEST_CASE("forged entries are refused") {
  Founded pool;
  const wire::LogRecord good = *pool.membership.prepare(pool.device, 1, add_action(person(2)));
  const auto code = [&](const wire::LogRecord& record) { return pool.membership.add_log(record).error().code; };

  SECTION("changed after it was signed") {
    wire::LogRecord record = good;
    std::string body = record.entry().body();
    body.back() ^= 1;
    record.mutable_entry()->set_body(body);
    CHECK(code(record) == Code::corrupt);
  }
  SECTION("signed by another key") {
    wire::LogRecord record = forge(body_of(good), device_of(person(5), pool.membership.pool(), 5));
    CHECK(code(record) == Code::corrupt);
    *record.mutable_certificate() = good.certificate();
    CHECK(code(record) == Code::corrupt);
  }
  SECTION("with a certificate that the founder did not sign") {
    wire::LogRecord record = good;
    record.mutable_certificate()->set_public_key(to_string(ByteView(person(5).member.public_key())));
    CHECK(code(record) == Code::corrupt);
  }
  SECTION("with a wrong hash of the one before") {
    wire::LogEntry body = body_of(good);
    body.set_previous(std::string(32, 'x'));
    CHECK(code(forge(body, pool.device)) == Code::corrupt);
  }
  SECTION("of another pool") {
    Founded other;
    other.membership = *Membership::from_genesis(genesis_of(other.founder, 7));
    other.device = device_of(other.founder, other.membership.pool(), 1);
    CHECK(code(*other.membership.prepare(other.device, 1, add_action(person(2)))) == Code::denied);
  }
  SECTION("an entry for this pool by a device that was certified for another") {
    const PoolId elsewhere = *pool_of_genesis(genesis_of(pool.founder, 7));
    CHECK(code(forge(body_of(good), device_of(pool.founder, elsewhere, 1))) == Code::denied);
  }
  SECTION("signed for another purpose") {
    wire::LogRecord record = good;
    *record.mutable_entry() = make_signed(pool.device.device, "cairn/v1/node", as_bytes(good.entry().body()));
    CHECK(code(record) == Code::corrupt);
  }
  SECTION("without an action, or with an unknown role") {
    wire::LogEntry body = body_of(good);
    body.clear_add_member();
    CHECK(code(forge(body, pool.device)) == Code::unsupported);
    body = body_of(good);
    body.mutable_add_member()->set_role(wire::ROLE_UNKNOWN);
    CHECK(code(forge(body, pool.device)) == Code::corrupt);
  }
  CHECK(pool.membership.log().empty());
  CHECK(pool.membership.add_log(good).value());
  CHECK_FALSE(pool.membership.add_log(good).value());
}

TEST_CASE("a fork of a chain is refused, a gap is told apart") {
  Founded pool;
  Membership other = pool.membership;
  pool.add(person(2));
  const auto second = pool.add(person(3));
  const wire::LogRecord fork = *other.append(pool.device, 1, add_action(person(4)));
  CHECK(pool.membership.add_log(fork).error().code == Code::corrupt);
  CHECK(other.add_log(second).error().code == Code::corrupt);  // follows the other branch
  Membership fresh = *Membership::from_genesis(pool.membership.genesis());
  CHECK(fresh.add_log(second).error().code == Code::conflict);
}

TEST_CASE("two admins admit at the same time, and both count everywhere") {
  Founded pool;
  const MemberKeys anna = person(2);
  pool.add(anna, Role::admin);
  const Identity anna_device = device_of(anna, pool.membership.pool(), 2);
  Membership at_anna = pool.membership;
  pool.add(person(3));
  REQUIRE(at_anna.append(anna_device, 1, add_action(person(4))));
  for (const auto& record : at_anna.log()) REQUIRE(pool.membership.add_log(record));
  for (const auto& record : pool.membership.log()) REQUIRE(at_anna.add_log(record));
  CHECK(is_member(pool.membership, person(3)));
  CHECK(is_member(pool.membership, person(4)));
  CHECK(summary(pool.membership) == summary(at_anna));
}

TEST_CASE("what an admin did before the removal stays, what comes after counts for nothing") {
  Founded pool;
  const MemberKeys anna = person(2);
  pool.add(anna, Role::admin);
  const Identity anna_device = device_of(anna, pool.membership.pool(), 2);
  REQUIRE(pool.membership.append(anna_device, 1, add_action(person(3))));
  Membership behind = pool.membership;  // has not heard of the removal
  const wire::LogRecord removal = *pool.membership.append(pool.device, 1, remove_action(anna));
  CHECK(is_member(pool.membership, person(3)));
  CHECK_FALSE(is_member(pool.membership, anna));
  CHECK(pool.membership.append(anna_device, 1, add_action(person(4))).error().code == Code::denied);

  const wire::LogRecord late = *behind.append(anna_device, 1, add_action(person(4)));
  CHECK(is_member(behind, person(4)));
  CHECK(pool.membership.add_log(late).error().code == Code::denied);
  REQUIRE(behind.add_log(removal));
  CHECK_FALSE(is_member(behind, person(4)));
  CHECK(summary(behind) == summary(pool.membership));
  CHECK(behind.log().size() == pool.membership.log().size());
}

TEST_CASE("taking the admin role away ends the member's chains, giving it back lets them go on") {
  Founded pool;
  const MemberKeys anna = person(2);
  pool.add(anna);
  const Identity anna_device = device_of(anna, pool.membership.pool(), 2);
  REQUIRE(pool.membership.append(pool.device, 1, role_action(anna, Role::admin)));
  REQUIRE(pool.membership.append(anna_device, 1, add_action(person(3))));
  REQUIRE(pool.membership.append(pool.device, 1, role_action(anna, Role::member)));
  CHECK(is_member(pool.membership, person(3)));
  CHECK(pool.membership.append(anna_device, 1, add_action(person(4))).error().code == Code::denied);
  REQUIRE(pool.membership.append(pool.device, 1, role_action(anna, Role::admin)));
  REQUIRE(pool.membership.append(anna_device, 1, add_action(person(4))));
  CHECK(is_member(pool.membership, person(4)));
  CHECK(summary(replay(pool.membership.genesis(), pool.membership.log())) == summary(pool.membership));
}

TEST_CASE("a revoked device is out, its member and other devices are not") {
  Founded pool;
  const MemberKeys anna = person(2);
  pool.add(anna);
  const Identity lost = device_of(anna, pool.membership.pool(), 2);
  const Identity kept = device_of(anna, pool.membership.pool(), 3);
  REQUIRE(pool.membership.append(pool.device, 1, revoke_action(lost.node)));
  CHECK(pool.membership.admits(lost.certificate).error().code == Code::denied);
  CHECK(pool.membership.admits(kept.certificate));
}

TEST_CASE("the last admin cannot be removed or demoted, and whom nobody knows cannot be removed") {
  Founded pool;
  pool.add(person(2));
  CHECK(pool.membership.append(pool.device, 1, remove_action(pool.founder)).error().code == Code::bad_input);
  CHECK(pool.membership.append(pool.device, 1, role_action(pool.founder, Role::member)).error().code ==
        Code::bad_input);
  CHECK(pool.membership.append(pool.device, 1, remove_action(person(8))).error().code == Code::not_found);
}

TEST_CASE("the founder can be removed by another admin, and can remove itself") {
  Founded pool;
  const MemberKeys anna = person(2);
  pool.add(anna, Role::admin);
  pool.add(person(3));
  const bool by_itself = GENERATE(false, true);
  const Identity author = by_itself ? pool.device : device_of(anna, pool.membership.pool(), 2);
  REQUIRE(pool.membership.append(author, 1, remove_action(pool.founder)));
  CHECK_FALSE(is_member(pool.membership, pool.founder));
  CHECK(is_member(pool.membership, anna));
  CHECK(is_member(pool.membership, person(3)));
  CHECK(pool.membership.append(pool.device, 1, add_action(person(4))).error().code == Code::denied);
  const Membership again = replay(pool.membership.genesis(), pool.membership.log());
  CHECK(summary(again) == summary(pool.membership));
  const auto parsed = Membership::parse(pool.membership.serialize());
  REQUIRE(parsed);
  CHECK(summary(*parsed) == summary(pool.membership));
}

TEST_CASE("of two admins who remove each other at the same time one stays, the same everywhere") {
  Founded pool;
  const MemberKeys anna = person(2), bert = person(3);
  pool.add(anna, Role::admin);
  pool.add(bert, Role::admin);
  Membership at_anna = pool.membership, at_bert = pool.membership;
  const auto by_anna = *at_anna.append(device_of(anna, pool.membership.pool(), 2), 1, remove_action(bert));
  const auto by_bert = *at_bert.append(device_of(bert, pool.membership.pool(), 3), 1, remove_action(anna));
  static_cast<void>(at_anna.add_log(by_bert));
  static_cast<void>(at_bert.add_log(by_anna));
  CHECK(is_member(at_anna, anna) != is_member(at_anna, bert));
  CHECK(summary(at_anna) == summary(at_bert));
}

TEST_CASE("an admin cannot end the chain from which its own role comes") {
  Founded pool;
  const MemberKeys anna = person(2);
  pool.add(person(3));
  pool.add(anna, Role::admin);
  pool.add(person(4));
  const Identity anna_device = device_of(anna, pool.membership.pool(), 2);
  // Claims to have seen nothing of the founder's chain.
  wire::LogEntry removal = *wire::decode<wire::LogEntry>(remove_action(pool.founder));
  removal.set_version(1);
  removal.set_pool(pool.membership.pool().raw());
  removal.set_author(anna_device.node.raw());
  removal.set_sequence(1);
  removal.set_previous(pool.membership.pool().raw());
  REQUIRE(pool.membership.add_log(forge(removal, anna_device)).value());
  CHECK(is_member(pool.membership, anna));
  CHECK(is_member(pool.membership, person(3)));        // before the entry that made anna an admin
  CHECK_FALSE(is_member(pool.membership, person(4)));  // after it: the claim ends the chain there
  CHECK(pool.membership.member(pool.founder.id())->removed);
}

TEST_CASE("whatever order the entries come in, the members are the same") {
  env::Prng prng(11);
  for (int run = 0; run < 12; ++run) {
    Founded pool;
    std::vector<MemberKeys> people{pool.founder};
    std::vector<Identity> devices{pool.device};
    for (int step = 0; step < 24; ++step) {
      const Identity author = devices[prng.below(devices.size())];
      const size_t whom = prng.below(people.size());
      const uint64_t what = prng.below(10);
      if (what < 5) {
        const uint64_t number = 100 + people.size();
        people.push_back(person(number));
        devices.push_back(device_of(people.back(), pool.membership.pool(), number));
        static_cast<void>(pool.membership.append(
            author, 1, add_action(people.back(), prng.chance(0.5) ? Role::admin : Role::member)));
      } else if (what < 7) {
        static_cast<void>(pool.membership.append(author, 1, role_action(people[whom], Role::admin)));
      } else if (what < 8) {
        static_cast<void>(pool.membership.append(author, 1, role_action(people[whom], Role::member)));
      } else if (what < 9) {
        static_cast<void>(pool.membership.append(author, 1, revoke_action(devices[whom].node)));
      } else {
        static_cast<void>(pool.membership.append(author, 1, remove_action(people[whom])));
      }
    }
    std::vector<wire::LogRecord> records = pool.membership.log();
    for (int shuffle = 0; shuffle < 3; ++shuffle) {
      prng.shuffle(records);
      const Membership again = replay(pool.membership.genesis(), records);
      CHECK(summary(again) == summary(pool.membership));
      CHECK(again.log().size() == records.size());
    }
  }
}

}  // namespace cairn::peer
