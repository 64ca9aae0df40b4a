#include "crypto/hash.h"

#include <cryptopp/hmac.h>
#include <cryptopp/misc.h>
#include <cryptopp/sha.h>

namespace cairn::crypto {

Hash sha256(ByteView bytes) {
  Hash out;
  CryptoPP::SHA256 hash;
  hash.Update(bytes.data(), bytes.size());
  hash.Final(out.bytes.data());
  return out;
}

Hash sha256(std::initializer_list<ByteView> parts) {
  Hash out;
  CryptoPP::SHA256 hash;
  for (const ByteView part : parts) hash.Update(part.data(), part.size());
  hash.Final(out.bytes.data());
  return out;
}

Hash hmac_sha256(ByteView key, std::initializer_list<ByteView> parts) {
  Hash out;
  const uint8_t none = 0;  // Crypto++ wants a pointer even to an empty key
  CryptoPP::HMAC<CryptoPP::SHA256> mac(key.empty() ? &none : key.data(), key.size());
  for (const ByteView part : parts) mac.Update(part.data(), part.size());
  mac.Final(out.bytes.data());
  return out;
}

Key hkdf_sha256(ByteView input_key, std::initializer_list<ByteView> info) {
  // RFC 5869 with no salt (32 zeros) and L = 32, so that one block is all of the expansion.
  constexpr Key kNoSalt{};
  const Hash prk = hmac_sha256(kNoSalt, {input_key});
  constexpr uint8_t kFirstBlock = 1;
  Key out;
  CryptoPP::HMAC<CryptoPP::SHA256> mac(prk.bytes.data(), prk.bytes.size());
  for (const ByteView part : info) mac.Update(part.data(), part.size());
  mac.Update(&kFirstBlock, 1);
  mac.Final(out.data());
  return out;
}

bool constant_time_equal(ByteView a, ByteView b) {
  return a.size() == b.size() && (a.empty() || CryptoPP::VerifyBufsEqual(a.data(), b.data(), a.size()));
}

}  // namespace cairn::crypto
