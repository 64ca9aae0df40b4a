// What decodings left over: found in part, across ranges, and bounded.
#include "pool/proven_ranges.h"

#include <catch2/catch.hpp>
#include <numeric>

namespace cairn::pool {

TEST_CASE("a proven range is found whole, in part and across its neighbours, and nothing beyond them") {
  Bytes lane(1000);
  std::iota(lane.begin(), lane.end(), uint8_t{0});
  const auto part = [&](uint32_t offset, uint32_t length) {
    return Buffer::copy_of(ByteView(lane).subspan(offset, length));
  };
  PackId pack;
  pack.bytes[0] = 1;
  ProvenRanges ranges(10'000);
  ranges.put(pack, 2, 100, part(100, 100));
  ranges.put(pack, 2, 180, part(180, 120));  // overlaps
  ranges.put(pack, 2, 300, part(300, 100));  // follows
  ranges.put(pack, 2, 500, part(500, 100));  // beyond a gap
  ranges.put(pack, 3, 400, part(400, 100));  // of another lane
  for (const auto& [offset, length] :
       {std::pair{100U, 100U}, {150U, 20U}, {100U, 300U}, {190U, 150U}, {399U, 1U}, {500U, 100U}}) {
    INFO(offset << " " << length);
    const auto found = ranges.find(pack, 2, offset, length);
    REQUIRE(found);
    REQUIRE(equal(*found, part(offset, length)));
  }
  for (const auto& [offset, length] :
       {std::pair{99U, 10U}, {100U, 301U}, {400U, 1U}, {390U, 120U}, {599U, 2U}, {0U, 1000U}}) {
    INFO(offset << " " << length);
    REQUIRE_FALSE(ranges.find(pack, 2, offset, length));
  }
  REQUIRE_FALSE(ranges.find(PackId{}, 2, 100, 10));
  REQUIRE_FALSE(ranges.find(pack, 1, 100, 10));
}

TEST_CASE("proven ranges keep their limit; the oldest go first") {
  PackId pack;
  ProvenRanges ranges(1000);
  for (uint32_t i = 0; i < 20; ++i) ranges.put(pack, 0, i * 100, Buffer(100));
  REQUIRE_FALSE(ranges.find(pack, 0, 900, 100));
  REQUIRE(ranges.find(pack, 0, 1000, 1000));
  ranges.put(pack, 1, 0, Buffer(5000));  // more than the limit: not kept
  REQUIRE_FALSE(ranges.find(pack, 1, 0, 100));
}

}  // namespace cairn::pool
