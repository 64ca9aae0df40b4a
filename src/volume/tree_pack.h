#pragma once
// TreePacks: the sink of new tree nodes: seals them into packs laid out contiguously and sends these.

#include <deque>
#include <unordered_map>

#include "crypto/signature.h"
#include "env/world.h"
#include "volume/pack_io.h"
#include "volume/tree.h"

namespace cairn::volume {

// For one commit. What it is given outlives it.
class TreePacks final : public NodeSink {
 public:
  TreePacks(env::World world, PackIo& packs, const content::VolumeKeys& keys, const crypto::PrivateKey& writer,
            uint64_t head_sequence, int compression_level);

  env::Task<Result<NodeRef>> store(ChunkId id, Bytes plain, uint32_t level) override;
  NodeRef resolve(const NodeRef& ref) const override;

  // Sends the last pack. Afterwards resolve() gives real places for all nodes.
  env::Task<Status> finish();
  const std::vector<pool::PackRef>& packs() const { return sent_; }
  uint64_t nodes() const { return nodes_; }
  uint64_t plain_bytes() const { return plain_bytes_; }
  uint64_t sealed_bytes() const { return sealed_bytes_; }

  // The last nodes that were stored, at most kFreshNodes of them, in their order; after finish(), with real places.
  struct Fresh {
    NodeRef ref;
    Bytes plain;
  };
  std::deque<Fresh> take_fresh();

 private:
  env::Task<Status> send();

  env::World world_;
  PackIo& io_;
  const content::VolumeKeys& keys_;
  const crypto::PrivateKey& writer_;
  uint64_t head_sequence_;
  int compression_level_;
  std::unique_ptr<content::PackBuilder> builder_;
  uint64_t capacity_ = 0;  // of the builder, bytes
  std::vector<pool::PackRef> sent_;
  std::unordered_map<ChunkId, size_t> pack_of_;  // index into sent_; sent_.size() = the one being built
  size_t since_turn_ = 0;
  uint64_t nodes_ = 0, plain_bytes_ = 0, sealed_bytes_ = 0;
  std::deque<Fresh> fresh_;
  size_t fresh_bytes_ = 0;
};

}  // namespace cairn::volume
