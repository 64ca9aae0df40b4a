#pragma once
// SegmentStaging: the staging area on disk: files of one folder, written once from front to back. See JOURNAL.md.
//
// A segment goes in two steps, because the journal's records that name it must be gone from the disk first:
//   auto unused = staging.unused();     // no extent shows a byte of them
//   co_await journal.sync();            // which is durable
//   co_await staging.remove(unused);    // those that no hold() may still read

#include <deque>
#include <map>
#include <set>

#include "volume/drive/staging.h"

namespace cairn::volume {

struct StagingOptions {
  std::string folder;
  uint64_t limit = 10 * kGiB;  // that segments take on disk
  uint64_t segment_size = 64 * kMiB;
  size_t memory_bytes = 40 * kMiB;  // of what was appended last, kept in memory: the upload need not read it back
};

class SegmentStaging final : public Staging {
 public:
  // Takes over what is in the folder. New segments get numbers above `above`: the highest that anything may refer to.
  static env::Task<Result<std::unique_ptr<SegmentStaging>>> open(env::World world, StagingOptions options,
                                                                 uint64_t above);
  ~SegmentStaging() override;

  env::Task<Result<StagedPlace>> append(Buffer bytes) override;
  env::Task<Result<Buffer>> read(StagedPlace place, size_t length) override;
  std::shared_ptr<void> hold() override;
  env::Task<Status> sync() override;
  void use(uint64_t segment, int64_t bytes) override;
  uint64_t used_bytes() const override { return used_; }
  uint64_t disk_bytes() const override { return disk_; }

  bool synced() const { return dirty_.empty() && !new_names_; }
  uint64_t appended_bytes() const { return appended_; }  // ever
  std::vector<uint64_t> unused() const;
  // Those of `segments` that still nobody uses go; returns them.
  env::Task<std::vector<uint64_t>> remove(std::vector<uint64_t> segments);

 private:
  using Place = std::pair<uint64_t, uint64_t>;
  struct Segment {
    std::shared_ptr<env::File> file;  // none: not made or not opened yet
    uint64_t end = 0;                 // places before it are given out
    uint64_t disk = 0;
    int64_t used = 0;
    uint64_t unused_since = 0;  // hold() number from which on nobody reads it
    size_t writing = 0;         // appends under way
    bool fresh = false;         // to be made with the first write
  };
  struct Append {
    Place place;
    Buffer bytes;
    env::OneShot<Status> done;
  };

  SegmentStaging(env::World world, StagingOptions options);
  env::Task<Status> load(uint64_t above);
  std::string path_of(uint64_t segment) const;
  // The end of the current segment is then where so many bytes have room, at a multiple of `alignment`.
  Status make_room(size_t bytes, size_t alignment);
  static bool past_cache(const Buffer& bytes);
  env::Task<void> write_queue();
  // On a worker.
  Status write_run(std::shared_ptr<env::File>& file, uint64_t segment, uint64_t& allocated,
                   const std::vector<Append>& run) const;
  void remember(Place place, const Buffer& bytes);
  std::optional<Buffer> remembered(StagedPlace place, size_t length) const;

  env::World world_;
  StagingOptions options_;
  std::map<uint64_t, Segment> segments_;
  uint64_t current_ = 0, next_ = 1;
  uint64_t used_ = 0, disk_ = 0, appended_ = 0;
  std::deque<Append> queue_;
  bool writing_ = false;
  std::set<uint64_t> dirty_;  // written since they were synced
  bool new_names_ = false;
  env::Semaphore syncing_;
  std::map<Place, Buffer> memory_;
  std::deque<Place> memory_order_;
  size_t memory_size_ = 0;
  uint64_t next_hold_ = 1;
  std::shared_ptr<std::set<uint64_t>> holds_;
  env::TaskGroup group_;  // last: its tasks use the others
};

}  // namespace cairn::volume
