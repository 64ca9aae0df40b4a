#pragma once
// Members, devices and log entries for tests, all from small numbers.

#include <catch2/catch.hpp>

#include "peer/membership.h"
#include "proto/membership.pb.h"

namespace cairn::peer {

inline crypto::Key test_key(uint64_t number) {
  crypto::Key key{};
  write_le<uint64_t>(key.data(), number);
  return key;
}

inline MemberKeys person(uint64_t number) {
  return MemberKeys::derive(test_key(number));
}

inline Bytes genesis_of(const MemberKeys& founder, uint8_t salt = 0) {
  return make_genesis(founder, "founder", "test pool", Bytes(32, salt), 1);
}

inline Identity device_of(const MemberKeys& member, const PoolId& pool, uint64_t number) {
  return make_identity(member, pool, crypto::PrivateKey::from_seed(test_key(1'000'000 + number)),
                       "node-" + std::to_string(number), 1);
}

inline std::string add_action(const MemberKeys& member, Role role = Role::member, std::string name = "somebody") {
  wire::LogEntry entry;
  auto* add = entry.mutable_add_member();
  add->set_member_key(member.member.public_key().data(), member.member.public_key().size());
  add->set_name(std::move(name));
  add->set_role(role == Role::admin ? wire::ROLE_ADMIN : wire::ROLE_MEMBER);
  return wire::encode_text(entry);
}
inline std::string remove_action(const MemberKeys& member) {
  wire::LogEntry entry;
  entry.mutable_remove_member()->set_member(member.id().raw());
  return wire::encode_text(entry);
}
inline std::string revoke_action(const NodeId& node) {
  wire::LogEntry entry;
  entry.mutable_revoke_device()->set_node(node.raw());
  return wire::encode_text(entry);
}
inline std::string role_action(const MemberKeys& member, Role role) {
  wire::LogEntry entry;
  entry.mutable_set_role()->set_member(member.id().raw());
  entry.mutable_set_role()->set_role(role == Role::admin ? wire::ROLE_ADMIN : wire::ROLE_MEMBER);
  return wire::encode_text(entry);
}

// A pool with one founder and the founder's first device.
struct Founded {
  MemberKeys founder = person(1);
  Membership membership = *Membership::from_genesis(genesis_of(founder));
  Identity device = device_of(founder, membership.pool(), 1);

  wire::LogRecord add(const MemberKeys& member, Role role = Role::member) {
    auto record = membership.append(device, 1, add_action(member, role));
    REQUIRE(record);
    return *record;
  }
};

// An entry as a forger makes it: any body, signed by any device.
inline wire::LogRecord forge(wire::LogEntry body, const Identity& signer) {
  wire::LogRecord record;
  *record.mutable_entry() = make_signed(signer.device, "cairn/v1/log", wire::encode(body));
  REQUIRE(wire::decode_into(*record.mutable_certificate(), signer.certificate.encoded));
  return record;
}

inline wire::LogEntry body_of(const wire::LogRecord& record) {
  return *wire::decode<wire::LogEntry>(record.entry().body());
}

inline bool is_member(const Membership& membership, const MemberKeys& keys) {
  const Member* member = membership.member(keys.id());
  return member && !member->removed;
}

}  // namespace cairn::peer
