#include "crypto/hash.h"

#include <cryptopp/hmac.h>
#include <cryptopp/misc.h>
#include <cryptopp/sha.h>

#include "crypto/side_by_side.h"

namespace cairn::crypto {

namespace {

// Crypto++ takes a block at a time, through a copy, from where bytes are not aligned to words. Behind a prefix of one
// byte (Merkle leaves, chunk IDs) all are, which costs a fifth of the speed: larger copies cost next to nothing.
template <class Function>
void update(Function& function, size_t& fed, ByteView bytes) {
  constexpr size_t kBlock = CryptoPP::SHA256::BLOCKSIZE;
  constexpr size_t kWorthIt = 1024;
  if (bytes.size() >= kWorthIt) {
    const size_t head = (kBlock - fed % kBlock) % kBlock;
    function.Update(bytes.data(), head);
    fed += head;
    bytes = bytes.subspan(head);
    if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(CryptoPP::word32) != 0) {
      alignas(64) std::array<uint8_t, 4096> copy;
      for (; bytes.size() >= copy.size(); bytes = bytes.subspan(copy.size()), fed += copy.size()) {
        std::memcpy(copy.data(), bytes.data(), copy.size());
        function.Update(copy.data(), copy.size());
      }
    }
  }
  function.Update(bytes.data(), bytes.size());
  fed += bytes.size();
}

}  // namespace

Hash sha256(ByteView bytes) {
  return sha256({bytes});
}

Hash sha256(std::initializer_list<ByteView> parts) {
  Hash out;
  CryptoPP::SHA256 hash;
  size_t fed = 0;
  for (const ByteView part : parts) update(hash, fed, part);
  hash.Final(out.bytes.data());
  return out;
}

void sha256_pieces(ByteView bytes, size_t piece, std::span<Hash> out) {
  CAIRN_ASSERT(piece > 0 && piece <= kMaxSideBySide && out.size() == (bytes.size() + piece - 1) / piece);
  const size_t whole = bytes.size() / piece;
  size_t done = whole >= 2 && sha256_side_by_side(bytes, piece, out.first(whole)) ? whole : 0;
  for (; done < out.size(); ++done) {
    const ByteView rest = bytes.subspan(done * piece);
    out[done] = sha256(rest.first(std::min(piece, rest.size())));
  }
}

Hash hmac_sha256(ByteView key, std::initializer_list<ByteView> parts) {
  Hash out;
  const uint8_t none = 0;  // Crypto++ wants a pointer even to an empty key
  CryptoPP::HMAC<CryptoPP::SHA256> mac(key.empty() ? &none : key.data(), key.size());
  size_t fed = 0;  // the key is a whole block
  for (const ByteView part : parts) update(mac, fed, part);
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
