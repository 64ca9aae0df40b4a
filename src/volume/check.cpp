#include "volume/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_map>

#include "volume/keys.h"
#include "volume/pack_ref.h"

namespace cairn::volume {

namespace {

constexpr size_t kItemsPerScan = 4096;
// Packs whose chunks are gathered in one walk over the trees: some 130,000 chunks of 128 KiB, 20 MB.
constexpr size_t kPacksPerWalk = 1024;
constexpr size_t kReadsAtOnce = 8;  // of a MiB each

struct CheckedTree {
  std::string snapshot;
  Root root;
};

using Visit = std::function<Status(const Item& item)>;

env::Task<Status> each_item(Tree& tree, Root root, KeyRange range, Visit visit) {
  for (;;) {
    auto items = co_await tree.scan(root, range.first, range.last, kItemsPerScan);
    if (!items) co_return fail(std::move(items.error()));
    for (const Item& item : *items) CAIRN_CO_TRY(visit(item));
    if (items->size() < kItemsPerScan) co_return Status{};
    range.first = items->back().key + '\0';
  }
}

struct Trees {
  HeadPtr head;
  std::vector<CheckedTree> all;  // equal ones once, by the name that comes first
  std::map<PackId, pool::PackRef> packs;
};

env::Task<Result<Trees>> find_trees(VolumeHost& host) {
  Trees trees;
  auto head = co_await host.latest();
  if (!head) co_return fail(std::move(head.error()));
  trees.head = *head;
  std::set<ChunkId> seen;
  const auto add = [&](std::string snapshot, const Root& root) {
    if (!root || !seen.insert(root->chunk).second) return;
    trees.all.push_back({std::move(snapshot), root});
  };
  add("", trees.head->root);
  auto done = co_await each_item(host.tree(), trees.head->root, range_of_prefix('S'), [&](const Item& item) -> Status {
    auto snapshot = decode_snapshot(item.value);
    if (!snapshot) return fail(std::move(snapshot.error()), "a snapshot's item");
    add(snapshot->info.name, snapshot->root);
    for (const pool::PackRef& pack : snapshot->tree_packs) trees.packs.emplace(pack.id, pack);
    return {};
  });
  if (!done) co_return fail(std::move(done.error()));
  done = co_await each_item(host.tree(), trees.head->root, range_of_prefix('P'), [&](const Item& item) -> Status {
    auto pack = decode_pack_ref(item.value);
    if (!pack) return fail(std::move(pack.error()), "a pack's record");
    trees.packs.emplace(pack->id, std::move(*pack));
    return {};
  });
  if (!done) co_return fail(std::move(done.error()));
  for (const pool::PackRef& pack : trees.head->tree_packs) trees.packs.emplace(pack.id, pack);
  co_return trees;
}

// The path of an inode, by the names that lead to it; "inode N" where they do not.
env::Task<std::string> path_of(VolumeHost& host, Root root, InodeId inode) {
  const View view(std::make_shared<TreeItems>(host.tree(), root), nullptr);
  std::string path;
  for (size_t depth = 0; inode != kRootInode; ++depth) {
    auto about = co_await view.inode(inode);
    if (!about || depth == kMaxPathDepth) co_return fmt::format("inode {}{}", inode, path);
    std::string name, after;
    while (name.empty()) {
      auto page = co_await view.list(about->parent, after, kItemsPerScan);
      if (!page || page->empty()) break;
      after = page->back().name;
      const auto found = std::ranges::find(*page, inode, &DirectoryEntry::inode);
      if (found != page->end()) name = found->name;
    }
    if (name.empty()) co_return fmt::format("inode {}{}", inode, path);
    path = "/" + name + path;
    inode = about->parent;
  }
  co_return path.empty() ? "/" : path;
}

// One tree: what its items say of each other.
class TreeCheck {
 public:
  TreeCheck(const std::map<PackId, pool::PackRef>& packs) : packs_(packs) {}

  Status take(const Item& item) {
    const auto key = parse_inode_key(item.key);
    if (!key) {
      tree_faults_.push_back("an item with a malformed key");
      return {};
    }
    switch (key->kind) {
      case ItemKind::inode:
        take_inode(key->inode, item.value);
        break;
      case ItemKind::entry:
        take_entry(key->inode, key->name, item.value);
        break;
      case ItemKind::extent:
        take_extent(key->inode, key->offset, item.value);
        break;
      case ItemKind::xattr:
        if (!inodes_.contains(key->inode)) fault(key->inode, "an attribute of a file that is not there");
        break;
      default:
        fault(key->inode, "an item of an unknown kind");
    }
    return {};
  }

