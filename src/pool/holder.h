#pragma once
// The pool as a holder sees it: serves shards out of its stores, keeps claims, and passes them to siblings.

#include "env/world.h"
#include "peer/peers.h"
#include "store/shard_store.h"

namespace cairn::pool {

class Holder {
 public:
  // Registers its handlers with `peers` (before start()). Claims live in `claims_path` (a MetaStore).
  static env::Task<Result<std::unique_ptr<Holder>>> open(env::World world, peer::Peers& peers, std::string claims_path,
                                                         uint64_t boot_seq);
  virtual ~Holder() = default;
  virtual void add_store(std::unique_ptr<store::ShardStore> store) = 0;
  virtual const std::vector<std::unique_ptr<store::ShardStore>>& stores() const = 0;
  // Over all stores.
  virtual store::StoreFigures figures() const = 0;
  virtual env::Task<void> close() = 0;
};

}  // namespace cairn::pool
