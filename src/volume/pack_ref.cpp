#include "volume/pack_ref.h"

#include "proto/volume.pb.h"
#include "volume/node.h"
#include "wire/message.h"

namespace cairn::volume {

void to_message(const pool::PackRef& pack, wire::PackRef& message) {
  message.set_pack(pack.id.raw());
  message.set_k(pack.geometry.k);
  message.set_m(pack.geometry.m);
  message.set_shard_length(pack.geometry.shard_length);
  message.clear_holders();
  for (const NodeId& holder : pack.holders) message.add_holders(holder.is_zero() ? std::string() : holder.raw());
}

Result<pool::PackRef> from_message(const wire::PackRef& message) {
  const auto id = PackId::from(message.pack());
  const uint32_t k = message.k(), m = message.m();
  if (!id || k == 0 || k > kMaxSlots || m > kMaxSlots - k || message.shard_length() > kMaxShardSize) {
    return fail(Code::corrupt, "pack record");
  }
  if (message.holders_size() > static_cast<int>(k + m)) return fail(Code::corrupt, "pack record with too many holders");
  pool::PackRef pack{.id = *id, .geometry = {.k = k, .m = m, .shard_length = message.shard_length()}, .holders = {}};
  pack.holders.resize(k + m);
  for (int i = 0; i < message.holders_size(); ++i) {
    if (message.holders(i).empty()) continue;
    const auto holder = NodeId::from(message.holders(i));
    if (!holder) return fail(holder.error());
    pack.holders[static_cast<size_t>(i)] = *holder;
  }
  return pack;
}

std::string encode_pack_ref(const pool::PackRef& pack) {
  wire::PackRef message;
  to_message(pack, message);
  return wire::encode_text(message);
}

Result<pool::PackRef> decode_pack_ref(std::string_view value) {
  auto message = wire::decode<wire::PackRef>(as_bytes(value));
  if (!message) return fail(message.error());
  return from_message(*message);
}

void to_message(const NodeRef& node, wire::NodeRef& message) {
  message.set_chunk(node.chunk.raw());
  to_message(node.pack, *message.mutable_pack());
  message.set_offset(node.offset);
  message.set_length(node.length);
  message.set_level(node.level);
}

Result<NodeRef> from_message(const wire::NodeRef& message) {
  const auto chunk = ChunkId::from(message.chunk());
  if (!chunk || message.level() > kMaxTreeLevel) return fail(Code::corrupt, "reference to a tree node");
  auto pack = from_message(message.pack());
  if (!pack) return fail(pack.error());
  return NodeRef{.chunk = *chunk,
                 .pack = std::move(*pack),
                 .offset = message.offset(),
                 .length = message.length(),
                 .level = message.level()};
}

}  // namespace cairn::volume
