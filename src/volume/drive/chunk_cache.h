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

  struct Counters {
    uint64_t memory_hits = 0, disk_hits = 0, misses = 0;  // chunks
    uint64_t fetched_bytes = 0;                           // plaintext that came from the pool
    uint64_t disk_bytes = 0;                              // that the disk cache takes now
  };
  virtual Counters counters() const = 0;
};

// In memory only: the last `max_bytes` of plaintext.
std::unique_ptr<ChunkCache> make_memory_chunk_cache(env::World world, std::shared_ptr<ChunkReader> chunks,
                                                    size_t max_bytes);

}  // namespace cairn::volume
