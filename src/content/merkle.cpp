#include "content/merkle.h"

#include "crypto/hash.h"

namespace cairn::content {

namespace {

Hash inner(const Hash& left, const Hash& right) {
  constexpr uint8_t kInner = 1;
  return crypto::sha256({ByteView(&kInner, 1), left.view(), right.view()});
}

size_t leaf_count(size_t shard_length) {
  return std::max<size_t>(1, (shard_length + kLeafSize - 1) / kLeafSize);
}

// Hashes of a level to those of the next: pairs are joined, an odd one at the end moves up unchanged.
std::vector<Hash> level_above(const std::vector<Hash>& level) {
  std::vector<Hash> above;
  above.reserve((level.size() + 1) / 2);
  for (size_t i = 0; i + 1 < level.size(); i += 2) above.push_back(inner(level[i], level[i + 1]));
  if (level.size() % 2 != 0) above.push_back(level.back());
  return above;
}

// The hash of a leaf from those of its parts.
Hash leaf_of(std::span<const Hash> parts) {
  constexpr uint8_t kLeaf = 0;
  CAIRN_ASSERT(parts.size() <= kLeafSize / kLeafPart);
  std::array<uint8_t, 1 + (kLeafSize / kLeafPart) * sizeof(Hash)> message{kLeaf};
  size_t length = 1;
  for (const Hash& part : parts) {
    std::memcpy(message.data() + length, part.bytes.data(), part.bytes.size());
    length += part.bytes.size();
  }
  return crypto::sha256(ByteView(message).first(length));
}

}  // namespace

Hash merkle_leaf(ByteView bytes) {
  CAIRN_ASSERT(bytes.size() <= kLeafSize);
  return merkle_leaves(bytes).front();
}

std::vector<Hash> merkle_leaves(ByteView bytes) {
  constexpr size_t kParts = kLeafSize / kLeafPart;
  std::vector<Hash> parts((bytes.size() + kLeafPart - 1) / kLeafPart);
  crypto::sha256_pieces(bytes, kLeafPart, parts);
  std::vector<Hash> leaves(leaf_count(bytes.size()));
  std::span<const Hash> rest = parts;
  for (Hash& leaf : leaves) {
    const size_t count = std::min(kParts, rest.size());
    leaf = leaf_of(rest.first(count));
    rest = rest.subspan(count);
  }
  return leaves;
}

MerkleTree MerkleTree::over(ByteView shard) {
  return from_leaves(merkle_leaves(shard));
}

MerkleTree MerkleTree::from_leaves(std::vector<Hash> leaves) {
  CAIRN_ASSERT(!leaves.empty());
  MerkleTree tree;
  tree.levels_.push_back(std::move(leaves));
  while (tree.levels_.back().size() > 1) tree.levels_.push_back(level_above(tree.levels_.back()));
  return tree;
}

const Hash& MerkleTree::root() const {
  return levels_.back().front();
}

std::vector<Hash> MerkleTree::prove(size_t first_leaf, size_t last_leaf) const {
  CAIRN_ASSERT(first_leaf <= last_leaf && last_leaf < leaves().size());
  std::vector<Hash> path;
  for (const std::vector<Hash>& level : levels_) {
    if (first_leaf % 2 == 1) path.push_back(level[first_leaf - 1]);
    if (last_leaf % 2 == 0 && last_leaf + 1 < level.size()) path.push_back(level[last_leaf + 1]);
    first_leaf /= 2;
    last_leaf /= 2;
  }
  return path;
}

bool verify_merkle_range(const Hash& root, uint32_t shard_length, size_t first_leaf, ByteView bytes,
                         const std::vector<Hash>& path) {
  if (shard_length > kMaxShardSize) return false;
  size_t count = leaf_count(shard_length);
  if (first_leaf >= count) return false;
  const size_t begin = first_leaf * kLeafSize;
  if (bytes.size() > shard_length - begin || (bytes.empty() && shard_length != 0)) return false;
  const size_t end = begin + bytes.size();
  if (end % kLeafSize != 0 && end != shard_length) return false;

  // How long the path must be, before anything is hashed.
  const size_t last_leaf = first_leaf + leaf_count(bytes.size()) - 1;
  size_t needed = 0;
  for (size_t first = first_leaf, last = last_leaf, size = count; size > 1;
       first /= 2, last /= 2, size = (size + 1) / 2) {
    needed += first % 2;
    needed += last % 2 == 0 && last + 1 < size ? 1 : 0;
  }
  if (path.size() != needed) return false;

  std::vector<Hash> known = merkle_leaves(bytes);
  auto next = path.begin();
  for (size_t first = first_leaf; count > 1; first /= 2, count = (count + 1) / 2) {
    if (first % 2 == 1) known.insert(known.begin(), *next++);
    const size_t last = first - first % 2 + known.size() - 1;
    if (last % 2 == 0 && last + 1 < count) known.push_back(*next++);
    known = level_above(known);
  }
  return known.front() == root;
}

}  // namespace cairn::content
