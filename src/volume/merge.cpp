#include "volume/merge.h"

#include <algorithm>

#include "volume/limits.h"

namespace cairn::volume {

namespace {

using Value = std::optional<std::string>;

class Merger {
 public:
  Merger(NodeSource& source, Tree& tree, InodeNumbers& numbers, MergeInput input)
      : source_(source), tree_(tree), numbers_(numbers), in_(std::move(input)) {}

  env::Task<Result<MergeResult>> run() {
    CAIRN_CO_TRY(find_touched());
    CAIRN_CO_TRY(co_await find_their_changes());
    out_.edits = *in_.ours;
    CAIRN_CO_TRY(co_await merge_entries());
    // Reviving one inode may revive those above it: the list is of what was touched before.
    const std::set<InodeId> touched = touched_;
    for (const InodeId id : touched) CAIRN_CO_TRY(co_await merge_inode(id));
    CAIRN_CO_TRY(co_await name_directories_once());
    CAIRN_CO_TRY(co_await break_cycles());
    CAIRN_CO_TRY(co_await count_links());
    co_return std::move(out_);
  }

 private:
  struct Sides {
    std::optional<Inode> base, ours, theirs;
  };

  // --- what stands where ---

  env::Task<Result<Value>> base(std::string key) { return tree_.get(in_.base, std::move(key)); }
  env::Task<Result<Value>> theirs(std::string key) { return tree_.get(in_.theirs, std::move(key)); }
  env::Task<Result<Value>> ours(std::string key) {
    if (const auto edit = in_.ours->find(key); edit != in_.ours->end()) co_return edit->second;
    auto value = co_await base(std::move(key));
    co_return value;
  }
  // As it will be.
  env::Task<Result<Value>> merged(std::string key) {
    if (const auto edit = out_.edits.find(key); edit != out_.edits.end()) co_return edit->second;
    auto value = co_await theirs(std::move(key));
    co_return value;
  }
  static Result<std::optional<Inode>> inode_in(InodeId id, const Value& value) {
    if (!value) return id == kRootInode ? std::optional(empty_root()) : std::nullopt;
    auto inode = decode_inode(*value);
    if (!inode) return fail(inode.error());
    return std::optional(std::move(*inode));
  }
  env::Task<Result<std::optional<Inode>>> merged_inode(InodeId id) {
    auto value = co_await merged(inode_key(id));
    if (!value) co_return fail(std::move(value.error()));
    co_return inode_in(id, *value);
  }
  env::Task<Result<Sides>> sides_of(InodeId id) {
    Sides sides;
    auto value = co_await base(inode_key(id));
    if (!value) co_return fail(std::move(value.error()));
    auto inode = inode_in(id, *value);
    if (!inode) co_return fail(std::move(inode.error()));
    sides.base = std::move(*inode);
    value = co_await ours(inode_key(id));
    if (!value) co_return fail(std::move(value.error()));
    inode = inode_in(id, *value);
    if (!inode) co_return fail(std::move(inode.error()));
    sides.ours = std::move(*inode);
    value = co_await theirs(inode_key(id));
    if (!value) co_return fail(std::move(value.error()));
    inode = inode_in(id, *value);
    if (!inode) co_return fail(std::move(inode.error()));
    sides.theirs = std::move(*inode);
    co_return sides;
  }
  static InodeId target(const Value& entry) {
    if (!entry) return 0;
    auto decoded = decode_entry("", *entry);
    return decoded ? decoded->inode : 0;
  }
  static bool is_directory(const Value& entry) {
    if (!entry) return false;
    auto decoded = decode_entry("", *entry);
    return decoded && decoded->type == FileType::directory;
  }

  // --- gathering ---

  // Inodes that our edits are about: their own items, and what our entries name.
  Status find_touched() {
    for (const auto& [key, value] : *in_.ours) {
      const auto parsed = parse_inode_key(key);
      if (!parsed) continue;
      touched_.insert(parsed->inode);
      if (parsed->kind == ItemKind::entry && value) touched_.insert(target(value));
    }
    return {};
  }

