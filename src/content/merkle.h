#pragma once
// The Merkle tree over a shard: leaves of 64 KiB. Leaf hash = SHA-256(0x00 || SHA-256 of each 32 KiB part of its
// bytes), inner = SHA-256(0x01 || left || right); an odd node moves up unchanged (RFC 6962 without the duplication). An
// empty shard has one leaf of no parts.

#include <vector>

#include "base/ids.h"
#include "base/limits.h"

namespace cairn::content {

class MerkleTree {
 public:
  static MerkleTree over(ByteView shard);
  static MerkleTree from_leaves(std::vector<Hash> leaves);
  const Hash& root() const;
  const std::vector<Hash>& leaves() const { return levels_.front(); }
  // The hashes that, with the leaves first..last (inclusive), give the root: level by level from the bottom, left
  // before right.
  std::vector<Hash> prove(size_t first_leaf, size_t last_leaf) const;

 private:
  std::vector<std::vector<Hash>> levels_;  // [0] = leaves, back() = root
};

// Parts are hashed side by side in place: a prefix before 64 KiB would be over what the library for that takes at once.
inline constexpr size_t kLeafPart = 32 * kKiB;
static_assert(kLeafSize % kLeafPart == 0);

// Of at most one leaf's bytes.
Hash merkle_leaf(ByteView bytes);
// Of bytes that begin at a leaf's border: one leaf, of nothing, for no bytes.
std::vector<Hash> merkle_leaves(ByteView bytes);

// True when `bytes`, that begin at leaf `first_leaf` and reach to a leaf's or the shard's end, are those of the shard
// with this root and length. Bounded work whatever the input.
bool verify_merkle_range(const Hash& root, uint32_t shard_length, size_t first_leaf, ByteView bytes,
                         const std::vector<Hash>& path);

}  // namespace cairn::content
