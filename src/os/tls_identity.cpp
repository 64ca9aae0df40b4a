#include "os/tls_identity.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "os/limits.h"

namespace cairn::os {

namespace {

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, Freer<X509_free>>;

KeyPtr load_key(const crypto::Key& seed) {
  KeyPtr key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
  CAIRN_ASSERT(key);
  return key;
}

Bytes public_key_of(EVP_PKEY* key) {
  uint8_t* der = nullptr;
  const int length = i2d_PUBKEY(key, &der);
  CAIRN_ASSERT(length > 0);
  Bytes bytes(der, der + length);
  OPENSSL_free(der);
  return bytes;
}

CertificatePtr build_certificate(EVP_PKEY* key, int64_t not_before, int64_t not_after) {
  CertificatePtr made(X509_new());
  uint8_t raw_serial[16];
  CAIRN_ASSERT(RAND_bytes(raw_serial, sizeof raw_serial) == 1);
  raw_serial[0] = static_cast<uint8_t>((raw_serial[0] & 0x7F) | 0x40);  // positive, and of full length
  const std::unique_ptr<BIGNUM, Freer<BN_free>> serial(BN_bin2bn(raw_serial, sizeof raw_serial, nullptr));
  bool good = X509_set_version(made.get(), X509_VERSION_3) == 1;
  good = good && BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(made.get())) != nullptr;
  good = good && ASN1_TIME_set(X509_getm_notBefore(made.get()), not_before) != nullptr;
  good = good && ASN1_TIME_set(X509_getm_notAfter(made.get()), not_after) != nullptr;
  X509_NAME* name = X509_get_subject_name(made.get());
  good = good && X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("cairn"),
                                            -1, -1, 0) == 1;
  good = good && X509_set_issuer_name(made.get(), name) == 1;
  good = good && X509_set_pubkey(made.get(), key) == 1;
  good = good && X509_sign(made.get(), key, nullptr) > 0;
  CAIRN_ASSERT(good);
  return made;
}

// Why this certificate is not one of ours; null when it is.
const char* flaw_of(X509* certificate, const STACK_OF(X509) * shown, int64_t now) {
  if (certificate == nullptr || shown == nullptr || sk_X509_num(shown) != 1) return "not exactly one certificate";
  if (X509_get_version(certificate) != X509_VERSION_3) return "not a version 3 certificate";
  EVP_PKEY* key = X509_get0_pubkey(certificate);
  if (key == nullptr || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) return "not an Ed25519 key";
  if (X509_get_signature_nid(certificate) != NID_ED25519) return "not an Ed25519 signature";
  if (X509_get_ext_count(certificate) != 0) return "unexpected certificate extensions";
  if (X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) != 0 ||
      X509_verify(certificate, key) != 1) {
    return "not self-signed";
  }
  time_t seconds = now;
  // X509_cmp_time: 0 is an error, negative when the certificate's time is not after `seconds`.
  if (X509_cmp_time(X509_get0_notBefore(certificate), &seconds) >= 0) return "certificate not yet valid";
  if (X509_cmp_time(X509_get0_notAfter(certificate), &seconds) <= 0) return "certificate expired";
  return nullptr;
}

int64_t seconds_of(WallTime time) {
  return time / 1'000'000'000;
}

}  // namespace

void SslFree::operator()(SSL* ssl) const {
  SSL_free(ssl);
}

struct TlsIdentity::Context {
  std::unique_ptr<SSL_CTX, Freer<SSL_CTX_free>> ssl;
  KeyPtr key;
  const env::Clock* clock = nullptr;

  // Takes the place of OpenSSL's chain building, which fires its callback twice for a self-signed certificate.
  static int verify(X509_STORE_CTX* store, void* argument) {
    const auto* self = static_cast<Context*>(argument);
    auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    auto* peer = static_cast<Peer*>(SSL_get_app_data(ssl));
    X509* certificate = X509_STORE_CTX_get0_cert(store);
    const auto refuse = [&](const char* why, int code) {
      peer->refusal = why;
      X509_STORE_CTX_set_error(store, code);
      ERR_clear_error();
      return 0;
    };
    if (const char* flaw =
            flaw_of(certificate, X509_STORE_CTX_get0_untrusted(store), seconds_of(self->clock->wall_now()))) {
      return refuse(flaw, X509_V_ERR_CERT_REJECTED);
    }
    peer->public_key = public_key_of(X509_get0_pubkey(certificate));
    peer->node = id_cast<NodeId>(crypto::sha256(ByteView(peer->public_key)));
    if (peer->expected && *peer->expected != peer->node) return refuse("another node", X509_V_ERR_CERT_REJECTED);
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
  }
};

