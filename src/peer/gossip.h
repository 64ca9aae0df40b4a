#pragma once
// Gossip: push-pull of the member log, the node table and the doubts with one other node at a time: when a process
// starts, and whenever a message shows that two nodes do not know the same (SWIM.md). A process that does not serve
// asks every few seconds, and is told the states with it.

#include "env/random.h"
#include "peer/follower.h"
#include "peer/session_table.h"
#include "peer/swim.h"

namespace cairn::peer {

class Gossip {
 public:
  // All references outlive it. `swim`: of a process that serves, else null. `changed` is called when a round may have
  // changed the membership.
  Gossip(env::World world, const Identity& identity, Membership& membership, SessionTable& sessions, Swim* swim,
         Follower& follower, const PeersOptions& options, std::function<void()> changed);

  void start(std::vector<env::Address> bootstrap);
  void stop() {
    tasks_.cancel();
    rounds_.cancel();
  }
  env::Task<Result<Reply>> answer(Request request);
  // Until one exchange has taken place, or there is nobody to ask. Code::timeout.
  env::Task<Status> settle(Duration timeout);
  // This node is known to know other things than `node`: push-pull, unless there was one just now.
  void differs(const NodeId& node);
  uint64_t rounds() const { return begun_; }

 private:
  static env::Task<void> loop(Gossip* self);
  static env::Task<void> bootstrap(Gossip* self, env::Address address);
  static env::Task<void> round(Gossip* self, NodeId with);
  static env::Task<void> exchange(Gossip* self, NodeId with);
  env::Task<std::optional<wire::GossipResponse>> ask(NodeId with, wire::GossipRequest request);
  void tick();
  void begin_round(const NodeId& with);
  std::vector<NodeId> others() const;
  std::optional<NodeId> choose_to_follow();
  wire::GossipRequest summary() const;
  template <class Message>
  void take(Message& message);
  template <class Doubts>
  void take_doubts(const Doubts& doubts, const NodeId& from);
  uint64_t doubts_of(const NodeId& node) const { return swim_ ? swim_->suspicions().hash_of(node) : 0; }
  void exchanged();

  env::World world_;
  const Identity& identity_;
  Membership& membership_;
  SessionTable& sessions_;
  Swim* swim_;
  Follower& follower_;
  const PeersOptions& options_;
  std::function<void()> changed_;
  env::Prng prng_;
  std::vector<env::Address> bootstrap_;
  size_t next_bootstrap_ = 0;
  uint64_t exchanges_ = 0, begun_ = 0;
  std::optional<Time> last_round_;
  std::vector<env::OneShot<Status>> waiters_;
  env::TaskGroup tasks_, rounds_;
};

}  // namespace cairn::peer
