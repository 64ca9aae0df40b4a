// Transaction: operations on names.

#include "volume/item_edits.h"
#include "volume/transaction_impl.h"
#include "volume/volume.h"

namespace cairn::volume {

namespace {

// Entries looked at together when a tree is removed.
constexpr size_t kPage = 1000;

Inode fresh_inode(FileType type, const NewInode& about, InodeId parent, WallTime now) {
  Inode inode{.type = type, .mode = about.mode & 07777, .uid = about.uid, .gid = about.gid};
  inode.links = type == FileType::directory ? 0 : 1;
  inode.mtime = about.mtime.value_or(now);
  inode.ctime = about.ctime.value_or(now);
  inode.atime = about.atime.value_or(now);
  inode.btime = about.btime.value_or(now);
  inode.owner = about.owner;
  inode.group = about.group;
  inode.parent = parent;
  inode.source_inode = about.source_inode;
  inode.source_device = about.source_device;
  return inode;
}

}  // namespace

Status check_name(std::string_view name) {
  if (name.empty() || name == "." || name == "..")
    return fail(Code::bad_input, "\"" + std::string(name) + "\" is no name");
  if (name.size() > kMaxNameSize) return fail(Code::bad_input, "a name is at most 255 bytes");
  if (name.find('/') != std::string_view::npos || name.find('\0') != std::string_view::npos) {
    return fail(Code::bad_input, "a name has neither '/' nor NUL");
  }
  return {};
}

env::Task<Result<InodeId>> TransactionImpl::create(InodeId parent, std::string name, Inode inode) {
  CAIRN_CO_TRY(check_name(name));
  const auto turn = co_await turn_.acquire();
  Work work = begin_work();
  auto directory = co_await use_directory(work, parent);
  if (!directory) co_return fail(std::move(directory.error()));
  auto there = co_await load_entry(items_, parent, name);
  if (!there) co_return fail(std::move(there.error()));
  if (*there) co_return fail(Code::exists, name);
  const InodeId id = host_.numbers().next();
  (*directory)->mtime = (*directory)->ctime = work.now;
  if (inode.is_directory()) ++(*directory)->links;
  work.edits.emplace(entry_key(parent, name), encode_entry(id, inode.type));
  if (!inode.is_directory()) ++work.files;
  if (inode.type == FileType::symlink) work.bytes += static_cast<int64_t>(inode.size);
  work.inodes.emplace(id, std::move(inode));
  apply(work);
  co_return id;
}

env::Task<Result<InodeId>> TransactionImpl::make_directory(InodeId parent, std::string name, NewInode about) {
  return create(parent, std::move(name),
                fresh_inode(FileType::directory, about, parent, host_.world().clock.wall_now()));
}

env::Task<Result<InodeId>> TransactionImpl::make_file(InodeId parent, std::string name, NewInode about) {
  return create(parent, std::move(name), fresh_inode(FileType::file, about, parent, host_.world().clock.wall_now()));
}

env::Task<Result<InodeId>> TransactionImpl::make_symlink(InodeId parent, std::string name, std::string target,
                                                         NewInode about) {
  if (target.empty() || target.size() > kMaxTargetSize) {
    co_return fail(Code::bad_input, "a symbolic link's target has 1 to 4095 bytes");
  }
  Inode inode = fresh_inode(FileType::symlink, about, parent, host_.world().clock.wall_now());
  inode.size = target.size();
  inode.inline_data = std::move(target);
  auto made = co_await create(parent, std::move(name), std::move(inode));
  co_return made;
}

env::Task<Result<InodeId>> TransactionImpl::make_node(InodeId parent, std::string name, FileType type, uint64_t rdev,
                                                      NewInode about) {
  if (type == FileType::file || type == FileType::directory || type == FileType::symlink) {
    co_return fail(Code::bad_input, "not a special file");
  }
  Inode inode = fresh_inode(type, about, parent, host_.world().clock.wall_now());
  inode.rdev = rdev;
  auto made = co_await create(parent, std::move(name), std::move(inode));
  co_return made;
}

env::Task<Result<InodeId>> TransactionImpl::make_directories(std::string path, NewInode about) {
  InodeId at = kRootInode;
  size_t begin = 0;
  while (begin < path.size()) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string part = path.substr(begin, end - begin);
    begin = end + 1;
    if (part.empty() || part == ".") continue;
    CAIRN_CO_TRY(check_name(part));
    auto entry = co_await load_entry(items_, at, part);
    if (!entry) co_return fail(std::move(entry.error()));
    if (!*entry) {
      auto made = co_await make_directory(at, part, about);
      if (!made) co_return fail(std::move(made.error()));
      at = *made;
      continue;
    }
    if ((*entry)->type != FileType::directory)
      co_return fail(Code::bad_input, path + ": \"" + part + "\" is no directory");
    at = (*entry)->inode;
  }
  co_return at;
}