TlsIdentity::TlsIdentity(const env::Clock& clock, const crypto::Key& device_seed)
    : clock_(clock), context_(std::make_unique<Context>()) {
  context_->clock = &clock;
  context_->key = load_key(device_seed);
  node_ = id_cast<NodeId>(crypto::sha256(ByteView(public_key_of(context_->key.get()))));
  context_->ssl.reset(SSL_CTX_new(TLS_method()));
  SSL_CTX* ssl = context_->ssl.get();
  CAIRN_ASSERT(ssl != nullptr);
  bool good = SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) == 1;
  good = good && SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) == 1;
  // AES-128 first: it is the fastest here, and what travels inside is sealed with AES-256 already.
  good = good && SSL_CTX_set_ciphersuites(
                     ssl, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") == 1;
  good = good && SSL_CTX_set1_groups_list(ssl, "X25519") == 1;
  good = good && SSL_CTX_set1_sigalgs_list(ssl, "ed25519") == 1;
  good = good && SSL_CTX_set_num_tickets(ssl, 0) == 1;
  CAIRN_ASSERT(good);
  SSL_CTX_set_options(
      ssl, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_early_data(ssl, 0);
  SSL_CTX_set_max_cert_list(ssl, kMaxCertificateMessage);
  SSL_CTX_set_mode(ssl, SSL_MODE_AUTO_RETRY | SSL_MODE_RELEASE_BUFFERS);  // an idle session keeps no record buffers
  SSL_CTX_set_read_ahead(ssl, 1);
  SSL_CTX_set_default_read_buffer_len(ssl, kReceiveBatch);
  SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(ssl, &Context::verify, context_.get());
  renew_when_due();
}

TlsIdentity::~TlsIdentity() = default;

void TlsIdentity::renew_when_due() {
  const WallTime now = clock_.wall_now();
  // Also when the clock was set back behind the time of making.
  if (made_ != 0 && now >= made_ && now - made_ < kCertificateRenewal.count()) return;
  const CertificatePtr certificate =
      build_certificate(context_->key.get(), seconds_of(now - kCertificateBackdate.count()),
                        seconds_of(now + kCertificateLifetime.count()));
  CAIRN_ASSERT(SSL_CTX_use_certificate(context_->ssl.get(), certificate.get()) == 1);
  CAIRN_ASSERT(SSL_CTX_use_PrivateKey(context_->ssl.get(), context_->key.get()) == 1);
  made_ = now;
}

SslPtr TlsIdentity::make_session(Role role, Peer& peer) {
  renew_when_due();
  SslPtr ssl(SSL_new(context_->ssl.get()));
  CAIRN_ASSERT(ssl);
  SSL_set_app_data(ssl.get(), &peer);
  if (role == Role::server) {
    SSL_set_accept_state(ssl.get());
  } else {
    SSL_set_connect_state(ssl.get());
  }
  return ssl;
}

Bytes make_certificate(const crypto::Key& device_seed, int64_t not_before, int64_t not_after) {
  const KeyPtr key = load_key(device_seed);
  const CertificatePtr made = build_certificate(key.get(), not_before, not_after);
  uint8_t* der = nullptr;
  const int length = i2d_X509(made.get(), &der);
  CAIRN_ASSERT(length > 0);
  Bytes bytes(der, der + length);
  OPENSSL_free(der);
  return bytes;
}

NodeId node_id_of(const crypto::Key& device_seed) {
  return id_cast<NodeId>(crypto::sha256(ByteView(public_key_of(load_key(device_seed).get()))));
}

}  // namespace cairn::os
