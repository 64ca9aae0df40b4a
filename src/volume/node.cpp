#include "volume/node.h"

#include <algorithm>
#include <map>

#include "content/chunk.h"
#include "crypto/hash.h"

namespace cairn::volume {

namespace {

constexpr size_t kHeaderSize = 12;
constexpr uint8_t kVersion = 1;
constexpr size_t kItemOverhead = 6;   // key length u16, value length u32
constexpr size_t kChildOverhead = 2;  // key length u16

std::unexpected<Error> bad(const char* what) {
  return fail(Code::corrupt, std::string("tree node: ") + what);
}

// Reads little-endian numbers and never beyond the end.
class Reader {
 public:
  Reader(ByteView bytes, size_t at) : bytes_(bytes), at_(at) {}
  size_t at() const { return at_; }
  size_t left() const { return bytes_.size() - at_; }
  template <class T>
  std::optional<T> number() {
    if (left() < sizeof(T)) return std::nullopt;
    const T value = read_le<T>(bytes_.data() + at_);
    at_ += sizeof(T);
    return value;
  }
  std::optional<ByteView> take(size_t length) {
    if (left() < length) return std::nullopt;
    const ByteView part = bytes_.subspan(at_, length);
    at_ += length;
    return part;
  }

 private:
  ByteView bytes_;
  size_t at_;
};

}  // namespace

Result<NodePtr> Node::parse(Bytes plain, const content::VolumeKeys& keys, const NodeRef& ref) {
  if (plain.size() > kMaxNodeBytes) return bad("too long");
  auto node = std::make_shared<Node>();
  node->bytes_ = std::move(plain);
  node->ref_ = ref;
  const ByteView bytes = node->bytes_;
  if (bytes.size() < kHeaderSize) return bad("too short");
  if (bytes[0] != kVersion) return fail(Code::unsupported, "tree node of an unknown version");
  node->level_ = bytes[1];
  const auto count = read_le<uint32_t>(bytes.data() + 4);
  const auto logical_length = read_le<uint32_t>(bytes.data() + 8);
  if (node->level_ != ref.level || node->level_ > kMaxTreeLevel) return bad("wrong level");
  if (bytes[2] != 0 || bytes[3] != 0) return bad("reserved bytes are set");
  if (logical_length > bytes.size() - kHeaderSize) return bad("entries reach beyond the end");
  const ByteView logical = bytes.first(kHeaderSize + logical_length);
  if (content::hashed_chunk_id(keys, content::ChunkType::tree_node, logical) != ref.chunk) return bad("wrong ID");
  const size_t least = node->level_ == 0 ? kItemOverhead + 1 : kChildOverhead + 1 + ChunkId::kSize;
  if (count == 0 || count > logical_length / least) return bad("wrong count");

  Reader reader(logical, kHeaderSize);
  node->entries_.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    Entry entry;
    const auto key_length = reader.number<uint16_t>();
    std::optional<uint32_t> value_length = ChunkId::kSize;
    if (node->level_ == 0) value_length = reader.number<uint32_t>();
    if (!key_length || !value_length) return bad("an entry is cut off");
    if (*key_length == 0 || *key_length > kMaxKeySize || *value_length > kMaxValueSize) return bad("an entry's size");
    entry.key_length = *key_length;
    entry.value_length = *value_length;
    entry.key = static_cast<uint32_t>(reader.at());
    entry.value = entry.key + entry.key_length;
    if (!reader.take(*key_length) || !reader.take(*value_length)) return bad("an entry is cut off");
    if (i > 0 && node->key(i - 1) >= node->text(entry.key, entry.key_length)) return bad("keys are not in order");
    node->entries_.push_back(entry);
  }
  if (reader.left() != 0) return bad("bytes after the last entry");
  if (node->level_ == 0) {
    if (bytes.size() != logical.size()) return bad("bytes after the last entry");
    return node;
  }
  CAIRN_TRY(node->parse_places(logical.size()));
  return node;
}

