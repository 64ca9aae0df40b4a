#pragma once
// Session: one stream with a peer: HELLO, then requests and answers both ways.
//
// The server's HELLO comes first. A session is greeted once both are checked; from then on its own requests go out.
// Incoming requests run as tasks, at most kMaxRunning at a time for each peer over all its sessions; their bytes and
// those of their answers count against the peer's share, and while that is used up this session reads no further. So a
// peer can only slow down itself.
//
// Owned through shared_ptr by the SessionTable, and for the time of a call by its caller. Ends in two steps:
// close() may be called from anywhere, also from a task of the session: it fails what waits and tells the owner;
// end() destroys the tasks and is called by the owner from outside of them.

#include <deque>
#include <map>
#include <memory>
#include <set>

#include "env/world.h"
#include "peer/frame_reader.h"
#include "peer/peers.h"
#include "proto/membership.pb.h"

namespace cairn::peer {

class Session;

// What all sessions of one peer use up here together.
struct PeerLoad {
  explicit PeerLoad(env::Executor& executor) : changed(executor) {}
  size_t running = 0;     // handlers
  uint64_t requests = 0;  // bytes of requests that were read and not yet answered
  uint64_t replies = 0;   // bytes of answers that wait to be written
  env::Signal changed;    // something became less
  std::map<uint64_t, Session*> sessions;
};

// What a session asks of the one who owns it.
class SessionOwner {
 public:
  struct Served {
    Access access = Access::members;
    Handler handler;
  };
  virtual ~SessionOwner() = default;
  virtual const Identity& identity() const = 0;
  virtual const Membership& membership() const = 0;
  virtual const PeersOptions& options() const = 0;
  virtual Traffic& traffic() = 0;
  virtual const Served* served(wire::Method method) const = 0;  // stays where it is
  virtual Status may_open(Session& session) = 0;                // the HELLO was fine: is there room for it?
  virtual void greeted(Session& session) = 0;
  virtual void heard(Session& session) = 0;
  virtual void closed(Session& session) = 0;  // end() is due; once for each session
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  enum class Side { dialled, accepted };
  Session(env::World world, SessionOwner& owner, uint64_t number, std::unique_ptr<env::Stream> stream, Side side,
          std::shared_ptr<PeerLoad> load, Duration hello_timeout);
  ~Session();

  void start();
  // Set when it was greeted or has ended before; for one task.
  env::OneShot<Status>& ready() { return ready_; }

  uint64_t number() const { return number_; }
  NodeId peer() const { return peer_; }
  Side side() const { return side_; }
  bool open() const { return greeted_ && !closed_ && !draining_; }
  bool is_closed() const { return closed_; }
  bool stranger() const { return !certificate_; }
  bool peer_serves() const { return peer_serves_; }
  const std::optional<Certificate>& certificate() const { return certificate_; }
  const std::optional<Error>& why_closed() const { return why_; }
  uint64_t queued_bytes() const { return queued_bytes_; }
  size_t calls() const { return calls_.size(); }
  uint64_t received() const { return reader_.total(); }
  // Bytes that the peer's machine has taken.
  uint64_t delivered() const { return written_ - std::min(written_, stream_->unconfirmed()); }

  struct Outcome {
    Result<Reply> reply;
    bool sent = true;  // false: the session ended before the first byte of the request went out
  };
  // One request; see Peers::call. The body is within the method's limit.
  static env::Task<Outcome> call(std::shared_ptr<Session> self, wire::Method method, std::shared_ptr<const Bytes> body,
                                 Buffer payload, Time deadline);

  void close(Error why);
  // Of one who is a member no more: from now on nothing of this session is served, answered or asked; it is told why.
  void expel(Error why);
  // The peer said so itself: why_closed() is what it told.
  bool refused_by_peer() const { return refused_by_peer_; }
  void end();

