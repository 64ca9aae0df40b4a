#include "sim/disk.h"

#include "sim/files.h"
#include "sim/meta_store.h"
#include "sim/paths.h"

namespace cairn::sim {

class SimLock final : public env::DiskLock {
 public:
  SimLock(SimDisk& disk, std::string path) : disk_(disk), path_(std::move(path)), life_(disk.life_) {}
  ~SimLock() override {
    if (life_ == disk_.life_) disk_.locks_.erase(path_);
  }

 private:
  SimDisk& disk_;
  std::string path_;
  uint64_t life_;
};

SimDisk::SimDisk(uint64_t seed, Trace& trace, std::string node) : prng_(seed), trace_(trace), node_(std::move(node)) {
  names_[""] = std::make_shared<Inode>(*this, true);
  names_[""]->users = 1;
  durable_names_ = names_;
}

SimDisk::~SimDisk() {
  ++life_;
}

Status SimDisk::begin_read(std::string_view what, uint64_t bytes) {
  ++counters_.reads;
  counters_.bytes_read += bytes;
  elapsed_ += speed_.per_call + Duration(static_cast<int64_t>(bytes * 1'000'000'000 / speed_.bytes_per_second));
  trace_.mix(what);
  if (dead_) return fail(Code::io, "the simulated disk has stopped");
  if (read_errors_ > 0 && prng_.chance(read_errors_)) return fail(Code::io, "simulated read error");
  return {};
}

Status SimDisk::begin_change(std::string_view what, const std::string& path, uint64_t bytes, bool* effect) {
  *effect = false;
  if (what == "sync" || what == "meta_sync") {
    ++counters_.syncs;
    if (!in_worker_) ++counters_.on_strand;
  } else if (what == "write" || what == "truncate" || what == "allocate" || what == "punch") {
    ++counters_.writes;
  } else if (!what.starts_with("meta")) {
    ++counters_.names;
  }
  counters_.bytes_written += bytes;
  elapsed_ += speed_.per_call + Duration(static_cast<int64_t>(bytes * 1'000'000'000 / speed_.bytes_per_second));
  trace_.mix(what);
  trace_.mix(path);
  trace_.mix(bytes);
  if (dead_) return fail(Code::io, "the simulated disk has stopped");
  if (crash_at_ && operations_ >= *crash_at_) {
    dead_ = true;
    *effect = prng_.chance(0.5);
    if (on_dead_) std::exchange(on_dead_, {})();
    return fail(Code::io, "the simulated disk has stopped");
  }
  ++operations_;
  if (write_errors_ > 0 && prng_.chance(write_errors_)) return fail(Code::io, "simulated write error");
  return {};
}

void SimDisk::cost_sync() {
  const auto middle = static_cast<uint64_t>(speed_.per_sync.count());
  elapsed_ += Duration(static_cast<int64_t>(middle / 2 + prng_.below(middle + 1)));
}

Status SimDisk::take_space(uint64_t bytes) {
  if (bytes > 0 && (used_ > capacity_ || bytes > capacity_ - used_)) return fail(Code::no_space, "simulated disk");
  used_ += bytes;
  return {};
}

std::shared_ptr<Inode> SimDisk::find(const std::string& path) const {
  const auto found = names_.find(path);
  return found == names_.end() ? nullptr : found->second;
}

void SimDisk::unlink(const std::shared_ptr<Inode>& inode) {
  CAIRN_ASSERT(inode->users > 0);
  if (--inode->users == 0 && inode->counted) {
    inode->counted = false;
    give_space(inode->allocated());
  }
}

void SimDisk::apply(Names& names, const NameChange& change) {
  if (!change.removed.empty()) {
    // A folder takes what is in it along.
    Names moved;
    const std::string inside = change.removed + "/";
    for (auto it = names.lower_bound(inside); it != names.end() && it->first.starts_with(inside);) {
      moved[change.path + "/" + it->first.substr(inside.size())] = it->second;
      it = names.erase(it);
    }
    names.erase(change.removed);
    names.merge(moved);
  }
  if (change.now) {
    names[change.path] = change.now;
  } else {
    names.erase(change.path);
  }
}

void SimDisk::change_name(NameChange change) {
  apply(names_, change);
  changes_.push_back(std::move(change));
}

bool SimDisk::has_children(const std::string& path) const {
  const std::string inside = path.empty() ? "" : path + "/";
  for (auto it = names_.lower_bound(inside); it != names_.end() && it->first.starts_with(inside); ++it) {
    if (!it->first.empty()) return true;
  }
  return false;
}

Result<std::unique_ptr<env::File>> SimDisk::open(const std::string& text, env::OpenMode mode) {
  const std::string path = normalize(text);
  CAIRN_TRY(begin_read("open", 0));
  auto inode = find(path);
  if (inode && inode->folder()) return fail(Code::io, text + ": is a folder");
  const bool create = mode == env::OpenMode::create || mode == env::OpenMode::create_new;
  if (inode && mode == env::OpenMode::create_new) return fail(Code::exists, text);
  if (!inode) {
    if (!create) return fail(Code::not_found, text);
    const auto folder = find(parent(path));
    if (!folder || !folder->folder()) return fail(Code::not_found, text);
    bool effect = false;
    const Status allowed = begin_change("create", path, 0, &effect);
    if (!allowed && !effect) return fail(allowed.error());
    inode = std::make_shared<Inode>(*this, false);
    inode->users = 1;
    change_name({parent(path), path, {}, inode});
    if (!allowed) return fail(allowed.error());
  }
  return std::make_unique<SimFile>(*this, inode, path, mode != env::OpenMode::read);
}

Status SimDisk::make_dirs(const std::string& text) {
  const std::string path = normalize(text);
  for (size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    const std::string folder = path.substr(0, end);
    if (const auto there = find(folder)) {
      if (!there->folder()) return fail(Code::exists, text + ": a file is in the way");
      continue;
    }
    bool effect = false;
    CAIRN_TRY(begin_change("make_dir", folder, 0, &effect));
    auto made = std::make_shared<Inode>(*this, true);
    made->users = 1;
    names_[folder] = made;
    durable_names_[folder] = made;
  }
  return {};
}

Status SimDisk::rename(const std::string& from_text, const std::string& to_text) {
  const std::string from = normalize(from_text);
  const std::string to = normalize(to_text);
  bool effect = false;
  const Status allowed = begin_change("rename", from, 0, &effect);
  if (!allowed && !effect) return allowed;
  const auto inode = find(from);
  const auto folder = find(parent(to));
  if (!inode || !folder) return allowed ? fail(Code::not_found, from_text) : allowed;
  if (from == to) return allowed;
  if (const auto replaced = find(to)) {
    if (replaced->folder() != inode->folder() || has_children(to)) {
      return allowed ? fail(Code::exists, to_text + ": in the way") : allowed;
    }
    unlink(replaced);
  }
  change_name({parent(to), to, from, inode});
  return allowed;
}

Status SimDisk::remove(const std::string& text) {
  const std::string path = normalize(text);
  bool effect = false;
  const Status allowed = begin_change("remove", path, 0, &effect);
  if (!allowed && !effect) return allowed;
  const auto inode = find(path);
  if (!inode || path.empty()) return allowed ? fail(Code::not_found, text) : allowed;
  if (inode->folder() && has_children(path)) return allowed ? fail(Code::exists, text + ": is not empty") : allowed;
  if (const auto meta = meta_.find(parent(path)); meta != meta_.end() && path == meta->first + std::string(kMetaMark)) {
    if (meta->second->open) return fail(Code::io, text + ": is in use");
    give_space(meta->second->bytes);
    meta_.erase(meta);
  }
  unlink(inode);
  change_name({parent(path), path, {}, nullptr});
  return allowed;
}

Status SimDisk::sync_dir(const std::string& text) {
  const std::string path = normalize(text);
  bool effect = false;
  const Status allowed = begin_change("sync_dir", path, 0, &effect);
  cost_sync();
  if (!allowed && !effect) return allowed;
  const auto folder = find(path);
  if (!folder || !folder->folder()) return allowed ? fail(Code::not_found, text) : allowed;
  if (lying_) return allowed;
  std::vector<NameChange> left;
  for (NameChange& change : changes_) {
    if (change.folder == path) {
      apply(durable_names_, change);
    } else {
      left.push_back(std::move(change));
    }
  }
  changes_ = std::move(left);
  return allowed;
}

Result<std::vector<std::string>> SimDisk::list(const std::string& text) {
  const std::string path = normalize(text);
  CAIRN_TRY(begin_read("list", 0));
  const auto folder = find(path);
  if (!folder || !folder->folder()) return fail(Code::not_found, text);
  const std::string inside = path.empty() ? "" : path + "/";
  std::vector<std::string> names;
  for (auto it = names_.lower_bound(inside); it != names_.end() && it->first.starts_with(inside); ++it) {
    const std::string name = it->first.substr(inside.size());
    if (!name.empty() && name.find('/') == std::string::npos) names.push_back(name);
  }
  return names;
}

Result<bool> SimDisk::exists(const std::string& text) {
  CAIRN_TRY(begin_read("exists", 0));
  return find(normalize(text)) != nullptr;
}

Result<env::Space> SimDisk::space(const std::string& text) {
  CAIRN_TRY(begin_read("space", 0));
  if (!find(normalize(text))) return fail(Code::not_found, text);
  return env::Space{capacity_, capacity_ > used_ ? capacity_ - used_ : 0};
}

Result<std::unique_ptr<env::DiskLock>> SimDisk::lock(const std::string& text) {
  const std::string path = normalize(text);
  CAIRN_TRY(begin_read("lock", 0));
  if (!find(parent(path))) return fail(Code::not_found, text);
  if (!locks_.insert(path).second) return fail(Code::overloaded, text + ": another holds the lock");
  return std::make_unique<SimLock>(*this, path);
}

void SimDisk::crash_after(uint64_t operations, std::function<void()> handler) {
  crash_at_ = operations_ + operations;
  on_dead_ = std::move(handler);
}

void SimDisk::recount() {
  used_ = 0;
  for (const auto& [path, inode] : names_) inode->users = 0;
  for (const auto& [path, inode] : names_) {
    ++inode->users;
    inode->counted = true;
    used_ += inode->allocated();
  }
  for (const auto& [path, meta] : meta_) used_ += meta->bytes;
}

void SimDisk::crash(Loss loss) {
  dead_ = true;
  ++life_;
  locks_.clear();
  if (loss == Loss::unsynced) {
    // Names: a journalling file system keeps a beginning of the changes, another any of them.
    const bool in_order = prng_.chance(0.5);
    bool lost = false;
    for (const NameChange& change : changes_) {
      if (!(in_order && lost) && prng_.chance(in_order ? 0.8 : 0.5)) {
        apply(durable_names_, change);
      } else {
        lost = true;
      }
    }
    // What a lost or kept change left in a folder that is not there is gone with it.
    for (auto it = durable_names_.begin(); it != durable_names_.end();) {
      const auto folder = durable_names_.find(parent(it->first));
      it = folder == durable_names_.end() || !folder->second->folder() ? durable_names_.erase(it) : std::next(it);
    }
    names_ = durable_names_;
    for (const auto& [path, inode] : names_) inode->crash(prng_);
  } else {
    for (const auto& [path, inode] : names_) inode->sync();
    durable_names_ = names_;
  }
  changes_.clear();
  for (const auto& [path, meta] : meta_) meta->crash(prng_, loss == Loss::unsynced);
  recount();
}

void SimDisk::restart() {
  dead_ = false;
  crash_at_.reset();
  on_dead_ = {};
  elapsed_ = {};
}

bool SimDisk::flip_bit(const std::string& path, uint64_t offset, unsigned bit) {
  const auto inode = find(normalize(path));
  return inode && inode->flip(offset, bit);
}

std::optional<SimDisk::Rot> SimDisk::rot_somewhere(const std::string& text, env::Prng& prng) {
  const std::string prefix = normalize(text);
  std::vector<std::pair<std::string, std::shared_ptr<Inode>>> found;
  for (const auto& [path, inode] : names_) {
    if (path.starts_with(prefix) && !inode->folder() && inode->pages() > 0) found.emplace_back(path, inode);
  }
  if (found.empty()) return std::nullopt;
  const auto& [path, inode] = found[prng.below(found.size())];
  const uint64_t page = inode->page_number(prng.below(inode->pages()));
  const uint64_t end = std::min((page + 1) * kPage, inode->size());
  if (end <= page * kPage) return std::nullopt;
  const uint64_t offset = prng.between(page * kPage, end - 1);
  inode->flip(offset, static_cast<unsigned>(prng.below(8)));
  return Rot{path, offset};
}

void SimDisk::wipe(const std::string& text) {
  const std::string prefix = normalize(text);
  const auto begins = [&](const auto& entry) { return !entry.first.empty() && entry.first.starts_with(prefix); };
  std::erase_if(names_, begins);
  std::erase_if(durable_names_, begins);
  std::erase_if(meta_, begins);
  std::erase_if(changes_, [&](const NameChange& change) { return change.path.starts_with(prefix); });
  recount();
}

void SimDisk::each_byte_run(const std::function<void(const std::string&, ByteView)>& visit) const {
  for (const auto& [path, inode] : names_) {
    inode->each_page([&](uint64_t, ByteView bytes) { visit(path, bytes); });
  }
  for (const auto& [path, meta] : meta_) {
    for (const auto& [key, value] : *meta->data) {
      visit(path, as_bytes(key));
      visit(path, as_bytes(value));
    }
  }
}

std::vector<std::string> SimDisk::files() const {
  std::vector<std::string> paths;
  for (const auto& [path, inode] : names_) {
    if (!inode->folder()) paths.push_back(path);
  }
  return paths;
}

}  // namespace cairn::sim
