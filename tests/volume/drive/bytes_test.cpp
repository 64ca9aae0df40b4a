// Bytes of files: what is written is read, wherever it lies.

#include "volume/drive/drive_helpers.h"
#include "volume/item_edits.h"

namespace cairn::volume {
namespace {

using test::DriveFs;
using test::random_bytes;

constexpr Duration kSecond = std::chrono::seconds(1);

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

TEST_CASE("an append goes to the end, wherever that is by then") {
  DriveFs t;
  const auto a = t.create("/f"), b = t.open("/f");
  std::string expected;
  for (int i = 0; i < 40; ++i) {
    const std::string text = random_text(i % 3 == 0 ? 100 : 3000 * static_cast<size_t>(i), static_cast<uint64_t>(i));
    const auto written = t.must(t.fs().write(i % 2 == 0 ? a : b, 12345, Buffer::copy_of(as_bytes(text)), true, false));
    CHECK(written == text.size());
    expected += text;
    if (i % 10 == 9) t.world.commit();
  }
  const bool same = t.read(a, 0, SIZE_MAX) == expected;
  CHECK(same);
  t.check();
}

TEST_CASE("a file ends at the largest size, with a short write before and EFBIG behind") {
  DriveFs t(1, {.max_file_size = 1'000'000});
  const auto handle = t.create("/f");
  CHECK(t.write(handle, 999'990, random_text(100, 1)) == 10);
  CHECK(t.error_of(t.fs().write(handle, 1'000'000, Buffer(1), false, false)) == EFBIG);
  CHECK(t.error_of(t.fs().write(handle, 0, Buffer(1), true, false)) == EFBIG);
  CHECK(t.error_of(t.fs().allocate(handle, 0, 999'999, 2)) == EFBIG);
  CHECK(t.error_of(t.fs().copy_range(handle, 0, handle, 1'000'000, 5)) == EFBIG);
  CHECK(t.stat("/f").size == 1'000'000);
  t.check();
}

TEST_CASE("a sparse file of 8 TiB holds what was written at its ends") {
  DriveFs t;
  const uint64_t most = 8ULL << 40;
  const auto handle = t.create("/f");
  t.write(handle, 0, "first");
  t.write(handle, most - 4, "last");
  CHECK(t.stat("/f").size == most);
  CHECK(t.read(handle, most - 6, 100) == std::string("\0\0last", 6));
  CHECK(t.read(handle, 0, 7) == std::string("first\0\0", 7));
  CHECK(t.must(t.fs().seek_hole(t.id("/f"), 0)) == 5);
  CHECK(t.must(t.fs().seek_data(t.id("/f"), 5)) == most - 4);
  CHECK(t.must(t.fs().seek_hole(t.id("/f"), most - 3)) == most);
  CHECK(t.read(handle, most / 2, 1 * kMiB) == std::string(1 * kMiB, '\0'));
  t.world.commit();
  CHECK(t.read(handle, most - 6, 100) == std::string("\0\0last", 6));
  t.must(t.fs().copy_range(handle, most / 2, handle, 0, 5));
  CHECK(t.read(handle, 0, 5) == std::string(5, '\0'));
  t.check();
}

TEST_CASE("allocation makes files longer, or not, and clears what it is to clear") {
  DriveFs t;
  const auto handle = t.create("/f");
  t.write(handle, 0, "0123456789");
  t.must(t.fs().allocate(handle, kFallocateKeepSize, 0, 100));
  CHECK(t.stat("/f").size == 10);
  t.must(t.fs().allocate(handle, kFallocatePunchHole | kFallocateKeepSize, 2, 3));
  CHECK(t.read(handle, 0, 100) == std::string("01\0\0\00056789", 10));
  t.must(t.fs().allocate(handle, 0, 5, 10));
  CHECK(t.stat("/f").size == 15);
  t.must(t.fs().allocate(handle, kFallocateZeroRange, 8, 12));
  CHECK(t.read(handle, 0, 100) == std::string("01\0\0\000567", 8) + std::string(12, '\0'));
  t.must(t.fs().allocate(handle, kFallocateZeroRange | kFallocateKeepSize, 0, 100));
  CHECK(t.read(handle, 0, 100) == std::string(20, '\0'));
  CHECK(t.error_of(t.fs().allocate(handle, kFallocatePunchHole, 0, 1)) == EOPNOTSUPP);
  CHECK(t.error_of(t.fs().allocate(handle, 8, 0, 1)) == EOPNOTSUPP);  // collapse
  CHECK(t.error_of(t.fs().allocate(handle, 0, 0, 0)) == EINVAL);
  CHECK(t.error_of(t.fs().allocate(99, 0, 0, 1)) == EBADF);
  t.check();
}

TEST_CASE("when there is no room, a write fails and changes nothing") {
  DriveFs t;
  const std::string text = random_text(300'000, 1);
  const auto handle = t.create("/f");
  t.write(handle, 0, text);
  const Inode before = t.stat("/f");
  t.world.staging.full = true;
  CHECK(t.error_of(t.fs().write(handle, 100, Buffer(200'000), false, false)) == ENOSPC);
  t.world.staging.full = false;
  t.fs().set_reserve([](uint64_t bytes) -> env::Task<FsStatus> {
    if (bytes > 1000) co_return fs_fail(EDQUOT);
    co_return FsStatus{};
  });
  CHECK(t.error_of(t.fs().write(handle, 100, Buffer(200'000), false, false)) == EDQUOT);
  CHECK(t.stat("/f") == before);
  CHECK(t.read(handle, 0, SIZE_MAX) == text);
  t.write(handle, 0, "x");
  t.check();
}

TEST_CASE("the kernel may keep a file's pages until others have changed it") {
  DriveFs t;
  t.put("/f", "hello");
  const InodeId id = t.id("/f");
  const auto open = [&](bool truncate) {
    const auto opened = t.must(t.fs().open(id, truncate));
    t.release(opened.handle);
    return opened.keep_cache;
  };
  CHECK(open(false));
  const auto handle = t.open("/f");
  t.write(handle, 0, "world");  // by way of the kernel's pages
  t.release(handle);
  CHECK(open(false));
  t.fs().content_changed(id);
  CHECK_FALSE(open(false));
  CHECK(open(false));
  Inode other = t.stat("/f");  // a version that came with another head
  other.version += 5;
  REQUIRE(t.world.pending.apply({{inode_key(id), encode_inode(other)}}, {}));
  CHECK_FALSE(open(false));
  CHECK(open(true));
  CHECK(t.stat("/f").size == 0);
}

TEST_CASE("the last close of a file that was written is told, with its size") {
  DriveFs t;
  std::vector<std::pair<InodeId, uint64_t>> closed;
  t.fs().on_closed([&](InodeId id, uint64_t size) { closed.emplace_back(id, size); });
  const auto a = t.create("/f"), b = t.open("/f");
  const InodeId id = t.id("/f");
  t.write(a, 0, "hello");
  t.release(a);
  CHECK(closed.empty());
  CHECK(t.fs().is_open(id));
  t.release(b);
  CHECK(closed == std::vector<std::pair<InodeId, uint64_t>>{{id, 5}});
  t.release(t.open("/f"));
  CHECK(closed.size() == 1);
  CHECK_FALSE(t.fs().is_open(id));
  CHECK(t.error_of(t.fs().release(a)) == EBADF);
  CHECK(t.error_of(t.fs().read(a, 0, 1)) == EBADF);
}

TEST_CASE("who reads in order finds the next bytes there already, who reads at random fetches nothing else") {
  DriveFs t;
  const std::string text = random_text(3'000'000, 1);
  t.put("/f", text);
  t.world.commit();
  const auto fetched = [&] { return t.world.cache->counters().fetched_bytes; };
  auto handle = t.open("/f");
  std::string got;
  while (got.size() < text.size()) {
    got += t.read(handle, got.size(), 128 * kKiB);
    t.pass(kSecond);
    if (got.size() == 256 * kKiB) CHECK(fetched() >= 640 * kKiB);
  }
  CHECK((got == text));
  CHECK(fetched() == text.size());
  t.release(handle);

  DriveFs random;
  random.put("/f", text);
  random.world.commit();
  handle = random.open("/f");
  for (const size_t unit : {20, 3, 15, 9, 1}) {
    CHECK((random.read(handle, unit * kExtentSize, 4096) == text.substr(unit * kExtentSize, 4096)));
    random.pass(kSecond);
  }
  CHECK(random.world.cache->counters().fetched_bytes == 5 * kExtentSize);
}

TEST_CASE("exclusive work waits for changes under way and holds back new ones, but no reads") {
  DriveFs t;
  t.put("/f", random_text(500'000, 1));
  t.world.commit();
  t.world.staging.delay = std::chrono::milliseconds(50);
  const auto handle = t.open("/f");
  std::vector<std::string> order;
  env::TaskGroup group(t.world.sim.executor());
  const auto write = [](DriveFs& fs, FileHandle file, std::vector<std::string>& log) -> env::Task<void> {
    auto written = co_await fs.fs().write(file, 0, Buffer::copy_of(as_bytes(std::string(100'000, 'x'))), false, false);
    CHECK(written);
    log.push_back("write");
  };
  group.spawn(write(t, handle, order));
  group.spawn([](DriveFs& fs, std::vector<std::string>& log) -> env::Task<void> {
    auto done = co_await fs.fs().exclusively([&]() -> env::Task<Status> {
      log.push_back("begin");
      CHECK(fs.world.pending.has_active());
      co_await env::sleep_for(fs.world.sim.clock(), kSecond);
      log.push_back("end");
      co_return Status{};
    });
    CHECK(done);
  }(t, order));
  t.pass(std::chrono::milliseconds(500));
  CHECK(order == std::vector<std::string>{"write", "begin"});
  group.spawn(write(t, handle, order));
  CHECK(t.read(handle, 0, 10) == "xxxxxxxxxx");
  CHECK(t.stat("/f").size == 500'000);
  CHECK(order.size() == 2);
  t.run(group.join());
  CHECK(order == std::vector<std::string>{"write", "begin", "end", "write"});
}

TEST_CASE("a file that others removed while it is open here lives until its last close") {
  DriveFs t;
  const std::string text = random_text(300'000, 1);
  t.put("/f", text);
  const auto handle = t.open("/f");
  t.write(handle, 1000, "staged");
  const InodeId id = t.id("/f");
  const auto items = t.run(load_items(t.world.pending.items(), id));
  REQUIRE(items);
  t.world.commit();
  t.write(handle, 2000, "more");
  const auto now = t.run(load_items(t.world.pending.items(), id));
  REQUIRE(now);
  // Their head has it no more, and ours is merged into it.
  EditMap gone = t.world.pending.active();
  for (const auto& [key, value] : *now) gone[key] = std::nullopt;
  gone[entry_key(kRootInode, "f")] = std::nullopt;
  const auto hold = t.world.staging.hold();
  t.world.pending.rebase(t.world.pending.base(), gone, {-1, -300'000});
  t.fs().keep_open(id, *now);
  t.fs().keep_open(4711, *now);  // not open
  std::string expected = text;
  expected.replace(1000, 6, "staged").replace(2000, 4, "more");
  CHECK((t.read(handle, 0, SIZE_MAX) == expected));
  CHECK(t.must(t.fs().attributes(id)).inode.links == 0);
  t.check();
  t.release(handle);
  t.world.commit();
  t.check();
  CHECK(t.world.staging.used_bytes() == 0);
}

// Takes changes, or has no room.
struct Sink final : JournalSink {
  Status record(uint64_t, const EditMap&, Figures) override {
    if (full) return fail(Code::no_space, "journal");
    return {};
  }
  bool full = false;
};

TEST_CASE("what the journal does not take has not happened") {
  Sink sink;
  DriveFs t(1, {}, &sink);
  const std::string text = random_text(300'000, 1);
  t.put("/f", text);
  const auto handle = t.open("/f");
  const auto unnamed = t.must(t.fs().make_unnamed(kRootInode, 0600, t.caller));
  t.write(unnamed.handle, 0, text);
  sink.full = true;
  CHECK(t.unlink("/f") == ENOSPC);
  CHECK(t.rename("/f", "/g") == ENOSPC);
  CHECK(t.error_of(t.fs().write(handle, 0, Buffer(5000), false, false)) == ENOSPC);
  CHECK(t.error_of(t.fs().make_directory(kRootInode, "d", 0755, {})) == ENOSPC);
  CHECK(t.error_of(t.fs().link(unnamed.node.id, kRootInode, "named")) == ENOSPC);
  CHECK(t.list("/").size() == 3);
  CHECK((t.read(unnamed.handle, 0, SIZE_MAX) == text));
  CHECK((t.read(handle, 0, SIZE_MAX) == text));
  t.check();
  sink.full = false;
  t.must(t.fs().link(unnamed.node.id, kRootInode, "named"));
  t.release(unnamed.handle);
  CHECK((t.read("/named") == text));
  t.check();
}

}  // namespace
}  // namespace cairn::volume
