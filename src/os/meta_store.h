#pragma once
// LevelStores: env::MetaStores on LevelDB.
//
// Memory of one open store: the block cache, two write buffers while one is being compacted, and the index blocks and
// filters of up to kMaxOpenTables tables. Tables are read, not mapped, so that what was read does not stay in the
// process. No compression (keys are hashes), checksums checked on every read, no log file.

#include "env/meta_store.h"

namespace cairn::os {

class LevelStores final : public env::MetaStores {
 public:
  // Relative paths start at `root`; empty: at the working folder of the process.
  explicit LevelStores(std::string root = {}) : root_(std::move(root)) {}
  // Code::corrupt when the store's own files do not add up.
  Result<std::unique_ptr<env::MetaStore>> open(const std::string& path, env::MetaStoreOptions options = {}) override;

 private:
  std::string root_;
};

}  // namespace cairn::os
