#include "pool/claims.h"

#include <set>

#include "crypto/hash.h"
#include "env/marks.h"
#include "peer/domains.h"
#include "peer/identity.h"
#include "pool/limits.h"
#include "proto/pack.pb.h"
#include "wire/message.h"

namespace cairn::pool {

namespace {

constexpr char kByPack = 'p';
constexpr char kByNode = 'n';
constexpr char kUntold = 'u';
constexpr char kNote = 'd';
constexpr char kClean[] = "c";

std::string pack_prefix(const PackId& pack) {
  return kByPack + pack.raw();
}
std::string pack_key(const Claim& claim) {
  return pack_prefix(claim.shard.pack) + static_cast<char>(claim.shard.slot) + claim.node.raw();
}
std::string node_key(char kind, const NodeId& node, const ShardId& shard) {
  return kind + node.raw() + shard.pack.raw() + static_cast<char>(shard.slot);
}
// Among a pack's claims, which are in the order of their keys: where it is, or belongs.
std::vector<Claim>::iterator place_of(std::vector<Claim>& claims, const Claim& claim) {
  const auto key = [](const Claim& c) { return std::tie(c.shard.slot, c.node); };
  return std::ranges::lower_bound(claims, key(claim), {}, key);
}
bool same_holding(const Claim& a, const Claim& b) {
  return a.shard == b.shard && a.node == b.node;
}
void set_claim(std::vector<Claim>& claims, const Claim& claim) {
  const auto place = place_of(claims, claim);
  if (place != claims.end() && same_holding(*place, claim)) {
    *place = claim;
  } else {
    claims.insert(place, claim);
  }
}
Result<ShardId> parse_shard(std::string_view raw) {
  if (raw.empty()) return fail(Code::corrupt, "claims index: malformed shard");
  auto pack = PackId::from(raw.substr(0, raw.size() - 1));
  if (!pack) return fail(std::move(pack.error()), "claims index");
  return ShardId{*pack, static_cast<uint8_t>(raw.back())};
}
// The end of a node key.
std::optional<ShardId> shard_of(std::string_view key) {
  if (key.size() != 1 + 32 + 32 + 1) return std::nullopt;
  auto shard = parse_shard(key.substr(33));
  return shard ? std::optional(*shard) : std::nullopt;
}
std::string untold_prefix(const NodeId& node) {
  return kUntold + node.raw();
}
std::string untold_key(const NodeId& node, const Claim& claim) {
  Bytes number;
  append_be64(number, claim.boot_seq);
  append_be64(number, claim.sequence);
  return untold_prefix(node) + to_string(ByteView(number));
}

Result<Claim> parse(const wire::Signed& message, ByteView encoded) {
  auto body = wire::decode<wire::HoldClaim>(message.body());
  if (!body) return fail(std::move(body.error()), "claim");
  Claim claim;
  auto pack = PackId::from(body->pack());
  auto node = NodeId::from(body->node());
  if (!pack || !node) return fail(Code::corrupt, "claim: malformed identifier");
  if (body->slot() >= kMaxSlots) return fail(Code::corrupt, "claim: slot out of range");
  switch (body->state()) {
    case wire::HoldClaim::HELD:
    case wire::HoldClaim::LEAVING:
    case wire::HoldClaim::GONE:
      claim.state = static_cast<ClaimState>(body->state());
      break;
    default:
      return fail(Code::corrupt, "claim: unknown state");
  }
  claim.shard = {*pack, static_cast<uint8_t>(body->slot())};
  claim.node = *node;
  claim.boot_seq = body->boot_seq();
  claim.sequence = body->sequence();
  claim.signed_message = to_bytes(encoded);
  return claim;
}

}  // namespace

std::vector<Claim> checked_claims(const google::protobuf::RepeatedPtrField<wire::Signed>& messages,
                                  const std::set<PackId>& packs) {
  std::vector<Claim> claims;
  for (const wire::Signed& message : messages) {
    auto claim = Claim::check(wire::encode(message));
    if (claim && packs.contains(claim->shard.pack)) claims.push_back(std::move(*claim));
  }
  return claims;
}

bool claims_another(const std::vector<Claim>& claims, const NodeId& node, uint8_t slot) {
  return std::ranges::any_of(claims, [&](const Claim& claim) {
    return claim.node == node && claim.state != ClaimState::gone && claim.shard.slot != slot;
  });
}

Hash digest_of(const std::vector<Claim>& claims) {
  Bytes all;
  for (const Claim& claim : claims) {
    append(all, claim.node.view());
    append_be64(all, claim.shard.slot);
    append_be64(all, claim.boot_seq);
    append_be64(all, claim.sequence);
  }
  return crypto::sha256(all);
}

Claim Claim::make(const crypto::PrivateKey& device, const NodeId& node, ShardId shard, uint64_t boot_seq,
                  uint64_t sequence, ClaimState state) {
  wire::HoldClaim body;
  body.set_pack(shard.pack.raw());
  body.set_slot(shard.slot);
  body.set_node(node.raw());
  body.set_boot_seq(boot_seq);
  body.set_sequence(sequence);
  body.set_state(static_cast<wire::HoldClaim::State>(state));
  Claim claim{.shard = shard, .node = node, .boot_seq = boot_seq, .sequence = sequence, .state = state};
  claim.signed_message = peer::sign_message(device, peer::kDomainClaim, wire::encode(body));
  return claim;
}

namespace {

// Form, that the key is the node's, and the signature unless the node itself says it.
Result<Claim> take_claim(ByteView signed_message, const std::optional<NodeId>& from) {
  if (signed_message.size() > kMaxClaimSize) return fail(Code::corrupt, "claim: too long");
  auto message = wire::decode<wire::Signed>(signed_message);
  if (!message) return fail(std::move(message.error()), "claim");
  auto claim = parse(*message, signed_message);
  if (!claim) return claim;
  if (claim->node != id_cast<NodeId>(crypto::sha256(as_bytes(message->public_key())))) {
    return fail(Code::corrupt, "claim: signed by another than its node");
  }
  if (from != claim->node && !peer::check_signed(*message, peer::kDomainClaim)) {
    return fail(Code::corrupt, "claim: wrong signature");
  }
  return claim;
}

}  // namespace

Result<Claim> Claim::check(ByteView signed_message) {
  return take_claim(signed_message, std::nullopt);
}

Result<Claim> Claim::heard(ByteView signed_message, const NodeId& from) {
  return take_claim(signed_message, from);
}

Result<Claim> Claim::read(ByteView signed_message) {
  auto message = wire::decode<wire::Signed>(signed_message);
  if (!message) return fail(std::move(message.error()), "claim");
  return parse(*message, signed_message);
}

Result<std::unique_ptr<ClaimIndex>> ClaimIndex::open(env::MetaStores& stores, const std::string& path,
                                                     const NodeId& self) {
  auto store = stores.open(path);
  if (!store) return fail(std::move(store.error()), "claims");
  std::unique_ptr<ClaimIndex> index(new ClaimIndex(std::move(*store), self));
  CAIRN_TRY(index->find_fronts());
  return index;
}

Result<std::vector<Claim>> ClaimIndex::of_pack(const PackId& pack) {
  const std::lock_guard lock(mutex_);
  return of_pack_locked(pack);
}

Result<std::vector<Claim>> ClaimIndex::of_pack_locked(const PackId& pack) {
  std::unique_ptr<env::Cursor> cursor;
  return read_pack(cursor, pack);
}

Status ClaimIndex::write_claims(const env::WriteBatch& batch, bool sync,
                                std::map<PackId, std::vector<Claim>> as_it_is_then) {
  if (auto written = store_->write(batch, sync); !written) {
    recent_.clear();  // what is on the disk now is not known
    recent_order_.clear();
    return written;
  }
  for (auto& [pack, claims] : as_it_is_then) {
    const auto [entry, fresh] = recent_.insert_or_assign(pack, std::move(claims));
    if (fresh) recent_order_.push_back(pack);
  }
  while (recent_order_.size() > kRecentPacks) {
    recent_.erase(recent_order_.front());
    recent_order_.pop_front();
  }
  return {};
}

Result<std::vector<std::vector<Claim>>> ClaimIndex::of_packs(const std::vector<PackId>& packs) {
  const std::lock_guard lock(mutex_);
  std::vector<std::vector<Claim>> claims;
  std::unique_ptr<env::Cursor> cursor;
  for (const PackId& pack : packs) {
    auto of_pack = read_pack(cursor, pack);
    if (!of_pack) return fail(std::move(of_pack.error()));
    claims.push_back(std::move(*of_pack));
  }
  return claims;
}

Result<std::vector<Claim>> ClaimIndex::read_pack(std::unique_ptr<env::Cursor>& cursor, const PackId& pack) {
  if (const auto found = recent_.find(pack); found != recent_.end()) return found->second;
  if (!cursor) cursor = store_->cursor();
  std::vector<Claim> claims;
  const std::string prefix = pack_prefix(pack);
  for (cursor->seek(prefix); cursor->valid() && cursor->key().starts_with(prefix); cursor->next()) {
    auto claim = Claim::read(as_bytes(cursor->value()));
    if (!claim) return fail(std::move(claim.error()), "claims index");
    claims.push_back(std::move(*claim));
  }
  CAIRN_TRY(cursor->status());
  return claims;
}

Result<std::vector<Claim>> ClaimIndex::accept(const std::vector<Claim>& claims) {
  const std::lock_guard lock(mutex_);
  std::vector<Claim> news;
  std::map<PackId, std::vector<Claim>> known;  // with what this call adds
  env::WriteBatch batch;
  for (const Claim& claim : claims) {
    if (claim.node == self_) continue;  // what this node holds it knows better itself
    auto found = known.find(claim.shard.pack);
    if (found == known.end()) {
      auto stored = of_pack_locked(claim.shard.pack);
      if (!stored) return fail(std::move(stored.error()));
      found = known.emplace(claim.shard.pack, std::move(*stored)).first;
    }
    auto& of_pack = found->second;
    const auto old = place_of(of_pack, claim);
    const bool known_before = old != of_pack.end() && same_holding(*old, claim);
    if (known_before ? !claim.newer_than(*old) : of_pack.size() >= kMaxClaimsPerPack) continue;
    set_claim(of_pack, claim);
    batch.put(pack_key(claim), as_text(claim.signed_message));
    const std::string by_node = node_key(kByNode, claim.node, claim.shard);
    if (claim.state == ClaimState::gone) {
      batch.remove(by_node);
    } else {
      batch.put(by_node, std::string(1, static_cast<char>(claim.state)));
    }
    news.push_back(claim);
  }
  // Not synced: a lost claim of another is asked for again, or pushed again by who was not told of its receipt.
  if (batch.empty()) return news;
  CAIRN_TRY(write_claims(batch, false, std::move(known)));
  return news;
}

Status ClaimIndex::announce(const std::vector<Announcement>& announcements) {
  const std::lock_guard lock(mutex_);
  env::WriteBatch batch;
  std::map<PackId, std::vector<Claim>> packs;  // with what this call adds
  for (const auto& [claim, tell] : announcements) {
    auto known = packs.find(claim.shard.pack);
    if (known == packs.end()) {
      auto stored = of_pack_locked(claim.shard.pack);
      if (!stored) return fail(std::move(stored.error()));
      known = packs.emplace(claim.shard.pack, std::move(*stored)).first;
    }
    std::set<NodeId> listeners(tell.begin(), tell.end());
    for (const Claim& other : known->second) {
      if (other.state != ClaimState::gone) listeners.insert(other.node);
    }
    set_claim(known->second, claim);
    listeners.erase(self_);
    listeners.erase(NodeId{});
    batch.put(pack_key(claim), as_text(claim.signed_message));
    const std::string by_node = node_key(kByNode, claim.node, claim.shard);
    if (claim.state == ClaimState::gone) {
      batch.remove(by_node);
    } else {
      batch.put(by_node, std::string(1, static_cast<char>(claim.state)));
    }
    for (const NodeId& node : listeners) note_untold(batch, node, claim);
  }
  return batch.empty() ? Status{} : write_claims(batch, true, std::move(packs));
}

Status ClaimIndex::tell(const NodeId& node, const std::vector<PackId>& packs) {
  if (node == self_ || node.is_zero()) return {};
  const std::lock_guard lock(mutex_);
  env::WriteBatch batch;
  for (const PackId& pack : packs) {
    auto known = of_pack_locked(pack);
    if (!known) return fail(std::move(known.error()));
    for (const Claim& claim : *known) {
      if (claim.node == self_) note_untold(batch, node, claim);
    }
  }
  return batch.empty() ? Status{} : store_->write(batch, false);
}

Result<std::vector<ShardId>> ClaimIndex::of_node(const NodeId& node, std::optional<ShardId> after, size_t limit) {
  std::vector<ShardId> shards;
  const std::string prefix = kByNode + node.raw();
  // The least key after another is that key with a zero byte behind it.
  const std::string first = after ? node_key(kByNode, node, *after) + '\0' : prefix;
  const auto cursor = store_->cursor();
  for (cursor->seek(first); cursor->valid() && cursor->key().starts_with(prefix); cursor->next()) {
    if (shards.size() >= limit) break;
    if (auto shard = shard_of(cursor->key())) shards.push_back(*shard);
  }
  CAIRN_TRY(cursor->status());
  return shards;
}

Status ClaimIndex::find_fronts() {
  const std::string prefix(1, kUntold);
  const auto cursor = store_->cursor();
  cursor->seek(prefix);
  while (cursor->valid() && cursor->key().starts_with(prefix)) {
    auto node = NodeId::from(cursor->key().substr(1, 32));
    if (!node) return fail(Code::corrupt, "claims index: malformed key");
    fronts_[*node].from = cursor->key();
    // Past all keys of this node: they are 16 bytes longer, and none is 17 times 0xff.
    cursor->seek(untold_prefix(*node) + std::string(17, '\xff'));
  }
  return cursor->status();
}

void ClaimIndex::note_untold(env::WriteBatch& batch, const NodeId& node, const Claim& claim) {
  const std::string key = untold_key(node, claim);
  batch.put(key, claim.shard.pack.raw() + static_cast<char>(claim.shard.slot));
  // Also when the batch is not written: a walk that begins too early only takes longer.
  auto [entry, fresh] = fronts_.try_emplace(node);
  Front& front = entry->second;
  if (fresh || key < front.from) front.from = key;
  if (front.added.empty() || key < front.added) front.added = key;
}

std::vector<NodeId> ClaimIndex::untold_nodes() {
  const std::lock_guard lock(mutex_);
  std::vector<NodeId> nodes;
  for (const auto& [node, front] : fronts_) nodes.push_back(node);
  return nodes;
}

Result<std::vector<ClaimIndex::Untold>> ClaimIndex::untold(const NodeId& node, size_t limit) {
  const std::lock_guard lock(mutex_);
  std::vector<Untold> list;
  const auto front = fronts_.find(node);
  if (front == fronts_.end()) return list;
  env::WriteBatch obsolete;
  const std::string prefix = untold_prefix(node);
  const auto cursor = store_->cursor();
  for (cursor->seek(front->second.from); cursor->valid() && cursor->key().starts_with(prefix); cursor->next()) {
    if (list.size() >= limit) break;
    auto shard = parse_shard(cursor->value());
    if (!shard) return fail(std::move(shard.error()));
    auto claim = own_claim(*shard);
    if (!claim) return fail(std::move(claim.error()));
    if (*claim) {
      list.push_back({std::string(cursor->key()), std::move(**claim)});
    } else {
      obsolete.remove(cursor->key());
    }
  }
  CAIRN_TRY(cursor->status());
  if (!obsolete.empty()) CAIRN_TRY(store_->write(obsolete, false));
  if (list.empty()) {
    fronts_.erase(front);
  } else {
    front->second = {.from = list.front().key, .added = {}, .last = list.size() < limit};
  }
  return list;
}

Result<std::optional<Claim>> ClaimIndex::own_claim(const ShardId& shard) {
  const Claim wanted{.shard = shard, .node = self_};
  if (const auto found = recent_.find(shard.pack); found != recent_.end()) {
    const auto place = place_of(found->second, wanted);
    if (place == found->second.end() || !same_holding(*place, wanted)) return std::nullopt;
    return *place;
  }
  auto stored = store_->get(pack_key(wanted));
  if (!stored) return fail(std::move(stored.error()));
  if (!*stored) return std::nullopt;
  auto claim = Claim::read(as_bytes(**stored));
  if (!claim) return fail(std::move(claim.error()), "claims index");
  return std::move(*claim);
}

Status ClaimIndex::told(const NodeId& node, const std::vector<Untold>& done) {
  if (done.empty()) return {};
  const std::lock_guard lock(mutex_);
  env::WriteBatch batch;
  for (const Untold& entry : done) batch.remove(entry.key);
  // Not synced: who is told twice takes no harm.
  CAIRN_TRY(store_->write(batch, false));
  const auto front = fronts_.find(node);
  if (front == fronts_.end() || front->second.from > done.back().key) return {};
  const std::string behind = done.back().key + '\0';
  if (!front->second.added.empty()) {
    front->second.from = std::min(behind, front->second.added);
  } else if (front->second.last) {
    fronts_.erase(front);
  } else {
    front->second.from = behind;
  }
  return {};
}

Status ClaimIndex::forget_others(const PackId& pack) {
  const std::lock_guard lock(mutex_);
  auto known = of_pack_locked(pack);
  if (!known) return fail(std::move(known.error()));
  env::WriteBatch batch;
  for (const Claim& claim : *known) {
    if (claim.node == self_) continue;  // there may be somebody to be told still
    batch.remove(pack_key(claim));
    batch.remove(node_key(kByNode, claim.node, claim.shard));
  }
  std::erase_if(*known, [&](const Claim& claim) { return claim.node != self_; });
  return batch.empty() ? Status{} : write_claims(batch, false, {{pack, std::move(*known)}});
}

Status ClaimIndex::forget_untold(const NodeId& node) {
  const std::lock_guard lock(mutex_);
  env::WriteBatch batch;
  const std::string prefix = untold_prefix(node);
  fronts_.erase(node);
  const auto cursor = store_->cursor();
  for (cursor->seek(prefix); cursor->valid() && cursor->key().starts_with(prefix); cursor->next()) {
    batch.remove(cursor->key());
    if (batch.entries().size() < kClaimsPerWrite) continue;
    CAIRN_TRY(store_->write(std::exchange(batch, {}), false));
  }
  CAIRN_TRY(cursor->status());
  return batch.empty() ? Status{} : store_->write(batch, false);
}

Result<std::vector<std::pair<NodeId, std::string>>> ClaimIndex::notes() {
  std::vector<std::pair<NodeId, std::string>> notes;
  const std::string prefix(1, kNote);
  const auto cursor = store_->cursor();
  for (cursor->seek(prefix); cursor->valid() && cursor->key().starts_with(prefix); cursor->next()) {
    auto node = NodeId::from(cursor->key().substr(1));
    if (node) notes.emplace_back(*node, cursor->value());
  }
  CAIRN_TRY(cursor->status());
  return notes;
}

Status ClaimIndex::set_notes(const std::vector<std::pair<NodeId, std::string>>& notes) {
  env::WriteBatch batch;
  for (const auto& [node, note] : notes) batch.put(kNote + node.raw(), note);
  // Not synced: they are estimates.
  return batch.empty() ? Status{} : store_->write(batch, false);
}

Result<bool> ClaimIndex::take_clean_mark() {
  return env::take_mark(*store_, kClean);
}

Status ClaimIndex::set_clean_mark() {
  return env::set_mark(*store_, kClean);
}

}  // namespace cairn::pool
