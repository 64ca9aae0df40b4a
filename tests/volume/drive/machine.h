#pragma once
// A simulated machine with a drive, over a pool in memory that several machines share; and short forms for its files.

#include <catch2/catch.hpp>

#include "volume/drive/drive.h"
#include "volume/memory_pool.h"

namespace cairn::test {

using volume::FileHandle;
using volume::InodeId;
using volume::kRootInode;

// Everything that ends with the process.
struct DriveLife {
  DriveLife(MemoryPool& pool, env::World world, uint8_t number)
      : packs(pool, world, number), head(pool, world, Device::id_of(number)) {}
  MemoryPackIo packs;
  MemoryHead head;
  std::unique_ptr<volume::Volume> volume;
  std::unique_ptr<volume::Drive> drive;
};

class Machine {
 public:
  Machine(sim::SimWorld& sim, MemoryPool& pool, uint8_t number)
      : sim_(sim), pool_(pool), number_(number), node(sim.add_node()) {
    options.folder = "drive";
  }

  // A process begins: the volume and its drive are opened. `prepare` may make faults before.
  Status start(const std::function<void(DriveLife&)>& prepare = {}) {
    life = &node.own(std::make_shared<DriveLife>(pool_, node.world(), number_));
    if (prepare) prepare(*life);
    volume::VolumeOptions about;
    about.high_water_path = "high-water";
    about.name_of_node = [](const NodeId& id) { return "node" + std::to_string(id.bytes[0]); };
    about.read_patience = options.timeout;
    auto known = sim_.run(volume::Drive::last_head(node.world(), options.folder));
    if (!known) return fail(std::move(known.error()));
    about.last_head = std::move(*known);
    auto opened = sim_.run(
        volume::Volume::open(node.world(), life->packs, life->head, volume_keys(), writer_key(number_), about));
    if (!opened) return fail(std::move(opened.error()));
    life->volume = std::move(*opened);
    auto drive = sim_.run(volume::Drive::open(node.world(), *life->volume, options));
    if (!drive) return fail(std::move(drive.error()));
    life->drive = std::move(*drive);
    return {};
  }
  // An orderly end: what is pending stays in the journal.
  Status stop() {
    auto closed = sim_.run(drive().close());
    life = nullptr;
    node.disown();
    return closed;
  }
  void crash(sim::CrashKind kind) {
    life = nullptr;
    node.crash(kind);
    node.restart();
  }
  volume::Drive& drive() { return *life->drive; }
  volume::FileSystem& files() { return life->drive->files(); }
  void set_away(bool away) { life->packs.away = life->head.away = away; }
  template <class T>
  T run(env::Task<T> task) {
    return sim_.run(std::move(task));
  }

