#pragma once
// ChunkCache: the bytes of committed extents: from memory, from the disk cache, else from the pool.
//
// Every chunk is immutable and its ID is unique, so nothing here ever goes stale. Strand only.

#include "volume/chunk_reader.h"

namespace cairn::volume {

class ChunkCache {
 public:
  virtual ~ChunkCache() = default;
  // The pieces of extents that are in packs, in the order given, cut as the extents are (offset and length in the
  // file). Pack records come from `items`. Several requests are under way at once; a chunk that is being fetched is
  // waited for, not fetched twice. Errors: too_few_peers, damaged, corrupt, timeout.
  virtual env::Task<Result<std::vector<FileReader::Piece>>> read(std::shared_ptr<ItemReader> items,
                                                                 std::vector<Extent> extents) = 0;
  // These are likely to be read next: fetched in the background, as far as there is room.
  virtual void prefetch(std::shared_ptr<ItemReader> items, std::vector<Extent> extents) = 0;
  // The plaintext of a chunk that this drive has just put into the pool.
  virtual void add(const ChunkId& chunk, Buffer plain) = 0;
  // The disk cache takes at most so much from now on; what is too much goes soon, in the background. Any time, cheap.
  virtual void set_disk_limit(uint64_t bytes) { (void)bytes; }
  // What waits to be written to the disk cache is written, so that the next drive finds it. Then only to be destroyed.
  virtual env::Task<Status> close() { co_return Status{}; }

  struct Counters {
    uint64_t memory_hits = 0, disk_hits = 0, misses = 0;  // chunks
    uint64_t fetched_bytes = 0;                           // plaintext that came from the pool
    uint64_t disk_bytes = 0;                              // that the disk cache takes now
  };
  virtual Counters counters() const = 0;
};

struct ChunkCacheOptions {
  size_t memory_bytes = 64 * kMiB;  // of plaintext kept in memory
  std::string folder;               // of the disk cache, made when it is not there; one cache at a time. Empty: none
  uint64_t disk_bytes = 10 * kGiB;  // that the folder takes at most
};

// Memory, disk cache, pool; usable at once. `chunks` and what it refers to outlive it. A folder that cannot be used
// only means that nothing is found in it (CACHE.md).
std::unique_ptr<ChunkCache> make_chunk_cache(env::World world, std::shared_ptr<ChunkReader> chunks,
                                             ChunkCacheOptions options);

}  // namespace cairn::volume