  // Of their changes, those that meet ours, and the directories that they removed (one may have to come back).
  env::Task<Status> find_their_changes() {
    DiffCursor cursor(source_, in_.base, in_.theirs);
    for (;;) {
      auto difference = co_await cursor.next();
      if (!difference) co_return fail(std::move(difference.error()));
      if (!*difference) co_return Status{};
      Difference& change = **difference;
      const auto parsed = parse_inode_key(change.key);
      bool keep = in_.ours->contains(change.key);
      if (parsed) keep = keep || touched_.contains(parsed->inode);
      if (parsed && parsed->kind == ItemKind::entry) {
        keep = keep || touched_.contains(target(change.before)) || touched_.contains(target(change.after)) ||
               is_directory(change.before);
      }
      if (keep) changes_.emplace(change.key, std::pair(std::move(change.before), std::move(change.after)));
    }
  }

  // --- names ---

  env::Task<Status> merge_entries() {
    // Our names that they changed too; joining two directories brings further ones.
    std::vector<std::string> left;
    for (const auto& [key, value] : *in_.ours) {
      const auto parsed = parse_inode_key(key);
      if (parsed && parsed->kind == ItemKind::entry && changes_.contains(key)) left.push_back(key);
    }
    std::reverse(left.begin(), left.end());
    while (!left.empty()) {
      const std::string key = std::move(left.back());
      left.pop_back();
      const auto edit = out_.edits.find(key);
      if (edit == out_.edits.end()) continue;
      const Value mine = edit->second;
      auto before = co_await base(key);
      if (!before) co_return fail(std::move(before.error()));
      auto other = co_await theirs(key);
      if (!other) co_return fail(std::move(other.error()));
      if (!*other || *other == mine || *other == *before) continue;
      if (!mine) {  // we removed a name that stands for something else now
        out_.edits.erase(key);
        continue;
      }
      if (target(*other) == target(mine)) continue;
      if (is_directory(mine) && is_directory(*other)) {
        auto mine_before = co_await base(inode_key(target(mine)));
        if (!mine_before) co_return fail(std::move(mine_before.error()));
        if (!*mine_before) {
          CAIRN_CO_TRY(co_await join_directories(key, target(mine), target(*other), left));
          continue;
        }
      }
      const auto parsed = parse_inode_key(key);
      CAIRN_CO_TRY(co_await give_conflict_name(parsed->inode, std::string(parsed->name), **other));
    }
    co_return Status{};
  }

  // Our new directory becomes the one that they made under the same name.
  env::Task<Status> join_directories(std::string key, InodeId mine, InodeId other, std::vector<std::string>& left) {
    out_.edits.erase(key);
    const KeyRange range = range_of(mine);
    std::vector<std::pair<std::string, Value>> ours_below;
    auto at = out_.edits.lower_bound(range.first);
    while (at != out_.edits.end() && at->first < range.last) {
      ours_below.emplace_back(at->first, std::move(at->second));
      at = out_.edits.erase(at);
    }
    touched_.erase(mine);
    for (auto& [old_key, value] : ours_below) {
      const auto parsed = parse_inode_key(old_key);
      if (!parsed || parsed->kind != ItemKind::entry || !value) continue;
      const std::string new_key = entry_key(other, parsed->name);
      const InodeId child = target(value);
      auto inode = co_await merged_inode(child);
      if (!inode) co_return fail(std::move(inode.error()));
      if (*inode && (*inode)->parent == mine) {
        (*inode)->parent = other;
        out_.edits.insert_or_assign(inode_key(child), encode_inode(**inode));
      }
      out_.edits.insert_or_assign(new_key, std::move(value));
      left.push_back(new_key);
    }
    co_return Status{};
  }

  // Puts an entry into a directory beside the one that has its name.
  env::Task<Status> give_conflict_name(InodeId directory, std::string name, std::string entry) {
    for (int number = 1;; ++number) {
      std::string suffix = in_.suffix;
      if (number > 1) suffix += " " + std::to_string(number);
      std::string candidate = name.substr(0, kMaxNameSize - std::min(suffix.size(), kMaxNameSize - 1)) + suffix;
      const std::string key = entry_key(directory, candidate);
      auto there = co_await merged(key);
      if (!there) co_return fail(std::move(there.error()));
      if (*there) continue;
      const InodeId id = target(entry);
      out_.edits.insert_or_assign(key, std::move(entry));
      out_.conflict_names.push_back(candidate);
      auto inode = co_await merged_inode(id);
      if (!inode) co_return fail(std::move(inode.error()));
      if (*inode && (*inode)->parent != directory) {
        (*inode)->parent = directory;
        out_.edits.insert_or_assign(inode_key(id), encode_inode(**inode));
      }
      co_return Status{};
    }
  }

