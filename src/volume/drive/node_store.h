#pragma once
// LocalNodes: the tree's nodes on the local disk, so that a drive finds its way while the pool is away, also after a
// restart. See JOURNAL.md.

#include "env/world.h"
#include "volume/node_cache.h"

namespace cairn::volume {

// In a MetaStore of its own, in two halves: what is written goes to one; when that is full the other is emptied and
// takes its turn. What is found in the older half moves to the newer. Nothing here has to survive a power loss.
class LocalNodes final : public NodeStore {
 public:
  // A folder that cannot be used is left alone: nothing is found then.
  static env::Task<std::unique_ptr<LocalNodes>> open(env::World world, std::string folder, uint64_t max_bytes);

  env::Task<std::optional<Bytes>> find(NodeRef ref) override;
  void keep(const NodeRef& ref, ByteView plain) override;
  // What waits is written.
  env::Task<void> close();

 private:
  LocalNodes(env::World world, uint64_t max_bytes)
      : world_(world), max_bytes_(max_bytes), idle_(world.executor), group_(world.executor) {}
  std::string key(size_t half, const std::string& place) const;
  void keep(const std::string& place, ByteView plain);
  env::Task<void> write();

  env::World world_;
  uint64_t max_bytes_;
  std::unique_ptr<env::MetaStore> store_;
  size_t half_ = 0;  // that is written to
  Time synced_at_{};
  uint64_t bytes_ = 0;                    // in it
  std::map<std::string, Bytes> waiting_;  // by place
  size_t waiting_bytes_ = 0;
  bool writing_ = false;
  env::Signal idle_;
  env::TaskGroup group_;  // last: its tasks use the others
};

}  // namespace cairn::volume
