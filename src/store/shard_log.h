#pragma once
// ShardLog: the segments and the index of one store, blocking. ShardStore gives it its coroutines.
//
// Two kinds of calls: those that change something (load, scan, commit) are made by one thread at a time; those that
// read may run beside commit() and each other, but not beside load(). FORMAT.md says what survives which crash.

#include <atomic>
#include <mutex>

#include "base/log.h"
#include "content/merkle.h"
#include "env/world.h"
#include "store/index.h"
#include "store/marker.h"
#include "store/scanner.h"
#include "store/segments.h"

namespace cairn::store {

// Append a record. `moved_from`: a copy made by compaction, which takes the place of that one.
struct PutChange {
  RecordHeader header;  // segment and block are filled in by commit()
  Buffer payload;
  std::optional<Place> moved_from;
  Bytes trailer;          // leaf hashes of a verified or moved record
  bool verified = false;  // the Merkle root fits; of a moved record the index knows it
  bool stored = false;    // out: by this very change, not there before
};
// Forget a shard (when it still lies at `only_at`, if given); its blocks become a hole.
struct DropChange {
  ShardId shard;
  std::optional<Place> only_at;
  bool rotten = false;
};
// The Merkle root fits. Code::not_found when the shard no longer lies there.
struct VerifiedChange {
  ShardId shard;
  Place place;
  std::vector<Hash> leaves;
};
// These were punched (or, where that is unsupported, only made unreadable).
struct HolesChange {
  std::vector<Hole> holes;
  bool punched = true;
};
// Remove a sealed segment without live shards.
struct SegmentChange {
  uint32_t segment = 0;
};
// Append no more to this segment.
struct SealChange {
  uint32_t segment = 0;
};
// Give back what is preallocated.
struct TrimChange {};
struct Change {
  std::variant<PutChange, DropChange, VerifiedChange, HolesChange, SegmentChange, SealChange, TrimChange> what;
  Status result;
};

struct LogTotals {
  uint64_t held_blocks = 0;  // of records and holes not yet given back
  uint64_t tail_blocks = 0;  // preallocated behind the last record
  uint64_t live_blocks = 0;
  uint64_t records = 0;
  uint64_t unverified = 0;
  uint64_t corrupt = 0;
  uint64_t index_bytes = 0;  // measured, 0 when it cannot be
  env::Space space;
  std::optional<uint32_t> active;
  std::vector<uint32_t> empty_segments;  // sealed, without live shards
  // The segment with the most dead blocks, when they are at least kCompactDeadPercent of it.
  std::optional<uint32_t> compaction_candidate;
};

class ShardLog {
 public:
  struct Options {
    std::string path;
    uint64_t limit = 0;
    uint64_t keep_free = 0;
    double keep_free_share = 0;
  };
  ShardLog(env::World world, Marker marker, Options options);

  // --- one thread at a time, nothing beside it ---
  // Opens the index and finds what it does not know yet. Then scan() until it says false. Work does not depend on the
  // number of shards held, unless the index is lost. Also after broken().
  Status load();
  Result<bool> scan();  // one bounded step
  // Releases index and files.
  void unload();

  // --- one thread at a time ---
  // All changes in order, durable on return (drops, puts) or soon (the rest). The files never take more than
  // `room_blocks`, whatever is asked.
  void commit(std::span<Change* const> changes, uint64_t room_blocks);
  // The index is durable up to here.
  Status checkpoint();
  // True after a failure that leaves memory and disk apart: load() again.
  bool broken() const { return broken_; }
  const LogTotals& totals() const { return totals_; }

  // --- any thread ---
  Status mounted() const { return marker_.check(world_.disk, options_.path); }
  uint64_t keep_free(const env::Space& space) const;
  void set_keep_free(uint64_t bytes, double share);
  Index& index() { return *index_; }
  // Code::corrupt when the index is damaged there: it is then rebuilt at the next start.
  Result<std::optional<IndexEntry>> find(const ShardId& shard);
  void index_damaged();
  // Code::corrupt for rot, Code::not_found when the segment is not there.
  // `from_disk`: also when it was read lately.
  Result<RecordHeader> read_header(const ShardId& shard, const Place& place, bool from_disk = false);
  // Leaves first..last (inclusive), checked against their sums.
  Result<Buffer> read_leaves(const RecordHeader& header, uint32_t first, uint32_t last);
  // As many leaf hashes as leaves, that give `root`: from the trailer, or computed. Code::corrupt.
  Result<content::MerkleTree> tree(const RecordHeader& header, const Hash& root);
  Result<Bytes> read_trailer(const Place& place);
  // Gives the blocks back, durably; true when the disk could punch.
  Result<bool> punch(const std::vector<Hole>& holes);
  Result<SegmentScanner> scanner(uint32_t segment);

 private:
  struct Commit;  // shard_log_commit.cpp
  struct ToScan {
    uint32_t number, from;
    bool last;
  };
  Status open_index();
  Status start_rebuild();
  void wipe_index_files();
  // A full disk costs the reserve: the index then goes on within it.
  Status write_index(const IndexBatch& batch, bool sync);
  void hold_reserve();
  void spend_reserve();
  std::string index_path() const { return options_.path + "/index"; }
  std::string reserve_path() const { return options_.path + "/reserve"; }
  std::string damage_path() const { return options_.path + "/index-damaged"; }
  void recount();
  void measure_index();
  void note_garbage();

  env::World world_;
  const Marker marker_;
  const Options options_;  // keep_free and its share: as of the opening
  std::atomic<uint64_t> keep_free_;
  std::atomic<double> keep_free_share_;
  const uint32_t segment_blocks_;
  SegmentFiles files_;
  std::unique_ptr<Index> index_;
  std::atomic<bool> damage_noted_ = false;
  std::mutex headers_mutex_;
  std::map<std::pair<uint32_t, uint32_t>, RecordHeader> headers_;  // by segment and block: what is streamed, read once

  // Changed by load, scan and commit only.
  IndexMeta meta_;
  std::map<uint32_t, SegmentInfo> segments_;
  std::optional<uint32_t> active_;
  uint64_t allocated_end_ = 0;  // of the active segment, bytes
  bool broken_ = false;
  bool rebuilding_ = false;
  bool has_reserve_ = false;
  std::vector<ToScan> to_scan_;
  std::optional<SegmentScanner> scanning_;
  LogTotals totals_;
  uint64_t bytes_since_checkpoint_ = 0;
  uint32_t records_since_checkpoint_ = 0;
};

}  // namespace cairn::store
