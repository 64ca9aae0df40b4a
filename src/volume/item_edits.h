#pragma once
// What changes of files do to items: shared by transactions and the drive's file system. Free functions over an
// ItemReader; nothing is written, edits are collected.

#include "volume/keys.h"
#include "volume/overlay.h"

namespace cairn::volume {

// Nothing when it is not there; the root is always there.
env::Task<Result<std::optional<Inode>>> load_inode(std::shared_ptr<ItemReader> items, InodeId id);
env::Task<Result<std::optional<DirectoryEntry>>> load_entry(std::shared_ptr<ItemReader> items, InodeId parent,
                                                            std::string name);
env::Task<Result<bool>> is_empty_directory(std::shared_ptr<ItemReader> items, InodeId id);
// Whether `directory` is `above` or somewhere below it. Code::too_large beyond kMaxPathDepth.
env::Task<Result<bool>> is_below(std::shared_ptr<ItemReader> items, InodeId directory, InodeId above);
// All items of an inode: itself, its entries, attributes and extents.
env::Task<Result<EditMap>> load_items(std::shared_ptr<ItemReader> items, InodeId id);

// Takes first <= byte < last out of one extent.
void carve_extent(InodeId id, const Extent& extent, uint64_t first, uint64_t last, EditMap& edits);
// ... out of all extents of a file.
env::Task<Status> carve_extents(std::shared_ptr<ItemReader> items, InodeId id, uint64_t first, uint64_t last,
                                EditMap& edits);

}  // namespace cairn::volume