Status Node::parse_places(size_t at) {
  Reader reader(bytes_, at);
  const auto holder_count = reader.number<uint32_t>();
  if (!holder_count || *holder_count > kMaxNodeHolders || *holder_count > reader.left() / NodeId::kSize)
    return bad("holders are cut off");
  std::vector<NodeId> holders(*holder_count);
  for (NodeId& holder : holders) holder = *NodeId::from(*reader.take(NodeId::kSize));
  constexpr size_t kPackSize = PackId::kSize + 2 + 4;
  const auto pack_count = reader.number<uint32_t>();
  if (!pack_count || *pack_count > reader.left() / kPackSize) return bad("packs are cut off");
  packs_.resize(*pack_count);
  for (pool::PackRef& pack : packs_) {
    const auto id = reader.take(PackId::kSize);
    const auto k = reader.number<uint8_t>(), m = reader.number<uint8_t>();
    const auto shard_length = reader.number<uint32_t>();
    if (!id || !k || !m || !shard_length) return bad("packs are cut off");
    if (*k == 0 || *k + *m > static_cast<int>(kMaxSlots) || *shard_length > kMaxShardSize) return bad("a pack's form");
    pack.id = *PackId::from(*id);
    pack.geometry = {.k = *k, .m = *m, .shard_length = *shard_length};
    pack.holders.resize(*k + *m);
    for (NodeId& holder : pack.holders) {
      const auto index = reader.number<uint16_t>();
      if (!index || *index > holders.size()) return bad("a pack's holders");
      if (*index != 0) holder = holders[*index - 1U];
    }
  }
  places_.resize(entries_.size());
  for (Place& place : places_) {
    const auto pack = reader.number<uint32_t>(), offset = reader.number<uint32_t>(), length = reader.number<uint32_t>();
    if (!pack || !offset || !length) return bad("places are cut off");
    if (*pack > packs_.size() || *length > kMaxChunkSize + 64) return bad("a child's place");
    place = {.pack = *pack, .offset = *offset, .length = *length};
  }
  if (reader.left() != 0) return bad("bytes after the places");
  return {};
}

ChunkId Node::child_chunk(size_t i) const {
  return *ChunkId::from(as_bytes(value(i)));
}

NodeRef Node::child(size_t i) const {
  CAIRN_ASSERT(level_ > 0);
  const Place& place = places_[i];
  return {.chunk = child_chunk(i),
          .pack = place.pack == 0 ? ref_.pack : packs_[place.pack - 1],
          .offset = place.offset,
          .length = place.length,
          .level = level_ - 1};
}

size_t Node::lower_bound(std::string_view key) const {
  const auto at = std::partition_point(entries_.begin(), entries_.end(),
                                       [&](const Entry& entry) { return text(entry.key, entry.key_length) < key; });
  return static_cast<size_t>(at - entries_.begin());
}

std::optional<size_t> Node::find(std::string_view key) const {
  const size_t at = lower_bound(key);
  if (at < count() && this->key(at) == key) return at;
  if (at == 0) return std::nullopt;
  return at - 1;
}

size_t Node::memory() const {
  size_t total =
      sizeof(Node) + bytes_.capacity() + entries_.capacity() * sizeof(Entry) + places_.capacity() * sizeof(Place);
  for (const pool::PackRef& pack : packs_) total += sizeof pack + pack.holders.capacity() * sizeof(NodeId);
  return total;
}

NodeBuilder::NodeBuilder(const content::VolumeKeys& keys, uint32_t level) : keys_(keys), level_(level) {
  clear();
}

void NodeBuilder::clear() {
  count_ = 0;
  first_key_.clear();
  logical_.assign(kHeaderSize, 0);
  children_.clear();
}

