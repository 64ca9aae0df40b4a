// Prng: the same numbers for ever, as every simulation's seed depends on them.

#include "env/random.h"

#include <catch2/catch.hpp>

namespace cairn::env {

TEST_CASE("xoshiro256** seeded by splitmix64 gives its known numbers") {
  // Computed with the authors' reference code (prng.di.unimi.it), state from splitmix64(seed).
  Prng zero(0);
  CHECK(zero.next() == 0x99ec5f36cb75f2b4ULL);
  CHECK(zero.next() == 0xbf6e1f784956452aULL);
  CHECK(zero.next() == 0x1a5f849d4933e6e0ULL);
  CHECK(zero.next() == 0x6aa594f1262d2d2cULL);
}

TEST_CASE("two generators of one seed agree, of two seeds differ") {
  Prng a(42);
  Prng b(42);
  Prng c(43);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint64_t value = a.next();
    CHECK(value == b.next());
    differs |= value != c.next();
  }
  CHECK(differs);
}

TEST_CASE("bounded numbers stay in their bounds and reach all of them evenly") {
  Prng prng(5);
  std::map<uint64_t, int> seen;
  for (int i = 0; i < 70'000; ++i) ++seen[prng.below(7)];
  REQUIRE(seen.size() == 7);
  CHECK(seen.rbegin()->first == 6);
  for (const auto& [value, count] : seen) CHECK(std::abs(count - 10'000) < 600);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = prng.between(3, 5);
    CHECK((value >= 3 && value <= 5));
    const double unit = prng.unit();
    CHECK((unit >= 0 && unit < 1));
  }
  CHECK(prng.below(1) == 0);
  CHECK_FALSE(prng.chance(0));
  CHECK(prng.chance(1));
}

TEST_CASE("fill fills every byte of any length, and shuffle keeps all items") {
  Prng prng(9);
  for (size_t size = 0; size < 40; ++size) {
    Bytes bytes(size + 1, 0xAB);
    Bytes all_set(size, 0);
    for (int round = 0; round < 12; ++round) {
      prng.fill(MutableByteView(bytes).first(size));
      for (size_t i = 0; i < size; ++i) all_set[i] |= bytes[i];
    }
    CHECK(bytes[size] == 0xAB);
    for (const uint8_t byte : all_set) CHECK(byte != 0);
  }
  std::vector<int> items{1, 2, 3, 4, 5, 6, 7, 8, 9};
  prng.shuffle(items);
  CHECK_FALSE(std::ranges::is_sorted(items));
  std::ranges::sort(items);
  CHECK(items == std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9});
}

}  // namespace cairn::env
