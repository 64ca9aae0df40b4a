#pragma once
// POSIX access control lists as the extended attributes system.posix_acl_access and system.posix_acl_default hold them
// (acl(5), linux/posix_acl_xattr.h): u32 version 2, then entries {u16 tag, u16 permissions, u32 id}, little-endian.
//
// What Linux's own file systems do with them, as pure functions. An access ACL and the mode's nine bits are one thing:
// the owner's and the others' entries are the bits; so is the mask, or, where there is none, the group's entry.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "volume/drive/errno.h"

namespace cairn::volume {

inline constexpr std::string_view kAclAccess = "system.posix_acl_access", kAclDefault = "system.posix_acl_default";

struct AclEntry {
  enum class Tag : uint16_t { owner = 1, user = 2, group = 4, named_group = 8, mask = 16, other = 32 } tag{};
  uint16_t permissions = 0;  // rwx
  uint32_t id = UINT32_MAX;  // of a user or a named group
  bool operator==(const AclEntry&) const = default;
};
using Acl = std::vector<AclEntry>;

// Empty for a value without entries: the same as no ACL. EINVAL for what is malformed or not whole, EOPNOTSUPP for
// another version.
FsResult<Acl> parse_acl(std::string_view value);
std::string encode_acl(const Acl& acl);

// The mode that an access ACL gives (bits above 0777 are kept), and whether the ACL says more than that mode.
struct AclMode {
  uint32_t mode = 0;
  bool more = false;
};
AclMode mode_of_acl(const Acl& acl, uint32_t mode);
// chmod: the ACL's entries after a change of the mode.
void change_acl_mode(Acl& acl, uint32_t mode);
// A new inode below a directory with a default ACL, asked for with `mode`: `acl` becomes its access ACL.
AclMode inherit_acl(Acl& acl, uint32_t mode);

}  // namespace cairn::volume