bool NodeBuilder::ends(std::string_view key, size_t entry_size) {
  if (count_++ == 0) first_key_ = key;
  const size_t size = logical_.size() - kHeaderSize;
  if (size >= kMaxNodeSize) return true;
  if (size < kMinNodeSize) return false;
  // A chance of one in kMeanNodeTail for each byte: entry_size / kMeanNodeTail of the hash's range.
  const uint8_t level = static_cast<uint8_t>(level_);
  const Hash hash = crypto::hmac_sha256(keys_.id, {as_bytes("cairn/v1/border"), ByteView(&level, 1), as_bytes(key)});
  if (entry_size >= kMeanNodeTail) return true;
  return read_le<uint64_t>(hash.bytes.data()) < entry_size * (UINT64_MAX / kMeanNodeTail);
}

bool NodeBuilder::add_item(std::string_view key, std::string_view value) {
  append_le<uint16_t>(logical_, static_cast<uint16_t>(key.size()));
  append_le<uint32_t>(logical_, static_cast<uint32_t>(value.size()));
  append(logical_, as_bytes(key));
  append(logical_, as_bytes(value));
  return ends(key, kItemOverhead + key.size() + value.size());
}

bool NodeBuilder::add_child(std::string_view key, const NodeRef& child) {
  append_le<uint16_t>(logical_, static_cast<uint16_t>(key.size()));
  append(logical_, as_bytes(key));
  append(logical_, child.chunk.view());
  children_.push_back(child);
  return ends(key, kChildOverhead + key.size() + ChunkId::kSize);
}

void NodeBuilder::seal_logical() {
  logical_[0] = kVersion;
  logical_[1] = static_cast<uint8_t>(level_);
  write_le<uint32_t>(logical_.data() + 4, count_);
  write_le<uint32_t>(logical_.data() + 8, static_cast<uint32_t>(logical_.size() - kHeaderSize));
}

ChunkId NodeBuilder::id() {
  seal_logical();
  return content::hashed_chunk_id(keys_, content::ChunkType::tree_node, logical_);
}

Bytes NodeBuilder::encode(const std::vector<NodeRef>& children) {
  seal_logical();
  Bytes out = logical_;
  if (level_ == 0) return out;
  CAIRN_ASSERT(children.size() == count_);
  // Each pack and each holder once.
  std::map<PackId, uint32_t> pack_index;
  std::map<NodeId, uint16_t> holder_index;
  std::vector<const pool::PackRef*> packs;
  std::vector<NodeId> holders;
  for (const NodeRef& child : children) {
    if (child.pack.id.is_zero()) continue;
    if (!pack_index.emplace(child.pack.id, static_cast<uint32_t>(packs.size() + 1)).second) continue;
    packs.push_back(&child.pack);
    for (const NodeId& holder : child.pack.holders) {
      if (holder.is_zero() || holders.size() == kMaxNodeHolders) continue;
      if (holder_index.emplace(holder, static_cast<uint16_t>(holders.size() + 1)).second) holders.push_back(holder);
    }
  }
  append_le<uint32_t>(out, static_cast<uint32_t>(holders.size()));
  for (const NodeId& holder : holders) append(out, holder.view());
  append_le<uint32_t>(out, static_cast<uint32_t>(packs.size()));
  for (const pool::PackRef* pack : packs) {
    append(out, pack->id.view());
    append_le<uint8_t>(out, static_cast<uint8_t>(pack->geometry.k));
    append_le<uint8_t>(out, static_cast<uint8_t>(pack->geometry.m));
    append_le<uint32_t>(out, pack->geometry.shard_length);
    for (uint32_t slot = 0; slot < pack->geometry.k + pack->geometry.m; ++slot) {
      uint16_t index = 0;
      if (slot < pack->holders.size()) {
        if (auto found = holder_index.find(pack->holders[slot]); found != holder_index.end()) index = found->second;
      }
      append_le<uint16_t>(out, index);
    }
  }
  for (const NodeRef& child : children) {
    append_le<uint32_t>(out, child.pack.id.is_zero() ? 0 : pack_index.at(child.pack.id));
    append_le<uint32_t>(out, child.offset);
    append_le<uint32_t>(out, child.length);
  }
  return out;
}

}  // namespace cairn::volume
