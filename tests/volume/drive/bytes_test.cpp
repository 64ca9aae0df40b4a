// Bytes of files: what is written is read, wherever it lies.

#include "volume/drive/drive_helpers.h"

namespace cairn::volume {
namespace {

using test::DriveFs;
using test::random_bytes;

std::string random_text(size_t size, uint64_t seed) {
  return to_string(ByteView(random_bytes(size, seed)));
}

TEST_CASE("a short file is inline, and moves to the staging area when it grows") {
  DriveFs t;
  const auto handle = t.create("/f");
  t.write(handle, 0, "hello");
  t.write(handle, 10, "world");
  CHECK(t.read(handle, 0, 100) == std::string("hello\0\0\0\0\0world", 15));
  CHECK(t.world.staging.appends == 0);
  const std::string long_text = random_text(5000, 1);
  t.write(handle, 10, long_text);
  CHECK(t.read(handle, 0, 10'000) == std::string("hello\0\0\0\0\0", 10) + long_text);
  CHECK(t.extents("/f").size() == 1);
  t.check();
  t.world.commit();
  CHECK(t.read(handle, 0, 10'000) == std::string("hello\0\0\0\0\0", 10) + long_text);
  CHECK(t.world.staging.used_bytes() == 0);
  t.check();
}

TEST_CASE("a stream of small writes makes one extent for each 128 KiB") {
  DriveFs t;
  t.world.staging.segment_size = 64 * kMiB;
  const auto handle = t.create("/f");
  const std::string text = random_text(1'000'000, 2);
  for (size_t at = 0; at < text.size(); at += 4096) t.write(handle, at, text.substr(at, 4096));
  CHECK(t.extents("/f").size() == 8);
  CHECK(t.read(handle, 0, 2'000'000) == text);
  t.check();
  t.world.commit();
  CHECK(t.extents("/f").size() == 8);
  CHECK(t.read(handle, 0, 2'000'000) == text);
  CHECK(t.read(handle, 131'000, 300'000) == text.substr(131'000, 300'000));
}

TEST_CASE("overwrites, holes and truncation show no old bytes, committed or not") {
  for (const bool commit : {false, true}) {
    DriveFs t;
    const auto handle = t.create("/f");
    std::string text = random_text(700'000, 3);
    t.write(handle, 0, text);
    if (commit) t.world.commit();
    const std::string patch = random_text(200'000, 4);
    t.write(handle, 100'001, patch);
    text.replace(100'001, patch.size(), patch);
    CHECK(t.read(handle, 0, 1'000'000) == text);
    if (commit) t.world.commit();
    REQUIRE(t.truncate("/f", 250'000) == 0);
    REQUIRE(t.truncate("/f", 800'000) == 0);
    text.resize(250'000);
    text.resize(800'000);
    CHECK(t.read(handle, 0, 1'000'000) == text);
    t.must(t.fs().allocate(handle, kFallocatePunchHole | kFallocateKeepSize, 50'000, 100'000));
    std::fill_n(text.begin() + 50'000, 100'000, '\0');
    CHECK(t.read(handle, 0, 1'000'000) == text);
    CHECK(t.must(t.fs().seek_hole(t.id("/f"), 0)) == 50'000);
    CHECK(t.must(t.fs().seek_data(t.id("/f"), 50'000)) == 150'000);
    CHECK(t.must(t.fs().seek_hole(t.id("/f"), 150'000)) == 250'000);
    CHECK(t.error_of(t.fs().seek_data(t.id("/f"), 250'000)) == ENXIO);
    CHECK(t.error_of(t.fs().seek_hole(t.id("/f"), 800'000)) == ENXIO);
    t.check();
  }
}

TEST_CASE("an unlinked file lives until its last close") {
  DriveFs t;
  const std::string text = random_text(300'000, 5);
  t.put("/f", text);
  t.world.commit();
  const auto first = t.open("/f"), second = t.open("/f");
  const InodeId id = t.id("/f");
  t.write(first, 0, "new");
  CHECK(t.unlink("/f") == 0);
  t.check();
  t.world.commit();
  CHECK(t.must(t.fs().attributes(id)).inode.links == 0);
  CHECK(t.read(first, 0, 400'000) == "new" + text.substr(3));
  t.write(second, 300'000, "end");
  CHECK(t.read(first, 299'999, 10) == text.substr(299'999) + "end");
  t.release(first);
  CHECK(t.read(second, 0, 3) == "new");
  t.release(second);
  CHECK(t.error_of(t.fs().attributes(id)) == ESTALE);
  CHECK(t.world.staging.used_bytes() == 0);
  t.check();
}

TEST_CASE("a file without a name gets one by link") {
  DriveFs t;
  const auto made = t.must(t.fs().make_unnamed(kRootInode, 0666, t.caller));
  CHECK(made.node.inode.links == 0);
  CHECK(made.node.inode.mode == 0644);
  const std::string text = random_text(100'000, 6);
  t.write(made.handle, 0, text);
  t.world.commit();
  CHECK(t.list("/").size() == 2);
  CHECK(t.must(t.fs().link(made.node.id, kRootInode, "named")).inode.links == 1);
  t.check();
  t.release(made.handle);
  CHECK(t.read("/named") == text);
  t.world.commit();
  CHECK(t.read("/named") == text);
  t.check();
  const auto lost = t.must(t.fs().make_unnamed(kRootInode, 0666, t.caller));
  t.write(lost.handle, 0, text);
  t.release(lost.handle);
  CHECK(t.error_of(t.fs().attributes(lost.node.id)) == ESTALE);
  CHECK(t.world.staging.used_bytes() == 0);
}

TEST_CASE("a copied range shares what is there") {
  DriveFs t;
  const std::string text = random_text(400'000, 7);
  t.put("/a", text);
  t.world.commit();
  const auto a = t.open("/a"), b = t.create("/b");
  t.write(b, 0, "head");
  t.write(a, 200'000, random_text(50'000, 8));
  const std::string now = t.read(a, 0, 500'000);
  const uint64_t appends = t.world.staging.appends;
  CHECK(t.must(t.fs().copy_range(a, 1000, b, 333, 1'000'000)) == 399'000);
  CHECK(t.world.staging.appends == appends + 1);  // the head alone
  CHECK(t.read(b, 0, 500'000) == "head" + std::string(329, '\0') + now.substr(1000));
  t.check();
  t.world.commit();
  CHECK(t.read(b, 0, 500'000) == "head" + std::string(329, '\0') + now.substr(1000));
  CHECK(t.error_of(t.fs().copy_range(a, 0, a, 10, 20)) == EINVAL);
  CHECK(t.must(t.fs().copy_range(a, 500'000, b, 0, 20)) == 0);
  t.check();
}

}  // namespace
}  // namespace cairn::volume
