// Random operations against a plain model of a file system: with commits beneath, with operations that are destroyed
// midway, and with many at once.

#include "volume/drive/drive_helpers.h"

namespace cairn::volume {
namespace {

using test::DriveFs;

using Xattrs = std::map<std::string, std::string>;

struct Node {
  FileType type = FileType::file;
  uint32_t mode = 0;
  uint32_t links = 0;  // names
  std::string data;    // of a file; of a symbolic link its target
  Xattrs xattrs;
  std::map<std::string, InodeId> entries;
  InodeId parent = 0;
  size_t handles = 0;
  bool operator==(const Node& other) const = default;
};

// One operation, its arguments all drawn.
struct Operation {
  enum class Kind {
    make,
    make_unnamed,
    link,
    unlink,
    remove_directory,
    rename,
    open,
    release,
    write,
    append,
    truncate,
    chmod,
    allocate,
    copy,
    set_xattr,
    remove_xattr,
    kinds
  } kind{};
  FileType type = FileType::file;
  InodeId inode = 0, parent = 0, to_parent = 0;
  std::string name, to;
  uint32_t number = 0;  // flags, mode
  uint64_t offset = 0, to_offset = 0, length = 0;
  std::string bytes;
  size_t handle = 0, to_handle = 0;  // index into the open ones
};

struct Handle {
  FileHandle handle = 0;
  InodeId inode = 0;
};

class Model {
 public:
  Model() { nodes[kRootInode] = {.type = FileType::directory, .mode = 0755, .links = 1, .parent = kRootInode}; }

  // What the operation says: 0, or an error; `made` is the number of a new inode.
  int apply(const Operation& op, InodeId made) {
    using Kind = Operation::Kind;
    switch (op.kind) {
      case Kind::make:
        return make(op, made);
      case Kind::make_unnamed:
        if (nodes.at(op.parent).type != FileType::directory) return ENOTDIR;
        nodes[made] = {.mode = op.number & ~022U, .parent = op.parent, .handles = 1};
        return 0;
      case Kind::link:
        return link(op);
      case Kind::unlink: {
        Node& parent = nodes.at(op.parent);
        const auto at = parent.entries.find(op.name);
        if (at == parent.entries.end()) return parent.type == FileType::directory ? ENOENT : ENOTDIR;
        if (nodes.at(at->second).type == FileType::directory) return EISDIR;
        drop(at->second);
        parent.entries.erase(at);
        return 0;
      }
      case Kind::remove_directory: {
        Node& parent = nodes.at(op.parent);
        const auto at = parent.entries.find(op.name);
        if (at == parent.entries.end()) return parent.type == FileType::directory ? ENOENT : ENOTDIR;
        if (nodes.at(at->second).type != FileType::directory) return ENOTDIR;
        if (!nodes.at(at->second).entries.empty()) return ENOTEMPTY;
        drop(at->second);
        parent.entries.erase(at);
        return 0;
      }
      case Kind::rename:
        return rename(op);
      case Kind::open: {
        Node& node = nodes.at(op.inode);
        if (node.type == FileType::directory) return EISDIR;
        if (node.type != FileType::file) return ENXIO;
        ++node.handles;
        return 0;
      }
      case Kind::release:
        --nodes.at(op.inode).handles;
        if (nodes.at(op.inode).links == 0 && nodes.at(op.inode).handles == 0) nodes.erase(op.inode);
        return 0;
      case Kind::write:
      case Kind::append: {
        std::string& data = nodes.at(op.inode).data;
        put(data, op.kind == Kind::append ? data.size() : op.offset, op.bytes);
        return 0;
      }
      case Kind::truncate: {
        Node& node = nodes.at(op.inode);
        if (node.type == FileType::directory) return EISDIR;
        if (node.type != FileType::file) return EINVAL;
        node.data.resize(op.length);
        return 0;
      }
      case Kind::chmod:
        nodes.at(op.inode).mode = op.number;
        return 0;
      case Kind::allocate: {
        std::string& data = nodes.at(op.inode).data;
        const uint64_t end = op.offset + op.length;
        if ((op.number & kFallocateKeepSize) == 0 && data.size() < end) data.resize(end);
        if ((op.number & (kFallocatePunchHole | kFallocateZeroRange)) != 0) {
          for (uint64_t i = op.offset; i < std::min<uint64_t>(end, data.size()); ++i) data[i] = '\0';
        }
        return 0;
      }
      case Kind::copy: {
        const std::string from = nodes.at(op.parent).data;
        if (op.offset >= from.size()) return 0;
        const std::string part = from.substr(op.offset, op.length);
        if (op.parent == op.inode && op.offset < op.to_offset + part.size() && op.to_offset < op.offset + part.size())
          return EINVAL;
        put(nodes.at(op.inode).data, op.to_offset, part);
        return 0;
      }
      case Kind::set_xattr: {
        Xattrs& xattrs = nodes.at(op.inode).xattrs;
        if ((op.number & kXattrCreate) != 0 && xattrs.contains(op.name)) return EEXIST;
        if ((op.number & kXattrReplace) != 0 && !xattrs.contains(op.name)) return ENODATA;
        xattrs[op.name] = op.bytes;
        return 0;
      }
      case Kind::remove_xattr:
        return nodes.at(op.inode).xattrs.erase(op.name) > 0 ? 0 : ENODATA;
      case Kind::kinds:
        break;
    }
    return -1;
  }

