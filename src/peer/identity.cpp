#include "peer/identity.h"

#include "peer/domains.h"
#include "peer/limits.h"
#include "peer/names.h"
#include "proto/common.pb.h"
#include "proto/membership.pb.h"

namespace cairn::peer {

wire::Signed make_signed(const crypto::PrivateKey& key, std::string_view domain, ByteView body) {
  wire::Signed message;
  message.set_body(body.data(), body.size());
  const crypto::Signature signature = key.sign(domain, body);
  message.set_signature(signature.data(), signature.size());
  message.set_public_key(key.public_key().data(), key.public_key().size());
  return message;
}

Bytes sign_message(const crypto::PrivateKey& key, std::string_view domain, ByteView body) {
  return wire::encode(make_signed(key, domain, body));
}

Status check_signed(const wire::Signed& message, std::string_view domain) {
  if (!crypto::verify(as_bytes(message.public_key()), domain, as_bytes(message.body()),
                      as_bytes(message.signature()))) {
    return fail(Code::corrupt, "the signature does not fit");
  }
  return {};
}

MemberId MemberKeys::id() const {
  return id_cast<MemberId>(crypto::sha256(public_key));
}

MemberKeys MemberKeys::derive(const crypto::AccountSecret& secret) {
  const auto key = [&](std::string_view use) { return crypto::hkdf_sha256(secret, {as_bytes(use)}); };
  MemberKeys keys{.secret = secret,
                  .member = crypto::PrivateKey::from_seed(key(kUseMemberKey)),
                  .key_slot = key(kUseKeySlot),
                  .account = key(kUseAccount),
                  .public_key = {}};
  keys.public_key = keys.member.public_key();
  return keys;
}

MemberKeys MemberKeys::public_only(ByteView public_key) {
  return MemberKeys{.secret = {},
                    .member = crypto::PrivateKey::from_seed({}),
                    .key_slot = {},
                    .account = {},
                    .public_key = to_bytes(public_key)};
}

Status check_name(std::string_view name) {
  if (name.size() > kMaxNameLength) return fail(Code::bad_input, "a name of more than 255 bytes");
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      return fail(Code::bad_input, "a name with control characters");
  }
  return {};
}

Result<Certificate> Certificate::parse(const wire::Signed& message) {
  if (message.public_key().size() != crypto::kPublicKeySize) return fail(Code::corrupt, "a certificate without a key");
  CAIRN_TRY(check_signed(message, kDomainDevice));
  auto body = wire::decode<wire::DeviceCertificate>(message.body());
  if (!body) return fail(std::move(body.error()), "certificate");
  if (body->version() != 1) return fail(Code::unsupported, "a certificate of another version");
  if (body->device_key().size() != crypto::kPublicKeySize) return fail(Code::corrupt, "a certificate without a device");
  CAIRN_TRY(check_name(body->node_name()));
  auto pool = PoolId::from(body->pool());
  if (!pool) return fail(Code::corrupt, "a certificate without a pool");
  VolumeId volume;
  if (body->append_only()) {
    auto named = VolumeId::from(body->volume());
    if (!named) return fail(Code::corrupt, "a certificate to add to no volume");
    volume = *named;
  }
  return Certificate{.pool = *pool,
                     .node = id_cast<NodeId>(crypto::sha256(as_bytes(body->device_key()))),
                     .member = id_cast<MemberId>(crypto::sha256(as_bytes(message.public_key()))),
                     .device_key = to_bytes(body->device_key()),
                     .member_key = to_bytes(message.public_key()),
                     .node_name = body->node_name(),
                     .append_only = body->append_only(),
                     .volume = volume,
                     .encoded = wire::encode(message)};
}

Result<Certificate> Certificate::parse(ByteView signed_message) {
  auto message = wire::decode<wire::Signed>(signed_message);
  if (!message) return fail(std::move(message.error()), "certificate");
  return parse(*message);
}

Certificate Certificate::issue(const MemberKeys& owner, const PoolId& of_pool, ByteView device, std::string name,
                               WallTime created, std::optional<VolumeId> append_only_to) {
  wire::DeviceCertificate body;
  body.set_version(1);
  body.set_pool(of_pool.raw());
  body.set_device_key(device.data(), device.size());
  body.set_node_name(name);
  body.set_created(created);
  if (append_only_to) {
    body.set_append_only(true);
    body.set_volume(append_only_to->raw());
  }
  return Certificate{.pool = of_pool,
                     .node = id_cast<NodeId>(crypto::sha256(device)),
                     .member = owner.id(),
                     .device_key = to_bytes(device),
                     .member_key = owner.member.public_key(),
                     .node_name = std::move(name),
                     .append_only = append_only_to.has_value(),
                     .volume = append_only_to.value_or(VolumeId{}),
                     .encoded = sign_message(owner.member, kDomainDevice, wire::encode(body))};
}

Bytes make_genesis(const MemberKeys& founder, std::string_view founder_name, std::string_view pool_name, ByteView nonce,
                   WallTime created) {
  CAIRN_ASSERT(nonce.size() == 32);
  wire::Genesis body;
  body.set_version(1);
  body.set_pool_name(std::string(pool_name));
  body.set_founder_key(founder.member.public_key().data(), founder.member.public_key().size());
  body.set_founder_name(std::string(founder_name));
  body.set_nonce(nonce.data(), nonce.size());
  body.set_created(created);
  return sign_message(founder.member, kDomainGenesis, wire::encode(body));
}

Result<PoolId> pool_of_genesis(ByteView signed_genesis) {
  auto message = wire::decode<wire::Signed>(signed_genesis);
  if (!message) return fail(std::move(message.error()), "genesis");
  return id_cast<PoolId>(crypto::sha256(as_bytes(message->body())));
}

Identity make_identity(const MemberKeys& member, const PoolId& pool, const crypto::PrivateKey& device,
                       std::string node_name, WallTime created) {
  Certificate certificate = Certificate::issue(member, pool, device.public_key(), std::move(node_name), created);
  return Identity{.pool = pool,
                  .node = certificate.node,
                  .device = device,
                  .member = member,
                  .certificate = std::move(certificate)};
}

}  // namespace cairn::peer
