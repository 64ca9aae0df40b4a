#pragma once
// The simulated LevelDB: an ordered map on a SimDisk that can take back its youngest batches.

#include "sim/disk.h"

namespace cairn::sim {

// A meta store's folder holds one file that stands for all of LevelDB's; removing it removes the store.
inline constexpr std::string_view kMetaMark = "/CURRENT";

class MetaState {
 public:
  using Map = std::map<std::string, std::string, std::less<>>;
  std::shared_ptr<Map> data = std::make_shared<Map>();  // copied before a write while a cursor looks at it
  uint64_t bytes = 0;
  bool open = false;
  bool damaged = false;

  void write(const env::WriteBatch& batch);
  void sync() { undo_.clear(); }
  void crash(env::Prng& prng, bool lose);
  static uint64_t growth(const Map& map, const env::WriteBatch& batch);

 private:
  using Undo = std::vector<env::WriteBatch::Entry>;  // what the keys held before, in the order of the batch
  void put(const std::string& key, const std::optional<std::string>& value);
  std::vector<Undo> undo_;  // of each batch that is not synced, oldest first
};

class SimMetaStore final : public env::MetaStore {
 public:
  SimMetaStore(SimDisk& disk, std::shared_ptr<MetaState> state, std::string path);
  ~SimMetaStore() override;
  Result<std::optional<std::string>> get(std::string_view key) override;
  Status write(const env::WriteBatch& batch, bool sync) override;
  std::unique_ptr<env::Cursor> cursor() override;

 private:
  SimDisk& disk_;
  std::shared_ptr<MetaState> state_;
  std::string path_;
  uint64_t life_;
};

}  // namespace cairn::sim
