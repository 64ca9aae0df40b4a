#pragma once
// SimNetwork: the links between all simulated nodes, and what goes wrong on them.
//
// Streams behave as TLS over TCP: bytes arrive in order, a blocked link holds them until it heals, a node that lost its
// power stays silent until it is back and then resets what is left of its streams; a killed process resets them at
// once. A packet that is lost is sent again later and holds up its stream alone: so other streams overtake it.

#include <map>
#include <set>
#include <unordered_map>

#include "env/network.h"
#include "env/random.h"
#include "sim/scheduler.h"

namespace cairn::sim {

class SimNode;
class SimWorld;
struct Connection;  // stream.cpp

using NodeIndex = uint32_t;

struct LinkOptions {
  Duration latency = std::chrono::milliseconds(5);  // one way
  Duration jitter = std::chrono::milliseconds(2);   // up to so much more
  uint64_t bytes_per_second = 100'000'000;
  double loss = 0;  // of a packet; it is sent again after kResend, then after twice as long
};

struct LinkCounters {
  uint64_t bytes = 0, packets = 0;
  uint64_t connects = 0;  // attempts
  uint64_t resets = 0;
};

class SimNetwork {
 public:
  explicit SimNetwork(SimWorld& world) : world_(world) {}
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  // Links. Every ordered pair of nodes is one.
  void set_default_link(LinkOptions options) { default_link_ = options; }
  void set_link(NodeIndex from, NodeIndex to, LinkOptions options) { link(from, to).options = options; }
  const LinkOptions& link_options(NodeIndex from, NodeIndex to) const;
  // One way: nothing that `from` sends arrives at `to` until it is unblocked.
  void block(NodeIndex from, NodeIndex to);
  void unblock(NodeIndex from, NodeIndex to);
  bool blocked(NodeIndex from, NodeIndex to) const { return from < blocked_.size() && blocked_[from].contains(to); }
  // Both ways between each node of `side` and each node that is not in it.
  void partition(const std::set<NodeIndex>& side);
  void heal();  // unblocks all
  // Ends all streams between the two with a reset.
  void reset_streams(NodeIndex a, NodeIndex b);

  LinkCounters counters(NodeIndex from, NodeIndex to) const;
  LinkCounters total() const { return total_; }
  // Sees every byte when it is sent.
  using Tap = std::function<void(NodeIndex from, NodeIndex to, ByteView bytes)>;
  void set_tap(Tap tap) { tap_ = std::move(tap); }
  size_t open_streams() const;

  // For SimNode and the streams.
  struct Target {
    SimNode* node = nullptr;
    uint16_t port = 0;
  };
  Target resolve(SimNode& from, const env::Address& address) const;
  // Until bytes that are sent now arrive: one link sends one packet after the other.
  Duration delay(NodeIndex from, NodeIndex to, uint64_t bytes);
  void sent(NodeIndex from, NodeIndex to, ByteView bytes);
  LinkCounters& count(NodeIndex from, NodeIndex to) { return link(from, to).counters; }
  LinkCounters& count_total() { return total_; }
  void add(const std::shared_ptr<Connection>& connection);
  void forget(const Connection& connection);
  void node_crashed(NodeIndex node, bool silent);
  void node_restarted(NodeIndex node);
  uint64_t next_id() { return ++last_id_; }
  SimWorld& world() { return world_; }

 private:
  struct Link {
    std::optional<LinkOptions> options;
    LinkCounters counters;
    Time free_at{};  // when all that was sent before has left
  };
  Link& link(NodeIndex from, NodeIndex to);
  const Link* find_link(NodeIndex from, NodeIndex to) const;
  std::vector<std::shared_ptr<Connection>> live() const;
  std::vector<std::shared_ptr<Connection>> live_of(NodeIndex node) const;
  std::vector<std::shared_ptr<Connection>> live_between(NodeIndex a, NodeIndex b) const;

  SimWorld& world_;
  LinkOptions default_link_;
  std::vector<std::unordered_map<NodeIndex, Link>> links_;  // by the sender
  std::vector<std::set<NodeIndex>> blocked_;                // by the sender
  using Connections = std::map<uint64_t, std::weak_ptr<Connection>>;
  std::vector<std::map<NodeIndex, Connections>> connections_;  // by the lower and the higher end
  mutable std::unordered_map<std::string, NodeIndex> hosts_;
  std::multimap<NodeIndex, std::shared_ptr<Connection>> half_open_;  // by the node that lost its power
  LinkCounters total_;
  Tap tap_;
  uint64_t last_id_ = 0;
};

// The network as one node sees it.
class NodeNetwork final : public env::Network {
 public:
  explicit NodeNetwork(SimNode& node) : node_(node) {}
  Result<std::unique_ptr<env::Listener>> listen(
      const env::Address& address, std::move_only_function<void(std::unique_ptr<env::Stream>)> on_stream) override;
  env::Task<Result<std::unique_ptr<env::Stream>>> connect(env::Address address, std::optional<NodeId> expected,
                                                          Time deadline) override;

  using OnStream = std::shared_ptr<std::move_only_function<void(std::unique_ptr<env::Stream>)>>;
  OnStream listener(uint16_t port) const;
  void stop_listening(uint16_t port) { listeners_.erase(port); }
  void crash() {
    ++life_;
    listeners_.clear();
  }
  uint64_t life() const { return life_; }

 private:
  SimNode& node_;
  std::map<uint16_t, OnStream> listeners_;
  uint16_t next_port_ = 40000;
  uint64_t life_ = 1;
};

}  // namespace cairn::sim
