#include "pool/tombstone.h"

#include "crypto/hash.h"
#include "peer/domains.h"
#include "pool/limits.h"
#include "proto/garbage.pb.h"
#include "proto/register.pb.h"
#include "wire/message.h"

namespace cairn::pool {

Tombstone Tombstone::make(const crypto::PrivateKey& device, const VolumeId& volume, const PackId& pack, Fate fate,
                          uint64_t sequence) {
  wire::PackFate body;
  body.set_volume(volume.raw());
  body.set_pack(pack.raw());
  body.set_fate(static_cast<wire::PackFate::Fate>(fate));
  body.set_sequence(sequence);
  return {.pack = pack,
          .volume = volume,
          .fate = fate,
          .sequence = sequence,
          .signer = id_cast<NodeId>(crypto::sha256(device.public_key())),
          .signed_message = peer::sign_message(device, peer::kDomainFate, wire::encode(body))};
}

Result<Tombstone> Tombstone::read(ByteView signed_message) {
  auto message = wire::decode<wire::Signed>(signed_message);
  if (!message) return fail(std::move(message.error()), "tombstone");
  return read(*message);
}

Result<Tombstone> Tombstone::read(const wire::Signed& message) {
  auto body = wire::decode<wire::PackFate>(message.body());
  if (!body) return fail(std::move(body.error()), "tombstone");
  auto pack = PackId::from(body->pack());
  auto volume = VolumeId::from(body->volume());
  if (!pack || !volume) return fail(Code::corrupt, "tombstone: malformed identifier");
  if (body->fate() != wire::PackFate::DEAD && body->fate() != wire::PackFate::KEPT)
    return fail(Code::corrupt, "tombstone: unknown fate");
  return Tombstone{.pack = *pack,
                   .volume = *volume,
                   .fate = static_cast<Fate>(body->fate()),
                   .sequence = body->sequence(),
                   .signer = id_cast<NodeId>(crypto::sha256(as_bytes(message.public_key()))),
                   .signed_message = wire::encode(message)};
}

Result<VolumeOwner> owner_of_volume(ByteView founding, const PoolId& pool) {
  auto message = wire::decode<wire::RegisterFounding>(founding);
  if (!message) return fail(std::move(message.error()), "founding");
  if (message->kind() != wire::RegisterFounding::HEAD) return fail(Code::denied, "not the founding of a volume");
  if (message->pool() != pool.raw()) return fail(Code::denied, "another pool's volume");
  return VolumeOwner{.volume = id_cast<VolumeId>(crypto::sha256(founding)),
                     .owner = id_cast<MemberId>(crypto::sha256(as_bytes(message->owner_key())))};
}

FateCheck::FateCheck(const wire::TombstonesRequest& request, const PoolId& pool) {
  for (const std::string& founding : request.foundings()) {
    if (founding.size() > kMaxFounding) continue;
    if (auto owner = owner_of_volume(as_bytes(founding), pool))
      owners_.emplace(owner->volume, Owner{owner->owner, to_bytes(founding)});
  }
  for (const wire::Signed& message : request.certificates()) {
    auto certificate = peer::Certificate::parse(message);
    if (certificate && certificate->pool == pool) signers_.emplace(certificate->node, std::move(*certificate));
  }
}

Result<Tombstone> FateCheck::check(const wire::Signed& statement) const {
  auto tombstone = Tombstone::read(statement);
  if (!tombstone) return tombstone;
  if (tombstone->signed_message.size() > kMaxTombstoneSize) return fail(Code::too_large, "tombstone");
  const auto owner = owners_.find(tombstone->volume);
  if (owner == owners_.end()) return fail(Code::denied, "tombstone: whose volume it is was not shown");
  const auto signer = signers_.find(tombstone->signer);
  if (signer == signers_.end()) return fail(Code::denied, "tombstone: no certificate of its signer");
  if (signer->second.member != owner->second.owner)
    return fail(Code::denied, "tombstone: signed by another than the volume's owner");
  // It may add to its volume, and so have back what it adds again; it removes nothing.
  const peer::Certificate& by = signer->second;
  if (by.append_only && (tombstone->fate != Fate::kept || by.volume != tombstone->volume))
    return fail(Code::denied, "tombstone: signed by a device that may only add snapshots");
  CAIRN_TRY(peer::check_signed(statement, peer::kDomainFate));
  return tombstone;
}

}  // namespace cairn::pool
