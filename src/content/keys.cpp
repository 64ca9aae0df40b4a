#include "content/keys.h"

namespace cairn::content {

VolumeKeys VolumeKeys::derive(const VolumeKey& volume_key, const VolumeId& volume) {
  const auto derive_for = [&](std::string_view use) {
    return crypto::hkdf_sha256(volume_key, {as_bytes("cairn/v1/"), as_bytes(use), volume.view()});
  };
  return {.volume = volume,
          .id = derive_for("id"),
          .enc = derive_for("enc"),
          .meta = derive_for("meta"),
          .cdc = derive_for("cdc")};
}

}  // namespace cairn::content