env::Task<Status> TransactionImpl::link(InodeId id, InodeId parent, std::string name) {
  CAIRN_CO_TRY(check_name(name));
  const auto turn = co_await turn_.acquire();
  Work work = begin_work();
  auto directory = co_await use_directory(work, parent);
  if (!directory) co_return fail(std::move(directory.error()));
  auto inode = co_await use(work, id);
  if (!inode) co_return fail(std::move(inode.error()));
  if ((*inode)->is_directory()) co_return fail(Code::bad_input, "a directory has one name");
  auto there = co_await load_entry(items_, parent, name);
  if (!there) co_return fail(std::move(there.error()));
  if (*there) co_return fail(Code::exists, name);
  ++(*inode)->links;
  (*inode)->ctime = (*directory)->mtime = (*directory)->ctime = work.now;
  work.edits.emplace(entry_key(parent, name), encode_entry(id, (*inode)->type));
  ++work.files;
  apply(work);
  co_return Status{};
}

env::Task<Status> TransactionImpl::erase_inode(Work& work, InodeId id) {
  auto items = co_await load_items(items_, id);
  if (!items) co_return fail(std::move(items.error()));
  for (const auto& [key, value] : *items) work.edits.insert_or_assign(key, std::nullopt);
  work.edits.insert_or_assign(inode_key(id), std::nullopt);
  work.inodes.erase(id);
  co_return Status{};
}

env::Task<Status> TransactionImpl::drop_name(Work& work, InodeId id) {
  auto inode = co_await use(work, id);
  if (!inode) co_return fail(std::move(inode.error()));
  --work.files;
  if ((*inode)->links > 1) {
    --(*inode)->links;
    (*inode)->ctime = work.now;
    co_return Status{};
  }
  work.bytes -= static_cast<int64_t>((*inode)->size);
  auto status = co_await erase_inode(work, id);
  co_return status;
}

env::Task<Status> TransactionImpl::unlink(InodeId parent, std::string name) {
  const auto turn = co_await turn_.acquire();
  Work work = begin_work();
  auto directory = co_await use_directory(work, parent);
  if (!directory) co_return fail(std::move(directory.error()));
  auto entry = co_await load_entry(items_, parent, name);
  if (!entry) co_return fail(std::move(entry.error()));
  if (!*entry) co_return fail(Code::not_found, name);
  if ((*entry)->type == FileType::directory) co_return fail(Code::bad_input, name + ": is a directory");
  CAIRN_CO_TRY(co_await drop_name(work, (*entry)->inode));
  (*directory)->mtime = (*directory)->ctime = work.now;
  work.edits.insert_or_assign(entry_key(parent, name), std::nullopt);
  apply(work);
  co_return Status{};
}

env::Task<Status> TransactionImpl::remove_directory(InodeId parent, std::string name) {
  const auto turn = co_await turn_.acquire();
  Work work = begin_work();
  auto directory = co_await use_directory(work, parent);
  if (!directory) co_return fail(std::move(directory.error()));
  auto entry = co_await load_entry(items_, parent, name);
  if (!entry) co_return fail(std::move(entry.error()));
  if (!*entry) co_return fail(Code::not_found, name);
  if ((*entry)->type != FileType::directory) co_return fail(Code::bad_input, name + ": not a directory");
  auto empty = co_await is_empty_directory(items_, (*entry)->inode);
  if (!empty) co_return fail(std::move(empty.error()));
  if (!*empty) co_return fail(Code::exists, name + ": directory is not empty");
  CAIRN_CO_TRY(co_await erase_inode(work, (*entry)->inode));
  (*directory)->mtime = (*directory)->ctime = work.now;
  if ((*directory)->links > 0) --(*directory)->links;
  work.edits.insert_or_assign(entry_key(parent, name), std::nullopt);
  apply(work);
  co_return Status{};
}