  // --- inodes ---

  static bool same_content(const Inode& a, const Inode& b) { return a.version == b.version && a.size == b.size; }
  // Whether there is more to it than names that came and went, and that somebody read it.
  static bool really_changed(const Inode& before, const Inode& after) {
    Inode same = after;
    same.atime = before.atime;
    same.links = before.links;
    same.ctime = before.ctime;
    same.parent = before.parent;
    same.atime = before.atime;
    return !(same == before);
  }
  bool entry_of_ours_names(InodeId id) const {
    return std::any_of(out_.edits.begin(), out_.edits.end(), [&](const auto& edit) {
      const auto parsed = parse_inode_key(edit.first);
      return parsed && parsed->kind == ItemKind::entry && target(edit.second) == id;
    });
  }
  bool ours_puts_into(InodeId directory) const {
    const KeyRange range = range_of(directory, ItemKind::entry);
    for (auto at = out_.edits.lower_bound(range.first); at != out_.edits.end() && at->first < range.last; ++at) {
      if (at->second) return true;
    }
    return false;
  }
  bool they_put_into(InodeId directory) const {
    const KeyRange range = range_of(directory, ItemKind::entry);
    for (auto at = changes_.lower_bound(range.first); at != changes_.end() && at->first < range.last; ++at) {
      if (at->second.second) return true;
    }
    return false;
  }

  bool they_name(InodeId id) const {
    return std::any_of(changes_.begin(), changes_.end(), [&](const auto& change) {
      const auto parsed = parse_inode_key(change.first);
      return parsed && parsed->kind == ItemKind::entry && target(change.second.second) == id;
    });
  }

  env::Task<Status> merge_inode(InodeId id) {
    auto loaded = co_await sides_of(id);
    if (!loaded) co_return fail(std::move(loaded.error()));
    const Sides& sides = *loaded;
    if (!sides.base) co_return Status{};  // new
    if (!sides.ours && !sides.theirs) co_return Status{};
    if (!sides.ours) {
      const bool keep =
          sides.base->is_directory() ? they_put_into(id) || they_name(id) : really_changed(*sides.base, *sides.theirs);
      if (keep) co_return co_await undo_removal(id);
      if (!sides.base->is_directory()) maybe_named_.insert(id);  // they may have given it a further name
      co_return Status{};
    }
    if (!sides.theirs) {
      const bool keep = sides.base->is_directory()
                            ? ours_puts_into(id) || entry_of_ours_names(id)
                            : really_changed(*sides.base, *sides.ours) || entry_of_ours_names(id);
      if (keep) co_return co_await resurrect(id, *sides.ours);
      forget(id);
      co_return Status{};
    }
    if (*sides.ours == *sides.base || *sides.theirs == *sides.base || *sides.ours == *sides.theirs) {
      if (*sides.ours == *sides.base) out_.edits.erase(inode_key(id));
      co_return Status{};
    }
    Inode both = merge_attributes(sides);
    const bool ours_wrote = !same_content(*sides.base, *sides.ours);
    const bool they_wrote = !same_content(*sides.base, *sides.theirs);
    if (sides.base->is_file()) {
      const Inode& content = ours_wrote ? *sides.ours : *sides.theirs;
      both.size = content.size;
      both.inline_data = content.inline_data;
      both.version = std::max(sides.ours->version, sides.theirs->version) + (ours_wrote && they_wrote ? 1 : 0);
      if (ours_wrote && they_wrote) {
        CAIRN_CO_TRY(co_await keep_theirs_beside(id, *sides.theirs));
        both.mtime = sides.ours->mtime;
      }
    }
    if (sides.base->is_directory() && sides.ours->parent != sides.base->parent &&
        sides.theirs->parent != sides.base->parent) {
      // Both moved it: it stays where we put it.
      for (const auto& [key, change] : changes_) {
        const auto parsed = parse_inode_key(key);
        if (!parsed || parsed->kind != ItemKind::entry || target(change.second) != id) continue;
        if (!out_.edits.contains(key)) out_.edits.emplace(key, std::nullopt);
      }
    }
    out_.edits.insert_or_assign(inode_key(id), encode_inode(both));
    co_return Status{};
  }

