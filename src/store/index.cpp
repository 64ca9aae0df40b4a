#include "store/index.h"

#include "base/crc32c.h"

namespace cairn::store {

namespace {

// Keys begin with one of these. Never reuse one.
constexpr char kShard = 's';       // pack 32, slot 1
constexpr char kUnverified = 'u';  // segment be32, block be32
constexpr char kHole = 'h';        // segment be32, block be32
constexpr char kSegment = 'g';     // segment be32
constexpr char kMeta = 'm';
constexpr size_t kClearStep = 1024;

std::string key_of(const ShardId& shard) {
  std::string key(1, kShard);
  key += shard.pack.raw();
  key.push_back(static_cast<char>(shard.slot));
  return key;
}

std::string key_of(char kind, uint32_t segment) {
  Bytes key{static_cast<uint8_t>(kind)};
  append_be32(key, segment);
  return to_string(key);
}

std::string key_of(char kind, uint32_t segment, uint32_t block) {
  Bytes key{static_cast<uint8_t>(kind)};
  append_be32(key, segment);
  append_be32(key, block);
  return to_string(key);
}

// The sum covers the key too: a value under another's key is noticed.
uint32_t sum_of(std::string_view key, ByteView value) {
  return crc32c(value, crc32c(as_bytes(key)));
}

Result<ByteView> checked(std::string_view key, std::string_view value, size_t size) {
  const ByteView raw = as_bytes(value);
  if (raw.size() != size + 4 || sum_of(key, raw.first(size)) != read_le<uint32_t>(raw.data() + size)) {
    return fail(Code::corrupt, "index entry");
  }
  return raw.first(size);
}

Result<IndexEntry> parse_entry(std::string_view key, std::string_view value) {
  auto raw = checked(key, value, 21);
  if (!raw) return fail(std::move(raw.error()));
  const uint8_t* at = raw->data();
  IndexEntry entry;
  entry.place = {read_le<uint32_t>(at), read_le<uint32_t>(at + 4), read_le<uint32_t>(at + 8),
                 read_le<uint32_t>(at + 12), read_le<uint32_t>(at + 16)};
  entry.verified = at[20] != 0;
  return entry;
}

Result<SegmentInfo> parse_segment(std::string_view key, std::string_view value) {
  auto raw = checked(key, value, 21);
  if (!raw) return fail(std::move(raw.error()));
  const uint8_t* at = raw->data();
  return SegmentInfo{read_le<uint32_t>(at),      read_le<uint32_t>(at + 4),  read_le<uint32_t>(at + 8),
                     read_le<uint32_t>(at + 12), read_le<uint32_t>(at + 16), at[20] != 0};
}

ShardId shard_of(const uint8_t* raw) {
  ShardId shard;
  std::memcpy(shard.pack.bytes.data(), raw, PackId::kSize);
  shard.slot = raw[PackId::kSize];
  return shard;
}

}  // namespace

void IndexBatch::put(const std::string& key, ByteView value) {
  Bytes summed = to_bytes(value);
  append_le<uint32_t>(summed, sum_of(key, value));
  batch_.put(key, as_text(summed));
}

void IndexBatch::put_shard(const ShardId& shard, const IndexEntry& entry) {
  Bytes value;
  append_le<uint32_t>(value, entry.place.segment);
  append_le<uint32_t>(value, entry.place.block);
  append_le<uint32_t>(value, entry.place.blocks);
  append_le<uint32_t>(value, entry.place.header_length);
  append_le<uint32_t>(value, entry.place.payload_length);
  value.push_back(entry.verified ? 1 : 0);
  put(key_of(shard), value);
}

void IndexBatch::remove_shard(const ShardId& shard) {
  batch_.remove(key_of(shard));
}

void IndexBatch::put_unverified(const Place& place, const ShardId& shard) {
  Bytes value;
  append_le<uint32_t>(value, place.blocks);
  append_le<uint32_t>(value, place.header_length);
  append_le<uint32_t>(value, place.payload_length);
  append(value, shard.pack.view());
  value.push_back(shard.slot);
  put(key_of(kUnverified, place.segment, place.block), value);
}

void IndexBatch::remove_unverified(const Place& place) {
  batch_.remove(key_of(kUnverified, place.segment, place.block));
}

void IndexBatch::put_hole(const Hole& hole) {
  Bytes value;
  append_le<uint32_t>(value, hole.blocks);
  put(key_of(kHole, hole.segment, hole.block), value);
}

void IndexBatch::remove_hole(const Hole& hole) {
  batch_.remove(key_of(kHole, hole.segment, hole.block));
}

void IndexBatch::put_segment(uint32_t number, const SegmentInfo& info) {
  Bytes value;
  append_le<uint32_t>(value, info.end);
  append_le<uint32_t>(value, info.held);
  append_le<uint32_t>(value, info.live);
  append_le<uint32_t>(value, info.records);
  append_le<uint32_t>(value, info.unverified);
  value.push_back(info.sealed ? 1 : 0);
  put(key_of(kSegment, number), value);
}

void IndexBatch::remove_segment(uint32_t number) {
  batch_.remove(key_of(kSegment, number));
}

void IndexBatch::put_meta(const IndexMeta& meta) {
  Bytes value = to_bytes(meta.id.view());
  append_le<uint32_t>(value, meta.high_water);
  append_le<uint64_t>(value, meta.corrupt);
  put(std::string(1, kMeta), value);
}

Result<std::optional<IndexEntry>> Index::find(const ShardId& shard) {
  const std::string key = key_of(shard);
  auto value = store_->get(key);
  if (!value) return fail(std::move(value.error()));
  if (!*value) return std::optional<IndexEntry>();
  auto entry = parse_entry(key, **value);
  if (!entry) return fail(std::move(entry.error()));
  return std::optional(*entry);
}

Result<std::optional<IndexMeta>> Index::meta() {
  const std::string key(1, kMeta);
  auto value = store_->get(key);
  if (!value) return fail(std::move(value.error()));
  if (!*value) return std::optional<IndexMeta>();
  auto raw = checked(key, **value, 44);
  if (!raw) return fail(std::move(raw.error()));
  IndexMeta meta;
  std::memcpy(meta.id.bytes.data(), raw->data(), StoreId::kSize);
  meta.high_water = read_le<uint32_t>(raw->data() + 32);
  meta.corrupt = read_le<uint64_t>(raw->data() + 36);
  return std::optional(meta);
}

Result<std::map<uint32_t, SegmentInfo>> Index::segments() {
  std::map<uint32_t, SegmentInfo> segments;
  auto cursor = store_->cursor();
  for (cursor->seek(std::string_view(&kSegment, 1)); cursor->valid(); cursor->next()) {
    if (cursor->key().front() != kSegment) break;
    if (cursor->key().size() != 5) return fail(Code::corrupt, "index key");
    auto info = parse_segment(cursor->key(), cursor->value());
    if (!info) return fail(std::move(info.error()));
    segments.emplace(read_be32(as_bytes(cursor->key()).data() + 1), *info);
  }
  CAIRN_TRY(cursor->status());
  return segments;
}

namespace {

Result<std::vector<Hole>> read_holes(env::MetaStore& store, const std::string& first, size_t limit,
                                     std::optional<uint32_t> only) {
  std::vector<Hole> holes;
  auto cursor = store.cursor();
  for (cursor->seek(first); cursor->valid() && holes.size() < limit; cursor->next()) {
    if (cursor->key().front() != kHole) break;
    if (cursor->key().size() != 9) return fail(Code::corrupt, "index key");
    auto raw = checked(cursor->key(), cursor->value(), 4);
    if (!raw) return fail(std::move(raw.error()));
    const uint8_t* key = as_bytes(cursor->key()).data();
    const Hole hole{read_be32(key + 1), read_be32(key + 5), read_le<uint32_t>(raw->data())};
    if (only && hole.segment != *only) break;
    holes.push_back(hole);
  }
  CAIRN_TRY(cursor->status());
  return holes;
}

}  // namespace

Result<std::vector<Hole>> Index::holes(size_t limit) {
  return read_holes(*store_, std::string(1, kHole), limit, std::nullopt);
}

Result<std::vector<Hole>> Index::holes_of(uint32_t segment) {
  return read_holes(*store_, key_of(kHole, segment), SIZE_MAX, segment);
}

Result<std::vector<std::pair<Place, ShardId>>> Index::unverified(uint32_t segment, uint32_t block, size_t limit) {
  std::vector<std::pair<Place, ShardId>> found;
  auto cursor = store_->cursor();
  for (cursor->seek(key_of(kUnverified, segment, block)); cursor->valid() && found.size() < limit; cursor->next()) {
    if (cursor->key().front() != kUnverified) break;
    if (cursor->key().size() != 9) return fail(Code::corrupt, "index key");
    auto raw = checked(cursor->key(), cursor->value(), 45);
    if (!raw) return fail(std::move(raw.error()));
    const uint8_t* key = as_bytes(cursor->key()).data();
    const uint8_t* at = raw->data();
    found.emplace_back(Place{read_be32(key + 1), read_be32(key + 5), read_le<uint32_t>(at), read_le<uint32_t>(at + 4),
                             read_le<uint32_t>(at + 8)},
                       shard_of(at + 12));
  }
  CAIRN_TRY(cursor->status());
  return found;
}

Result<std::vector<ShardId>> Index::shards(const std::optional<ShardId>& after, size_t limit) {
  std::vector<ShardId> found;
  auto cursor = store_->cursor();
  cursor->seek(after ? key_of(*after) : std::string(1, kShard));
  for (; cursor->valid() && found.size() < limit; cursor->next()) {
    if (cursor->key().front() != kShard) break;
    if (cursor->key().size() != 1 + PackId::kSize + 1) return fail(Code::corrupt, "index key");
    const ShardId shard = shard_of(as_bytes(cursor->key()).data() + 1);
    if (!after || shard > *after) found.push_back(shard);
  }
  CAIRN_TRY(cursor->status());
  return found;
}

// The cursor stands at each slot of a pack in turn.
template <class Visit>
static Status each_slot(env::Cursor& cursor, const PackId& pack, Visit visit) {
  const std::string first = key_of(ShardId{pack, 0});
  const std::string_view prefix = std::string_view(first).substr(0, first.size() - 1);
  for (cursor.seek(first); cursor.valid() && cursor.key().starts_with(prefix); cursor.next()) {
    if (cursor.key().size() == first.size()) CAIRN_TRY(visit(static_cast<uint8_t>(cursor.key().back())));
  }
  return cursor.status();
}

Result<std::vector<uint8_t>> Index::slots_of(const PackId& pack) {
  std::vector<uint8_t> slots;
  const auto cursor = store_->cursor();
  CAIRN_TRY(each_slot(*cursor, pack, [&](uint8_t slot) {
    slots.push_back(slot);
    return Status{};
  }));
  return slots;
}

Result<std::vector<bool>> Index::which(const std::vector<ShardId>& shards) {
  std::vector<bool> found(shards.size());
  auto cursor = store_->cursor();
  bool sought = false;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string key = key_of(shards[i]);
    // Mostly where the last one was, or behind it.
    if (sought && cursor->valid() && cursor->key() < key) cursor->next();
    if (!sought || !cursor->valid() || cursor->key() != key) cursor->seek(key);
    sought = true;
    found[i] = cursor->valid() && cursor->key() == key;
    CAIRN_TRY(cursor->status());
  }
  return found;
}

Result<std::vector<Index::Entries>> Index::entries_of(const std::vector<PackId>& packs) {
  std::vector<Entries> found(packs.size());
  auto cursor = store_->cursor();
  for (size_t i = 0; i < packs.size(); ++i) {
    CAIRN_TRY(each_slot(*cursor, packs[i], [&](uint8_t slot) -> Status {
      auto entry = parse_entry(cursor->key(), cursor->value());
      if (!entry) return fail(std::move(entry.error()));
      found[i].emplace_back(slot, *entry);
      return {};
    }));
  }
  return found;
}

Status Index::clear() {
  while (true) {
    env::WriteBatch batch;
    auto cursor = store_->cursor();
    for (cursor->seek(""); cursor->valid() && batch.entries().size() < kClearStep; cursor->next()) {
      batch.remove(cursor->key());
    }
    CAIRN_TRY(cursor->status());
    if (batch.empty()) return {};
    CAIRN_TRY(store_->write(batch, false));
  }
}

}  // namespace cairn::store
