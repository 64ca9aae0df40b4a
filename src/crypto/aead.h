#pragma once
// AES-256-GCM (NIST SP 800-38D) with 96-bit nonces and tags of exactly 16 bytes.

#include "base/bytes.h"
#include "crypto/hash.h"

namespace cairn::crypto {

inline constexpr size_t kNonceSize = 12;
inline constexpr size_t kTagSize = 16;
using Nonce = std::array<uint8_t, kNonceSize>;

// out: plain.size() + kTagSize bytes, ciphertext then tag; may be the plaintext's own place. Never the same nonce
// twice under one key.
void aead_seal(const Key& key, const Nonce& nonce, ByteView aad, ByteView plain, MutableByteView out);

// out: sealed.size() - kTagSize bytes. Code::corrupt when the tag does not fit; out is then zeroed.
Status aead_open(const Key& key, const Nonce& nonce, ByteView aad, ByteView sealed, MutableByteView out);

}  // namespace cairn::crypto