  void finish() {
    for (const auto& [target, named] : named_) {
      const auto at = inodes_.find(target);
      if (at == inodes_.end() || at->second.implicit) {
        fault(named.parent, fmt::format("its entry '{}' names a file that is not there", printable(named.name)));
      } else if (at->second.type != named.type) {
        fault(target, "its name says another type than it has");
      }
    }
    for (const auto& [id, about] : inodes_) {
      if (id == kRootInode || about.implicit) continue;
      const auto named = named_.find(id);
      const uint32_t names = named == named_.end() ? 0 : named->second.count;
      if (names == 0) {
        fault(id, "it has no name");
      } else if (about.type == FileType::directory ? names != 1 : names != about.links) {
        fault(id, fmt::format("it has {} names and counts {}", names, about.links));
      }
    }
  }

  uint64_t inodes() const { return inodes_.size(); }
  uint64_t extents() const { return extents_; }
  const std::vector<std::pair<InodeId, std::string>>& faults() const { return faults_; }
  const std::vector<std::string>& tree_faults() const { return tree_faults_; }

 private:
  struct About {
    FileType type{};
    uint32_t links = 0;
    uint64_t size = 0, reached = 0;  // where its last extent ends
    bool implicit = false;           // the root of a volume that has only entries
  };
  struct Named {
    InodeId parent = 0;
    std::string name;
    FileType type{};
    uint32_t count = 0;
  };

  void fault(InodeId id, std::string what) {
    if (faults_.size() < kMaxFaults) faults_.emplace_back(id, std::move(what));
  }
  void take_inode(InodeId id, std::string_view value) {
    auto inode = decode_inode(value);
    if (!inode) return fault(id, to_string(inode.error()));
    inodes_.emplace(id, About{.type = inode->type, .links = inode->links, .size = inode->size});
  }
  void take_entry(InodeId parent, std::string_view name, std::string_view value) {
    auto entry = decode_entry(name, value);
    if (!entry) return fault(parent, fmt::format("its entry '{}': {}", printable(name), to_string(entry.error())));
    if (parent == kRootInode) inodes_.try_emplace(parent, About{.type = FileType::directory, .implicit = true});
    const auto at = inodes_.find(parent);
    if (at == inodes_.end() || at->second.type != FileType::directory)
      fault(parent, fmt::format("the entry '{}' is of what is no folder", printable(name)));
    auto [named, fresh] = named_.try_emplace(entry->inode, Named{parent, std::string(name), entry->type});
    ++named->second.count;
  }
  void take_extent(InodeId id, uint64_t offset, std::string_view value) {
    ++extents_;
    auto extent = decode_extent(offset, value);
    if (!extent) return fault(id, to_string(extent.error()));
    const auto at = inodes_.find(id);
    if (at == inodes_.end() || at->second.type != FileType::file) return fault(id, "content of what is no file");
    About& about = at->second;
    if (extent->offset < about.reached) fault(id, fmt::format("content at byte {} twice", extent->offset));
    if (extent->end() > about.size) fault(id, "content behind its end");
    about.reached = std::max(about.reached, extent->end());
    const auto pack = packs_.find(extent->pack);
    if (pack == packs_.end()) {
      return fault(id, fmt::format("byte {} and on lie in pack {}, of which there is no record", extent->offset,
                                   extent->pack.short_hex()));
    }
    const content::PackGeometry& geometry = pack->second.geometry;
    const uint64_t capacity = uint64_t{geometry.k} * geometry.shard_length;
    if (uint64_t{extent->pack_offset} + extent->sealed_length > capacity)
      fault(id, fmt::format("byte {} and on lie behind the end of pack {}", extent->offset, extent->pack.short_hex()));
  }

