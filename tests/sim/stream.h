#pragma once
// Streams between simulated nodes: two pipes of packets (network.h).

#include <deque>

#include "env/network.h"
#include "sim/network.h"

namespace cairn::sim {

struct Packet {
  enum class Kind { opened, data, end, reset } kind = Kind::data;
  Bytes bytes;
};

// One direction of a connection.
struct Pipe {
  Pipe(NodeIndex sender, NodeIndex receiver, env::Executor& sender_executor, env::Executor& receiver_executor)
      : from(sender), to(receiver), readable(receiver_executor), writable(sender_executor) {}
  NodeIndex from, to;
  env::Signal readable, writable;
  std::deque<Bytes> arrived;
  size_t front_used = 0;     // bytes of arrived.front() that were read
  uint64_t unread = 0;       // sent and not yet read: at most kWindow and one packet
  uint64_t held_credit = 0;  // read, but the way back to the sender is blocked
  std::deque<Packet> held;   // sent while the link was blocked
  Time last_arrival{};
  bool ended = false;  // the end has arrived
  bool reading = false, writing = false;
};

// What may be under way or unread before a writer waits, as a socket's buffers.
inline constexpr uint64_t kWindow = 512 * kKiB;
inline constexpr size_t kPacket = 64 * kKiB;

struct Connection : std::enable_shared_from_this<Connection> {
  struct End {
    NodeIndex node;
    NodeId id;
    Bytes public_key;
    env::Address address;
    bool closed = false;                                                                  // by its own owner
    bool broken = false;                                                                  // reset
    std::weak_ptr<std::move_only_function<void(std::unique_ptr<env::Stream>)>> listener;  // the accepting end's
  };
  Connection(SimNetwork& net, uint64_t number, End connecting, End accepting, env::Executor& a, env::Executor& b);
  ~Connection() { network.forget(*this); }

  void send(size_t side, Packet packet);    // from end `side`
  void arrive(size_t side, Packet packet);  // at end `side`
  void close(size_t side);
  void break_end(size_t side);                 // a reset as the end sees it
  void flush(size_t side);                     // what end `side` sent while its link was blocked
  void consumed(size_t side, uint64_t bytes);  // end `side` read so much

  SimNetwork& network;
  uint64_t id;
  End ends[2];
  Pipe pipes[2];  // [i]: sent by end i
};

class SimStream final : public env::Stream {
 public:
  SimStream(std::shared_ptr<Connection> connection, size_t side) : connection_(std::move(connection)), side_(side) {}
  ~SimStream() override { connection_->close(side_); }
  NodeId peer() const override { return connection_->ends[1 - side_].id; }
  Bytes peer_public_key() const override { return connection_->ends[1 - side_].public_key; }
  env::Address remote() const override { return connection_->ends[1 - side_].address; }
  env::Task<Result<size_t>> read_some(MutableByteView into, size_t) override { return read(connection_, side_, into); }
  env::Task<Status> write(std::vector<ByteView> parts) override { return write(connection_, side_, std::move(parts)); }
  uint64_t unconfirmed() const override { return connection_->pipes[side_].unread; }
  void close() override { connection_->close(side_); }

 private:
  static env::Task<Result<size_t>> read(std::shared_ptr<Connection> connection, size_t side, MutableByteView into);
  static env::Task<Status> write(std::shared_ptr<Connection> connection, size_t side, std::vector<ByteView> parts);
  std::shared_ptr<Connection> connection_;
  size_t side_;
};

}  // namespace cairn::sim
