#pragma once
// MemoryTier: plaintext of chunks in memory, within a limit.
//
// Two queues, each first in, first out: a new chunk goes to the fresh one; what was read again when its turn to go has
// come moves to the main one, where that gives it one more round. "Again" means bytes that were read before: who reads
// a chunk in small pieces from its beginning to its end reads it once. Strand only; nothing waits.

#include <list>
#include <unordered_map>

#include "base/ids.h"
#include "volume/drive/cache_limits.h"

namespace cairn::volume {

class MemoryTier {
 public:
  explicit MemoryTier(size_t max_bytes) : max_bytes_(max_bytes) {}

  struct Hit {
    Buffer plain;        // the whole chunk
    bool again = false;  // the range was read before
  };
  // Nothing when the chunk is not there. The range only tells what is read; it may lie beyond the chunk.
  std::optional<Hit> read(const ChunkId& chunk, uint32_t offset, uint32_t length);
  bool has(const ChunkId& chunk) const { return places_.contains(chunk); }
  // `ahead`: nobody has asked for it yet.
  void put(const ChunkId& chunk, Buffer plain, std::optional<Time> ahead = {});

  size_t bytes() const { return fresh_.bytes + main_.bytes; }
  // Of chunks that were put ahead and not read since.
  size_t ahead_bytes() const { return ahead_bytes_; }
  // Those put ahead before `time` count no longer.
  void forget_ahead(Time time);

 private:
  struct Entry {
    ChunkId chunk;
    Buffer plain;
    uint32_t read_to = 0;  // end of what was read
    bool again = false;
    std::optional<Time> ahead;
  };
  struct Queue {
    std::list<Entry> entries;  // oldest first
    size_t bytes = 0;
  };
  static size_t cost(const Entry& entry) { return entry.plain.size() + kMemoryEntry; }
  void evict();
  void no_longer_ahead(Entry& entry);

  size_t max_bytes_;
  size_t ahead_bytes_ = 0;
  Queue fresh_, main_;
  std::unordered_map<ChunkId, std::list<Entry>::iterator> places_;
};

}  // namespace cairn::volume