env::Task<Status> TransactionImpl::remove_tree(InodeId parent, std::string name) {
  const auto turn = co_await turn_.acquire();
  Work work = begin_work();
  auto directory = co_await use_directory(work, parent);
  if (!directory) co_return fail(std::move(directory.error()));
  auto entry = co_await load_entry(items_, parent, name);
  if (!entry) co_return fail(std::move(entry.error()));
  if (!*entry) co_return fail(Code::not_found, name);
  if ((*entry)->type != FileType::directory) {
    CAIRN_CO_TRY(co_await drop_name(work, (*entry)->inode));
  } else {
    std::vector<InodeId> left = {(*entry)->inode};
    while (!left.empty()) {
      const InodeId at = left.back();
      left.pop_back();
      KeyRange range = range_of(at, ItemKind::entry);
      for (;;) {
        auto page = co_await items_->scan(range.first, range.last, kPage);
        if (!page) co_return fail(std::move(page.error()));
        for (const Item& item : *page) {
          auto below = decode_entry("", item.value);
          if (!below) co_return fail(std::move(below.error()));
          if (below->type == FileType::directory) {
            left.push_back(below->inode);
          } else {
            CAIRN_CO_TRY(co_await drop_name(work, below->inode));
          }
        }
        if (page->size() < kPage) break;
        range.first = page->back().key + '\0';
      }
      CAIRN_CO_TRY(co_await erase_inode(work, at));  // with its entries
    }
    if ((*directory)->links > 0) --(*directory)->links;
  }
  (*directory)->mtime = (*directory)->ctime = work.now;
  work.edits.insert_or_assign(entry_key(parent, name), std::nullopt);
  apply(work);
  co_return Status{};
}

env::Task<Result<bool>> TransactionImpl::remove_some(InodeId parent, std::string name, size_t most) {
  auto top = co_await load_entry(items_, parent, name);
  if (!top) co_return fail(std::move(top.error()));
  if (!*top) co_return fail(Code::not_found, name);
  if ((*top)->type != FileType::directory) {
    auto gone = co_await unlink(parent, name);
    if (!gone) co_return fail(std::move(gone.error()));
    co_return true;
  }
  struct Level {  // a directory on the way down
    InodeId parent, id;
    std::string name;
    KeyRange left;                          // of its entries, those that were not looked at
    std::vector<DirectoryEntry> folders{};  // of those that were
    bool all_seen = false;
  };
  std::vector<Level> path;
  path.push_back({parent, (*top)->inode, name, range_of((*top)->inode, ItemKind::entry)});
  size_t removed = 0;
  while (!path.empty()) {
    if (removed >= most) co_return false;
    if (!path.back().folders.empty()) {
      DirectoryEntry next = std::move(path.back().folders.back());
      path.back().folders.pop_back();
      path.push_back({path.back().id, next.inode, std::move(next.name), range_of(next.inode, ItemKind::entry)});
      continue;
    }
    Level& level = path.back();
    if (level.all_seen) {
      auto gone = co_await remove_directory(level.parent, level.name);
      if (!gone) co_return fail(std::move(gone.error()));
      path.pop_back();
      ++removed;
      continue;
    }
    const auto turn = co_await turn_.acquire();
    Work work = begin_work();
    auto directory = co_await use_directory(work, level.id);
    if (!directory) co_return fail(std::move(directory.error()));
    const size_t limit = std::min(kPage, most - removed);
    auto page = co_await items_->scan(level.left.first, level.left.last, limit);
    if (!page) co_return fail(std::move(page.error()));
    for (const Item& item : *page) {
      const auto key = parse_inode_key(item.key);
      if (!key) co_return fail(Code::corrupt, "a directory entry's key");
      auto entry = decode_entry(key->name, item.value);
      if (!entry) co_return fail(std::move(entry.error()));
      if (entry->type == FileType::directory) {
        level.folders.push_back(std::move(*entry));
        continue;
      }
      CAIRN_CO_TRY(co_await drop_name(work, entry->inode));
      work.edits.insert_or_assign(item.key, std::nullopt);
      ++removed;
    }
    level.all_seen = page->size() < limit;
    if (!page->empty()) level.left.first = page->back().key + '\0';
    (*directory)->mtime = (*directory)->ctime = work.now;
    apply(work);
  }
  co_return true;
}

