#pragma once
// A tree of files in memory that can be backed up: what the client does over POSIX.

#include <map>

#include "backup/source.h"

namespace cairn::test {

struct MemoryNode {
  volume::FileType type = volume::FileType::directory;
  uint32_t mode = 0755, uid = 0, gid = 0;
  uint64_t inode = 0, links = 1, rdev = 0;
  WallTime mtime = 0, ctime = 0;
  std::string content;  // of a file; of a link its target
  std::vector<volume::Xattr> xattrs;
  bool unreadable = false;
  std::map<std::string, std::shared_ptr<MemoryNode>> entries;
};

class MemoryFiles {
 public:
  MemoryNode& mkdir(const std::string& path) { return make(path, volume::FileType::directory, ""); }
  MemoryNode& put(const std::string& path, std::string content) {
    return make(path, volume::FileType::file, std::move(content));
  }
  MemoryNode& symlink(const std::string& path, std::string target) {
    return make(path, volume::FileType::symlink, std::move(target));
  }
  void link(const std::string& from, const std::string& to) {
    auto [directory, name] = place(to);
    auto [old_directory, old_name] = place(from);
    auto node = old_directory->entries.at(old_name);
    directory->entries[name] = node;
    ++node->links;
    node->ctime = directory->mtime = directory->ctime = tick();
  }
  void remove(const std::string& path) {
    auto [directory, name] = place(path);
    auto node = directory->entries.at(name);
    directory->entries.erase(name);
    --node->links;
    node->ctime = directory->mtime = directory->ctime = tick();
  }
  MemoryNode& at(const std::string& path) {
    auto [directory, name] = place(path);
    return *directory->entries.at(name);
  }
  // New bytes in the same file.
  void write(const std::string& path, std::string content) {
    MemoryNode& node = at(path);
    node.content = std::move(content);
    node.mtime = node.ctime = tick();
  }
  void chmod(const std::string& path, uint32_t mode) {
    MemoryNode& node = at(path);
    node.mode = mode;
    node.ctime = tick();
  }
  const MemoryNode& root() const { return *root_; }

 private:
  WallTime tick() { return time_ += 1'000'000'007; }
  std::pair<MemoryNode*, std::string> place(const std::string& path) {
    MemoryNode* at = root_.get();
    size_t begin = 1;
    for (size_t slash; (slash = path.find('/', begin)) != std::string::npos; begin = slash + 1)
      at = at->entries.at(path.substr(begin, slash - begin)).get();
    return {at, path.substr(begin)};
  }
  MemoryNode& make(const std::string& path, volume::FileType type, std::string content) {
    auto [directory, name] = place(path);
    auto node = std::make_shared<MemoryNode>();
    node->type = type;
    if (type == volume::FileType::file) node->mode = 0644;
    node->inode = ++inodes_;
    node->content = std::move(content);
    node->mtime = node->ctime = directory->mtime = directory->ctime = tick();
    directory->entries[name] = node;
    return *node;
  }
  std::shared_ptr<MemoryNode> root_ = std::make_shared<MemoryNode>();
  WallTime time_ = 1'700'000'000'000'000'000;
  uint64_t inodes_ = 1000;
};

class MemorySource final : public backup::Source {
 public:
  explicit MemorySource(const MemoryFiles& files, size_t batch = 7) : batch_(batch) { walk(files.root(), ""); }

  std::vector<backup::ScanEvent> next() override {
    std::vector<backup::ScanEvent> events;
    while (events.size() < batch_ && at_ < all_.size()) events.push_back(all_[at_++]);
    return events;
  }
  void complete(std::span<backup::Detail> details) override {
    for (backup::Detail& detail : details) {
      ++details_read;
      const MemoryNode& node = *nodes_.at(detail.entry.path);
      detail.owner = "owner" + std::to_string(node.uid);
      if (node.unreadable) {
        detail.error = Error{Code::io, "made to fail"};
        continue;
      }
      detail.xattrs = node.xattrs;
      if (node.type == volume::FileType::symlink) detail.target = node.content;
      if (node.type == volume::FileType::file && node.content.size() <= small) {
        detail.content = to_bytes(node.content);
        bytes_read += node.content.size();
      }
    }
  }
  Result<std::unique_ptr<backup::SourceFile>> open(const std::string& path) override {
    if (on_open) on_open(path);
    return std::make_unique<File>(*this, *nodes_.at(path));
  }

  uint64_t details_read = 0, bytes_read = 0;
  size_t small = 1000;
  size_t block = 100'000;
  std::function<void(const std::string&)> on_open;
  std::function<void()> on_read;

 private:
  class File final : public backup::SourceFile {
   public:
    File(MemorySource& source, const MemoryNode& node) : source_(source), node_(node) {}
    Result<std::optional<Piece>> read(uint64_t offset, size_t most) override {
      if (source_.on_read) source_.on_read();
      if (offset >= node_.content.size()) return std::nullopt;
      const std::string_view part = std::string_view(node_.content).substr(offset, std::min(most, source_.block));
      source_.bytes_read += part.size();
      return Piece{.offset = offset, .bytes = Buffer::copy_of(as_bytes(part)), .hole = 0};
    }
    Result<bool> changed_since(const backup::SourceEntry& entry) override {
      return node_.content.size() != entry.size || node_.mtime != entry.mtime || node_.ctime != entry.ctime;
    }

   private:
    MemorySource& source_;
    const MemoryNode& node_;
  };

  void walk(const MemoryNode& folder, const std::string& path) {
    for (const auto& [name, node] : folder.entries) {
      const std::string below = path + "/" + name;
      backup::ScanEvent event;
      event.entry = {.path = below,
                     .name = name,
                     .type = node->type,
                     .mode = node->mode,
                     .uid = node->uid,
                     .gid = node->gid,
                     .links = node->links,
                     .size = node->content.size(),
                     .device = 1,
                     .inode = node->inode,
                     .rdev = node->rdev,
                     .mtime = node->mtime,
                     .ctime = node->ctime,
                     .atime = node->mtime};
      nodes_[below] = node;
      if (node->type != volume::FileType::directory) {
        all_.push_back(std::move(event));
        continue;
      }
      if (node->unreadable) {
        all_.push_back({.kind = backup::ScanEvent::Kind::failed, .entry = {.path = below}, .error = {Code::io, "no"}});
        continue;
      }
      event.kind = backup::ScanEvent::Kind::enter;
      all_.push_back(std::move(event));
      walk(*node, below);
      all_.push_back({.kind = backup::ScanEvent::Kind::leave, .entry = {}});
    }
  }

  size_t batch_;
  std::vector<backup::ScanEvent> all_;
  size_t at_ = 0;
  std::map<std::string, std::shared_ptr<MemoryNode>> nodes_;
};

}  // namespace cairn::test
