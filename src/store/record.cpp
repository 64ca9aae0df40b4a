#include "store/record.h"

#include "base/crc32c.h"

namespace cairn::store {

namespace {

constexpr uint32_t kMagic = 0x52534E43;  // "CNSR"
constexpr uint16_t kVersion = 2;
constexpr size_t kFixed = 84;
constexpr size_t kSum = 4;

}  // namespace

uint32_t RecordHeader::header_length() const {
  return static_cast<uint32_t>(kFixed + pack_header.size() + siblings.size() * NodeId::kSize + leaf_crcs.size() * 4 +
                               kSum);
}

uint32_t RecordHeader::blocks() const {
  const uint32_t bytes = payload_start(header_length(), payload_length) + payload_length;
  return (bytes + kBlockSize - 1) / kBlockSize + trailer_blocks(payload_length);
}

Bytes RecordHeader::encode(const Stamp& stamp) const {
  Bytes out;
  out.reserve(header_length());
  append_le<uint32_t>(out, kMagic);
  append_le<uint16_t>(out, kVersion);
  out.push_back(shard.slot);
  out.push_back(0);
  append(out, stamp);
  append_le<uint32_t>(out, segment);
  append_le<uint32_t>(out, block);
  append_le<uint32_t>(out, header_length());
  append_le<uint32_t>(out, payload_length);
  append_le<uint32_t>(out, payload_crc);
  append_le<uint16_t>(out, static_cast<uint16_t>(pack_header.size()));
  append_le<uint16_t>(out, static_cast<uint16_t>(siblings.size()));
  append_le<uint16_t>(out, static_cast<uint16_t>(leaf_crcs.size()));
  append_le<uint16_t>(out, 0);
  append(out, shard.pack.view());
  append(out, pack_header);
  for (const NodeId& sibling : siblings) append(out, sibling.view());
  for (const uint32_t crc : leaf_crcs) append_le<uint32_t>(out, crc);
  append_le<uint32_t>(out, crc32c(out));
  CAIRN_ASSERT(out.size() == header_length());
  return out;
}

bool looks_like_record(ByteView raw, const Stamp& stamp) {
  return raw.size() >= kFixed && read_le<uint32_t>(raw.data()) == kMagic && equal(raw.subspan(8, stamp.size()), stamp);
}

Result<RecordHeader> RecordHeader::decode(ByteView raw, const Stamp& stamp, uint32_t segment, uint32_t block) {
  if (!looks_like_record(raw, stamp)) return fail(Code::corrupt, "no record stands here");
  const uint8_t* at = raw.data();
  const auto total = read_le<uint32_t>(at + 32);
  if (total < kFixed + kSum || total > kMaxRecordHeader) return fail(Code::corrupt, "record header length");
  if (total > raw.size()) return fail(Code::too_large, "record header goes on");
  if (crc32c(raw.first(total - kSum)) != read_le<uint32_t>(at + total - kSum)) {
    return fail(Code::corrupt, "record header checksum");
  }
  if (read_le<uint16_t>(at + 4) != kVersion) return fail(Code::corrupt, "record version");

  RecordHeader header;
  header.shard.slot = at[6];
  header.segment = read_le<uint32_t>(at + 24);
  header.block = read_le<uint32_t>(at + 28);
  header.payload_length = read_le<uint32_t>(at + 36);
  header.payload_crc = read_le<uint32_t>(at + 40);
  const size_t pack_length = read_le<uint16_t>(at + 44);
  const size_t siblings = read_le<uint16_t>(at + 46);
  const size_t leaves = read_le<uint16_t>(at + 48);
  std::memcpy(header.shard.pack.bytes.data(), at + 52, PackId::kSize);
  if (header.segment != segment || header.block != block) return fail(Code::corrupt, "a record of another place");
  if (header.payload_length > kMaxShardSize || leaves != leaf_count(header.payload_length) ||
      kFixed + pack_length + siblings * NodeId::kSize + leaves * 4 + kSum != total) {
    return fail(Code::corrupt, "record lengths");
  }
  at += kFixed;
  header.pack_header.assign(at, at + pack_length);
  at += pack_length;
  header.siblings.resize(siblings);
  for (NodeId& sibling : header.siblings) {
    std::memcpy(sibling.bytes.data(), at, NodeId::kSize);
    at += NodeId::kSize;
  }
  header.leaf_crcs.resize(leaves);
  for (uint32_t& crc : header.leaf_crcs) {
    crc = read_le<uint32_t>(at);
    at += 4;
  }
  return header;
}

PayloadSums payload_sums(ByteView payload) {
  PayloadSums sums;
  sums.leaves.reserve(leaf_count(static_cast<uint32_t>(payload.size())));
  do {
    const ByteView leaf = payload.first(std::min<size_t>(kLeafSize, payload.size()));
    sums.leaves.push_back(crc32c(leaf));
    sums.whole = crc32c(leaf, sums.whole);  // again, from the first-level cache
    payload = payload.subspan(leaf.size());
  } while (!payload.empty());
  return sums;
}

}  // namespace cairn::store
