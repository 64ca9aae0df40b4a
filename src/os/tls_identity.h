#pragma once
// TlsIdentity: who this node is on the wire, and who is accepted there.
//
// TLS 1.3 only, mutual. Each side shows exactly one certificate, made by itself with its device key:
//   X.509 v3, Ed25519 key, signed by that same key, issuer = subject = "CN=cairn", no extensions,
//   not before: 1 day before it was made, not after: 30 days after.
// Whatever is of another form is refused, and so are further certificates beside it. A certificate says nothing but
// which key its owner holds: NodeID = SHA-256 of the key's SubjectPublicKeyInfo. Tickets, the session cache, early data
// and renegotiation are off: a resumed session would skip these checks.

#include <openssl/types.h>

#include <memory>
#include <optional>

#include "base/ids.h"
#include "crypto/hash.h"
#include "env/executor.h"

namespace cairn::os {

struct SslFree {
  void operator()(SSL* ssl) const;
};
using SslPtr = std::unique_ptr<SSL, SslFree>;

// Strand only. The clock outlives it; it outlives its handshakes.
class TlsIdentity {
 public:
  TlsIdentity(const env::Clock& clock, const crypto::Key& device_seed);
  ~TlsIdentity();
  TlsIdentity(const TlsIdentity&) = delete;
  TlsIdentity& operator=(const TlsIdentity&) = delete;

  NodeId node() const { return node_; }

  // What a handshake learned. Must stay in place for as long as the SSL that was made with it.
  struct Peer {
    std::optional<NodeId> expected;  // in: the only node to accept
    NodeId node{};                   // out
    Bytes public_key;                // out: SubjectPublicKeyInfo, DER
    std::string refusal;             // out: why the certificate was refused
  };
  enum class Role { client, server };
  // A session without its transport yet.
  SslPtr make_session(Role role, Peer& peer);

 private:
  struct Context;
  void renew_when_due();
  const env::Clock& clock_;
  NodeId node_{};
  WallTime made_ = 0;
  std::unique_ptr<Context> context_;
};

// A certificate as described above for this key, in DER; not_before and not_after in seconds since 1970. For tests,
// which need expired ones, as well.
Bytes make_certificate(const crypto::Key& device_seed, int64_t not_before, int64_t not_after);

// NodeID of the key with this seed.
NodeId node_id_of(const crypto::Key& device_seed);

}  // namespace cairn::os
