#include "content/chunker.h"

#include <catch2/catch.hpp>

#include "base/units.h"
#include "content/fixtures.h"

namespace cairn::content {

namespace {

// The sizes of all chunks of `bytes`, which arrive in pieces of `piece()` bytes each; the last may be short.
template <class Piece>
std::vector<size_t> cuts_of(Chunker& chunker, ByteView bytes, Piece piece) {
  std::vector<size_t> sizes;
  size_t seen = 0;
  while (!bytes.empty()) {
    ByteView arrived = bytes.first(std::min<size_t>(bytes.size(), piece()));
    bytes = bytes.subspan(arrived.size());
    while (!arrived.empty()) {
      const auto cut = chunker.find_cut(arrived, seen);
      if (!cut) {
        seen += arrived.size();
        break;
      }
      REQUIRE(*cut <= arrived.size());
      sizes.push_back(seen + *cut);
      arrived = arrived.subspan(*cut);
      seen = 0;
    }
  }
  if (seen > 0) sizes.push_back(seen);
  return sizes;
}

std::vector<size_t> cuts_of(Chunker& chunker, ByteView bytes) {
  return cuts_of(chunker, bytes, [&] { return bytes.size(); });
}

constexpr CdcSizes kSizes = {.min = 2048, .average = 8192, .max = 32768};

std::vector<size_t> ends_of(const std::vector<size_t>& sizes) {
  std::vector<size_t> ends;
  size_t end = 0;
  for (const size_t size : sizes) ends.push_back(end += size);
  return ends;
}

}  // namespace

TEST_CASE("a fixed chunker cuts every so many bytes") {
  const auto chunker = make_fixed_chunker(1000);
  CHECK(chunker->max_size() == 1000);
  CHECK(cuts_of(*chunker, Bytes(2500)) == std::vector<size_t>{1000, 1000, 500});
  CHECK(cuts_of(*chunker, Bytes(2000)) == std::vector<size_t>{1000, 1000});
  CHECK(cuts_of(*chunker, Bytes(999)) == std::vector<size_t>{999});
  CHECK(cuts_of(*chunker, {}).empty());
}

TEST_CASE("the same bytes are cut at the same places however they arrive") {
  env::Prng prng(1);
  for (const bool keyed : {false, true}) {
    const auto make = [&] { return keyed ? make_keyed_chunker(key_of(3), kSizes) : make_fixed_chunker(5000); };
    for (const Bytes& bytes :
         {random_bytes(400'000, 4), text_bytes(300'000, 5), Bytes(200'000, 0), random_bytes(1, 6)}) {
      const auto whole = cuts_of(*make(), bytes);
      for (const uint64_t most : {3, 100, 3000, 9000, 100'000}) {
        const auto pieces = cuts_of(*make(), bytes, [&] { return prng.between(1, most); });
        CHECK(pieces == whole);
      }
      // One chunker for several files.
      const auto reused = make();
      CHECK(cuts_of(*reused, random_bytes(77'777, 9)).size() > 2);
      CHECK(cuts_of(*reused, bytes) == whole);
    }
  }
}

TEST_CASE("keyed chunks keep to their sizes") {
  for (const CdcSizes sizes : {kSizes, CdcSizes{65536, 262'144, 1 * kMiB}, CdcSizes{1, 256, 1024}}) {
    const auto chunker = make_keyed_chunker(key_of(3), sizes);
    CHECK(chunker->max_size() == sizes.max);
    const Bytes bytes = random_bytes(sizes.average * 200, 8);
    const auto cuts = cuts_of(*chunker, bytes);
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      CHECK(cuts[i] > sizes.min);
      CHECK(cuts[i] <= sizes.max);
    }
    const size_t mean = bytes.size() / cuts.size();
    CHECK(mean > sizes.average * 3 / 4);
    CHECK(mean < sizes.average * 3 / 2);
  }
}

TEST_CASE("bytes without change are cut at the maximum") {
  const auto chunker = make_keyed_chunker(key_of(3), kSizes);
  const auto cuts = cuts_of(*chunker, Bytes(kSizes.max * 3 + 5, 0));
  // A run of one byte gives one hash after 64 bytes: it is cut always or never.
  for (size_t i = 0; i + 1 < cuts.size(); ++i) CHECK(cuts[i] == cuts[0]);
}

TEST_CASE("an insertion moves only the cuts near it") {
  const auto chunker = make_keyed_chunker(key_of(3), kSizes);
  const Bytes before = random_bytes(1'000'000, 12);
  Bytes after = before;
  const Bytes inserted = random_bytes(37, 13);
  after.insert(after.begin() + 300'000, inserted.begin(), inserted.end());
  const auto old_ends = ends_of(cuts_of(*chunker, before));
  const auto new_ends = ends_of(cuts_of(*chunker, after));
  size_t kept = 0;
  for (const size_t end : old_ends) {
    const size_t moved = end <= 300'000 ? end : end + inserted.size();
    kept += std::ranges::binary_search(new_ends, moved) ? 1 : 0;
  }
  CHECK(old_ends.size() > 90);
  CHECK(old_ends.size() - kept <= 6);
}

TEST_CASE("another key cuts elsewhere") {
  const Bytes bytes = random_bytes(1'000'000, 12);
  const auto one = ends_of(cuts_of(*make_keyed_chunker(key_of(1), kSizes), bytes));
  const auto two = ends_of(cuts_of(*make_keyed_chunker(key_of(2), kSizes), bytes));
  std::vector<size_t> common;
  std::ranges::set_intersection(one, two, std::back_inserter(common));
  CHECK(common.size() <= 2);  // the end of the file is one
}

TEST_CASE("the format is frozen: cuts are where they were when it was laid down") {
  const auto chunker = make_keyed_chunker(key_of(3), kSizes);
  const auto cuts = cuts_of(*chunker, random_bytes(100'000, 42));
  CHECK(cuts == std::vector<size_t>{3868, 8676, 9440, 8814, 8239, 8504, 3218, 11370, 11345, 12723, 8440, 5363});
  CdcSizes sizes = kSizes;
  sizes.normalisation = 1;
  CHECK(cuts_of(*make_keyed_chunker(key_of(3), sizes), random_bytes(100'000, 42)) ==
        std::vector<size_t>{3868, 11743, 6497, 16929, 8504, 3218, 11370, 24068, 13803});
}

}  // namespace cairn::content
