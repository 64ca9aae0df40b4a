#pragma once
// Finds the records in a segment without the index: after a crash behind the index's end, or to rebuild the index.

#include "env/disk.h"
#include "store/record.h"

namespace cairn::store {

// Steps over what is no whole record (holes, torn writes, rot) block by block. Calls block.
class SegmentScanner {
 public:
  // From block `from` to the end of the file. check_payload: a record counts only when its payload's CRC fits.
  static Result<SegmentScanner> open(std::shared_ptr<env::File> file, uint32_t number, uint32_t from,
                                     const Stamp& stamp, bool check_payload);

  // The next record, or nothing: at the end, or when `budget` (bytes to read) is used up.
  Result<std::optional<RecordHeader>> next(uint64_t& budget);
  bool at_end() const { return position_ >= end_; }
  uint32_t number() const { return number_; }
  env::File& file() { return *file_; }

 private:
  SegmentScanner() = default;
  // Up to kMaxRecordHeader bytes at the position, out of the window.
  Result<ByteView> look(uint64_t& budget);
  Result<bool> payload_fits(const RecordHeader& header, uint64_t& budget);

  std::shared_ptr<env::File> file_;
  uint32_t number_ = 0;
  uint32_t position_ = 0;  // blocks
  uint32_t end_ = 0;       // blocks
  uint64_t size_ = 0;      // bytes
  Stamp stamp_{};
  bool check_payload_ = false;
  Bytes window_;
  uint64_t window_offset_ = 0;
};

}  // namespace cairn::store
