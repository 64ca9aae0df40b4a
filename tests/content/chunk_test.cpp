#include "content/chunk.h"

#include <catch2/catch.hpp>

#include "content/fixtures.h"
#include "crypto/aead.h"

namespace cairn::content {

namespace {

const VolumeKeys kKeys = test_keys();

Bytes sealed(const ChunkId& id, ChunkType type, ByteView plain, int level = 1, uint64_t seed = 1) {
  TestRandom random(seed);
  Bytes out;
  seal_chunk(kKeys, id, type, plain, level, random, out);
  return out;
}

bool refused(const VolumeKeys& keys, const ChunkId& id, ChunkType type, ByteView chunk, bool check_id = false) {
  const auto result = open_chunk(keys, id, type, chunk, check_id);
  return !result && result.error().code == Code::corrupt;
}

}  // namespace

TEST_CASE("a volume's keys differ from each other and from those of other volumes") {
  std::set<crypto::Key> seen;
  for (const VolumeKeys& keys : {test_keys(1), test_keys(2)}) {
    for (const crypto::Key& key : {keys.id, keys.enc, keys.meta, keys.cdc}) seen.insert(key);
  }
  VolumeId other;
  for (const crypto::Key& key : {VolumeKeys::derive(key_of(1), other).enc}) seen.insert(key);
  CHECK(seen.size() == 9);
  // The derivation of the design, spelled out.
  CHECK(kKeys.enc == crypto::hkdf_sha256(key_of(1), {as_bytes("cairn/v1/enc"), kKeys.volume.view()}));
  CHECK(kKeys.volume == test_keys().volume);
}

TEST_CASE("what is sealed opens again, whatever its size, kind and compression") {
  env::Prng prng(3);
  for (const size_t size :
       std::vector<size_t>{0, 1, 2, 19, 20, 21, 4095, 4096, 4097, 131'072, kMaxChunkSize - 1, kMaxChunkSize}) {
    for (const bool compressible : {false, true}) {
      for (const int level : {0, 1, 3}) {
        const Bytes plain = compressible ? text_bytes(size, size) : random_bytes(size, size);
        const ChunkId id = TestRandom(prng.next()).id<ChunkId>();
        const Bytes chunk = sealed(id, ChunkType::data, plain, level);
        CHECK(chunk.size() <= size + kSealOverhead);
        const auto length = sealed_plain_length(chunk);
        REQUIRE(length);
        CHECK(*length == size);
        const auto opened = open_chunk(kKeys, id, ChunkType::data, chunk);
        REQUIRE(opened);
        CHECK(*opened == plain);
        Bytes place(size, 0xdd);
        REQUIRE(open_chunk_into(kKeys, id, ChunkType::data, chunk, place));
        CHECK(place == plain);
      }
    }
  }
}

TEST_CASE("compression is kept only where it saves at least 5 percent") {
  const ChunkId id;
  CHECK(sealed(id, ChunkType::data, text_bytes(100'000, 1)).size() < 80'000);
  CHECK(sealed(id, ChunkType::data, text_bytes(100'000, 1), 0).size() == 100'000 + kSealOverhead);
  CHECK(sealed(id, ChunkType::data, random_bytes(100'000, 1)).size() == 100'000 + kSealOverhead);
  // 4 % of zeros in random bytes are not worth it, 7 % are.
  Bytes mixed = random_bytes(100'000, 2);
  std::fill_n(mixed.begin(), 4'000, 0);
  CHECK(sealed(id, ChunkType::data, mixed).size() == 100'000 + kSealOverhead);
  std::fill_n(mixed.begin(), 7'000, 0);
  CHECK(sealed(id, ChunkType::data, mixed).size() < 95'000 + kSealOverhead);
}

TEST_CASE("the layout of a sealed chunk is that of the documentation") {
  const ChunkId id = TestRandom(5).id<ChunkId>();
  const Bytes plain = random_bytes(100, 5);
  const Bytes chunk = sealed(id, ChunkType::tree_node, plain);
  CHECK(to_hex(ByteView(chunk).first(8)) == "0102000064000000");
  // Opened by hand.
  crypto::Nonce nonce;
  std::copy_n(chunk.begin() + 8, nonce.size(), nonce.begin());
  Bytes aad(chunk.begin(), chunk.begin() + 8);
  append(aad, kKeys.volume.view());
  append(aad, id.view());
  const crypto::Key key = crypto::hkdf_sha256(kKeys.enc, {as_bytes("cairn/v1/chunk"), id.view()});
  Bytes opened(100);
  REQUIRE(crypto::aead_open(key, nonce, aad, ByteView(chunk).subspan(20), opened));
  CHECK(opened == plain);
}

TEST_CASE("the format is frozen: a chunk sealed when it was laid down still opens") {
  ChunkId id;
  id.bytes.fill(9);
  const Bytes raw = *from_hex(
      "010100001b000000f969a0d1a18f5a325e4d6d65e4cd32eb74452bb60e000be00ffddd2dedc2047a0a7cd87789e64bcf83bb5efb865411cc"
      "8aac8d82bbd458");
  const auto opened = open_chunk(kKeys, id, ChunkType::data, raw);
  REQUIRE(opened);
  CHECK(to_string(*opened) == "a cairn is a heap of stones");
  const Bytes compressed = *from_hex(
      "01030100e80300002fa6f2c3462baa770682cfaac9fe318ade5901c1f0a10bf5f339f24c9f80a0928a7f6a80a4112be2bc773479fb50");
  const auto decompressed = open_chunk(kKeys, id, ChunkType::record, compressed);
  REQUIRE(decompressed);
  CHECK(*decompressed == Bytes(1000, 'c'));
}

TEST_CASE("two seals of one content share nothing") {
  const ChunkId id;
  const Bytes plain = random_bytes(1000, 1);
  const Bytes one = sealed(id, ChunkType::data, plain, 1, 1);
  const Bytes two = sealed(id, ChunkType::data, plain, 1, 2);
  CHECK_FALSE(equal(ByteView(one).subspan(20, 64), ByteView(two).subspan(20, 64)));
}

TEST_CASE("any mutation of a sealed chunk is refused") {
  for (const bool compressible : {false, true}) {
    const ChunkId id = TestRandom(6).id<ChunkId>();
    const Bytes plain = compressible ? Bytes(300, 'x') : random_bytes(60, 1);
    const Bytes chunk = sealed(id, ChunkType::data, plain);
    for (size_t bit = 0; bit < chunk.size() * 8; ++bit) {
      Bytes changed = chunk;
      changed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      if (!refused(kKeys, id, ChunkType::data, changed)) FAIL("bit " << bit);
    }
    for (size_t size = 0; size < chunk.size(); ++size) {
      if (!refused(kKeys, id, ChunkType::data, ByteView(chunk).first(size))) FAIL("cut to " << size);
    }
    Bytes longer = chunk;
    longer.push_back(0);
    CHECK(refused(kKeys, id, ChunkType::data, longer));
  }
}

TEST_CASE("a chunk opens under its own ID, type and volume only") {
  const ChunkId id = TestRandom(6).id<ChunkId>();
  const Bytes chunk = sealed(id, ChunkType::data, random_bytes(60, 1));
  ChunkId other = id;
  other.bytes[31] ^= 1;
  CHECK(refused(kKeys, other, ChunkType::data, chunk));
  CHECK(refused(kKeys, id, ChunkType::tree_node, chunk));
  CHECK(refused(test_keys(2), id, ChunkType::data, chunk));
  VolumeKeys moved = kKeys;
  moved.volume.bytes[0] ^= 1;
  CHECK(refused(moved, id, ChunkType::data, chunk));
}

TEST_CASE("a place of another length than the chunk's is refused") {
  const ChunkId id;
  const Bytes chunk = sealed(id, ChunkType::data, random_bytes(60, 1));
  Bytes place(61);
  CHECK_FALSE(open_chunk_into(kKeys, id, ChunkType::data, chunk, place));
  CHECK_FALSE(open_chunk_into(kKeys, id, ChunkType::data, chunk, MutableByteView(place).first(59)));
}

TEST_CASE("hashed IDs bind type and content, and are checked when asked for") {
  const Bytes plain = text_bytes(5000, 1);
  const ChunkId id = hashed_chunk_id(kKeys, ChunkType::data, plain);
  CHECK(id == hashed_chunk_id(kKeys, ChunkType::data, plain));
  CHECK(id != hashed_chunk_id(kKeys, ChunkType::record, plain));
  CHECK(id != hashed_chunk_id(test_keys(2), ChunkType::data, plain));
  CHECK(id != hashed_chunk_id(kKeys, ChunkType::data, text_bytes(5000, 2)));
  const auto opened = open_chunk(kKeys, id, ChunkType::data, sealed(id, ChunkType::data, plain), true);
  REQUIRE(opened);
  CHECK(*opened == plain);
  // Somebody with the key sealed other content under this ID.
  const Bytes lie = sealed(id, ChunkType::data, text_bytes(5000, 2));
  CHECK(refused(kKeys, id, ChunkType::data, lie, true));
  CHECK(open_chunk(kKeys, id, ChunkType::data, lie, false));
}

TEST_CASE("a chunk that would decompress to something else than it says is refused") {
  // Sealed by hand with the right key: the tag is good, the content is not.
  const ChunkId id;
  const auto seal_by_hand = [&](uint32_t length, ByteView content) {
    Bytes chunk = {1, 1, 1, 0};
    append_le<uint32_t>(chunk, length);
    Bytes aad = chunk;
    append(aad, kKeys.volume.view());
    append(aad, id.view());
    const crypto::Nonce nonce{};
    append(chunk, nonce);
    chunk.resize(chunk.size() + content.size() + crypto::kTagSize);
    const crypto::Key key = crypto::hkdf_sha256(kKeys.enc, {as_bytes("cairn/v1/chunk"), id.view()});
    crypto::aead_seal(key, nonce, aad, content, MutableByteView(chunk).subspan(20));
    return chunk;
  };
  const Bytes good = sealed(id, ChunkType::data, Bytes(1000, 'c'));
  Bytes frame(good.size() - kSealOverhead);
  Bytes aad(good.begin(), good.begin() + 8);
  append(aad, kKeys.volume.view());
  append(aad, id.view());
  crypto::Nonce nonce;
  std::copy_n(good.begin() + 8, nonce.size(), nonce.begin());
  const crypto::Key key = crypto::hkdf_sha256(kKeys.enc, {as_bytes("cairn/v1/chunk"), id.view()});
  REQUIRE(crypto::aead_open(key, nonce, aad, ByteView(good).subspan(20), frame));

  CHECK(open_chunk(kKeys, id, ChunkType::data, seal_by_hand(1000, frame)));
  CHECK(refused(kKeys, id, ChunkType::data, seal_by_hand(999, frame)));
  CHECK(refused(kKeys, id, ChunkType::data, seal_by_hand(1001, frame)));
  CHECK(refused(kKeys, id, ChunkType::data, seal_by_hand(kMaxChunkSize + 1, frame)));
  CHECK(refused(kKeys, id, ChunkType::data, seal_by_hand(0xffffffff, frame)));
  CHECK(refused(kKeys, id, ChunkType::data, seal_by_hand(1000, random_bytes(50, 1))));
  CHECK(refused(kKeys, id, ChunkType::data, seal_by_hand(1000, {})));
}

}  // namespace cairn::content
