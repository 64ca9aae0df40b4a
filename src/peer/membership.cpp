#include "peer/membership.h"

#include <bit>
#include <set>

#include "peer/domains.h"
#include "peer/limits.h"
#include "peer/member_log.h"
#include "peer/names.h"
#include "proto/membership.pb.h"

namespace cairn::peer {

std::string NodeInfo::domain_key() const {
  return domain.empty() ? member.hex() : member.hex() + "/" + domain;
}

wire::NodeEntry sign_node(const Identity& identity, const NodeInfo& info) {
  wire::NodeRecord record;
  record.set_node(identity.node.raw());
  record.set_name(info.name);
  for (const auto& address : info.addresses) record.add_addresses(address.text());
  record.set_limit(info.limit);
  record.set_used(info.used);
  record.set_free(info.free);
  record.set_domain(info.domain);
  record.set_boot_seq(info.boot_seq);
  record.set_sequence(info.sequence);
  record.set_lends(info.lends);
  record.set_leaving(info.leaving);
  wire::NodeEntry entry;
  *entry.mutable_record() = make_signed(identity.device, kDomainNode, wire::encode(record));
  const auto certificate = wire::decode_into(*entry.mutable_certificate(), identity.certificate.encoded);
  CAIRN_ASSERT(certificate);
  return entry;
}

namespace {

struct KnownNode {
  NodeInfo info;
  Certificate certificate;
  wire::NodeEntry entry;
  // What admits() said when the log had this version: tables are walked far more often than the log changes.
  mutable uint64_t asked_at = UINT64_MAX;
  mutable bool admitted = false;
};

// The record within limits and of the certificate's device. Says nothing about who is admitted.
Result<KnownNode> check_node(const wire::NodeEntry& entry) {
  auto record = wire::decode<wire::NodeRecord>(entry.record().body());
  if (!record) return fail(std::move(record.error()), "node record");
  auto certificate = Certificate::parse(entry.certificate());
  if (!certificate) return fail(std::move(certificate.error()));
  if (record->node() != certificate->node.raw() || entry.record().public_key() != as_text(certificate->device_key)) {
    return fail(Code::corrupt, "a node record that its node did not sign");
  }
  CAIRN_TRY(check_signed(entry.record(), kDomainNode));
  CAIRN_TRY(check_name(record->name()));
  CAIRN_TRY(check_name(record->domain()));
  if (record->domain().size() > kMaxDomainLength) return fail(Code::bad_input, "a domain of more than 64 bytes");
  if (record->addresses_size() > static_cast<int>(kMaxAddresses)) return fail(Code::bad_input, "too many addresses");
  KnownNode node{.info = {.id = certificate->node,
                          .member = certificate->member,
                          .name = record->name(),
                          .addresses = {},
                          .limit = record->limit(),
                          .used = record->used(),
                          .free = record->free(),
                          .domain = record->domain(),
                          .boot_seq = record->boot_seq(),
                          .sequence = record->sequence(),
                          .lends = record->lends(),
                          .leaving = record->leaving()},
                 .certificate = std::move(*certificate),
                 .entry = entry};
  for (const auto& text : record->addresses()) {
    if (text.size() > kMaxAddressLength) return fail(Code::bad_input, "an address of more than 262 bytes");
    auto address = env::Address::parse(text);
    if (!address) return fail(std::move(address.error()));
    node.info.addresses.push_back(std::move(*address));
  }
  return node;
}

std::pair<uint64_t, uint64_t> age(const NodeInfo& info) {
  return {info.boot_seq, info.sequence};
}

// One round of splitmix64.
uint64_t mix(uint64_t seed, uint64_t value) {
  uint64_t z = seed + 0x9e3779b97f4a7c15ULL + value;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}
// For telling tables apart, not against forgers: who forges a hash only hides its own news.
uint64_t short_hash(const NodeId& id, uint64_t first, uint64_t second) {
  return mix(mix(read_le<uint64_t>(id.bytes.data()), first), second);
}
uint64_t short_hash(const NodeInfo& info) {
  return short_hash(info.id, info.boot_seq, info.sequence);
}

}  // namespace

struct Membership::State {
  State(const PoolId& id, std::string name, Bytes signed_genesis, const wire::Genesis& body)
      : pool(id),
        pool_name(std::move(name)),
        genesis(std::move(signed_genesis)),
        log(id, as_bytes(body.founder_key()), body.founder_name()) {}

