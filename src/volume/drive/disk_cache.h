#pragma once
// DiskCache: plaintext of chunks in segment files on the local disk, within a limit.
//
// Written behind, without syncs, and read with a checksum: what a crash tore or the disk lost is a miss. Two queues of
// segments, each first in, first out: a new chunk goes to probation; what was read again when its segment's turn to go
// has come moves to the main queue, where each read gives it one more round (as S3-FIFO does). Loaded in the
// background: until then it finds nothing. Every failure only makes misses. Strand only.

#include <deque>
#include <unordered_map>

#include "volume/drive/disk_cache_files.h"
#include "volume/drive/disk_cache_index.h"

namespace cairn::volume {

class DiskCache {
 public:
  DiskCache(env::World world, std::string folder, uint64_t limit);
  ~DiskCache();
  DiskCache(const DiskCache&) = delete;
  DiskCache& operator=(const DiskCache&) = delete;

  // Takes it, to be written behind; not when it is there or too much waits.
  void put(const ChunkId& chunk, Buffer plain);
  // Whether read() may find it.
  bool has(const ChunkId& chunk) const;
  // In the order asked for; nothing for what is not there or not whole.
  env::Task<std::vector<std::optional<Buffer>>> read(std::vector<ChunkId> chunks);
  // It was read again, though not from here.
  void touch(const ChunkId& chunk);

  void set_limit(uint64_t bytes);
  // Until what waits is written.
  env::Task<Status> close();

  struct Counters {
    uint64_t bytes = 0;                 // of segments
    uint64_t chunks = 0;                // that the index has
    uint64_t written = 0, moved = 0;    // records; moved: that stayed when their segment went
    uint64_t dropped = 0, damaged = 0;  // dropped: not written because too much waited or the disk failed
    size_t memory = 0;                  // bytes of the index and its lists
    bool loaded = false;
  };
  Counters counters() const;

 private:
  using Print = DiskIndex::Print;
  struct Segment {
    CacheSegmentInfo info;
    std::vector<Print> prints;      // of its records, also of what is no longer looked for there
    std::vector<uint32_t> offsets;  // of its runs
    bool used = false;              // the slot
  };
  struct Queue {
    std::deque<uint16_t> slots;  // oldest first
    uint64_t bytes = 0;
    bool growing = false;  // the youngest is still written to
  };

  env::Task<void> run();
  env::Task<Status> load();
  env::Task<Status> write_queue();
  env::Task<Status> append(CacheQueue queue, std::vector<CacheRecord> records, std::vector<uint64_t> uses);
  env::Task<Result<uint16_t>> segment_for(CacheQueue queue, uint64_t bytes);
  env::Task<Status> evict();
  env::Task<Status> keep_whole(uint16_t slot);
  env::Task<Status> move_survivors(uint16_t slot);
  env::Task<Status> remove(uint16_t slot);
  env::Task<void> failed(Error error);

  Queue& queue(CacheQueue which) { return queues_[static_cast<size_t>(which)]; }
  uint16_t add_segment(CacheSegmentInfo info);
  void add_record(uint16_t slot, Print print, uint64_t offset, uint64_t length, uint64_t uses);
  void erase(Print print, bool leave_ghost);
  void drop_waiting();
  void forget_all();
  uint64_t bytes() const { return queues_[0].bytes + queues_[1].bytes; }
  uint64_t segment_bytes() const;
  bool too_much() const;
  bool paused() const { return world_.clock.now() < pause_until_; }

  env::World world_;
  uint64_t limit_;
  CacheFiles files_;
  DiskIndex index_;
  std::vector<Segment> segments_;  // by slot
  Queue queues_[2];
  std::deque<Print> ghosts_;  // oldest first; some of them have come back since
  size_t live_ = 0;           // entries of the index that are no ghosts
  uint32_t next_number_ = 1;
  uint64_t next_order_ = 1;

  std::deque<ChunkId> waiting_;  // to be written
  std::unordered_map<ChunkId, Buffer> waiting_bytes_;
  uint64_t queued_ = 0;

  bool loaded_ = false, closing_ = false, unusable_ = false, busy_ = false;
  Time pause_until_{};
  Counters counters_;
  env::Signal changed_;
  env::TaskGroup group_;  // last: its tasks use the others
};

}  // namespace cairn::volume
