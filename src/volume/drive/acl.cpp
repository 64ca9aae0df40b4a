#include "volume/drive/acl.h"

#include "base/bytes.h"

namespace cairn::volume {

namespace {

using Tag = AclEntry::Tag;

constexpr uint32_t kVersion = 2;
constexpr size_t kHeaderSize = 4, kEntrySize = 8;

// The order of the tags, each there at most once but for named ones, and what must be there.
bool is_whole(const Acl& acl) {
  enum { owner, users, groups, other, ended } next = owner;
  bool named = false;
  for (const AclEntry& entry : acl) {
    if ((entry.permissions & ~7U) != 0) return false;
    switch (entry.tag) {
      case Tag::owner:
        if (next != owner) return false;
        next = users;
        break;
      case Tag::user:
        if (next != users || entry.id == UINT32_MAX) return false;
        named = true;
        break;
      case Tag::group:
        if (next != users) return false;
        next = groups;
        break;
      case Tag::named_group:
        if (next != groups || entry.id == UINT32_MAX) return false;
        named = true;
        break;
      case Tag::mask:
        if (next != groups) return false;
        next = other;
        break;
      case Tag::other:
        if (next != other && (next != groups || named)) return false;
        next = ended;
        break;
      default:
        return false;
    }
  }
  return next == ended;
}

}  // namespace

FsResult<Acl> parse_acl(std::string_view value) {
  const auto* raw = reinterpret_cast<const uint8_t*>(value.data());
  if (value.empty()) return Acl();
  if (value.size() < kHeaderSize) return fs_fail(EINVAL);
  if (read_le<uint32_t>(raw) != kVersion) return fs_fail(EOPNOTSUPP);
  if ((value.size() - kHeaderSize) % kEntrySize != 0) return fs_fail(EINVAL);
  Acl acl;
  for (size_t at = kHeaderSize; at < value.size(); at += kEntrySize) {
    AclEntry entry{.tag = static_cast<Tag>(read_le<uint16_t>(raw + at)),
                   .permissions = read_le<uint16_t>(raw + at + 2),
                   .id = read_le<uint32_t>(raw + at + 4)};
    if (entry.tag != Tag::user && entry.tag != Tag::named_group) entry.id = UINT32_MAX;
    acl.push_back(entry);
  }
  if (!acl.empty() && !is_whole(acl)) return fs_fail(EINVAL);
  return acl;
}

std::string encode_acl(const Acl& acl) {
  Bytes raw;
  append_le<uint32_t>(raw, kVersion);
  for (const AclEntry& entry : acl) {
    append_le<uint16_t>(raw, static_cast<uint16_t>(entry.tag));
    append_le<uint16_t>(raw, entry.permissions);
    append_le<uint32_t>(raw, entry.id);
  }
  return to_string(ByteView(raw));
}

AclMode mode_of_acl(const Acl& acl, uint32_t mode) {
  uint32_t owner = 0, group = 0, other = 0;
  std::optional<uint32_t> mask;
  bool more = false;
  for (const AclEntry& entry : acl) {
    if (entry.tag == Tag::owner) owner = entry.permissions;
    if (entry.tag == Tag::group) group = entry.permissions;
    if (entry.tag == Tag::other) other = entry.permissions;
    if (entry.tag == Tag::mask) mask = entry.permissions;
    if (entry.tag == Tag::user || entry.tag == Tag::named_group || entry.tag == Tag::mask) more = true;
  }
  return {(mode & ~0777U) | owner << 6 | mask.value_or(group) << 3 | other, more};
}

void change_acl_mode(Acl& acl, uint32_t mode) {
  AclEntry* group = nullptr;
  for (AclEntry& entry : acl) {
    if (entry.tag == Tag::owner) entry.permissions = mode >> 6 & 7;
    if (entry.tag == Tag::other) entry.permissions = mode & 7;
    // The mask comes after the group's entry and takes its place.
    if (entry.tag == Tag::group || entry.tag == Tag::mask) group = &entry;
  }
  if (group != nullptr) group->permissions = mode >> 3 & 7;
}

AclMode inherit_acl(Acl& acl, uint32_t mode) {
  AclEntry* group = nullptr;
  for (AclEntry& entry : acl) {
    if (entry.tag == Tag::owner) entry.permissions &= mode >> 6 & 7;
    if (entry.tag == Tag::other) entry.permissions &= mode & 7;
    if (entry.tag == Tag::group || entry.tag == Tag::mask) group = &entry;
  }
  if (group != nullptr) group->permissions &= mode >> 3 & 7;
  return mode_of_acl(acl, mode);
}

}  // namespace cairn::volume
