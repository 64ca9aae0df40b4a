// PackHeader::parse over raw bytes, and over bodies that are signed so that the checks behind the signature are
// reached. Input: 0 signed-message | 1 body

#include "content/fixtures.h"
#include "content/limits.h"
#include "content/pack.h"
#include "fuzz/fuzz.h"

namespace cairn::fuzz {

namespace {

using content::PackHeader;

PackHeader header_of(uint32_t k, uint32_t m) {
  content::TestRandom random(k);
  std::vector<Hash> roots(k + m);
  for (Hash& root : roots) root = random.id<Hash>();
  return PackHeader::sign(random.id<VolumeId>(), {.k = k, .m = m, .shard_length = 4096}, roots, 9, {},
                          content::test_writer());
}

void check(ByteView message) {
  const auto header = PackHeader::parse(message);
  if (!header) return;
  const auto& [k, m, length] = header->geometry;
  CAIRN_ASSERT(k >= 1 && k + m <= kMaxSlots && length >= 1 && length <= kMaxShardSize);
  CAIRN_ASSERT(header->roots.size() == k + m);
  const Bytes again = header->serialize();
  CAIRN_ASSERT(again.size() <= content::kMaxPackHeaderSize);
  const auto second = PackHeader::parse(again);
  CAIRN_ASSERT(second && second->id == header->id && second->geometry == header->geometry);
}

}  // namespace

void run_one(ByteView input) {
  if (input.empty()) return;
  if (input[0] % 2 == 0) {
    check(input.subspan(1));
    return;
  }
  static const crypto::PrivateKey writer = content::test_writer();
  PackHeader header;
  header.body = to_bytes(input.subspan(1));
  const auto signature = writer.sign("cairn/v1/pack", header.body);
  header.signature.assign(signature.begin(), signature.end());
  header.writer_key = writer.public_key();
  check(header.serialize());
}

std::vector<Bytes> seeds() {
  std::vector<Bytes> all;
  for (const auto& [k, m] : std::vector<std::pair<uint32_t, uint32_t>>{{1, 0}, {4, 2}, {16, 8}, {20, 12}}) {
    const PackHeader header = header_of(k, m);
    Bytes raw = {0};
    append(raw, header.serialize());
    all.push_back(std::move(raw));
    Bytes body = {1};
    append(body, header.body);
    all.push_back(std::move(body));
  }
  return all;
}

}  // namespace cairn::fuzz
