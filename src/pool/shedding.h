#pragma once
// Shedding: what a pressed host drops at once, the least harmful first, and declares by `gone` claims.
//
// First of all goes what is in the trash. How harmful it is to drop a shard follows from who else of its pack is alive
// by the claims that are known here: the spare of a shard is the number of other slots with a live holder, less k. What
// has most to spare goes first; a shard without which its pack could not be read (spare below 0) is never dropped, only
// moved (pool/drain.h).

#include "pool/trash.h"

namespace cairn::pool {

// Slots of the pack that a live node other than `self` claims, less k. Below 0: the pack needs what is here.
int spare_of(const std::vector<Claim>& claims, const NodeId& self, uint32_t k,
             const std::function<bool(const NodeId&)>& alive);

// What walks over a store have still to drop: bytes, and the least spare of what may go now. The first walk takes what
// has as much to spare as the best that it meets at its beginning, each further one the best that was passed by. Pure.
class ShedOrder {
 public:
  explicit ShedOrder(uint64_t bytes) : left_(bytes) {}
  // The best of the first shards.
  void begin_with(int most_spare) { from_ = std::max(0, most_spare); }
  // Whether to drop this one now.
  bool take(int spare, uint64_t bytes);
  bool enough() const { return left_ == 0; }
  // The walk is over; false when nothing is left that may go.
  bool next_walk();

 private:
  uint64_t left_;
  int from_ = static_cast<int>(kMaxSlots);  // dropped now: at least so much to spare
  int below_ = -1;                          // the most to spare that this walk has passed by
};

struct Shed {
  uint64_t shards = 0, bytes = 0;  // dropped
  uint64_t trash = 0;              // bytes of them that were in the trash
};
// Gives back what the store had reserved, then drops shards of this store until about `bytes` of its file system are
// free again, or nothing is left that may go. Work follows what the store holds: only for when the host is pressed.
env::Task<Shed> shed(env::World world, peer::Peers& peers, Holder& holder, Trash* trash, StoreId store, uint64_t bytes);

}  // namespace cairn::pool
