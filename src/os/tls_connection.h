#pragma once
// TlsConnection: one TCP socket with TLS on it; what a Stream of this room is made of. Internal to the room.
//
// Raw OpenSSL over the socket: it reads ahead, so the kernel is asked for up to kReceiveBatch bytes of ciphertext at a
// time, straight into OpenSSL's own buffer; what it writes is gathered, and the kernel given up to kSendBatch. Buffers
// exist only while something is in them, so an idle stream costs its SSL object and little more.

#include <openssl/ssl.h>

#include <list>

#include "env/network.h"
#include "os/asio.h"
#include "os/event_loop.h"
#include "os/limits.h"
#include "os/tls_identity.h"

namespace cairn::os {

class TlsConnection;

// What all connections of one network share. Strand only.
struct NetworkShared {
  NetworkShared(EventLoop& l) : loop(l) {}
  ~NetworkShared() = default;

  using BufferPtr = std::unique_ptr<uint8_t[]>;
  // With room for the protocol's own answers beyond a batch.
  static constexpr size_t kBufferSize = kSendBatch + kMaxUnsentAnswers;
  BufferPtr take_buffer();
  void give_buffer(BufferPtr buffer);

  // Ends the connections whose time to linger is over, oldest first; then sets the timer for the next.
  void sweep_lingering();
  void linger(std::shared_ptr<TlsConnection> connection);
  // Nothing runs afterwards: all connections are closed.
  void shut_down();

  EventLoop& loop;
  std::vector<BufferPtr> spare;
  std::set<TlsConnection*> connections;  // all that live
  struct Lingering {
    Time until;
    std::shared_ptr<TlsConnection> connection;
  };
  std::list<Lingering> lingering;
  env::TimerId linger_timer = 0;
};

class TlsConnection : public std::enable_shared_from_this<TlsConnection> {
 public:
  using Ptr = std::shared_ptr<TlsConnection>;

  explicit TlsConnection(std::shared_ptr<NetworkShared> shared);
  ~TlsConnection();
  TlsConnection(const TlsConnection&) = delete;
  TlsConnection& operator=(const TlsConnection&) = delete;

  // Takes over a connected, non-blocking descriptor.
  Status adopt(int descriptor, const asio::ip::tcp::endpoint& remote);
  static env::Task<Status> connect_tcp(Ptr self, asio::ip::tcp::endpoint remote);
  // Code::denied when a certificate was refused by either side (in TLS 1.3 the server's refusal may only come with the
  // client's first read), else Code::unreachable. `identity` outlives the connection's handshake.
  static env::Task<Status> handshake(Ptr self, TlsIdentity& identity, TlsIdentity::Role role,
                                     std::optional<NodeId> expected);

  static env::Task<Result<size_t>> read_some(Ptr self, MutableByteView into, size_t wanted);
  static env::Task<Status> write(Ptr self, std::vector<ByteView> parts);

  // Says goodbye and leaves the socket to linger.
  void close();
  // Ends everything at once; what waits, and all that comes, fails with this error.
  void fail_with(Error error);

  const TlsIdentity::Peer& peer() const { return peer_; }
  env::Address remote() const;
  uint64_t unconfirmed() const;  // bytes in the kernel's hands that the other machine has not confirmed
  bool failed() const { return failure_.has_value(); }

 private:
  friend struct NetworkShared;
  struct Bio;
  enum Direction { kRead, kWrite };
  struct Ready;  // awaits a direction's readiness, or failure
  struct Turn;   // lets others have theirs

  Ready ready(Direction direction);
  void watch(Direction direction);
  void on_ready(Direction direction);
  void wake(Direction direction);
  bool spend_turn(size_t bytes);

  void set_low_water(size_t bytes);
  void learn_low_water(Duration waited);
  size_t receive(MutableByteView into);  // 0: nothing there now, the end (input_over_), or an error (receive_error_)
  size_t decrypt(MutableByteView into);
  bool encrypt(ByteView plain);
  // Gives output to the kernel; false when the connection has failed.
  bool flush();
  void flush_answers();
  void note_ssl_error(int returned, bool in_handshake);
  void linger_step();
  void close_socket();

  std::shared_ptr<NetworkShared> shared_;
  asio::ip::tcp::socket socket_;
  asio::ip::tcp::endpoint remote_;
  TlsIdentity::Peer peer_;
  SslPtr ssl_;

  NetworkShared::BufferPtr output_;
  size_t output_begin_ = 0, output_end_ = 0;
  bool input_over_ = false;  // the peer sends no more
  bool established_ = false;
  bool clean_end_ = false;  // close_notify has arrived
  bool writing_ = false;
  int receive_error_ = 0;  // errno
  size_t low_water_ = 1;   // SO_RCVLOWAT
  size_t low_water_goal_ = kRecordSize;
  std::optional<std::list<NetworkShared::Lingering>::iterator> linger_place_;
  bool write_shut_ = false;
  uint64_t lingered_ = 0;
  size_t turn_bytes_ = 0;
  int turn_calls_ = 0;
  std::optional<Error> failure_;
  struct Wait {
    bool watched = false;  // Asio has a handler for it
    std::coroutine_handle<> waiter;
  };
  Wait waits_[2];
};

}  // namespace cairn::os
