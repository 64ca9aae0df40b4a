#pragma once
// KeeperCare: moves the registers of this node's member (account and heads) away from keepers that departed, left or
// stopped lending, while no command of the member runs. Needs no volume's key.

#include "peer/peers.h"
#include "volume/account.h"

namespace cairn::node {

class KeeperCare {
 public:
  // Strand only. `peers` outlives it and its task.
  KeeperCare(env::World world, peer::Peers& peers);

  // For as long as the daemon runs.
  static env::Task<void> run(KeeperCare* self);

 private:
  // The nodes that cannot be keepers now, and how many keepers a register should have.
  std::pair<std::set<NodeId>, size_t> look();
  env::Task<Status> adapt();

  env::World world_;
  peer::Peers& peers_;
  volume::Account account_;
  env::Prng prng_;
  std::map<NodeId, Time> departed_;  // since when
};

}  // namespace cairn::node
