#pragma once
// Gives a simulated node a real key, as its NodeID must be the SHA-256 of a real public key. Link cairn_crypto.

#include "crypto/signature.h"
#include "sim/node.h"

namespace cairn::sim {

inline crypto::PrivateKey give_identity(SimNode& node) {
  crypto::Key seed;
  node.random().fill(seed);
  crypto::PrivateKey key = crypto::PrivateKey::from_seed(seed);
  node.set_identity(id_cast<NodeId>(crypto::sha256(key.public_key())), key.public_key());
  return key;
}

}  // namespace cairn::sim
