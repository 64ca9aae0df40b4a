#include "store/headroom.h"

#include <cmath>

#include "store/limits.h"

namespace cairn::store {

// What was lost and these stores cannot have taken.
uint64_t Headroom::written_between(const Look& then, const Look& now) {
  const uint64_t own = now.own.most - std::min(now.own.most, then.own.least);
  const uint64_t given_back = then.own.least - std::min(then.own.least, now.own.most);
  const uint64_t after = now.available + own;
  const uint64_t before = then.available + given_back;
  return before - std::min(before, after);
}

void Headroom::follow_pace(const Look& now) {
  if (!looks_.empty()) {
    const double passed = std::chrono::duration<double>(now.when - looks_.back().when) / kPaceHalf;
    soon_ = static_cast<uint64_t>(static_cast<double>(soon_) * std::exp2(-passed));
  }
  // Over a glance: a burst that would fill the disk. Over a longer time: what goes on.
  for (const auto& [window, ahead] : {std::pair{kGlance, kReaction}, std::pair{kHostAhead, kHostAhead}}) {
    const auto then =
        std::find_if(looks_.rbegin(), looks_.rend(), [&](const Look& look) { return now.when - look.when >= window; });
    if (then == looks_.rend()) continue;
    const double seconds = std::chrono::duration<double>(now.when - then->when).count();
    const double pace =
        std::min(static_cast<double>(written_between(*then, now)) / seconds, static_cast<double>(kHostSpeed));
    soon_ = std::max(soon_, static_cast<uint64_t>(pace * std::chrono::duration<double>(ahead).count()));
  }
  looks_.push_back(now);
  while (looks_.size() > 1 && now.when - looks_[1].when >= kHostAhead) looks_.pop_front();
}

Headroom::Demand Headroom::observe(const env::Space& space, Own own, uint64_t keep_free, Time now) {
  const uint64_t free = space.available;
  Demand demand{.look_again = kLookAtDisk};
  if (space.total > 0)
    demand.full_percent = 100.0 * (1.0 - static_cast<double>(free) / static_cast<double>(space.total));
  if (keep_free == 0 || space.total == 0) {
    *this = {};
    return demand;
  }
  follow_pace({free, own, now});
  if (free < keep_free) taking_ = false;
  if (free < keep_free - keep_free / kOwnSlack) moving_ = true;
  if (free >= keep_free + keep_free / 2) moving_ = false;
  // Not while the host writes at a pace that would soon have it back.
  if (free >= 2 * keep_free && soon_ <= keep_free / kCalm) taking_ = true;
  const uint64_t least = keep_free / 5;
  if (free < std::max(moving_ ? least : 0, soon_)) dropping_ = true;
  const uint64_t wanted = std::max(2 * least, kHostRounds * soon_);
  if (free >= wanted) dropping_ = false;
  if (dropping_) taking_ = false;

  demand.take = taking_;
  if (dropping_) demand.drop = wanted - free;
  if (moving_) demand.move = std::max(keep_free + keep_free / 2 - free, demand.drop);
  // So often that even the fastest host takes but a part of what is free between two looks.
  const double seconds = static_cast<double>(free / kLookShare) / static_cast<double>(kHostSpeed);
  demand.look_again =
      std::clamp(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds)),
                 soon_ > free / kLookShare || dropping_ ? kLookAtFastHost : kLookAtFullDisk, kLookAtDisk);
  return demand;
}

}  // namespace cairn::store
