#pragma once
// Packs with true headers and roots, whose shards are random bytes: the store does not look at the code.

#include "base/crc32c.h"
#include "content/merkle.h"
#include "content/pack.h"
#include "env/random.h"
#include "store/shard_store.h"

namespace cairn::store {

struct TestShard {
  content::PackHeader header;
  uint8_t slot = 0;
  Buffer bytes;
  uint32_t crc = 0;
  std::vector<NodeId> siblings;
  ShardId id() const { return {header.id, slot}; }
};

inline const crypto::PrivateKey& test_writer() {
  static const crypto::PrivateKey key = crypto::PrivateKey::from_seed(crypto::Key{1, 2, 3});
  return key;
}

// All slots of one pack.
inline std::vector<TestShard> make_pack(env::Prng& prng, uint32_t shard_length, uint32_t slots = 1) {
  std::vector<TestShard> shards(slots);
  std::vector<Hash> roots;
  for (TestShard& shard : shards) {
    shard.bytes = Buffer(shard_length);
    prng.fill(shard.bytes.span());
    shard.crc = crc32c(shard.bytes.view());
    roots.push_back(content::MerkleTree::over(shard.bytes.view()).root());
  }
  content::PackHeader::Nonce nonce;
  prng.fill(nonce);
  VolumeId volume;
  prng.fill(volume.bytes);
  const auto header = content::PackHeader::sign(volume, {.k = 1, .m = slots - 1, .shard_length = shard_length}, roots,
                                                7, nonce, test_writer());
  for (uint32_t i = 0; i < slots; ++i) {
    shards[i].header = header;
    shards[i].slot = static_cast<uint8_t>(i);
    shards[i].siblings.resize(slots);
    for (NodeId& sibling : shards[i].siblings) prng.fill(sibling.bytes);
  }
  return shards;
}
inline TestShard make_shard(env::Prng& prng, uint32_t length) {
  return make_pack(prng, length, 1).front();
}
inline std::vector<TestShard> make_shards(env::Prng& prng, std::initializer_list<uint32_t> lengths) {
  std::vector<TestShard> shards;
  for (const uint32_t length : lengths) shards.push_back(make_shard(prng, length));
  return shards;
}

inline env::Task<Status> put(ShardStore& store, TestShard shard) {
  auto stored = co_await store.put(shard.header, shard.slot, shard.crc, shard.bytes, shard.siblings);
  co_return stored;
}
inline env::Task<Status> put_all(env::Executor& executor, ShardStore& store, std::vector<TestShard> shards) {
  std::vector<env::Task<Status>> tasks;
  for (const TestShard& shard : shards) tasks.push_back(put(store, shard));
  auto results = co_await env::when_all(executor, std::move(tasks));
  for (auto& result : results) {
    if (!result) co_return result;
  }
  co_return Status();
}

}  // namespace cairn::store
