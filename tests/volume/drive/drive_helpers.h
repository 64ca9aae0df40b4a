#pragma once
// Short forms for the file system's tests: by path, and with the state of everything checked.

#include "volume/drive/drive_world.h"
#include "volume/volume_helpers.h"

namespace cairn::test {

struct DriveFs {
  explicit DriveFs(uint64_t seed = 1, volume::FileSystemOptions options = {}, volume::JournalSink* journal = nullptr)
      : world(seed, options, journal) {}

  volume::FileSystem& fs() { return *world.fs; }
  WallTime now() { return world.node.world().clock.wall_now(); }
  void pass(Duration time) { world.sim.run_for(time); }
  template <class T>
  T run(env::Task<T> task) {
    return world.run(std::move(task));
  }
  // 0 for success.
  template <class T>
  int error_of(env::Task<volume::FsResult<T>> task) {
    const auto result = run(std::move(task));
    return result ? 0 : result.error().number;
  }
  template <class T>
  T must(env::Task<volume::FsResult<T>> task) {
    auto result = run(std::move(task));
    INFO("errno " << (result ? 0 : result.error().number));
    REQUIRE(result);
    if constexpr (!std::is_void_v<T>) return std::move(*result);
  }

  struct Place {
    InodeId parent = 0;
    std::string name;
  };
  Place place(const std::string& path) {
    const size_t slash = path.rfind('/');
    return {id(path.substr(0, slash)), path.substr(slash + 1)};
  }
  InodeId id(const std::string& path) { return node(path).id; }
  volume::Inode stat(const std::string& path) { return node(path).inode; }
  bool there(const std::string& path) {
    const Place at = place(path);
    return run(fs().lookup(at.parent, at.name)).has_value();
  }
  volume::NodeInfo node(const std::string& path) {
    volume::NodeInfo at = must(fs().attributes(kRootInode));
    for (size_t begin = 1; begin < path.size();) {
      const size_t end = std::min(path.find('/', begin), path.size());
      INFO(path);
      at = must(fs().lookup(at.id, path.substr(begin, end - begin)));
      begin = end + 1;
    }
    return at;
  }
  volume::Caller caller{.uid = 10, .gid = 20, .umask = 022};

  InodeId mkdir(const std::string& path, uint32_t mode = 0755) {
    const Place at = place(path);
    return must(fs().make_directory(at.parent, at.name, mode, caller)).id;
  }
  InodeId mknod(const std::string& path, uint32_t mode = 0644, volume::FileType type = volume::FileType::file) {
    const Place at = place(path);
    return must(fs().make_node(at.parent, at.name, type, mode, 0, caller)).id;
  }
  InodeId symlink(const std::string& path, const std::string& target) {
    const Place at = place(path);
    return must(fs().make_symlink(at.parent, at.name, target, caller)).id;
  }
  int link(const std::string& from, const std::string& to) {
    const InodeId file = id(from);
    const Place at = place(to);
    return error_of(fs().link(file, at.parent, at.name));
  }
  int unlink(const std::string& path) {
    const Place at = place(path);
    return error_of(fs().unlink(at.parent, at.name));
  }
  int rmdir(const std::string& path) {
    const Place at = place(path);
    return error_of(fs().remove_directory(at.parent, at.name));
  }
  int rename(const std::string& from, const std::string& to, uint32_t flags = 0) {
    const Place a = place(from), b = place(to);
    return error_of(fs().rename(a.parent, a.name, b.parent, b.name, flags));
  }
  volume::FileHandle open(const std::string& path) { return must(fs().open(id(path), false)).handle; }
  volume::FileHandle create(const std::string& path, uint32_t mode = 0644) {
    const Place at = place(path);
    return must(fs().create(at.parent, at.name, mode, false, caller)).handle;
  }
  void release(volume::FileHandle handle) { must(fs().release(handle)); }
  size_t write(volume::FileHandle handle, uint64_t offset, ByteView bytes) {
    return must(fs().write(handle, offset, Buffer::copy_of(bytes), false, false));
  }
  size_t write(volume::FileHandle handle, uint64_t offset, std::string_view text) {
    return write(handle, offset, as_bytes(text));
  }
  std::string read(volume::FileHandle handle, uint64_t offset, size_t length) {
    std::string text;
    for (const Buffer& part : must(fs().read(handle, offset, length))) text += as_text(part.view());
    return text;
  }
  // The whole file.
  std::string read(const std::string& path) {
    const auto handle = open(path);
    std::string text = read(handle, 0, SIZE_MAX);
    release(handle);
    return text;
  }
  void put(const std::string& path, std::string_view text) {
    const auto handle = create(path);
    write(handle, 0, text);
    release(handle);
  }
  int truncate(const std::string& path, uint64_t size) {
    return error_of(fs().set_attributes(id(path), {.size = size}, caller));
  }
  int set(const std::string& path, volume::AttributeSet set) {
    return error_of(fs().set_attributes(id(path), std::move(set), caller));
  }
  std::vector<std::string> list(const std::string& path, size_t step = 1000) {
    const auto handle = must(fs().open_directory(id(path)));
    std::vector<std::string> names;
    uint64_t cookie = 0;
    for (;;) {
      const auto items = must(fs().read_directory(handle, cookie, step, false));
      if (items.empty()) break;
      for (const auto& item : items) names.push_back(item.entry.name);
      cookie = items.back().cookie;
    }
    must(fs().release_directory(handle));
    return names;
  }
  std::vector<volume::Extent> extents(const std::string& path);

  // Everything that must hold of all items: counts, parents, extents, figures, staged bytes, nothing without a name.
  void check();

  DriveWorld world;
};

}  // namespace cairn::test
