#include "content/merkle.h"

#include <catch2/catch.hpp>

#include "content/fixtures.h"
#include "crypto/hash.h"

namespace cairn::content {

namespace {

Hash parent(const Hash& left, const Hash& right) {
  const Bytes one = {1};
  return crypto::sha256({one, left.view(), right.view()});
}

// A leaf from its parts, as FORMAT.md has it.
Hash leaf(const std::vector<Bytes>& parts) {
  Bytes message = {0};
  for (const Bytes& part : parts) append(message, crypto::sha256(part).view());
  return crypto::sha256(message);
}

// RFC 6962, section 2.1, word by word: split at the largest power of two below the number of leaves.
Hash by_the_rfc(std::span<const Hash> leaves) {
  if (leaves.size() == 1) return leaves[0];
  size_t split = 1;
  while (split * 2 < leaves.size()) split *= 2;
  return parent(by_the_rfc(leaves.first(split)), by_the_rfc(leaves.subspan(split)));
}

std::vector<Hash> some_leaves(size_t count) {
  std::vector<Hash> leaves;
  for (size_t i = 0; i < count; ++i) leaves.push_back(merkle_leaf(Bytes{static_cast<uint8_t>(i)}));
  return leaves;
}

}  // namespace

TEST_CASE("the tree is that of RFC 6962") {
  CHECK(MerkleTree::over({}).root() == crypto::sha256(Bytes{0}));
  CHECK(MerkleTree::over({}).leaves().size() == 1);
  CHECK(MerkleTree::over(Bytes(3, 'x')).root() == leaf({Bytes(3, 'x')}));
  for (size_t count = 1; count <= 64; ++count) {
    const auto leaves = some_leaves(count);
    CHECK(MerkleTree::from_leaves(leaves).root() == by_the_rfc(leaves));
  }
}

TEST_CASE("leaves are 64 KiB of the shard, hashed in two parts") {
  const Bytes shard = random_bytes(kLeafSize * 2 + 1, 1);
  CHECK(merkle_leaf(ByteView(shard).first(kLeafSize)) ==
        leaf({to_bytes(ByteView(shard).first(kLeafSize / 2)),
              to_bytes(ByteView(shard).subspan(kLeafSize / 2, kLeafSize / 2))}));
  CHECK(merkle_leaf(ByteView(shard).first(kLeafSize / 2 + 1)) ==
        leaf({to_bytes(ByteView(shard).first(kLeafSize / 2)), Bytes{shard[kLeafSize / 2]}}));
  const MerkleTree tree = MerkleTree::over(shard);
  REQUIRE(tree.leaves().size() == 3);
  CHECK(tree.leaves()[1] == merkle_leaf(ByteView(shard).subspan(kLeafSize, kLeafSize)));
  CHECK(tree.leaves()[2] == merkle_leaf(ByteView(shard).last(1)));
  CHECK(tree.root() == parent(parent(tree.leaves()[0], tree.leaves()[1]), tree.leaves()[2]));
  CHECK(MerkleTree::over(ByteView(shard).first(kLeafSize)).leaves().size() == 1);
}

TEST_CASE("every range of leaves of every shard length proves itself") {
  const Bytes bytes = random_bytes(kLeafSize * 9, 2);
  for (size_t leaves = 1; leaves <= 9; ++leaves) {
    for (const size_t last_size : {size_t{1}, size_t{kLeafSize}}) {
      const size_t length = (leaves - 1) * kLeafSize + last_size;
      const ByteView shard = ByteView(bytes).first(length);
      const MerkleTree tree = MerkleTree::over(shard);
      for (size_t first = 0; first < leaves; ++first) {
        for (size_t last = first; last < leaves; ++last) {
          const size_t begin = first * kLeafSize;
          const ByteView range = shard.subspan(begin, std::min<size_t>((last + 1) * kLeafSize, length) - begin);
          const auto path = tree.prove(first, last);
          if (!verify_merkle_range(tree.root(), static_cast<uint32_t>(length), first, range, path)) {
            FAIL("length " << length << " leaves " << first << ".." << last);
          }
          if (leaves > 6 && (first + last) % 3 != 0) continue;  // the refusals are slower
          auto longer = path;
          longer.push_back(tree.root());
          CHECK_FALSE(verify_merkle_range(tree.root(), static_cast<uint32_t>(length), first, range, longer));
          if (path.empty()) continue;
          auto shorter = path;
          shorter.pop_back();
          CHECK_FALSE(verify_merkle_range(tree.root(), static_cast<uint32_t>(length), first, range, shorter));
          auto wrong = path;
          wrong[path.size() / 2].bytes[5] ^= 1;
          CHECK_FALSE(verify_merkle_range(tree.root(), static_cast<uint32_t>(length), first, range, wrong));
        }
      }
    }
  }
}

TEST_CASE("an empty shard proves itself and nothing else") {
  const MerkleTree tree = MerkleTree::over({});
  CHECK(tree.prove(0, 0).empty());
  CHECK(verify_merkle_range(tree.root(), 0, 0, {}, {}));
  CHECK_FALSE(verify_merkle_range(tree.root(), 0, 0, Bytes{0}, {}));
  CHECK_FALSE(verify_merkle_range(tree.root(), 0, 1, {}, {}));
  CHECK_FALSE(verify_merkle_range(tree.root(), 1, 0, {}, {}));
}

TEST_CASE("wrong bytes, places and lengths are refused") {
  const Bytes shard = random_bytes(kLeafSize * 4 + 100, 3);
  const auto length = static_cast<uint32_t>(shard.size());
  const MerkleTree tree = MerkleTree::over(shard);
  const auto range = [&](size_t begin, size_t size) { return ByteView(shard).subspan(begin, size); };
  const auto path = tree.prove(1, 2);
  const ByteView good = range(kLeafSize, 2 * kLeafSize);
  REQUIRE(verify_merkle_range(tree.root(), length, 1, good, path));

  Bytes changed = to_bytes(good);
  changed[70'000] ^= 0x40;
  CHECK_FALSE(verify_merkle_range(tree.root(), length, 1, changed, path));
  CHECK_FALSE(verify_merkle_range(Hash{}, length, 1, good, path));
  CHECK_FALSE(verify_merkle_range(tree.root(), length, 0, good, path));
  CHECK_FALSE(verify_merkle_range(tree.root(), length, 2, good, path));
  CHECK_FALSE(verify_merkle_range(tree.root(), length, 5, good, path));
  CHECK_FALSE(verify_merkle_range(tree.root(), length, SIZE_MAX, good, path));
  CHECK_FALSE(verify_merkle_range(tree.root(), length, SIZE_MAX / kLeafSize, good, path));
  CHECK_FALSE(verify_merkle_range(tree.root(), length, 1, good.first(good.size() - 1), path));
  CHECK_FALSE(verify_merkle_range(tree.root(), length, 1, good.first(0), path));
  CHECK_FALSE(verify_merkle_range(tree.root(), length, 1, good.first(kLeafSize), path));
  CHECK_FALSE(verify_merkle_range(tree.root(), kMaxShardSize + 1, 1, good, path));
  CHECK_FALSE(verify_merkle_range(tree.root(), 0xffffffff, 1, good, path));
  CHECK_FALSE(verify_merkle_range(tree.root(), length, 1, good, std::vector<Hash>(10'000)));
  // The end of the shard is a border, a place within the last leaf is not.
  CHECK(verify_merkle_range(tree.root(), length, 4, range(4 * kLeafSize, 100), tree.prove(4, 4)));
  CHECK_FALSE(verify_merkle_range(tree.root(), length, 4, range(4 * kLeafSize, 99), tree.prove(4, 4)));
}

TEST_CASE("a leaf cannot be passed off as an inner node") {
  // Two inner hashes as the bytes of a "leaf": the prefixes keep them apart.
  const auto leaves = some_leaves(2);
  Bytes both = to_bytes(leaves[0].view());
  append(both, leaves[1].view());
  CHECK(merkle_leaf(both) != parent(leaves[0], leaves[1]));
}

}  // namespace cairn::content
