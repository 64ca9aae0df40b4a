#pragma once
// The reader behind View::open_reader().

#include "volume/chunk_reader.h"

namespace cairn::volume {

std::unique_ptr<FileReader> make_file_reader(std::shared_ptr<ItemReader> items, std::shared_ptr<ChunkReader> chunks,
                                             InodeId id, const Inode& inode, uint64_t first, uint64_t last);

// Extents of items whose keys lie in the extent range of an inode. Code::corrupt.
Result<std::vector<Extent>> decode_extents(const std::vector<Item>& items);
// Cuts an extent to first <= byte < last; they overlap.
void clip(Extent& extent, uint64_t first, uint64_t last);
// At most `limit` extents that touch first <= byte < last.
env::Task<Result<std::vector<Extent>>> find_extents(std::shared_ptr<ItemReader> items, InodeId id, uint64_t first,
                                                    uint64_t last, size_t limit);

}  // namespace cairn::volume
