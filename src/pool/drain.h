#pragma once
// Drain: empties stores of this node, in whole or down to a size, by moving their shards elsewhere; and moves single
// ones that are wanted elsewhere.
//
// One shard: where it may go is chosen; its claim becomes `leaving`; a copy is made there, by its receipt and by the
// new holder's own claim; then it is dropped here and claimed as gone. Another store of this node that has room is the
// nearest place: nothing is said to anybody then. A shard that has nowhere to go stays, is `held`, and is tried again.
// So a pack never has less than before: at no moment, and not after a cancelled drain either.

#include <map>
#include <set>

#include "pool/shard_mover.h"
#include "pool/trash.h"

namespace cairn::pool {

struct DrainGoal {
  uint64_t used = 0;    // bytes that the store may still use; 0: no shard is to be left
  bool urgent = false;  // the host waits: goes before foreground work, and faster than repairs do
  bool later = false;   // something more urgent is done at the disk just now: nothing new is begun
  bool operator==(const DrainGoal&) const = default;
};

struct DrainProgress {
  bool active = false;  // there is a goal that has not been reached
  double percent = 0;   // of what it began with, 0 to 100
  uint64_t moved = 0;   // shards, since the goal was first set
  uint64_t stuck = 0;   // shards that found no place at the last try
  std::string why_stuck;
};

// Strand only. `peers`, `holder` and `mover` outlive it.
class Drain {
 public:
  Drain(env::World world, peer::Peers& peers, Holder& holder, ShardMover& mover);
  ~Drain();

  // From now on; none: what is left stays. Setting it anew while it goes on changes the goal and keeps the progress.
  void set_goal(const StoreId& store, std::optional<DrainGoal> goal);
  // What is in the trash is dropped, not moved, and before anything is moved: nobody would take it. It outlives this.
  void set_trash(Trash& trash) { trash_ = &trash; }
  // One shard that lies here goes to this node, by the same steps; where another holds the same slot already, it is
  // only dropped here. Errors: not_found (not here), denied (the pack has a tombstone), bad_input (`to` may not have
  // it), unreachable, no_space, timeout: then it stays.
  env::Task<Status> move_to(ShardId shard, NodeId to);
  // None where there is no goal.
  std::optional<DrainProgress> progress(const StoreId& store) const;

  // Ends all; what was leaving is held again. Before the holder is closed.
  env::Task<void> stop();

 private:
  struct Job {
    explicit Job(env::Executor& executor) : tasks(executor) {}
    DrainGoal goal;
    uint64_t first_used = 0, first_shards = 0;
    uint64_t moved = 0;
    uint64_t moving = 0;                   // bytes of shards on their way
    uint64_t stuck = 0, stuck_before = 0;  // of this walk, of the last one
    std::string why_stuck;
    std::optional<ShardId> at;  // where the next walk goes on
    std::set<ShardId> leaving;  // claimed so, not yet handed to drops_
    env::TaskGroup tasks;       // last: ends first
  };

  // Bytes of a shard on its way.
  class Moving {
   public:
    Moving(Job& job, uint64_t bytes) : job_(&job), bytes_(bytes) { job.moving += bytes; }
    Moving(Moving&& other) noexcept : job_(std::exchange(other.job_, nullptr)), bytes_(other.bytes_) {}
    Moving& operator=(Moving&&) = delete;
    ~Moving() {
      if (job_ != nullptr) job_->moving -= bytes_;
    }

   private:
    Job* job_;
    uint64_t bytes_;
  };

  store::ShardStore* find(const StoreId& id) const;
  env::Task<uint64_t> empty_trash(StoreId id, uint64_t bytes);
  env::Task<bool> drop_if_dead(PackId pack);
  static bool enough(const Job& job, const store::ShardStore& store);
  env::Task<void> run(StoreId id, Job& job);
  env::Task<void> walk(StoreId id, Job& job);
  env::Task<void> move_one(StoreId id, Job& job, ShardId shard, env::Semaphore::Permit permit, Moving moving);
  env::Task<Status> drop_for_good(ShardId shard);
  // `to`: there and nowhere else.
  env::Task<Status> move_away(Job& job, ShardId shard, std::optional<NodeId> to = {});
  env::Task<bool> copied_away(Job& job, ShardId shard, PackPicture picture, std::optional<NodeId> to, Error& why);
  env::Task<bool> move_beside(StoreId from, ShardId shard);
  env::Task<Status> change_store(StoreId from, StoreId to, ShardId shard);
  std::optional<NodeId> choose(const PackPicture& picture, const std::set<NodeId>& avoid, std::string& why) const;
  bool spread_as_well(const PackPicture& picture, const NodeId& target) const;
  bool may_have(const PackPicture& picture, const NodeId& target) const;
  std::optional<NodeId> other_holder(const PackPicture& picture, uint8_t slot) const;
  struct Answer {
    std::vector<uint8_t> slots;             // of the pack, that it holds
    std::map<uint8_t, ClaimState> claimed;  // by its own claims
  };
  env::Task<std::optional<Answer>> ask(PackId pack, NodeId node);
  env::Task<bool> still_holds(ShardId shard, NodeId node);
  void say_held(Job& job);

  env::World world_;
  peer::Peers& peers_;
  Trash* trash_ = nullptr;
  Holder& holder_;
  ShardMover& mover_;
  ShardMover urgent_;  // with a rate of its own
  env::Semaphore places_;
  std::map<StoreId, std::unique_ptr<Job>> jobs_;
  Job ordered_;           // of no store: move_to()
  env::TaskGroup drops_;  // never cut off: what is gone must be said to be, and nothing is to lie here twice
};

}  // namespace cairn::pool
