// verify_merkle_range: what it accepts for the root of a known shard is a range of that shard.
// Input: shard_length u32 | first_leaf u64 | begin u32, size u32 of bytes of the shard | changed place u32 | path
// hashes

#include "content/fixtures.h"
#include "content/merkle.h"
#include "fuzz/fuzz.h"

namespace cairn::fuzz {

namespace {

constexpr size_t kLeaves = 5;
constexpr size_t kShardSize = (kLeaves - 1) * kLeafSize + 1234;
constexpr size_t kFixedSize = 4 + 8 + 4 + 4 + 4;

const Bytes& shard() {
  static const Bytes bytes = content::random_bytes(kShardSize, 1);
  return bytes;
}
const content::MerkleTree& tree() {
  static const content::MerkleTree made = content::MerkleTree::over(shard());
  return made;
}

}  // namespace

void run_one(ByteView input) {
  if (input.size() < kFixedSize) return;
  const auto length = read_le<uint32_t>(input.data());
  const auto first = read_le<uint64_t>(input.data() + 4);
  const size_t begin = std::min<size_t>(read_le<uint32_t>(input.data() + 12), kShardSize);
  const size_t size = std::min<size_t>(read_le<uint32_t>(input.data() + 16), kShardSize - begin);
  const auto changed = read_le<uint32_t>(input.data() + 20);
  Bytes bytes = to_bytes(ByteView(shard()).subspan(begin, size));
  if (changed < bytes.size()) bytes[changed] ^= 0x10;
  std::vector<Hash> path;
  for (ByteView rest = input.subspan(kFixedSize); rest.size() >= Hash::kSize; rest = rest.subspan(Hash::kSize)) {
    path.push_back(*Hash::from(rest.first(Hash::kSize)));
  }
  if (!content::verify_merkle_range(tree().root(), length, first, bytes, path)) return;
  // A shorter claimed length has other leaves or another shape, so only the true place and bytes can pass.
  CAIRN_ASSERT(first < kLeaves && first * kLeafSize + bytes.size() <= kShardSize);
  CAIRN_ASSERT(equal(bytes, ByteView(shard()).subspan(first * kLeafSize, bytes.size())));
}

std::vector<Bytes> seeds() {
  std::vector<Bytes> all;
  for (uint32_t first = 0; first < kLeaves; ++first) {
    for (uint32_t last = first; last < kLeaves; ++last) {
      Bytes input;
      append_le<uint32_t>(input, kShardSize);
      append_le<uint64_t>(input, first);
      const auto begin = static_cast<uint32_t>(first * kLeafSize);
      append_le<uint32_t>(input, begin);
      append_le<uint32_t>(input, static_cast<uint32_t>(std::min<size_t>((last + 1) * kLeafSize, kShardSize) - begin));
      append_le<uint32_t>(input, 0xffffffff);
      for (const Hash& hash : tree().prove(first, last)) append(input, hash.view());
      all.push_back(std::move(input));
    }
  }
  return all;
}

}  // namespace cairn::fuzz
