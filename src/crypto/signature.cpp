#include "crypto/signature.h"

#include <openssl/evp.h>

#include <mutex>

namespace cairn::crypto {

namespace {

// RFC 8410: SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING { 32 bytes } }. DER has one form only, so an Ed25519
// key is this prefix and its raw bytes.
constexpr std::array<uint8_t, 12> kSpkiPrefix = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                                 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
constexpr size_t kRawKeySize = 32;
static_assert(kSpkiPrefix.size() + kRawKeySize == kPublicKeySize);

struct FreePkey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_MD_CTX, FreeContext>;

// Ed25519 hashes the message twice, so OpenSSL wants it in one piece.
Bytes join(std::string_view domain, ByteView message) {
  Bytes joined;
  joined.reserve(domain.size() + message.size());
  append(joined, as_bytes(domain));
  append(joined, message);
  return joined;
}

// Signatures that were found right a short while ago: the same certificate comes with every claim and statement of its
// device, and checking it costs fifty times what this costs. Whether a signature is right depends on these bytes alone,
// and is looked up by their SHA-256. Wrong ones are not kept. Direct-mapped: the table cannot be filled by others, only
// made useless.
class RightOnes {
 public:
  bool contains(const Hash& hash) {
    const std::scoped_lock lock(mutex_);
    return slot(hash) == hash;
  }
  void add(const Hash& hash) {
    const std::scoped_lock lock(mutex_);
    slot(hash) = hash;
  }

 private:
  static constexpr size_t kEntries = 16384;  // 512 KiB
  Hash& slot(const Hash& hash) {
    if (table_.empty()) table_.resize(kEntries);
    return table_[read_le<uint32_t>(hash.bytes.data()) % kEntries];
  }
  std::mutex mutex_;
  std::vector<Hash> table_;
};

}  // namespace

PrivateKey PrivateKey::from_seed(const Key& seed) {
  PrivateKey key;
  key.seed_ = seed;
  EVP_PKEY* handle = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size());
  CAIRN_ASSERT(handle != nullptr);
  key.handle_ = std::shared_ptr<void>(handle, [](void* p) { EVP_PKEY_free(static_cast<EVP_PKEY*>(p)); });
  key.public_key_.assign(kSpkiPrefix.begin(), kSpkiPrefix.end());
  key.public_key_.resize(kPublicKeySize);
  size_t length = kRawKeySize;
  CAIRN_ASSERT(EVP_PKEY_get_raw_public_key(handle, key.public_key_.data() + kSpkiPrefix.size(), &length) == 1);
  CAIRN_ASSERT(length == kRawKeySize);
  return key;
}

Signature PrivateKey::sign(std::string_view domain, ByteView message) const {
  const Bytes joined = join(domain, message);
  const Context context(EVP_MD_CTX_new());
  CAIRN_ASSERT(context != nullptr);
  auto* handle = static_cast<EVP_PKEY*>(handle_.get());
  CAIRN_ASSERT(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, handle) == 1);
  Signature signature;
  size_t length = signature.size();
  CAIRN_ASSERT(EVP_DigestSign(context.get(), signature.data(), &length, joined.data(), joined.size()) == 1);
  CAIRN_ASSERT(length == signature.size());
  return signature;
}

bool verify(ByteView public_key, std::string_view domain, ByteView message, ByteView signature) {
  if (public_key.size() != kPublicKeySize || signature.size() != std::tuple_size_v<Signature>) return false;
  if (!equal(public_key.first(kSpkiPrefix.size()), kSpkiPrefix)) return false;
  static RightOnes right_ones;
  // Key and signature have one length, and domain || message is what is signed.
  const Hash name = sha256({public_key, signature, as_bytes(domain), message});
  if (right_ones.contains(name)) return true;
  const ByteView raw = public_key.subspan(kSpkiPrefix.size());
  const std::unique_ptr<EVP_PKEY, FreePkey> key(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw.data(), raw.size()));
  const Context context(EVP_MD_CTX_new());
  if (key == nullptr || context == nullptr) return false;
  if (EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1) return false;
  const Bytes joined = join(domain, message);
  const bool right =
      EVP_DigestVerify(context.get(), signature.data(), signature.size(), joined.data(), joined.size()) == 1;
  if (right) right_ones.add(name);
  return right;
}

}  // namespace cairn::crypto
