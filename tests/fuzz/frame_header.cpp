// FrameHeader::decode: what passes is within its method's limits and encodes to the same bytes. Input: 24 bytes.

#include "fuzz/fuzz.h"
#include "wire/frame.h"
#include "wire/limits.h"

namespace cairn::fuzz {

void run_one(ByteView input) {
  if (input.size() < wire::kFrameHeaderSize) return;
  const auto raw = input.first<wire::kFrameHeaderSize>();
  const auto header = wire::FrameHeader::decode(raw);
  if (!header) return;
  CAIRN_ASSERT(header->body_length <= wire::kMaxGossipBody && header->payload_length <= kMaxShardSize);
  CAIRN_ASSERT(equal(header->encode(), raw));
}

std::vector<Bytes> seeds() {
  std::vector<Bytes> all;
  for (uint8_t kind = 0; kind <= 6; ++kind) {
    for (const uint8_t method : {0, 1, 2, 3, 10, 11, 20, 42}) {
      wire::FrameHeader header;
      header.kind = static_cast<wire::FrameKind>(kind);
      header.method = static_cast<wire::Method>(method);
      header.body_length = 100;
      const auto raw = header.encode();
      all.emplace_back(raw.begin(), raw.end());
    }
  }
  return all;
}

}  // namespace cairn::fuzz
