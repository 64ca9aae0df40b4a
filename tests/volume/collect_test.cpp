// Collections of a volume's garbage, and who works beside them.
#include "volume/collect.h"
#include "volume/snapshot_writer.h"
#include "volume/volume_helpers.h"

namespace cairn::volume {
namespace {

using namespace test;

CollectReport collect(Device& device, CollectOptions options = {}) {
  auto report = device.run(collect_garbage(device.volume->host(), options));
  INFO((report ? "" : to_string(report.error())));
  REQUIRE(report);
  return *report;
}

struct Fixture {
  sim::SimWorld sim{1};
  MemoryPool pool;
  Device device(uint8_t number, bool deduplicates = false) {
    return Device(sim, pool, number, {.deduplicates = deduplicates});
  }
};

// A snapshot as a backup makes it.
struct Backup {
  Device& device;
  std::unique_ptr<SnapshotWriter> writer;
  explicit Backup(Device& d, std::optional<std::string> base = std::nullopt) : device(d) {
    REQUIRE(d.run(d.volume->refresh()));
    auto begun = d.run(d.volume->begin_snapshot(std::move(base)));
    REQUIRE(begun);
    writer = std::move(*begun);
  }
  void put(const std::string& path, ByteView bytes) { Fs{device, writer->files()}.put(path, bytes); }
  Status save(const std::string& name) {
    auto saved = device.run(writer->save(name, {}));
    UNSCOPED_INFO("save " << name << ": " << (saved ? "done" : to_string(saved.error())));
    return saved;
  }
};
std::string text_of(Device& device, const std::string& snapshot, const std::string& path) {
  REQUIRE(device.run(device.volume->refresh()));
  auto view = device.run(device.volume->view_snapshot(snapshot));
  INFO(snapshot << (view ? "" : " " + to_string(view.error())));
  REQUIRE(view);
  auto text = read_text(device, *view, path);
  REQUIRE(text);
  return *text;
}
std::string as_string(const Bytes& bytes) {
  return to_string(ByteView(bytes));
}

}  // namespace

TEST_CASE("what was removed is buried, and what is left reads back when the trash is empty") {
  Fixture world;
  Device device = world.device(1);
  const Bytes keep = random_bytes(700'000, 1), lose = random_bytes(900'000, 2);
  put(device, "/keep", keep);
  put(device, "/lose", lose);
  const size_t before = world.pool.packs.size();
  auto report = collect(device);
  const size_t tidy = world.pool.packs.size();
  REQUIRE(tidy <= before);  // only what commits left of older trees
  remove(device, "/lose");
  report = collect(device);
  REQUIRE(report.dead_packs >= 1);
  REQUIRE(report.dead_bytes >= lose.size());
  REQUIRE(report.told == report.dead_packs);
  world.pool.empty_trash();
  Device other = world.device(2);
  REQUIRE(read_text(other, other.volume->view(), "/keep") == as_string(keep));
  REQUIRE(!read_text(other, other.volume->view(), "/lose"));
  check_tree(other, other.volume->view());
}

TEST_CASE("a dry run of a collection changes nothing and says what would go") {
  Fixture world;
  Device device = world.device(1);
  put(device, "/lose", random_bytes(900'000, 2));
  remove(device, "/lose");
  const uint64_t commits = world.pool.commits;
  const auto report = collect(device, {.dry_run = true});
  REQUIRE(report.dead_bytes >= 900'000);
  REQUIRE(world.pool.commits == commits);
  REQUIRE(world.pool.trash.empty());
}

TEST_CASE("collections of a volume that nobody changes come to an end") {
  Fixture world;
  Device device = world.device(1);
  put(device, "/a", random_bytes(700'000, 1));
  put(device, "/b", random_bytes(700'000, 2));
  remove(device, "/b");
  for (int i = 0; i < 4; ++i) {
    collect(device);
    world.pool.empty_trash();
  }
  const uint64_t commits = world.pool.commits;
  const auto packs = world.pool.packs.size();
  collect(device);
  collect(device);
  REQUIRE(world.pool.commits <= commits + 2);
  REQUIRE(world.pool.packs.size() <= packs + 1);
  REQUIRE(read_text(device, device.volume->view(), "/a"));
}

TEST_CASE("packs follow the pool's table when domains come: weak ones by every collection, costly ones when asked") {
  Fixture world;
  Device device = world.device(1);
  const auto grow = [&](size_t domains) {
    const auto code = pool::geometry_for(domains);
    device.packs.domains = domains;
    device.packs.k = code.k;
    device.packs.m = code.m;
  };
  const auto codes = [&] {
    std::set<std::pair<uint32_t, uint32_t>> found;
    for (const auto& [id, pack] : world.pool.packs) found.emplace(pack.geometry.k, pack.geometry.m);
    return found;
  };
  using Codes = std::set<std::pair<uint32_t, uint32_t>>;
  const Bytes one = random_bytes(9'000'000, 1), two = random_bytes(700'000, 2);
  grow(3);
  put(device, "/one", one);
  REQUIRE(device.run(device.volume->make_snapshot("kept")));
  put(device, "/two", two);
  collect(device);
  world.pool.empty_trash();
  CHECK(codes() == Codes{{1, 2}});

  // As safe as the table wants, only more costly: left alone, unless asked.
  grow(6);
  auto report = collect(device);
  CHECK(report.recoded_packs == 0);
  world.pool.empty_trash();
  report = collect(device, {.dry_run = true, .recode = Recode::all});
  CHECK(report.unfit_packs > 1);
  CHECK(report.unfit_bytes >= 9'700'000);
  REQUIRE(world.pool.trash.empty());
  // In bounded steps, each of which counts.
  int steps = 0;
  for (uint64_t left = report.unfit_packs; left > 0; ++steps) {
    report = collect(device, {.recode = Recode::all, .max_recode_bytes = 4'000'000});
    REQUIRE(report.unfit_packs < left);
    left = report.unfit_packs;
  }
  CHECK(steps > 1);
  collect(device);
  world.pool.empty_trash();
  CHECK(codes() == Codes{{4, 2}});

  // Weaker than the table wants.
  grow(10);
  report = collect(device);
  CHECK(report.recoded_packs > 0);
  CHECK(report.recoded_bytes >= 9'700'000);
  CHECK(report.unfit_packs == 0);
  collect(device);
  world.pool.empty_trash();
  CHECK(codes() == Codes{{5, 3}});
  const uint64_t commits = world.pool.commits;
  collect(device, {.recode = Recode::all});
  CHECK(world.pool.commits <= commits + 1);

  // Domains went away: more slots than domains.
  grow(6);
  CHECK(collect(device).recoded_packs == 0);
  CHECK(collect(device, {.recode = Recode::all}).recoded_packs > 0);
  collect(device);
  world.pool.empty_trash();
  CHECK(codes() == Codes{{4, 2}});

  Device other = world.device(2);
  REQUIRE(read_text(other, other.volume->view(), "/one") == as_string(one));
  REQUIRE(read_text(other, other.volume->view(), "/two") == as_string(two));
  REQUIRE(text_of(other, "kept", "/one") == as_string(one));
  check_tree(other, other.volume->view());
}

TEST_CASE("packs are left as they are while what would be written now is no better") {
  Fixture world;
  Device device = world.device(1);
  device.packs.k = 4;
  device.packs.m = 2;
  device.packs.domains = 6;
  put(device, "/f", random_bytes(700'000, 1));
  collect(device);
  // Ten domains, of which some are full: packs are still written as for six.
  device.packs.domains = 10;
  const auto report = collect(device, {.recode = Recode::all});
  CHECK(report.recoded_packs == 0);
  CHECK(report.unfit_packs == 0);
}

TEST_CASE("a forgotten snapshot comes back before the prune, within the trash's time, and not afterwards") {
  Fixture world;
  Device device = world.device(1, true);
  const Bytes one = random_bytes(500'000, 1), two = random_bytes(600'000, 2);
  Backup first(device);
  first.put("/f", one);
  REQUIRE(first.save("s1"));
  Backup second(device);
  second.put("/g", two);
  REQUIRE(second.save("s2"));
  const auto forget = [&] {
    auto gone = device.run(device.volume->change_snapshots({{.name = "s1", .new_name = {}, .details = {}}}));
    REQUIRE(gone);
    REQUIRE(*gone == 1);
    REQUIRE(device.run(device.volume->view_snapshot("s1")).error().code == Code::not_found);
  };
  forget();
  auto list = device.run(device.volume->forgotten_snapshots());
  REQUIRE(list);
  REQUIRE(list->size() == 1);
  REQUIRE(!list->front().pruned);
  REQUIRE(device.run(device.volume->restore_snapshot("s1")));
  REQUIRE(text_of(device, "s1", "/f") == as_string(one));

  forget();
  REQUIRE(collect(device).snapshots == 1);
  REQUIRE(!world.pool.trash.empty());
  list = device.run(device.volume->forgotten_snapshots());
  REQUIRE(list);
  REQUIRE(list->front().pruned);
  REQUIRE(device.run(device.volume->restore_snapshot("s1")));
  REQUIRE(world.pool.revived > 0);
  world.pool.empty_trash();
  REQUIRE(text_of(device, "s1", "/f") == as_string(one));
  // It is kept now like any other.
  collect(device);
  world.pool.empty_trash();
  REQUIRE(text_of(device, "s1", "/f") == as_string(one));

  forget();
  collect(device);
  world.pool.empty_trash();
  auto late = device.run(device.volume->restore_snapshot("s1"));
  REQUIRE(!late);
  REQUIRE(text_of(device, "s2", "/g") == as_string(two));
}

TEST_CASE("forgotten snapshots younger than the least age keep their data") {
  Fixture world;
  Device device = world.device(1, true);
  Backup first(device);
  first.put("/f", random_bytes(500'000, 1));
  REQUIRE(first.save("s1"));
  REQUIRE(device.run(device.volume->change_snapshots({{.name = "s1", .new_name = {}, .details = {}}})));
  const auto report = collect(device, {.keep_forgotten = std::chrono::hours(24)});
  REQUIRE(report.snapshots == 0);
  world.pool.empty_trash();
  REQUIRE(device.run(device.volume->restore_snapshot("s1")));
  REQUIRE(text_of(device, "s1", "/f").size() == 500'000);
}

TEST_CASE("a backup that found its chunks before a prune took their packs away has them back") {
  Fixture world;
  Device backing_up = world.device(1, true), pruning = world.device(2, true);
  const Bytes bytes = random_bytes(600'000, 7);
  Backup first(backing_up);
  first.put("/f", bytes);
  REQUIRE(first.save("old"));
  Backup second(backing_up);
  second.put("/again", bytes);  // nothing is sent: the chunks are in the pool
  REQUIRE(pruning.run(pruning.volume->refresh()));
  REQUIRE(pruning.run(pruning.volume->change_snapshots({{.name = "old", .new_name = {}, .details = {}}})));
  REQUIRE(collect(pruning).dead_packs > 0);
  REQUIRE(second.save("new"));
  REQUIRE(world.pool.revived > 0);
  world.pool.empty_trash();
  REQUIRE(text_of(pruning, "new", "/again") == as_string(bytes));
  collect(pruning);
  world.pool.empty_trash();
  REQUIRE(text_of(pruning, "new", "/again") == as_string(bytes));
}

TEST_CASE("a backup whose chunks are gone for good says so and commits nothing") {
  Fixture world;
  Device backing_up = world.device(1, true), pruning = world.device(2, true);
  const Bytes bytes = random_bytes(600'000, 7);
  Backup first(backing_up);
  first.put("/f", bytes);
  REQUIRE(first.save("old"));
  Backup second(backing_up);
  second.put("/again", bytes);
  REQUIRE(pruning.run(pruning.volume->refresh()));
  REQUIRE(pruning.run(pruning.volume->change_snapshots({{.name = "old", .new_name = {}, .details = {}}})));
  collect(pruning);
  world.pool.empty_trash();
  const auto saved = second.save("new");
  REQUIRE(!saved);
  REQUIRE(saved.error().code == Code::damaged);
  REQUIRE(backing_up.run(backing_up.volume->view_snapshot("new")).error().code == Code::not_found);
  // The next run sends them again.
  Backup third(backing_up);
  third.put("/again", bytes);
  REQUIRE(third.save("new"));
  REQUIRE(text_of(pruning, "new", "/again") == as_string(bytes));
}

TEST_CASE("a backup upon a snapshot that is forgotten and pruned meanwhile keeps all that it shares with it") {
  Fixture world;
  Device backing_up = world.device(1, true), pruning = world.device(2, true);
  const Bytes shared = random_bytes(600'000, 8), fresh = random_bytes(300'000, 9);
  Backup first(backing_up);
  first.put("/shared", shared);
  for (int i = 0; i < 300; ++i)
    first.put("/small" + std::to_string(i), random_bytes(600, 100 + static_cast<uint64_t>(i)));
  REQUIRE(first.save("old"));
  Backup second(backing_up, "old");
  second.put("/fresh", fresh);
  REQUIRE(pruning.run(pruning.volume->refresh()));
  REQUIRE(pruning.run(pruning.volume->change_snapshots({{.name = "old", .new_name = {}, .details = {}}})));
  REQUIRE(collect(pruning).dead_packs > 0);
  REQUIRE(second.save("new"));
  world.pool.empty_trash();
  collect(pruning);
  world.pool.empty_trash();
  REQUIRE(text_of(pruning, "new", "/shared") == as_string(shared));
  REQUIRE(text_of(pruning, "new", "/fresh") == as_string(fresh));
  REQUIRE(text_of(pruning, "new", "/small299").size() == 600);
}

TEST_CASE("a pack that came to life between the commit of a burial and its tombstone stays alive") {
  Fixture world;
  Device backing_up = world.device(1, true), pruning = world.device(2, true);
  const Bytes bytes = random_bytes(600'000, 7);
  Backup first(backing_up);
  first.put("/f", bytes);
  REQUIRE(first.save("old"));
  Backup second(backing_up);
  second.put("/again", bytes);
  REQUIRE(pruning.run(pruning.volume->refresh()));
  REQUIRE(pruning.run(pruning.volume->change_snapshots({{.name = "old", .new_name = {}, .details = {}}})));
  // The other device commits while the tombstones are on their way.
  bool committed = false;
  env::TaskGroup beside(world.sim.executor());
  pruning.packs.before_bury = [&] {
    beside.spawn([](SnapshotWriter& writer, bool& done) -> env::Task<void> {
      auto saved = co_await writer.save("new", {});
      done = saved.has_value();
    }(*second.writer, committed));
  };
  pruning.packs.delay = std::chrono::seconds(20);
  collect(pruning);
  REQUIRE(world.sim.run_until([&] { return beside.empty(); }, std::chrono::minutes(5)));
  REQUIRE(committed);
  world.pool.empty_trash();
  REQUIRE(text_of(pruning, "new", "/again") == as_string(bytes));
}

TEST_CASE("uploads that were never committed are buried only after a week, and a late commit has them back") {
  Fixture world;
  Device device = world.device(1), pruning = world.device(2);
  put(device, "/a", random_bytes(100'000, 1));
  auto transaction = device.volume->begin();
  REQUIRE(transaction);
  Fs fs{device, **transaction};
  const Bytes late = random_bytes(500'000, 3);
  fs.put("/late", late);
  REQUIRE(device.run((*transaction)->flush()));
  REQUIRE(pruning.run(pruning.volume->refresh()));
  REQUIRE(collect(pruning).orphans_seen == 1);
  world.sim.run_for(std::chrono::hours(24 * 6));
  REQUIRE(collect(pruning).orphans_seen == 1);
  REQUIRE(collect(pruning).orphans_buried == 0);
  world.sim.run_for(std::chrono::hours(24 * 2));
  REQUIRE(collect(pruning).orphans_buried == 1);
  fs.commit();  // within the trash's time
  world.pool.empty_trash();
  REQUIRE(pruning.run(pruning.volume->refresh()));
  REQUIRE(read_text(pruning, pruning.volume->view(), "/late") == as_string(late));
  collect(pruning);
  world.pool.empty_trash();
  REQUIRE(read_text(pruning, pruning.volume->view(), "/late") == as_string(late));
}

TEST_CASE("what was uploaded to a volume that never had a commit is buried, too") {
  Fixture world;
  Device device = world.device(1), pruning = world.device(2);
  auto transaction = device.volume->begin();
  REQUIRE(transaction);
  Fs fs{device, **transaction};
  const Bytes late = random_bytes(500'000, 3);
  fs.put("/late", late);
  REQUIRE(device.run((*transaction)->flush()));
  REQUIRE(collect(pruning, {.dry_run = true}).orphans_seen == 1);
  REQUIRE(collect(pruning).orphans_seen == 1);
  world.sim.run_for(std::chrono::hours(24 * 8));
  REQUIRE(collect(pruning).orphans_buried == 1);
  fs.commit();
  world.pool.empty_trash();
  REQUIRE(pruning.run(pruning.volume->refresh()));
  REQUIRE(read_text(pruning, pruning.volume->view(), "/late") == as_string(late));
}

TEST_CASE("a collection of a volume in which there is nothing changes nothing") {
  Fixture world;
  Device device = world.device(1);
  const CollectReport report = collect(device);
  CHECK(report.commits == 0);
  CHECK(report.packs == 0);
  CHECK(device.volume->head().sequence == 0);
}

TEST_CASE("an upload that is committed before its week is over is no orphan any more") {
  Fixture world;
  Device device = world.device(1), pruning = world.device(2);
  put(device, "/a", random_bytes(100'000, 1));
  auto transaction = device.volume->begin();
  REQUIRE(transaction);
  Fs fs{device, **transaction};
  fs.put("/late", random_bytes(500'000, 3));
  REQUIRE(device.run((*transaction)->flush()));
  REQUIRE(pruning.run(pruning.volume->refresh()));
  REQUIRE(collect(pruning).orphans_seen == 1);
  fs.commit();
  world.sim.run_for(std::chrono::hours(24 * 8));
  const auto report = collect(pruning);
  REQUIRE(report.orphans_seen <= 1);  // the tree of a swap that came too late
  REQUIRE(report.orphans_buried == 0);
  world.pool.empty_trash();
  REQUIRE(read_text(pruning, pruning.volume->view(), "/late"));
}

TEST_CASE("an edit of a file that was removed and pruned meanwhile has its bytes back") {
  Fixture world;
  Device editing = world.device(1), pruning = world.device(2);
  const Bytes bytes = random_bytes(700'000, 5);
  put(editing, "/f", bytes);
  auto transaction = editing.volume->begin();
  REQUIRE(transaction);
  Fs fs{editing, **transaction};
  const InodeId file = fs.id("/f");
  const Bytes patch = random_bytes(10'000, 6);
  REQUIRE(editing.run((*transaction)->write(file, 300'000, Buffer::copy_of(patch))));
  REQUIRE(pruning.run(pruning.volume->refresh()));
  remove(pruning, "/f");
  REQUIRE(collect(pruning).dead_packs > 0);
  fs.commit();  // a change of content wins over the removal
  world.pool.empty_trash();
  Bytes expected = bytes;
  std::copy(patch.begin(), patch.end(), expected.begin() + 300'000);
  REQUIRE(pruning.run(pruning.volume->refresh()));
  REQUIRE(read_text(pruning, pruning.volume->view(), "/f") == as_string(expected));
}

TEST_CASE("a grace makes a pack wait for a second collection") {
  Fixture world;
  Device device = world.device(1);
  put(device, "/lose", random_bytes(900'000, 2));
  remove(device, "/lose");
  const CollectOptions options{.grace = std::chrono::hours(2)};
  REQUIRE(collect(device, options).dead_packs == 0);
  REQUIRE(world.pool.trash.empty());
  world.sim.run_for(std::chrono::hours(3));
  REQUIRE(collect(device, options).dead_bytes >= 900'000);
  REQUIRE(!world.pool.trash.empty());
}

TEST_CASE("packs that are mostly dead are taken apart, in files, trees and snapshots alike") {
  for (const bool deduplicates : {false, true}) {
    Fixture world;
    Device device = world.device(1, deduplicates);
    std::map<std::string, Bytes> kept;
    {
      auto transaction = device.volume->begin();
      REQUIRE(transaction);
      Fs fs{device, **transaction};
      for (uint64_t i = 0; i < 60; ++i) {
        const std::string path = "/f" + std::to_string(i);
        Bytes bytes = random_bytes(200'000, 1000 + i);
        fs.put(path, bytes);
        if (i % 10 == 0) kept.emplace(path, std::move(bytes));
      }
      fs.commit();
    }
    REQUIRE(device.run(device.volume->make_snapshot("whole")));
    Backup backup(device);
    backup.put("/shared", kept.at("/f0"));
    backup.put("/own", random_bytes(300'000, 77));
    for (uint64_t i = 0; i < 10; ++i) backup.put("/gone" + std::to_string(i), random_bytes(200'000, 2000 + i));
    REQUIRE(backup.save("before"));
    Backup after(device, "before");
    Fs fs{device, after.writer->files()};
    for (uint64_t i = 0; i < 10; ++i) REQUIRE(fs.unlink("/gone" + std::to_string(i)));
    REQUIRE(after.save("after"));
    REQUIRE(device.run(device.volume->change_snapshots({{.name = "before", .new_name = {}, .details = {}}})));
    for (uint64_t i = 0; i < 60; ++i) {
      if (i % 10 != 0) remove(device, "/f" + std::to_string(i));
    }
    // While the snapshot of the whole is there nothing of the files is dead.
    collect(device, {.max_unused_bytes = 0});
    world.pool.empty_trash();
    REQUIRE(read_text(device, *device.run(device.volume->view_snapshot("whole")), "/f7") ==
            as_string(random_bytes(200'000, 1007)));
    REQUIRE(device.run(device.volume->remove_snapshot("whole")));
    const auto report = collect(device, {.max_unused_bytes = 0});
    REQUIRE(report.copied_packs > 0);
    world.pool.empty_trash();
    uint64_t stored = 0;
    for (const auto& [id, pack] : world.pool.packs) stored += pack.bytes.size();
    INFO("stored " << stored);
    REQUIRE(stored < 6 * 200'000 + 2 * 500'000 + 1'000'000);
    Device other = world.device(2, deduplicates);
    for (const auto& [path, bytes] : kept) REQUIRE(read_text(other, other.volume->view(), path) == as_string(bytes));
    check_tree(other, other.volume->view());
    REQUIRE(text_of(other, "after", "/shared") == as_string(kept.at("/f0")));
    REQUIRE(text_of(other, "after", "/own") == as_string(random_bytes(300'000, 77)));
    // And a tidy volume stays as it is.
    for (int i = 0; i < 3; ++i) {
      collect(other, {.max_unused_bytes = 0});
      world.pool.empty_trash();
    }
    const uint64_t writes = world.pool.writes;
    const auto idle = collect(other, {.max_unused_bytes = 0});
    REQUIRE(idle.copied_packs == 0);
    REQUIRE(world.pool.writes <= writes + 1);
    // Chunks that moved are found where they are now.
    Backup again(other);
    again.put("/shared-again", kept.at("/f0"));
    REQUIRE(again.save("again"));
    REQUIRE(text_of(other, "again", "/shared-again") == as_string(kept.at("/f0")));
  }
}

TEST_CASE("many small packs are put together") {
  Fixture world;
  Device device = world.device(1);
  for (uint64_t i = 0; i < 30; ++i) put(device, "/f" + std::to_string(i), random_bytes(50'000, i));
  const size_t before = world.pool.packs.size();
  REQUIRE(before >= 60);
  collect(device);
  world.pool.empty_trash();
  REQUIRE(world.pool.packs.size() < 8);
  Device other = world.device(2);
  for (uint64_t i = 0; i < 30; ++i)
    REQUIRE(read_text(other, other.volume->view(), "/f" + std::to_string(i)) == as_string(random_bytes(50'000, i)));
  check_tree(other, other.volume->view());
}

TEST_CASE("several machines write, back up, forget and prune one volume at once and lose nothing") {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    sim::SimWorld sim(seed);
    MemoryPool pool;
    constexpr size_t kDevices = 3;
    std::vector<std::unique_ptr<Device>> devices;
    for (uint8_t i = 1; i <= kDevices; ++i)
      devices.push_back(std::make_unique<Device>(sim, pool, i, VolumeOptions{.deduplicates = true}));
    struct Model {
      std::map<std::string, uint64_t> snapshots;  // name -> seed of its file
      std::vector<std::string> failures;
      uint64_t saved = 0, pruned = 0;
      size_t running = 0;
    } model;
    env::TaskGroup group(sim.executor());
    for (size_t d = 0; d < kDevices; ++d) {
      ++model.running;
      group.spawn([](sim::SimWorld& world, Device& device, MemoryPool& memory, Model& m, size_t number,
                     uint64_t random_seed) -> env::Task<void> {
        env::Prng prng(random_seed * 100 + number);
        std::optional<std::string> last;
        for (int turn = 0; turn < 25; ++turn) {
          co_await env::sleep_for(world.clock(), std::chrono::milliseconds(prng.below(400)));
          auto fresh = co_await device.volume->refresh();
          if (!fresh) m.failures.push_back("refresh: " + to_string(fresh.error()));
          // What was saved and not forgotten reads, at the second try: the first may stand upon a head whose packs were
          // taken apart meanwhile, and here the trash is emptied at once.
          if (!m.snapshots.empty()) {
            const auto some = std::next(m.snapshots.begin(), static_cast<ptrdiff_t>(prng.below(m.snapshots.size())));
            const std::string name = some->first;
            const Bytes expected = random_bytes(60'000, some->second);
            bool right = false;
            for (int i = 0; i < 3 && !right; ++i) {
              auto again = co_await device.volume->refresh();
              auto view = co_await device.volume->view_snapshot(name);
              if (!again || !view) continue;
              auto file = co_await view->resolve("/f");
              if (!file) continue;
              auto bytes = co_await view->read(file->id, 0, 60'000);
              right = bytes && *bytes == expected;
            }
            if (!right && m.snapshots.contains(name)) m.failures.push_back("snapshot " + name + " does not read");
          }
          const uint64_t what = prng.below(10);
          if (what < 5) {
            const std::string name = fmt::format("d{}t{}", number, turn);
            // Few contents: most chunks are there, or were a moment ago.
            const uint64_t content = prng.below(3);
            auto begun = co_await device.volume->begin_snapshot(prng.chance(0.5) ? last : std::nullopt);
            if (!begun) continue;  // the base was forgotten
            Transaction& files = (*begun)->files();
            for (const std::string& path : {std::string("f"), fmt::format("own{}", number)}) {
              InodeId file = 0;
              auto there = co_await files.view().lookup(kRootInode, path);
              if (there) {
                file = there->inode;
              } else {
                auto made = co_await files.make_file(kRootInode, path, {});
                if (!made) {
                  m.failures.push_back("make_file: " + to_string(made.error()));
                  co_return;
                }
                file = *made;
              }
              auto writer = co_await files.write_file(file);
              const Bytes bytes = random_bytes(60'000, content);
              auto written = co_await (*writer)->write(Buffer::copy_of(bytes));
              auto finished = co_await (*writer)->finish();
              if (!written || !finished) m.failures.push_back("write");
            }
            co_await env::sleep_for(world.clock(), std::chrono::milliseconds(prng.below(800)));
            auto saved = co_await (*begun)->save(name, {});
            if (saved) {
              ++m.saved;
              m.snapshots[name] = content;
              last = name;
            } else if (saved.error().code != Code::damaged && saved.error().code != Code::conflict &&
                       saved.error().code != Code::too_few_peers) {
              m.failures.push_back("save: " + to_string(saved.error()));
            }
          } else if (what < 8 && !m.snapshots.empty()) {
            // Often all: contents die then, and come to life again by whoever backs them up just now.
            std::vector<SnapshotChange> changes;
            const bool all = prng.chance(0.6);
            for (auto one = m.snapshots.begin(); one != m.snapshots.end();) {
              if (!all && !changes.empty()) break;
              changes.push_back({.name = one->first, .new_name = {}, .details = {}});
              one = m.snapshots.erase(one);
            }
            auto gone = co_await device.volume->change_snapshots(std::move(changes));
            if (!gone && gone.error().code != Code::conflict)
              m.failures.push_back("forget: " + to_string(gone.error()));
          } else {
            auto report = co_await collect_garbage(device.volume->host(), {.max_unused_share = 0.02});
            if (report) ++m.pruned;
            if (!report && report.error().code != Code::conflict)
              m.failures.push_back("prune: " + to_string(report.error()));
            if (prng.chance(0.2)) memory.empty_trash();
          }
        }
        --m.running;
      }(sim, *devices[d], pool, model, d, seed));
    }
    REQUIRE(sim.run_until([&] { return model.running == 0 || !model.failures.empty(); }, std::chrono::hours(5)));
    INFO("seed " << seed << (model.failures.empty() ? "" : ": " + model.failures.front()));
    REQUIRE(model.failures.empty());
    REQUIRE(model.saved > 10);
    REQUIRE(model.pruned > 3);
    Device& device = *devices[0];
    for (int i = 0; i < 3; ++i) {
      collect(device, {.orphan_grace = {}});
      pool.empty_trash();
    }
    for (const auto& [name, content] : model.snapshots)
      REQUIRE(text_of(device, name, "/f") == as_string(random_bytes(60'000, content)));
    REQUIRE(device.run(device.volume->refresh()));
    // Nothing but what is live is left.
    const auto report = collect(device);
    REQUIRE(report.packs >= report.live_packs);
    REQUIRE(pool.packs.size() <= report.live_packs + 2);
  }
}

}  // namespace cairn::volume
