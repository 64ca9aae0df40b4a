#include "volume/view.h"

#include <algorithm>

#include "volume/file_reader.h"
#include "volume/keys.h"

// Each task has its own copy of the View, so that the View may go before the task runs.

namespace cairn::volume {

View::View(std::shared_ptr<ItemReader> items, std::shared_ptr<ChunkReader> chunks)
    : items_(std::move(items)), chunks_(std::move(chunks)) {}
View::~View() = default;
View::View(const View&) = default;
View& View::operator=(const View&) = default;

env::Task<Result<Inode>> View::inode(InodeId id) const {
  return [](View self, InodeId id) -> env::Task<Result<Inode>> {
    auto value = co_await self.items_->get(inode_key(id));
    if (!value) co_return fail(std::move(value.error()));
    if (!*value && id == kRootInode) co_return empty_root();
    if (!*value) co_return fail(Code::not_found, "no such inode");
    co_return decode_inode(**value);
  }(*this, id);
}

namespace {

// Numbers further apart than this are looked up for themselves: what lies between would be read for nothing.
constexpr InodeId kInodeGap = 16;
constexpr size_t kInodePage = 512;

env::Task<Status> scan_inodes(ItemReader& items, InodeId first, InodeId last, std::map<InodeId, Inode>& found) {
  const std::string end = range_of(last).last;
  std::string from = inode_key(first);
  for (;;) {
    auto page = co_await items.scan(from, end, kInodePage);
    if (!page) co_return fail(std::move(page.error()));
    InodeId reached = first;
    for (const Item& item : *page) {
      const auto key = parse_inode_key(item.key);
      if (!key) continue;
      reached = key->inode;
      if (key->kind != ItemKind::inode) continue;
      auto inode = decode_inode(item.value);
      if (!inode) co_return fail(std::move(inode.error()));
      found.insert_or_assign(key->inode, std::move(*inode));
    }
    if (page->size() < kInodePage || reached >= last) co_return Status{};
    from = inode_key(reached + 1);  // past the extents and entries of the one reached
  }
}

}  // namespace

env::Task<Result<std::vector<std::optional<Inode>>>> View::inodes(std::vector<InodeId> ids) const {
  return [](View self, std::vector<InodeId> wanted) -> env::Task<Result<std::vector<std::optional<Inode>>>> {
    std::vector<InodeId> sorted = wanted;
    std::ranges::sort(sorted);
    std::map<InodeId, Inode> found;
    for (size_t i = 0; i < sorted.size();) {
      size_t end = i + 1;
      while (end < sorted.size() && sorted[end] - sorted[end - 1] <= kInodeGap) ++end;
      auto done = co_await scan_inodes(*self.items_, sorted[i], sorted[end - 1], found);
      if (!done) co_return fail(std::move(done.error()));
      i = end;
    }
    std::vector<std::optional<Inode>> result;
    result.reserve(wanted.size());
    for (const InodeId id : wanted) {
      const auto at = found.find(id);
      result.push_back(at == found.end() ? std::nullopt : std::optional(at->second));
    }
    co_return result;
  }(*this, std::move(ids));
}

env::Task<Result<DirectoryEntry>> View::lookup(InodeId parent, std::string name) const {
  return [](View self, InodeId parent, std::string name) -> env::Task<Result<DirectoryEntry>> {
    auto value = co_await self.items_->get(entry_key(parent, name));
    if (!value) co_return fail(std::move(value.error()));
    if (*value) co_return decode_entry(name, **value);
    auto about = co_await self.inode(parent);
    if (!about) co_return fail(std::move(about.error()));
    if (!about->is_directory()) co_return fail(Code::bad_input, "not a directory");
    co_return fail(Code::not_found, name);
  }(*this, parent, std::move(name));
}

env::Task<Result<NodeInfo>> View::resolve(std::string path) const {
  return [](View self, std::string path) -> env::Task<Result<NodeInfo>> {
    auto root = co_await self.inode(kRootInode);
    if (!root) co_return fail(std::move(root.error()));
    NodeInfo at{kRootInode, std::move(*root)};
    size_t begin = 0;
    while (begin < path.size()) {
      const size_t end = std::min(path.find('/', begin), path.size());
      std::string part = path.substr(begin, end - begin);
      begin = end + 1;
      if (part.empty() || part == ".") continue;
      InodeId next = 0;
      if (part == "..") {
        if (!at.inode.is_directory()) co_return fail(Code::bad_input, path + ": not a directory");
        next = at.inode.parent;
      } else {
        auto entry = co_await self.lookup(at.id, std::move(part));
        if (!entry)
          co_return fail(entry.error().code, entry.error().code == Code::not_found ? path : entry.error().context);
        next = entry->inode;
      }
      auto inode = co_await self.inode(next);
      if (!inode) co_return fail(std::move(inode.error()), path);
      at = {next, std::move(*inode)};
    }
    co_return at;
  }(*this, std::move(path));
}

env::Task<Result<View::Place>> View::resolve_parent(std::string path) const {
  return [](View self, std::string path) -> env::Task<Result<View::Place>> {
    while (!path.empty() && path.back() == '/') path.pop_back();
    const size_t slash = path.rfind('/');
    const size_t begin = slash == std::string::npos ? 0 : slash + 1;
    std::string name = path.substr(begin);
    if (name.empty() || name == "." || name == "..") co_return fail(Code::bad_input, "\"" + path + "\" names no entry");
    auto parent = co_await self.resolve(path.substr(0, begin));
    if (!parent) co_return fail(std::move(parent.error()));
    if (!parent->inode.is_directory()) co_return fail(Code::bad_input, path + ": not in a directory");
    co_return Place{parent->id, std::move(name)};
  }(*this, std::move(path));
}

env::Task<Result<std::vector<DirectoryEntry>>> View::list(InodeId directory, std::string after, size_t limit) const {
  return [](View self, InodeId directory, std::string after,
            size_t limit) -> env::Task<Result<std::vector<DirectoryEntry>>> {
    KeyRange range = range_of(directory, ItemKind::entry);
    if (!after.empty()) range.first = entry_key(directory, after) + '\0';
    auto part = co_await self.items_->scan(std::move(range.first), std::move(range.last), limit);
    if (!part) co_return fail(std::move(part.error()));
    std::vector<DirectoryEntry> entries;
    entries.reserve(part->size());
    for (const Item& item : *part) {
      const auto key = parse_inode_key(item.key);
      if (!key) co_return fail(Code::corrupt, "directory entry's key");
      auto entry = decode_entry(key->name, item.value);
      if (!entry) co_return fail(std::move(entry.error()));
      entries.push_back(std::move(*entry));
    }
    co_return entries;
  }(*this, directory, std::move(after), limit);
}

env::Task<Result<std::vector<Xattr>>> View::xattrs(InodeId id) const {
  return [](View self, InodeId id) -> env::Task<Result<std::vector<Xattr>>> {
    KeyRange range = range_of(id, ItemKind::xattr);
    auto part = co_await self.items_->scan(std::move(range.first), std::move(range.last), SIZE_MAX);
    if (!part) co_return fail(std::move(part.error()));
    std::vector<Xattr> found;
    for (Item& item : *part) {
      const auto key = parse_inode_key(item.key);
      if (!key) co_return fail(Code::corrupt, "extended attribute's key");
      found.push_back({std::string(key->name), std::move(item.value)});
    }
    co_return found;
  }(*this, id);
}

env::Task<Result<std::vector<Extent>>> View::extents(InodeId id, uint64_t first, uint64_t last, size_t limit) const {
  return find_extents(items_, id, first, last, limit);
}

env::Task<Result<std::string>> View::read_link(InodeId id) const {
  return [](View self, InodeId id) -> env::Task<Result<std::string>> {
    auto about = co_await self.inode(id);
    if (!about) co_return fail(std::move(about.error()));
    if (about->type != FileType::symlink) co_return fail(Code::bad_input, "not a symbolic link");
    co_return std::move(about->inline_data);
  }(*this, id);
}

env::Task<Result<Bytes>> View::read(InodeId id, uint64_t offset, size_t length) const {
  return [](View self, InodeId id, uint64_t offset, size_t length) -> env::Task<Result<Bytes>> {
    auto about = co_await self.inode(id);
    if (!about) co_return fail(std::move(about.error()));
    if (!about->is_file()) co_return fail(Code::bad_input, "not a file");
    if (offset >= about->size) co_return Bytes();
    Bytes bytes(std::min<uint64_t>(length, about->size - offset));
    auto reader = make_file_reader(self.items_, self.chunks_, id, *about, offset, offset + bytes.size());
    for (;;) {
      auto piece = co_await reader->next();
      if (!piece) co_return fail(std::move(piece.error()));
      if (!*piece) co_return bytes;
      std::memcpy(bytes.data() + ((*piece)->offset - offset), (*piece)->bytes.data(), (*piece)->bytes.size());
    }
  }(*this, id, offset, length);
}

env::Task<Result<std::unique_ptr<FileReader>>> View::open_reader(InodeId id, uint64_t first, uint64_t last) const {
  return [](View self, InodeId id, uint64_t first, uint64_t last) -> env::Task<Result<std::unique_ptr<FileReader>>> {
    auto about = co_await self.inode(id);
    if (!about) co_return fail(std::move(about.error()));
    if (!about->is_file()) co_return fail(Code::bad_input, "not a file");
    co_return make_file_reader(self.items_, self.chunks_, id, *about, first, last);
  }(*this, id, first, last);
}

}  // namespace cairn::volume
