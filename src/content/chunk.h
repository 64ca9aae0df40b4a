#pragma once
// A chunk and its seal: compressed where that saves at least 5 %, then AES-256-GCM.
//
// Sealed chunk, little-endian:  version u8 = 1 | type u8 | flags u8 (1: zstd) | reserved u8 = 0 | plain length u32 |
//                               nonce 12 | ciphertext | tag 16
// Key: HKDF(K_enc, "cairn/v1/chunk" + chunk ID). AAD: the first 8 bytes, volume ID, chunk ID.

#include "base/limits.h"
#include "content/keys.h"
#include "env/random.h"

namespace cairn::content {

enum class ChunkType : uint8_t { data = 1, tree_node = 2, record = 3 };

inline constexpr size_t kSealHeaderSize = 20;
inline constexpr size_t kSealOverhead = kSealHeaderSize + 16;

enum class ChunkNaming {
  random,  // drives: a random ID, no hash of the content
  hashed,  // volumes that deduplicate, and tree nodes: HMAC-SHA256(K_id, type || plaintext)
};

ChunkId hashed_chunk_id(const VolumeKeys& keys, ChunkType type, ByteView plain);

// Thread-safe (each thread keeps zstd contexts of its own).
//
// Appends to `out` and returns the number of bytes appended. plain.size() <= kMaxChunkSize.
// `compression_level` 0: none; 1 is the default everywhere.
size_t seal_chunk(const VolumeKeys& keys, const ChunkId& id, ChunkType type, ByteView plain, int compression_level,
                  env::SecureRandom& random, Bytes& out);
// The same, straight into a place of at least plain.size() + kSealOverhead bytes.
size_t seal_chunk_into(const VolumeKeys& keys, const ChunkId& id, ChunkType type, ByteView plain, int compression_level,
                       env::SecureRandom& random, MutableByteView out);

// Code::corrupt for anything that is not exactly what was sealed under this ID and type. check_id: recompute the hashed
// ID from the plaintext too.
Result<Bytes> open_chunk(const VolumeKeys& keys, const ChunkId& id, ChunkType type, ByteView sealed,
                         bool check_id = false);
// The same without an allocation: out.size() must be the chunk's plain length, which an extent's item records and
// sealed_plain_length() reads (unproven until opened). On failure `out` holds nothing of the chunk.
Status open_chunk_into(const VolumeKeys& keys, const ChunkId& id, ChunkType type, ByteView sealed, MutableByteView out,
                       bool check_id = false);
// At most kMaxChunkSize. Code::corrupt when `sealed` cannot be a sealed chunk.
Result<uint32_t> sealed_plain_length(ByteView sealed);

}  // namespace cairn::content
