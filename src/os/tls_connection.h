#pragma once
// TlsConnection: one TCP socket with TLS on it; what a Stream of this room is made of. Internal to the room.
//
// Raw OpenSSL over the socket: it reads ahead, so the kernel is asked for up to kReceiveBatch bytes of ciphertext at a
// time, straight into OpenSSL's own buffer; what it writes is gathered, and the kernel given up to kSendBatch. Buffers
// exist only while something is in them, so an idle stream costs its SSL object and little more.
//
// One stream's cipher runs on the strand. As soon as several move much at the same time it would be the strand that all
// of them wait for; then helpers, threads of the network's own, decrypt, encrypt and make the system calls for large
// reads and writes. A connection is with one thread at a time: while a helper has it (helped_), the strand leaves alone
// its SSL object and its buffers, nor closes its descriptor, and what ends the connection takes effect when it is given
// back.

#include <openssl/ssl.h>

#include <list>
#include <thread>

#include "env/network.h"
#include "os/asio.h"
#include "os/event_loop.h"
#include "os/limits.h"
#include "os/tls_identity.h"
#include "os/workers.h"

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
  // All connections are closed, those that are with a helper as soon as they come back. No new ones afterwards.
  void shut_down();
  // Notes that this connection moves much now; whether another one does so too, and helpers are of use.
  bool moves_beside_another(const TlsConnection* connection);
  env::Workers& helpers();

  EventLoop& loop;
  std::vector<BufferPtr> spare;
  std::set<TlsConnection*> connections;  // all that live
  struct Lingering {
    Time until;
    std::shared_ptr<TlsConnection> connection;
  };
  std::list<Lingering> lingering;
  env::TimerId linger_timer = 0;
  bool ended = false;
  struct Mover {
    const TlsConnection* connection = nullptr;  // may be gone: only compared
    Time at;
  };
  Mover mover, other_mover;  // the latest two
  const unsigned cores = std::thread::hardware_concurrency();
  std::optional<WorkerPool> helper_pool;  // made when first wanted
  uint64_t helped = 0;                    // what helpers were given
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
  // Ends everything at once, or as soon as a helper gives it back; what waits, and all that comes, fails with this
  // error.
  void fail_with(Error error);

  // The network ends: nothing is said any more.
  void end_now();

  const TlsIdentity::Peer& peer() const { return peer_; }
  env::Address remote() const;
  uint64_t unconfirmed() const;  // bytes in the kernel's hands that the other machine has not confirmed

 private:
  friend struct NetworkShared;
  struct Bio;
  enum Direction { kRead, kWrite };
  struct Ready;  // awaits a direction's readiness, or failure
  struct Turn;   // lets others have theirs
  struct Help;   // the connection is with a helper
  struct Outgoing;

  Ready ready(Direction direction);
  void watch(Direction direction);
  void on_ready(Direction direction);
  void wake(Direction direction);
  bool spend_turn(size_t bytes);

  void set_low_water(size_t bytes);
  void learn_low_water(Duration waited);
  void after_help();
  void say_goodbye();

  // On the strand or by a helper; what goes wrong is left in trouble_.
  size_t receive(MutableByteView into);  // 0: nothing there now, the end (input_over_), or an error (receive_error_)
  size_t decrypt(MutableByteView into);
  bool encrypt(ByteView plain);
  bool flush();                        // gives output to the kernel, as much as it takes; false: trouble
  bool send_some(Outgoing& outgoing);  // as much as the kernel takes; false: trouble
  void note_ssl_error(int returned, bool in_handshake);

  void settle();  // makes of trouble a failure
  size_t decrypt_here(MutableByteView into);
  static env::Task<size_t> decrypt_there(Ptr self, MutableByteView into);
  size_t take_unread(MutableByteView into);
  bool much_has_arrived() const;
  void flush_answers();
  void linger_step();
  void close_socket();

  std::shared_ptr<NetworkShared> shared_;
  asio::ip::tcp::socket socket_;
  int descriptor_ = -1;  // the socket's, while it is open
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
  std::optional<Error> trouble_;  // why the connection fails when this is settled
  bool helped_ = false;
  bool closed_here_ = false;
  std::optional<Error> doomed_;  // why it fails when it comes back from its helper
  Bytes unread_;                 // what a helper decrypted for a read that was given up
  env::Signal free_;             // it has come back
  struct Wait {
    bool watched = false;  // Asio has a handler for it
    std::coroutine_handle<> waiter;
  };
  Wait waits_[2];
};

}  // namespace cairn::os
