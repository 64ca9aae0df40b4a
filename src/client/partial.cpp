#include "client/partial.h"

#include "crypto/hash.h"

namespace cairn::client {

std::string partial_name(const NodeId& device, volume::InodeId parent, const LocalEntry& entry) {
  Bytes text = to_bytes(device.view());
  append_be64(text, parent);
  append_be64(text, entry.device);
  append_be64(text, entry.inode);
  append_be64(text, entry.size);
  append_be64(text, static_cast<uint64_t>(entry.mtime));
  append_be64(text, static_cast<uint64_t>(entry.ctime));
  append(text, as_bytes(entry.name));
  return crypto::sha256(text).hex();
}

}  // namespace cairn::client
