// What comes of a pool file and of gossip: Membership::parse, add_log, add_node, answer. Only what is truly signed may
// change anything. Input: first byte chooses, the rest is the message.

#include "peer/membership.h"
#include "fuzz/fuzz.h"
#include "proto/membership.pb.h"

namespace cairn::fuzz {

namespace {

struct Example {
  peer::MemberKeys founder = peer::MemberKeys::derive(crypto::AccountSecret{1});
  peer::Membership empty =
      peer::Membership::from_genesis(peer::make_genesis(founder, "f", "pool", Bytes(32, 3), 1)).value();
  peer::Membership full = empty;
  Example() {
    const auto identity =
        peer::make_identity(founder, empty.pool(), crypto::PrivateKey::from_seed(crypto::Key{2}), "node", 1);
    for (uint8_t i = 0; i < 3; ++i) {
      wire::LogEntry entry;
      const auto member = peer::MemberKeys::derive(crypto::AccountSecret{uint8_t(10 + i)}).member.public_key();
      entry.mutable_add_member()->set_member_key(member.data(), member.size());
      entry.mutable_add_member()->set_role(wire::ROLE_ADMIN);
      CAIRN_ASSERT(full.append(identity, 1, wire::encode_text(entry)));
    }
    peer::NodeInfo info;
    info.addresses = {{"10.0.0.1", 1}};
    CAIRN_ASSERT(full.add_node(peer::sign_node(identity, info)));
  }
};
const Example& example() {
  static const Example made;
  return made;
}

// Nobody but the example's founder and admins has signed anything.
void check(const peer::Membership& membership) {
  CAIRN_ASSERT(membership.members().size() <= example().full.members().size());
  CAIRN_ASSERT(membership.nodes().size() <= 1);
}

}  // namespace

void run_one(ByteView input) {
  if (input.empty()) return;
  const ByteView message = input.subspan(1);
  peer::Membership membership = input[0] % 8 >= 4 ? example().full : example().empty;
  switch (input[0] % 4) {
    case 0:
      if (const auto parsed = peer::Membership::parse(message)) check(*parsed);
      break;
    case 1:
      if (const auto record = wire::decode<wire::LogRecord>(message)) static_cast<void>(membership.add_log(*record));
      break;
    case 2:
      if (const auto entry = wire::decode<wire::NodeEntry>(message)) static_cast<void>(membership.add_node(*entry));
      break;
    default:
      if (const auto request = wire::decode<wire::GossipRequest>(message)) membership.answer(*request);
      break;
  }
  check(membership);
}

std::vector<Bytes> seeds() {
  std::vector<Bytes> all;
  const auto add = [&](uint8_t choice, const Bytes& message) {
    Bytes seed{choice};
    append(seed, message);
    all.push_back(std::move(seed));
  };
  const peer::Membership& full = example().full;
  add(0, full.serialize());
  for (const auto& record : full.log()) add(1, wire::encode(record));
  for (const auto& entry : full.node_entries()) add(2, wire::encode(entry));
  wire::GossipRequest push = full.digest();
  for (const auto& record : full.log()) *push.add_log() = record;
  for (const auto& entry : full.node_entries()) *push.add_entries() = entry;
  add(3, wire::encode(push));
  add(7, wire::encode(push));
  wire::GossipRequest summary = full.digest_of_buckets(0, {});
  summary.set_summary(true);
  summary.set_table(full.summary());
  add(3, wire::encode(summary));
  add(7, wire::encode(full.digest_of_buckets(2, {0, 1, 2, 3})));
  return all;
}

}  // namespace cairn::fuzz