  // --- files; errors as numbers, 0 for none ---
  // "a/b/c": the directory and the last name.
  volume::FsResult<std::pair<InodeId, std::string>> place(const std::string& path) {
    InodeId at = kRootInode;
    size_t from = 0;
    for (size_t slash = path.find('/'); slash != std::string::npos; from = slash + 1, slash = path.find('/', from)) {
      auto found = run(files().lookup(at, path.substr(from, slash - from)));
      if (!found) return std::unexpected(found.error());
      at = found->id;
    }
    return std::pair(at, path.substr(from));
  }
  volume::FsResult<InodeId> find(const std::string& path) {
    auto at = place(path);
    if (!at) return std::unexpected(at.error());
    auto found = run(files().lookup(at->first, at->second));
    if (!found) return std::unexpected(found.error());
    return found->id;
  }
  volume::FsResult<FileHandle> open(const std::string& path, bool make = true) {
    auto at = place(path);
    if (!at) return std::unexpected(at.error());
    if (make) {
      auto opened = run(files().create(at->first, at->second, 0644, false, {}));
      if (!opened) return std::unexpected(opened.error());
      return opened->handle;
    }
    auto found = run(files().lookup(at->first, at->second));
    if (!found) return std::unexpected(found.error());
    auto opened = run(files().open(found->id, false));
    if (!opened) return std::unexpected(opened.error());
    return opened->handle;
  }
  int write(const std::string& path, uint64_t offset, ByteView bytes, size_t piece = 1 << 20) {
    auto handle = open(path);
    if (!handle) return handle.error().number;
    int error = 0;
    for (size_t done = 0; done < bytes.size() && error == 0; done += piece) {
      const ByteView part = bytes.subspan(done, std::min(piece, bytes.size() - done));
      auto wrote = run(files().write(*handle, offset + done, Buffer::copy_of(part), false, false));
      if (!wrote) error = wrote.error().number;
      if (wrote && *wrote != part.size()) error = EIO;
    }
    (void)run(files().release(*handle));
    return error;
  }
  int write(const std::string& path, std::string_view text) { return write(path, 0, as_bytes(text)); }
  volume::FsResult<Bytes> read(const std::string& path) {
    auto handle = open(path, false);
    if (!handle) return std::unexpected(handle.error());
    auto bytes = read_handle(*handle);
    (void)run(files().release(*handle));
    return bytes;
  }
  volume::FsResult<Bytes> read_handle(FileHandle handle) {
    Bytes all;
    for (;;) {
      auto parts = run(files().read(handle, all.size(), 300'000));
      if (!parts) return std::unexpected(parts.error());
      size_t got = 0;
      for (const Buffer& part : *parts) {
        append(all, part);
        got += part.size();
      }
      if (got == 0) return all;
    }
  }
  std::optional<std::string> text(const std::string& path) {
    auto bytes = read(path);
    if (!bytes) return std::nullopt;
    return to_string(ByteView(*bytes));
  }
  int mkdir(const std::string& path) {
    auto at = place(path);
    if (!at) return at.error().number;
    auto made = run(files().make_directory(at->first, at->second, 0755, {}));
    return made ? 0 : made.error().number;
  }
  int unlink(const std::string& path) {
    auto at = place(path);
    if (!at) return at.error().number;
    auto gone = run(files().unlink(at->first, at->second));
    return gone ? 0 : gone.error().number;
  }
  int rename(const std::string& from, const std::string& to) {
    auto a = place(from), b = place(to);
    if (!a) return a.error().number;
    if (!b) return b.error().number;
    auto moved = run(files().rename(a->first, a->second, b->first, b->second, 0));
    return moved ? 0 : moved.error().number;
  }
  bool fsync() {
    auto synced = run(drive().fsync());
    return synced.has_value();
  }
  // path -> content, of everything ("/" for a directory).
  std::map<std::string, std::string> tree() {
    std::map<std::string, std::string> all;
    std::vector<std::pair<std::string, InodeId>> left = {{"", kRootInode}};
    while (!left.empty()) {
      const auto [path, id] = left.back();
      left.pop_back();
      auto handle = run(files().open_directory(id));
      REQUIRE(handle);
      uint64_t cookie = 0;
      for (;;) {
        auto items = run(files().read_directory(*handle, cookie, 50, true));
        REQUIRE(items);
        if (items->empty()) break;
        for (const auto& item : *items) {
          cookie = item.cookie;
          const std::string& name = item.entry.name;
          if (name == "." || name == "..") continue;
          const std::string below = path.empty() ? name : path + "/" + name;
          INFO(below);
          if (item.entry.type == volume::FileType::directory) {
            all[below] = "/";
            left.emplace_back(below, item.entry.inode);
          } else {
            auto bytes = read(below);
            // Another machine has just removed it.
            if (!bytes && (bytes.error().number == ENOENT || bytes.error().number == ESTALE)) continue;
            INFO((bytes ? 0 : bytes.error().number));
            REQUIRE(bytes);
            all[below] = to_string(ByteView(*bytes));
          }
        }
      }
      REQUIRE(run(files().release_directory(*handle)));
    }
    return all;
  }

 private:
  sim::SimWorld& sim_;
  MemoryPool& pool_;
  uint8_t number_;

 public:
  sim::SimNode& node;
  volume::DriveOptions options;
  DriveLife* life = nullptr;
};

}  // namespace cairn::test
