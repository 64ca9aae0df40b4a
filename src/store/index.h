#pragma once
// The index of a store: what lies where, over env::MetaStore. It can be rebuilt from the segments. Calls block;
// thread-safe as the MetaStore is. Keys and values: FORMAT.md, "Index".

#include "env/meta_store.h"
#include "store/record.h"

namespace cairn::store {

struct IndexEntry {
  Place place;
  bool verified = false;
  bool operator==(const IndexEntry&) const = default;
};

// What is known of one segment. All counts but records in blocks.
struct SegmentInfo {
  uint32_t end = 0;         // the next record goes here
  uint32_t held = 0;        // blocks that the file still takes, without what is preallocated behind `end`
  uint32_t live = 0;        // blocks of shards that are held
  uint32_t records = 0;     // such shards
  uint32_t unverified = 0;  // of them
  bool sealed = false;      // nothing is appended any more
  bool operator==(const SegmentInfo&) const = default;
};

struct Hole {
  uint32_t segment = 0;
  uint32_t block = 0;
  uint32_t blocks = 0;
  auto operator<=>(const Hole&) const = default;
};

struct IndexMeta {
  StoreId id;
  uint32_t high_water = 0;  // the highest segment number that the index has ever known
  uint64_t corrupt = 0;     // shards found rotten since the store was made
};

// Changes that become durable together.
class IndexBatch {
 public:
  void put_shard(const ShardId& shard, const IndexEntry& entry);
  void remove_shard(const ShardId& shard);
  void put_unverified(const Place& place, const ShardId& shard);
  void remove_unverified(const Place& place);
  void put_hole(const Hole& hole);
  void remove_hole(const Hole& hole);
  void put_segment(uint32_t number, const SegmentInfo& info);
  void remove_segment(uint32_t number);
  void put_meta(const IndexMeta& meta);

  const env::WriteBatch& raw() const { return batch_; }
  bool empty() const { return batch_.empty(); }

 private:
  void put(const std::string& key, ByteView value);
  env::WriteBatch batch_;
};

class Index {
 public:
  explicit Index(std::unique_ptr<env::MetaStore> store) : store_(std::move(store)) {}

  // Every call: Code::corrupt when what stands there is not what was written.
  Result<std::optional<IndexEntry>> find(const ShardId& shard);
  Result<std::optional<IndexMeta>> meta();
  Result<std::map<uint32_t, SegmentInfo>> segments();
  // In the order of places, at most `limit`.
  Result<std::vector<Hole>> holes(size_t limit);
  Result<std::vector<Hole>> holes_of(uint32_t segment);
  // In the order of places, from this one on, at most `limit`.
  Result<std::vector<std::pair<Place, ShardId>>> unverified(uint32_t segment, uint32_t block, size_t limit);
  // In the order of IDs.
  Result<std::vector<ShardId>> shards(const std::optional<ShardId>& after, size_t limit);
  Result<std::vector<uint8_t>> slots_of(const PackId& pack);
  // Which of them are here; in their order one is next to the other.
  Result<std::vector<bool>> which(const std::vector<ShardId>& shards);
  // By slot, for each of these packs; neighbours cost least when they follow each other.
  using Entries = std::vector<std::pair<uint8_t, IndexEntry>>;
  Result<std::vector<Entries>> entries_of(const std::vector<PackId>& packs);

  Status write(const IndexBatch& batch, bool sync) { return store_->write(batch.raw(), sync); }
  // Removes every key.
  Status clear();

 private:
  std::unique_ptr<env::MetaStore> store_;
};

}  // namespace cairn::store