env::Task<Status> TransactionImpl::rename(InodeId from_parent, std::string from, InodeId to_parent, std::string to,
                                          RenameMode mode) {
  CAIRN_CO_TRY(check_name(to));
  const auto turn = co_await turn_.acquire();
  Work work = begin_work();
  auto source_directory = co_await use_directory(work, from_parent);
  if (!source_directory) co_return fail(std::move(source_directory.error()));
  auto target_directory = co_await use_directory(work, to_parent);
  if (!target_directory) co_return fail(std::move(target_directory.error()));
  auto source = co_await load_entry(items_, from_parent, from);
  if (!source) co_return fail(std::move(source.error()));
  if (!*source) co_return fail(Code::not_found, from);
  auto target = co_await load_entry(items_, to_parent, to);
  if (!target) co_return fail(std::move(target.error()));
  if (mode == RenameMode::exchange && !*target) co_return fail(Code::not_found, to);
  if (mode == RenameMode::no_replace && *target) co_return fail(Code::exists, to);
  if (*target && (*target)->inode == (*source)->inode) co_return Status{};  // two names of one file

  const bool source_is_directory = (*source)->type == FileType::directory;
  const bool target_is_directory = *target && (*target)->type == FileType::directory;
  if (source_is_directory) {
    auto below = co_await is_below(items_, to_parent, (*source)->inode);
    if (!below) co_return fail(std::move(below.error()));
    if (*below) co_return fail(Code::bad_input, from + ": into itself");
  }
  if (mode == RenameMode::exchange && target_is_directory) {
    auto below = co_await is_below(items_, from_parent, (*target)->inode);
    if (!below) co_return fail(std::move(below.error()));
    if (*below) co_return fail(Code::bad_input, to + ": into itself");
  }
  if (*target && mode == RenameMode::replace) {
    if (source_is_directory && !target_is_directory) co_return fail(Code::bad_input, to + ": not a directory");
    if (!source_is_directory && target_is_directory) co_return fail(Code::bad_input, to + ": is a directory");
    if (target_is_directory) {
      auto empty = co_await is_empty_directory(items_, (*target)->inode);
      if (!empty) co_return fail(std::move(empty.error()));
      if (!*empty) co_return fail(Code::exists, to + ": directory is not empty");
      CAIRN_CO_TRY(co_await erase_inode(work, (*target)->inode));
      if ((*target_directory)->links > 0) --(*target_directory)->links;
    } else {
      CAIRN_CO_TRY(co_await drop_name(work, (*target)->inode));
    }
  }
  auto moved = co_await use(work, (*source)->inode);
  if (!moved) co_return fail(std::move(moved.error()));
  (*moved)->parent = to_parent;
  (*moved)->ctime = work.now;
  if (source_is_directory && from_parent != to_parent) {
    if ((*source_directory)->links > 0) --(*source_directory)->links;
    ++(*target_directory)->links;
  }
  work.edits.insert_or_assign(entry_key(from_parent, from), std::nullopt);
  work.edits.insert_or_assign(entry_key(to_parent, to), encode_entry((*source)->inode, (*source)->type));
  if (mode == RenameMode::exchange) {
    auto other = co_await use(work, (*target)->inode);
    if (!other) co_return fail(std::move(other.error()));
    (*other)->parent = from_parent;
    (*other)->ctime = work.now;
    if (target_is_directory && from_parent != to_parent) {
      if ((*target_directory)->links > 0) --(*target_directory)->links;
      ++(*source_directory)->links;
    }
    work.edits.insert_or_assign(entry_key(from_parent, from), encode_entry((*target)->inode, (*target)->type));
  }
  (*source_directory)->mtime = (*source_directory)->ctime = work.now;
  (*target_directory)->mtime = (*target_directory)->ctime = work.now;
  apply(work);
  co_return Status{};
}

}  // namespace cairn::volume
