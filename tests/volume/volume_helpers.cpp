#include "volume/volume_helpers.h"

namespace cairn::test {

using volume::FileType;

std::map<std::string, std::string> check_tree(Device& device, const View& view) {
  std::map<std::string, std::string> listing;
  std::map<InodeId, uint32_t> names_of;
  std::map<InodeId, volume::Inode> inodes;
  std::vector<std::pair<std::string, InodeId>> left = {{"", kRootInode}};
  std::set<InodeId> directories;
  while (!left.empty()) {
    auto [path, id] = left.back();
    left.pop_back();
    REQUIRE(directories.insert(id).second);  // a directory has one name
    auto about = device.run(view.inode(id));
    REQUIRE(about);
    REQUIRE(about->is_directory());
    auto entries = device.run(view.list(id, "", SIZE_MAX));
    REQUIRE(entries);
    uint32_t subdirectories = 0;
    for (const auto& entry : *entries) {
      const std::string below = path + "/" + entry.name;
      INFO(below);
      auto inode = device.run(view.inode(entry.inode));
      REQUIRE(inode);
      REQUIRE(inode->type == entry.type);
      if (entry.type == FileType::directory) {
        ++subdirectories;
        CHECK(inode->parent == id);
        left.emplace_back(below, entry.inode);
        listing[below] = "/";
        continue;
      }
      ++names_of[entry.inode];
      inodes[entry.inode] = *inode;
      if (entry.type != FileType::file) continue;
      auto bytes = device.run(view.read(entry.inode, 0, inode->size));
      REQUIRE(bytes);
      listing[below] = to_string(ByteView(*bytes));
    }
    INFO(path);
    CHECK(about->links == subdirectories);
  }
  for (const auto& [id, count] : names_of) {
    INFO(id);
    CHECK(inodes[id].links == count);
  }
  return listing;
}

}  // namespace cairn::test