  bool is_below(InodeId directory, InodeId above) const {
    while (directory != above && directory != kRootInode) directory = nodes.at(directory).parent;
    return directory == above;
  }

  std::map<InodeId, Node> nodes;

 private:
  static void put(std::string& data, uint64_t offset, const std::string& bytes) {
    if (bytes.empty()) return;
    if (data.size() < offset + bytes.size()) data.resize(offset + bytes.size());
    data.replace(offset, bytes.size(), bytes);
  }
  int make(const Operation& op, InodeId made) {
    Node& parent = nodes.at(op.parent);
    if (parent.type != FileType::directory) return ENOTDIR;
    if (parent.entries.contains(op.name)) return EEXIST;
    parent.entries[op.name] = made;
    nodes[made] = {.type = op.type,
                   .mode = (op.type == FileType::symlink ? 0777 : op.number & ~022U) |
                           (op.type == FileType::directory ? parent.mode & 02000 : 0),
                   .links = 1,
                   .data = op.bytes,
                   .parent = op.parent};
    return 0;
  }
  int link(const Operation& op) {
    if (nodes.at(op.parent).type != FileType::directory) return ENOTDIR;
    if (nodes.at(op.inode).type == FileType::directory) return EPERM;
    if (nodes.at(op.parent).entries.contains(op.name)) return EEXIST;
    nodes.at(op.parent).entries[op.name] = op.inode;
    ++nodes.at(op.inode).links;
    nodes.at(op.inode).parent = op.parent;
    return 0;
  }
  void drop(InodeId id) {
    Node& node = nodes.at(id);
    if (--node.links == 0 && node.handles == 0) nodes.erase(id);
  }
  int rename(const Operation& op) {
    const bool exchange = op.number == kRenameExchange;
    Node& from = nodes.at(op.parent);
    Node& to = nodes.at(op.to_parent);
    const auto source = from.entries.find(op.name);
    if (source == from.entries.end()) return from.type == FileType::directory ? ENOENT : ENOTDIR;
    const InodeId moved = source->second;
    const auto target = to.entries.find(op.to);
    const InodeId other = target == to.entries.end() ? 0 : target->second;
    if (exchange && other == 0) return ENOENT;
    if (op.number == kRenameNoReplace && other != 0) return EEXIST;
    if (other == moved) return 0;
    if (to.type != FileType::directory) return ENOTDIR;
    const bool source_is_directory = nodes.at(moved).type == FileType::directory;
    const bool target_is_directory = other != 0 && nodes.at(other).type == FileType::directory;
    if (source_is_directory && is_below(op.to_parent, moved)) return EINVAL;
    if (exchange && target_is_directory && is_below(op.parent, other)) return EINVAL;
    if (exchange) {
      from.entries[op.name] = other;
      to.entries[op.to] = moved;
      nodes.at(other).parent = op.parent;
      nodes.at(moved).parent = op.to_parent;
      return 0;
    }
    if (other != 0) {
      if (source_is_directory && !target_is_directory) return ENOTDIR;
      if (!source_is_directory && target_is_directory) return EISDIR;
      if (target_is_directory && !nodes.at(other).entries.empty()) return ENOTEMPTY;
      drop(other);
    }
    from.entries.erase(op.name);
    to.entries[op.to] = moved;
    nodes.at(moved).parent = op.to_parent;
    return 0;
  }
};

class Driver {
 public:
  explicit Driver(uint64_t seed) : t(seed), prng(seed) {
    t.world.slow.delay = std::chrono::milliseconds(3);
    t.world.staging.delay = std::chrono::milliseconds(2);
    background = std::make_unique<env::TaskGroup>(t.world.sim.executor());
  }

