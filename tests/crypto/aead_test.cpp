#include "crypto/aead.h"

#include <catch2/catch.hpp>

#include "env/random.h"

namespace cairn::crypto {

namespace {

template <class Array>
Array array_from_hex(std::string_view text) {
  Array array;
  const Bytes raw = *from_hex(text);
  REQUIRE(raw.size() == array.size());
  std::ranges::copy(raw, array.begin());
  return array;
}

struct Vector {
  std::string_view key, nonce, aad, plain, sealed;
};

// Test cases 13 to 16 of McGrew and Viega's GCM submission to NIST: the ones with a key of 256 bits and a tag of 16
// bytes.
constexpr std::string_view kZeroKey = "0000000000000000000000000000000000000000000000000000000000000000";
constexpr std::string_view kKey = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
const std::vector<Vector> kVectors = {
    {kZeroKey, "000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {kZeroKey, "000000000000000000000000", "", "00000000000000000000000000000000",
     "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
    {kKey, "cafebabefacedbaddecaf888", "",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
     "b16aedf5aa0de657ba637b391aafd255",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
     "c5f61e6393ba7a0abcc9f662898015adb094dac5d93471bdec1a502270e3cc6c"},
    {kKey, "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
     "b16aedf5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
     "c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"},
};

}  // namespace

TEST_CASE("AES-256-GCM gives the values of its submission to NIST") {
  for (const Vector& vector : kVectors) {
    const auto key = array_from_hex<Key>(vector.key);
    const auto nonce = array_from_hex<Nonce>(vector.nonce);
    const Bytes aad = *from_hex(vector.aad);
    const Bytes plain = *from_hex(vector.plain);
    Bytes sealed(plain.size() + kTagSize);
    aead_seal(key, nonce, aad, plain, sealed);
    CHECK(to_hex(sealed) == vector.sealed);
    Bytes opened(plain.size(), 0xff);
    REQUIRE(aead_open(key, nonce, aad, sealed, opened));
    CHECK(opened == plain);
  }
}

TEST_CASE("sealing and opening work in place") {
  env::Prng prng(1);
  Key key;
  Nonce nonce;
  prng.fill(key);
  prng.fill(nonce);
  for (const size_t size : {0, 1, 15, 16, 17, 255, 4096, 65537}) {
    Bytes plain(size);
    prng.fill(plain);
    Bytes apart(size + kTagSize);
    aead_seal(key, nonce, as_bytes("aad"), plain, apart);
    Bytes place = plain;
    place.resize(size + kTagSize);
    aead_seal(key, nonce, as_bytes("aad"), ByteView(place).first(size), place);
    CHECK(place == apart);
    REQUIRE(aead_open(key, nonce, as_bytes("aad"), place, MutableByteView(place).first(size)));
    CHECK(equal(ByteView(place).first(size), plain));
  }
}

TEST_CASE("any flipped bit is refused and leaves zeros") {
  env::Prng prng(2);
  Key key;
  Nonce nonce;
  prng.fill(key);
  prng.fill(nonce);
  Bytes plain(33);
  prng.fill(plain);
  const Bytes aad = {1, 2, 3};
  Bytes sealed(plain.size() + kTagSize);
  aead_seal(key, nonce, aad, plain, sealed);
  const Bytes zeros(plain.size(), 0);
  const auto refused = [&](const Key& k, const Nonce& n, ByteView a, ByteView s) {
    Bytes out(plain.size(), 0xaa);
    const Status status = aead_open(k, n, a, s, out);
    return !status && status.error().code == Code::corrupt && out == zeros;
  };
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    Bytes changed = sealed;
    changed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    CHECK(refused(key, nonce, aad, changed));
  }
  Key other_key = key;
  other_key[31] ^= 1;
  CHECK(refused(other_key, nonce, aad, sealed));
  Nonce other_nonce = nonce;
  other_nonce[0] ^= 0x80;
  CHECK(refused(key, other_nonce, aad, sealed));
  CHECK(refused(key, nonce, Bytes{1, 2}, sealed));
  CHECK(refused(key, nonce, {}, sealed));
}

TEST_CASE("bytes shorter than a tag are refused, so no short tag is ever compared") {
  const Key key{};
  const Nonce nonce{};
  Bytes sealed(kTagSize);
  aead_seal(key, nonce, {}, {}, sealed);
  for (size_t size = 0; size < kTagSize; ++size) {
    const Status status = aead_open(key, nonce, {}, ByteView(sealed).first(size), {});
    REQUIRE_FALSE(status);
    CHECK(status.error().code == Code::corrupt);
  }
}

}  // namespace cairn::crypto
