#include "os/raw_tls.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <ctime>

namespace cairn::os {

namespace {

EVP_PKEY* ed25519(const crypto::Key& seed) {
  return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size());
}

void set_name(X509_NAME* name, const char* text) {
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(text), -1, -1, 0);
}

X509* craft(const CertificateForm& form, EVP_PKEY* key) {
  X509* made = X509_new();
  X509_set_version(made, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made), 7);
  const time_t now = std::time(nullptr);
  ASN1_TIME_set(X509_getm_notBefore(made), now + form.begins);
  ASN1_TIME_set(X509_getm_notAfter(made), now + form.ends);
  set_name(X509_get_subject_name(made), "cairn");
  set_name(X509_get_issuer_name(made), form.other_issuer ? "somebody" : "cairn");
  X509_set_pubkey(made, key);
  if (form.basic_constraints) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "CA:TRUE");
    X509_add_ext(made, extension, -1);
    X509_EXTENSION_free(extension);
  }
  EVP_PKEY* signer = form.signed_by ? ed25519(*form.signed_by) : key;
  X509_sign(made, signer, form.elliptic && !form.signed_by ? EVP_sha256() : nullptr);
  if (form.signed_by) EVP_PKEY_free(signer);
  return made;
}

void set_timeout(int descriptor) {
  const timeval limit{.tv_sec = 20, .tv_usec = 0};
  ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  const int on = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace

RawTls::RawTls(bool server, Shows shows, const CertificateForm& form, int newest_version)
    : context_(SSL_CTX_new(TLS_method())) {
  std::signal(SIGPIPE, SIG_IGN);
  SSL_CTX_set_max_proto_version(context_, newest_version);
  SSL_CTX_set_verify(context_, SSL_VERIFY_NONE, nullptr);
  if (shows == Shows::certificate) {
    EVP_PKEY* key = form.elliptic ? EVP_EC_gen("P-256") : ed25519(form.seed);
    X509* certificate = craft(form, key);
    SSL_CTX_use_certificate(context_, certificate);
    SSL_CTX_use_PrivateKey(context_, key);
    if (form.with_second) {
      CertificateForm second;
      second.seed.fill(0x77);
      EVP_PKEY* other = ed25519(second.seed);
      SSL_CTX_add_extra_chain_cert(context_, craft(second, other));  // takes it over
      EVP_PKEY_free(other);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  ssl_ = SSL_new(context_);
  server ? SSL_set_accept_state(ssl_) : SSL_set_connect_state(ssl_);
}

RawTls::~RawTls() {
  SSL_free(ssl_);
  SSL_CTX_free(context_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

void RawTls::refuse_peers() {
  SSL_set_verify(ssl_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, [](int, X509_STORE_CTX*) { return 0; });
}

bool RawTls::dial(const env::Address& address, bool small_buffer) {
  const int connected = dial_tcp(address, small_buffer);
  if (connected < 0) return false;
  take(connected);
  return true;
}

void RawTls::take(int descriptor) {
  descriptor_ = descriptor;
  set_timeout(descriptor);
  SSL_set_fd(ssl_, descriptor);
}

void RawTls::note_reason() {
  reason_ = ERR_GET_REASON(ERR_peek_error());
  ERR_clear_error();
}

bool RawTls::handshake() {
  ERR_clear_error();
  const bool good = SSL_do_handshake(ssl_) == 1;
  if (!good) note_reason();
  return good;
}

bool RawTls::send(ByteView bytes) {
  ERR_clear_error();
  const bool good = SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())) == static_cast<int>(bytes.size());
  if (!good) note_reason();
  return good;
}

Bytes RawTls::receive(size_t limit) {
  ERR_clear_error();
  Bytes bytes(limit);
  const int got = SSL_read(ssl_, bytes.data(), static_cast<int>(limit));
  if (got <= 0) note_reason();
  bytes.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return bytes;
}

bool RawTls::request_key_update() {
  return SSL_key_update(ssl_, SSL_KEY_UPDATE_REQUESTED) == 1;
}

bool RawTls::got_ticket() const {
  return SSL_SESSION_has_ticket(SSL_get0_session(ssl_)) == 1;
}

void RawTls::break_off() {
  ::shutdown(descriptor_, SHUT_RDWR);
}

int dial_tcp(const env::Address& address, bool small_buffer) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(address.port);
  ::inet_pton(AF_INET, address.host.c_str(), &to.sin_addr);
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -1;
  set_timeout(descriptor);
  const int small = 4096;
  if (small_buffer) ::setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return descriptor;
  ::close(descriptor);
  return -1;
}

RawListener::RawListener() : descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  ::bind(descriptor, reinterpret_cast<const sockaddr*>(&at), sizeof at);
  ::listen(descriptor, 16);
  ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&at), &length);
  set_timeout(descriptor);
  address = {"127.0.0.1", ntohs(at.sin_port)};
}

RawListener::~RawListener() {
  ::close(descriptor);
}

int RawListener::accept() const {
  return ::accept4(descriptor, nullptr, nullptr, SOCK_CLOEXEC);
}

}  // namespace cairn::os
