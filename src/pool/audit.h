#pragma once
// Auditor: finds out whether others still have what they claim, and whether what lies here is still what it was.
//
// Siblings are asked for random leaves with their Merkle paths: whoever answers rightly had the bytes just now, whoever
// cannot is asked once more for the very same leaf, and then its slot counts as gone here (REPAIR.md). The scrub reads
// the own stores through at a low rate, so that rot is found here before it is elsewhere. Serves Method::audit.

#include <map>

#include "env/world.h"
#include "peer/peers.h"
#include "pool/holder.h"
#include "pool/node_scores.h"
#include "pool/repair_rules.h"
#include "proto/pack.pb.h"

namespace cairn::pool {

struct AuditOptions {
  Duration every = kAuditEvery, retry = kAuditRetry, confirm = kAuditConfirm, distrust_retry = kDistrustRetry;
  Duration passed_by = kPassedBy;
  Duration scrub_delay = kScrubDelay, scrub_every = kScrubEvery, save_every = kSaveScores;
  uint64_t scrub_rate = kScrubRate;  // bytes per second

  bool without_audits = false;  // for the simulator's mutants only

  // Times are multiplied; the rate is not.
  AuditOptions scaled(double factor) const;
};

struct AuditCounters {
  uint64_t asked = 0, proven = 0, wrong = 0, silent = 0;  // challenges of this node, and their answers
  uint64_t failed = 0;                                    // confirmed: the slot counts as gone
  uint64_t answered = 0;                                  // challenges of others
  uint64_t claims_heard = 0;                              // with answers, that were news
  uint64_t scrubs = 0;                                    // of all stores, completed
  uint64_t bytes = 0;                                     // of frames received for own challenges
};

// Strand only. Order of ending: peers.stop(), stop(), then the holder may close. All that it is given outlives it.
class Auditor {
 public:
  // Registers its handler with `peers` (before start()).
  Auditor(env::World world, peer::Peers& peers, Holder& holder, NodeScores& scores, AuditOptions options = {});

  void start();
  void stop();

  // Asks for a random leaf of this shard now. True: it is there; false: it is not. An error: no answer, which says
  // nothing, or no shard of the pack is here.
  env::Task<Result<bool>> check(ShardId shard, NodeId node);
  // Somebody found that this shard could not be read there: to be confirmed.
  void suspect(const ShardId& shard, const NodeId& node);
  // Its audits failed: the node's claim for it does not count.
  bool distrusted(const ShardId& shard, const NodeId& node) const;
  // For any shard: it is given no others.
  bool distrusted(const NodeId& node) const { return distrusted_nodes_.contains(node); }
  // It was, not long ago: it is given others only where there is nobody else.
  bool passed_by(const NodeId& node) const { return scores_.of(node).passed_by > 0; }
  // Called on the strand when distrusted() changed for a shard.
  void on_change(std::function<void(const ShardId&)> handler) { changed_ = std::move(handler); }
  AuditCounters counters() const { return counters_; }
  size_t doubts() const { return doubts_.size(); }

 private:
  enum class Answer : uint8_t { proven, wrong, silent };
  struct Challenge {
    ShardId shard;
    uint32_t leaf = 0;
  };
  using Key = std::pair<ShardId, NodeId>;
  // What is to be asked again, the same.
  struct Doubt {
    Challenge challenge;
    Time when{};
    size_t wrong = 0, silent = 0;
    bool distrusted = false;
  };
  struct Asked {
    Challenge challenge;
    Answer answer = Answer::silent;
  };

  env::Task<Result<peer::Reply>> serve(peer::Request request);
  env::Task<Result<std::optional<store::ShardStore::ProvenRange>>> leaf_here(ShardId shard, uint32_t leaf);
  env::Task<Status> tell_what_differs(PackId pack, std::string known, wire::AuditResponse& response);
  env::Task<void> hear_what_differs(NodeId from, std::set<PackId> packs, wire::AuditResponse response);
  env::Task<std::optional<content::PackHeader>> header_of(PackId pack);
  env::Task<std::optional<Challenge>> make_challenge(ShardId shard);
  env::Task<std::vector<Asked>> ask(NodeId node, std::vector<Challenge> challenges);
  env::Task<std::vector<ShardId>> sample(NodeId node);
  void take(const NodeId& node, const Asked& asked);
  void set_distrusted(const Key& key, Doubt& doubt, bool distrusted);
  env::Task<void> audit_loop();
  env::Task<void> follow_up_loop();
  env::Task<void> follow_up(Key key);
  void forget(const Key& key);
  env::Task<void> scrub_loop();
  env::Task<void> save_loop();

  env::World world_;
  peer::Peers& peers_;
  Holder& holder_;
  NodeScores& scores_;
  const AuditOptions options_;
  AuditCounters counters_;
  std::map<Key, Doubt> doubts_;
  std::multiset<NodeId> distrusted_nodes_;  // once for each shard
  NodeId last_asked_;
  std::map<NodeId, ShardId> turns_;  // whose turn it was last
  std::function<void(const ShardId&)> changed_;
  RateLimit log_limit_{10, std::chrono::minutes(1)};
  env::Signal doubts_changed_;
  env::TaskGroup tasks_;
};

}  // namespace cairn::pool
