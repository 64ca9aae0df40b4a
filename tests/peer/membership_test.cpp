// Genesis, node records, gossip's messages, and the pool file.

#include "peer/membership.h"

#include <catch2/catch.hpp>

#include "peer/limits.h"
#include "peer/people.h"

namespace cairn::peer {
namespace {

NodeInfo info_of(const Identity& identity, uint64_t boot = 1, uint64_t sequence = 1) {
  NodeInfo info;
  info.id = identity.node;
  info.member = identity.certificate.member;
  info.name = "here";
  info.addresses = {{"10.0.0.1", 4774}};
  info.free = 5;
  info.boot_seq = boot;
  info.sequence = sequence;
  return info;
}

// Gossip until neither has news, as two nodes do.
void exchange(Membership& asking, Membership& answering) {
  for (int i = 0; i < 20; ++i) {
    const auto response = answering.answer(asking.digest());
    asking.merge(response);
    answering.answer(asking.push_for(response));
    if (response.log_size() + response.entries_size() + response.want_chains_size() + response.want_nodes_size() == 0) {
      return;
    }
  }
  FAIL("gossip does not end");
}

}  // namespace

TEST_CASE("a genesis that its founder did not sign is refused") {
  const MemberKeys founder = person(1);
  const Bytes genesis = genesis_of(founder);
  REQUIRE(Membership::from_genesis(genesis));
  CHECK(Membership::from_genesis(genesis)->pool() == *pool_of_genesis(genesis));
  wire::Signed message = *wire::decode<wire::Signed>(ByteView(genesis));

  wire::Signed changed = message;
  changed.mutable_body()->back() ^= 1;
  CHECK_FALSE(Membership::from_genesis(wire::encode(changed)));
  // Another key signs the same body: the signature holds, but it is not the founder's.
  changed = make_signed(person(2).member, "cairn/v1/genesis", as_bytes(message.body()));
  CHECK(Membership::from_genesis(wire::encode(changed)).error().code == Code::corrupt);
  CHECK(Membership::from_genesis(Bytes(100, 0xAB)).error().code == Code::corrupt);
}

TEST_CASE("certificates hold for one pool, one device and one member") {
  Founded pool;
  const Identity identity = device_of(pool.founder, pool.membership.pool(), 4);
  const auto parsed = Certificate::parse(ByteView(identity.certificate.encoded));
  REQUIRE(parsed);
  CHECK(parsed->node == identity.node);
  CHECK(parsed->member == pool.founder.id());
  CHECK(parsed->node_name == "node-4");
  Bytes bent = identity.certificate.encoded;
  bent[20] ^= 1;
  CHECK_FALSE(Certificate::parse(ByteView(bent)));
  const Identity elsewhere = device_of(pool.founder, *pool_of_genesis(genesis_of(pool.founder, 9)), 4);
  CHECK(pool.membership.admits(elsewhere.certificate).error().code == Code::denied);
  CHECK(Certificate::parse(
            Certificate::issue(pool.founder, pool.membership.pool(), identity.device.public_key(), "a\nb", 1).encoded)
            .error()
            .code == Code::bad_input);
}

TEST_CASE("a node's newer record replaces the older one, never the other way round") {
  Founded pool;
  const auto add = [&](uint64_t boot, uint64_t sequence) {
    return pool.membership.add_node(sign_node(pool.device, info_of(pool.device, boot, sequence)));
  };
  CHECK(add(1, 5).value());
  CHECK_FALSE(add(1, 5).value());
  CHECK_FALSE(add(1, 4).value());
  CHECK(add(2, 1).value());
  CHECK_FALSE(add(1, 100).value());
  CHECK(pool.membership.node(pool.device.node)->boot_seq == 2);
  CHECK(pool.membership.node(pool.device.node)->addresses.size() == 1);
}

TEST_CASE("forged and oversized node records are refused") {
  Founded pool;
  const MemberKeys anna = person(2);
  const Identity stranger = device_of(anna, pool.membership.pool(), 2);
  CHECK(pool.membership.add_node(sign_node(stranger, info_of(stranger))).error().code == Code::denied);
  pool.add(anna);
  CHECK(pool.membership.add_node(sign_node(stranger, info_of(stranger))).value());

  // anna's device speaks in the founder's name.
  wire::NodeEntry forged = sign_node(pool.device, info_of(pool.device));
  const std::string body = forged.record().body();
  *forged.mutable_record() = make_signed(stranger.device, "cairn/v1/node", as_bytes(body));
  CHECK(pool.membership.add_node(forged).error().code == Code::corrupt);
  REQUIRE(wire::decode_into(*forged.mutable_certificate(), stranger.certificate.encoded));
  CHECK(pool.membership.add_node(forged).error().code == Code::corrupt);

  NodeInfo many = info_of(pool.device);
  many.addresses.assign(kMaxAddresses + 1, {"10.0.0.1", 1});
  CHECK(pool.membership.add_node(sign_node(pool.device, many)).error().code == Code::bad_input);
  NodeInfo wide = info_of(pool.device);
  wide.domain = std::string(kMaxDomainLength + 1, 'd');
  CHECK(pool.membership.add_node(sign_node(pool.device, wide)).error().code == Code::bad_input);
}

TEST_CASE("a node cannot claim to be in another member's domain") {
  Founded pool;
  NodeInfo mine = info_of(pool.device);
  CHECK(mine.domain_key() == mine.member.hex());
  mine.domain = person(2).id().hex();
  CHECK(mine.domain_key() != person(2).id().hex());
  CHECK(mine.domain_key().starts_with(mine.member.hex()));
}

TEST_CASE("nodes of a removed member disappear") {
  Founded pool;
  const MemberKeys anna = person(2);
  pool.add(anna);
  const Identity node = device_of(anna, pool.membership.pool(), 2);
  REQUIRE(pool.membership.add_node(sign_node(node, info_of(node))).value());
  CHECK(pool.membership.nodes().size() == 1);
  REQUIRE(pool.membership.append(pool.device, 1, remove_action(anna)));
  CHECK(pool.membership.nodes().empty());
  CHECK(pool.membership.node(node.node) == nullptr);
  CHECK(pool.membership.removed(node.node));
}

TEST_CASE("gossip makes two memberships equal, in both directions") {
  Founded pool;
  const MemberKeys anna = person(2);
  pool.add(anna, Role::admin);
  Membership other = pool.membership;
  const Identity anna_device = device_of(anna, pool.membership.pool(), 2);
  pool.add(person(3));
  REQUIRE(pool.membership.add_node(sign_node(pool.device, info_of(pool.device))));
  REQUIRE(other.append(anna_device, 1, add_action(person(4))));
  REQUIRE(other.add_node(sign_node(anna_device, info_of(anna_device))));
  exchange(pool.membership, other);
  CHECK(pool.membership.serialize() == other.serialize());
  CHECK(is_member(other, person(3)));
  CHECK(is_member(pool.membership, person(4)));
  CHECK(other.nodes().size() == 2);
}

TEST_CASE("what does not fit in one message comes with the next") {
  Founded pool;
  const std::string long_name(kMaxNameLength, 'n');
  for (uint64_t i = 0; i < 2200; ++i) {
    REQUIRE(pool.membership.append(pool.device, 1, add_action(person(100 + i), Role::member, long_name)));
  }
  Membership fresh = *Membership::from_genesis(pool.membership.genesis());
  const auto first = pool.membership.answer(fresh.digest());
  CHECK(first.ByteSizeLong() <= wire::kMaxGossipBody);
  CHECK(first.log_size() < 2200);
  exchange(fresh, pool.membership);
  CHECK(fresh.members().size() == 2201);
  Membership pushed = *Membership::from_genesis(pool.membership.genesis());
  exchange(pool.membership, pushed);
  CHECK(pushed.members().size() == 2201);
}

TEST_CASE("gossip that carries forgeries brings what is good of it") {
  Founded pool;
  Membership other = pool.membership;
  const auto good = pool.add(person(2));
  wire::GossipResponse response;
  *response.add_log() = forge(body_of(good), device_of(person(7), pool.membership.pool(), 7));
  *response.add_log() = good;
  *response.add_entries() = sign_node(device_of(person(7), pool.membership.pool(), 7), info_of(pool.device));
  response.add_want_nodes("short");
  response.add_want_chains()->set_sequence(UINT64_MAX);
  CHECK(other.merge(response));
  CHECK(is_member(other, person(2)));
  CHECK(other.nodes().empty());
  CHECK(other.push_for(response).log_size() == 0);
}

TEST_CASE("the pool file reads back the same, and damage is noticed") {
  Founded pool;
  pool.add(person(2), Role::admin);
  REQUIRE(pool.membership.append(device_of(person(2), pool.membership.pool(), 2), 1, add_action(person(3))));
  REQUIRE(pool.membership.add_node(sign_node(pool.device, info_of(pool.device))));
  const Bytes file = pool.membership.serialize();
  const auto read = Membership::parse(file);
  REQUIRE(read);
  CHECK(read->serialize() == file);
  CHECK(read->pool() == pool.membership.pool());
  CHECK(read->pool_name() == "test pool");
  CHECK(Membership::parse(ByteView(file).first(file.size() / 2)).error().code == Code::corrupt);
  CHECK_FALSE(Membership::parse({}));
}

}  // namespace cairn::peer
