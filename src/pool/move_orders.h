#pragma once
// MoveOrders: the owner of a volume may order a holder to give one of its shards to another node, to even out how full
// the nodes are (rebalance.h). Serves Method::shard_move.

#include "pool/drain.h"

namespace cairn::pool {

// Strand only. Registers its handler with `peers` (before start()); all that it is given outlives it, and peers.stop()
// comes before its end.
class MoveOrders {
 public:
  MoveOrders(peer::Peers& peers, ShardMover& mover, Drain& drain);

  uint64_t carried_out() const { return carried_out_; }

 private:
  env::Task<Result<peer::Reply>> serve(peer::Request request);

  peer::Peers& peers_;
  ShardMover& mover_;
  Drain& drain_;
  size_t at_work_ = 0;
  uint64_t carried_out_ = 0;
};

}  // namespace cairn::pool
