#pragma once
// Healing: the services of a holder that keep the pool whole, as one bundle: what others' reliability is, moving and
// rebuilding shards, audits and scrub, repair.

#include "pool/audit.h"
#include "pool/repair.h"
#include "pool/shard_mover.h"

namespace cairn::pool {

struct HealingOptions {
  MoverOptions mover;
  AuditOptions audit;
  RepairOptions repair;
  // All that is waited for, multiplied: tests with real daemons cannot wait for days.
  HealingOptions scaled(double factor) const {
    HealingOptions options = *this;
    options.audit = audit.scaled(factor);
    options.repair.times = repair.times.scaled(factor);
    return options;
  }
};

// Strand only. Made before peers.start(). Order of ending: peers.stop(), stop(), then the holder may close.
class Healing {
 public:
  Healing(env::World world, peer::Peers& peers, Holder& holder, HealingOptions options = {})
      : world_(world),
        scores_(world, holder.index()),
        mover_(world, peers, holder, options.mover),
        auditor_(world, peers, holder, scores_, options.audit),
        repair_(world, peers, holder, mover_, auditor_, scores_, options.repair) {}

  env::Task<void> start() {
    auto loaded = co_await scores_.load();
    if (!loaded) world_.log.warning("scores_not_read", "error=\"{}\"", to_string(loaded.error()));
    auditor_.start();
    repair_.start();
  }
  env::Task<void> stop() {
    repair_.stop();
    auditor_.stop();
    auto saved = co_await scores_.save();
    if (!saved) world_.log.warning("scores_not_saved", "error=\"{}\"", to_string(saved.error()));
  }

  const NodeScores& scores() const { return scores_; }
  ShardMover& mover() { return mover_; }
  Auditor& auditor() { return auditor_; }
  Repair& repair() { return repair_; }

 private:
  env::World world_;
  NodeScores scores_;
  ShardMover mover_;
  Auditor auditor_;
  Repair repair_;
};

}  // namespace cairn::pool
