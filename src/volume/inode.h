#pragma once
// What the tree keeps about files: plain values, and their form in the tree's items (wire/proto/volume.proto).

#include <string>
#include <vector>

#include "base/ids.h"
#include "base/text.h"
#include "base/units.h"

namespace cairn::volume {

using InodeId = uint64_t;
inline constexpr InodeId kRootInode = 1;

// The numbers of wire.Inode.Type.
enum class FileType : uint8_t {
  file = 1,
  directory = 2,
  symlink = 3,
  fifo = 4,
  socket = 5,
  character_device = 6,
  block_device = 7,
};

struct Inode {
  FileType type = FileType::file;
  uint32_t mode = 0;  // permission bits with set-id and sticky, 07777
  uint32_t uid = 0, gid = 0;
  uint32_t links = 0;  // names; of a directory the number of its subdirectories
  uint64_t size = 0;   // bytes; of a symbolic link its target's
  WallTime mtime = 0, ctime = 0, atime = 0, btime = 0;
  uint64_t rdev = 0;
  std::string inline_data;   // a file of at most kInlineFileSize, or a symbolic link's target
  std::string owner, group;  // names, raw, for restores elsewhere
  uint64_t version = 0;      // grows with each change of content
  bool has_xattrs = false;
  InodeId parent = 0;  // the directory of its name (of several, the one given last); the root's is itself
  uint64_t source_inode = 0, source_device = 0;  // in backups: on the machine that it comes from
  uint32_t flags = 0;                            // likewise: those of chattr(1), os::kFileFlags
  bool operator==(const Inode&) const = default;

  bool is_directory() const { return type == FileType::directory; }
  bool is_file() const { return type == FileType::file; }
};

struct DirectoryEntry {
  std::string name;
  InodeId inode = 0;
  FileType type = FileType::file;
  bool operator==(const DirectoryEntry&) const = default;
};

struct Xattr {
  std::string name, value;
  bool operator==(const Xattr&) const = default;
};

// A run of a file's bytes; what no extent covers is a hole (zeros).
struct Extent {
  uint64_t offset = 0;  // in the file
  uint32_t length = 0;  // bytes of the file
  ChunkId chunk;
  PackId pack;               // zero: the chunk is not in a pack yet (only inside a transaction)
  uint32_t pack_offset = 0;  // of the sealed chunk
  uint32_t sealed_length = 0;
  uint32_t chunk_offset = 0;  // where the run begins in the chunk's plaintext
  uint64_t end() const { return offset + length; }
  bool operator==(const Extent&) const = default;
};

// Values of items. Decoding: Code::corrupt for anything that is not of the form or out of bounds.
std::string encode_inode(const Inode& inode);
Result<Inode> decode_inode(std::string_view value);
std::string encode_entry(InodeId inode, FileType type);
Result<DirectoryEntry> decode_entry(std::string_view name, std::string_view value);
std::string encode_extent(const Extent& extent);
Result<Extent> decode_extent(uint64_t offset, std::string_view value);

using cairn::is_utf8;  // what a text field of a message may hold; names of files are raw bytes and need not be

// The root directory of a volume that nobody has written to yet.
Inode empty_root();

// Whose the root directory becomes with its first change.
struct RootOwner {
  uint32_t uid = 0, gid = 0;
};
// A root that is nobody's yet (it has no time of birth) is `owner`'s from now on.
void own_root(Inode& root, const RootOwner& owner, WallTime now);

}  // namespace cairn::volume
