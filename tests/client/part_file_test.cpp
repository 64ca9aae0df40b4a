// A large file that is being restored, on a real disk: room that is made ahead, holes that stay holes, going on later.

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "catch2/catch.hpp"
#include "client/local_restore.h"
#include "env/random.h"
#include "os/disk.h"

namespace cairn::client {

namespace {

namespace fs = std::filesystem;

struct Place {
  Place() {
    std::string form = (fs::temp_directory_path() / "cairn-part-XXXXXX").string();
    REQUIRE(::mkdtemp(form.data()) != nullptr);
    folder = form;
  }
  ~Place() {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  std::string path() const { return (folder / "film").string(); }
  std::unique_ptr<PartFile> open(uint64_t size) {
    auto part = PartFile::open(disk, path(), (folder / "record").string(), size);
    REQUIRE(part);
    return std::move(*part);
  }
  // Bytes on the disk.
  uint64_t used(const fs::path& of) const {
    struct stat info {};
    REQUIRE(::stat(of.c_str(), &info) == 0);
    return static_cast<uint64_t>(info.st_blocks) * 512;
  }
  std::vector<fs::path> files() const {
    std::vector<fs::path> all;
    for (const auto& entry : fs::directory_iterator(folder)) all.push_back(entry.path());
    return all;
  }

  fs::path folder;
  os::PosixDisk disk{""};
};

constexpr uint64_t kSize = 600 * kMiB;
constexpr uint64_t kPiece = 1 * kMiB;

Buffer piece_of(uint64_t offset) {
  Buffer bytes(kPiece);
  env::Prng(offset + 1).fill(bytes.span());
  return bytes;
}

void add(PartFile& part, uint64_t offset) {
  if (!part.has_room(offset, offset + kPiece)) REQUIRE(part.make_room(offset, offset + kPiece));
  REQUIRE(part.write(offset, piece_of(offset)));
}

// Of the file as it is now: these pieces, and zeros elsewhere.
void check(const Place& place, uint64_t size, const std::set<uint64_t>& pieces) {
  REQUIRE(fs::file_size(place.path()) == size);
  std::ifstream file(place.path(), std::ios::binary);
  Bytes block(kPiece);
  const Bytes zeros(kPiece);
  for (uint64_t at = 0; at < size; at += kPiece) {
    const size_t length = std::min(kPiece, size - at);
    file.read(reinterpret_cast<char*>(block.data()), static_cast<std::streamsize>(length));
    REQUIRE(file);
    const ByteView got = ByteView(block).first(length);
    const bool right = pieces.contains(at) ? equal(got, piece_of(at)) : equal(got, ByteView(zeros).first(length));
    CAPTURE(at);
    REQUIRE(right);
  }
}

RestoredAttributes attributes(uint64_t size) {
  RestoredAttributes about;
  about.inode.size = size;
  about.inode.mode = 0600;
  about.inode.uid = ::geteuid();
  about.inode.gid = ::getegid();
  return about;
}

}  // namespace

TEST_CASE("a restored file takes no more of the disk than its bytes, wherever its holes are") {
  // Where data begins and ends, in MiB.
  using Islands = std::vector<std::pair<uint64_t, uint64_t>>;
  const auto islands = GENERATE(Islands{{0, 600}},                                // none
                                Islands{{0, 1}, {599, 600}},                      // nearly all of it
                                Islands{{20, 40}, {41, 60}, {300, 310}},          // at the begin, and at the end
                                Islands{{0, 257}, {258, 259}, {500, 600}},        // beyond the first step
                                Islands{{0, 100}},                                // only at the end
                                Islands{{0, 10}, {10, 20}, {200, 201}, {255, 258}});
  Place place;
  auto part = place.open(kSize);
  std::set<uint64_t> pieces;
  for (const auto& [begin, end] : islands) {
    for (uint64_t at = begin * kMiB; at < end * kMiB; at += kPiece) {
      add(*part, at);
      pieces.insert(at);
    }
  }
  REQUIRE(part->finish(attributes(kSize)));
  part.reset();
  check(place, kSize, pieces);
  CHECK(place.used(place.path()) <= pieces.size() * kPiece + 1 * kMiB);
  CHECK(place.files().size() == 1);
}

TEST_CASE("there is room ahead for the writes of a large file, and a small one grows as it is written") {
  Place place;
  auto large = place.open(kSize);
  add(*large, 0);
  const auto files = place.files();
  REQUIRE(files.size() == 1);
  CHECK(place.used(files[0]) >= kRoomStep);
  CHECK(large->has_room(kPiece, 2 * kPiece));
  CHECK_FALSE(large->has_room(2 * kPiece, kRoomStep + kPiece));
  large.reset();
  CHECK(place.files().empty());  // nothing of it was kept
  auto small = place.open(kResumableFile - 1);
  CHECK(small->has_room(0, kPiece));
  REQUIRE(small->write(0, piece_of(0)));
  CHECK(place.used(place.files()[0]) < 4 * kPiece);
}

TEST_CASE("a part that was kept is gone on with, and has no holes where there were none") {
  Place place;
  std::set<uint64_t> pieces;
  {
    auto part = place.open(kSize);
    for (uint64_t at = 0; at < 100 * kMiB; at += kPiece) {
      add(*part, at);
      pieces.insert(at);
    }
    CHECK(part->is_due(70 * kMiB));
    REQUIRE(part->keep(70 * kMiB));
    CHECK_FALSE(part->is_due(100 * kMiB));
  }
  auto part = place.open(kSize);
  REQUIRE(part->complete_up_to() == 70 * kMiB);
  for (uint64_t at = 70 * kMiB; at < kSize; at += kPiece) {
    add(*part, at);
    pieces.insert(at);
  }
  REQUIRE(part->finish(attributes(kSize)));
  check(place, kSize, pieces);
}

}  // namespace cairn::client
