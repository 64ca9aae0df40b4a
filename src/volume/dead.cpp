#include "volume/dead.h"

#include "proto/volume.pb.h"
#include "volume/keys.h"
#include "volume/pack_ref.h"
#include "wire/message.h"

namespace cairn::volume {

std::string encode_dead_pack(const DeadPack& dead) {
  wire::DeadPack message;
  to_message(dead.pack, *message.mutable_pack());
  message.set_since(dead.since);
  message.set_sequence(dead.sequence);
  message.set_buried(dead.buried);
  message.set_orphan(dead.orphan);
  return wire::encode_text(message);
}

Result<DeadPack> decode_dead_pack(std::string_view value) {
  auto message = wire::decode<wire::DeadPack>(as_bytes(value));
  if (!message) return fail(message.error());
  auto pack = from_message(message->pack());
  if (!pack) return fail(pack.error());
  return DeadPack{.pack = std::move(*pack),
                  .since = message->since(),
                  .sequence = message->sequence(),
                  .buried = message->buried(),
                  .orphan = message->orphan()};
}

std::string encode_forgotten(const ForgottenSnapshot& forgotten) {
  wire::ForgottenSnapshot message;
  message.set_snapshot(encode_snapshot(forgotten.snapshot));
  message.set_forgotten(forgotten.forgotten);
  message.set_pruned(forgotten.pruned);
  return wire::encode_text(message);
}

Result<ForgottenSnapshot> decode_forgotten(std::string_view value) {
  auto message = wire::decode<wire::ForgottenSnapshot>(as_bytes(value));
  if (!message) return fail(message.error());
  auto snapshot = decode_snapshot(message->snapshot());
  if (!snapshot) return fail(snapshot.error());
  return ForgottenSnapshot{
      .snapshot = std::move(*snapshot), .forgotten = message->forgotten(), .pruned = message->pruned()};
}

Result<std::set<PackId>> packs_named_by(const EditMap& edits) {
  std::set<PackId> packs;
  for (const auto& [key, value] : edits) {
    if (!value) continue;
    if (!key.starts_with('C')) {
      const auto parsed = parse_inode_key(key);
      if (!parsed || parsed->kind != ItemKind::extent) continue;
    }
    auto extent = decode_extent(0, *value);
    if (!extent) return fail(extent.error());
    if (!extent->pack.is_zero()) packs.insert(extent->pack);
  }
  return packs;
}

}  // namespace cairn::volume
