#include "store/headroom.h"

#include "store/limits.h"

namespace cairn::store {

Headroom::Demand Headroom::observe(const env::Space& space, uint64_t keep_free, Time now) {
  const uint64_t free = space.available;
  Demand demand{.look_again = kLookAtDisk};
  if (space.total > 0)
    demand.full_percent = 100.0 * (1.0 - static_cast<double>(free) / static_cast<double>(space.total));
  if (keep_free == 0 || space.total == 0) {
    *this = {};
    return demand;
  }
  // What the host writes in kHostAhead at its present pace. While this store takes shards it may be its own pace.
  if (!last_ || now - last_->when >= kHostAhead) {
    soon_ = 0;
    if (last_ && !last_->taking && last_->available > free) {
      const double ahead = std::chrono::duration<double>(kHostAhead) / std::chrono::duration<double>(now - last_->when);
      soon_ = static_cast<uint64_t>(static_cast<double>(last_->available - free) * ahead);
    }
    last_ = Seen{free, now, taking_ && free >= keep_free};
  }
  if (free < keep_free) taking_ = false;
  if (free < keep_free - keep_free / kOwnSlack) moving_ = true;
  if (free >= keep_free + keep_free / 2) moving_ = false;
  if (free >= 2 * keep_free) taking_ = true;
  const uint64_t least = keep_free / 5;
  if (free < std::max(least, moving_ ? soon_ : 0)) dropping_ = true;
  const uint64_t wanted = std::max(2 * least, kHostRounds * soon_);
  if (!moving_ || free >= wanted) dropping_ = false;

  demand.take = taking_;
  if (moving_) demand.move = keep_free + keep_free / 2 - free;
  if (dropping_) demand.drop = wanted - free;
  demand.move = std::max(demand.move, demand.drop);
  // The nearer the next threshold, the sooner the next look: no host writes faster than kHostSpeed.
  const uint64_t next = moving_ ? least : keep_free - keep_free / kOwnSlack;
  const auto to_go = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
      static_cast<double>(free - std::min(free, next)) / static_cast<double>(kHostSpeed)));
  demand.look_again = std::clamp(to_go, kLookAtFullDisk, kLookAtDisk);
  return demand;
}

}  // namespace cairn::store