 private:
  struct Outgoing {
    std::array<uint8_t, wire::kFrameHeaderSize> header;
    std::shared_ptr<const Bytes> body;
    Buffer payload;
    wire::FrameKind kind;
    uint64_t request;
    size_t size() const { return header.size() + (body ? body->size() : 0) + payload.size(); }
  };
  struct Call {
    wire::Method method;
    env::OneShot<Outcome> done;
    Time deadline;
    bool sent = false;
  };
  struct Incoming {
    Incoming(env::Executor& executor, Request asked) : request(std::move(asked)), group(executor) {}
    Request request;  // until it is started
    wire::Method method{};
    Time deadline;
    const SessionOwner::Served* served = nullptr;
    uint64_t cost = 0;  // bytes
    bool running = false, done = false;
    env::TaskGroup group;
  };
  struct Abandon;

  // session.cpp: the session's own work
  static env::Task<void> read_loop(Session* self);
  static env::Task<void> write_loop(Session* self);
  env::Task<Status> write_parts(std::vector<ByteView> parts);
  static env::Task<void> watch_loop(Session* self);
  static env::Task<void> linger(Session* self);
  env::Task<Status> greet();
  Status check_hello(const wire::Hello& hello);
  wire::Hello own_hello() const;
  void become_greeted();
  void watch(Time now);
  void send(wire::FrameKind kind, wire::Method method, uint64_t request, std::shared_ptr<const Bytes> body,
            Buffer payload = {}, uint32_t deadline_ms = 0);
  // Tells the peer why, then closes.
  void refuse(Error why);

  // session_calls.cpp: requests of this side
  env::Task<Status> read_answer(wire::FrameHeader header);
  static env::Task<Status> wait_for_room(std::shared_ptr<Session> self);
  void arm_deadline();
  void on_deadline();
  void abandon(uint64_t id);
  Error error_for_calls() const;  // once it is closed

  // session_serve.cpp: requests of the peer
  env::Task<Status> read_request(wire::FrameHeader header);
  env::Task<Status> wait_for_share(uint64_t bytes);
  void answer_failure(wire::Method method, uint64_t id, const Error& error);
  void start_waiting();
  static env::Task<void> run_handler(Session* self, uint64_t id, const Handler* handler, Request request);
  void finish(uint64_t id, Result<Reply> reply);
  void on_cancel(uint64_t id);
  void release(Incoming& incoming);
  void share_freed();
  void expire_requests(Time now);

  env::World world_;
  SessionOwner& owner_;
  const uint64_t number_;
  std::unique_ptr<env::Stream> stream_;
  const NodeId peer_;
  const Side side_;
  const Duration hello_timeout_;
  std::shared_ptr<PeerLoad> load_;
  FrameReader reader_;
  env::OneShot<Status> ready_;

  std::optional<Certificate> certificate_;
  bool peer_serves_ = false, greeted_ = false, closed_ = false, draining_ = false, ended_ = false;
  bool asked_ = false;  // a stranger has sent its one request
  bool refused_by_peer_ = false, expelled_ = false;
  std::optional<Error> why_;

  // Writing.
  std::deque<Outgoing> queue_;
  uint64_t queued_bytes_ = 0;     // with those being written
  size_t queued_failures_ = 0;    // failure frames, likewise
  uint64_t writing_replies_ = 0;  // bytes of answers being written
  env::Signal to_write_, room_;
  uint64_t written_ = 0;  // bytes
  size_t write_slice_ = kWriteSlice;
  std::optional<Time> write_due_;  // when the write that is under way is hopeless

  // Requests of this side.
  std::map<uint64_t, Call> calls_;
  std::set<std::pair<Time, uint64_t>> deadlines_;
  uint64_t next_call_ = 1;
  env::TimerId deadline_timer_ = 0;
  Time timer_at_{};

  // Requests of the peer.
  std::map<uint64_t, std::unique_ptr<Incoming>> incoming_;
  std::deque<uint64_t> waiting_;
  uint64_t last_request_ = 0;
  bool paused_ = false;

  // Watching.
  uint64_t seen_delivered_ = 0, seen_bytes_ = 0, seen_activity_ = 0, activity_ = 0;
  Time progress_{}, used_{};
  bool probing_ = false;
  std::optional<Time> told_heard_;

  env::TaskGroup tasks_;
};

// The body of a failure frame, cut to kMaxFailureBody.
Bytes encode_failure(const Error& error);
Error decode_failure(ByteView body);

}  // namespace cairn::peer
