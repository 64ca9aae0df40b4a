#include "pool/trash_index.h"

#include <bit>

#include "env/marks.h"
#include "proto/garbage.pb.h"
#include "wire/message.h"

namespace cairn::pool {

namespace {

constexpr char kFate = 't', kDue = 'd', kExpires = 'e', kUntold = 'o', kVolume = 'v', kCertificate = 'c', kHeld = 'b';
constexpr char kAge[] = "a", kComplete[] = "B";
constexpr Age kMinute = 60'000;

std::string number(Age age) {
  Bytes raw;
  append_be64(raw, age);
  return to_string(ByteView(raw));
}
Age number(std::string_view raw) {
  return raw.size() == 8 ? read_be64(reinterpret_cast<const uint8_t*>(raw.data())) : 0;
}
std::string fate_key(const PackId& pack) {
  return kFate + pack.raw();
}
std::string time_key(char kind, Age when, const PackId& pack) {
  return kind + number(when) + pack.raw();
}
std::string pair_key(char kind, std::string_view first, const PackId& pack) {
  return kind + std::string(first) + pack.raw();
}

std::string encode(const FateEntry& entry) {
  wire::FateRecord record;
  record.mutable_statement()->ParseFromArray(entry.statement.signed_message.data(),
                                             static_cast<int>(entry.statement.signed_message.size()));
  record.set_slots(entry.slots);
  record.set_bytes(entry.bytes);
  record.set_due(entry.due);
  record.set_purged(entry.purged);
  record.set_expires(entry.expires);
  if (!entry.store.is_zero()) record.set_store(entry.store.raw());
  return wire::encode_text(record);
}

Result<FateEntry> decode(std::string_view value) {
  auto record = wire::decode<wire::FateRecord>(as_bytes(value));
  if (!record) return fail(std::move(record.error()), "trash index");
  auto statement = Tombstone::read(record->statement());
  if (!statement) return fail(std::move(statement.error()), "trash index");
  auto store = StoreId::from(record->store());  // not in records of the first format
  return FateEntry{.statement = std::move(*statement),
                   .slots = record->slots(),
                   .bytes = record->bytes(),
                   .store = store ? *store : StoreId{},
                   .due = record->due(),
                   .purged = record->purged(),
                   .expires = record->expires()};
}

}  // namespace

Result<std::unique_ptr<TrashIndex>> TrashIndex::open(env::MetaStores& stores, const std::string& path) {
  auto store = stores.open(path, {.cache_size = 1 * kMiB, .write_buffer_size = 1 * kMiB});
  if (!store) return fail(std::move(store.error()), "trash");
  std::unique_ptr<TrashIndex> index(new TrashIndex(std::move(*store)));
  CAIRN_TRY(index->add_up());
  return index;
}

Result<Age> TrashIndex::age() {
  auto value = store_->get(kAge);
  if (!value) return fail(std::move(value.error()));
  return *value ? number(**value) : 0;
}

Status TrashIndex::set_age(Age age) {
  env::WriteBatch batch;
  batch.put(kAge, number(age));
  return store_->write(batch, false);
}

Result<std::optional<FateEntry>> TrashIndex::find(const PackId& pack) {
  const std::lock_guard lock(mutex_);
  return find_locked(pack);
}

Result<std::optional<FateEntry>> TrashIndex::find_locked(const PackId& pack) {
  auto value = store_->get(fate_key(pack));
  if (!value) return fail(std::move(value.error()));
  if (!*value) return std::nullopt;
  auto entry = decode(**value);
  if (!entry) return fail(std::move(entry.error()));
  return std::move(*entry);
}

Status TrashIndex::put(const std::vector<Change>& changes) {
  const std::lock_guard lock(mutex_);
  env::WriteBatch batch;
  std::vector<FateEntry> before;
  for (const auto& [entry, tell, tell_from] : changes) {
    const PackId& pack = entry.statement.pack;
    auto old = find_locked(pack);
    if (!old) return fail(std::move(old.error()));
    if (*old) {
      before.push_back(**old);
      batch.remove(time_key(kDue, (*old)->due, pack));
      batch.remove(time_key(kExpires, (*old)->expires, pack));
    }
    batch.put(fate_key(pack), encode(entry));
    if (entry.in_trash()) batch.put(time_key(kDue, entry.due, pack), "");
    batch.put(time_key(kExpires, entry.expires, pack), "");
    for (const NodeId& node : tell) batch.put(pair_key(kUntold, node.raw(), pack), number(tell_from));
  }
  if (batch.empty()) return {};
  CAIRN_TRY(store_->write(batch, true));
  for (const FateEntry& entry : before) count(entry, false);
  for (const Change& change : changes) count(change.entry, true);
  return {};
}

Status TrashIndex::remember(const std::vector<std::pair<VolumeId, Bytes>>& foundings,
                            const std::vector<std::pair<NodeId, Bytes>>& certificates) {
  env::WriteBatch batch;
  const auto add = [&](const std::string& key, const Bytes& value) -> Status {
    auto old = store_->get(key);
    if (!old) return fail(std::move(old.error()));
    if (!*old || **old != as_text(value)) batch.put(key, as_text(value));
    return {};
  };
  for (const auto& [volume, founding] : foundings) CAIRN_TRY(add(kVolume + volume.raw(), founding));
  for (const auto& [node, certificate] : certificates) CAIRN_TRY(add(kCertificate + node.raw(), certificate));
  // The statements that need them are written, synced, behind them.
  return batch.empty() ? Status{} : store_->write(batch, false);
}

Result<std::optional<Bytes>> TrashIndex::founding(const VolumeId& volume) {
  auto value = store_->get(kVolume + volume.raw());
  if (!value) return fail(std::move(value.error()));
  if (!*value) return std::nullopt;
  return to_bytes(**value);
}

Result<std::optional<Bytes>> TrashIndex::certificate(const NodeId& node) {
  auto value = store_->get(kCertificate + node.raw());
  if (!value) return fail(std::move(value.error()));
  if (!*value) return std::nullopt;
  return to_bytes(**value);
}

Result<std::vector<FateEntry>> TrashIndex::due(Age now, size_t limit, const FateEntry* behind) {
  const std::lock_guard lock(mutex_);
  std::vector<FateEntry> entries;
  const auto cursor = store_->cursor();
  const std::string from =
      behind != nullptr ? time_key(kDue, behind->due, behind->statement.pack) + '\0' : std::string(1, kDue);
  for (cursor->seek(from); cursor->valid() && cursor->key().starts_with(kDue); cursor->next()) {
    if (entries.size() >= limit || number(cursor->key().substr(1, 8)) > now) break;
    auto pack = PackId::from(cursor->key().substr(9));
    if (!pack) return fail(Code::corrupt, "trash index: malformed key");
    auto entry = find_locked(*pack);
    if (!entry) return fail(std::move(entry.error()));
    if (*entry) entries.push_back(std::move(**entry));
  }
  CAIRN_TRY(cursor->status());
  return entries;
}

// Once, at the opening.
Status TrashIndex::add_up() {
  const auto cursor = store_->cursor();
  for (cursor->seek(std::string(1, kDue)); cursor->valid() && cursor->key().starts_with(kDue); cursor->next()) {
    auto pack = PackId::from(cursor->key().substr(9));
    if (!pack) return fail(Code::corrupt, "trash index: malformed key");
    auto entry = find_locked(*pack);
    if (!entry) return fail(std::move(entry.error()));
    if (*entry) count(**entry, true);
  }
  return cursor->status();
}

void TrashIndex::count(const FateEntry& entry, bool added) {
  if (!entry.in_trash()) return;
  const std::lock_guard lock(counted_mutex_);
  Counted& counted = counted_[entry.store];
  const auto shards = static_cast<uint64_t>(std::popcount(entry.slots));
  if (added) {
    ++counted.packs;
    counted.shards += shards;
    counted.bytes += entry.bytes;
    ++counted.dues[entry.due / kMinute];
    return;
  }
  --counted.packs;
  counted.shards -= shards;
  counted.bytes -= entry.bytes;
  if (--counted.dues[entry.due / kMinute] == 0) counted.dues.erase(entry.due / kMinute);
  if (counted.packs == 0) counted_.erase(entry.store);
}

TrashIndex::Sum TrashIndex::sum(const StoreId& store) const {
  const std::lock_guard lock(counted_mutex_);
  const auto found = counted_.find(store);
  if (found == counted_.end()) return {};
  const Counted& counted = found->second;
  return {.packs = counted.packs,
          .shards = counted.shards,
          .bytes = counted.bytes,
          .first_due = counted.dues.begin()->first * kMinute,
          .last_due = counted.dues.rbegin()->first * kMinute};
}

TrashIndex::Sum TrashIndex::sum() const {
  const std::lock_guard lock(counted_mutex_);
  Sum sum;
  for (const auto& [store, counted] : counted_) {
    sum.packs += counted.packs;
    sum.shards += counted.shards;
    sum.bytes += counted.bytes;
    const Age first = counted.dues.begin()->first * kMinute;
    sum.first_due = sum.last_due == 0 ? first : std::min(sum.first_due, first);
    sum.last_due = std::max(sum.last_due, counted.dues.rbegin()->first * kMinute);
  }
  return sum;
}

Result<size_t> TrashIndex::forget(Age now, size_t limit) {
  const std::lock_guard lock(mutex_);
  env::WriteBatch batch;
  size_t count_gone = 0;
  std::vector<FateEntry> forgotten;
  const auto cursor = store_->cursor();
  for (cursor->seek(std::string(1, kExpires)); cursor->valid() && cursor->key().starts_with(kExpires); cursor->next()) {
    if (count_gone >= limit || number(cursor->key().substr(1, 8)) > now) break;
    auto pack = PackId::from(cursor->key().substr(9));
    if (!pack) return fail(Code::corrupt, "trash index: malformed key");
    auto entry = find_locked(*pack);
    if (!entry) return fail(std::move(entry.error()));
    if (*entry) {
      batch.remove(time_key(kDue, (*entry)->due, *pack));
      forgotten.push_back(std::move(**entry));
    }
    batch.remove(cursor->key());
    batch.remove(fate_key(*pack));
    ++count_gone;
  }
  CAIRN_TRY(cursor->status());
  if (!batch.empty()) CAIRN_TRY(store_->write(batch, false));
  for (const FateEntry& entry : forgotten) count(entry, false);
  return count_gone;
}

Result<std::vector<NodeId>> TrashIndex::untold_nodes(Age now) {
  std::vector<NodeId> nodes;
  const auto cursor = store_->cursor();
  cursor->seek(std::string(1, kUntold));
  while (cursor->valid() && cursor->key().starts_with(kUntold)) {
    auto node = NodeId::from(cursor->key().substr(1, 32));
    if (!node) return fail(Code::corrupt, "trash index: malformed key");
    if (number(cursor->value()) > now) {
      cursor->next();
      continue;
    }
    nodes.push_back(*node);
    // Past all keys of this node: they are 32 bytes longer, and none is 33 times 0xff.
    cursor->seek(kUntold + node->raw() + std::string(33, '\xff'));
  }
  CAIRN_TRY(cursor->status());
  return nodes;
}

Result<std::vector<TrashIndex::Untold>> TrashIndex::untold(const NodeId& node, Age now, size_t limit) {
  const std::lock_guard lock(mutex_);
  std::vector<Untold> list;
  env::WriteBatch obsolete;
  const std::string prefix = kUntold + node.raw();
  const auto cursor = store_->cursor();
  for (cursor->seek(prefix); cursor->valid() && cursor->key().starts_with(prefix); cursor->next()) {
    if (list.size() >= limit) break;
    if (number(cursor->value()) > now) continue;
    auto pack = PackId::from(cursor->key().substr(33));
    if (!pack) return fail(Code::corrupt, "trash index: malformed key");
    auto entry = find_locked(*pack);
    if (!entry) return fail(std::move(entry.error()));
    if (*entry) {
      list.push_back({node, std::move((*entry)->statement)});
    } else {
      obsolete.remove(cursor->key());
    }
  }
  CAIRN_TRY(cursor->status());
  if (!obsolete.empty()) CAIRN_TRY(store_->write(obsolete, false));
  return list;
}

Status TrashIndex::tell(const NodeId& node, const std::vector<PackId>& packs, Age from) {
  env::WriteBatch batch;
  for (const PackId& pack : packs) batch.put(pair_key(kUntold, node.raw(), pack), number(from));
  return batch.empty() ? Status{} : store_->write(batch, false);
}

Status TrashIndex::told(const std::vector<Untold>& done) {
  const std::lock_guard lock(mutex_);
  env::WriteBatch batch;
  for (const Untold& one : done) {
    auto entry = find_locked(one.statement.pack);
    if (!entry) return fail(std::move(entry.error()));
    if (*entry && (*entry)->statement.overrules(one.statement)) continue;
    batch.remove(pair_key(kUntold, one.node.raw(), one.statement.pack));
  }
  // Not synced: who is told twice takes no harm.
  return batch.empty() ? Status{} : store_->write(batch, false);
}

Status TrashIndex::told(const NodeId& node, const std::vector<PackId>& packs) {
  env::WriteBatch batch;
  for (const PackId& pack : packs) batch.remove(pair_key(kUntold, node.raw(), pack));
  return batch.empty() ? Status{} : store_->write(batch, false);
}

Status TrashIndex::forget_untold(const NodeId& node) {
  env::WriteBatch batch;
  const std::string prefix = kUntold + node.raw();
  const auto cursor = store_->cursor();
  for (cursor->seek(prefix); cursor->valid() && cursor->key().starts_with(prefix); cursor->next())
    batch.remove(cursor->key());
  CAIRN_TRY(cursor->status());
  return batch.empty() ? Status{} : store_->write(batch, false);
}

Status TrashIndex::note_held(const std::vector<std::pair<VolumeId, PackId>>& packs) {
  env::WriteBatch batch;
  for (const auto& [volume, pack] : packs) batch.put(pair_key(kHeld, volume.raw(), pack), "");
  return batch.empty() ? Status{} : store_->write(batch, false);
}

Status TrashIndex::drop_held(const VolumeId& volume, const std::vector<PackId>& packs) {
  env::WriteBatch batch;
  for (const PackId& pack : packs) batch.remove(pair_key(kHeld, volume.raw(), pack));
  return batch.empty() ? Status{} : store_->write(batch, false);
}

Result<bool> TrashIndex::take_complete_mark() {
  return env::take_mark(*store_, kComplete);
}

Status TrashIndex::set_complete_mark() {
  return env::set_mark(*store_, kComplete);
}

Result<std::vector<PackId>> TrashIndex::held(const VolumeId& volume, const PackId& first, size_t limit) {
  std::vector<PackId> packs;
  const std::string prefix = kHeld + volume.raw();
  const auto cursor = store_->cursor();
  for (cursor->seek(prefix + first.raw()); cursor->valid() && cursor->key().starts_with(prefix); cursor->next()) {
    if (packs.size() >= limit) break;
    auto pack = PackId::from(cursor->key().substr(33));
    if (!pack) return fail(Code::corrupt, "trash index: malformed key");
    packs.push_back(*pack);
  }
  CAIRN_TRY(cursor->status());
  return packs;
}

}  // namespace cairn::pool