  static Inode merge_attributes(const Sides& sides) {
    const Inode &before = *sides.base, &mine = *sides.ours;
    Inode both = *sides.theirs;
    const auto take = [&]<class T>(T Inode::* field) {
      if (!(mine.*field == before.*field)) both.*field = mine.*field;
    };
    take(&Inode::mode);
    take(&Inode::uid);
    take(&Inode::gid);
    take(&Inode::flags);
    take(&Inode::owner);
    take(&Inode::group);
    take(&Inode::btime);
    take(&Inode::parent);
    take(&Inode::inline_data);  // of what is no file: a link's target never changes
    const auto latest = [&](WallTime Inode::* field) {
      const bool ours_changed = mine.*field != before.*field, they_changed = both.*field != before.*field;
      if (ours_changed) both.*field = they_changed ? std::max(mine.*field, both.*field) : mine.*field;
    };
    latest(&Inode::mtime);
    latest(&Inode::ctime);
    latest(&Inode::atime);
    both.has_xattrs = both.has_xattrs || mine.has_xattrs;
    return both;
  }

  // Both wrote: ours keeps the inode and its names, theirs gets an inode and a name of its own.
  env::Task<Status> keep_theirs_beside(InodeId id, Inode other) {
    const InodeId copy = numbers_.next();
    KeyRange range = range_of(id);
    for (;;) {
      constexpr size_t kPage = 1000;
      auto page = co_await tree_.scan(in_.theirs, range.first, range.last, kPage);
      if (!page) co_return fail(std::move(page.error()));
      for (Item& item : *page) {
        const auto parsed = parse_inode_key(item.key);
        if (!parsed) co_return fail(Code::corrupt, "an inode's key");
        if (parsed->kind == ItemKind::xattr) out_.edits.emplace(xattr_key(copy, parsed->name), std::move(item.value));
        if (parsed->kind == ItemKind::extent)
          out_.edits.emplace(extent_key(copy, parsed->offset), std::move(item.value));
      }
      if (page->size() < kPage) break;
      range.first = page->back().key + '\0';
    }
    // Ours as a whole: what they changed of the extents goes back to what we have.
    const KeyRange extents = range_of(id, ItemKind::extent);
    for (auto at = changes_.lower_bound(extents.first); at != changes_.end() && at->first < extents.last; ++at) {
      if (out_.edits.contains(at->first)) continue;
      out_.edits.emplace(at->first, at->second.first);
    }
    auto place = co_await name_of(id, other.parent);
    if (!place) co_return fail(std::move(place.error()));
    other.links = 1;
    other.parent = place->first;
    other.ctime = in_.now;
    ++out_.files;
    out_.bytes += static_cast<int64_t>(other.size);
    out_.edits.insert_or_assign(inode_key(copy), encode_inode(other));
    auto status = co_await give_conflict_name(place->first, place->second, encode_entry(copy, other.type));
    co_return status;
  }

  // A name that an inode will have: in the directory that its item tells, else where an edit puts it, else in the root.
  env::Task<Result<std::pair<InodeId, std::string>>> name_of(InodeId id, InodeId parent) {
    for (const auto& [key, value] : out_.edits) {
      const auto parsed = parse_inode_key(key);
      if (parsed && parsed->kind == ItemKind::entry && target(value) == id) {
        co_return std::pair(parsed->inode, std::string(parsed->name));
      }
    }
    KeyRange range = range_of(parent, ItemKind::entry);
    for (;;) {
      constexpr size_t kPage = 1000;
      auto page = co_await tree_.scan(in_.theirs, range.first, range.last, kPage);
      if (!page) co_return fail(std::move(page.error()));
      for (const Item& item : *page) {
        const auto parsed = parse_inode_key(item.key);
        const auto edit = out_.edits.find(item.key);
        if (!parsed || target(item.value) != id || (edit != out_.edits.end() && !edit->second)) continue;
        co_return std::pair(parent, std::string(parsed->name));
      }
      if (page->size() < kPage) break;
      range.first = page->back().key + '\0';
    }
    co_return std::pair(kRootInode, "inode " + std::to_string(id));
  }

