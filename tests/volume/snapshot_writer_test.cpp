#include "volume/snapshot_writer.h"

#include "volume/keys.h"
#include "volume/volume_helpers.h"

namespace cairn::volume {
namespace {

using test::check_tree;
using test::Device;
using test::Fs;
using test::names;
using test::random_bytes;
using test::read_text;

const VolumeOptions kBackups{.deduplicates = true};

struct Writer {
  Device& device;
  std::unique_ptr<SnapshotWriter> writer;
  Fs fs;

  static Writer begin(Device& device, std::optional<std::string> base = std::nullopt) {
    REQUIRE(device.run(device.volume->refresh()));
    auto made = device.run(device.volume->begin_snapshot(std::move(base)));
    INFO((made ? "" : to_string(made.error())));
    REQUIRE(made);
    Transaction& files = (*made)->files();
    return {device, std::move(*made), {device, files}};
  }
  void save(const std::string& name, std::vector<std::string> gone = {}, std::string_view details = "") {
    auto done = device.run(writer->save(name, to_bytes(details), std::move(gone)));
    INFO((done ? "" : to_string(done.error())));
    REQUIRE(done);
  }
};

std::vector<std::string> snapshot_names(Device& device) {
  REQUIRE(device.run(device.volume->refresh()));
  auto list = device.run(device.volume->snapshots());
  REQUIRE(list);
  std::vector<std::string> found;
  for (const SnapshotInfo& info : *list) found.push_back(info.name);
  return found;
}

View view_of(Device& device, const std::string& name) {
  auto view = device.run(device.volume->view_snapshot(name));
  INFO((view ? "" : to_string(view.error())));
  REQUIRE(view);
  return *view;
}

TEST_CASE("a snapshot's files are in the snapshot and not in the head") {
  sim::SimWorld sim(1);
  test::MemoryPool pool;
  Device one(sim, pool, 1, kBackups), two(sim, pool, 2, kBackups);
  const Bytes large = random_bytes(3'000'000, 5);
  Writer writer = Writer::begin(one);
  writer.fs.mkdir("/etc");
  writer.fs.put("/etc/hosts", "127.0.0.1 localhost");
  writer.fs.put("/large", large);
  writer.save("first", {}, "who and when");
  CHECK(names(one, one.volume->view(), "/").empty());
  CHECK(one.volume->head().files == 0);

  CHECK(snapshot_names(two) == std::vector<std::string>{"first"});
  const View view = view_of(two, "first");
  CHECK(names(two, view, "/") == std::vector<std::string>{"etc", "large"});
  CHECK(read_text(two, view, "/etc/hosts") == "127.0.0.1 localhost");
  CHECK(read_text(two, view, "/large") == to_string(ByteView(large)));
  check_tree(two, view);
  auto list = two.run(two.volume->snapshots());
  REQUIRE(list);
  CHECK(to_string(ByteView(list->at(0).details)) == "who and when");
  CHECK(list->at(0).root == writer.writer->root());
  // Whoever looks after the volume's packs finds those of the snapshot's files and of its tree.
  auto packs = two.run(two.volume->packs_in_use());
  REQUIRE(packs);
  CHECK(packs->size() == pool.packs.size());
}

TEST_CASE("a snapshot upon another one stores what is new alone") {
  sim::SimWorld sim(2);
  test::MemoryPool pool;
  Device device(sim, pool, 1, kBackups);
  {
    Writer first = Writer::begin(device);
    for (int i = 0; i < 2000; ++i) first.fs.put("/f" + std::to_string(i), random_bytes(300, i));
    first.fs.put("/big", random_bytes(2'000'000, 1));
    first.save("a");
    CHECK(first.writer->stored().chunk_bytes == 2'000'000);
    CHECK(first.writer->stored().sealed_chunk_bytes >= 2'000'000);
    CHECK(first.writer->stored().nodes > 20);
  }
  const uint64_t packs_before = pool.packs.size();
  {
    Writer same = Writer::begin(device, "a");
    same.save("b");
    CHECK(same.writer->stored().nodes == 0);
    CHECK(same.writer->stored().chunks == 0);
    CHECK(pool.packs.size() == packs_before + 1);  // the head's own tree
  }
  {
    Writer changed = Writer::begin(device, "b");
    changed.fs.put("/f77", "changed");
    changed.fs.put("/copy", random_bytes(2'000'000, 1));
    changed.save("c");
    CHECK(changed.writer->stored().chunks == 0);  // the copy has the chunks of the first
    CHECK(changed.writer->stored().nodes < 8);
  }
  auto list = device.run(device.volume->snapshots());
  REQUIRE(list);
  CHECK(list->at(0).root == list->at(1).root);
  CHECK_FALSE(list->at(1).root == list->at(2).root);
  CHECK(read_text(device, view_of(device, "c"), "/f77") == "changed");
  CHECK(read_text(device, view_of(device, "a"), "/f77") == to_string(ByteView(random_bytes(300, 77))));
  check_tree(device, view_of(device, "c"));

  std::set<std::string> changed_keys;
  auto done =
      device.run(device.volume->diff_snapshots("a", "c", [&](std::vector<Difference> batch) -> env::Task<Status> {
        for (const Difference& difference : batch) changed_keys.insert(difference.key);
        co_return Status{};
      }));
  REQUIRE(done);
  CHECK(changed_keys.size() >= 4);   // f77, the root's times, the copy's entry, inode and extents
  CHECK(changed_keys.size() < 100);  // and not the two thousand
}

TEST_CASE("two machines that make snapshots at the same time both have theirs") {
  sim::SimWorld sim(3);
  test::MemoryPool pool;
  Device one(sim, pool, 1, kBackups), two(sim, pool, 2, kBackups);
  Writer a = Writer::begin(one), b = Writer::begin(two);
  const Bytes shared = random_bytes(1'000'000, 9);
  a.fs.put("/x", shared);
  b.fs.put("/x", shared);
  b.fs.put("/y", "only two's");
  a.save("a");
  b.save("b");
  a.fs.put("/z", "later");
  a.save("a");
  CHECK(snapshot_names(one) == std::vector<std::string>{"a", "b"});
  CHECK(names(one, view_of(one, "a"), "/") == std::vector<std::string>{"x", "z"});
  CHECK(names(one, view_of(one, "b"), "/") == std::vector<std::string>{"x", "y"});
  for (Device* device : {&one, &two}) {
    REQUIRE(device->run(device->volume->refresh()));
    for (const char* name : {"a", "b"})
      CHECK(read_text(*device, view_of(*device, name), "/x") == to_string(ByteView(shared)));
  }
}

TEST_CASE("a checkpoint can be gone on from, and goes when the whole is there") {
  sim::SimWorld sim(4);
  test::MemoryPool pool;
  Device one(sim, pool, 1, kBackups);
  const Bytes big = random_bytes(5'000'000, 3);
  {
    Writer killed = Writer::begin(one);
    killed.fs.put("/big", big);
    killed.save("half");
    killed.fs.put("/lost", random_bytes(1'000'000, 4));  // never saved
  }
  Device two(sim, pool, 2, kBackups);
  Writer next = Writer::begin(two, "half");
  CHECK(names(two, next.writer->base(), "/") == std::vector<std::string>{"big"});
  next.fs.put("/small", "rest");
  next.save("whole", {"half"});
  CHECK(next.writer->stored().chunks == 0);
  CHECK(snapshot_names(two) == std::vector<std::string>{"whole"});
  CHECK(read_text(two, view_of(two, "whole"), "/big") == to_string(ByteView(big)));
  CHECK(names(two, view_of(two, "whole"), "/") == std::vector<std::string>{"big", "small"});
}

TEST_CASE("a save that failed can be tried again") {
  sim::SimWorld sim(5);
  test::MemoryPool pool;
  Device device(sim, pool, 1, kBackups);
  Writer writer = Writer::begin(device);
  writer.fs.put("/big", random_bytes(1'000'000, 3));
  device.packs.failing_writes = 1;
  auto failed = device.run(writer.writer->save("a", {}));
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == Code::too_few_peers);
  CHECK(snapshot_names(device).empty());
  device.head.faults = {test::MemoryHead::Fault::lost_after};
  writer.save("a");
  CHECK(read_text(device, view_of(device, "a"), "/big") == to_string(ByteView(random_bytes(1'000'000, 3))));
  CHECK(device.run(writer.writer->files().commit()).error().code == Code::bad_input);
}

TEST_CASE("snapshots are renamed and removed together") {
  sim::SimWorld sim(6);
  test::MemoryPool pool;
  Device device(sim, pool, 1, kBackups);
  for (const char* name : {"a", "b", "c"}) {
    Writer writer = Writer::begin(device);
    writer.fs.put("/name", name);
    writer.save(name);
  }
  auto changed = device.run(device.volume->change_snapshots({{.name = "a", .new_name = std::nullopt, .details = {}},
                                                             {.name = "b", .new_name = "d", .details = to_bytes("new")},
                                                             {.name = "x", .new_name = std::nullopt, .details = {}}}));
  REQUIRE(changed);
  CHECK(*changed == 2);
  CHECK(snapshot_names(device) == std::vector<std::string>{"c", "d"});
  CHECK(read_text(device, view_of(device, "d"), "/name") == "b");
  CHECK(device.run(device.volume->view_snapshot("a")).error().code == Code::not_found);
  CHECK(device.run(device.volume->begin_snapshot("a")).error().code == Code::not_found);
}

TEST_CASE("what a file was on its machine is kept with it") {
  sim::SimWorld sim(7);
  test::MemoryPool pool;
  Device device(sim, pool, 1, kBackups);
  Writer writer = Writer::begin(device);
  auto made = device.run(writer.writer->files().make_file(
      kRootInode, "f", {.mode = 0600, .ctime = 111, .source_inode = 42, .source_device = 7}));
  REQUIRE(made);
  REQUIRE(device.run(writer.writer->files().set_xattr(*made, "user.a", "b")));
  REQUIRE(device.run(writer.writer->files().set_attributes(*made, {.ctime = 222, .source_inode = 43})));
  writer.save("a");
  auto found = device.run(view_of(device, "a").resolve("/f"));
  REQUIRE(found);
  CHECK(found->inode.ctime == 222);
  CHECK(found->inode.source_inode == 43);
  CHECK(found->inode.source_device == 7);
}

}  // namespace
}  // namespace cairn::volume
