#pragma once
// The register's messages as checked values: founding, configuration, value, origin. Pure.

#include <algorithm>

#include "peer/identity.h"
#include "proto/register.pb.h"
#include "volume/register.h"

namespace cairn::volume {

struct Ballot {
  uint64_t counter = 0;  // 0: none
  NodeId proposer;
  uint64_t session = 0;
  auto operator<=>(const Ballot&) const = default;
};
Result<Ballot> parse_ballot(const wire::Ballot& message);
void put_ballot(const Ballot& ballot, wire::Ballot* out);

// 1, 3 or 5 distinct nodes with their instances, or Code::corrupt.
Result<RegisterConfig> parse_config(const wire::RegisterConfig& message);
void put_config(const RegisterConfig& config, wire::RegisterConfig* out);
inline bool has_keeper(const RegisterConfig& config, const NodeId& node) {
  return std::ranges::find(config.keepers, node) != config.keepers.end();
}
inline size_t majority(const RegisterConfig& config) {
  return config.keepers.size() / 2 + 1;
}
// Where the node stands in the configuration with this instance; nothing when it is not one of its keepers.
std::optional<size_t> place_of(const RegisterConfig& config, const NodeId& node, const KeeperInstance& instance);

struct Founding {
  Bytes bytes;
  RegisterId id;
  PoolId pool;
  wire::RegisterFounding::Kind kind{};
  MemberId owner;
  RegisterConfig first;  // no keepers for an account
  Hash order_key;        // of the rendezvous order: follows from pool, owner and nonce
};
Result<Founding> parse_founding(ByteView bytes);
Hash founding_order_key(const wire::RegisterFounding& message);

struct Value {
  uint64_t sequence = 0;
  Hash previous;  // zero: none
  RegisterConfig config;
  Bytes content;
  WallTime written = 0;
  bool sealed = false;
  RegisterConfig next;  // of a sealed one
  std::vector<Hash> recent;
  std::vector<RegisterForced> forced;
  bool force = false;  // of a sealed one: needs no receipts
  NodeId writer;
  bool settles = false;
  bool append_only = false;  // its signer may only add; known of values whose signatures were checked
  Hash body_hash;
  wire::Signed encoded;

  // Of what was written last: a sealed value only carries it on.
  const Hash& hash() const { return sealed ? previous : body_hash; }
  // The value that sealed the configuration before this one.
  bool begins(const RegisterConfig& other) const { return sealed && next == other; }
};
// Signed by a device of the owner, for this register, well formed; else Code::corrupt or denied.
Result<Value> parse_value(const Founding& founding, const wire::Signed& message);
// The same of bytes whose signatures have been checked before (own disk, equal bytes).
Result<Value> parse_checked_value(const Founding& founding, const wire::Signed& message);
bool same_bytes(const wire::Signed& a, const wire::Signed& b);
// Signs what `value` says; fills body_hash and encoded.
void sign_value(const Founding& founding, const peer::Identity& identity, Value& value);
// What the register holds when `value` is chosen and `config` is its configuration.
RegisterState state_of(const Value& value, const RegisterConfig& config);

// The sealed value with which `config` began: its receipts are of one ballot by a majority of the configuration sealed.
Result<Value> check_origin(const Founding& founding, const wire::RegisterOrigin& origin, const RegisterConfig& config);
// A keeper's receipt.
wire::Signed make_receipt(const RegisterId& id, const Ballot& ballot, const Hash& value, uint64_t epoch,
                          const NodeId& keeper, const crypto::PrivateKey& device);
// True when it is this keeper's for exactly this.
bool check_receipt(const wire::Signed& receipt, const RegisterId& id, const Ballot& ballot, const Hash& value,
                   uint64_t epoch, const NodeId& keeper);

// Epochs after a force are above all that the keepers who were given up may reach, and differ from those of another
// force at the same time.
inline constexpr int kForceBits = 40;
inline uint64_t epoch_after_force(uint64_t epoch, uint64_t random) {
  return (((epoch >> kForceBits) + 1) << kForceBits) | (random & 0xffff) << 20;
}

// Keepers for this many live lending nodes.
inline size_t keepers_for(size_t nodes) {
  return nodes >= 5 ? 5 : nodes >= 3 ? 3 : 1;
}
// In the order of SHA-256(key || node): a change of one node moves no other.
void sort_by_rendezvous(const Hash& key, std::vector<KeeperCandidate>& nodes);

}  // namespace cairn::volume