  // We removed it, they changed it: it stays, under the names that it has with them.
  env::Task<Status> undo_removal(InodeId id) {
    const KeyRange range = range_of(id);
    for (auto at = out_.edits.lower_bound(range.first); at != out_.edits.end() && at->first < range.last;) {
      // What was below a directory stays removed, unless it is kept for its own sake.
      const auto parsed = parse_inode_key(at->first);
      const bool back = !at->second && parsed && parsed->kind != ItemKind::entry;
      at = back ? out_.edits.erase(at) : std::next(at);
    }
    std::vector<InodeId> above;
    for (const auto& [key, value] : *in_.ours) {
      const auto parsed = parse_inode_key(key);
      if (value || !parsed || parsed->kind != ItemKind::entry) continue;
      auto before = co_await base(key);
      if (!before) co_return fail(std::move(before.error()));
      if (target(*before) != id) continue;
      const auto edit = out_.edits.find(key);
      if (edit != out_.edits.end() && !edit->second) out_.edits.erase(edit);
      above.push_back(parsed->inode);
    }
    for (const InodeId directory : above) {
      const auto edit = out_.edits.find(inode_key(directory));
      if (edit != out_.edits.end() && !edit->second) CAIRN_CO_TRY(co_await undo_removal(directory));
    }
    co_return Status{};
  }

  // They removed it, we changed it: it comes back, under the names that we give it, else under its old ones.
  env::Task<Status> resurrect(InodeId id, Inode as_ours) {
    KeyRange range = range_of(id);
    for (;;) {
      constexpr size_t kPage = 1000;
      auto page = co_await tree_.scan(in_.base, range.first, range.last, kPage);
      if (!page) co_return fail(std::move(page.error()));
      for (Item& item : *page) {
        const auto parsed = parse_inode_key(item.key);
        if (!parsed || parsed->kind == ItemKind::entry) continue;  // what was below a directory stays removed
        out_.edits.emplace(std::move(item.key), std::move(item.value));
      }
      if (page->size() < kPage) break;
      range.first = page->back().key + '\0';
    }
    out_.edits.insert_or_assign(inode_key(id), encode_inode(as_ours));
    std::set<InodeId> above;
    bool named = false;
    for (const auto& [key, value] : out_.edits) {
      const auto parsed = parse_inode_key(key);
      if (!parsed || parsed->kind != ItemKind::entry || target(value) != id) continue;
      named = true;
      above.insert(parsed->inode);
    }
    if (!named) {
      const auto& changes = changes_;
      for (const auto& [key, change] : changes) {
        const auto parsed = parse_inode_key(key);
        if (!parsed || parsed->kind != ItemKind::entry || target(change.first) != id || target(change.second) == id)
          continue;
        above.insert(parsed->inode);
        auto there = co_await merged(key);
        if (!there) co_return fail(std::move(there.error()));
        if (*there) {
          CAIRN_CO_TRY(co_await give_conflict_name(parsed->inode, std::string(parsed->name), *change.first));
        } else {
          out_.edits.insert_or_assign(key, change.first);
        }
      }
    }
    for (const InodeId directory : above) {
      auto inode = co_await merged_inode(directory);
      if (!inode) co_return fail(std::move(inode.error()));
      if (*inode) continue;
      auto sides = co_await sides_of(directory);
      if (!sides) co_return fail(std::move(sides.error()));
      if (sides->ours) CAIRN_CO_TRY(co_await resurrect(directory, *sides->ours));
    }
    co_return Status{};
  }

  // Nothing of ours about it stands.
  void forget(InodeId id) {
    const KeyRange range = range_of(id);
    auto at = out_.edits.lower_bound(range.first);
    while (at != out_.edits.end() && at->first < range.last) at = out_.edits.erase(at);
  }

  // --- the whole ---