  const KnownNode* admitted(const NodeId& id) const {
    const auto found = nodes.find(id);
    return found != nodes.end() && admits(found->second) ? &found->second : nullptr;
  }
  bool admits(const KnownNode& node) const {
    if (node.asked_at != log_version) {
      node.asked_at = log_version;
      node.admitted = admits(node.certificate).has_value();
    }
    return node.admitted;
  }

  Status admits(const Certificate& certificate) const {
    if (certificate.pool != pool) return fail(Code::denied, "a certificate for another pool");
    const Member* member = log.member(certificate.member);
    if (!member) return fail(Code::denied, "not a member of this pool");
    if (member->removed) return fail(Code::denied, "this member was removed from the pool");
    if (log.revoked(certificate.node)) return fail(Code::denied, "this device was revoked");
    return {};
  }

  void log_changed() {
    ++log_version;
    ++version;
    ++roster_version;
    table_hash.reset();
  }

  PoolId pool;
  std::string pool_name;
  Bytes genesis;
  MemberLog log;
  std::map<NodeId, KnownNode> nodes;
  std::map<MemberId, size_t> nodes_of;
  uint64_t log_version = 0, version = 0, roster_version = 0;
  std::optional<uint64_t> table_hash;  // XOR over admitted nodes and chains; nothing: to be made anew
};

Membership::Membership(std::unique_ptr<State> state) : state_(std::move(state)) {}
Membership::Membership(const Membership& other) : state_(std::make_unique<State>(*other.state_)) {}
Membership& Membership::operator=(const Membership& other) {
  if (this != &other) state_ = std::make_unique<State>(*other.state_);
  return *this;
}
Membership::Membership(Membership&& other) noexcept = default;
Membership& Membership::operator=(Membership&& other) noexcept = default;
Membership::~Membership() = default;

Result<Membership> Membership::from_genesis(ByteView signed_genesis) {
  auto message = wire::decode<wire::Signed>(signed_genesis);
  if (!message) return fail(std::move(message.error()), "genesis");
  auto body = wire::decode<wire::Genesis>(message->body());
  if (!body) return fail(std::move(body.error()), "genesis");
  if (body->version() != 1) return fail(Code::unsupported, "a genesis record of another version");
  if (body->founder_key() != message->public_key()) return fail(Code::corrupt, "the founder did not sign the genesis");
  CAIRN_TRY(check_signed(*message, kDomainGenesis));
  CAIRN_TRY(check_name(body->pool_name()));
  CAIRN_TRY(check_name(body->founder_name()));
  const PoolId pool = id_cast<PoolId>(crypto::sha256(as_bytes(message->body())));
  return Membership(std::make_unique<State>(pool, body->pool_name(), to_bytes(signed_genesis), *body));
}

const PoolId& Membership::pool() const {
  return state_->pool;
}
const std::string& Membership::pool_name() const {
  return state_->pool_name;
}
const Bytes& Membership::genesis() const {
  return state_->genesis;
}
const Member* Membership::member(const MemberId& id) const {
  return state_->log.member(id);
}

std::vector<Member> Membership::members() const {
  std::vector<Member> members;
  for (const auto& [id, member] : state_->log.members()) members.push_back(member);
  return members;
}

Status Membership::admits(const Certificate& certificate) const {
  return state_->admits(certificate);
}

bool Membership::is_admin(const Certificate& certificate) const {
  return !certificate.append_only && state_->admits(certificate) && member(certificate.member)->role == Role::admin;
}

Result<bool> Membership::add_log(const wire::LogRecord& record) {
  auto added = state_->log.add(record);
  if (added && *added) state_->log_changed();
  return added;
}

Result<wire::LogRecord> Membership::prepare(const Identity& author, WallTime now,
                                            const std::string& encoded_action_entry) const {
  auto action = wire::decode<wire::LogEntry>(encoded_action_entry);
  if (!action) return fail(std::move(action.error()));
  if (author.pool != pool()) return fail(Code::bad_input, "a device of another pool");
  return state_->log.prepare(author, now, std::move(*action));
}

Result<wire::LogRecord> Membership::append(const Identity& author, WallTime now,
                                           const std::string& encoded_action_entry) {
  auto record = prepare(author, now, encoded_action_entry);
  if (!record) return record;
  CAIRN_TRY(add_log(*record));
  return record;
}

std::vector<wire::LogRecord> Membership::log() const {
  return state_->log.records();
}

std::vector<std::pair<NodeId, uint64_t>> Membership::chains() const {
  return state_->log.heights();
}
const wire::LogRecord& Membership::log_record(const NodeId& author, uint64_t sequence) const {
  return state_->log.record(author, sequence);
}

Result<bool> Membership::add_node(const wire::NodeEntry& entry) {
  auto node = check_node(entry);
  if (!node) return fail(std::move(node.error()));
  CAIRN_TRY(state_->admits(node->certificate));
  auto& nodes = state_->nodes;
  const auto known = nodes.find(node->info.id);
  if (known != nodes.end()) {
    KnownNode& old = known->second;
    if (age(node->info) <= age(old.info)) return false;
    if (state_->table_hash) *state_->table_hash ^= short_hash(old.info) ^ short_hash(node->info);
    if (old.info.leaving != node->info.leaving) ++state_->roster_version;
    old = std::move(*node);
  } else {
    size_t& of_member = state_->nodes_of[node->info.member];
    if (nodes.size() >= kMaxNodes || of_member >= kMaxNodesPerMember) {
      return fail(Code::too_large, "more nodes than this node keeps");
    }
    ++of_member;
    ++state_->roster_version;
    if (state_->table_hash) *state_->table_hash ^= short_hash(node->info);
    nodes.emplace(node->info.id, std::move(*node));
  }
  ++state_->version;
  return true;
}

const NodeInfo* Membership::node(const NodeId& id) const {
  const KnownNode* node = state_->admitted(id);
  return node ? &node->info : nullptr;
}

bool Membership::removed(const NodeId& id) const {
  const auto found = state_->nodes.find(id);
  return found != state_->nodes.end() && !state_->admits(found->second);
}

const Certificate* Membership::certificate(const NodeId& id) const {
  const KnownNode* node = state_->admitted(id);
  return node ? &node->certificate : nullptr;
}

std::vector<NodeInfo> Membership::nodes() const {
  std::vector<NodeInfo> nodes;
  nodes.reserve(state_->nodes.size());
  for (const auto& [id, node] : state_->nodes) {
    if (state_->admits(node)) nodes.push_back(node.info);
  }
  return nodes;
}

bool Membership::any_node(const std::function<bool(const NodeInfo&)>& wanted) const {
  return std::ranges::any_of(
      state_->nodes, [&](const auto& known) { return state_->admits(known.second) && wanted(known.second.info); });
}

std::vector<NodeInfo> Membership::removed_nodes() const {
  std::vector<NodeInfo> nodes;
  for (const auto& [id, node] : state_->nodes) {
    if (!state_->admits(node)) nodes.push_back(node.info);
  }
  return nodes;
}

std::vector<wire::NodeEntry> Membership::node_entries() const {
  std::vector<wire::NodeEntry> entries;
  for (const auto& [id, node] : state_->nodes) {
    if (state_->admits(node)) entries.push_back(node.entry);
  }
  return entries;
}

wire::GossipRequest Membership::digest() const {
  wire::GossipRequest digest;
  for (const auto& [author, height] : state_->log.heights()) {
    auto* chain = digest.add_chains();
    chain->set_author(author.raw());
    chain->set_sequence(height);
  }
  for (const auto& [id, node] : state_->nodes) {
    if (!state_->admits(node)) continue;
    auto* known = digest.add_nodes();
    known->set_node(id.raw());
    known->set_boot_seq(node.info.boot_seq);
    known->set_sequence(node.info.sequence);
  }
  return digest;
}

uint64_t Membership::summary() const {
  auto& hash = state_->table_hash;
  if (!hash) {
    hash = 0;
    for (const auto& [author, height] : state_->log.heights()) *hash ^= short_hash(author, height, UINT64_MAX);
    for (const auto& [id, node] : state_->nodes) {
      if (state_->admits(node)) *hash ^= short_hash(node.info);
    }
  }
  return *hash;
}

uint32_t Membership::bucket_bits() const {
  const size_t buckets = state_->nodes.size() / kNodesPerBucket;
  return std::min(static_cast<uint32_t>(std::bit_width(buckets)), kMaxBucketBits);
}

uint32_t Membership::bucket_of(const NodeId& node, uint32_t bits) {
  const uint32_t first = uint32_t{node.bytes[0]} << 16 | uint32_t{node.bytes[1]} << 8 | node.bytes[2];
  return first >> (24 - bits);
}

std::vector<uint64_t> Membership::bucket_hashes(uint32_t bits,
                                                const std::function<uint64_t(const NodeId&)>& extra) const {
  std::vector<uint64_t> hashes(size_t{1} << bits);
  for (const auto& [id, node] : state_->nodes) {
    if (state_->admits(node.certificate)) hashes[bucket_of(id, bits)] ^= mix(short_hash(node.info), extra(id));
  }
  return hashes;
}

wire::GossipRequest Membership::digest_of_buckets(uint32_t bits, const std::vector<uint32_t>& buckets) const {
  wire::GossipRequest digest = this->digest();
  digest.set_bucket_bits(bits);
  const std::set<uint32_t> wanted(buckets.begin(), buckets.end());
  for (const uint32_t bucket : wanted) digest.add_buckets(bucket);
  auto* nodes = digest.mutable_nodes();
  nodes->erase(
      std::remove_if(nodes->begin(), nodes->end(),
                     [&](const auto& node) { return !wanted.contains(bucket_of(*NodeId::from(node.node()), bits)); }),
      nodes->end());
  return digest;
}

namespace {

// Adds records to a message until its size limit.
class Packer {
 public:
  template <class Repeated, class Record>
  bool add(Repeated* to, const Record& record) {
    const size_t size = record.ByteSizeLong() + 8;
    if (size > left_) return false;
    left_ -= size;
    *to->Add() = record;
    return true;
  }

