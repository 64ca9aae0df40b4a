#pragma once
// Who is in the pool: genesis, member log, and what nodes say of themselves. Pure state with rules: no I/O.

#include <functional>
#include <memory>
#include <string>
#include <vector>

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
  bool leaving = false;  // it has left for good, with nothing on it any more: NodeState::left
  // What fails together: the stated domain within the member, else the member (in hex). A node cannot claim to be in
  // another member's domain to spread over it more than one share.
  std::string domain_key() const;
  bool operator==(const NodeInfo&) const = default;
};

// What a node says of itself, signed and with its certificate. info.id and info.member are the identity's.
wire::NodeEntry sign_node(const Identity& identity, const NodeInfo& info);

// Copies are deep.
class Membership {
 public:
  // Code::corrupt when it is not a genesis record or its founder did not sign it.
  static Result<Membership> from_genesis(ByteView signed_genesis);
  Membership(const Membership& other);
  Membership& operator=(const Membership& other);
  Membership(Membership&& other) noexcept;
  Membership& operator=(Membership&& other) noexcept;
  ~Membership();

  const PoolId& pool() const;
  const std::string& pool_name() const;
  const Bytes& genesis() const;  // wire.Signed

  const Member* member(const MemberId& id) const;  // also removed ones; valid until the log changes
  std::vector<Member> members() const;             // by MemberId
  // The certificate's member is in the pool, and neither member nor device was removed. Code::denied.
  Status admits(const Certificate& certificate) const;
  bool is_admin(const Certificate& certificate) const;

  // True when it was news. Entries that do not fit are refused: Code::conflict (entries before it are missing), corrupt
  // (another than the one that follows, a wrong signature), denied (another pool's, or its author may not write it).
  Result<bool> add_log(const wire::LogRecord& record);
  // The next entry of this device's own chain, from a LogEntry that has only its action set; already added.
  // Code::denied (no admin), not_found (no such member), bad_input (the last admin).
  Result<wire::LogRecord> append(const Identity& author, WallTime now, const std::string& encoded_action_entry);
  // The same, not added: for what must be durable before it counts.
  Result<wire::LogRecord> prepare(const Identity& author, WallTime now, const std::string& encoded_action_entry) const;
  std::vector<wire::LogRecord> log() const;
  // Authors of the log's chains and how long these are; entry `sequence` (from 1) of one, which must be there.
  std::vector<std::pair<NodeId, uint64_t>> chains() const;
  const wire::LogRecord& log_record(const NodeId& author, uint64_t sequence) const;

  // True when it was news; an older one than the known is not. Code::corrupt, denied, too_large.
  Result<bool> add_node(const wire::NodeEntry& entry);
  const NodeInfo* node(const NodeId& id) const;            // none when it was revoked; valid until the next change
  bool removed(const NodeId& id) const;                    // known, but its member was removed or it was revoked
  const Certificate* certificate(const NodeId& id) const;  // of a known node, likewise
  std::vector<NodeInfo> nodes() const;                     // by NodeId, without revoked ones
  // The same without copies: stops at the first for which `wanted` says yes, and tells whether there was one.
  bool any_node(const std::function<bool(const NodeInfo&)>& wanted) const;
  std::vector<NodeInfo> removed_nodes() const;  // the others that are known, by NodeId: for showing them
  std::vector<wire::NodeEntry> node_entries() const;

  // Push-pull: what I have by digest; what the other lacks, and which of its things I want; what I took from an answer;
  // the push of what was wanted. At most kMaxGossipRecords of records in each, the rest comes with the next round.
  wire::GossipRequest digest() const;
  wire::GossipResponse answer(const wire::GossipRequest& request);
  // True when anything was news.
  bool merge(const wire::GossipResponse& response);
  wire::GossipRequest push_for(const wire::GossipResponse& response) const;
  // The same in fewer bytes where little differs: a hash of log and nodes; one for each of 2^bits buckets of nodes,
  // with extra(node) mixed in; digests of the nodes in some buckets, to be completed by the chains of digest().
  uint64_t summary() const;
  uint32_t bucket_bits() const;  // for a table of this size
  std::vector<uint64_t> bucket_hashes(uint32_t bits, const std::function<uint64_t(const NodeId&)>& extra) const;
  wire::GossipRequest digest_of_buckets(uint32_t bits, const std::vector<uint32_t>& buckets) const;
  static uint32_t bucket_of(const NodeId& node, uint32_t bits);
  // Grows with every change of the log; of log or nodes; of who is a node that has not left.
  uint64_t log_version() const;
  uint64_t version() const;
  uint64_t roster_version() const;

  // Everything, as kept in HOME/pool (bytes) and read again. Code::corrupt.
  Bytes serialize() const;
  static Result<Membership> parse(ByteView bytes);

 private:
  struct State;
  explicit Membership(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace cairn::peer