  // A directory has one name: of several, the one that fits its item, else the first.
  env::Task<Status> name_directories_once() {
    std::map<InodeId, std::vector<std::string>> names;
    for (const auto& [key, value] : out_.edits) {
      const auto parsed = parse_inode_key(key);
      if (parsed && parsed->kind == ItemKind::entry && is_directory(value)) names[target(value)].push_back(key);
    }
    for (auto& [id, keys] : names) {
      auto with_them = co_await their_name(id);
      if (!with_them) co_return fail(std::move(with_them.error()));
      if (*with_them && !out_.edits.contains(**with_them)) keys.push_back(**with_them);
      auto inode = co_await merged_inode(id);
      if (!inode) co_return fail(std::move(inode.error()));
      if (!*inode) {  // nothing is left of it
        for (const std::string& key : keys) out_.edits.insert_or_assign(key, std::nullopt);
        continue;
      }
      const std::string* keep = &keys.front();
      for (const std::string& key : keys) {
        if (parse_inode_key(key)->inode == (*inode)->parent) keep = &key;
      }
      const InodeId parent = parse_inode_key(*keep)->inode;
      for (const std::string& key : keys) {
        if (key == *keep) continue;
        auto there = co_await theirs(key);
        if (!there) co_return fail(std::move(there.error()));
        if (target(*there) == id) {
          out_.edits.insert_or_assign(key, std::nullopt);
        } else {
          out_.edits.erase(key);
        }
      }
      if ((*inode)->parent == parent) continue;
      (*inode)->parent = parent;
      out_.edits.insert_or_assign(inode_key(id), encode_inode(**inode));
    }
    co_return Status{};
  }

  // The key of the entry that a directory has in their tree.
  env::Task<Result<std::optional<std::string>>> their_name(InodeId id) {
    auto value = co_await theirs(inode_key(id));
    if (!value) co_return fail(std::move(value.error()));
    if (!*value) co_return std::nullopt;
    auto inode = decode_inode(**value);
    if (!inode) co_return fail(std::move(inode.error()));
    KeyRange range = range_of(inode->parent, ItemKind::entry);
    for (;;) {
      constexpr size_t kPage = 1000;
      auto page = co_await tree_.scan(in_.theirs, range.first, range.last, kPage);
      if (!page) co_return fail(std::move(page.error()));
      for (Item& item : *page) {
        if (target(item.value) == id) co_return std::move(item.key);
      }
      if (page->size() < kPage) co_return std::nullopt;
      range.first = page->back().key + '\0';
    }
  }

  env::Task<Result<bool>> reaches_root(InodeId id) {
    for (size_t depth = 0; depth < kMaxPathDepth; ++depth) {
      if (id == kRootInode) co_return true;
      auto inode = co_await merged_inode(id);
      if (!inode) co_return fail(std::move(inode.error()));
      if (!*inode) co_return false;
      id = (*inode)->parent;
    }
    co_return false;
  }

  // We moved a directory under one that they moved under it: ours goes back to where they have it, or to the root.
  env::Task<Status> break_cycles() {
    std::vector<std::string> entries;
    for (const auto& [key, value] : out_.edits) {
      const auto parsed = parse_inode_key(key);
      if (parsed && parsed->kind == ItemKind::entry && is_directory(value)) entries.push_back(key);
    }
    for (const std::string& key : entries) {
      const auto edit = out_.edits.find(key);
      if (edit == out_.edits.end() || !edit->second) continue;
      const std::string entry = *edit->second;
      const InodeId id = target(entry);
      auto fine = co_await reaches_root(id);
      if (!fine) co_return fail(std::move(fine.error()));
      if (*fine) continue;
      auto with_them = co_await their_name(id);
      if (!with_them) co_return fail(std::move(with_them.error()));
      auto there = co_await theirs(key);
      if (!there) co_return fail(std::move(there.error()));
      if (target(*there) == id) {
        out_.edits.insert_or_assign(key, std::nullopt);
      } else {
        out_.edits.erase(key);
      }
      InodeId parent = 0;
      if (*with_them && **with_them != key) {
        const auto place = out_.edits.find(**with_them);
        if (place == out_.edits.end() || !place->second) {
          out_.edits.erase(**with_them);
          parent = parse_inode_key(**with_them)->inode;
        }
      }
      auto inode = co_await merged_inode(id);
      if (!inode) co_return fail(std::move(inode.error()));
      if (!*inode) continue;
      if (parent != 0) {
        (*inode)->parent = parent;
        out_.edits.insert_or_assign(inode_key(id), encode_inode(**inode));
        fine = co_await reaches_root(id);
        if (!fine) co_return fail(std::move(fine.error()));
        if (*fine) continue;
        out_.edits.insert_or_assign(**with_them, std::nullopt);
      }
      CAIRN_CO_TRY(co_await give_conflict_name(kRootInode, std::string(parse_inode_key(key)->name), entry));
    }
    co_return Status{};
  }

