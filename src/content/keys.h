#pragma once
// The keys of one volume, all from its volume key VK (protocol: HKDF-SHA256(VK, "cairn/v1/<use>" + volume id)).

#include "base/ids.h"
#include "crypto/hash.h"

namespace cairn::content {

using VolumeKey = crypto::Key;

struct VolumeKeys {
  VolumeId volume;
  crypto::Key id;    // chunk IDs of volumes that deduplicate, and of tree nodes
  crypto::Key enc;   // chunk seals
  crypto::Key meta;  // names outside the tree
  crypto::Key cdc;   // the chunker's gear table
  static VolumeKeys derive(const VolumeKey& volume_key, const VolumeId& volume);
};

}  // namespace cairn::content
