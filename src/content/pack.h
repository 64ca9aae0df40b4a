#pragma once
// Packs: sealed chunks laid out over k data shards, erasure-coded, with a signed header.
//
// Layout: the pack is k runs ("lanes") of shard_length bytes, lane i is slot i. In a pack of data a chunk never crosses
// from one lane into the next, so every chunk is read from ONE holder. A pack of tree nodes is laid out contiguously
// instead: a node's offset is then known when it is added, which its parent in the same pack needs; at most k - 1 nodes
// cross a border and are read from two holders. What chunks do not fill is zeros. shard_length is the least that holds
// the chunks, rounded up by Padmé (Nikitin 2019: at most 12 % more, leaks O(log log n) bits of the size), at most
// kMaxShardSize.

#include <vector>

#include "base/ids.h"
#include "base/limits.h"
#include "content/chunk.h"
#include "crypto/signature.h"
#include "erasure/code.h"

namespace cairn::content {

struct PackGeometry {
  uint32_t k = 1;
  uint32_t m = 0;
  uint32_t shard_length = 0;
  auto operator<=>(const PackGeometry&) const = default;
};

// A pack header as it was signed, and what it says.
struct PackHeader {
  PackId id;
  VolumeId volume;
  NodeId writer;
  PackGeometry geometry;
  std::vector<Hash> roots;  // k + m
  uint64_t head_sequence = 0;
  Bytes body, signature, writer_key;  // as signed (wire.Signed)

  // Parses and checks form, bounds and signature. Code::corrupt, Code::unsupported. Bytes of a wire.Signed.
  static Result<PackHeader> parse(ByteView signed_message);
  Bytes serialize() const;  // the wire.Signed
};

// Ready to be sent. The data shards are slices of one buffer.
struct EncodedPack {
  PackHeader header;
  std::vector<Buffer> shards;  // k + m
  std::vector<uint32_t> crcs;  // CRC-32C of each shard
};

enum class PackLayout {
  lanes,       // no chunk crosses a lane; places are final after finish()
  contiguous,  // places are final when added
};

// Collects sealed chunks up to a pack's size. Not thread-safe.
class PackBuilder {
 public:
  PackBuilder(uint32_t k, uint32_t m, PackLayout layout = PackLayout::lanes);

  // Where a chunk went. With PackLayout::lanes a pack that is not full is laid out anew over its lanes by finish().
  using Ticket = size_t;
  // Nothing when it no longer fits: finish this pack and begin another. plain.size() <= kMaxChunkSize.
  std::optional<Ticket> add(const VolumeKeys& keys, const ChunkId& id, ChunkType type, ByteView plain,
                            int compression_level, env::SecureRandom& random);
  // A chunk that is sealed already (compaction, tree nodes).
  std::optional<Ticket> add_sealed(ByteView sealed);
  bool empty() const;
  uint64_t size() const;  // sealed bytes so far

  // Lays out, encodes, hashes (each shard once) and signs. CPU work of some 20 ms for a full pack: run it on Workers.
  Result<EncodedPack> finish(const VolumeId& volume, uint64_t head_sequence, const crypto::PrivateKey& writer,
                             env::SecureRandom& random);
  // When final (see PackLayout): offset within the pack (slot * shard_length + offset in the shard), and sealed length.
  struct Place {
    uint32_t offset, length;
  };
  Place place(Ticket ticket) const;

 private:
  uint32_t k_, m_;
  Buffer lanes_;               // k * kMaxShardSize, filled lane by lane
  std::vector<Place> places_;  // offsets within lanes_ until finish()
  uint32_t lane_ = 0;          // being filled
  uint32_t lane_used_ = 0;
};

// Padmé: the next length of the form that keeps only O(log log n) bits.
uint64_t padme(uint64_t length);

}  // namespace cairn::content
