#include "backup/archiver.h"

#include <catch2/catch.hpp>

#include "backup/memory_source.h"
#include "volume/volume_helpers.h"

namespace cairn::backup {
namespace {

using test::check_tree;
using test::Device;
using test::MemoryFiles;
using test::MemoryNode;
using test::MemorySource;
using volume::FileType;
using volume::View;

struct Machine {
  sim::SimWorld sim;
  test::MemoryPool pool;
  Device device;
  MemoryFiles files;
  std::vector<std::string> errors;

  explicit Machine(uint64_t seed) : sim(seed), device(sim, pool, 1, {.deduplicates = true}) {}

  ArchiveOptions options() {
    ArchiveOptions options;
    options.about.host = "mopped";
    options.about.paths = {"/"};
    options.on_error = [this](const std::string& path, const Error&) { errors.push_back(path); };
    return options;
  }
  ArchiveResult run(MemorySource& source, ArchiveOptions with) {
    Archiver archiver(device.node.world(), *device.volume, source, std::move(with));
    auto result = device.run(archiver.run());
    INFO((result ? "" : to_string(result.error())));
    REQUIRE(result);
    return *result;
  }
  ArchiveResult run() {
    MemorySource source(files);
    return run(source, options());
  }
  View view(const SnapshotId& id) {
    auto view = device.run(device.volume->view_snapshot(id.hex()));
    REQUIRE(view);
    return *view;
  }
  std::vector<Record> records() {
    REQUIRE(device.run(device.volume->refresh()));
    auto list = device.run(device.volume->snapshots());
    REQUIRE(list);
    auto records = records_of(*list);
    REQUIRE(records);
    return *records;
  }
  // The snapshot has what the files have now, entry by entry.
  void check_same(const SnapshotId& id) {
    const View at = view(id);
    check_tree(device, at);
    std::map<uint64_t, volume::InodeId> inodes;
    compare(at, volume::kRootInode, files.root(), "", inodes);
  }

