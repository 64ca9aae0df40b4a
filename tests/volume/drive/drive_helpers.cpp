#include "volume/drive/drive_helpers.h"

#include "volume/file_reader.h"

namespace cairn::test {

using volume::FileType;
using volume::Inode;
using volume::ItemKind;

std::vector<volume::Extent> DriveFs::extents(const std::string& path) {
  auto found = run(volume::find_extents(world.pending.items(), id(path), 0, UINT64_MAX, 100'000));
  REQUIRE(found);
  return *found;
}

namespace {

struct Seen {
  std::optional<Inode> inode;
  std::map<std::string, volume::DirectoryEntry> entries;
  size_t xattrs = 0;
  std::vector<volume::Extent> extents;
};

}  // namespace

void DriveFs::check() {
  auto items = run(world.pending.items()->scan("F", "G", 10'000'000));
  REQUIRE(items);
  std::map<InodeId, Seen> all;
  for (const volume::Item& item : *items) {
    const auto key = volume::parse_inode_key(item.key);
    REQUIRE(key);
    Seen& seen = all[key->inode];
    switch (key->kind) {
      case ItemKind::inode: {
        auto inode = volume::decode_inode(item.value);
        REQUIRE(inode);
        seen.inode = *inode;
        break;
      }
      case ItemKind::entry: {
        auto entry = volume::decode_entry(key->name, item.value);
        REQUIRE(entry);
        seen.entries.emplace(key->name, *entry);
        break;
      }
      case ItemKind::xattr:
        ++seen.xattrs;
        break;
      case ItemKind::extent: {
        auto extent = volume::decode_extent(key->offset, item.value);
        REQUIRE(extent);
        seen.extents.push_back(*extent);
        break;
      }
    }
  }
  if (!all[kRootInode].inode) all[kRootInode].inode = volume::empty_root();
  std::map<InodeId, uint32_t> names;
  std::map<InodeId, std::set<InodeId>> homes;
  int64_t files = 0, bytes = 0;
  for (const auto& [id, seen] : all) {
    INFO(id);
    REQUIRE(seen.inode);
    CHECK(seen.inode->has_xattrs == (seen.xattrs > 0));
    uint32_t subdirectories = 0;
    for (const auto& [name, entry] : seen.entries) {
      INFO(name);
      REQUIRE(all.contains(entry.inode));
      REQUIRE(all[entry.inode].inode);
      CHECK(all[entry.inode].inode->type == entry.type);
      ++names[entry.inode];
      homes[entry.inode].insert(id);
      if (entry.type == FileType::directory) {
        ++subdirectories;
        CHECK(all[entry.inode].inode->parent == id);
      } else {
        ++files;
      }
    }
    if (seen.inode->is_directory()) {
      CHECK(seen.inode->links == subdirectories);
    } else {
      CHECK(seen.entries.empty());
      bytes += static_cast<int64_t>(seen.inode->size);
    }
    uint64_t end = 0;
    if (!seen.inode->is_file()) CHECK(seen.extents.empty());
    for (const auto& extent : seen.extents) {
      CHECK(seen.inode->inline_data.empty());
      CHECK(extent.offset >= end);
      end = extent.end();
      if (volume::staged_place(extent)) CHECK(extent.offset / kExtentSize == (end - 1) / kExtentSize);
    }
    CHECK(end <= seen.inode->size);
    if (seen.inode->is_file()) CHECK(seen.inode->inline_data.size() <= std::min<uint64_t>(seen.inode->size, 4096));
  }
  for (const auto& [id, seen] : all) {
    INFO(id);
    if (id == kRootInode) continue;
    if (seen.inode->is_directory()) {
      CHECK(names[id] == 1);
    } else {
      CHECK(names[id] > 0);
      CHECK(names[id] == seen.inode->links);
    }
  }
  const auto& head = *world.pending.base();
  const volume::Figures active = world.pending.figures(), sealed = world.sealed_figures;
  CHECK(static_cast<int64_t>(head.files) + sealed.files + active.files == files);
  CHECK(static_cast<int64_t>(head.bytes) + sealed.bytes + active.bytes == bytes);
  CHECK(world.staging.used_bytes() == world.pending.staged_bytes());
}

}  // namespace cairn::test
