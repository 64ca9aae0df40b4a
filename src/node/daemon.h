#pragma once
// Daemon: the composition root of cairnd. Builds the rooms on the real world, keeps them running, takes them down in
// order.

#include "cairn/daemon.h"
#include "client/home.h"
#include "node/housekeeping.h"
#include "node/keeper_care.h"
#include "node/lending.h"
#include "node/member_admin.h"
#include "os/real_world.h"
#include "peer/invite.h"
#include "pool/healing.h"
#include "pool/move_orders.h"
#include "pool/trash.h"
#include "proto/membership.pb.h"
#include "volume/register.h"

namespace cairn::node {

class Daemon {
 public:
  Daemon(Log& log, os::RealWorld& real, client::Home home, DaemonOptions options);

  // Opens everything and begins to serve; gives the address.
  env::Task<Result<env::Address>> start();
  // Sessions end, stores close cleanly.
  env::Task<void> stop();

 private:
  // Takes up what changed: figures, configuration, membership. Every few seconds.
  static env::Task<void> watch(Daemon* self);
  void tell_own_record();
  static env::Task<void> save_soon(Daemon* self);
  void save_membership();
  wire::AdminStatusResponse status() const;
  wire::HealingStatus healing_status() const;

  Log& log_;
  os::RealWorld& real_;
  env::World world_;
  client::Home home_;
  DaemonOptions options_;
  client::Config config_;
  std::string config_text_;
  uint64_t boot_ = 0;
  Time started_{};
  env::Address address_;
  std::unique_ptr<env::DiskLock> lock_;
  std::unique_ptr<peer::Peers> peers_;
  std::unique_ptr<peer::Invites> invites_;
  std::unique_ptr<MemberAdmin> member_admin_;
  std::unique_ptr<volume::Keeper> keeper_;
  std::unique_ptr<pool::Holder> holder_;
  std::unique_ptr<pool::Trash> trash_;
  std::unique_ptr<pool::Healing> healing_;
  std::unique_ptr<Lending> lending_;
  std::unique_ptr<pool::MoveOrders> move_orders_;
  std::unique_ptr<Housekeeping> housekeeping_;
  std::unique_ptr<KeeperCare> keeper_care_;
  bool membership_changed_ = false, saving_soon_ = false;
  uint64_t log_seen_ = 0;  // version
  std::optional<env::TaskGroup> tasks_;
};

}  // namespace cairn::node
