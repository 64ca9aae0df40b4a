#pragma once
// TlsNetwork: env::Network over TCP and TLS 1.3; whom it admits is described in os/tls_identity.h.
//
// The loop outlives it, and so does the log. It ends all its streams when it is destroyed; do that on the strand or
// when the loop does not run. Without an identity (set_identity) it neither listens nor connects: Code::denied.

#include <memory>

#include "base/log.h"
#include "crypto/hash.h"
#include "env/network.h"
#include "os/event_loop.h"
#include "os/limits.h"

namespace cairn::os {

// Tests make them smaller.
struct HandshakeLimits {
  size_t at_once = kMaxHandshakes;
  Duration timeout = kHandshakeTimeout;
  Duration fair_time = kHandshakeFairTime;
};

class TlsNetwork final : public env::Network {
 public:
  TlsNetwork(EventLoop& loop, Log& log, HandshakeLimits limits = {});
  ~TlsNetwork() override;
  TlsNetwork(const TlsNetwork&) = delete;
  TlsNetwork& operator=(const TlsNetwork&) = delete;

  // The device key that speaks for this node. Once, before the first listen() or connect().
  void set_identity(const crypto::Key& device_seed);
  bool has_identity() const;

  // Numeric addresses and "localhost" only. Code::io when the port is taken.
  Result<std::unique_ptr<env::Listener>> listen(
      const env::Address& address, std::move_only_function<void(std::unique_ptr<env::Stream>)> on_stream) override;
  // Tries the addresses of a name one after the other, each with its share of the time. A server's refusal of our own
  // certificate comes, in TLS 1.3, after the client's end of the handshake: it shows as Code::denied of the first read.
  env::Task<Result<std::unique_ptr<env::Stream>>> connect(env::Address address, std::optional<NodeId> expected,
                                                          Time deadline) override;

  // Incoming handshakes under way.
  size_t handshakes() const;
  // Large reads and writes that were left to other threads so far, because several streams moved much at once.
  uint64_t helped() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace cairn::os
