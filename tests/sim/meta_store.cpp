#include "sim/meta_store.h"

#include "sim/files.h"
#include "sim/paths.h"

namespace cairn::sim {

namespace {

constexpr uint64_t kEntryCost = 32;  // about what LevelDB adds to a key and its value

class SimCursor final : public env::Cursor {
 public:
  SimCursor(std::shared_ptr<const MetaState::Map> map, Status status)
      : map_(std::move(map)), status_(std::move(status)), at_(map_->end()) {}
  void seek(std::string_view first) override {
    if (status_) at_ = map_->lower_bound(first);
  }
  bool valid() const override { return at_ != map_->end(); }
  void next() override { ++at_; }
  std::string_view key() const override { return at_->first; }
  std::string_view value() const override { return at_->second; }
  Status status() const override { return status_; }

 private:
  std::shared_ptr<const MetaState::Map> map_;
  Status status_;
  MetaState::Map::const_iterator at_;
};

}  // namespace

void MetaState::put(const std::string& key, const std::optional<std::string>& value) {
  if (const auto old = data->find(key); old != data->end()) {
    bytes -= key.size() + old->second.size() + kEntryCost;
    if (!value) data->erase(old);
  }
  if (value) {
    bytes += key.size() + value->size() + kEntryCost;
    (*data)[key] = *value;
  }
}

void MetaState::write(const env::WriteBatch& batch) {
  if (data.use_count() > 1) data = std::make_shared<Map>(*data);
  Undo undo;
  for (const auto& entry : batch.entries()) {
    const auto old = data->find(entry.key);
    undo.push_back({entry.key, old == data->end() ? std::nullopt : std::optional(old->second)});
    put(entry.key, entry.value);
  }
  undo_.push_back(std::move(undo));
}

void MetaState::crash(env::Prng& prng, bool lose) {
  open = false;
  if (lose && !undo_.empty()) {
    if (data.use_count() > 1) data = std::make_shared<Map>(*data);
    const uint64_t keep = prng.chance(0.2) ? 0 : prng.between(0, undo_.size());
    while (undo_.size() > keep) {
      const Undo& last = undo_.back();
      for (auto entry = last.rbegin(); entry != last.rend(); ++entry) put(entry->key, entry->value);
      undo_.pop_back();
    }
  }
  undo_.clear();
}

uint64_t MetaState::growth(const Map& map, const env::WriteBatch& batch) {
  uint64_t more = 0;
  for (const auto& entry : batch.entries()) {
    if (entry.value && !map.contains(entry.key)) more += entry.key.size() + entry.value->size() + kEntryCost;
  }
  return more;
}

SimMetaStore::SimMetaStore(SimDisk& disk, std::shared_ptr<MetaState> state, std::string path)
    : disk_(disk), state_(std::move(state)), path_(std::move(path)), life_(disk.life_) {
  state_->open = true;
}

SimMetaStore::~SimMetaStore() {
  if (life_ == disk_.life_) state_->open = false;
}

Result<std::optional<std::string>> SimMetaStore::get(std::string_view key) {
  if (life_ != disk_.life_) return fail(Code::io, path_ + ": a handle from before the crash");
  CAIRN_TRY(disk_.begin_read("meta_get", key.size()));
  const auto found = state_->data->find(key);
  if (found == state_->data->end()) return std::nullopt;
  return found->second;
}

Status SimMetaStore::write(const env::WriteBatch& batch, bool sync) {
  if (life_ != disk_.life_) return fail(Code::io, path_ + ": a handle from before the crash");
  if (disk_.capacity_ - std::min(disk_.capacity_, disk_.used_) < MetaState::growth(*state_->data, batch)) {
    return fail(Code::no_space, path_);
  }
  uint64_t bytes = 0;
  for (const auto& entry : batch.entries()) bytes += entry.key.size() + (entry.value ? entry.value->size() : 0);
  bool effect = false;
  ++disk_.counters_.meta_writes;
  if (sync) ++disk_.counters_.meta_syncs;
  const Status allowed = disk_.begin_change(sync ? "meta_sync" : "meta_write", path_, bytes, &effect);
  if (sync) disk_.cost_sync();
  if (!allowed && !effect) return allowed;
  const uint64_t before = state_->bytes;
  state_->write(batch);
  disk_.used_ += state_->bytes - before;
  if (sync && !disk_.lying_) state_->sync();
  return allowed;
}

std::unique_ptr<env::Cursor> SimMetaStore::cursor() {
  Status status = disk_.begin_read("meta_cursor", 0);
  if (life_ != disk_.life_) status = fail(Code::io, path_ + ": a handle from before the crash");
  return std::make_unique<SimCursor>(state_->data, std::move(status));
}

Result<std::unique_ptr<env::MetaStore>> SimDisk::open(const std::string& text, env::MetaStoreOptions) {
  const std::string path = normalize(text);
  CAIRN_TRY(begin_read("meta_open", 0));
  auto found = meta_.find(path);
  if (found == meta_.end()) {
    CAIRN_TRY(make_dirs(text));
    const std::string mark = path + std::string(kMetaMark);
    bool effect = false;
    CAIRN_TRY(begin_change("meta_create", path, 0, &effect));
    auto inode = std::make_shared<Inode>(*this, false);
    inode->users = 1;
    names_[mark] = inode;
    durable_names_[mark] = inode;
    found = meta_.emplace(path, std::make_shared<MetaState>()).first;
  }
  if (found->second->open) return fail(Code::overloaded, text + ": another has it open");
  if (found->second->damaged) return fail(Code::corrupt, text);
  return std::make_unique<SimMetaStore>(*this, found->second, path);
}

bool SimDisk::damage_meta_store(const std::string& path) {
  const auto found = meta_.find(normalize(path));
  if (found == meta_.end()) return false;
  found->second->damaged = true;
  return true;
}

}  // namespace cairn::sim
