#include "peer/pool_roster.h"

#include <numeric>

#include "peer/domains.h"
#include "proto/membership.pb.h"

namespace cairn::peer {

namespace {

// Where a node stands on a ring: its NodeID, which is a hash, scrambled by the ring's number (splitmix64).
uint64_t place_on_ring(const NodeId& node, uint32_t ring) {
  uint64_t z = read_le<uint64_t>(node.bytes.data()) + 0x9e3779b97f4a7c15ULL * (ring + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

std::string signed_body(const Doubt& doubt) {
  return encode_doubt(doubt).body();
}

}  // namespace

const PoolRoster::Rings& PoolRoster::rings() const {
  if (seen_ == membership_.roster_version()) return rings_;
  seen_ = membership_.roster_version();
  rings_ = {};
  membership_.any_node([&](const NodeInfo& info) {
    if (!info.leaving || info.id == identity_.node) rings_.members.push_back(info.id);
    return false;
  });
  const size_t size = rings_.members.size();
  for (uint32_t i = 0; i < size; ++i) rings_.index[rings_.members[i]] = i;
  for (uint32_t ring = 0; ring < kRings; ++ring) {
    auto& order = rings_.order[ring];
    auto& place = rings_.place[ring];
    order.resize(size);
    place.resize(size);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::sort(order, {}, [&](uint32_t i) { return place_on_ring(rings_.members[i], ring); });
    for (uint32_t i = 0; i < size; ++i) place[order[i]] = i;
  }
  return rings_;
}

std::optional<Incarnation> PoolRoster::incarnation(const NodeId& node) const {
  const NodeInfo* info = membership_.node(node);
  if (!info || (info->leaving && node != identity_.node)) return std::nullopt;
  return Incarnation{info->boot_seq, info->sequence};
}

NodeId PoolRoster::neighbour(uint32_t ring, const NodeId& from, bool next) const {
  const Rings& rings = this->rings();
  const auto found = rings.index.find(from);
  if (found == rings.index.end()) return identity_.node;
  const size_t size = rings.members.size();
  const size_t place = rings.place[ring][found->second];
  return rings.members[rings.order[ring][(place + (next ? 1 : size - 1)) % size]];
}

bool PoolRoster::dialable() const {
  const NodeInfo* own = membership_.node(identity_.node);
  return own && !own->addresses.empty();
}

env::Task<Result<Bytes>> PoolRoster::ask(NodeId to, Bytes request, Duration timeout) {
  auto reply = co_await sessions_.call(to, wire::Method::swim, std::move(request), {}, timeout);
  if (!reply) co_return fail(std::move(reply.error()));
  co_return std::move(reply->body);
}

std::optional<NodeId> PoolRoster::take_record(ByteView entry) {
  auto record = wire::decode<wire::NodeEntry>(entry);
  if (!record) return std::nullopt;
  auto body = wire::decode<wire::NodeRecord>(record->record().body());
  if (!body) return std::nullopt;
  const auto node = NodeId::from(body->node());
  // Most come twice: a signature is only looked at when it would be news.
  if (!node) return std::nullopt;
  if (const NodeInfo* known = membership_.node(*node);
      known && Incarnation{body->boot_seq(), body->sequence()} <= Incarnation{known->boot_seq, known->sequence}) {
    return std::nullopt;
  }
  const bool news = membership_.add_node(*record).value_or(false);
  if (!news) return std::nullopt;
  hooks_.changed();
  return *node;
}

bool PoolRoster::take_log(ByteView encoded, const NodeId& from) {
  auto record = wire::decode<wire::LogRecord>(encoded);
  if (!record) return false;
  auto added = membership_.add_log(*record);
  if (!added && added.error().code == Code::conflict) hooks_.differs(from);
  if (added && *added) hooks_.changed();
  return false;  // what is new in the log is passed on by who watches it (Peers)
}

Bytes PoolRoster::refute(const Incarnation& doubted) {
  const NodeInfo* own = membership_.node(identity_.node);
  CAIRN_ASSERT(own);  // it has been doubted by its record
  NodeInfo record = *own;
  const Incarnation newer = std::max(doubted, Incarnation{own->boot_seq, own->sequence});
  record.boot_seq = newer.boot_seq;
  record.sequence = newer.sequence + 1;
  const wire::NodeEntry entry = sign_node(identity_, record);
  static_cast<void>(membership_.add_node(entry));
  hooks_.changed();
  return wire::encode(entry);
}

void PoolRoster::sign(Doubt& doubt) const {
  const auto signature = identity_.device.sign(kDomainDoubt, as_bytes(signed_body(doubt)));
  doubt.signature.assign(signature.begin(), signature.end());
}

bool PoolRoster::genuine(const Doubt& doubt) const {
  const Certificate* certificate = membership_.certificate(doubt.by);
  return certificate &&
         crypto::verify(certificate->device_key, kDomainDoubt, as_bytes(signed_body(doubt)), doubt.signature);
}

void PoolRoster::state_changed(const NodeId& node, NodeState state) {
  world_.log.info("node_state", "node={} state={}", node.short_hex(), to_string(state));
}

}  // namespace cairn::peer
