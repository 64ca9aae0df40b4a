#include <catch2/catch.hpp>

#include "base/crc32c.h"
#include "content/fixtures.h"
#include "content/merkle.h"
#include "content/pack.h"

namespace cairn::content {

namespace {

const VolumeKeys kKeys = test_keys();

struct Built {
  EncodedPack pack;
  std::vector<PackBuilder::Place> places;
};

Built finished(PackBuilder& builder, size_t chunks) {
  TestRandom random(99);
  auto pack = builder.finish(kKeys.volume, 5, test_writer(), random);
  REQUIRE(pack);
  Built built{.pack = std::move(*pack)};
  for (size_t i = 0; i < chunks; ++i) built.places.push_back(builder.place(i));
  return built;
}

// The bytes of the pack's layout: lane after lane.
Bytes layout_of(const EncodedPack& pack) {
  Bytes all;
  for (uint32_t i = 0; i < pack.header.geometry.k; ++i) append(all, pack.shards[i]);
  return all;
}

// Everything that holds for any pack.
void check_pack(const Built& built, uint32_t k, uint32_t m, PackLayout layout, const std::vector<Bytes>& chunks) {
  const EncodedPack& pack = built.pack;
  const PackGeometry& geometry = pack.header.geometry;
  REQUIRE(geometry.k == k);
  REQUIRE(geometry.m == m);
  REQUIRE(geometry.shard_length >= 1);
  REQUIRE(geometry.shard_length <= kMaxShardSize);
  CHECK(padme(geometry.shard_length) == geometry.shard_length);
  REQUIRE(pack.shards.size() == k + m);
  REQUIRE(pack.crcs.size() == k + m);
  for (uint32_t i = 0; i < k + m; ++i) {
    CHECK(pack.shards[i].size() == geometry.shard_length);
    CHECK(crc32c(pack.shards[i]) == pack.crcs[i]);
    CHECK(MerkleTree::over(pack.shards[i]).root() == pack.header.roots[i]);
  }
  const auto parsed = PackHeader::parse(pack.header.serialize());
  REQUIRE(parsed);
  CHECK(parsed->id == pack.header.id);

  // Chunks are where place() says, none over another, each in one lane, and zeros between them.
  Bytes left = layout_of(pack);
  REQUIRE(chunks.size() == built.places.size());
  uint64_t end_of_last = 0;
  for (size_t i = 0; i < chunks.size(); ++i) {
    const auto [offset, length] = built.places[i];
    REQUIRE(length == chunks[i].size());
    REQUIRE(offset >= end_of_last);
    end_of_last = uint64_t{offset} + length;
    REQUIRE(end_of_last <= left.size());
    CHECK(length <= geometry.shard_length);
    if (layout == PackLayout::lanes) {
      CHECK(offset / geometry.shard_length == (offset + length - 1) / geometry.shard_length);
    } else {
      CHECK(offset == (i == 0 ? 0 : built.places[i - 1].offset + built.places[i - 1].length));
    }
    CHECK(equal(ByteView(left).subspan(offset, length), chunks[i]));
    std::fill_n(left.begin() + offset, length, 0);
  }
  CHECK(std::ranges::all_of(left, [](uint8_t byte) { return byte == 0; }));

  // The parity is that of the code: slot 0 follows from the last k slots.
  if (m == 0) return;
  const auto code = erasure::Code::get(k, m);
  std::vector<erasure::Code::Present> present;
  for (uint32_t slot = m; slot < k + m; ++slot) present.push_back({slot, pack.shards[slot]});
  Bytes out(geometry.shard_length);
  REQUIRE(code->decode(present, 0, out));
  CHECK(equal(out, pack.shards[0]));
}

// Chunks of these sizes, added sealed; those that no longer fit are left out.
void check_sizes(uint32_t k, uint32_t m, PackLayout layout, const std::vector<size_t>& sizes) {
  PackBuilder builder(k, m, layout);
  std::vector<Bytes> chunks;
  uint64_t total = 0;
  for (const size_t size : sizes) {
    Bytes chunk = random_bytes(size, chunks.size() + 1);
    for (uint8_t& byte : chunk) byte |= 1;  // no zeros, so that padding shows
    const auto ticket = builder.add_sealed(chunk);
    if (!ticket) break;
    REQUIRE(*ticket == chunks.size());
    chunks.push_back(std::move(chunk));
    CHECK(builder.size() == (total += size));
  }
  const Built built = finished(builder, chunks.size());
  check_pack(built, k, m, layout, chunks);
}

constexpr std::array kLayouts = {PackLayout::lanes, PackLayout::contiguous};

}  // namespace

TEST_CASE("Padmé rounds up by at most 12 percent and keeps few bits") {
  CHECK(padme(0) == 0);
  CHECK(padme(1) == 1);
  CHECK(padme(9) == 10);
  CHECK(padme(1000) == 1024);
  CHECK(padme(1025) == 1088);  // 64 more: 4 bits of 11 stay
  CHECK(padme(kMaxShardSize) == kMaxShardSize);
  std::set<uint64_t> lengths;
  for (uint64_t length = 1; length <= kMaxShardSize; length += 1 + length / 300) {
    const uint64_t padded = padme(length);
    CHECK(padded >= length);
    CHECK((padded - length) * 100 <= length * 12);
    CHECK(padme(padded) == padded);
    lengths.insert(padded);
  }
  CHECK(lengths.size() < 400);
}

TEST_CASE("sealed chunks open from where the builder placed them") {
  for (const PackLayout layout : kLayouts) {
    for (const bool compressible : {false, true}) {
      PackBuilder builder(4, 2, layout);
      CHECK(builder.empty());
      TestRandom random(4);
      env::Prng prng(5);
      std::vector<std::pair<ChunkId, Bytes>> plains;
      for (int i = 0; i < 60; ++i) {
        const size_t size = prng.below(40'000);
        Bytes plain = compressible ? text_bytes(size, prng.next()) : random_bytes(size, prng.next());
        const ChunkId id = random.id<ChunkId>();
        const auto ticket = builder.add(kKeys, id, ChunkType::data, plain, 1, random);
        REQUIRE(ticket);
        CHECK(*ticket == plains.size());
        plains.emplace_back(id, std::move(plain));
      }
      CHECK_FALSE(builder.empty());
      const Built built = finished(builder, plains.size());
      const Bytes all = layout_of(built.pack);
      std::vector<Bytes> chunks;
      for (size_t i = 0; i < plains.size(); ++i) {
        const auto [offset, length] = built.places[i];
        chunks.push_back(to_bytes(ByteView(all).subspan(offset, length)));
        const auto opened = open_chunk(kKeys, plains[i].first, ChunkType::data, chunks.back());
        REQUIRE(opened);
        CHECK(*opened == plains[i].second);
      }
      check_pack(built, 4, 2, layout, chunks);
    }
  }
}

TEST_CASE("every code of the design's table builds packs of any size") {
  env::Prng prng(17);
  for (const auto& [k, m] : std::vector<std::pair<uint32_t, uint32_t>>{
           {1, 0}, {1, 1}, {1, 2}, {2, 2}, {4, 2}, {5, 3}, {8, 4}, {16, 8}, {3, 0}}) {
    for (const PackLayout layout : kLayouts) {
      INFO("k=" << k << " m=" << m << " contiguous=" << (layout == PackLayout::contiguous));
      check_sizes(k, m, layout, {1});
      check_sizes(k, m, layout, {100, 5000, 1});
      std::vector<size_t> sizes;
      for (int i = 0; i < 50; ++i) sizes.push_back(1 + prng.below(prng.chance(0.1) ? 60'000 : 900));
      check_sizes(k, m, layout, sizes);
    }
  }
}

TEST_CASE("a pack takes chunks up to its very last byte") {
  constexpr size_t kBig = kMaxChunkSize + kSealOverhead;
  for (const PackLayout layout : kLayouts) {
    for (const int delta : {-1, 0, 1}) {
      PackBuilder builder(2, 1, layout);
      std::vector<Bytes> chunks;
      const auto add = [&](size_t size) {
        Bytes chunk(size, static_cast<uint8_t>(chunks.size() + 1));
        if (!builder.add_sealed(chunk)) return false;
        chunks.push_back(std::move(chunk));
        return true;
      };
      // The first lane to its end, the second but for a rest.
      for (int i = 0; i < 3; ++i) REQUIRE(add(kBig));
      REQUIRE(add(kMaxShardSize - 3 * kBig));
      for (int i = 0; i < 3; ++i) REQUIRE(add(kBig));
      const size_t rest = kMaxShardSize - 3 * kBig;
      CHECK(add(rest + delta) == (delta <= 0));
      if (delta == 0) CHECK_FALSE(add(1));
      if (delta < 0) CHECK(add(1));
      const Built built = finished(builder, chunks.size());
      check_pack(built, 2, 1, layout, chunks);
      if (delta <= 0) CHECK(built.pack.header.geometry.shard_length == kMaxShardSize);
    }
  }
}

TEST_CASE("drive extents fill a pack without waste, 31 in each lane") {
  PackBuilder builder(4, 2);
  TestRandom random(1);
  const Bytes extent = random_bytes(kExtentSize, 3);
  size_t added = 0;
  while (builder.add(kKeys, random.id<ChunkId>(), ChunkType::data, extent, 1, random)) ++added;
  CHECK(added == 4 * 31);
  const Built built = finished(builder, added);
  const uint32_t length = built.pack.header.geometry.shard_length;
  CHECK(length >= 31 * (kExtentSize + kSealOverhead));
  CHECK(length - 31 * (kExtentSize + kSealOverhead) <= length / 32);
}

TEST_CASE("a chunk that fits only because it compresses is still added") {
  for (const PackLayout layout : kLayouts) {
    PackBuilder builder(1, 0, layout);
    TestRandom random(1);
    for (int i = 0; i < 3; ++i) REQUIRE(builder.add_sealed(Bytes(kMaxChunkSize + kSealOverhead, 1)));
    REQUIRE(builder.size() + kMaxChunkSize + kSealOverhead > kMaxShardSize);
    CHECK_FALSE(builder.add(kKeys, {}, ChunkType::data, random_bytes(kMaxChunkSize, 3), 1, random));
    CHECK(builder.add(kKeys, {}, ChunkType::data, Bytes(kMaxChunkSize, 'z'), 1, random));
    CHECK_FALSE(builder.add(kKeys, {}, ChunkType::data, random_bytes(kMaxChunkSize, 3), 1, random));
    const Built built = finished(builder, 4);
    const auto [offset, length] = built.places[3];
    const auto opened = open_chunk(kKeys, {}, ChunkType::data, ByteView(built.pack.shards[0]).subspan(offset, length));
    REQUIRE(opened);
    CHECK(*opened == Bytes(kMaxChunkSize, 'z'));
  }
}

TEST_CASE("lanes are about equally full, whatever the sizes of the chunks") {
  env::Prng prng(8);
  for (const uint64_t total : {100'000, 1'000'000, 5'000'000, 12'000'000, 16'000'000}) {
    PackBuilder builder(4, 2);
    std::vector<Bytes> chunks;
    size_t longest = 0;
    while (builder.size() < total) {
      Bytes chunk(1 + prng.below(20'000), 7);
      longest = std::max(longest, chunk.size());
      if (!builder.add_sealed(chunk)) break;
      chunks.push_back(std::move(chunk));
    }
    const uint64_t size = builder.size();
    const Built built = finished(builder, chunks.size());
    check_pack(built, 4, 2, PackLayout::lanes, chunks);
    // At most a chunk of waste per lane, Padmé's 12 % and the 1/16 that is not worth a copy.
    const uint64_t length = built.pack.header.geometry.shard_length;
    CHECK(length <= (size / 4 + longest) * 112 / 100 * 17 / 16 + 1);
  }
}

TEST_CASE("in a contiguous pack a place is final when its chunk is added") {
  PackBuilder builder(4, 2, PackLayout::contiguous);
  std::vector<PackBuilder::Place> early;
  for (size_t i = 0; i < 500; ++i) {
    const auto ticket = builder.add_sealed(Bytes(1 + i * 7 % 12'000, 1));
    REQUIRE(ticket);
    early.push_back(builder.place(*ticket));
  }
  const Built built = finished(builder, early.size());
  for (size_t i = 0; i < early.size(); ++i) {
    CHECK(built.places[i].offset == early[i].offset);
    CHECK(built.places[i].length == early[i].length);
  }
}

TEST_CASE("a pack of one small chunk is small") {
  for (const PackLayout layout : kLayouts) {
    PackBuilder builder(4, 2, layout);
    REQUIRE(builder.add_sealed(Bytes(4132, 1)));
    const Built built = finished(builder, 1);
    CHECK(built.pack.header.geometry.shard_length == padme(4132));
  }
}

TEST_CASE("an empty pack is refused") {
  PackBuilder builder(4, 2);
  TestRandom random(1);
  const auto pack = builder.finish(kKeys.volume, 1, test_writer(), random);
  REQUIRE_FALSE(pack);
  CHECK(pack.error().code == Code::bad_input);
}

TEST_CASE("packs of the same chunks have different IDs") {
  std::set<PackId> ids;
  TestRandom random(1);
  for (int i = 0; i < 3; ++i) {
    PackBuilder builder(2, 2);
    REQUIRE(builder.add_sealed(Bytes(100, 1)));
    ids.insert(builder.finish(kKeys.volume, 1, test_writer(), random)->header.id);
  }
  CHECK(ids.size() == 3);
}

}  // namespace cairn::content
