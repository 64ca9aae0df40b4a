#pragma once
// Introductions: a node that was away while members were admitted refuses them, and when those whom it knows have gone
// it would be alone for ever. Who is refused so brings it the log that admits him, as a stranger (INTRODUCE). Entries
// prove themselves, whoever brings them. Belongs to Peers; strand only.

#include "peer/session_table.h"

namespace cairn::peer {

class Introductions {
 public:
  // Serves INTRODUCE where this process serves. `changed`: the membership has. All references outlive it.
  Introductions(env::World world, const Identity& identity, Membership& membership, SessionTable& table,
                std::function<void()> changed);
  // This known node has refused the device because it does not know its member.
  void unknown_to(const NodeId& node);
  void stop();

 private:
  env::Task<Result<Reply>> hear(Request request);
  static env::Task<void> introduce_to(Introductions* self, NodeId node, std::vector<env::Address> addresses);

  env::World world_;
  const Identity& identity_;
  Membership& membership_;
  SessionTable& table_;
  std::function<void()> changed_;
  std::map<NodeId, Time> tried_;
  RateLimit heard_;
  env::TaskGroup tasks_;
};

}  // namespace cairn::peer
