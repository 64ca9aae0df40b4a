#pragma once
// Who is in the pool: genesis, member log, and what nodes say of themselves. Pure state with rules: no I/O.

#include <map>
#include <set>

#include "env/network.h"
#include "peer/identity.h"

namespace cairn::wire {
class GossipRequest;
class GossipResponse;
class LogRecord;
class NodeEntry;
}  // namespace cairn::wire

namespace cairn::peer {

enum class Role { member, admin };

struct Member {
  MemberId id;
  Bytes key;
  std::string name;
  Role role = Role::member;
  bool removed = false;
};

// A NodeRecord that has been checked.
struct NodeInfo {
  NodeId id;
  MemberId member;
  std::string name;
  std::vector<env::Address> addresses;
  uint64_t limit = 0, used = 0, free = 0;
  std::string domain;  // stated by the node; "" = its member
  uint64_t boot_seq = 0, sequence = 0;
  bool lends = false;
  bool leaving = false;
  // What fails together: the stated domain within the member, else the member (in hex). A node cannot claim to be in
  // another member's domain to spread over it more than one share.
  std::string domain_key() const;
};

class Membership {
 public:
  // Code::corrupt when the genesis is not what `pool` names.
  static Result<Membership> from_genesis(ByteView signed_genesis);
  const PoolId& pool() const;
  const std::string& pool_name() const;
  const Bytes& genesis() const;  // wire.Signed

  const Member* member(const MemberId& id) const;  // also removed ones
  std::vector<Member> members() const;
  // The certificate's member is in the pool, and neither member nor device was removed. Code::denied.
  Status admits(const Certificate& certificate) const;

  // Entries that do not fit (wrong chain, signature, role) are refused; Code::corrupt or denied. Known ones are fine.
  Status add_log(const wire::LogRecord& record);
  // The next entry of this device's own chain; already added.
  Result<wire::LogRecord> append(const Identity& author, WallTime now, const std::string& encoded_action_entry);
  std::vector<wire::LogRecord> log() const;

  // True when it was news.
  Result<bool> add_node(const wire::NodeEntry& entry);
  const NodeInfo* node(const NodeId& id) const;
  std::vector<NodeInfo> nodes() const;  // by NodeId, without revoked ones

  // Push-pull: what I have by digest; what the other lacks.
  wire::GossipRequest digest() const;
  wire::GossipResponse answer(const wire::GossipRequest& request);
  // Everything, as kept in HOME/pool (bytes) and read again.
  Bytes serialize() const;
  static Result<Membership> parse(ByteView bytes);
};

}  // namespace cairn::peer
