#include "volume/drive/staged.h"

namespace cairn::volume {

namespace {

constexpr std::string_view kMark{"staged\0\0", 8};

void put_u64(uint8_t* at, uint64_t value) {
  for (int i = 0; i < 8; ++i) at[i] = static_cast<uint8_t>(value >> (8 * i));
}
uint64_t get_u64(const uint8_t* at) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | at[i];
  return value;
}

}  // namespace

ChunkId staged_chunk(StagedPlace place) {
  ChunkId id;
  std::memcpy(id.bytes.data(), kMark.data(), kMark.size());
  put_u64(id.bytes.data() + 8, place.segment);
  put_u64(id.bytes.data() + 16, place.offset);
  put_u64(id.bytes.data() + 24, 0);
  return id;
}

std::optional<StagedPlace> staged_place(const Extent& extent) {
  if (!extent.pack.is_zero()) return std::nullopt;
  if (std::memcmp(extent.chunk.bytes.data(), kMark.data(), kMark.size()) != 0) return std::nullopt;
  return StagedPlace{get_u64(extent.chunk.bytes.data() + 8),
                     get_u64(extent.chunk.bytes.data() + 16) + extent.chunk_offset};
}

}  // namespace cairn::volume
