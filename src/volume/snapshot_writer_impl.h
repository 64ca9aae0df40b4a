#pragma once
// Between the volume and the writers of its snapshots.

#include "volume/snapshot_writer.h"
#include "volume/transaction_impl.h"

namespace cairn::volume {

class SnapshotHost : public VolumeHost {
 public:
  // Puts these items and the records of the packs into the head's tree, whatever it is by now.
  struct SnapshotCommit {
    EditMap edits;
    std::vector<pool::PackRef> packs;  // new
    // The snapshot's tree, the one that it was made upon, and the packs that the edits between them name: what was
    // there before must still be there.
    Root made, base;
    std::set<PackId> named;
  };
  virtual env::Task<Status> commit_snapshot(SnapshotCommit commit) = 0;
};

std::unique_ptr<SnapshotWriter> make_snapshot_writer(SnapshotHost& host, Root base);

// The items of a snapshot that has files alone: chunks and packs are those of a head.
class SnapshotItems final : public ItemReader {
 public:
  // The tree outlives it.
  SnapshotItems(Tree& tree, Root files, std::function<HeadPtr()> head)
      : tree_(tree), files_(std::move(files)), head_(std::move(head)) {}
  env::Task<Result<std::optional<std::string>>> get(std::string key) override;
  env::Task<Result<std::vector<Item>>> scan(std::string first, std::string last, size_t limit) override;

 private:
  Root root_of(std::string_view key) const { return key.starts_with('F') ? files_ : head_()->root; }
  Tree& tree_;
  Root files_;
  std::function<HeadPtr()> head_;
};

}  // namespace cairn::volume
