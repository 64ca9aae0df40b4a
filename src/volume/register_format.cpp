#include "volume/register_format.h"

#include <algorithm>
#include <set>

#include "peer/domains.h"
#include "volume/register_limits.h"

namespace cairn::volume {

namespace {

Result<Hash> parse_hash(const std::string& raw) {
  auto hash = Hash::from(raw);
  if (!hash) return fail(Code::corrupt, "a hash of the wrong length");
  return hash;
}

Result<wire::RegisterAccepted> open_receipt(const wire::Signed& receipt) {
  CAIRN_TRY(peer::check_signed(receipt, peer::kDomainAccepted));
  auto body = wire::decode<wire::RegisterAccepted>(receipt.body());
  if (!body) return fail(std::move(body.error()), "receipt");
  if (body->keeper() != id_cast<NodeId>(crypto::sha256(as_bytes(receipt.public_key()))).raw()) {
    return fail(Code::corrupt, "a receipt that its keeper did not sign");
  }
  return body;
}

}  // namespace

Result<Ballot> parse_ballot(const wire::Ballot& message) {
  if (message.counter() == 0) return Ballot{};
  auto proposer = NodeId::from(message.proposer());
  if (!proposer) return fail(Code::corrupt, "a ballot without a proposer");
  return Ballot{message.counter(), *proposer, message.session()};
}

void put_ballot(const Ballot& ballot, wire::Ballot* out) {
  if (ballot.counter == 0) return;
  out->set_counter(ballot.counter);
  out->set_proposer(ballot.proposer.raw());
  out->set_session(ballot.session);
}

Result<RegisterConfig> parse_config(const wire::RegisterConfig& message) {
  const int count = message.keepers_size();
  if (count != 1 && count != 3 && count != 5) return fail(Code::corrupt, "not 1, 3 or 5 keepers");
  if (message.instances_size() != count) return fail(Code::corrupt, "keepers without instances");
  RegisterConfig config{.epoch = message.epoch()};
  for (int i = 0; i < count; ++i) {
    auto node = NodeId::from(message.keepers(i));
    if (!node) return fail(Code::corrupt, "a keeper is a NodeID");
    if (has_keeper(config, *node)) return fail(Code::corrupt, "a keeper is named twice");
    KeeperInstance instance;
    if (message.instances(i).size() != instance.size()) return fail(Code::corrupt, "an instance is 16 bytes");
    std::ranges::copy(as_bytes(message.instances(i)), instance.begin());
    config.keepers.push_back(*node);
    config.instances.push_back(instance);
  }
  return config;
}

void put_config(const RegisterConfig& config, wire::RegisterConfig* out) {
  out->set_epoch(config.epoch);
  for (size_t i = 0; i < config.keepers.size(); ++i) {
    out->add_keepers(config.keepers[i].raw());
    out->add_instances(to_string(ByteView(config.instances[i])));
  }
}

std::optional<size_t> place_of(const RegisterConfig& config, const NodeId& node, const KeeperInstance& instance) {
  for (size_t i = 0; i < config.keepers.size(); ++i) {
    if (config.keepers[i] == node && config.instances[i] == instance) return i;
  }
  return std::nullopt;
}

Result<Founding> parse_founding(ByteView bytes) {
  auto message = wire::decode<wire::RegisterFounding>(bytes);
  if (!message) return fail(std::move(message.error()), "founding");
  if (message->version() != 1) return fail(Code::unsupported, "a register of another version");
  auto pool = PoolId::from(message->pool());
  if (!pool) return fail(Code::corrupt, "a register without a pool");
  if (message->owner_key().size() != crypto::kPublicKeySize) return fail(Code::corrupt, "a register without an owner");
  Founding founding{.bytes = to_bytes(bytes),
                    .id = id_cast<RegisterId>(crypto::sha256(bytes)),
                    .pool = *pool,
                    .kind = message->kind(),
                    .owner = id_cast<MemberId>(crypto::sha256(as_bytes(message->owner_key())))};
  switch (message->kind()) {
    case wire::RegisterFounding::ACCOUNT:
      if (!message->nonce().empty() || message->has_first())
        return fail(Code::corrupt, "an account is of one form only");
      break;
    case wire::RegisterFounding::HEAD: {
      if (message->nonce().size() != kFoundingNonceSize) return fail(Code::corrupt, "a head's nonce is 32 bytes");
      auto first = parse_config(message->first());
      if (!first) return fail(std::move(first.error()), "founding");
      if (first->epoch != 0) return fail(Code::corrupt, "a register begins with epoch 0");
      founding.first = std::move(*first);
      break;
    }
    default:
      return fail(Code::unsupported, "a register of an unknown kind");
  }
  founding.order_key = founding_order_key(*message);
  return founding;
}

Hash founding_order_key(const wire::RegisterFounding& message) {
  return crypto::sha256({as_bytes("cairn/v1/keepers"), as_bytes(message.pool()), as_bytes(message.owner_key()),
                         as_bytes(message.nonce())});
}

Result<Value> parse_value(const Founding& founding, const wire::Signed& message) {
  CAIRN_TRY(peer::check_signed(message, peer::kDomainRegister));
  auto body = wire::decode<wire::RegisterValue>(message.body());
  if (!body) return fail(std::move(body.error()), "register value");
  auto certificate = peer::Certificate::parse(ByteView(wire::encode(body->certificate())));
  if (!certificate) return fail(std::move(certificate.error()), "register value");
  if (!equal(certificate->device_key, as_bytes(message.public_key()))) {
    return fail(Code::corrupt, "a value that its writer did not sign");
  }
  if (certificate->member != founding.owner || certificate->pool != founding.pool) {
    return fail(Code::denied, "a value that is not by the register's owner");
  }
  if (certificate->append_only && (certificate->volume.raw() != founding.id.raw() || body->sealed() || body->settles()))
    return fail(Code::denied, "a value that a device which may only add must not write");
  auto value = parse_checked_value(founding, message);
  if (value) value->append_only = certificate->append_only;
  return value;
}

bool same_bytes(const wire::Signed& a, const wire::Signed& b) {
  return a.body() == b.body() && a.signature() == b.signature() && a.public_key() == b.public_key();
}

Result<Value> parse_checked_value(const Founding& founding, const wire::Signed& message) {
  auto body = wire::decode<wire::RegisterValue>(message.body());
  if (!body) return fail(std::move(body.error()), "register value");
  if (body->register_() != founding.id.raw()) return fail(Code::corrupt, "a value of another register");
  Value value{.sequence = body->sequence(),
              .content = to_bytes(body->content()),
              .written = body->written(),
              .sealed = body->sealed(),
              .settles = body->settles(),
              .body_hash = crypto::sha256(as_bytes(message.body())),
              .encoded = message};
  if (value.content.size() > kMaxRegisterContent) return fail(Code::too_large, "a register's content");
  auto config = parse_config(body->config());
  if (!config) return fail(std::move(config.error()));
  value.config = std::move(*config);
  if (value.sealed != body->has_next_config()) return fail(Code::corrupt, "a sealed value names what follows it");
  if (value.sealed) {
    auto next = parse_config(body->next_config());
    if (!next) return fail(std::move(next.error()));
    value.next = std::move(*next);
    value.force = body->force();
    const bool follows = value.force ? value.next.epoch >> kForceBits == (value.config.epoch >> kForceBits) + 1
                                     : value.next.epoch == value.config.epoch + 1;
    if (!follows) return fail(Code::corrupt, "epochs follow one another");
  } else if (value.sequence == 0) {
    return fail(Code::corrupt, "values are counted from 1");
  }
  if (static_cast<size_t>(body->forced_size()) > kMaxForced) return fail(Code::too_large, "forces of a register");
  for (const wire::RegisterForced& message_of_one : body->forced()) {
    RegisterForced one{
        .epoch = message_of_one.epoch(), .sequence = message_of_one.sequence(), .when = message_of_one.when()};
    if (!message_of_one.hash().empty()) {
      auto hash = parse_hash(message_of_one.hash());
      if (!hash) return fail(std::move(hash.error()));
      one.hash = *hash;
    }
    auto lost = parse_config(message_of_one.lost());
    if (!lost) return fail(std::move(lost.error()));
    one.lost = std::move(*lost);
    auto by = NodeId::from(message_of_one.by());
    if (!by) return fail(Code::corrupt, "nobody forced a register");
    one.by = *by;
    value.forced.push_back(std::move(one));
  }
  if (value.force && (value.forced.empty() || value.forced.back().epoch != value.next.epoch))
    return fail(Code::corrupt, "a register that was forced without a note of it");
  // The first written value has none before it, and neither has a seal over a register that was never written.
  const bool first = value.sequence == (value.sealed ? 0U : 1U);
  if (first != body->previous().empty()) return fail(Code::corrupt, "a value does not name the one before it");
  if (!first) {
    auto previous = parse_hash(body->previous());
    if (!previous) return fail(std::move(previous.error()));
    value.previous = *previous;
  }
  const uint64_t before = value.sequence == 0 ? 0 : value.sequence - 1;
  if (static_cast<uint64_t>(body->recent_size()) != std::min<uint64_t>(before, kRecentValues)) {
    return fail(Code::corrupt, "a value remembers too little or too much");
  }
  for (const std::string& raw : body->recent()) {
    auto hash = parse_hash(raw);
    if (!hash) return fail(std::move(hash.error()));
    value.recent.push_back(*hash);
  }
  if (!value.sealed && !value.recent.empty() && value.recent.back() != value.previous) {
    return fail(Code::corrupt, "a value does not remember the one before it");
  }
  if (!body->writer().empty() || value.sequence > 0) {
    auto writer = NodeId::from(body->writer());
    if (!writer) return fail(Code::corrupt, "a value without a writer");
    value.writer = *writer;
    if (!value.sealed && *writer != id_cast<NodeId>(crypto::sha256(as_bytes(message.public_key())))) {
      return fail(Code::corrupt, "a value names another writer");
    }
  }
  return value;
}

void sign_value(const Founding& founding, const peer::Identity& identity, Value& value) {
  wire::RegisterValue body;
  body.set_register_(founding.id.raw());
  body.set_sequence(value.sequence);
  if (!value.previous.is_zero()) body.set_previous(value.previous.raw());
  put_config(value.config, body.mutable_config());
  body.set_content(value.content.data(), value.content.size());
  body.set_written(value.written);
  body.set_sealed(value.sealed);
  if (value.sealed) put_config(value.next, body.mutable_next_config());
  CAIRN_ASSERT(wire::decode_into(*body.mutable_certificate(), identity.certificate.encoded));
  for (const Hash& hash : value.recent) body.add_recent(hash.raw());
  if (!value.writer.is_zero()) body.set_writer(value.writer.raw());
  body.set_force(value.force);
  for (const RegisterForced& one : value.forced) {
    wire::RegisterForced& message = *body.add_forced();
    message.set_epoch(one.epoch);
    message.set_sequence(one.sequence);
    if (!one.hash.is_zero()) message.set_hash(one.hash.raw());
    put_config(one.lost, message.mutable_lost());
    message.set_when(one.when);
    message.set_by(one.by.raw());
  }
  body.set_settles(value.settles);
  const Bytes encoded = wire::encode(body);
  value.body_hash = crypto::sha256(encoded);
  value.encoded = peer::make_signed(identity.device, peer::kDomainRegister, encoded);
}

RegisterState state_of(const Value& value, const RegisterConfig& config) {
  RegisterState state{.sequence = value.sequence,
                      .content = value.content,
                      .writer = value.writer,
                      .config = config,
                      .written = value.written,
                      .recent = value.recent,
                      .forced = value.forced};
  if (value.sequence > 0) state.hash = value.hash();
  return state;
}

std::optional<bool> chain_contains(const RegisterState& state, uint64_t sequence, const Hash& hash) {
  if (sequence > state.sequence) return false;
  if (sequence == state.sequence) return hash == state.hash;
  const uint64_t back = state.sequence - sequence;
  if (back > state.recent.size()) return std::nullopt;
  return state.recent[state.recent.size() - back] == hash;
}

std::optional<RegisterForced> parted_from(const RegisterState& state, uint64_t era, uint64_t sequence,
                                          const Hash& hash) {
  for (const RegisterForced& one : state.forced) {
    if (one.epoch <= era) continue;
    if (sequence > one.sequence || (sequence == one.sequence && sequence > 0 && hash != one.hash)) return one;
    return std::nullopt;  // it is in what that force went on from, and so in all that came after
  }
  return std::nullopt;
}

Result<Value> check_origin(const Founding& founding, const wire::RegisterOrigin& origin, const RegisterConfig& config) {
  auto value = parse_value(founding, origin.value());
  if (!value) return value;
  if (!value->begins(config)) return fail(Code::corrupt, "this is not how the configuration began");
  if (static_cast<size_t>(origin.receipts_size()) > kMaxKeepers) return fail(Code::too_large, "receipts");
  if (value->force) return value;  // the owner's word, signed by a device of theirs
  std::optional<std::string> ballot;
  std::set<std::string> keepers;
  for (const wire::Signed& signed_receipt : origin.receipts()) {
    auto receipt = open_receipt(signed_receipt);
    if (!receipt) return fail(std::move(receipt.error()));
    if (receipt->register_() != founding.id.raw() || receipt->value_hash() != value->body_hash.raw() ||
        receipt->epoch() != value->config.epoch) {
      return fail(Code::corrupt, "a receipt for something else");
    }
    const std::string its_ballot = wire::encode_text(receipt->ballot());
    if (ballot && *ballot != its_ballot) return fail(Code::corrupt, "receipts of different ballots prove nothing");
    ballot = its_ballot;
    auto keeper = NodeId::from(receipt->keeper());
    if (!keeper || !has_keeper(value->config, *keeper)) {
      return fail(Code::corrupt, "a receipt by no keeper of the configuration");
    }
    keepers.insert(receipt->keeper());
  }
  if (keepers.size() < majority(value->config)) return fail(Code::corrupt, "too few receipts");
  return value;
}

wire::Signed make_receipt(const RegisterId& id, const Ballot& ballot, const Hash& value, uint64_t epoch,
                          const NodeId& keeper, const crypto::PrivateKey& device) {
  wire::RegisterAccepted body;
  body.set_register_(id.raw());
  put_ballot(ballot, body.mutable_ballot());
  body.set_value_hash(value.raw());
  body.set_keeper(keeper.raw());
  body.set_epoch(epoch);
  return peer::make_signed(device, peer::kDomainAccepted, wire::encode(body));
}

bool check_receipt(const wire::Signed& receipt, const RegisterId& id, const Ballot& ballot, const Hash& value,
                   uint64_t epoch, const NodeId& keeper) {
  auto body = open_receipt(receipt);
  if (!body) return false;
  auto its_ballot = parse_ballot(body->ballot());
  return its_ballot && *its_ballot == ballot && body->register_() == id.raw() && body->value_hash() == value.raw() &&
         body->epoch() == epoch && body->keeper() == keeper.raw();
}

void sort_by_rendezvous(const Hash& key, std::vector<KeeperCandidate>& nodes) {
  std::vector<std::pair<Hash, KeeperCandidate>> ranked;
  ranked.reserve(nodes.size());
  for (KeeperCandidate& node : nodes) {
    const Hash rank = crypto::sha256({key.view(), node.node.view()});
    ranked.emplace_back(rank, std::move(node));
  }
  std::ranges::sort(ranked, {}, [](const auto& entry) { return entry.first; });
  for (size_t i = 0; i < nodes.size(); ++i) nodes[i] = std::move(ranked[i].second);
}

}  // namespace cairn::volume
