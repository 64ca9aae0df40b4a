// A large file that is being restored, on a real disk: room that is made ahead, holes that stay holes, going on later.

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "client/local_restore.h"
#include "env/random.h"
#include "os/disk.h"
#include "os/temporary_folder.h"

namespace cairn::client {

namespace {

namespace fs = std::filesystem;

struct Place {
  std::string path() const { return (folder / "film").string(); }
  std::unique_ptr<PartFile> open(uint64_t size, const std::string& version = "A") {
    auto part = PartFile::open(disk, path(), {.path = (folder / "record").string(), .key = version}, size);
    REQUIRE(part);
    return std::move(*part);
  }
  // Bytes on the disk.
  uint64_t used(const fs::path& of) const {
    struct stat info{};
    REQUIRE(::stat(of.c_str(), &info) == 0);
    return static_cast<uint64_t>(info.st_blocks) * 512;
  }
  std::vector<fs::path> files() const {
    std::vector<fs::path> all;
    for (const auto& entry : fs::directory_iterator(folder)) all.push_back(entry.path());
    return all;
  }

  os::TemporaryFolder temporary;
  const fs::path folder = temporary.path();
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
  if (!part.take_on(offset, offset + kPiece)) REQUIRE(part.make_room(offset, offset + kPiece));
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
  const auto islands = GENERATE(Islands{{0, 600}},                          // none
                                Islands{{0, 1}, {599, 600}},                // nearly all of it
                                Islands{{20, 40}, {41, 60}, {300, 310}},    // at the begin, and at the end
                                Islands{{0, 257}, {258, 259}, {500, 600}},  // beyond the first step
                                Islands{{0, 100}},                          // only at the end
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
  CHECK(large->take_on(kPiece, 2 * kPiece));
  CHECK_FALSE(large->take_on(2 * kPiece, kRoomStep + kPiece));
  large.reset();
  CHECK(place.files().empty());  // nothing of it was kept
  auto small = place.open(kResumableFile - 1);
  CHECK(small->take_on(0, kPiece));
  REQUIRE(small->write(0, piece_of(0)));
  CHECK(place.used(place.files()[0]) < 4 * kPiece);
}

namespace {
// The first 100 MiB, of which 70 are kept.
void begin(Place& place, const std::string& version) {
  auto part = place.open(kSize, version);
  REQUIRE(part->complete_up_to() == 0);
  for (uint64_t at = 0; at < 100 * kMiB; at += kPiece) add(*part, at);
  CHECK(part->is_due(70 * kMiB));
  REQUIRE(part->keep(70 * kMiB));
  CHECK_FALSE(part->is_due(100 * kMiB));
}
}  // namespace

TEST_CASE("a part that was kept is gone on with, and what comes next may be a hole") {
  Place place;
  begin(place, "A");
  const uint64_t next = GENERATE(70, 90, 200, 599) * kMiB;
  auto part = place.open(kSize);
  REQUIRE(part->complete_up_to() == 70 * kMiB);
  std::set<uint64_t> pieces;
  for (uint64_t at = 0; at < 70 * kMiB; at += kPiece) pieces.insert(at);
  for (uint64_t at = next; at < kSize; at += kPiece) {
    add(*part, at);
    pieces.insert(at);
  }
  REQUIRE(part->finish(attributes(kSize)));
  check(place, kSize, pieces);
  CHECK(place.used(place.path()) <= pieces.size() * kPiece + 1 * kMiB);
}

TEST_CASE("a record speaks of nothing but the part that is there") {
  Place place;
  begin(place, "A");
  const auto only_part = [&] {
    for (const auto& file : place.files()) {
      if (file.filename() != "record") return file;
    }
    return fs::path();
  };
  SECTION("another version was begun in its place") {
    begin(place, "B");
    CHECK(place.open(kSize, "A")->complete_up_to() == 0);
  }
  SECTION("another version was begun and nothing of it kept") {
    auto other = place.open(kSize, "B");
    add(*other, 0);  // the file has its full length at once
    CHECK_FALSE(fs::exists(place.folder / "record"));
  }
  SECTION("the part is gone, and what was begun anew was not kept") {
    fs::remove(only_part());
    auto again = place.open(kSize, "A");
    REQUIRE(again->complete_up_to() == 0);
    add(*again, 0);
    CHECK_FALSE(fs::exists(place.folder / "record"));
  }
  SECTION("the part was cut") {
    fs::resize_file(only_part(), 60 * kMiB);
    CHECK(place.open(kSize, "A")->complete_up_to() == 0);
    CHECK_FALSE(fs::exists(place.folder / "record"));
  }
}

}  // namespace cairn::client
