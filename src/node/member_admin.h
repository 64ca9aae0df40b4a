#pragma once
// MemberAdmin: removes members and revokes devices on behalf of the commands of this home. The daemon alone writes its
// device's chain of the member log, so that no two processes write different next entries.

#include <functional>

#include "peer/peers.h"
#include "proto/membership.pb.h"

namespace cairn::node {

class MemberAdmin {
 public:
  // `save`: makes a membership durable before its newest entry counts. All references outlive it.
  using Save = std::function<Status(const peer::Membership&)>;
  MemberAdmin(env::World world, peer::Peers& peers, Save save) : world_(world), peers_(peers), save_(std::move(save)) {}
  void serve();  // before the peers start

 private:
  env::Task<Result<peer::Reply>> answer(peer::Request request);
  Status write(const wire::LogEntry& action);

  env::World world_;
  peer::Peers& peers_;
  Save save_;
};

}  // namespace cairn::node