 private:
  size_t left_ = kMaxGossipRecords;
};

template <class Message>
bool take(Membership& membership, MemberLog& log, const Message& message, const std::function<void()>& log_changed) {
  bool news = false;
  if (message.log_size() > 0 && log.add_all({message.log().begin(), message.log().end()}) > 0) {
    log_changed();
    news = true;
  }
  for (const auto& entry : message.entries()) {
    if (membership.add_node(entry).value_or(false)) news = true;
  }
  return news;
}

}  // namespace

wire::GossipResponse Membership::answer(const wire::GossipRequest& request) {
  take(*this, state_->log, request, [this] { state_->log_changed(); });
  wire::GossipResponse response;
  if (request.push_only()) return response;

  Packer packer;
  std::map<NodeId, uint64_t> theirs;
  for (const auto& chain : request.chains()) {
    if (auto author = NodeId::from(chain.author())) theirs[*author] = chain.sequence();
  }
  for (const auto& [author, height] : state_->log.heights()) {
    for (uint64_t next = theirs[author] + 1; next <= height; ++next) {
      if (!packer.add(response.mutable_log(), state_->log.record(author, next))) break;
    }
  }
  for (const auto& [author, height] : theirs) {
    const uint64_t mine = state_->log.height(author);
    if (height <= mine || response.want_chains_size() >= static_cast<int>(kMaxChains)) continue;
    auto* want = response.add_want_chains();
    want->set_author(author.raw());
    want->set_sequence(mine);
  }

  if (request.summary()) return response;
  const uint32_t bits = std::min(request.bucket_bits(), kMaxBucketBits);
  const std::set<uint32_t> buckets(request.buckets().begin(), request.buckets().end());
  const auto covered = [&](const NodeId& id) { return buckets.empty() || buckets.contains(bucket_of(id, bits)); };
  std::map<NodeId, std::pair<uint64_t, uint64_t>> their_nodes;
  for (const auto& digest : request.nodes()) {
    if (auto id = NodeId::from(digest.node())) their_nodes[*id] = {digest.boot_seq(), digest.sequence()};
  }
  for (const auto& [id, node] : state_->nodes) {
    if (!covered(id) || !state_->admits(node.certificate)) continue;
    const auto theirs_of = their_nodes.find(id);
    if (theirs_of != their_nodes.end() && theirs_of->second >= age(node.info)) continue;
    if (!packer.add(response.mutable_entries(), node.entry)) break;
  }
  for (const auto& [id, their_age] : their_nodes) {
    const auto mine = state_->nodes.find(id);
    if (mine != state_->nodes.end() && age(mine->second.info) >= their_age) continue;
    if (response.want_nodes_size() >= static_cast<int>(kMaxNodes)) break;
    response.add_want_nodes(id.raw());
  }
  return response;
}

bool Membership::merge(const wire::GossipResponse& response) {
  return take(*this, state_->log, response, [this] { state_->log_changed(); });
}

wire::GossipRequest Membership::push_for(const wire::GossipResponse& response) const {
  wire::GossipRequest push;
  push.set_push_only(true);
  Packer packer;
  for (const auto& want : response.want_chains()) {
    const auto author = NodeId::from(want.author());
    if (!author) continue;
    const uint64_t height = state_->log.height(*author);
    if (want.sequence() >= height) continue;
    for (uint64_t next = want.sequence() + 1; next <= height; ++next) {
      if (!packer.add(push.mutable_log(), state_->log.record(*author, next))) break;
    }
  }
  for (const auto& raw : response.want_nodes()) {
    const auto id = NodeId::from(raw);
    if (!id) continue;
    const KnownNode* node = state_->admitted(*id);
    if (node && !packer.add(push.mutable_entries(), node->entry)) break;
  }
  return push;
}

uint64_t Membership::log_version() const {
  return state_->log_version;
}
uint64_t Membership::version() const {
  return state_->version;
}
uint64_t Membership::roster_version() const {
  return state_->roster_version;
}

Bytes Membership::serialize() const {
  wire::MembershipState state;
  state.set_version(1);
  const auto genesis = wire::decode_into(*state.mutable_genesis(), state_->genesis);
  CAIRN_ASSERT(genesis);
  for (auto& record : state_->log.records()) *state.add_log() = std::move(record);
  for (const auto& [id, node] : state_->nodes) *state.add_nodes() = node.entry;
  return wire::encode(state);
}

Result<Membership> Membership::parse(ByteView bytes) {
  auto state = wire::decode<wire::MembershipState>(bytes);
  if (!state) return fail(std::move(state.error()));
  if (state->version() != 1) return fail(Code::unsupported, "a pool file of another version");
  auto membership = from_genesis(wire::encode(state->genesis()));
  if (!membership) return membership;
  if (state->log_size() > 0) membership->state_->log.add_all({state->log().begin(), state->log().end()});
  for (const auto& entry : state->nodes()) {
    // A damaged one is left out: gossip brings it again. One that was removed is kept, for showing it.
    if (membership->add_node(entry)) continue;
    auto node = check_node(entry);
    if (node && membership->state_->nodes.size() < kMaxNodes && node->certificate.pool == membership->pool() &&
        membership->member(node->info.member)) {
      membership->state_->nodes.emplace(node->info.id, std::move(*node));
    }
  }
  return membership;
}

}  // namespace cairn::peer