 private:
  void compare(const View& at, volume::InodeId folder, const MemoryNode& node, const std::string& path,
               std::map<uint64_t, volume::InodeId>& inodes) {
    auto entries = device.run(at.list(folder, "", SIZE_MAX));
    REQUIRE(entries);
    std::vector<std::string> names, expected;
    for (const auto& entry : *entries) names.push_back(entry.name);
    for (const auto& [name, below] : node.entries) {
      if (!below->unreadable) expected.push_back(name);
    }
    INFO("folder " << path);
    REQUIRE(names == expected);
    for (const auto& entry : *entries) {
      const MemoryNode& source = *node.entries.at(entry.name);
      const std::string below = path + "/" + entry.name;
      INFO(below);
      auto inode = device.run(at.inode(entry.inode));
      REQUIRE(inode);
      CHECK(inode->type == source.type);
      CHECK(inode->mode == source.mode);
      CHECK(inode->uid == source.uid);
      CHECK(inode->mtime == source.mtime);
      CHECK(inode->ctime == source.ctime);
      CHECK(inode->owner == "owner" + std::to_string(source.uid));
      CHECK(inode->source_inode == source.inode);
      auto xattrs = device.run(at.xattrs(entry.inode));
      REQUIRE(xattrs);
      CHECK(*xattrs == source.xattrs);
      if (source.type != FileType::directory) {
        CHECK(inode->links == source.links);
        const auto [first, is_new] = inodes.emplace(source.inode, entry.inode);
        CHECK(first->second == entry.inode);
      }
      if (source.type == FileType::file) CHECK(test::read_text(device, at, below) == source.content);
      if (source.type == FileType::symlink) CHECK(inode->inline_data == source.content);
      if (source.type == FileType::directory) compare(at, entry.inode, source, below, inodes);
    }
  }
};

std::string random_text(size_t size, uint64_t seed) {
  return to_string(ByteView(test::random_bytes(size, seed)));
}

void fill(MemoryFiles& files) {
  files.mkdir("/etc").xattrs = {{"user.folder", "yes"}};
  files.put("/etc/hosts", "127.0.0.1 localhost").xattrs = {{"user.a", std::string("\0\xff", 2)}, {"user.b", "2"}};
  files.mkdir("/etc/empty");
  files.put("/etc/none", "");
  files.mkdir("/data");
  files.put("/data/large", random_text(900'000, 1));
  files.put("/data/larger", random_text(3'000'000, 2));
  files.put("/data/\xff\xfe not utf-8", "bytes");
  files.symlink("/data/link", "/nowhere/\xff");
  files.put("/data/one", "linked");
  files.link("/data/one", "/data/two");
  files.link("/data/one", "/etc/three");
  MemoryNode& fifo = files.mkdir("/data/fifo");
  fifo.type = FileType::fifo;
  fifo.mode = 0600;
  for (int i = 0; i < 40; ++i) files.put("/data/f" + std::to_string(i), "content " + std::to_string(i));
}

TEST_CASE("a first backup has everything as it is") {
  Machine m(1);
  fill(m.files);
  const ArchiveResult result = m.run();
  CHECK(result.saved);
  CHECK(result.errors == 0);
  CHECK_FALSE(result.record.partial);
  CHECK(result.record.parent.is_zero());
  const Summary& summary = result.record.summary;
  CHECK(summary.files_new == 48);  // a name each: hosts, none, large, larger, bytes, one, two, three, and forty
  CHECK(summary.files_changed + summary.files_unmodified == 0);
  CHECK(summary.dirs_new == 3);
  CHECK(summary.total_files_processed == 48);
  CHECK(summary.data_added > 3'900'000);
  CHECK(summary.data_added_packed > 3'900'000);
  m.check_same(result.record.id);
  REQUIRE(m.records().size() == 1);
  CHECK(m.records()[0].host == "mopped");
}

TEST_CASE("a second run without a change reads nothing and stores nothing") {
  Machine m(2);
  fill(m.files);
  const ArchiveResult first = m.run();
  MemorySource source(m.files);
  const ArchiveResult second = m.run(source, m.options());
  CHECK(source.details_read == 0);
  CHECK(source.bytes_read == 0);
  CHECK(second.record.summary.files_unmodified == 48);
  CHECK(second.record.summary.files_new + second.record.summary.files_changed == 0);
  CHECK(second.record.summary.dirs_unmodified == 3);
  CHECK(second.record.summary.data_added == 0);
  CHECK(second.record.parent == first.record.id);
  CHECK(m.records().size() == 2);
  m.check_same(second.record.id);

  ArchiveOptions skip = m.options();
  skip.skip_if_unchanged = true;
  MemorySource again(m.files);
  CHECK_FALSE(m.run(again, skip).saved);
  CHECK(m.records().size() == 2);
}

TEST_CASE("what has changed is read, and that alone") {
  Machine m(3);
  fill(m.files);
  const ArchiveResult first = m.run();
  m.files.write("/data/f7", "other content");
  m.files.chmod("/data/f8", 0600);
  m.files.put("/data/new", "new");
  m.files.remove("/data/f9");
  m.files.mkdir("/data/sub");
  m.files.put("/data/sub/x", "x");
  MemorySource source(m.files);
  const ArchiveResult second = m.run(source, m.options());
  const Summary& summary = second.record.summary;
  CHECK(summary.files_new == 2);
  CHECK(summary.files_changed == 2);
  CHECK(summary.files_unmodified == 45);
  CHECK(summary.dirs_new == 1);
  CHECK(summary.dirs_changed == 1);
  CHECK(summary.dirs_unmodified == 2);
  CHECK(source.details_read == 6);  // f7, f8, new, x, sub and the folder that they are in
  CHECK(summary.data_blobs == 0);
  m.check_same(second.record.id);
  // What was backed up before is as it was.
  CHECK(test::read_text(m.device, m.view(first.record.id), "/data/f7") == "content 7");
  CHECK(test::read_text(m.device, m.view(first.record.id), "/data/f9") == "content 9");
}

TEST_CASE("every kind of change of an entry into another comes out right") {
  Machine m(4);
  fill(m.files);
  m.run();
  m.files.remove("/data/f0");  // a file becomes a folder
  m.files.mkdir("/data/f0");
  m.files.put("/data/f0/in", "it");
  m.files.remove("/etc/empty");  // a folder becomes a link
  m.files.symlink("/etc/empty", "elsewhere");
  m.files.remove("/data/link");  // a link leads elsewhere
  m.files.symlink("/data/link", "/new");
  m.files.remove("/data/two");  // one of three names goes, and is another file
  m.files.put("/data/two", "no link any more");
  m.files.link("/data/f1", "/data/a link that comes before its file");
  m.files.at("/etc/hosts").xattrs = {{"user.b", "3"}, {"user.c", "4"}};
  m.files.chmod("/etc/hosts", 0640);
  m.files.chmod("/data", 0700);
  const ArchiveResult second = m.run();
  m.check_same(second.record.id);
  MemorySource source(m.files);
  const ArchiveResult third = m.run(source, m.options());
  CHECK(source.details_read == 0);
  m.check_same(third.record.id);
  m.files.remove("/data");  // a whole tree goes, with names of files that are elsewhere too
  m.files.at("/etc/three").links = 1;
  const ArchiveResult fourth = m.run();
  m.check_same(fourth.record.id);
}

TEST_CASE("what cannot be read is named and left out, and the rest is there") {
  Machine m(5);
  fill(m.files);
  m.files.at("/data/f3").unreadable = true;
  m.files.at("/etc/empty").unreadable = true;
  const ArchiveResult first = m.run();
  CHECK(first.saved);
  CHECK(first.errors == 2);
  CHECK(m.errors == std::vector<std::string>{"/data/f3", "/etc/empty"});
  m.check_same(first.record.id);
  m.files.at("/data/f3").unreadable = false;
  m.files.at("/data/f4").unreadable = true;
  m.files.chmod("/data/f4", 0);
  const ArchiveResult second = m.run();
  m.check_same(second.record.id);
}

TEST_CASE("a run with nothing to read fails and leaves no snapshot") {
  Machine m(6);
  m.files.mkdir("/secret").unreadable = true;
  MemorySource source(m.files);
  Archiver archiver(m.device.node.world(), *m.device.volume, source, m.options());
  auto result = m.device.run(archiver.run());
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Code::not_found);
  CHECK(m.records().empty());
}

TEST_CASE("force reads everything and stores nothing twice") {
  Machine m(7);
  fill(m.files);
  m.run();
  ArchiveOptions options = m.options();
  options.force = true;
  MemorySource source(m.files);
  const ArchiveResult second = m.run(source, options);
  CHECK(source.bytes_read > 3'900'000);
  CHECK(second.record.summary.files_new == 48);
  CHECK(second.record.summary.data_blobs == 0);
  CHECK(second.record.parent.is_zero());
  m.check_same(second.record.id);
}

TEST_CASE("a dry run counts and leaves nothing") {
  Machine m(8);
  fill(m.files);
  ArchiveOptions options = m.options();
  options.dry_run = true;
  MemorySource source(m.files);
  const ArchiveResult result = m.run(source, options);
  CHECK_FALSE(result.saved);
  CHECK(result.record.summary.files_new == 48);
  CHECK(source.bytes_read == 0);
  CHECK(m.records().empty());
  CHECK(m.pool.packs.empty());
}

TEST_CASE("a killed run leaves a partial snapshot, and the next one goes on from it") {
  Machine m(9);
  m.files.mkdir("/d");
  for (int i = 0; i < 20; ++i) m.files.put("/d/f" + std::to_string(i), random_text(1'500'000, 100 + i));
  {
    MemorySource source(m.files);
    ArchiveOptions options = m.options();
    options.checkpoint_period = {};  // at every occasion
    Archiver archiver(m.device.node.world(), *m.device.volume, source, std::move(options));
    env::TaskGroup group(m.sim.executor());
    int opened = 0;
    env::OneShot<bool> killed(m.sim.executor());
    source.on_open = [&](const std::string&) {
      if (++opened == 12) killed.set(true);
    };
    group.spawn([](Archiver& a) -> env::Task<void> { co_await a.run(); }(archiver));
    m.device.run([](env::OneShot<bool> until) -> env::Task<bool> { co_return co_await until; }(killed));
    group.cancel();
  }
  auto records = m.records();
  REQUIRE(records.size() == 1);
  CHECK(records[0].partial);
  const SnapshotId partial = records[0].id;
  check_tree(m.device, m.view(partial));

  MemorySource source(m.files);
  const ArchiveResult next = m.run(source, m.options());
  CHECK(next.resumed_files >= 10);
  CHECK(source.bytes_read <= 9 * 1'500'000);
  CHECK(next.record.summary.data_added < 10 * 1'500'000);
  m.check_same(next.record.id);
  records = m.records();
  REQUIRE(records.size() == 1);  // the partial one went
  CHECK(records[0].id == next.record.id);
  CHECK(records[0].parent.is_zero());
}

TEST_CASE("a large file that was cut off is read again, and what was stored of it is not stored again") {
  Machine m(10);
  m.files.put("/large", random_text(20'000'000, 3));
  {
    MemorySource source(m.files);
    source.block = 1'000'000;
    ArchiveOptions options = m.options();
    options.checkpoint_period = {};
    Archiver archiver(m.device.node.world(), *m.device.volume, source, std::move(options));
    env::TaskGroup group(m.sim.executor());
    int reads = 0;
    env::OneShot<bool> killed(m.sim.executor());
    source.on_read = [&] {
      if (++reads == 15) killed.set(true);
    };
    group.spawn([](Archiver& a) -> env::Task<void> { co_await a.run(); }(archiver));
    m.device.run([](env::OneShot<bool> until) -> env::Task<bool> { co_return co_await until; }(killed));
    group.cancel();
  }
  const ArchiveResult next = m.run();
  m.check_same(next.record.id);
  CHECK(next.record.summary.data_added < 9'000'000);
}

TEST_CASE("two machines back up at the same time into one volume, each upon its own parent") {
  Machine m(11);
  fill(m.files);
  Device other(m.sim, m.pool, 2, {.deduplicates = true});
  for (int round = 0; round < 5; ++round) {
    m.files.write("/data/f1", "round " + std::to_string(round));
    MemorySource one(m.files), two(m.files);
    ArchiveOptions options_one = m.options(), options_two = m.options();
    options_two.about.host = "other";
    options_one.checkpoint_period = options_two.checkpoint_period = {};
    Archiver a(m.device.node.world(), *m.device.volume, one, options_one);
    Archiver b(other.node.world(), *other.volume, two, options_two);
    struct Both {
      Result<ArchiveResult> one = fail(Code::cancelled), two = fail(Code::cancelled);
    } both;
    m.device.run([](env::Executor& executor, Archiver& x, Archiver& y, Both& out) -> env::Task<bool> {
      env::TaskGroup group(executor);
      group.spawn([](Archiver& w, Both& o) -> env::Task<void> { o.one = co_await w.run(); }(x, out));
      group.spawn([](Archiver& w, Both& o) -> env::Task<void> { o.two = co_await w.run(); }(y, out));
      co_await group.join();
      co_return true;
    }(m.sim.executor(), a, b, both));
    REQUIRE(both.one);
    REQUIRE(both.two);
    const auto records = m.records();
    CHECK(records.size() == 2 * static_cast<size_t>(round + 1));
    for (const Record& record : records) CHECK_FALSE(record.partial);
    m.check_same(both.one->record.id);
    m.check_same(both.two->record.id);
    if (round > 0) CHECK(both.two->record.summary.files_changed == 1);
  }
}

TEST_CASE("a file that changes while it is read is noted, and the next run reads it again") {
  Machine m(12);
  m.files.put("/growing", random_text(500'000, 3));
  MemorySource source(m.files);
  bool once = true;
  source.on_open = [&](const std::string& path) {
    if (std::exchange(once, false)) m.files.write(path, random_text(600'000, 4));
  };
  const ArchiveResult first = m.run(source, m.options());
  CHECK(first.errors == 0);
  CHECK(m.errors == std::vector<std::string>{"/growing"});
  const ArchiveResult second = m.run();
  CHECK(second.record.summary.files_changed == 1);
  m.check_same(second.record.id);
}

TEST_CASE("a folder of ten thousand entries is compared page by page") {
  Machine m(13);
  m.files.mkdir("/many");
  for (int i = 0; i < 10'000; ++i) m.files.put("/many/" + std::to_string(i), std::to_string(i));
  {
    MemorySource source(m.files, kScanBatch);
    m.run(source, m.options());
  }
  m.files.remove("/many/5000");
  m.files.put("/many/50000", "new");
  m.files.write("/many/9999", "changed");
  MemorySource source(m.files, kScanBatch);
  const ArchiveResult second = m.run(source, m.options());
  CHECK(second.record.summary.files_unmodified == 9998);
  CHECK(source.details_read == 3);
  CHECK(second.record.summary.tree_blobs < 20);
  m.check_same(second.record.id);
}

}  // namespace
}  // namespace cairn::backup