  static constexpr size_t kMaxFaults = 1000;  // named of one tree
  const std::map<PackId, pool::PackRef>& packs_;
  std::unordered_map<InodeId, About> inodes_;
  std::unordered_map<InodeId, Named> named_;  // by what they name
  uint64_t extents_ = 0;
  std::vector<std::pair<InodeId, std::string>> faults_;
  std::vector<std::string> tree_faults_;
};

const KeyRange kFiles = range_of_prefix('F');

// Their chunks, each once, in the order of the packs.
env::Task<Result<std::vector<Extent>>> chunks_in(VolumeHost& host, const Trees& trees, const std::set<PackId>& packs) {
  std::map<std::pair<PackId, uint32_t>, Extent> found;
  for (const CheckedTree& tree : trees.all) {
    auto done = co_await each_item(host.tree(), tree.root, kFiles, [&](const Item& item) -> Status {
      const auto key = parse_inode_key(item.key);
      if (!key || key->kind != ItemKind::extent) return {};
      auto extent = decode_extent(key->offset, item.value);
      if (extent && packs.contains(extent->pack)) found.try_emplace({extent->pack, extent->pack_offset}, *extent);
      return {};
    });
    // A tree that cannot be read as a whole is named by check_structure().
    if (!done && done.error().code != Code::corrupt && done.error().code != Code::damaged)
      co_return fail(std::move(done.error()));
  }
  std::vector<Extent> chunks;
  for (auto& [place, extent] : found) chunks.push_back(std::move(extent));
  co_return chunks;
}

env::Task<void> read_run(VolumeHost& host, ReadRun run, DataCheck& check, std::function<void(uint64_t)> on_read,
                         env::Semaphore::Permit) {
  const PackId pack = run.pack.id;
  auto opened = co_await host.chunks()->read_chunks(std::move(run));
  if (!opened) {
    check.damaged.insert(pack);
    host.world().log.warning("check_damage", "pack={} error=\"{}\"", pack.short_hex(), to_string(opened.error()));
    co_return;
  }
  for (const ChunkReader::Opened& chunk : *opened) {
    ++check.chunks;
    check.bytes += chunk.plain.size();
  }
  if (on_read) on_read(check.bytes);
}

}  // namespace

env::Task<Result<StructureCheck>> check_structure(VolumeHost& host, OnFault on_fault) {
  auto trees = co_await find_trees(host);
  if (!trees) co_return fail(std::move(trees.error()));
  StructureCheck report;
  for (const CheckedTree& tree : trees->all) {
    ++report.trees;
    TreeCheck check(trees->packs);
    auto done = co_await each_item(host.tree(), tree.root, kFiles, [&](const Item& item) { return check.take(item); });
    if (!done) {
      on_fault({tree.snapshot, "", "its tree cannot be read: " + to_string(done.error())});
      continue;  // half of it says nothing
    }
    check.finish();
    report.inodes += check.inodes();
    report.extents += check.extents();
    for (const std::string& what : check.tree_faults()) on_fault({tree.snapshot, "", what});
    for (const auto& [inode, what] : check.faults()) {
      std::string path = co_await path_of(host, tree.root, inode);
      on_fault({tree.snapshot, std::move(path), what});
    }
  }
  for (auto& [id, pack] : trees->packs) report.packs.push_back(std::move(pack));
  co_return report;
}

env::Task<Result<DataCheck>> check_data(VolumeHost& host, std::vector<PackId> packs,
                                        std::function<void(uint64_t)> on_read) {
  auto trees = co_await find_trees(host);
  if (!trees) co_return fail(std::move(trees.error()));
  DataCheck check;
  const auto items = host.items(trees->head);
  for (size_t at = 0; at < packs.size(); at += kPacksPerWalk) {
    const auto last = packs.begin() + static_cast<ptrdiff_t>(std::min(packs.size(), at + kPacksPerWalk));
    auto chunks = co_await chunks_in(host, *trees, {packs.begin() + static_cast<ptrdiff_t>(at), last});
    if (!chunks) co_return fail(std::move(chunks.error()));
    auto runs = co_await host.chunks()->plan(items, std::move(*chunks));
    if (!runs) co_return fail(std::move(runs.error()));
    env::Semaphore places(host.world().executor, kReadsAtOnce);
    env::TaskGroup group(host.world().executor);
    for (ReadRun& run : *runs) {
      auto permit = co_await places.acquire();
      group.spawn(read_run(host, std::move(run), check, on_read, std::move(permit)));
    }
    co_await group.join();
  }
  co_return check;
}

env::Task<Status> name_files_in(VolumeHost& host, std::set<PackId> packs, std::string what, OnFault on_fault) {
  auto trees = co_await find_trees(host);
  if (!trees) co_return fail(std::move(trees.error()));
  for (const CheckedTree& tree : trees->all) {
    std::set<InodeId> touched;
    auto done = co_await each_item(host.tree(), tree.root, kFiles, [&](const Item& item) -> Status {
      const auto key = parse_inode_key(item.key);
      if (!key || key->kind != ItemKind::extent) return {};
      auto extent = decode_extent(key->offset, item.value);
      if (extent && packs.contains(extent->pack)) touched.insert(key->inode);
      return {};
    });
    if (!done) continue;  // named already
    for (const InodeId inode : touched) {
      std::string path = co_await path_of(host, tree.root, inode);
      on_fault({tree.snapshot, std::move(path), what});
    }
  }
  co_return Status{};
}

}  // namespace cairn::volume
