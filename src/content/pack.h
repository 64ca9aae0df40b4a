#pragma once
// Packs: sealed chunks laid out over k data shards, erasure-coded, with a signed header.
//
// Layout: the pack is k runs ("lanes") of shard_length bytes, lane i is slot i. In a pack of data a chunk never crosses
// from one lane into the next, so every chunk is read from ONE holder. A pack of tree nodes is laid out contiguously
// instead: a node's offset is then known when it is added, which its parent in the same pack needs; at most k - 1 nodes
// cross a border and are read from two holders (no chunk is longer than a shard). What chunks do not fill is zeros.
// shard_length is the least that holds the chunks, rounded up by Padmé (Nikitin 2019: at most 12 % more, leaks O(log
// log n) bits of the size), at most kMaxShardSize.

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

  // A new header with its ID. geometry must be within bounds and roots k + m.
  using Nonce = std::array<uint8_t, 16>;
  static PackHeader sign(const VolumeId& volume, PackGeometry geometry, std::vector<Hash> roots, uint64_t head_sequence,
                         const Nonce& nonce, const crypto::PrivateKey& writer);
  // Parses and checks form, bounds and signature. Code::corrupt, Code::unsupported. Bytes of a wire.Signed.
  static Result<PackHeader> parse(ByteView signed_message);
  // The same without the signature: for what was checked before it was kept.
  static Result<PackHeader> read(ByteView signed_message);
  Bytes serialize() const;  // the wire.Signed
};

// Ready to be sent. Shards may share memory: with k = 1 all are one.
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
  PackBuilder(PackBuilder&&) = default;
  PackBuilder& operator=(PackBuilder&&) = default;

  // Where a chunk went. With PackLayout::lanes a pack that is not full is laid out anew over its lanes by finish().
  using Ticket = size_t;
  // Nothing when it no longer fits: finish this pack and begin another. plain.size() <= kMaxChunkSize.
  std::optional<Ticket> add(const VolumeKeys& keys, const ChunkId& id, ChunkType type, ByteView plain,
                            int compression_level, env::SecureRandom& random);
  // A chunk that is sealed already (compaction, tree nodes), of at most kMaxChunkSize + kSealOverhead bytes.
  std::optional<Ticket> add_sealed(ByteView sealed);
  bool empty() const;
  uint64_t size() const;  // sealed bytes so far

  // Lays out, encodes, hashes (each shard once) and signs. CPU work of some 20 ms for a full pack: run it on Workers.
  // Once only; nothing can be added afterwards. Code::bad_input for an empty pack.
  Result<EncodedPack> finish(const VolumeId& volume, uint64_t head_sequence, const crypto::PrivateKey& writer,
                             env::SecureRandom& random);
  // When final (see PackLayout): offset within the pack (slot * shard_length + offset in the shard), and sealed length.
  struct Place {
    uint32_t offset, length;
  };
  Place place(Ticket ticket) const;

 private:
  // Memory of one lane; with PackLayout::contiguous one for the whole pack.
  struct Lane {
    Buffer memory;
    uint32_t used = 0;
  };

  uint32_t capacity_of_lane() const;
  uint8_t* room_in(size_t lane, uint32_t size);
  std::optional<Ticket> place_in_lanes(ByteView sealed);
  Ticket note(size_t lane, uint32_t size);
  uint32_t longest_chunk() const;
  uint32_t least_shard_length() const;
  std::vector<Buffer> data_shards(uint32_t& shard_length);
  std::vector<Buffer> lay_out_anew(uint32_t shard_length);
  std::vector<Buffer> take_lanes(uint32_t shard_length);
  std::vector<Buffer> cut_contiguous(uint32_t shard_length);

  uint32_t k_, m_;
  PackLayout layout_;
  std::vector<Lane> lanes_;    // begun so far; the last one is being filled
  std::vector<Place> places_;  // offsets by lanes of kMaxShardSize until finish()
  uint64_t size_ = 0;
  Bytes spare_;  // for a chunk of which only its seal tells whether it fits
  bool finished_ = false;
};

// Padmé: the next length of the form that keeps only O(log log n) bits.
uint64_t padme(uint64_t length);

}  // namespace cairn::content
