#include "volume/keys.h"

namespace cairn::volume {

namespace {

constexpr size_t kInodePrefix = 1 + 8 + 1;  // 'F', inode, kind

void append_be(std::string& out, uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}

std::string key_of(InodeId inode, ItemKind kind) {
  std::string key = "F";
  append_be(key, inode);
  key.push_back(static_cast<char>(kind));
  return key;
}

std::string key_with(char prefix, std::string_view rest) {
  std::string key(1, prefix);
  key += rest;
  return key;
}

}  // namespace

std::string inode_key(InodeId inode) {
  return key_of(inode, ItemKind::inode);
}

std::string entry_key(InodeId parent, std::string_view name) {
  std::string key = key_of(parent, ItemKind::entry);
  key += name;
  return key;
}

std::string xattr_key(InodeId inode, std::string_view name) {
  std::string key = key_of(inode, ItemKind::xattr);
  key += name;
  return key;
}

std::string extent_key(InodeId inode, uint64_t offset) {
  std::string key = key_of(inode, ItemKind::extent);
  append_be(key, offset);
  return key;
}

std::string pack_key(const PackId& pack) {
  return key_with('P', as_text(pack.view()));
}
std::string chunk_key(const ChunkId& chunk) {
  return key_with('C', as_text(chunk.view()));
}
std::string snapshot_key(std::string_view name) {
  return key_with('S', name);
}
std::string dead_pack_key(const PackId& pack) {
  return key_with('D', as_text(pack.view()));
}
std::string forgotten_key(std::string_view name) {
  return key_with('U', name);
}
std::string journal_key(ByteView journal_id) {
  return key_with('J', as_text(journal_id));
}

KeyRange range_of(InodeId inode, ItemKind kind) {
  std::string last = key_of(inode, kind);
  ++last.back();
  return {key_of(inode, kind), std::move(last)};
}

KeyRange range_of(InodeId inode) {
  std::string prefix = "F";
  append_be(prefix, inode);
  return {prefix + '\0', prefix + '\xff'};
}

KeyRange range_of_prefix(char prefix) {
  return {std::string(1, prefix), std::string(1, static_cast<char>(prefix + 1))};
}

std::optional<InodeKey> parse_inode_key(std::string_view key) {
  if (key.size() < kInodePrefix || key[0] != 'F') return std::nullopt;
  const auto* raw = reinterpret_cast<const uint8_t*>(key.data());
  InodeKey parsed{.inode = read_be64(raw + 1), .kind = static_cast<ItemKind>(raw[9]), .name = {}};
  const std::string_view rest = key.substr(kInodePrefix);
  switch (parsed.kind) {
    case ItemKind::inode:
      if (!rest.empty()) return std::nullopt;
      return parsed;
    case ItemKind::entry:
    case ItemKind::xattr:
      if (rest.empty()) return std::nullopt;
      parsed.name = rest;
      return parsed;
    case ItemKind::extent:
      if (rest.size() != 8) return std::nullopt;
      parsed.offset = read_be64(raw + kInodePrefix);
      return parsed;
  }
  return std::nullopt;
}

std::optional<InodeId> inode_of_key(std::string_view key) {
  if (key.size() < kInodePrefix || key[0] != 'F') return std::nullopt;
  return read_be64(reinterpret_cast<const uint8_t*>(key.data()) + 1);
}

InodeNumbers::InodeNumbers(env::SecureRandom& random)
    // Under 2^63, for programs that take the number for a signed one; never the root's.
    : next_((random.u64() >> 1) | (uint64_t{1} << 32)) {}

}  // namespace cairn::volume
