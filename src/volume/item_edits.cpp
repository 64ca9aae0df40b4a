#include "volume/item_edits.h"

#include "volume/file_reader.h"
#include "volume/limits.h"

namespace cairn::volume {

namespace {

constexpr size_t kPage = 1000;

}  // namespace

env::Task<Result<std::optional<Inode>>> load_inode(std::shared_ptr<ItemReader> items, InodeId id) {
  auto value = co_await items->get(inode_key(id));
  if (!value) co_return fail(std::move(value.error()));
  if (!*value) co_return id == kRootInode ? std::optional(empty_root()) : std::nullopt;
  auto inode = decode_inode(**value);
  if (!inode) co_return fail(std::move(inode.error()));
  co_return std::move(*inode);
}

env::Task<Result<std::optional<DirectoryEntry>>> load_entry(std::shared_ptr<ItemReader> items, InodeId parent,
                                                            std::string name) {
  auto value = co_await items->get(entry_key(parent, name));
  if (!value) co_return fail(std::move(value.error()));
  if (!*value) co_return std::nullopt;
  auto entry = decode_entry(name, **value);
  if (!entry) co_return fail(std::move(entry.error()));
  co_return std::move(*entry);
}

env::Task<Result<bool>> is_empty_directory(std::shared_ptr<ItemReader> items, InodeId id) {
  KeyRange range = range_of(id, ItemKind::entry);
  auto first = co_await items->scan(std::move(range.first), std::move(range.last), 1);
  if (!first) co_return fail(std::move(first.error()));
  co_return first->empty();
}

env::Task<Result<bool>> is_below(std::shared_ptr<ItemReader> items, InodeId directory, InodeId above) {
  InodeId at = directory;
  for (size_t depth = 0; depth < kMaxPathDepth; ++depth) {
    if (at == above) co_return true;
    if (at == kRootInode) co_return false;
    auto inode = co_await load_inode(items, at);
    if (!inode) co_return fail(std::move(inode.error()));
    if (!*inode) co_return fail(Code::not_found, "no such inode");
    at = (*inode)->parent;
  }
  co_return fail(Code::too_large, "directories too deep");
}

env::Task<Result<EditMap>> load_items(std::shared_ptr<ItemReader> items, InodeId id) {
  EditMap all;
  KeyRange range = range_of(id);
  for (;;) {
    auto page = co_await items->scan(range.first, range.last, kPage);
    if (!page) co_return fail(std::move(page.error()));
    if (page->size() == kPage) range.first = page->back().key + '\0';
    const bool last = page->size() < kPage;
    for (Item& item : *page) all.insert_or_assign(std::move(item.key), std::move(item.value));
    if (last) co_return all;
  }
}

void carve_extent(InodeId id, const Extent& extent, uint64_t first, uint64_t last, EditMap& edits) {
  edits.insert_or_assign(extent_key(id, extent.offset), std::nullopt);
  if (extent.offset < first) {
    Extent left = extent;
    clip(left, 0, first);
    edits.insert_or_assign(extent_key(id, left.offset), encode_extent(left));
  }
  if (extent.end() > last) {
    Extent right = extent;
    clip(right, last, UINT64_MAX);
    edits.insert_or_assign(extent_key(id, right.offset), encode_extent(right));
  }
}

env::Task<Status> carve_extents(std::shared_ptr<ItemReader> items, InodeId id, uint64_t first, uint64_t last,
                                EditMap& edits) {
  uint64_t from = first;
  while (from < last) {
    auto page = co_await find_extents(items, id, from, last, kPage);
    if (!page) co_return fail(std::move(page.error()));
    for (const Extent& extent : *page) carve_extent(id, extent, first, last, edits);
    if (page->size() < kPage) break;
    from = page->back().end();
  }
  co_return Status{};
}

}  // namespace cairn::volume
