#pragma once
// Network: byte streams that arrive authenticated with the peer's NodeID.
//
// Strand only. Who a peer is has been proven when a Stream exists; whether it is a member is `peer`'s question.

#include <memory>
#include <optional>
#include <string>

#include "base/ids.h"
#include "env/task.h"

namespace cairn::env {

// "host:port", "[::1]:7000"; port 0 asks a listener for any free one.
struct Address {
  std::string host;
  uint16_t port = 0;
  static Result<Address> parse(std::string_view text);
  std::string text() const;
  auto operator<=>(const Address&) const = default;
};

class Stream {
 public:
  virtual ~Stream() = default;
  virtual NodeId peer() const = 0;
  // The peer's public key as it proved it: SubjectPublicKeyInfo, DER; SHA-256 of it is peer().
  virtual Bytes peer_public_key() const = 0;
  virtual Address remote() const = 0;
  // At least 1 byte, at most into.size(); 0 at the clean end. One reader at a time. `into` outlives the read. One that
  // is destroyed while it waits loses nothing: the next read goes on. So many bytes are `wanted` before the caller can
  // go on: it may wait for more than 1 of them.
  virtual Task<Result<size_t>> read_some(MutableByteView into, size_t wanted = 1) = 0;
  // All parts, in order. One writer at a time. A write that is destroyed half-way closes the stream. The parts outlive
  // it.
  virtual Task<Status> write(std::vector<ByteView> parts) = 0;
  // Bytes that were written and that the peer's machine has not confirmed yet, as far as this one knows.
  virtual uint64_t unconfirmed() const = 0;
  // Pending and later reads and writes fail with Code::closed. Does not wait for the peer.
  virtual void close() = 0;
};

// Stops listening when destroyed.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual Address address() const = 0;  // with the real port
};

class Network {
 public:
  virtual ~Network() = default;
  // on_stream is called on the strand for each incoming stream whose handshake succeeded. At most
  // kMaxHandshakes (os/limits.h) handshakes are under way; each has 10 s.
  virtual Result<std::unique_ptr<Listener>> listen(
      const Address& address, std::move_only_function<void(std::unique_ptr<Stream>)> on_stream) = 0;
  // Errors: unreachable (no connection, or timed out before one), denied (the peer is not `expected`, or refused us).
  // Without `expected` the caller must find out by other means whom it speaks to.
  virtual Task<Result<std::unique_ptr<Stream>>> connect(Address address, std::optional<NodeId> expected,
                                                        Time deadline) = 0;
};

}  // namespace cairn::env
