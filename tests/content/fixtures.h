#pragma once
// What the tests of the content room share: randomness from a seed, keys, bytes that compress and bytes that do not.

#include "content/keys.h"
#include "crypto/signature.h"
#include "env/random.h"

namespace cairn::content {

class TestRandom final : public env::SecureRandom {
 public:
  explicit TestRandom(uint64_t seed) : prng_(seed) {}
  void fill(MutableByteView out) override { prng_.fill(out); }

 private:
  env::Prng prng_;
};

inline crypto::Key key_of(uint8_t byte) {
  crypto::Key key;
  key.fill(byte);
  return key;
}

inline VolumeKeys test_keys(uint8_t byte = 1) {
  VolumeId volume;
  volume.bytes.fill(static_cast<uint8_t>(byte + 100));
  return VolumeKeys::derive(key_of(byte), volume);
}

inline crypto::PrivateKey test_writer() {
  return crypto::PrivateKey::from_seed(key_of(7));
}

inline Bytes random_bytes(size_t size, uint64_t seed) {
  Bytes bytes(size);
  env::Prng(seed).fill(bytes);
  return bytes;
}

// Words of a small alphabet: zstd takes them to about half.
inline Bytes text_bytes(size_t size, uint64_t seed) {
  env::Prng prng(seed);
  Bytes bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>("abcdefgh \n,.etao"[prng.below(16)]);
  return bytes;
}

}  // namespace cairn::content
