// open_chunk over raw bytes, and over chunks that are sealed with the right key so that what is behind the tag (the
// decompression, the lengths, the ID) is reached.
// Input: mode sealed-chunk | mode 8-byte-header content; bit 0 of mode: which, bit 1: check the ID

#include "content/chunk.h"
#include "content/fixtures.h"
#include "crypto/aead.h"
#include "fuzz/fuzz.h"

namespace cairn::fuzz {

namespace {

using content::ChunkType;

const content::VolumeKeys& keys() {
  static const content::VolumeKeys made = content::test_keys();
  return made;
}

Bytes seal_by_hand(ByteView header, ByteView plain) {
  const ChunkId id;
  Bytes chunk = to_bytes(header);
  Bytes aad = chunk;
  append(aad, keys().volume.view());
  append(aad, id.view());
  const crypto::Nonce nonce{};
  append(chunk, nonce);
  chunk.resize(chunk.size() + plain.size() + crypto::kTagSize);
  const crypto::Key key = crypto::hkdf_sha256(keys().enc, {as_bytes("cairn/v1/chunk"), id.view()});
  crypto::aead_seal(key, nonce, aad, plain, MutableByteView(chunk).subspan(content::kSealHeaderSize));
  return chunk;
}

}  // namespace

void run_one(ByteView input) {
  if (input.empty()) return;
  const bool by_hand = (input[0] & 1) != 0;
  const bool check_id = (input[0] & 2) != 0;
  ByteView rest = input.subspan(1);
  Bytes sealed = to_bytes(rest);
  if (by_hand) {
    if (rest.size() < 8) return;
    sealed = seal_by_hand(rest.first(8), rest.subspan(8));
  }
  const auto opened = content::open_chunk(keys(), {}, ChunkType::data, sealed, check_id);
  if (!opened) return;
  CAIRN_ASSERT(opened->size() <= kMaxChunkSize);
  CAIRN_ASSERT(!check_id);  // the ID of all zeros is nobody's hash
  const auto length = content::sealed_plain_length(sealed);
  CAIRN_ASSERT(length && *length == opened->size());
}

std::vector<Bytes> seeds() {
  std::vector<Bytes> all;
  content::TestRandom random(1);
  for (const size_t size : {0, 1, 100, 3000}) {
    for (const bool compressible : {false, true}) {
      const Bytes plain = compressible ? Bytes(size, 'c') : content::random_bytes(size, size);
      Bytes input = {0};
      content::seal_chunk(keys(), {}, ChunkType::data, plain, 1, random, input);
      all.push_back(input);
      // The same, to be sealed again by run_one: header and content.
      Bytes again = {1};
      append(again, ByteView(input).subspan(1, 8));
      Bytes content(input.size() - 1 - content::kSealOverhead);
      const crypto::Key key = crypto::hkdf_sha256(keys().enc, {as_bytes("cairn/v1/chunk"), ChunkId().view()});
      crypto::Nonce nonce;
      std::copy_n(input.begin() + 9, nonce.size(), nonce.begin());
      Bytes aad(input.begin() + 1, input.begin() + 9);
      append(aad, keys().volume.view());
      append(aad, ChunkId().view());
      CAIRN_ASSERT(crypto::aead_open(key, nonce, aad, ByteView(input).subspan(1 + content::kSealHeaderSize), content));
      append(again, content);
      all.push_back(again);
      again[0] = 3;
      all.push_back(again);
    }
  }
  return all;
}

}  // namespace cairn::fuzz
