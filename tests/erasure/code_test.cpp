#include "erasure/code.h"

#include <atomic>
#include <bit>
#include <catch2/catch.hpp>
#include <thread>

#include "base/limits.h"
#include "crypto/hash.h"
#include "env/random.h"

namespace cairn::erasure {

namespace {

// Shards of one length: k of random data, m of their parity.
std::vector<Bytes> encoded_shards(const Code& code, size_t length, uint64_t seed) {
  env::Prng prng(seed);
  std::vector<Bytes> shards(code.k() + code.m(), Bytes(length));
  for (uint32_t i = 0; i < code.k(); ++i) prng.fill(shards[i]);
  const std::vector<ByteView> data(shards.begin(), shards.begin() + code.k());
  const std::vector<MutableByteView> parity(shards.begin() + code.k(), shards.end());
  REQUIRE(code.encode(data, parity));
  return shards;
}

std::vector<Code::Present> present_range(const std::vector<Bytes>& shards, const std::vector<uint32_t>& slots,
                                         size_t offset, size_t length) {
  std::vector<Code::Present> present;
  for (const uint32_t slot : slots) present.push_back({slot, ByteView(shards[slot]).subspan(offset, length)});
  return present;
}

// Every lost slot comes back from the k slots in `slots`, over the byte range.
bool recovers(const Code& code, const std::vector<Bytes>& shards, const std::vector<uint32_t>& slots, size_t offset,
              size_t length) {
  const auto present = present_range(shards, slots, offset, length);
  for (uint32_t wanted = 0; wanted < code.k() + code.m(); ++wanted) {
    if (std::ranges::find(slots, wanted) != slots.end() && wanted != slots.front()) continue;
    Bytes out(length, 0xee);
    if (!code.decode(present, wanted, out)) return false;
    if (!equal(out, ByteView(shards[wanted]).subspan(offset, length))) return false;
  }
  return true;
}

uint64_t binomial(uint64_t n, uint64_t r) {
  uint64_t value = 1;
  for (uint64_t i = 1; i <= r; ++i) value = value * (n - r + i) / i;
  return value;
}

// The redundancy table of the design.
const std::vector<std::pair<uint32_t, uint32_t>> kTable = {{1, 0}, {1, 1}, {1, 2}, {2, 2},
                                                           {4, 2}, {5, 3}, {8, 4}, {16, 8}};

}  // namespace

TEST_CASE("every code of the design's table recovers from every pattern of m losses") {
  for (const auto& [k, m] : kTable) {
    INFO("k=" << k << " m=" << m);
    const auto code = Code::get(k, m);
    REQUIRE(code);
    const auto shards = encoded_shards(*code, 200, k * 100 + m);
    const uint64_t patterns = binomial(k + m, m);
    env::Prng prng(7);
    if (patterns <= 1000) {
      uint64_t tried = 0;
      for (uint32_t mask = 0; mask < 1U << (k + m); ++mask) {
        if (static_cast<uint32_t>(std::popcount(mask)) != k) continue;
        std::vector<uint32_t> slots;
        for (uint32_t slot = 0; slot < k + m; ++slot) {
          if ((mask >> slot & 1) != 0) slots.push_back(slot);
        }
        prng.shuffle(slots);  // the order in which shards arrive is nothing to rely on
        if (!recovers(*code, shards, slots, 0, 200)) FAIL("mask " << mask);
        ++tried;
      }
      CHECK(tried == patterns);
      continue;
    }
    for (int round = 0; round < 2000; ++round) {
      std::vector<uint32_t> slots(k + m);
      for (uint32_t i = 0; i < k + m; ++i) slots[i] = i;
      prng.shuffle(slots);
      slots.resize(k);
      if (!recovers(*code, shards, slots, 0, 200)) FAIL("random pattern " << round);
    }
  }
}

TEST_CASE("byte ranges at odd offsets and lengths are decoded from the same ranges of others") {
  env::Prng prng(11);
  for (const auto& [k, m] : kTable) {
    if (m == 0) continue;
    INFO("k=" << k << " m=" << m);
    const auto code = Code::get(k, m);
    REQUIRE(code);
    // Longer than one block of the library, so that ranges begin and end in different blocks.
    const size_t size = 150'001;
    const auto shards = encoded_shards(*code, size, k + m);
    for (int round = 0; round < 60; ++round) {
      const size_t offset = prng.below(size);
      const size_t most = prng.chance(0.7) ? 300 : size;
      const size_t length = prng.below(std::min(most, size - offset) + 1);
      std::vector<uint32_t> slots(k + m);
      for (uint32_t i = 0; i < k + m; ++i) slots[i] = i;
      prng.shuffle(slots);
      const uint32_t wanted = slots[k];
      slots.resize(k);
      Bytes out(length);
      REQUIRE(code->decode(present_range(shards, slots, offset, length), wanted, out));
      CHECK(equal(out, ByteView(shards[wanted]).subspan(offset, length)));
    }
  }
}

TEST_CASE("a shard's bytes depend on the same place of the other shards only") {
  const auto code = Code::get(5, 3);
  REQUIRE(code);
  const auto whole = encoded_shards(*code, 70'000, 3);
  for (const auto& [offset, length] :
       std::vector<std::pair<size_t, size_t>>{{0, 1}, {1, 63}, {65'535, 2}, {69'999, 1}}) {
    std::vector<ByteView> data;
    for (uint32_t i = 0; i < 5; ++i) data.push_back(ByteView(whole[i]).subspan(offset, length));
    std::vector<Bytes> parity(3, Bytes(length));
    REQUIRE(code->encode(data, std::vector<MutableByteView>(parity.begin(), parity.end())));
    for (uint32_t i = 0; i < 3; ++i) CHECK(equal(parity[i], ByteView(whole[5 + i]).subspan(offset, length)));
  }
}

TEST_CASE("the format is frozen: parity has the bytes it had when it was laid down") {
  // Data shard i holds 7 * i + 13 * j (mod 256) at byte j, 16 bytes long.
  const std::vector<std::tuple<uint32_t, uint32_t, std::string_view>> frozen = {
      {2, 2, "f6841287f8961476116bcdbb2f4130a98dfa630a741b9ef36ae6b4c5ab3f4924"},
      {4, 2, "a37d1c60eea63aead12e28d794bb30b1b65fff5d34077fbc58133cf525206a8c"},
      {5, 3, "aa76c91e645a15cbdc82a25e9de5b853219adfb5d41686d6e84381f1b57dcb2a62bae6ed96ed246cc23cc6eec4733648"},
      {8, 4,
       "d3c381cfcb5ab0cc0efb35709cba7b705c71d6b3fbbc44fd1bf3b50695e141b203029237c346166211f29d407439df14eb1feb4b6bec335"
       "52f1c79e105619b99"},
      {16, 8, "13b3ff3dd832f06e32a65d41673aaf31998c6d9912b14300d330f7b020ab90a0"},
      {20, 10, "fd3a5770ac12415d91a21c2e4f9e8c5ed6cd3374a89ffd8372da4d2d964a2775"},
      {31, 1, "68cdbb97f310d34f7c45b3a4e234a90a"},
  };
  for (const auto& [k, m, expected] : frozen) {
    INFO("k=" << k << " m=" << m);
    const auto code = Code::get(k, m);
    REQUIRE(code);
    std::vector<Bytes> shards(k + m, Bytes(16));
    for (uint32_t i = 0; i < k; ++i) {
      for (uint32_t j = 0; j < 16; ++j) shards[i][j] = static_cast<uint8_t>(7 * i + 13 * j);
    }
    REQUIRE(code->encode(std::vector<ByteView>(shards.begin(), shards.begin() + k),
                         std::vector<MutableByteView>(shards.begin() + k, shards.end())));
    std::string parity;
    for (uint32_t i = k; i < k + m; ++i) parity += to_hex(shards[i]);
    if (parity.size() > 128) parity = crypto::sha256(as_bytes(parity)).hex();
    CHECK(parity == expected);
  }
}

TEST_CASE("parity is that of the Cauchy matrix 1 / (i xor j) over GF(256) with polynomial 0x11d") {
  const auto multiply = [](uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (; b != 0; b >>= 1) {
      if ((b & 1) != 0) product ^= a;
      a = (a << 1) ^ ((a & 0x80) != 0 ? 0x11dU : 0U);
    }
    return product;
  };
  const auto inverse = [&](uint32_t a) {
    uint32_t x = 1;
    while (multiply(a, x) != 1) ++x;
    return x;
  };
  for (uint32_t k = 2; k < kMaxSlots; ++k) {
    for (uint32_t m = 1; k + m <= kMaxSlots; m += m < 4 ? 1 : 3) {
      const auto code = Code::get(k, m);
      REQUIRE(code);
      const auto shards = encoded_shards(*code, 5, k * 32 + m);
      for (uint32_t slot = k; slot < k + m; ++slot) {
        for (size_t byte = 0; byte < 5; ++byte) {
          uint32_t sum = 0;
          for (uint32_t j = 0; j < k; ++j) sum ^= multiply(inverse(slot ^ j), shards[j][byte]);
          if (sum != shards[slot][byte]) FAIL("k=" << k << " m=" << m << " slot=" << slot);
        }
      }
    }
  }
}

TEST_CASE("a code with one data shard is a plain copy") {
  const auto code = Code::get(1, 31);
  REQUIRE(code);
  const auto shards = encoded_shards(*code, 1000, 5);
  for (const Bytes& shard : shards) CHECK(shard == shards[0]);
}

TEST_CASE("empty shards and empty ranges are fine") {
  const auto code = Code::get(4, 2);
  REQUIRE(code);
  const auto shards = encoded_shards(*code, 0, 5);
  CHECK(code->decode(present_range(shards, {5, 1, 2, 3}, 0, 0), 0, {}));
}

TEST_CASE("what is no code is refused") {
  for (const auto& [k, m] : std::vector<std::pair<uint32_t, uint32_t>>{
           {0, 0}, {0, 4}, {33, 0}, {32, 1}, {1, 32}, {17, 16}, {0xffffffff, 1}, {1, 0xffffffff}, {0xffffffff, 2}}) {
    const auto code = Code::get(k, m);
    REQUIRE_FALSE(code);
    CHECK(code.error().code == cairn::Code::bad_input);
  }
}

TEST_CASE("wrong numbers, lengths and slots of shards are refused") {
  const auto code = Code::get(4, 2);
  REQUIRE(code);
  auto shards = encoded_shards(*code, 100, 6);
  Bytes out(100);
  const auto refused = [&](const std::vector<Code::Present>& present, uint32_t wanted) {
    const Status status = code->decode(present, wanted, out);
    return !status && status.error().code == cairn::Code::bad_input;
  };
  CHECK(refused(present_range(shards, {1, 2, 3}, 0, 100), 0));
  CHECK(refused(present_range(shards, {1, 2, 3, 4, 5}, 0, 100), 0));
  CHECK(refused(present_range(shards, {1, 2, 3, 3}, 0, 100), 0));
  CHECK(refused(present_range(shards, {1, 2, 3, 4}, 0, 99), 0));
  CHECK(refused(present_range(shards, {1, 2, 3, 4}, 0, 100), 6));
  auto unknown = present_range(shards, {1, 2, 3, 4}, 0, 100);
  unknown[0].slot = 6;
  CHECK(refused(unknown, 0));
  unknown[0].slot = 0x80000001;
  CHECK(refused(unknown, 0));

  const std::vector<ByteView> data(shards.begin(), shards.begin() + 4);
  const std::vector<MutableByteView> parity(shards.begin() + 4, shards.end());
  CHECK_FALSE(code->encode(std::vector<ByteView>(shards.begin(), shards.begin() + 3), parity));
  CHECK_FALSE(code->encode(data, {}));
  auto uneven = data;
  uneven[3] = uneven[3].first(99);
  CHECK_FALSE(code->encode(uneven, parity));
}

TEST_CASE("threads encode and decode at the same time") {
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([t, &good] {
      env::Prng prng(t);
      for (int round = 0; round < 40; ++round) {
        const auto k = static_cast<uint32_t>(prng.between(2, 9));
        const auto m = static_cast<uint32_t>(prng.between(1, 5));
        const auto code = Code::get(k, m);
        if (!code) return;
        std::vector<Bytes> shards(k + m, Bytes(prng.between(1, 30'000)));
        for (Bytes& shard : shards) shard.resize(shards[0].size());
        for (uint32_t i = 0; i < k; ++i) prng.fill(shards[i]);
        if (!code->encode(std::vector<ByteView>(shards.begin(), shards.begin() + k),
                          std::vector<MutableByteView>(shards.begin() + k, shards.end()))) {
          return;
        }
        std::vector<uint32_t> slots(k);
        for (uint32_t i = 0; i < k; ++i) slots[i] = i + 1;
        if (!recovers(*code, shards, slots, 0, shards[0].size())) return;
      }
      ++good;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(good == 4);
}

}  // namespace cairn::erasure