  void step() {
    const uint64_t dice = prng.below(100);
    if (dice < 6) {
      layers();
      return;
    }
    if (dice < 18) {
      read();
      return;
    }
    const Operation op = draw();
    if (dice < 30 && op.kind != Operation::Kind::open && op.kind != Operation::Kind::release &&
        op.kind != Operation::Kind::make_unnamed) {
      destroy_midway(op);
      return;
    }
    InodeId made = 0;
    const int error = t.run(perform(op, made));
    INFO("operation " << static_cast<int>(op.kind) << " " << op.name << " " << op.to);
    CHECK(error == model.apply(op, made));
    if (error != 0) return;
    if (op.kind == Operation::Kind::release) handles.erase(handles.begin() + static_cast<ptrdiff_t>(op.handle));
  }

  // The file system is what the model says; else why not.
  std::string difference(const Model& expected) {
    std::set<InodeId> seen;
    std::vector<InodeId> left = {kRootInode};
    for (const Handle& open : handles) left.push_back(open.inode);
    while (!left.empty()) {
      const InodeId id = left.back();
      left.pop_back();
      if (!seen.insert(id).second) continue;
      const auto at = expected.nodes.find(id);
      if (at == expected.nodes.end()) return "an inode too many";
      const Node& node = at->second;
      const auto found = t.run(t.fs().attributes(id));
      if (!found) return "an inode too few";
      const Inode& inode = found->inode;
      if (inode.type != node.type || inode.mode != node.mode) return "type or mode";
      Xattrs xattrs;
      for (const std::string& name : t.must(t.fs().list_xattrs(id))) xattrs[name] = t.must(t.fs().get_xattr(id, name));
      if (xattrs != node.xattrs) return "xattrs";
      if (node.type == FileType::directory) {
        std::map<std::string, InodeId> entries;
        const auto handle = t.must(t.fs().open_directory(id));
        uint32_t subdirectories = 0;
        for (const DirectoryItem& item : t.must(t.fs().read_directory(handle, 0, 10'000, true))) {
          if (item.cookie <= 2) continue;
          entries[item.entry.name] = item.entry.inode;
          if (!item.inode || item.inode->type != item.entry.type) return "an entry's inode";
          if (item.entry.type == FileType::directory) ++subdirectories;
        }
        t.must(t.fs().release_directory(handle));
        if (entries != node.entries) return "entries";
        if (inode.links != 2 + subdirectories) return "a directory's links";
        for (const auto& [name, below] : entries) left.push_back(below);
        continue;
      }
      if (inode.links != node.links) return "links";
      if (inode.size != node.data.size()) return "size";
      if (node.type == FileType::symlink && t.must(t.fs().read_link(id)) != node.data) return "target";
      if (node.type != FileType::file) continue;
      const auto opened = t.must(t.fs().open(id, false));
      const bool same = t.read(opened.handle, 0, node.data.size() + 10) == node.data;
      t.release(opened.handle);
      if (!same) return "bytes";
    }
    return seen.size() == expected.nodes.size() ? "" : "an inode too few";
  }

  void finish() {
    t.run(background->join());
    if (sealed && !committing) t.world.unseal();
    CHECK(difference(model) == "");
    t.check();
    for (const Handle& open : handles) t.release(open.handle);
    std::erase_if(model.nodes, [](const auto& entry) { return entry.second.links == 0; });
    handles.clear();
    t.world.commit();
    CHECK(difference(model) == "");
    t.check();
    CHECK(t.world.staging.used_bytes() == 0);
    CHECK(t.world.pending.clean());
  }

  DriveFs t;
  env::Prng prng;
  Model model;
  std::vector<Handle> handles;

 private:
  InodeId any() {
    auto at = model.nodes.begin();
    std::advance(at, static_cast<ptrdiff_t>(prng.below(model.nodes.size())));
    return at->first;
  }
  InodeId directory() {
    for (int i = 0; i < 20; ++i) {
      const InodeId id = any();
      if (model.nodes.at(id).type == FileType::directory && model.nodes.at(id).links > 0) return id;
    }
    return kRootInode;
  }
  InodeId parent() {
    if (prng.chance(0.97)) return directory();
    const InodeId id = any();
    return model.nodes.at(id).links > 0 ? id : kRootInode;
  }
  std::string name() { return std::string(1, static_cast<char>('a' + prng.below(6))); }
  uint64_t offset() {
    switch (prng.below(5)) {
      case 0:
        return 0;
      case 1:
        return prng.below(5000);
      case 2:
        return prng.below(10) * 65536;
      default:
        return prng.below(500'000);
    }
  }
  uint64_t length() {
    switch (prng.below(5)) {
      case 0:
        return prng.between(1, 100);
      case 1:
        return 4096;
      case 2:
        return prng.between(1, 9000);
      default:
        return prng.between(1, 200'000);
    }
  }
  std::string bytes(uint64_t size) {
    std::string text(size, '\0');
    prng.fill({reinterpret_cast<uint8_t*>(text.data()), text.size()});
    return text;
  }

  Operation draw() {
    using Kind = Operation::Kind;
    Operation op{.kind = static_cast<Kind>(prng.below(static_cast<uint64_t>(Kind::kinds)))};
    const bool by_handle = op.kind == Kind::release || op.kind == Kind::write || op.kind == Kind::append ||
                           op.kind == Kind::allocate || op.kind == Kind::copy;
    if (by_handle && handles.empty()) op.kind = Kind::make;
    if (op.kind == Kind::release && handles.size() < 3) op.kind = Kind::open;
    if (op.kind == Kind::open && handles.size() > 8) op.kind = Kind::write;
    op.inode = any();
    op.parent = parent();
    op.name = name();
    switch (op.kind) {
      case Kind::make: {
        constexpr FileType kTypes[] = {FileType::file, FileType::file, FileType::directory, FileType::symlink,
                                       FileType::fifo};
        op.type = kTypes[prng.below(5)];
        op.number = static_cast<uint32_t>(prng.below(0777));
        if (op.type == FileType::symlink) op.bytes = "target" + name();
        break;
      }
      case Kind::make_unnamed:
        op.number = 0666;
        break;
      case Kind::rename:
        op.to_parent = parent();
        op.to = name();
        op.number = prng.chance(0.2) ? kRenameExchange : prng.chance(0.2) ? kRenameNoReplace : 0;
        break;
      case Kind::release:
      case Kind::write:
      case Kind::append:
      case Kind::allocate:
      case Kind::copy:
        op.handle = prng.below(handles.size());
        op.to_handle = prng.below(handles.size());
        op.inode = handles[op.handle].inode;
        op.offset = offset();
        op.length = length();
        if (op.kind == Kind::write || op.kind == Kind::append) op.bytes = bytes(op.length);
        if (op.kind == Kind::allocate) {
          constexpr uint32_t kModes[] = {0, kFallocateKeepSize, kFallocateKeepSize | kFallocatePunchHole,
                                         kFallocateZeroRange, kFallocateZeroRange | kFallocateKeepSize};
          op.number = kModes[prng.below(5)];
        }
        if (op.kind == Kind::copy) {  // from `parent` to `inode`
          op.parent = handles[op.to_handle].inode;
          op.to_offset = offset();
        }
        break;
      case Kind::truncate:
        op.length = prng.chance(0.3) ? prng.below(5000) : prng.below(500'000);
        break;
      case Kind::chmod:
        op.number = static_cast<uint32_t>(prng.below(07777));
        if (model.nodes.at(op.inode).type == FileType::symlink) op.number = 0777;
        break;
      case Kind::set_xattr:
      case Kind::remove_xattr:
        op.name = "user." + name();
        op.number = static_cast<uint32_t>(prng.below(3));
        op.bytes = bytes(prng.below(300));
        break;
      default:
        break;
    }
    return op;
  }

  template <class T>
  static int error_of(const FsResult<T>& result) {
    return result ? 0 : result.error().number;
  }

  env::Task<int> perform(Operation op, InodeId& made) {
    using Kind = Operation::Kind;
    FileSystem& fs = t.fs();
    switch (op.kind) {
      case Kind::make: {
        FsResult<NodeInfo> node;
        if (op.type == FileType::directory) {
          node = co_await fs.make_directory(op.parent, op.name, op.number, t.caller);
        } else if (op.type == FileType::symlink) {
          node = co_await fs.make_symlink(op.parent, op.name, op.bytes, t.caller);
        } else {
          node = co_await fs.make_node(op.parent, op.name, op.type, op.number, 0, t.caller);
        }
        if (node) made = node->id;
        co_return error_of(node);
      }
      case Kind::make_unnamed: {
        auto opened = co_await fs.make_unnamed(op.parent, op.number, t.caller);
        if (opened) {
          made = opened->node.id;
          handles.push_back({opened->handle, made});
        }
        co_return error_of(opened);
      }
      case Kind::link: {
        auto node = co_await fs.link(op.inode, op.parent, op.name);
        co_return error_of(node);
      }
      case Kind::unlink: {
        auto done = co_await fs.unlink(op.parent, op.name);
        co_return error_of(done);
      }
      case Kind::remove_directory: {
        auto done = co_await fs.remove_directory(op.parent, op.name);
        co_return error_of(done);
      }
      case Kind::rename: {
        auto done = co_await fs.rename(op.parent, op.name, op.to_parent, op.to, op.number);
        co_return error_of(done);
      }
      case Kind::open: {
        auto opened = co_await fs.open(op.inode, false);
        if (opened) handles.push_back({opened->handle, op.inode});
        co_return error_of(opened);
      }
      case Kind::release: {
        auto done = co_await fs.release(handles[op.handle].handle);
        co_return error_of(done);
      }
      case Kind::write:
      case Kind::append: {
        auto written = co_await fs.write(handles[op.handle].handle, op.offset, Buffer::copy_of(as_bytes(op.bytes)),
                                         op.kind == Kind::append, false);
        if (written) CHECK(*written == op.bytes.size());
        co_return error_of(written);
      }
      case Kind::truncate: {
        auto node = co_await fs.set_attributes(op.inode, {.size = op.length}, t.caller);
        co_return error_of(node);
      }
      case Kind::chmod: {
        auto node = co_await fs.set_attributes(op.inode, {.mode = op.number}, t.caller);
        co_return error_of(node);
      }
      case Kind::allocate: {
        auto done = co_await fs.allocate(handles[op.handle].handle, op.number, op.offset, op.length);
        co_return error_of(done);
      }
      case Kind::copy: {
        auto copied = co_await fs.copy_range(handles[op.to_handle].handle, op.offset, handles[op.handle].handle,
                                             op.to_offset, op.length);
        co_return error_of(copied);
      }
      case Kind::set_xattr: {
        auto done = co_await fs.set_xattr(op.inode, op.name, op.bytes, op.number);
        co_return error_of(done);
      }
      case Kind::remove_xattr: {
        auto done = co_await fs.remove_xattr(op.inode, op.name);
        co_return error_of(done);
      }
      case Kind::kinds:
        break;
    }
    co_return -1;
  }

  // Afterwards it has happened as a whole, or not at all.
  void destroy_midway(const Operation& op) {
    InodeId made = 0;
    {
      env::TaskGroup group(t.world.sim.executor());
      group.spawn([](Driver& self, Operation operation, InodeId& id) -> env::Task<void> {
        (void)co_await self.perform(std::move(operation), id);
      }(*this, op, made));
      t.pass(std::chrono::microseconds(prng.below(8000)));
    }
    if (op.kind == Operation::Kind::make) {
      const auto node = t.run(t.fs().lookup(op.parent, op.name));
      if (node && !model.nodes.contains(node->id)) made = node->id;
      if (made != 0) CHECK(model.apply(op, made) == 0);
      return;
    }
    const std::string before = difference(model);
    if (before.empty()) return;
    INFO("destroyed: operation " << static_cast<int>(op.kind) << ", " << before);
    model.apply(op, 0);
    CHECK(difference(model) == "");
  }

  void read() {
    if (handles.empty()) return;
    const Handle& open = handles[prng.below(handles.size())];
    const std::string& data = model.nodes.at(open.inode).data;
    const uint64_t at = offset(), size = length();
    const bool same = t.read(open.handle, at, size) == (at < data.size() ? data.substr(at, size) : "");
    CHECK(same);
    const auto next = t.run(t.fs().seek_data(open.inode, at));
    if (at >= data.size()) {
      CHECK(!next);
      return;
    }
    const uint64_t end = next ? *next : data.size();
    CHECK(end >= at);
    CHECK(data.find_first_not_of('\0', at) >= end);
    const uint64_t hole = t.must(t.fs().seek_hole(open.inode, at));
    CHECK((hole == data.size() || data[hole] == '\0'));
  }

  void layers() {
    if (!sealed) {
      if (!t.world.pending.has_active()) return;
      batch = t.world.seal();
      sealed = true;
      return;
    }
    if (committing) return;
    if (prng.chance(0.3)) {
      t.world.unseal();
      sealed = false;
      return;
    }
    committing = true;
    background->spawn([](Driver& self) -> env::Task<void> {
      co_await self.t.world.commit_sealed(self.batch);
      self.sealed = self.committing = false;
    }(*this));
  }

  Pending::Batch batch;
  bool sealed = false, committing = false;
  std::unique_ptr<env::TaskGroup> background;
};

void run_model(uint64_t seed, int steps) {
  INFO("seed " << seed);
  Driver driver(seed);
  for (int i = 0; i < steps; ++i) {
    INFO("step " << i);
    driver.step();
    if (i % 100 == 99) REQUIRE(driver.difference(driver.model) == "");
  }
  driver.finish();
}

TEST_CASE("random operations do what a plain model does, with commits beneath and some destroyed midway") {
  for (uint64_t seed = 1; seed <= 20; ++seed) run_model(seed, 300);
}

// Many at once: each has files of its own, whose bytes it knows; names are everybody's.
class Crowd {
 public:
  explicit Crowd(uint64_t seed) : t(seed), prng(seed) {
    t.world.slow.delay = std::chrono::milliseconds(3);
    t.world.staging.delay = std::chrono::milliseconds(2);
    directories = {kRootInode, t.mkdir("/a"), t.mkdir("/b"), t.mkdir("/a/c")};
  }

  env::Task<void> work(uint64_t seed, int steps) {
    env::Prng own(seed);
    FileSystem& fs = t.fs();
    auto opened = co_await fs.make_unnamed(kRootInode, 0600, t.caller);
    CAIRN_ASSERT(opened);
    const FileHandle handle = opened->handle;
    const InodeId file = opened->node.id;
    std::string data;
    bool named = false;
    for (int i = 0; i < steps; ++i) {
      const InodeId here = directories[own.below(directories.size())], there = directories[own.below(4)];
      std::string name(1, static_cast<char>('a' + own.below(5))), other(1, static_cast<char>('a' + own.below(5)));
      switch (own.below(12)) {
        case 0: {
          auto done = co_await fs.link(file, here, name);
          named = named || done.has_value();
          break;
        }
        case 1:
          (void)co_await fs.unlink(here, name);
          break;
        case 2:
          (void)co_await fs.rename(here, name, there, other, static_cast<uint32_t>(own.below(3)));
          break;
        case 3:
          (void)co_await fs.make_directory(here, name, 0755, t.caller);
          break;
        case 4:
          (void)co_await fs.remove_directory(here, name);
          break;
        case 5: {
          (void)co_await fs.set_attributes(file, {.mode = static_cast<uint32_t>(own.below(07777))}, t.caller);
          (void)co_await fs.set_xattr(here, "user." + name, other, 0);
          break;
        }
        case 6: {
          const uint64_t size = own.below(300'000);
          auto cut = co_await fs.set_attributes(file, {.size = size}, t.caller);
          CAIRN_ASSERT(cut);
          data.resize(size);
          break;
        }
        case 7: {
          auto found = co_await fs.lookup(here, name);
          if (!found || !found->inode.is_file()) break;
          auto also = co_await fs.open(found->id, false);
          if (!also) break;
          (void)co_await fs.read(also->handle, own.below(100'000), 100'000);
          (void)co_await fs.release(also->handle);
          break;
        }
        case 8: {
          auto got = co_await fs.read(handle, 0, SIZE_MAX);
          CAIRN_ASSERT(got);
          std::string text;
          for (const Buffer& part : *got) text += as_text(part.view());
          CHECK((text == data));
          break;
        }
        default: {
          const uint64_t at = own.below(200'000);
          const size_t size = own.chance(0.5) ? own.between(1, 5000) : own.between(1, 150'000);
          std::string bytes(size, '\0');
          own.fill({reinterpret_cast<uint8_t*>(bytes.data()), size});
          auto written = co_await fs.write(handle, at, Buffer::copy_of(as_bytes(bytes)), false, false);
          CAIRN_ASSERT(written);
          if (data.size() < at + size) data.resize(at + size);
          data.replace(at, size, bytes);
          break;
        }
      }
    }
    auto done = co_await fs.release(handle);
    CHECK(done);
  }

  env::Task<void> commits(bool& ended) {
    while (!ended) {
      co_await env::sleep_for(t.world.sim.clock(), std::chrono::milliseconds(20));
      if (!t.world.pending.has_active()) continue;
      const auto batch = t.world.seal();
      co_await env::sleep_for(t.world.sim.clock(), std::chrono::milliseconds(20));
      if (prng.chance(0.2)) {
        t.world.unseal();
        continue;
      }
      co_await t.world.commit_sealed(batch);
      auto moved = co_await t.fs().exclusively([&]() -> env::Task<Status> {
        const EditMap edits = t.world.pending.active();
        const Figures figures = t.world.pending.figures();
        co_await env::sleep_for(t.world.sim.clock(), std::chrono::milliseconds(5));
        CHECK(t.world.pending.active() == edits);
        t.world.pending.rebase(t.world.pending.base(), edits, figures);
        co_return Status{};
      });
      CHECK(moved);
    }
  }

  DriveFs t;
  env::Prng prng;
  std::vector<InodeId> directories;
};

TEST_CASE("many operations at once keep all counts right and every file its bytes") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    INFO("seed " << seed);
    Crowd crowd(seed);
    bool ended = false;
    env::TaskGroup commits(crowd.t.world.sim.executor());
    commits.spawn(crowd.commits(ended));
    {
      env::TaskGroup group(crowd.t.world.sim.executor());
      for (uint64_t i = 0; i < 8; ++i) group.spawn(crowd.work(seed * 100 + i, 60));
      crowd.t.run(group.join());
    }
    ended = true;
    crowd.t.run(commits.join());
    crowd.t.check();
    crowd.t.world.commit();
    crowd.t.check();
  }
}

}  // namespace
}  // namespace cairn::volume
