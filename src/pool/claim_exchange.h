#pragma once
// Makes this node's claims and passes them on to siblings: batched, so that the cost is a request per sibling and not
// one per shard. What was not passed on survives a crash.

#include <deque>
#include <map>

#include "env/world.h"
#include "peer/peers.h"
#include "pool/claims.h"

namespace cairn::pool {

// Strand only. `peers` and `index` outlive it.
class ClaimExchange {
 public:
  struct Counters {
    uint64_t claims_made = 0;
    uint64_t push_requests = 0;  // claims_push asked and answered
    uint64_t claims_told = 0;    // claims in these
  };

  ClaimExchange(env::World world, peer::Peers& peers, ClaimIndex& index, uint64_t boot_seq);

  // Goes on with what earlier runs left.
  void start();
  // `tell`: nodes besides those whose claims for this pack are known. Returns at once; the claim is made behind.
  void announce(ShardId shard, ClaimState state, std::vector<NodeId> tell);
  // These nodes are to be told of the own claims for these packs.
  void tell(std::map<NodeId, std::vector<PackId>> news);
  // Until all that was announced so far is durable; false when something could not be.
  env::Task<bool> flush();
  // Ends all work. Call flush() before, or the rest is made up for at the next start.
  void stop();
  const Counters& counters() const { return counters_; }
  // Nodes that are still to be told something.
  size_t untold() const { return due_.size(); }

 private:
  struct Waiting {
    ShardId shard;
    ClaimState state;
    std::vector<NodeId> tell;
  };
  struct Due {
    Time when;
    uint32_t failures = 0;
    bool busy = false;
    bool again = false;  // more came while it was busy
  };
  env::Task<void> make_claims();
  env::Task<void> pass_on();
  env::Task<void> push(NodeId node);
  env::Task<void> note_news(std::map<NodeId, std::vector<PackId>> news);
  env::Task<Result<bool>> push_batch(NodeId node);
  env::Task<void> refresh_due();
  void mark_due(const NodeId& node);
  void tell_again(const NodeId& node, const std::vector<PackId>& packs);
  env::Task<void> again(NodeId node, std::vector<PackId> packs, Duration wait);
  void postpone(const NodeId& node);

  env::World world_;
  peer::Peers& peers_;
  ClaimIndex& index_;
  uint64_t boot_seq_;
  uint64_t sequence_ = 0;
  Counters counters_;
  std::deque<Waiting> waiting_;
  bool lost_ = false;  // a claim could not be made
  bool making_ = false;
  bool hurry_ = false;
  std::map<NodeId, Due> due_;
  std::map<std::pair<NodeId, PackId>, uint32_t> early_;  // how often they were told too early
  size_t pushes_ = 0;
  RateLimit log_limit_{10, std::chrono::minutes(1)};
  env::Signal waiting_changed_, made_, due_changed_;
  env::TaskGroup tasks_;
};

}  // namespace cairn::pool
