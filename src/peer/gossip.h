#pragma once
// Gossip: push-pull of the member log and the node table with random nodes, which is also how nodes are probed.
//
// Every gossip_period one node is sent what is known here by digest (Membership::digest, with states and ages for the
// failure detector); it answers with what is missing here and names what it lacks, which is pushed. A change reaches
// all of n nodes in about log2(n) periods.

#include "env/random.h"
#include "peer/failure_detector.h"
#include "peer/session_table.h"

namespace cairn::peer {

class Gossip {
 public:
  // All references outlive it. `changed` is called when a round may have changed the membership.
  Gossip(env::World world, const Identity& identity, Membership& membership, SessionTable& sessions,
         FailureDetector& detector, const PeersOptions& options, std::function<void()> changed);

  void start(std::vector<env::Address> bootstrap);
  void stop() {
    tasks_.cancel();
    rounds_.cancel();
  }
  env::Task<Result<Reply>> answer(Request request);
  // Until one exchange has taken place, or there is nobody to ask. Code::timeout.
  env::Task<Status> settle(Duration timeout);
  // A round with a random node now, without waiting for the period: there is news.
  void hurry();

 private:
  static env::Task<void> loop(Gossip* self);
  static env::Task<void> bootstrap(Gossip* self, env::Address address);
  static env::Task<void> round(Gossip* self, NodeId with);
  void tick();
  void begin_round(const NodeId& with);
  std::vector<NodeId> others(bool alive) const;
  std::optional<NodeId> choose();
  wire::GossipRequest request() const;
  template <class Digests>
  void take_states(const Digests& digests, const NodeId& by);
  template <class Repeated>
  void add_states(Repeated* digests) const;
  void describe(wire::NodeDigest& digest, const NodeId& node) const;
  void exchanged();

  env::World world_;
  const Identity& identity_;
  Membership& membership_;
  SessionTable& sessions_;
  FailureDetector& detector_;
  const PeersOptions& options_;
  std::function<void()> changed_;
  env::Prng prng_;
  std::vector<env::Address> bootstrap_;
  size_t next_bootstrap_ = 0;
  uint64_t exchanges_ = 0;
  std::vector<env::OneShot<Status>> waiters_;
  env::TaskGroup tasks_, rounds_;
};

}  // namespace cairn::peer
