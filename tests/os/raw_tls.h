#pragma once
// A client or server made directly with OpenSSL and blocking sockets, that can do what the production code never does.
// Its calls block: make them from a worker, and give up by themselves after 20 s.

#include <openssl/ssl.h>

#include <memory>

#include "crypto/hash.h"
#include "env/network.h"

namespace cairn::os {

// What a certificate is made of; the defaults make one that is accepted.
struct CertificateForm {
  crypto::Key seed{};                    // of the Ed25519 key
  std::optional<crypto::Key> signed_by;  // none: by itself
  int64_t begins = -3600, ends = 3600;   // seconds from now
  bool basic_constraints = false;        // an extension
  bool elliptic = false;                 // a P-256 key instead
  bool other_issuer = false;
  bool with_second = false;  // shows another certificate beside it
};

class RawTls {
 public:
  enum class Shows { nothing, certificate };
  RawTls(bool server, Shows shows, const CertificateForm& form = {}, int newest_version = TLS1_3_VERSION);
  ~RawTls();
  RawTls(const RawTls&) = delete;
  RawTls& operator=(const RawTls&) = delete;

  // TCP only; with a small receive buffer what it does not read soon fills the other side's.
  bool dial(const env::Address& address, bool small_buffer = false);
  // Whatever certificate the other side shows, it is refused.
  void refuse_peers();
  // Takes the descriptor of a connection over.
  void take(int descriptor);
  bool handshake();
  bool send(ByteView bytes);
  // At most `limit` bytes; empty at the end or on an error. After an error reason() tells it.
  Bytes receive(size_t limit);
  bool request_key_update();
  bool got_ticket() const;
  // Ends TCP without TLS's goodbye.
  void break_off();
  // The reason in OpenSSL's last error here, such as SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED; 0 for none.
  int reason() const { return reason_; }
  int descriptor() const { return descriptor_; }

 private:
  void note_reason();
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
  int descriptor_ = -1;
  int reason_ = 0;
};

// A TCP socket that is connected to the address and says nothing; -1 when that fails.
int dial_tcp(const env::Address& address, bool small_buffer = false);
// A TCP socket that listens on a free port of 127.0.0.1.
struct RawListener {
  RawListener();
  ~RawListener();
  RawListener(const RawListener&) = delete;
  RawListener& operator=(const RawListener&) = delete;
  int accept() const;
  int descriptor = -1;
  env::Address address;
};

}  // namespace cairn::os
