#pragma once
// The pool as a holder sees it: serves shards out of its stores, keeps claims, and passes them to siblings.

#include <functional>

#include "env/world.h"
#include "peer/peers.h"
#include "pool/claims.h"
#include "store/shard_store.h"

namespace cairn::pool {

// What a holder did, for status and tests.
struct HolderCounters {
  uint64_t shards_taken = 0, shards_refused = 0, shards_served = 0;
  uint64_t background = 0;      // of those taken and served: for moves and repairs, for which nobody waits
  uint64_t writer_faults = 0;   // shards whose Merkle root was not what their writer had signed; dropped
  uint64_t rotten_shards = 0;   // found by a read or the scrub
  uint64_t claims_made = 0;     // own
  uint64_t claims_taken = 0;    // of others, that were news
  uint64_t claims_refused = 0;  // forged, malformed, or for packs that are not held here
  uint64_t claims_told = 0, push_requests = 0;
};

// Who must know what comes to a holder (pool/trash.h). On the strand.
class HolderWatch {
 public:
  virtual ~HolderWatch() = default;
  // Whether shards of this pack are no longer taken.
  virtual env::Task<bool> refuses(PackId pack, VolumeId volume) = 0;
  // A shard of it is about to be stored.
  virtual void storing(const content::PackHeader& header) = 0;
  // Claims of others that were news.
  virtual void heard(const std::vector<Claim>& claims) = 0;
};

// Strand only. Order of ending: peers.stop(), then close(), then both may be destroyed, the holder before its peers.
class Holder {
 public:
  // Registers its handlers with `peers` (before start()). Claims live in `claims_path` (a MetaStore). boot_seq grows
  // with each start of this node.
  static env::Task<Result<std::unique_ptr<Holder>>> open(env::World world, peer::Peers& peers, std::string claims_path,
                                                         uint64_t boot_seq);
  virtual ~Holder() = default;
  // Code::overloaded when there are kMaxStores.
  virtual Status add_store(std::unique_ptr<store::ShardStore> store) = 0;
  // Serves this store no longer and closes it; nothing is said of the shards in it. Its place among stores() is taken
  // by one that holds nothing; who is using it just now may go on to, in vain. Code::not_found.
  virtual env::Task<Status> close_store(StoreId id) = 0;
  // Resting: shards are neither taken from nor served to other members.
  virtual void set_resting(bool resting) = 0;
  // Never moves in memory, so that tasks may wait while they walk over it.
  virtual const std::vector<std::unique_ptr<store::ShardStore>>& stores() const = 0;
  // Null: nobody.
  virtual void watch(HolderWatch* watch) = 0;
  // Over all stores.
  virtual store::StoreFigures figures() const = 0;
  virtual HolderCounters counters() const = 0;

  // Checked claims for a pack, this node's own among them.
  virtual env::Task<Result<std::vector<Claim>>> claims_of(PackId pack) = 0;
  virtual env::Task<Result<std::vector<std::vector<Claim>>>> claims_of(std::vector<PackId> packs) = 0;
  // What a node holds by the claims known here, in order, after `after`.
  virtual env::Task<Result<std::vector<ShardId>>> held_by(NodeId node, std::optional<ShardId> after, size_t limit) = 0;
  // The claims that are known here; its calls block, see there.
  virtual ClaimIndex& index() = 0;
  // Called on the strand for each claim that is news, own ones too. Each handler is called; they outlive the holder's
  // work.
  using News = std::function<void(const ShardId&, const NodeId&, ClaimState)>;
  virtual void on_news(News handler) = 0;
  // Makes an own claim and passes it on, behind: to those whose claims for the pack are known, and to `tell`.
  virtual void announce(ShardId shard, ClaimState state, std::vector<NodeId> tell) = 0;
  // The shard goes, from whichever store has it, and is claimed as gone. Code::not_found.
  virtual env::Task<Status> drop(ShardId shard) = 0;
  // Until every shard stored so far is verified and its claim durable.
  virtual env::Task<Status> settle() = 0;
  // Nodes that are still to be told of claims.
  virtual size_t untold_nodes() const = 0;

  // Makes what was announced durable and closes the stores.
  virtual env::Task<void> close() = 0;
};

// What the first store says that does not fail: a disk that is dead does not speak for the others. Else the first
// error that says more than Code::not_found.
template <class Read>
auto in_any_store(Holder& holder, Read read) -> std::invoke_result_t<Read&, store::ShardStore&> {
  Error last{Code::not_found, "no such shard here"};
  for (size_t i = 0; i < holder.stores().size(); ++i) {
    auto outcome = co_await read(*holder.stores()[i]);
    if (outcome) co_return outcome;
    if (last.code == Code::not_found) last = std::move(outcome.error());
  }
  co_return fail(std::move(last));
}

}  // namespace cairn::pool
