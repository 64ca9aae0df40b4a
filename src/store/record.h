#pragma once
// Records: how one shard lies in a segment (FORMAT.md, "Record"). Pure, no I/O.

#include <array>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "store/limits.h"

namespace cairn::store {

// Random bytes of this store that stand in each record and never leave the machine: nobody can send a shard whose
// payload looks like a record.
using Stamp = std::array<uint8_t, 16>;

// Where the payload begins in its record: large ones at a block of their own, so that they go between memory and disk
// without a copy; small ones behind the header, so that they take no block more.
constexpr uint32_t payload_start(uint32_t header_length, uint32_t payload_length) {
  if (payload_length < kBlockAlignedPayload) return header_length;
  return (header_length + kBlockSize - 1) / kBlockSize * kBlockSize;
}

// Where a shard lies, as the index keeps it. Blocks count from the segment's begin.
struct Place {
  uint32_t segment = 0;
  uint32_t block = 0;
  uint32_t blocks = 0;  // of the whole record
  uint32_t header_length = 0;
  uint32_t payload_length = 0;

  uint64_t offset() const { return uint64_t{block} * kBlockSize; }
  uint64_t payload_offset() const { return offset() + payload_start(header_length, payload_length); }
  uint64_t end() const { return offset() + uint64_t{blocks} * kBlockSize; }
  auto operator<=>(const Place&) const = default;
};

constexpr uint32_t leaf_count(uint32_t payload_length) {
  return payload_length == 0 ? 1 : (payload_length + kLeafSize - 1) / kLeafSize;
}
constexpr uint32_t trailer_blocks(uint32_t payload_length) {
  const uint32_t leaves = leaf_count(payload_length);
  return leaves <= kLeavesWithoutTrailer ? 0 : (leaves * 32 + kBlockSize - 1) / kBlockSize;
}

struct RecordHeader {
  ShardId shard;
  uint32_t segment = 0;
  uint32_t block = 0;
  uint32_t payload_length = 0;
  uint32_t payload_crc = 0;
  Bytes pack_header;  // wire.Signed
  std::vector<NodeId> siblings;
  std::vector<uint32_t> leaf_crcs;  // CRC-32C of each 64 KiB of the payload

  uint32_t header_length() const;
  uint32_t blocks() const;
  Place place() const { return {segment, block, blocks(), header_length(), payload_length}; }

  Bytes encode(const Stamp& stamp) const;
  // `raw` begins at the record and may go on behind the header. Code::corrupt when no whole header of this store for
  // this very place stands there; Code::too_large when `raw` is too short for it.
  static Result<RecordHeader> decode(ByteView raw, const Stamp& stamp, uint32_t segment, uint32_t block);
};

// True when the first bytes may be a record's, before anything is computed.
bool looks_like_record(ByteView raw, const Stamp& stamp);

// CRC-32C of each 64 KiB, and of all.
struct PayloadSums {
  std::vector<uint32_t> leaves;
  uint32_t whole = 0;
};
PayloadSums payload_sums(ByteView payload);

}  // namespace cairn::store
