#pragma once
// The files of a disk cache: records in segments, and the LevelDB that says what is where. Formats: CACHE.md.
//
// Every call blocks: make them from Workers, one at a time, but for read_record().

#include "base/ids.h"
#include "env/world.h"
#include "volume/drive/cache_limits.h"

namespace cairn::volume {

// A record: this header, the plaintext, zeros up to a multiple of kCacheAlign.
inline constexpr size_t kCacheHeader = 64;
inline uint64_t cache_record_size(uint64_t plain) {
  return (kCacheHeader + plain + kCacheAlign - 1) / kCacheAlign * kCacheAlign;
}
std::array<uint8_t, kCacheHeader> cache_record_header(const ChunkId& chunk, ByteView plain);

struct CacheRecord {
  ChunkId chunk;
  Buffer plain;
};
// The record that takes exactly this range. Code::corrupt when it is not whole.
Result<CacheRecord> read_record(env::File& file, uint64_t offset, uint64_t length);

enum class CacheQueue : uint8_t { probation = 0, main = 1 };

// What the store says of a segment.
struct CacheSegmentInfo {
  uint32_t number = 0;
  CacheQueue queue{};
  uint64_t order = 0;  // in its queue
  std::shared_ptr<env::File> file;
  uint64_t size = 0;
};
// Records that were written together, one after the other, from `offset` of a segment on.
struct CacheRun {
  uint32_t number = 0, offset = 0;
  std::vector<std::pair<ChunkId, uint32_t>> records;  // and the size of each
};

class CacheFiles {
 public:
  CacheFiles(env::World world, std::string folder) : world_(world), folder_(std::move(folder)) {}

  // Makes the folder and opens the store; segments by order. Files that the store does not know are removed. Errors:
  // overloaded (another has it open), corrupt (reset() helps), io.
  Result<std::vector<CacheSegmentInfo>> open();
  // Removes everything; then open().
  Status reset();
  // At most `limit` runs after the place of `after`, in order of segment and offset.
  Result<std::vector<CacheRun>> runs(const CacheRun* after, size_t limit);

  // A new segment, empty.
  Result<std::shared_ptr<env::File>> create(const CacheSegmentInfo& segment);
  // Appends a run of records and notes it. On failure nothing of it is noted.
  Status append(env::File& file, const CacheRun& run, std::span<const CacheRecord> records);
  Status note(const CacheSegmentInfo& segment);
  // `offsets`: of its runs.
  Status remove(uint32_t number, const std::vector<uint32_t>& offsets);

 private:
  std::string path(uint32_t number) const;
  Status remove_files(const std::string& folder);
  Result<std::vector<CacheSegmentInfo>> known();

  env::World world_;
  std::string folder_;
  std::unique_ptr<env::MetaStore> store_;
};

}  // namespace cairn::volume
