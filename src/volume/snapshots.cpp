#include "volume/snapshots.h"

#include "proto/volume.pb.h"
#include "volume/pack_ref.h"
#include "wire/message.h"

namespace cairn::volume {

std::string encode_snapshot(const SnapshotItem& snapshot) {
  wire::Snapshot message;
  message.set_name(snapshot.info.name);
  if (snapshot.root) to_message(*snapshot.root, *message.mutable_root());
  message.set_created(snapshot.info.created);
  message.set_details(to_string(ByteView(snapshot.info.details)));
  for (const pool::PackRef& pack : snapshot.tree_packs) to_message(pack, *message.add_tree_packs());
  message.set_files_only(snapshot.files_only);
  return wire::encode_text(message);
}

Result<SnapshotItem> decode_snapshot(std::string_view value) {
  auto message = wire::decode<wire::Snapshot>(as_bytes(value));
  if (!message) return fail(message.error());
  SnapshotItem snapshot;
  snapshot.info = {.name = message->name(), .created = message->created(), .details = to_bytes(message->details())};
  if (message->has_root()) {
    auto root = from_message(message->root());
    if (!root) return fail(root.error());
    snapshot.root = std::move(*root);
    snapshot.info.root = snapshot.root->chunk;
  }
  snapshot.files_only = message->files_only();
  for (const wire::PackRef& pack : message->tree_packs()) {
    auto ref = from_message(pack);
    if (!ref) return fail(ref.error());
    snapshot.tree_packs.push_back(std::move(*ref));
  }
  return snapshot;
}

}  // namespace cairn::volume
