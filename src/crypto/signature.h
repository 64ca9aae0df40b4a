#pragma once
// Ed25519 (RFC 8032) through OpenSSL: Crypto++ 8.7 accepts malleated signatures.

#include <memory>

#include "base/bytes.h"
#include "base/ids.h"
#include "crypto/hash.h"

namespace cairn::crypto {

using Signature = std::array<uint8_t, 64>;

// Public keys are SubjectPublicKeyInfo in DER: 44 bytes. An identifier of a key's owner is the SHA-256 of these.
inline constexpr size_t kPublicKeySize = 44;

class PrivateKey {
 public:
  static PrivateKey from_seed(const Key& seed);
  const Key& seed() const { return seed_; }
  const Bytes& public_key() const { return public_key_; }
  // Over domain || message. Each use has a domain of its own ("cairn/v1/claim").
  Signature sign(std::string_view domain, ByteView message) const;

 private:
  PrivateKey() = default;
  Key seed_{};
  Bytes public_key_;
  std::shared_ptr<void> handle_;  // EVP_PKEY
};

// False for a wrong signature and for a malformed key alike.
bool verify(ByteView public_key, std::string_view domain, ByteView message, ByteView signature);

}  // namespace cairn::crypto
