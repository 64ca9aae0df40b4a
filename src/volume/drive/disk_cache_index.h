#pragma once
// DiskIndex: where the disk cache has a chunk, in 16 bytes an entry.
//
// A hash table with linear probing over the first 8 bytes of chunk IDs, which are random or a keyed hash. Two chunks
// with the same 8 bytes push each other out; records hold the whole ID, so that this can only make misses.

#include <vector>

#include "base/ids.h"
#include "volume/drive/cache_limits.h"

namespace cairn::volume {

class DiskIndex {
 public:
  using Print = uint64_t;  // never zero
  static Print print_of(const ChunkId& chunk);

  struct Entry {
    Print print = 0;
    uint64_t segment : 16 = 0;  // slot of a segment; kGhost: it was here lately
    uint64_t place : 20 = 0;    // in units of kCacheAlign
    uint64_t units : 16 = 0;    // that the record takes
    uint64_t uses : 2 = 0;      // reads since it came, at most 3
    uint64_t offset() const { return uint64_t{place} * kCacheAlign; }
    uint64_t length() const { return uint64_t{units} * kCacheAlign; }
    bool ghost() const { return segment == kGhost; }
  };
  static constexpr uint16_t kGhost = 0xffff;
  static constexpr uint64_t kMaxUses = 3;

  DiskIndex();
  // Valid until the next put() or erase().
  Entry* find(Print print);
  const Entry* find(Print print) const { return const_cast<DiskIndex*>(this)->find(print); }
  // Replaces what is there.
  void put(const Entry& entry);
  void erase(Print print);
  void clear();

  size_t size() const { return size_; }                                // with ghosts
  size_t memory() const { return table_.capacity() * sizeof(Entry); }  // bytes

 private:
  size_t home(Print print) const { return static_cast<size_t>(print) & (table_.size() - 1); }
  void grow();

  std::vector<Entry> table_;  // a power of two of them
  size_t size_ = 0;
};
static_assert(sizeof(DiskIndex::Entry) == 16);

}  // namespace cairn::volume
