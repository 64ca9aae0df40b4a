#include "content/chunk.h"

#include <zstd.h>

#include "content/limits.h"
#include "crypto/aead.h"

namespace cairn::content {

namespace {

constexpr uint8_t kVersion = 1;
constexpr uint8_t kFlagZstd = 1;
constexpr size_t kBoundSize = 8;  // of the header: the part before the nonce, which is authenticated
static_assert(kSealHeaderSize == kBoundSize + crypto::kNonceSize);
static_assert(kSealOverhead == kSealHeaderSize + crypto::kTagSize);

struct FreeCompressor {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};
struct FreeDecompressor {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

// The size of `plain` compressed into `out`, or nothing when it would not fit there.
std::optional<size_t> compress(ByteView plain, int level, MutableByteView out) {
  thread_local const std::unique_ptr<ZSTD_CCtx, FreeCompressor> context(ZSTD_createCCtx());
  CAIRN_ASSERT(context != nullptr);
  ZSTD_CCtx_reset(context.get(), ZSTD_reset_session_and_parameters);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, 0);  // the seal's header has it
  const size_t size = ZSTD_compress2(context.get(), out.data(), out.size(), plain.data(), plain.size());
  if (ZSTD_isError(size) != 0) return std::nullopt;
  return size;
}

bool decompress(ByteView compressed, MutableByteView out) {
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeDecompressor> context(ZSTD_createDCtx());
  CAIRN_ASSERT(context != nullptr);
  const size_t size = ZSTD_decompressDCtx(context.get(), out.data(), out.size(), compressed.data(), compressed.size());
  return ZSTD_isError(size) == 0 && size == out.size();
}

crypto::Key chunk_key(const VolumeKeys& keys, const ChunkId& id) {
  return crypto::hkdf_sha256(keys.enc, {as_bytes("cairn/v1/chunk"), id.view()});
}

using AssociatedData = std::array<uint8_t, kBoundSize + VolumeId::kSize + ChunkId::kSize>;
AssociatedData associated_data(const uint8_t* header, const VolumeId& volume, const ChunkId& id) {
  AssociatedData data;
  uint8_t* to = std::copy_n(header, kBoundSize, data.data());
  to = std::ranges::copy(volume.bytes, to).out;
  std::ranges::copy(id.bytes, to);
  return data;
}

// Where decompressed bytes come from: opened here first, then decompressed. Kept by each thread.
MutableByteView scratch(size_t size) {
  thread_local Buffer memory;
  if (memory.size() < size) memory = Buffer(size);
  return memory.span().first(size);
}

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(Code::corrupt, std::string(what));
}

}  // namespace

ChunkId hashed_chunk_id(const VolumeKeys& keys, ChunkType type, ByteView plain) {
  const auto number = static_cast<uint8_t>(type);
  return id_cast<ChunkId>(crypto::hmac_sha256(keys.id, {ByteView(&number, 1), plain}));
}

size_t seal_chunk_into(const VolumeKeys& keys, const ChunkId& id, ChunkType type, ByteView plain, int compression_level,
                       env::SecureRandom& random, MutableByteView out) {
  CAIRN_ASSERT(plain.size() <= kMaxChunkSize && out.size() >= plain.size() + kSealOverhead);
  uint8_t* body = out.data() + kSealHeaderSize;
  ByteView content = plain;
  uint8_t flags = 0;
  if (compression_level != 0 && !plain.empty()) {
    // No room for more than what pays, so that the attempt ends early for what does not compress.
    const size_t room = plain.size() - (plain.size() + kLeastSaving - 1) / kLeastSaving;
    if (const auto size = compress(plain, compression_level, {body, room})) {
      content = {body, *size};
      flags = kFlagZstd;
    }
  }
  uint8_t* header = out.data();
  header[0] = kVersion;
  header[1] = static_cast<uint8_t>(type);
  header[2] = flags;
  header[3] = 0;
  write_le<uint32_t>(header + 4, static_cast<uint32_t>(plain.size()));
  crypto::Nonce nonce;
  random.fill(nonce);
  std::ranges::copy(nonce, header + kBoundSize);
  crypto::aead_seal(chunk_key(keys, id), nonce, associated_data(header, keys.volume, id), content,
                    {body, content.size() + crypto::kTagSize});
  return content.size() + kSealOverhead;
}

size_t seal_chunk(const VolumeKeys& keys, const ChunkId& id, ChunkType type, ByteView plain, int compression_level,
                  env::SecureRandom& random, Bytes& out) {
  const size_t before = out.size();
  out.resize(before + plain.size() + kSealOverhead);
  const size_t size =
      seal_chunk_into(keys, id, type, plain, compression_level, random, MutableByteView(out).subspan(before));
  out.resize(before + size);
  return size;
}

Result<uint32_t> sealed_plain_length(ByteView sealed) {
  if (sealed.size() < kSealOverhead) return corrupt("a sealed chunk is cut short");
  const uint8_t* header = sealed.data();
  const uint8_t flags = header[2];
  if (header[0] != kVersion || (flags & ~kFlagZstd) != 0 || header[3] != 0) return corrupt("not a sealed chunk");
  const auto length = read_le<uint32_t>(header + 4);
  const size_t content = sealed.size() - kSealOverhead;
  if (length > kMaxChunkSize || ((flags & kFlagZstd) != 0 ? content >= length : content != length)) {
    return corrupt("a sealed chunk's length is wrong");
  }
  return length;
}

Status open_chunk_into(const VolumeKeys& keys, const ChunkId& id, ChunkType type, ByteView sealed, MutableByteView out,
                       bool check_id) {
  const auto length = sealed_plain_length(sealed);
  if (!length) return fail(length.error());
  if (sealed[1] != static_cast<uint8_t>(type)) return corrupt("a chunk of another type");
  if (*length != out.size()) return corrupt("a chunk of another length");
  crypto::Nonce nonce;
  std::copy_n(sealed.data() + kBoundSize, nonce.size(), nonce.begin());
  const AssociatedData bound = associated_data(sealed.data(), keys.volume, id);
  const ByteView body = sealed.subspan(kSealHeaderSize);
  const bool compressed = (sealed[2] & kFlagZstd) != 0;
  const MutableByteView opened = compressed ? scratch(body.size() - crypto::kTagSize) : out;
  CAIRN_TRY(crypto::aead_open(chunk_key(keys, id), nonce, bound, body, opened));
  if (compressed && !decompress(opened, out)) {
    std::ranges::fill(out, uint8_t{0});
    return corrupt("a chunk does not decompress");
  }
  if (check_id && hashed_chunk_id(keys, type, out) != id) {
    std::ranges::fill(out, uint8_t{0});
    return corrupt("a chunk's content does not have its ID");
  }
  return {};
}

Result<Bytes> open_chunk(const VolumeKeys& keys, const ChunkId& id, ChunkType type, ByteView sealed, bool check_id) {
  const auto length = sealed_plain_length(sealed);
  if (!length) return fail(length.error());
  Bytes plain(*length);
  CAIRN_TRY(open_chunk_into(keys, id, type, sealed, plain, check_id));
  return plain;
}

}  // namespace cairn::content
