#pragma once
// Headers of tar archives: POSIX.1-2001 (pax), with a record for all that the old header cannot say. Pure.

#include <optional>

#include "base/bytes.h"
#include "volume/inode.h"

namespace cairn::client {

inline constexpr size_t kTarBlock = 512;

struct TarEntry {
  std::string path;  // relative; a folder's without '/' at its end
  volume::Inode inode;
  std::vector<volume::Xattr> xattrs;
  std::optional<std::string> link_to;  // another name of a file that is in the archive already
};

// Everything before the entry's bytes: whole blocks. Nothing for a socket, which archives do not have.
std::string tar_header(const TarEntry& entry);
// The bytes of content that follow the header.
uint64_t tar_content_size(const TarEntry& entry);
// Zeros behind so many bytes, up to a whole block.
size_t tar_padding(uint64_t size);
// The two empty blocks at the end.
std::string tar_end();

}  // namespace cairn::client
