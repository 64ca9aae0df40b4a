#pragma once
// The keys of the tree's items: one ordered key space.
//
//   'C' chunk ID                          where a chunk lies (volumes that deduplicate)
//   'D' pack ID                           a dead pack (wire.DeadPack; volume/collect.h)
//   'F' inode be64 0x01                   inode item (wire.Inode)
//   'F' inode be64 0x02 name              entry of a directory (wire.DirectoryEntry)
//   'F' inode be64 0x03 name              extended attribute (raw value)
//   'F' inode be64 0x04 offset be64       extent of a file (wire.Extent)
//   'J' journal ID (16)                   how far a drive's journal is in this tree (volume/drive/JOURNAL.md)
//   'P' pack ID                           what is needed to read a pack (wire.PackRef)
//   'S' name                              snapshot (wire.Snapshot)
//   'U' name                              snapshot that was forgotten (wire.ForgottenSnapshot)
//
// All of one inode lies together; an inode's number is what a writer's session draws (see InodeNumbers), so files that
// were written together lie together.

#include <optional>

#include "env/random.h"
#include "volume/inode.h"

namespace cairn::volume {

enum class ItemKind : uint8_t { inode = 1, entry = 2, xattr = 3, extent = 4 };

std::string inode_key(InodeId inode);
std::string entry_key(InodeId parent, std::string_view name);
std::string xattr_key(InodeId inode, std::string_view name);
std::string extent_key(InodeId inode, uint64_t offset);
std::string pack_key(const PackId& pack);
std::string chunk_key(const ChunkId& chunk);
std::string snapshot_key(std::string_view name);
std::string dead_pack_key(const PackId& pack);
std::string forgotten_key(std::string_view name);
std::string journal_key(ByteView journal_id);

// All keys of one kind of an inode, all of an inode, all snapshots, all packs: first <= key < last.
struct KeyRange {
  std::string first, last;
};
KeyRange range_of(InodeId inode, ItemKind kind);
KeyRange range_of(InodeId inode);
KeyRange range_of_prefix(char prefix);

// The parts of an inode's key; nothing for another key or one that is not of the form.
struct InodeKey {
  InodeId inode = 0;
  ItemKind kind{};
  std::string_view name;  // of an entry or an extended attribute; points into the key
  uint64_t offset = 0;    // of an extent
};
std::optional<InodeKey> parse_inode_key(std::string_view key);
// The inode that a key (or the end of a range) begins with; nothing for another key.
std::optional<InodeId> inode_of_key(std::string_view key);

// Numbers for new inodes: a random start for each session and then one after the other, so that writers that know
// nothing of one another do not collide (10,000 sessions of 1,000,000 files: odds of 5 in a million).
class InodeNumbers {
 public:
  explicit InodeNumbers(env::SecureRandom& random);
  InodeId next() { return next_++; }
  // The number that next() gives next.
  InodeId unused() const { return next_; }

 private:
  InodeId next_;
};

}  // namespace cairn::volume
