#include "crypto/aead.h"

#include <cryptopp/aes.h>
#include <cryptopp/gcm.h>

namespace cairn::crypto {

void aead_seal(const Key& key, const Nonce& nonce, ByteView aad, ByteView plain, MutableByteView out) {
  CAIRN_ASSERT(out.size() == plain.size() + kTagSize);
  CryptoPP::GCM<CryptoPP::AES>::Encryption cipher;
  cipher.SetKeyWithIV(key.data(), key.size(), nonce.data(), nonce.size());
  cipher.Update(aad.data(), aad.size());
  cipher.ProcessData(out.data(), plain.data(), plain.size());
  cipher.TruncatedFinal(out.data() + plain.size(), kTagSize);
}

Status aead_open(const Key& key, const Nonce& nonce, ByteView aad, ByteView sealed, MutableByteView out) {
  if (sealed.size() < kTagSize) {
    std::ranges::fill(out, uint8_t{0});
    return fail(Code::corrupt, "sealed bytes are shorter than their tag");
  }
  CAIRN_ASSERT(out.size() == sealed.size() - kTagSize);
  CryptoPP::GCM<CryptoPP::AES>::Decryption cipher;
  cipher.SetKeyWithIV(key.data(), key.size(), nonce.data(), nonce.size());
  cipher.Update(aad.data(), aad.size());
  cipher.ProcessData(out.data(), sealed.data(), out.size());
  // Our own comparison with a whole tag: DecryptAndVerify takes tags of any length, even none.
  std::array<uint8_t, kTagSize> tag;
  cipher.TruncatedFinal(tag.data(), tag.size());
  if (!constant_time_equal(tag, sealed.last(kTagSize))) {
    std::ranges::fill(out, uint8_t{0});
    return fail(Code::corrupt, "authentication tag mismatch");
  }
  return {};
}

}  // namespace cairn::crypto
