#pragma once
// The member log: one hash chain per admitting device, and the members that follow from all of them together.
//
// Nobody puts admins in order, so the state is a function of the set of entries alone, and nodes that have the same
// entries agree whatever order these came in:
//  * Admins are taken in the order of (steps of granting from the founder, MemberID), and each one's entries in order.
//  * An entry that removes a member, revokes a device or takes a role away names how far its author had seen the chains
//    that it ends. Entries up to there stay; later ones count for nothing and are dropped. It cannot end a chain
//    before the entry by which its own author became an admin.
//  * When that hits entries that were already counted, all is evaluated anew without them. So of two admins who remove
//    each other at the same moment the one who comes first in the order stays.
//  * A removed member stays removed; who comes back does so under a new member key.
// Pure state, no I/O.

#include <map>
#include <set>
#include <string>
#include <vector>

#include "peer/identity.h"
#include "peer/membership.h"
#include "proto/membership.pb.h"

namespace cairn::peer {

class MemberLog {
 public:
  MemberLog(const PoolId& pool, ByteView founder_key, std::string founder_name);

  const std::map<MemberId, Member>& members() const { return members_; }
  const Member* member(const MemberId& id) const;
  bool revoked(const NodeId& node) const { return revoked_.contains(node); }

  // True when it was news. Code::conflict: entries before it are missing; corrupt: it is not the one that follows its
  // chain's last entry, or a signature is wrong; denied: another pool's, by someone who is no admin, or after the end
  // of the chain.
  Result<bool> add(const wire::LogRecord& record);
  // Adds what fits, whatever the order; how many were news.
  size_t add_all(std::vector<wire::LogRecord> records);
  // The next entry of this device's own chain, not added yet. `action` has only the action set; what it ends is
  // filled in. Code::denied (no admin), bad_input (no such member, the last admin).
  Result<wire::LogRecord> prepare(const Identity& author, WallTime now, wire::LogEntry action) const;

  // All entries in an order in which they can be added again.
  std::vector<wire::LogRecord> records() const;
  // Authors and lengths of their chains.
  std::vector<std::pair<NodeId, uint64_t>> heights() const;
  uint64_t height(const NodeId& author) const;
  // Entry number `sequence` (from 1) of a chain; both must be there.
  const wire::LogRecord& record(const NodeId& author, uint64_t sequence) const;

 private:
  struct Entry {
    wire::LogRecord record;
    wire::LogEntry body;
    Hash hash;
  };
  struct Chain {
    MemberId member;  // of the author
    std::vector<Entry> entries;
  };
  using Heights = std::map<NodeId, uint64_t>;
  struct Evaluation;

  // Checks and appends without asking whether the author may.
  Result<bool> append(const wire::LogRecord& record);
  void evaluate();
  // When `entry` only adds a plain member, its effect without evaluating all anew.
  bool apply_quickly(const Chain& chain, const wire::LogEntry& entry);

  PoolId pool_;
  Member founder_;
  std::map<NodeId, Chain> chains_;
  // What follows from the chains.
  std::map<MemberId, Member> members_;
  std::set<NodeId> revoked_;
  std::map<MemberId, uint64_t> role_versions_;
  std::set<MemberId> pending_;  // removed or given a role by an entry, but not added by any yet
  std::vector<NodeId> order_;   // chains in the order in which they were counted
};

}  // namespace cairn::peer
