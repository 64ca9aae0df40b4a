#include "crypto/signature.h"

#include <catch2/catch.hpp>

namespace cairn::crypto {

namespace {

constexpr std::string_view kSpkiPrefix = "302a300506032b6570032100";

Key seed_from_hex(std::string_view text) {
  Key seed;
  std::ranges::copy(*from_hex(text), seed.begin());
  return seed;
}

// s + L, little-endian: the other scalar that satisfies the equation and that RFC 8032 forbids.
Signature malleate(Signature signature) {
  const Bytes order = *from_hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
  uint32_t carry = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    carry += uint32_t{signature[32 + i]} + order[i];
    signature[32 + i] = static_cast<uint8_t>(carry);
    carry >>= 8;
  }
  return signature;
}

struct Vector {
  std::string_view seed, public_key, message, signature;
};
// RFC 8032, section 7.1, tests 1 to 3.
const std::vector<Vector> kVectors = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
     "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
     "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
     "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
};

}  // namespace

TEST_CASE("Ed25519 gives the values of RFC 8032") {
  for (const Vector& vector : kVectors) {
    const PrivateKey key = PrivateKey::from_seed(seed_from_hex(vector.seed));
    CHECK(to_hex(key.public_key()) == std::string(kSpkiPrefix) + std::string(vector.public_key));
    CHECK(key.public_key().size() == kPublicKeySize);
    const Bytes message = *from_hex(vector.message);
    CHECK(to_hex(key.sign("", message)) == vector.signature);
    CHECK(verify(key.public_key(), "", message, *from_hex(vector.signature)));
  }
}

TEST_CASE("a malleated signature is refused") {
  for (const Vector& vector : kVectors) {
    const PrivateKey key = PrivateKey::from_seed(seed_from_hex(vector.seed));
    const Bytes message = *from_hex(vector.message);
    const Signature good = key.sign("cairn/v1/test", message);
    CHECK(verify(key.public_key(), "cairn/v1/test", message, good));
    CHECK_FALSE(verify(key.public_key(), "cairn/v1/test", message, malleate(good)));
  }
}

TEST_CASE("a signature holds for its key, domain and message only") {
  const PrivateKey key = PrivateKey::from_seed(seed_from_hex(kVectors[0].seed));
  const PrivateKey other = PrivateKey::from_seed(seed_from_hex(kVectors[1].seed));
  const Bytes message = to_bytes("a claim");
  const Signature signature = key.sign("cairn/v1/claim", message);
  CHECK(verify(key.public_key(), "cairn/v1/claim", message, signature));
  CHECK_FALSE(verify(other.public_key(), "cairn/v1/claim", message, signature));
  CHECK_FALSE(verify(key.public_key(), "cairn/v1/pack", message, signature));
  CHECK_FALSE(verify(key.public_key(), "cairn/v1/claim", to_bytes("a clain"), signature));
  for (size_t bit = 0; bit < signature.size() * 8; ++bit) {
    Signature changed = signature;
    changed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    CHECK_FALSE(verify(key.public_key(), "cairn/v1/claim", message, changed));
  }
}

TEST_CASE("malformed keys and signatures are refused") {
  const PrivateKey key = PrivateKey::from_seed(seed_from_hex(kVectors[0].seed));
  const Bytes message = to_bytes("m");
  const Signature signature = key.sign("d", message);
  const Bytes& good = key.public_key();
  for (size_t size = 0; size < good.size(); ++size) {
    CHECK_FALSE(verify(ByteView(good).first(size), "d", message, signature));
  }
  Bytes longer = good;
  longer.push_back(0);
  CHECK_FALSE(verify(longer, "d", message, signature));
  for (size_t i = 0; i < 12; ++i) {  // X25519's identifier among them
    Bytes changed = good;
    changed[i] ^= 2;
    CHECK_FALSE(verify(changed, "d", message, signature));
  }
  CHECK_FALSE(verify(good, "d", message, ByteView(signature).first(63)));
  CHECK_FALSE(verify(good, "d", message, {}));
  Bytes no_point = *from_hex(std::string(kSpkiPrefix) + std::string(64, 'f'));
  CHECK_FALSE(verify(no_point, "d", message, signature));
}

TEST_CASE("copies of a private key sign alike") {
  const PrivateKey key = PrivateKey::from_seed(seed_from_hex(kVectors[0].seed));
  const PrivateKey copy = key;  // NOLINT(performance-unnecessary-copy-initialization)
  CHECK(copy.seed() == key.seed());
  CHECK(copy.sign("d", to_bytes("m")) == key.sign("d", to_bytes("m")));
}

}  // namespace cairn::crypto
