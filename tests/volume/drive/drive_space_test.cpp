// What a drive takes of disk, memory and pool; what it does when one of them is full or away.

#include "volume/drive/machine.h"
#include "volume/volume_helpers.h"

namespace cairn::test {
namespace {

using namespace std::chrono_literals;
using sim::CrashKind;

struct World {
  explicit World(uint64_t seed) : sim(seed), a(sim, pool, 1) {}
  sim::SimWorld sim;
  MemoryPool pool;
  Machine a;

  size_t segments() {
    size_t count = 0;
    for (const std::string& path : a.node.disk().files()) count += path.ends_with(".staged") ? 1 : 0;
    return count;
  }
  size_t extents(const std::string& path) {
    Device device(sim, pool, 99);
    const auto view = device.volume->view();
    auto found = device.run(view.resolve(path));
    REQUIRE(found);
    auto list = device.run(view.extents(found->id, 0, UINT64_MAX, SIZE_MAX / 2));
    REQUIRE(list);
    return list->size();
  }
};

TEST_CASE("writes beyond the folder's limit wait for uploads, and fail with ENOSPC when the pool is away") {
  World w(11);
  w.a.options.cache_bytes = 8 * kMiB;
  w.a.options.commit_after = 1h;  // only pressure commits
  REQUIRE(w.a.start());
  const Bytes bytes = random_bytes(1 * kMiB, 1);
  for (int i = 0; i < 30; ++i) {
    CAPTURE(i);
    REQUIRE(w.a.write("file" + std::to_string(i), 0, bytes) == 0);
    REQUIRE(w.a.drive().status().cache_bytes <= 8 * kMiB);
  }
  CHECK(w.pool.commits > 2);
  w.a.set_away(true);
  int error = 0, written = 0;
  for (int i = 0; i < 30 && error == 0; ++i) {
    error = w.a.write("away" + std::to_string(i), 0, bytes);
    if (error == 0) ++written;
  }
  CHECK(error == ENOSPC);
  CHECK(written >= 2);
  REQUIRE(w.a.fsync());
  REQUIRE((w.a.read("away0") == bytes));
  CHECK(w.a.unlink("file0") == 0);  // takes no bytes
  w.a.set_away(false);
  w.sim.run_for(40s);
  REQUIRE(w.a.write("back", 0, bytes) == 0);
  REQUIRE(w.a.run(w.a.drive().sync()));
  CHECK(w.segments() <= 2);
  REQUIRE((w.a.read("file29") == bytes));
}

TEST_CASE("a full disk refuses writes, and nothing that was accepted suffers") {
  World w(12);
  w.a.options.keep_free = 4 * kMiB;
  w.a.options.commit_after = 1h;
  w.a.node.disk().set_capacity(80 * kMiB);
  REQUIRE(w.a.start());
  w.a.set_away(true);
  const Bytes bytes = random_bytes(1 * kMiB, 2);
  int error = 0, written = 0;
  while (error == 0 && written < 200) {
    error = w.a.write("file" + std::to_string(written), 0, bytes);
    if (error == 0) ++written;
  }
  CHECK(error == ENOSPC);
  CHECK(written > 20);
  REQUIRE(w.a.fsync());
  // Somebody else takes the rest: even then nothing breaks.
  w.a.node.disk().set_capacity(w.a.node.disk().used());
  CHECK(w.a.write("more", 0, bytes) == ENOSPC);
  w.a.crash(CrashKind::power);
  w.a.node.disk().set_capacity(kGiB);
  REQUIRE(w.a.start());
  for (int i = 0; i < written; ++i) REQUIRE((w.a.read("file" + std::to_string(i)) == bytes));
  REQUIRE(w.a.run(w.a.drive().sync()));
}

TEST_CASE("what the pool cannot take is refused by write()") {
  World w(13);
  REQUIRE(w.a.start());
  w.a.drive().set_space({.total = 10 * kMiB, .free = 2 * kMiB, .files = 0});
  const Bytes bytes = random_bytes(1 * kMiB, 3);
  CHECK(w.a.write("one", 0, bytes) == 0);
  CHECK(w.a.write("two", 0, bytes) == 0);
  CHECK(w.a.write("three", 0, bytes) == ENOSPC);
  REQUIRE(w.a.run(w.a.drive().sync()));
  CHECK(w.a.write("three", 0, bytes) == ENOSPC);
  w.a.drive().set_space({.total = 10 * kMiB, .free = 5 * kMiB, .files = 0});
  CHECK(w.a.write("three", 0, bytes) == 0);
}

TEST_CASE("edits in memory are bounded: operations wait for a commit, or fail when the pool is away") {
  World w(14);
  w.a.options.commit_after = 1h;
  REQUIRE(w.a.start());
  const std::string text(3'000, 'x');  // inline
  REQUIRE(w.a.mkdir("f") == 0);
  REQUIRE(w.a.mkdir("g") == 0);
  for (int i = 0; i < 8'000; ++i) REQUIRE(w.a.write("f/" + std::to_string(i), text) == 0);
  w.sim.run_for(1s);
  CHECK(w.pool.commits >= 1);
  REQUIRE(w.a.write("g/one", text) == 0);  // the way there is known
  w.a.set_away(true);
  int error = 0, count = 0;
  for (; error == 0 && count < 40'000; ++count) error = w.a.write("g/" + std::to_string(count), text);
  CHECK(error == ENOSPC);
  CHECK(count > 5'000);
  w.a.set_away(false);
  w.sim.run_for(40s);
  REQUIRE(w.a.write("again", text) == 0);
}

TEST_CASE("without the pool a drive opens after a crash, finds its way, and reads what it has") {
  World w(15);
  REQUIRE(w.a.start());
  const Bytes bytes = random_bytes(300'000, 4);
  REQUIRE(w.a.mkdir("d") == 0);
  for (int i = 0; i < 300; ++i) REQUIRE(w.a.write("d/small" + std::to_string(i), "text " + std::to_string(i)) == 0);
  REQUIRE(w.a.write("d/file", 0, bytes) == 0);
  REQUIRE(w.a.run(w.a.drive().sync()));
  REQUIRE(w.a.stop());
  REQUIRE(w.a.start([](DriveLife& life) { life.packs.away = life.head.away = true; }));
  CHECK(w.a.text("d/small7") == "text 7");
  REQUIRE(w.a.mkdir("d/new") == 0);
  REQUIRE(w.a.write("d/new/file", 0, bytes) == 0);
  REQUIRE(w.a.write("d/file", 1'000, ByteView(bytes).first(50'000)) == 0);
  REQUIRE(w.a.fsync());
  w.a.crash(CrashKind::power);
  REQUIRE(w.a.start([](DriveLife& life) { life.packs.away = life.head.away = true; }));
  REQUIRE((w.a.read("d/new/file") == bytes));
  CHECK(w.a.text("d/small299") == "text 299");
  w.a.set_away(false);
  w.sim.run_for(40s);
  CHECK(w.a.drive().status().pending_edits == 0);
  Device device(w.sim, w.pool, 99);
  CHECK(check_tree(device, device.volume->view()).size() == 304);
}

TEST_CASE("a read that the pool does not answer ends after its time") {
  World w(16);
  const Bytes bytes = random_bytes(300'000, 4);
  {
    Machine b(w.sim, w.pool, 2);
    REQUIRE(b.start());
    REQUIRE(b.write("file", 0, bytes) == 0);
    REQUIRE(b.run(b.drive().sync()));
    REQUIRE(b.stop());
  }
  w.a.options.timeout = 5s;
  REQUIRE(w.a.start());
  auto handle = w.a.open("file", false);
  REQUIRE(handle);
  w.a.life->packs.delay = 10h;
  const Time before = w.sim.now();
  auto bad = w.a.read_handle(*handle);
  REQUIRE_FALSE(bad);
  CHECK(bad.error().number == EIO);
  CHECK(w.sim.now() - before < 6s);
  CHECK_FALSE(w.a.read_handle(*handle));
  CHECK(w.sim.now() - before < 12s);
  w.a.life->packs.delay = 5ms;
  w.sim.run_for(10h);
  CHECK((w.a.read_handle(*handle) == bytes));
}

TEST_CASE("a read waits for a pool that comes back in time, bytes and the way to them") {
  World w(18);
  const Bytes bytes = random_bytes(300'000, 4);
  {
    Machine b(w.sim, w.pool, 2);
    REQUIRE(b.start());
    REQUIRE(b.mkdir("folder") == 0);
    REQUIRE(b.write("folder/file", 0, bytes) == 0);
    REQUIRE(b.run(b.drive().sync()));
    REQUIRE(b.stop());
  }
  w.a.options.timeout = 30s;
  REQUIRE(w.a.start());
  const auto away_for = [&](Duration time) {
    w.a.set_away(true);
    w.a.node.world().clock.schedule(w.a.node.world().clock.now() + time, [&] { w.a.set_away(false); });
  };
  away_for(10s);  // nothing of the tree is here yet
  auto handle = w.a.open("folder/file", false);
  REQUIRE(handle);
  away_for(10s);
  CHECK((w.a.read_handle(*handle) == bytes));
  w.a.crash(CrashKind::process);
}

TEST_CASE("a unit that small writes have cut into many extents becomes one again") {
  World w(17);
  REQUIRE(w.a.start());
  Bytes bytes = random_bytes(1'000'000, 5);
  REQUIRE(w.a.write("file", 0, bytes) == 0);
  REQUIRE(w.a.run(w.a.drive().sync()));
  CHECK(w.extents("/file") == 8);
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 6; ++i) {
      const uint64_t at = 5'000 + 20'000 * i + 2'500 * round;
      const Bytes piece = random_bytes(1'000, 100 + 10 * round + i);
      std::ranges::copy(piece, bytes.begin() + static_cast<ptrdiff_t>(at));
      REQUIRE(w.a.write("file", at, piece) == 0);
    }
    REQUIRE((w.a.read("file") == bytes));
    REQUIRE(w.a.run(w.a.drive().sync()));
    REQUIRE((w.a.read("file") == bytes));
    CHECK(w.extents("/file") <= 16);
  }
  Device device(w.sim, w.pool, 99);
  CHECK(check_tree(device, device.volume->view()).at("/file") == to_string(ByteView(bytes)));
}

TEST_CASE("segments go when nothing shows them, not while an open file without a name does") {
  World w(18);
  w.a.options.cache_bytes = 64 * kMiB;  // segments of 8 MiB
  REQUIRE(w.a.start());
  const Bytes bytes = random_bytes(3 * kMiB, 6);
  for (int i = 0; i < 8; ++i) REQUIRE(w.a.write("file" + std::to_string(i), 0, bytes) == 0);
  auto handle = w.a.open("file0", false);
  REQUIRE(handle);
  REQUIRE(w.a.unlink("file0") == 0);
  const size_t before = w.segments();
  CHECK(before >= 3);
  REQUIRE(w.a.run(w.a.drive().sync()));
  w.sim.run_for(3s);
  CHECK(w.segments() < before);
  REQUIRE((w.a.read_handle(*handle) == bytes));
  REQUIRE(w.a.run(w.a.files().release(*handle)));
  w.sim.run_for(3s);
  CHECK(w.segments() <= 1);
}

TEST_CASE("fsyncs at the same time share their work") {
  World w(19);
  REQUIRE(w.a.start());
  REQUIRE(w.a.write("file", 0, random_bytes(100'000, 7)) == 0);
  const uint64_t before = w.a.node.disk().counters().syncs;
  std::vector<env::Task<volume::FsStatus>> tasks;
  for (int i = 0; i < 50; ++i) tasks.push_back(w.a.drive().fsync());
  const auto done = w.sim.run(env::when_all(w.a.node.executor(), std::move(tasks)));
  for (const auto& one : done) REQUIRE(one);
  CHECK(w.a.node.disk().counters().syncs - before <= 6);
  const uint64_t after = w.a.node.disk().counters().syncs;
  REQUIRE(w.a.fsync());
  CHECK(w.a.node.disk().counters().syncs == after);
}

TEST_CASE("a file that is removed elsewhere stays removed when it was only read here") {
  World w(20);
  Machine b(w.sim, w.pool, 2);
  REQUIRE(w.a.start());
  REQUIRE(b.start());
  REQUIRE(w.a.write("file", "text") == 0);
  REQUIRE(w.a.run(w.a.drive().sync()));
  w.sim.run_for(2s);
  b.set_away(true);
  REQUIRE(b.text("file") == "text");  // a new access time
  CHECK(b.drive().status().pending_edits > 0);
  REQUIRE(w.a.unlink("file") == 0);
  REQUIRE(w.a.run(w.a.drive().sync()));
  b.set_away(false);
  w.sim.run_for(40s);
  CHECK(b.tree().empty());
  CHECK(w.a.tree().empty());
}

}  // namespace
}  // namespace cairn::test
