#pragma once
// Sessions with other nodes and requests over them: one object per process, on the strand.

#include <functional>

#include "env/world.h"
#include "peer/membership.h"
#include "peer/node_state.h"
#include "peer/pacing.h"
#include "wire/frame.h"

namespace cairn::peer {

struct Request {
  NodeId from;
  env::Address remote{};                     // where the session comes from
  MemberId member;                           // zero for a joiner
  Certificate const* certificate = nullptr;  // of `from`; null for a joiner. Valid while the handler runs
  wire::Method method{};
  Bytes body;
  Buffer payload;
  Time deadline;
};
struct Reply {
  Bytes body;
  Buffer payload;
};
// Runs as a task of the session; it is destroyed when the session ends or the requester cancels.
using Handler = std::function<env::Task<Result<Reply>>(Request)>;

enum class Access {
  members,     // any node whose certificate the member log admits
  own_device,  // this node's own device only: another process of the same home
  strangers,   // also who is not in the log: JOIN, INTRODUCE
};

struct PeersOptions {
  bool serve = false;                        // accept requests on sessions (cairnd)
  uint32_t max_sessions_per_node = 16;       // incoming; several processes of one home share a NodeID
  uint64_t max_bytes_in_flight = 64 * kMiB;  // of requests, per peer
  Duration connect_timeout = std::chrono::seconds(5);
  // How often each node probes one other (SWIM.md). Not set: 1 s while all addresses of the pool are private ones
  // (LAN), else 5 s (WAN).
  std::optional<Duration> probe_period{};
  std::optional<Duration> least_suspicion{};  // not set: kLeastSuspicion
};

// Work counters, for tests and benchmarks.
struct Traffic {
  uint64_t bytes_sent = 0, bytes_received = 0;  // of frames
  uint64_t requests_sent = 0, requests_served = 0;
};

class Peers {
 public:
  Peers(env::World world, Identity identity, Membership membership, PeersOptions options);
  ~Peers();

  const Identity& identity() const;
  // Who changes it from outside calls membership_changed() then: sessions of removed ones end, the news is spread.
  Membership& membership();
  const Membership& membership() const;
  void membership_changed();

  // Before start().
  void serve(wire::Method method, Access access, Handler handler);
  // Listens; the address with the real port.
  Result<env::Address> listen(const env::Address& address);
  // Takes part in gossip: with known nodes, and first with these addresses.
  void start(std::vector<env::Address> bootstrap);
  // Stops all, in order; afterwards the object may be destroyed.
  env::Task<void> stop();

  // One request. The session is made when there is none and kept; answers come in any order. Destroying the task
  // cancels the request at the other end. Errors: unreachable, timeout, closed, denied, overloaded, or what the
  // handler answered.
  env::Task<Result<Reply>> call(NodeId to, wire::Method method, Bytes body, Buffer payload, Duration timeout);
  // To an address whose NodeID is not known yet (bootstrap): makes the session and tells who answers.
  env::Task<Result<NodeId>> dial(env::Address address, Duration timeout);

  // What this node says of itself; signs and spreads it. Small changes of its figures wait for a while (limits.h).
  void set_own_record(const NodeInfo& info);
  // alive or suspect, with an address or a session: worth asking.
  bool usable(const NodeId& node) const;
  // Departed, with an address or a session: others may be wrong about it, so it is asked when nobody else is left.
  bool last_resort(const NodeId& node) const;
  NodeState state(const NodeId& node) const;
  NodeState state(const NodeInfo& node) const;  // of membership()'s: spares a search
  std::vector<NodeId> live_nodes() const;
  // How long ago this process itself heard from it; nothing: not in its life. A node talks to a few others only.
  std::optional<Duration> last_heard(const NodeId& node) const;
  // Why the pool takes no requests of this device: it was removed, as the log or the others say. For saying so.
  std::optional<Error> refusal() const;
  // Called on the strand after the log or the node table changed: for saving it. One handler.
  void on_change(std::function<void()> handler);
  // Until the node table was exchanged with at least one peer, or the timeout; at once where there is nobody to ask.
  env::Task<Status> settle(Duration timeout);

  // How fast payloads travel between this process and other machines; at first without a limit.
  Pacing& pacing();

  Traffic traffic() const;
  // Bytes that this node's machine has taken over its sessions: whether something moves. Less after a session ended.
  uint64_t delivered(const NodeId& node) const;
  size_t sessions() const;  // both ways

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// A request with typed ends. Resp is decoded from the reply's body; the payload comes with it.
template <class Resp>
struct Answer {
  Resp message;
  Buffer payload;
};
template <class Resp, class Req>
env::Task<Result<Answer<Resp>>> ask(Peers& peers, NodeId to, wire::Method method, const Req& request, Duration timeout,
                                    Buffer payload = {}) {
  return [](Peers& p, NodeId node, wire::Method what, Bytes body, Buffer load,
            Duration limit) -> env::Task<Result<Answer<Resp>>> {
    auto reply = co_await p.call(node, what, std::move(body), std::move(load), limit);
    if (!reply) co_return fail(std::move(reply.error()));
    auto message = wire::decode<Resp>(ByteView(reply->body));
    if (!message) co_return fail(std::move(message.error()));
    co_return Answer<Resp>{std::move(*message), std::move(reply->payload)};
  }(peers, to, method, wire::encode(request), std::move(payload), timeout);
}

}  // namespace cairn::peer
