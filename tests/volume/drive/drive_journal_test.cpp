// Drives over a pool in memory: what was accepted reaches the pool once, whatever happens in between.

#include "volume/collect.h"
#include "volume/drive/machine.h"
#include "volume/volume_helpers.h"

namespace cairn::test {
namespace {

using namespace std::chrono_literals;
using sim::CrashKind;

struct World {
  explicit World(uint64_t seed) : sim(seed) {}
  sim::SimWorld sim;
  MemoryPool pool;

  // The head's tree as a fresh device sees it, checked as a whole.
  std::map<std::string, std::string> committed() {
    Device device(sim, pool, 99);
    return check_tree(device, device.volume->view());
  }
};

TEST_CASE("what was written is there at once, after a reopening, and in the pool once synced") {
  World w(1);
  Machine a(w.sim, w.pool, 1);
  REQUIRE(a.start());
  const Bytes large = random_bytes(3'000'000, 7);
  REQUIRE(a.mkdir("docs") == 0);
  REQUIRE(a.write("docs/large", 0, large) == 0);
  REQUIRE(a.write("docs/small", "hello") == 0);
  REQUIRE(a.read("docs/large") == large);
  CHECK(a.drive().status().pending_bytes == large.size());
  REQUIRE(a.fsync());
  REQUIRE(a.stop());
  CHECK(w.pool.commits == 0);

  REQUIRE(a.start());
  REQUIRE(a.read("docs/large") == large);
  REQUIRE(a.text("docs/small") == "hello");
  uint64_t told = 0;
  REQUIRE(a.run(a.drive().sync([&](const volume::DriveStatus&) { ++told; })));
  CHECK(told > 0);
  CHECK(a.drive().status().pending_bytes == 0);
  CHECK(a.drive().status().pending_edits == 0);
  REQUIRE(a.read("docs/large") == large);
  const auto tree = w.committed();
  CHECK(tree.at("/docs/large") == to_string(ByteView(large)));
  CHECK(tree.at("/docs/small") == "hello");
  REQUIRE(a.stop());
  REQUIRE(a.start());
  REQUIRE(a.read("docs/large") == large);
}

TEST_CASE("fsync to the pool returns when the pool has it at its goal, and fails once when it cannot") {
  World w(3);
  Machine a(w.sim, w.pool, 1);
  a.options.fsync_to_pool = true;
  REQUIRE(a.start());
  REQUIRE(a.write("one", 0, random_bytes(300'000, 1)) == 0);
  REQUIRE(a.fsync());
  CHECK(w.committed().at("/one") == to_string(ByteView(random_bytes(300'000, 1))));
  REQUIRE(a.write("two", 0, random_bytes(300'000, 2)) == 0);
  a.life->packs.below_goal = 1;
  CHECK_FALSE(a.fsync());
  CHECK(w.committed().contains("/two"));  // it is in the pool, and nothing is done twice
  CHECK(a.fsync());
  a.set_away(true);
  REQUIRE(a.write("three", "3") == 0);
  CHECK_FALSE(a.fsync());
  a.set_away(false);
  CHECK(a.fsync());
  CHECK(w.committed().at("/three") == "3");
}

TEST_CASE("a drive commits by itself within its time, and one commit has everything") {
  World w(2);
  Machine a(w.sim, w.pool, 1);
  REQUIRE(a.start());
  REQUIRE(a.write("one", "1") == 0);
  REQUIRE(a.write("two", "2") == 0);
  w.sim.run_for(6s);
  CHECK(w.pool.commits == 1);
  CHECK(w.committed().size() == 2);
  w.sim.run_for(20s);
  CHECK(w.pool.commits == 1);
}

TEST_CASE("what one drive has committed another shows within two seconds, and its caches are told") {
  World w(3);
  Machine a(w.sim, w.pool, 1), b(w.sim, w.pool, 2);
  REQUIRE(a.start());
  REQUIRE(b.start());
  REQUIRE(a.write("file", "first") == 0);
  REQUIRE(a.run(a.drive().sync()));
  w.sim.run_for(2s);
  REQUIRE(b.text("file") == "first");
  std::vector<volume::Change> changes;
  b.drive().on_change(
      [&](std::vector<volume::Change> batch) { changes.insert(changes.end(), batch.begin(), batch.end()); });
  REQUIRE(a.write("file", "FIRST, changed") == 0);
  REQUIRE(a.unlink("none") == ENOENT);
  REQUIRE(a.write("other", "x") == 0);
  REQUIRE(a.run(a.drive().sync()));
  w.sim.run_for(2s);
  CHECK(b.text("file") == "FIRST, changed");
  const auto file = b.find("file");
  REQUIRE(file);
  CHECK(std::ranges::any_of(
      changes, [&](const auto& one) { return one.kind == volume::Change::Kind::content && one.inode == *file; }));
  CHECK(std::ranges::any_of(changes, [&](const auto& one) {
    return one.kind == volume::Change::Kind::entry && one.inode == kRootInode && one.name == "other";
  }));
}

TEST_CASE("two drives that write at the same time both keep what they wrote") {
  World w(4);
  Machine a(w.sim, w.pool, 1), b(w.sim, w.pool, 2);
  REQUIRE(a.start());
  REQUIRE(b.start());
  REQUIRE(a.write("both", "base") == 0);
  REQUIRE(a.run(a.drive().sync()));
  w.sim.run_for(2s);
  const Bytes ours = random_bytes(500'000, 1), theirs = random_bytes(400'000, 2);
  REQUIRE(a.write("both", 0, ours) == 0);
  REQUIRE(b.write("both", 0, theirs) == 0);
  REQUIRE(a.write("of a", "a") == 0);
  REQUIRE(b.write("of b", "b") == 0);
  REQUIRE(a.run(a.drive().sync()));
  REQUIRE(b.run(b.drive().sync()));
  w.sim.run_for(3s);
  const auto tree = w.committed();
  REQUIRE(tree.size() == 4);
  CHECK(tree.at("/both") == to_string(ByteView(theirs)));
  CHECK(std::ranges::any_of(tree, [&](const auto& one) {
    return one.first.starts_with("/both (conflict from node1") && one.second == to_string(ByteView(ours));
  }));
  CHECK(a.tree() == b.tree());
  CHECK(a.tree().size() == 4);
}

TEST_CASE("a file that is open here lives on when another drive removes it") {
  World w(5);
  Machine a(w.sim, w.pool, 1), b(w.sim, w.pool, 2);
  REQUIRE(a.start());
  REQUIRE(b.start());
  const Bytes bytes = random_bytes(300'000, 3);
  REQUIRE(a.write("file", 0, bytes) == 0);
  REQUIRE(a.run(a.drive().sync()));
  w.sim.run_for(2s);
  auto handle = b.open("file", false);
  REQUIRE(handle);
  REQUIRE(a.unlink("file") == 0);
  REQUIRE(a.run(a.drive().sync()));
  w.sim.run_for(3s);
  CHECK(b.find("file").error().number == ENOENT);
  CHECK(b.read_handle(*handle) == bytes);
  REQUIRE(b.run(b.files().release(*handle)));
  REQUIRE(b.run(b.drive().sync()));
  CHECK(w.committed().empty());
}

TEST_CASE("a commit whose answer was lost is not made twice") {
  const auto fault = GENERATE(MemoryHead::Fault::lost_before, MemoryHead::Fault::lost_after);
  const bool crash = GENERATE(false, true);
  const bool other_between = GENERATE(false, true);
  CAPTURE(static_cast<int>(fault), crash, other_between);
  World w(6);
  Machine a(w.sim, w.pool, 1), b(w.sim, w.pool, 2);
  REQUIRE(a.start());
  REQUIRE(b.start());
  REQUIRE(a.write("log", "one\n") == 0);
  a.life->head.faults = {fault};
  bool asked = false;
  a.life->head.before_write = [&] { asked = true; };
  a.life->head.failing_reads = 1000;  // and nobody tells what became of it
  w.sim.run_for(8s);
  CHECK(w.pool.commits == (fault == MemoryHead::Fault::lost_after ? 1 : 0));
  REQUIRE(a.write("newer", "since") == 0);
  REQUIRE(a.fsync());
  if (other_between) {
    REQUIRE(b.write("of b", "b") == 0);
    REQUIRE(b.run(b.drive().sync()));
  }
  if (crash) {
    a.crash(CrashKind::power);
    REQUIRE(a.start());
  } else {
    a.life->head.failing_reads = 0;
  }
  REQUIRE(a.text("log") == "one\n");
  REQUIRE(a.text("newer") == "since");
  REQUIRE(a.run(a.drive().sync()));
  REQUIRE(b.run(b.drive().refresh()));
  const auto tree = w.committed();
  CHECK(tree.size() == (other_between ? 3 : 2));
  CHECK(tree.at("/log") == "one\n");
  CHECK(tree.at("/newer") == "since");
  CHECK(a.tree() == b.tree());
}

TEST_CASE("with the pool away everything is accepted, a drive opens, and it goes on when the pool is back") {
  World w(7);
  Machine a(w.sim, w.pool, 1);
  REQUIRE(a.start());
  const Bytes bytes = random_bytes(700'000, 5);
  REQUIRE(a.write("cached", 0, bytes) == 0);
  REQUIRE(a.run(a.drive().sync()));
  a.set_away(true);
  REQUIRE(a.write("new", 0, bytes) == 0);
  w.sim.run_for(60s);
  CHECK_FALSE(a.drive().status().pool_reachable);
  CHECK_FALSE(a.drive().status().last_error.empty());
  REQUIRE(a.read("new") == bytes);
  REQUIRE(a.read("cached") == bytes);
  REQUIRE(a.fsync());
  a.crash(CrashKind::power);
  REQUIRE(a.start([](DriveLife& life) { life.packs.away = life.head.away = true; }));
  w.sim.run_for(60s);
  CHECK(a.drive().status().pending_bytes == bytes.size());
  a.set_away(false);
  w.sim.run_for(40s);
  CHECK(a.drive().status().pending_bytes == 0);
  CHECK(a.drive().status().pool_reachable);
  CHECK(w.committed().size() == 2);
}

TEST_CASE("a drive goes on while it and another machine prune its volume") {
  World w(77);
  Machine a(w.sim, w.pool, 1);
  REQUIRE(a.start());
  Device other(w.sim, w.pool, 2);
  std::map<std::string, Bytes> model;
  for (uint64_t turn = 0; turn < 12; ++turn) {
    const std::string fresh = "f" + std::to_string(turn), old = "f" + std::to_string(turn / 2);
    model[fresh] = random_bytes(400'000, turn);
    REQUIRE(a.write(fresh, 0, model[fresh]) == 0);
    if (model.contains(old) && turn % 3 == 0) {  // a part of what is there gives way
      const Bytes patch = random_bytes(50'000, 100 + turn);
      REQUIRE(a.write(old, 100'000, patch) == 0);
      std::copy(patch.begin(), patch.end(), model[old].begin() + 100'000);
    }
    if (turn % 2 == 1) {
      REQUIRE(a.unlink("f" + std::to_string(turn - 1)) == 0);
      model.erase("f" + std::to_string(turn - 1));
    }
    if (turn % 4 != 0) REQUIRE(a.run(a.drive().sync()));
    volume::Volume& by = turn % 2 == 0 ? *a.life->volume : *other.volume;
    auto report = a.run(volume::collect_garbage(by.host(), {.max_unused_bytes = 0}));
    INFO((report ? "" : to_string(report.error())));
    REQUIRE(report);
    if (turn % 3 == 2) w.pool.empty_trash();
    for (const auto& [path, bytes] : model) REQUIRE(a.read(path) == bytes);
    if (turn == 6) {
      REQUIRE(a.stop());
      REQUIRE(a.start());
    }
  }
  REQUIRE(a.run(a.drive().sync()));
  REQUIRE(other.run(volume::collect_garbage(other.volume->host(), {.max_unused_bytes = 0})));
  w.pool.empty_trash();
  const auto tree = w.committed();
  for (const auto& [path, bytes] : model) REQUIRE(tree.at("/" + path) == to_string(ByteView(bytes)));
}

}  // namespace
}  // namespace cairn::test