  // Links follow from the names that come and go.
  env::Task<Status> count_links() {
    std::map<InodeId, int64_t> names, subdirectories;
    for (const auto& [key, value] : out_.edits) {
      const auto parsed = parse_inode_key(key);
      if (parsed && parsed->kind == ItemKind::inode && value) {
        auto inode = decode_inode(*value);  // our own count may be of names that are not taken after all
        if (!inode) co_return fail(std::move(inode.error()));
        (inode->is_directory() ? subdirectories : names)[parsed->inode] += 0;
      }
      if (!parsed || parsed->kind != ItemKind::entry) continue;
      auto there = co_await theirs(key);
      if (!there) co_return fail(std::move(there.error()));
      for (const auto& [entry, change] : {std::pair(*there, -1), std::pair(value, 1)}) {
        if (!entry) continue;
        if (is_directory(entry)) {
          subdirectories[parsed->inode] += change;
        } else {
          names[target(entry)] += change;
        }
      }
    }
    for (const InodeId id : maybe_named_) names.emplace(id, 0);
    for (const auto& [counts, directories] : {std::pair(names, false), std::pair(subdirectories, true)}) {
      for (const auto& [id, change] : counts) {
        auto value = co_await theirs(inode_key(id));
        if (!value) co_return fail(std::move(value.error()));
        auto before = inode_in(id, *value);
        if (!before) co_return fail(std::move(before.error()));
        const int64_t links = std::max<int64_t>(0, (*before ? (*before)->links : 0) + change);
        auto inode = co_await merged_inode(id);
        if (!inode) co_return fail(std::move(inode.error()));
        if (!*inode && !directories && links > 0 && *before) {
          // We took what we thought was its last name; they gave it another.
          const KeyRange range = range_of(id);
          auto at = out_.edits.lower_bound(range.first);
          while (at != out_.edits.end() && at->first < range.last) at = out_.edits.erase(at);
          inode = std::move(before);
        }
        if (!*inode) continue;
        if (!directories && links == 0) {
          CAIRN_CO_TRY(co_await remove_all(id));
          continue;
        }
        if (static_cast<int64_t>((*inode)->links) == links) continue;
        (*inode)->links = static_cast<uint32_t>(links);
        out_.edits.insert_or_assign(inode_key(id), encode_inode(**inode));
      }
    }
    co_return Status{};
  }

  env::Task<Status> remove_all(InodeId id) {
    forget(id);
    KeyRange range = range_of(id);
    for (;;) {
      constexpr size_t kPage = 1000;
      auto page = co_await tree_.scan(in_.theirs, range.first, range.last, kPage);
      if (!page) co_return fail(std::move(page.error()));
      for (Item& item : *page) out_.edits.insert_or_assign(std::move(item.key), std::nullopt);
      if (page->size() < kPage) break;
      range.first = page->back().key + '\0';
    }
    co_return Status{};
  }

  NodeSource& source_;
  Tree& tree_;
  InodeNumbers& numbers_;
  MergeInput in_;
  std::set<InodeId> touched_;
  std::map<std::string, std::pair<Value, Value>, std::less<>> changes_;  // theirs that matter: before, after
  std::set<InodeId> maybe_named_;  // that we removed with their last name, and of which they changed the names
  MergeResult out_;
};

}  // namespace

env::Task<Result<MergeResult>> merge_edits(NodeSource& source, Tree& tree, InodeNumbers& numbers, MergeInput input) {
  Merger merger(source, tree, numbers, std::move(input));
  auto result = co_await merger.run();
  co_return result;
}

}  // namespace cairn::volume
