#include "volume/volume.h"

#include "volume/limits.h"
#include "volume/volume_helpers.h"

namespace cairn::volume {
namespace {

using test::check_tree;
using test::Device;
using test::Fs;
using test::names;
using test::random_bytes;
using test::read_text;

struct One {
  sim::SimWorld sim{1};
  test::MemoryPool pool;
  Device device;
  std::unique_ptr<Transaction> transaction;
  Fs fs;

  explicit One(VolumeOptions options = {})
      : device(sim, pool, 1, std::move(options)),
        transaction(std::move(*device.volume->begin())),
        fs{device, *transaction} {}
};

TEST_CASE("a new volume is an empty root directory") {
  One t;
  CHECK(t.device.volume->head().sequence == 0);
  auto root = t.device.run(t.device.volume->view().resolve("/"));
  REQUIRE(root);
  CHECK(root->id == kRootInode);
  CHECK(root->inode.is_directory());
  CHECK(names(t.device, t.device.volume->view(), "/").empty());
  auto absent = t.device.run(t.device.volume->view().resolve("/a"));
  REQUIRE_FALSE(absent);
  CHECK(absent.error().code == Code::not_found);
}

TEST_CASE("the root becomes its first writer's, and stays theirs") {
  One t({.root_owner = RootOwner{.uid = 1000, .gid = 100}});
  const auto root = [](Device& device) { return *device.run(device.volume->view().inode(kRootInode)); };
  CHECK(root(t.device).uid == 0);  // reading changes nothing
  t.fs.put("/a", "text");
  t.fs.commit();
  CHECK(root(t.device).uid == 1000);
  CHECK(root(t.device).gid == 100);
  CHECK(root(t.device).mtime != 0);
  Device other(t.sim, t.pool, 2, {.root_owner = RootOwner{.uid = 7, .gid = 7}});
  auto transaction = other.volume->begin();
  REQUIRE(transaction);
  Fs{other, **transaction}.put("/b", "text");
  REQUIRE(other.run((*transaction)->commit()));
  CHECK(root(other).uid == 1000);
  CHECK(root(other).gid == 100);
}

TEST_CASE("files of every size around a border come back bit for bit") {
  One t;
  const size_t lane = kMaxShardSize, pack = 2 * lane;
  const std::vector<size_t> sizes = {0,
                                     1,
                                     4095,
                                     4096,
                                     4097,
                                     kExtentSize - 1,
                                     kExtentSize,
                                     kExtentSize + 1,
                                     lane - 1,
                                     lane + 1,
                                     pack - 1,
                                     pack,
                                     pack + 1,
                                     pack - 62 * content::kSealOverhead,
                                     3 * pack + 17};
  for (size_t i = 0; i < sizes.size(); ++i) {
    t.fs.put("/f" + std::to_string(i), random_bytes(sizes[i], i), i % 2 == 0 ? 70'001 : 1'000'000);
  }
  t.fs.commit();
  Device other(t.sim, t.pool, 2);
  for (size_t i = 0; i < sizes.size(); ++i) {
    const auto text = read_text(other, other.volume->view(), "/f" + std::to_string(i));
    REQUIRE(text);
    CHECK((equal(as_bytes(*text), random_bytes(sizes[i], i))));
  }
  CHECK(other.volume->head().files == sizes.size());
}

TEST_CASE("nothing is seen before the commit, and all of it after") {
  One t;
  t.fs.mkdir("/d");
  t.fs.put("/d/a", "small");
  t.fs.put("/d/b", random_bytes(300'000, 1));
  Device other(t.sim, t.pool, 2);
  CHECK(names(other, other.volume->view(), "/").empty());
  CHECK(read_text(t.device, t.transaction->view(), "/d/a") == "small");
  CHECK(read_text(t.device, t.transaction->view(), "/d/b") == to_string(ByteView(random_bytes(300'000, 1))));
  const auto outcome = t.fs.commit();
  CHECK(outcome.sequence == 1);
  CHECK(names(other, other.volume->view(), "/").empty());
  REQUIRE(other.run(other.volume->refresh()));
  CHECK(names(other, other.volume->view(), "/d") == std::vector<std::string>{"a", "b"});
  CHECK(check_tree(other, other.volume->view()).size() == 3);
  CHECK(t.fs.commit().sequence == 1);  // nothing to commit
}

TEST_CASE("a file that is not finished is in no commit") {
  One t;
  t.fs.put("/old", "old content");
  auto writer = t.device.run(t.transaction->write_file(t.fs.id("/old")));
  REQUIRE(writer);
  REQUIRE(t.device.run((*writer)->write(Buffer::copy_of(random_bytes(500'000, 3)))));
  t.fs.commit();
  CHECK(read_text(t.device, t.device.volume->view(), "/old") == "old content");
  REQUIRE(t.device.run((*writer)->finish()));
  writer->reset();
  t.fs.commit();
  CHECK(read_text(t.device, t.device.volume->view(), "/old") == to_string(ByteView(random_bytes(500'000, 3))));
}

TEST_CASE("holes are kept as holes") {
  One t;
  auto made = t.device.run(t.transaction->make_file(kRootInode, "sparse", {}));
  auto writer = t.device.run(t.transaction->write_file(*made));
  REQUIRE(t.device.run((*writer)->skip(10 * kMiB)));
  REQUIRE(t.device.run((*writer)->write(Buffer::copy_of(as_bytes("middle")))));
  REQUIRE(t.device.run((*writer)->skip(100 * kGiB)));
  REQUIRE(t.device.run((*writer)->write(Buffer::copy_of(as_bytes("end")))));
  REQUIRE(t.device.run((*writer)->skip(5)));
  REQUIRE(t.device.run((*writer)->finish()));
  t.fs.commit();
  const View view = t.device.volume->view();
  auto extents = t.device.run(view.extents(*made, 0, UINT64_MAX, 100));
  REQUIRE(extents);
  CHECK(extents->size() == 2);
  auto reader = t.device.run(view.open_reader(*made));
  std::vector<std::pair<uint64_t, std::string>> pieces;
  for (;;) {
    auto piece = t.device.run((*reader)->next());
    REQUIRE(piece);
    if (!*piece) break;
    pieces.emplace_back((*piece)->offset, to_string((*piece)->bytes.view()));
  }
  CHECK(pieces ==
        std::vector<std::pair<uint64_t, std::string>>{{10 * kMiB, "middle"}, {10 * kMiB + 6 + 100 * kGiB, "end"}});
  CHECK(t.device.run(view.inode(*made))->size == 10 * kMiB + 6 + 100 * kGiB + 3 + 5);
  auto around = t.device.run(view.read(*made, 10 * kMiB - 2, 10));
  CHECK(to_string(ByteView(*around)) == std::string("\0\0middle\0\0", 10));
}

TEST_CASE("many files that are read at once hold no more than a few runs each") {
  constexpr size_t kFiles = 10;
  constexpr size_t kSize = 10 * kMiB;
  One t;
  std::vector<InodeId> files;
  for (size_t i = 0; i < kFiles; ++i)
    files.push_back(t.fs.put(fmt::format("/{}", i), random_bytes(kSize, i + 1), 1 * kMiB));
  t.fs.commit();
  const View view = t.device.volume->view();
  const auto read = [&](FileReader& reader, Bytes& into) {
    auto piece = t.device.run(reader.next());
    REQUIRE(piece);
    if (*piece) append(into, (*piece)->bytes.view());
    return piece->has_value();
  };
  const uint64_t before = t.pool.read_bytes;
  std::vector<std::unique_ptr<FileReader>> readers;
  std::vector<Bytes> contents(kFiles);
  for (size_t i = 0; i < kFiles; ++i) {
    auto opened = t.device.run(view.open_reader(files[i]));
    REQUIRE(opened);
    readers.push_back(std::move(*opened));
    REQUIRE(read(*readers[i], contents[i]));
  }
  t.sim.run_for(std::chrono::minutes(1));
  // One run each, which was taken, and what is read ahead of all.
  const uint64_t asked = t.pool.read_bytes - before;
  CHECK(asked <= (kFiles + kSparing.read_ahead_of_all) * kReadRun);
  CHECK(asked >= kFiles * kReadRun / 2);
  readers.resize(kFiles / 2);  // who gives up leaves room
  for (size_t i = 0; i < kFiles / 2; ++i) {
    while (read(*readers[i], contents[i])) {
    }
    const bool same = contents[i] == random_bytes(kSize, i + 1);  // never printed
    CHECK(same);
  }
}

TEST_CASE("names are raw bytes of up to 255") {
  One t;
  const std::vector<std::string> good = {"new\nline", "\xff\xfe\x80", std::string(255, 'x'), " ", "\xe2\x82\xac", "\\",
                                         "...",       "\x01"};
  for (const std::string& name : good) REQUIRE(t.device.run(t.transaction->make_file(kRootInode, name, {})));
  const std::vector<std::string> refused = {"", ".", "..", "a/b", std::string("a\0b", 3), std::string(256, 'x')};
  for (const std::string& name : refused) {
    auto made = t.device.run(t.transaction->make_file(kRootInode, name, {}));
    REQUIRE_FALSE(made);
    CHECK(made.error().code == Code::bad_input);
  }
  t.fs.commit();
  auto listed = names(t.device, t.device.volume->view(), "/");
  std::vector<std::string> sorted = good;
  std::sort(sorted.begin(), sorted.end());
  CHECK(listed == sorted);
}

TEST_CASE("rename follows the rules of rename(2)") {
  One t;
  t.fs.mkdir("/a");
  t.fs.mkdir("/a/sub");
  t.fs.mkdir("/b");
  t.fs.put("/f", "f");
  t.fs.put("/g", "g");
  t.fs.commit();
  SECTION("over a file") {
    CHECK(t.fs.rename("/f", "/g"));
    CHECK(read_text(t.device, t.transaction->view(), "/g") == "f");
  }
  SECTION("no_replace and exchange") {
    CHECK(t.fs.rename("/f", "/g", RenameMode::no_replace).error().code == Code::exists);
    CHECK(t.fs.rename("/f", "/none", RenameMode::exchange).error().code == Code::not_found);
    CHECK(t.fs.rename("/f", "/a/sub", RenameMode::exchange));
    CHECK(read_text(t.device, t.transaction->view(), "/a/sub") == "f");
    CHECK(t.fs.rename("/a", "/f", RenameMode::exchange));
  }
  SECTION("directories") {
    CHECK(t.fs.rename("/a", "/a/sub/x").error().code == Code::bad_input);
    CHECK(t.fs.rename("/a", "/f").error().code == Code::bad_input);
    CHECK(t.fs.rename("/f", "/b").error().code == Code::bad_input);
    CHECK(t.fs.rename("/b", "/a").error().code == Code::exists);
    CHECK(t.fs.rename("/a", "/b"));
    CHECK(names(t.device, t.transaction->view(), "/b") == std::vector<std::string>{"sub"});
    CHECK(t.fs.rename("/b/sub", "/sub"));
    CHECK(t.fs.rename("/sub", "/sub"));
  }
  SECTION("two names of one file are left alone") {
    REQUIRE(t.device.run(t.transaction->link(t.fs.id("/f"), kRootInode, "h")));
    CHECK(t.fs.rename("/f", "/h"));
    CHECK(names(t.device, t.transaction->view(), "/") == std::vector<std::string>{"a", "b", "f", "g", "h"});
  }
  t.fs.commit();
  check_tree(t.device, t.device.volume->view());
}

TEST_CASE("a tree that is removed in pieces is a tree between them, and is gone at the end") {
  One t;
  t.fs.mkdir("/keep");
  const InodeId kept = t.fs.put("/keep/f", "kept");
  t.fs.mkdir("/d");
  for (int i = 0; i < 5; ++i) {
    const std::string folder = "/d/" + std::to_string(i);
    t.fs.mkdir(folder);
    t.fs.mkdir(folder + "/empty");
    for (int j = 0; j < 300; ++j) t.fs.put(folder + "/f" + std::to_string(j), "x");
    t.fs.put(folder + "/large", random_bytes(50'000, 1));
  }
  // A file that has another name elsewhere stays.
  REQUIRE(t.device.run(t.transaction->link(t.fs.id("/d/0/f0"), t.fs.id("/keep"), "too")));
  t.fs.commit();
  const auto at = t.fs.place("/d");
  int pieces = 0;
  for (bool gone = false; !gone; ++pieces) {
    auto step = t.device.run(t.transaction->remove_some(at.parent, at.name, 100));
    REQUIRE(step);
    gone = *step;
    t.fs.commit();
    // What a run that ends here leaves behind is whole.
    const auto listing = check_tree(t.device, t.device.volume->view());
    CHECK(listing.contains("/keep/f"));
    if (gone) CHECK(t.device.volume->head().files == 2);
  }
  CHECK(pieces > 10);
  const View view = t.device.volume->view();
  CHECK(t.device.run(view.resolve("/d")).error().code == Code::not_found);
  CHECK(t.device.run(view.inode(kept)));
  CHECK(t.device.run(view.resolve("/keep/too"))->inode.links == 1);
  CHECK(t.device.run(t.transaction->remove_some(at.parent, at.name, 100)).error().code == Code::not_found);
  CHECK(*t.device.run(t.transaction->remove_some(t.fs.id("/keep"), "f", 1)));  // a file
}

TEST_CASE("unlink, rmdir and remove_tree leave nothing behind") {
  One t;
  t.fs.mkdir("/d");
  t.fs.mkdir("/d/e");
  t.fs.put("/d/e/big", random_bytes(400'000, 1));
  t.fs.put("/d/x", "x");
  REQUIRE(t.device.run(t.transaction->link(t.fs.id("/d/x"), kRootInode, "kept")));
  REQUIRE(t.device.run(t.transaction->set_xattr(t.fs.id("/d/e/big"), "user.a", "1")));
  t.fs.commit();
  CHECK(t.fs.unlink("/d").error().code == Code::bad_input);
  CHECK(t.device.run(t.transaction->remove_directory(kRootInode, "d")).error().code == Code::exists);
  CHECK(t.device.run(t.transaction->remove_directory(kRootInode, "kept")).error().code == Code::bad_input);
  const InodeId big = t.fs.id("/d/e/big");
  REQUIRE(t.device.run(t.transaction->remove_tree(kRootInode, "d")));
  t.fs.commit();
  const View view = t.device.volume->view();
  CHECK(names(t.device, view, "/") == std::vector<std::string>{"kept"});
  CHECK(t.device.run(view.extents(big, 0, UINT64_MAX, 10))->empty());
  CHECK(t.device.run(view.xattrs(big))->empty());
  check_tree(t.device, view);
  CHECK(t.device.volume->head().files == 1);
  CHECK(t.device.volume->head().bytes == 1);
  REQUIRE(t.fs.unlink("/kept"));
  t.fs.commit();
  CHECK(t.device.volume->head().files == 0);
}

TEST_CASE("attributes, links, special files and extended attributes are kept") {
  One t;
  auto link = t.device.run(t.transaction->make_symlink(kRootInode, "l", std::string(4095, 't'), {.mode = 0777}));
  auto device =
      t.device.run(t.transaction->make_node(kRootInode, "dev", FileType::character_device, 0x501, {.mode = 0600}));
  REQUIRE(link);
  REQUIRE(device);
  auto file = t.device.run(t.transaction->make_file(
      kRootInode, "f",
      {.mode = 04755, .uid = 7, .gid = 8, .owner = "me", .group = "\xff", .mtime = 123456789123456789}));
  REQUIRE(t.device.run(t.transaction->set_xattr(*file, "user.big", std::string(kMaxXattrSize, 'v'))));
  REQUIRE(t.device.run(t.transaction->set_xattr(*file, "user.gone", "1")));
  CHECK(t.device.run(t.transaction->set_xattr(*file, "user.over", std::string(kMaxXattrSize + 1, 'v'))).error().code ==
        Code::too_large);
  t.fs.commit();
  REQUIRE(t.device.run(t.transaction->remove_xattr(*file, "user.gone")));
  CHECK(t.device.run(t.transaction->remove_xattr(*file, "user.gone")).error().code == Code::not_found);
  REQUIRE(t.device.run(t.transaction->set_attributes(*file, {.mode = 0600, .atime = 5})));
  t.fs.commit();
  const View view = t.device.volume->view();
  CHECK(t.device.run(view.read_link(*link)) == std::string(4095, 't'));
  CHECK(t.device.run(view.inode(*device))->rdev == 0x501);
  auto about = t.device.run(view.inode(*file));
  CHECK(about->mode == 0600);
  CHECK(about->uid == 7);
  CHECK(about->gid == 8);
  CHECK(about->owner == "me");
  CHECK(about->group == "\xff");  // names are raw bytes
  CHECK(about->mtime == 123456789123456789);
  CHECK(about->atime == 5);
  CHECK(about->has_xattrs);
  CHECK(t.device.run(view.xattrs(*file))->size() == 1);
}

TEST_CASE("random writes and truncations give what a byte array gives") {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    One t;
    env::Prng prng(seed);
    auto file = t.device.run(t.transaction->make_file(kRootInode, "f", {}));
    Bytes model;
    for (int step = 0; step < 60; ++step) {
      const uint64_t scale = prng.chance(0.5) ? 6000 : 600'000;
      if (prng.chance(0.2)) {
        const size_t size = prng.below(scale);
        REQUIRE(t.device.run(t.transaction->truncate(*file, size)));
        model.resize(size);
      } else {
        const size_t offset = prng.below(scale);
        const Bytes bytes = random_bytes(1 + prng.below(prng.chance(0.5) ? 300 : 200'000), prng.next());
        REQUIRE(t.device.run(t.transaction->write(*file, offset, Buffer::copy_of(bytes))));
        if (model.size() < offset + bytes.size()) model.resize(offset + bytes.size());
        std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<ptrdiff_t>(offset));
      }
      if (prng.chance(0.15)) t.fs.commit();
      const View view = prng.chance(0.5) || !t.transaction->empty() ? t.transaction->view() : t.device.volume->view();
      const size_t from = prng.below(model.size() + 1), length = prng.below(300'000);
      auto part = t.device.run(view.read(*file, from, length));
      REQUIRE(part);
      REQUIRE((equal(*part, ByteView(model).subspan(from, std::min(length, model.size() - from)))));
    }
    t.fs.commit();
    Device other(t.sim, t.pool, 2);
    CHECK((read_text(other, other.volume->view(), "/f") == to_string(ByteView(model))));
    CHECK(other.volume->head().bytes == model.size());
  }
}

TEST_CASE("snapshots keep their root while the volume goes on") {
  One t;
  t.fs.put("/f", "first");
  t.fs.commit();
  REQUIRE(t.device.run(t.device.volume->make_snapshot("one", to_bytes("details"))));
  CHECK(t.device.run(t.device.volume->make_snapshot("one")).error().code == Code::exists);
  CHECK(t.device.run(t.device.volume->make_snapshot("\xff")).error().code == Code::bad_input);
  t.fs.put("/f", "second");
  t.fs.commit();
  auto snapshots = t.device.run(t.device.volume->snapshots());
  REQUIRE(snapshots);
  REQUIRE(snapshots->size() == 1);
  CHECK(snapshots->front().name == "one");
  CHECK(to_string(ByteView(snapshots->front().details)) == "details");
  auto old = t.device.run(t.device.volume->view_snapshot("one"));
  REQUIRE(old);
  CHECK(read_text(t.device, *old, "/f") == "first");
  CHECK(read_text(t.device, t.device.volume->view(), "/f") == "second");
  REQUIRE(t.device.run(t.device.volume->remove_snapshot("one")));
  CHECK(t.device.run(t.device.volume->remove_snapshot("one")).error().code == Code::not_found);
  CHECK(t.device.run(t.device.volume->view_snapshot("one")).error().code == Code::not_found);
}

TEST_CASE("many small files share few packs and come back with few requests") {
  One t;
  constexpr size_t kFiles = 10000;
  t.fs.mkdir("/d");
  const InodeId directory = t.fs.id("/d");
  auto make_all = [](Transaction& transaction, InodeId parent) -> env::Task<Status> {
    for (size_t i = 0; i < kFiles; ++i) {
      auto file = co_await transaction.make_file(parent, fmt::format("file{:05}", i), {});
      if (!file) co_return fail(file.error());
      auto writer = co_await transaction.write_file(*file);
      if (!writer) co_return fail(writer.error());
      CAIRN_CO_TRY(co_await (*writer)->write(Buffer::copy_of(random_bytes(4096, i))));
      CAIRN_CO_TRY(co_await (*writer)->finish());
      if (!transaction.full()) continue;
      auto outcome = co_await transaction.commit();
      if (!outcome) co_return fail(outcome.error());
    }
    auto outcome = co_await transaction.commit();
    if (!outcome) co_return fail(outcome.error());
    co_return Status{};
  };
  REQUIRE(t.device.run(make_all(*t.transaction, directory)));
  CHECK(t.pool.writes < 20);
  Device other(t.sim, t.pool, 2);
  t.pool.reads = 0;
  auto read_all = [](View view, InodeId parent) -> env::Task<Result<size_t>> {
    std::string after;
    size_t right = 0;
    for (;;) {
      auto page = co_await view.list(parent, after, 500);
      if (!page) co_return fail(page.error());
      if (page->empty()) co_return right;
      for (const DirectoryEntry& entry : *page) {
        auto bytes = co_await view.read(entry.inode, 0, 5000);
        if (!bytes) co_return fail(bytes.error());
        right += *bytes == random_bytes(4096, static_cast<uint64_t>(std::stoi(entry.name.substr(4)))) ? 1 : 0;
      }
      after = page->back().name;
    }
  };
  auto right = other.run(read_all(other.volume->view(), directory));
  REQUIRE(right);
  CHECK(*right == kFiles);
  CHECK(t.pool.reads < kFiles / 20);
}

TEST_CASE("a directory of 100,000 entries is listed in pages and found by name") {
  One t;
  auto make_all = [](Transaction& transaction) -> env::Task<Status> {
    for (size_t i = 0; i < 100000; ++i) {
      auto file = co_await transaction.make_file(kRootInode, std::to_string(i * 7919 % 100000), {});
      if (!file) co_return fail(file.error());
      if (!transaction.full()) continue;
      auto outcome = co_await transaction.commit();
      if (!outcome) co_return fail(outcome.error());
    }
    auto outcome = co_await transaction.commit();
    if (!outcome) co_return fail(outcome.error());
    co_return Status{};
  };
  REQUIRE(t.device.run(make_all(*t.transaction)));
  Device other(t.sim, t.pool, 2);
  size_t seen = 0;
  std::string after;
  for (;;) {
    auto page = other.run(other.volume->view().list(kRootInode, after, 5000));
    REQUIRE(page);
    if (page->empty()) break;
    seen += page->size();
    CHECK(page->front().name > after);
    after = page->back().name;
  }
  CHECK(seen == 100000);
  const uint64_t before = other.volume->counters().node_loads;
  CHECK(other.run(other.volume->view().lookup(kRootInode, "77777")));
  CHECK(other.volume->counters().node_loads - before <= 5);
}

TEST_CASE("a cold read of 4 KiB asks once for one extent, and a long read asks for runs") {
  One t;
  const Bytes bytes = random_bytes(12 * kMiB, 5);
  t.fs.put("/f", bytes, 1'000'000);
  t.fs.commit();
  Device other(t.sim, t.pool, 2);
  const View view = other.volume->view();
  auto found = other.run(view.resolve("/f"));
  REQUIRE(other.run(view.read(found->id, 0, 1)));  // the tree and the pack's record are here now
  const uint64_t chunks = other.volume->counters().chunk_requests;
  t.pool.reads = t.pool.read_bytes = 0;
  auto part = other.run(view.read(found->id, 5 * kMiB + 4096, 4096));
  REQUIRE(part);
  CHECK((equal(*part, ByteView(bytes).subspan(5 * kMiB + 4096, 4096))));
  CHECK(other.volume->counters().chunk_requests - chunks == 1);
  CHECK(t.pool.read_bytes <= 160 * kKiB);
  t.pool.reads = 0;
  auto whole = other.run(view.read(found->id, 0, bytes.size()));
  REQUIRE(whole);
  CHECK((*whole == bytes));
  CHECK(t.pool.reads <= 20);
}

TEST_CASE("wrong bytes of a holder are noticed and read elsewhere") {
  One t;
  t.fs.put("/f", random_bytes(300'000, 1));
  t.fs.commit();
  Device other(t.sim, t.pool, 2);
  other.packs.rotten_reads = 2;  // tree nodes
  REQUIRE(other.run(other.volume->view().resolve("/f")));
  other.packs.rotten_reads = 1;
  CHECK((read_text(other, other.volume->view(), "/f") == to_string(ByteView(random_bytes(300'000, 1)))));
}

TEST_CASE("a volume that deduplicates stores equal chunks once") {
  One t({.deduplicates = true});
  const Bytes bytes = random_bytes(3 * kMiB, 9);
  t.fs.put("/a", bytes);
  t.fs.put("/b", bytes);
  t.fs.commit();
  const auto stored = [&] {
    uint64_t total = 0;
    for (const auto& [id, pack] : t.pool.packs) total += pack.bytes.size();
    return total;
  };
  const uint64_t before = stored();
  CHECK(before < 5 * kMiB);
  Bytes shifted = {1, 2, 3};
  append(shifted, bytes);
  t.fs.put("/c", shifted);
  t.fs.commit();
  CHECK(stored() - before < 2 * kMiB);
  Device other(t.sim, t.pool, 2, {.deduplicates = true});
  CHECK((read_text(other, other.volume->view(), "/b") == to_string(ByteView(bytes))));
  CHECK((read_text(other, other.volume->view(), "/c") == to_string(ByteView(shifted))));
}

TEST_CASE("a volume opened for reading only has no transactions") {
  One t;
  Device other(t.sim, t.pool, 2, {.read_only = true});
  auto transaction = other.volume->begin();
  REQUIRE_FALSE(transaction);
  CHECK(transaction.error().code == Code::denied);
}

}  // namespace
}  // namespace cairn::volume
