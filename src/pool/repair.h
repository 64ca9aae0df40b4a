#pragma once
// Repair: what a holder does for the packs of which it has a shard, without their owner and without keys: it finds
// those that lost slots, waits as long as the risk allows, rebuilds what is missing, and drops its own copies that are
// too many. REPAIR.md has the rules and their reasons; repair_rules.h has them as code. Serves Method::repair_intent.

#include <map>
#include <set>

#include "pool/audit.h"
#include "pool/pack_set.h"
#include "pool/repair_rules.h"
#include "pool/shard_mover.h"
#include "proto/pack.pb.h"

namespace cairn::pool {

struct RepairOptions {
  RepairTimes times;
  // Told before an own copy is dropped for another's.
  std::function<void(const ShardId&, const NodeId& keeper)> on_drop;
  // For the simulator's mutants only: rules that are broken. Each must be noticed (tests/sim).
  bool without_surplus_audit = false, without_surplus = false, without_intents = false, without_ranks = false;
  bool without_cut_off = false, without_disclaiming = false, without_walks = false;
};

struct RepairCounters {
  uint64_t looked_at = 0;  // packs
  uint64_t walked = 0;     // shards that departed or returned nodes share with this one
  uint64_t shards_rebuilt = 0, bytes_rebuilt = 0;
  uint64_t failed = 0;                              // rebuildings, to be tried again
  uint64_t intents_asked = 0, intents_refused = 0;  // own ones
  uint64_t surplus_dropped = 0;
  uint64_t disclaimed = 0;  // own claims whose shard is in no store
};

// Strand only. Order of ending: peers.stop(), stop(), then the holder may close. All that it is given outlives it.
class Repair {
 public:
  // Registers its handler with `peers` (before start()), and for the news of `holder`.
  Repair(env::World world, peer::Peers& peers, Holder& holder, ShardMover& mover, Auditor& auditor, NodeScores& scores,
         RepairOptions options = {});

  void start();
  void stop();
  // While it is paused nothing is rebuilt or dropped.
  void set_paused(bool paused);
  // A pack that was deleted is not repaired.
  void skip(std::function<env::Task<bool>(PackId)> deleted) { deleted_ = std::move(deleted); }

  // Are all stores of the configuration open? What lies on a disk that is missing is claimed for a while longer.
  void stores_known_by(std::function<bool()> all_open) { all_stores_open_ = std::move(all_open); }

  RepairCounters counters() const { return counters_; }
  // Packs that lack a slot, by what is known here; those whose grace runs among them.
  size_t incomplete() const { return incomplete_.size(); }
  size_t scheduled() const { return when_.size(); }
  // Slots of which it is remembered since when they are missed. Not those of nodes that are away.
  size_t missed() const { return noticed_.size(); }
  std::optional<Time> cut_off() const { return cut_off_; }

 private:
  struct Intent {
    NodeId from;
    Time at{};
  };
  struct Placed {
    NodeId to;
    Time until{};
  };
  struct SurplusSince {
    NodeId keeper;
    Time since{};
  };
  struct Retry {
    uint32_t failures = 0;
    Time when{};
  };
  struct Seen {
    peer::NodeState state = peer::NodeState::unknown;
    Time away_since{};
    NodeScore* score = nullptr;  // of `scores_`
  };

  // repair.cpp: what is to be looked at, and when
  void schedule(const PackId& pack, Time when);
  void unschedule(const PackId& pack);
  void on_news(const ShardId& shard, const NodeId& node, ClaimState state);
  void look_at_states();
  env::Task<void> states_loop();
  env::Task<void> walk_lost_loop();
  env::Task<void> walk_own_loop();
  env::Task<void> disclaim_lost(bool only_missing);
  env::Task<std::vector<bool>> in_no_store(std::vector<ShardId> shards, bool complete);
  env::Task<void> timeline_loop();
  env::Task<void> repair_loop();
  Presence presence(const NodeId& node, Time& away_since) const;

  // repair_pack.cpp: one pack
  env::Task<void> evaluate(PackId pack);
  env::Task<void> evaluate_all(std::vector<PackId> packs);
  env::Task<void> judge(PackId pack, PackPicture picture);
  env::Task<void> claim_what_is_here(const PackPicture& picture);
  PackState state_of(const PackPicture& picture);
  bool is_usable(const NodeId& node) const;
  void forget(const PackId& pack);
  env::Task<void> repair(PackId pack);
  env::Task<bool> rebuild_due(PackId pack);
  env::Task<bool> intend(PackId pack, std::vector<uint8_t> slots);
  env::Task<void> introduce(PackId pack);
  env::Task<void> take_claims(PackId pack, std::vector<wire::RepairIntentResponse> answers);
  env::Task<void> end_intent(const PackPicture& picture);
  env::Task<std::optional<wire::RepairIntentResponse>> ask_intent(NodeId node, wire::RepairIntentRequest request);
  env::Task<Result<peer::Reply>> serve_intent(peer::Request request);
  bool goes_first(const PackId& pack, const NodeId& asker);
  void note_surplus(const PackId& pack, const Assessment& found);
  env::Task<void> drop_surplus(PackId pack);
  void failed(const PackId& pack);

  env::World world_;
  peer::Peers& peers_;
  Holder& holder_;
  ShardMover& mover_;
  Auditor& auditor_;
  NodeScores& scores_;
  const RepairOptions options_;
  const RepairTimes times_;
  std::function<env::Task<bool>(PackId)> deleted_;
  std::function<bool()> all_stores_open_;
  std::optional<Time> incomplete_since_;  // a store is missing
  RepairCounters counters_;

  std::map<NodeId, Seen> nodes_;
  Time states_at_{};
  std::optional<Time> cut_off_;
  std::set<NodeId> to_walk_;  // whose shards are to be looked at

  std::map<PackId, Time> when_;                 // when a pack is looked at
  std::set<std::pair<Time, PackId>> timeline_;  // the same, in order
  bool paused_ = false;
  bool overflowed_ = false;                 // something was not noted for want of room
  std::set<std::pair<int, PackId>> ready_;  // to be repaired now, the lowest margin first
  std::set<PackId> at_work_;
  PackSet incomplete_;
  std::map<ShardId, Time> noticed_;   // slots that lack a lasting holder, for reasons but absence
  std::map<ShardId, Placed> placed_;  // rebuilt, not claimed yet
  std::map<ShardId, SurplusSince> surplus_;
  std::map<PackId, Time> introduced_;  // whose several holders were told of each other
  std::map<PackId, Retry> retries_;
  std::map<PackId, Intent> intents_;  // of others
  std::set<PackId> own_intents_;      // asked, and not yet granted
  RateLimit log_limit_{20, std::chrono::minutes(1)};
  env::Signal timeline_changed_, ready_changed_, walk_changed_;
  env::TaskGroup tasks_;
};

}  // namespace cairn::pool
