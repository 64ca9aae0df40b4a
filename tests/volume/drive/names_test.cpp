// Names: what POSIX and Linux say of make, link, unlink, rename.

#include "volume/drive/drive_helpers.h"
#include "volume/limits.h"

namespace cairn::volume {
namespace {

using test::DriveFs;

constexpr Duration kSecond = std::chrono::seconds(1);

TEST_CASE("what is made is found, with owner, times and link counts") {
  DriveFs t;
  const InodeId dir = t.mkdir("/d", 0777);
  CHECK(t.stat("/d").links == 2);
  CHECK(t.stat("/").links == 3);
  CHECK(t.stat("/d").mode == 0755);  // umask 022
  t.mkdir("/d/e");
  CHECK(t.stat("/d").links == 3);
  const InodeId file = t.mknod("/d/f", 0666);
  const Inode about = t.stat("/d/f");
  CHECK(about.uid == 10);
  CHECK(about.gid == 20);
  CHECK(about.mode == 0644);
  CHECK(about.links == 1);
  CHECK(about.mtime == t.now());
  CHECK(t.stat("/d").mtime == t.now());
  CHECK(t.id("/d/f") == file);
  CHECK(t.id("/d/..") == kRootInode);
  CHECK(t.id("/d/.") == dir);
  CHECK(t.error_of(t.fs().lookup(dir, "nothing")) == ENOENT);
  CHECK(t.error_of(t.fs().lookup(file, "x")) == ENOTDIR);
  CHECK(t.error_of(t.fs().lookup(12345, "x")) == ESTALE);
  CHECK(t.error_of(t.fs().lookup(dir, std::string(256, 'x'))) == ENAMETOOLONG);
  CHECK(t.error_of(t.fs().make_directory(dir, "f", 0755, {})) == EEXIST);
  CHECK(t.error_of(t.fs().make_directory(dir, std::string(256, 'x'), 0755, {})) == ENAMETOOLONG);
  CHECK(t.error_of(t.fs().make_directory(file, "x", 0755, {})) == ENOTDIR);
  CHECK(t.error_of(t.fs().make_symlink(dir, "l", std::string(4096, 'x'), {})) == ENAMETOOLONG);
  t.mkdir("/" + std::string(255, 'n'));
  t.check();
}

TEST_CASE("special files and symbolic links keep what they are") {
  DriveFs t;
  const std::string target(4095, 't');
  t.symlink("/l", target);
  CHECK(t.stat("/l").mode == 0777);
  CHECK(t.stat("/l").size == 4095);
  CHECK(t.must(t.fs().read_link(t.id("/l"))) == target);
  const auto device = t.must(t.fs().make_node(kRootInode, "c", FileType::character_device, 0600, 0x1234, t.caller));
  CHECK(device.inode.rdev == 0x1234);
  t.mknod("/p", 0600, FileType::fifo);
  t.mknod("/s", 0600, FileType::socket);
  t.world.commit();
  CHECK(t.stat("/c").type == FileType::character_device);
  CHECK(t.stat("/c").rdev == 0x1234);
  CHECK(t.stat("/p").type == FileType::fifo);
  CHECK(t.stat("/s").type == FileType::socket);
  CHECK(t.error_of(t.fs().read_link(t.id("/p"))) == EINVAL);
  CHECK(t.error_of(t.fs().open(t.id("/p"), false)) == ENXIO);
  CHECK(t.error_of(t.fs().open(kRootInode, false)) == EISDIR);
  CHECK(t.error_of(t.fs().open_directory(t.id("/p"))) == ENOTDIR);
  t.check();
}

TEST_CASE("a directory with the set-group-ID bit passes its group on, and the bit to directories") {
  DriveFs t;
  t.mkdir("/d");
  REQUIRE(t.set("/d", {.mode = 02755, .gid = 77}) == 0);
  t.mkdir("/d/e");
  t.mknod("/d/f", 0644);
  CHECK(t.stat("/d/e").gid == 77);
  CHECK(t.stat("/d/e").mode == 02755);
  CHECK(t.stat("/d/f").gid == 77);
  CHECK(t.stat("/d/f").mode == 0644);
  t.symlink("/d/l", "x");
  CHECK(t.stat("/d/l").gid == 77);
}

TEST_CASE("make, link and unlink renew the times that POSIX says, and no others") {
  DriveFs t;
  t.mkdir("/d");
  t.mknod("/d/f");
  t.pass(kSecond);
  const WallTime before = t.now();
  CHECK(t.stat("/d").mtime < before);
  REQUIRE(t.link("/d/f", "/d/g") == 0);
  CHECK(t.stat("/d").mtime == t.now());
  CHECK(t.stat("/d").ctime == t.now());
  CHECK(t.stat("/d/f").ctime == t.now());
  CHECK(t.stat("/d/f").mtime < before);
  CHECK(t.stat("/d/f").links == 2);
  t.pass(kSecond);
  REQUIRE(t.unlink("/d/f") == 0);
  CHECK(t.stat("/d").mtime == t.now());
  CHECK(t.stat("/d/g").ctime == t.now());
  CHECK(t.stat("/d/g").mtime < before);
  CHECK(t.stat("/d/g").links == 1);
  t.pass(kSecond);
  t.mkdir("/d/e");
  CHECK(t.stat("/").mtime < before);
  t.pass(kSecond);
  const WallTime failed = t.now();
  CHECK(t.rmdir("/d") == ENOTEMPTY);
  CHECK(t.unlink("/d") == EISDIR);
  CHECK(t.rmdir("/d/g") == ENOTDIR);
  CHECK(t.rmdir("/d/nothing") == ENOENT);
  CHECK(t.unlink("/d/nothing") == ENOENT);
  CHECK(t.stat("/d").mtime < failed);
  CHECK(t.stat("/d/g").ctime < failed);
  REQUIRE(t.rmdir("/d/e") == 0);
  CHECK(t.stat("/d").mtime == t.now());
  CHECK(t.stat("/d").links == 2);
  t.check();
}

TEST_CASE("a directory has no second name, and a file not without end") {
  DriveFs t;
  t.mkdir("/d");
  t.mknod("/f");
  CHECK(t.link("/d", "/e") == EPERM);
  CHECK(t.link("/f", "/d") == EEXIST);
  CHECK(t.error_of(t.fs().link(t.id("/f"), kRootInode, std::string(256, 'x'))) == ENAMETOOLONG);
  CHECK(t.error_of(t.fs().link(4711, kRootInode, "x")) == ESTALE);
  CHECK(t.error_of(t.fs().link(t.id("/f"), t.id("/f"), "x")) == ENOTDIR);
  Inode many = t.stat("/f");
  many.links = kMaxLinks;
  REQUIRE(t.world.pending.apply({{inode_key(t.id("/f")), encode_inode(many)}}, {}));
  CHECK(t.link("/f", "/g") == EMLINK);
}

TEST_CASE("rename replaces a file by a file and an empty directory by a directory") {
  DriveFs t;
  t.put("/a", "a");
  t.put("/b", "b");
  t.link("/b", "/b2");
  t.mkdir("/d");
  t.mkdir("/e");
  t.mknod("/e/x");
  t.pass(kSecond);
  CHECK(t.rename("/a", "/d") == EISDIR);
  CHECK(t.rename("/d", "/a") == ENOTDIR);
  CHECK(t.rename("/d", "/e") == ENOTEMPTY);
  CHECK(t.rename("/nothing", "/x") == ENOENT);
  CHECK(t.rename("/e", "/e/y") == EINVAL);
  CHECK(t.rename("/e/x", "/e") == EISDIR);
  CHECK(t.error_of(t.fs().rename(kRootInode, "a", kRootInode, std::string(256, 'x'), 0)) == ENAMETOOLONG);
  CHECK(t.error_of(t.fs().rename(kRootInode, "a", t.id("/b"), "x", 0)) == ENOTDIR);
  CHECK(t.error_of(t.fs().rename(kRootInode, "a", kRootInode, "x", 4)) == EINVAL);
  CHECK(t.error_of(t.fs().rename(kRootInode, "a", kRootInode, "x", 3)) == EINVAL);
  t.check();
  REQUIRE(t.rename("/a", "/b") == 0);
  CHECK(t.read("/b") == "a");
  CHECK(t.stat("/b").ctime == t.now());
  CHECK(t.stat("/b2").links == 1);
  CHECK(t.stat("/b2").ctime == t.now());
  CHECK(t.stat("/").mtime == t.now());
  CHECK_FALSE(t.there("/a"));
  REQUIRE(t.rename("/e", "/d") == 0);
  CHECK(t.there("/d/x"));
  CHECK(t.stat("/").links == 3);
  t.world.commit();
  t.check();
}

TEST_CASE("a moved directory counts in its new parent and its .. leads there") {
  DriveFs t;
  t.mkdir("/a");
  t.mkdir("/b");
  t.mkdir("/a/d");
  t.pass(kSecond);
  REQUIRE(t.rename("/a/d", "/b/e") == 0);
  CHECK(t.stat("/a").links == 2);
  CHECK(t.stat("/b").links == 3);
  CHECK(t.id("/b/e/..") == t.id("/b"));
  CHECK(t.stat("/a").mtime == t.now());
  CHECK(t.stat("/b").mtime == t.now());
  CHECK(t.stat("/b/e").ctime == t.now());
  CHECK(t.stat("/b/e").mtime < t.now());
  t.mkdir("/a/e");
  REQUIRE(t.rename("/b/e", "/a/e") == 0);
  CHECK(t.stat("/a").links == 3);
  CHECK(t.stat("/b").links == 2);
  t.check();
}

TEST_CASE("two names of one file are left alone by rename") {
  DriveFs t;
  t.mknod("/a");
  t.link("/a", "/b");
  t.pass(kSecond);
  CHECK(t.rename("/a", "/b") == 0);
  CHECK(t.rename("/a", "/a") == 0);
  CHECK(t.rename("/a", "/b", kRenameNoReplace) == EEXIST);
  CHECK(t.there("/a"));
  CHECK(t.there("/b"));
  CHECK(t.stat("/").mtime < t.now());
}

TEST_CASE("rename with no-replace and exchange, also across types") {
  DriveFs t;
  t.put("/f", "f");
  t.mkdir("/d");
  t.mkdir("/d/e");
  t.mknod("/d/e/x");
  CHECK(t.rename("/f", "/d", kRenameNoReplace) == EEXIST);
  REQUIRE(t.rename("/f", "/g", kRenameNoReplace) == 0);
  CHECK(t.rename("/g", "/nothing", kRenameExchange) == ENOENT);
  t.pass(kSecond);
  REQUIRE(t.rename("/g", "/d/e", kRenameExchange) == 0);
  CHECK(t.read("/d/e") == "f");
  CHECK(t.there("/g/x"));
  CHECK(t.stat("/").links == 4);
  CHECK(t.stat("/d").links == 2);
  CHECK(t.id("/g/..") == kRootInode);
  CHECK(t.stat("/d/e").ctime == t.now());
  CHECK(t.stat("/g").ctime == t.now());
  t.check();
  REQUIRE(t.rename("/g", "/d", kRenameExchange) == 0);
  CHECK(t.there("/d/x"));
  CHECK(t.there("/g/e"));
  CHECK(t.rename("/g", "/g/e", kRenameExchange) == EINVAL);
  t.mkdir("/d/y");
  CHECK(t.rename("/d", "/d/y", kRenameExchange) == EINVAL);
  CHECK(t.rename("/d/y", "/d", kRenameExchange) == EINVAL);
  t.world.commit();
  t.check();
}

TEST_CASE("a file that rename replaces lives while it is open") {
  DriveFs t;
  t.put("/a", "new");
  t.put("/b", "old");
  const auto old = t.open("/b");
  const InodeId id = t.id("/b");
  REQUIRE(t.rename("/a", "/b") == 0);
  CHECK(t.read(old, 0, 10) == "old");
  t.write(old, 3, "er");
  CHECK(t.read(old, 0, 10) == "older");
  CHECK(t.read("/b") == "new");
  CHECK(t.must(t.fs().attributes(id)).inode.links == 0);
  t.check();
  t.release(old);
  CHECK(t.error_of(t.fs().attributes(id)) == ESTALE);
}

TEST_CASE("a removed directory that is open is empty and takes nothing in") {
  DriveFs t;
  const InodeId id = t.mkdir("/d");
  const auto handle = t.must(t.fs().open_directory(id));
  REQUIRE(t.rmdir("/d") == 0);
  CHECK(t.must(t.fs().attributes(id)).inode.links == 0);
  CHECK(t.must(t.fs().read_directory(handle, 2, 10, true)).empty());
  CHECK(t.error_of(t.fs().make_directory(id, "x", 0755, {})) == ENOENT);
  t.mknod("/f");
  CHECK(t.error_of(t.fs().rename(kRootInode, "f", id, "f", 0)) == ENOENT);
  t.check();
  t.must(t.fs().release_directory(handle));
  CHECK(t.error_of(t.fs().attributes(id)) == ESTALE);
}

TEST_CASE("create makes or opens, and makes only when it is to be exclusive") {
  DriveFs t;
  const auto made = t.must(t.fs().create(kRootInode, "f", 0666, true, t.caller));
  CHECK(made.node.inode.mode == 0644);
  CHECK(t.error_of(t.fs().create(kRootInode, "f", 0666, true, t.caller)) == EEXIST);
  const auto again = t.must(t.fs().create(kRootInode, "f", 0600, false, t.caller));
  CHECK(again.node.id == made.node.id);
  CHECK(again.node.inode.mode == 0644);
  t.mkdir("/d");
  CHECK(t.error_of(t.fs().create(kRootInode, "d", 0600, false, t.caller)) == EISDIR);
}

TEST_CASE("a read-only file system changes nothing") {
  DriveFs t(1, {.read_only = true});
  CHECK(t.error_of(t.fs().make_directory(kRootInode, "d", 0755, {})) == EROFS);
  CHECK(t.error_of(t.fs().set_attributes(kRootInode, {.mode = 0}, {})) == EROFS);
  CHECK(t.error_of(t.fs().create(kRootInode, "f", 0600, false, {})) == EROFS);
  CHECK(t.list("/").size() == 2);
  CHECK(t.world.pending.clean());
}

TEST_CASE("entries that are there all the while come exactly once, whatever comes and goes") {
  DriveFs t;
  t.mkdir("/d");
  const InodeId id = t.id("/d");
  std::set<std::string> stay;
  for (int i = 0; i < 300; ++i) {
    const std::string name = "n" + std::to_string(i * 7919 % 1000);
    if (stay.insert(name).second) t.mknod("/d/" + name);
  }
  t.world.commit();
  const auto handle = t.must(t.fs().open_directory(id));
  std::vector<DirectoryItem> given;
  uint64_t cookie = 0;
  env::Prng prng(3);
  for (int round = 0;; ++round) {
    const auto items = t.must(t.fs().read_directory(handle, cookie, 7, round % 2 == 0));
    if (items.empty()) break;
    for (const auto& item : items) given.push_back(item);
    // Only some of it fitted into the caller's buffer: it comes again.
    const size_t taken = prng.between(1, items.size());
    given.resize(given.size() - items.size() + taken);
    cookie = items[taken - 1].cookie;
    const std::string fresh = "m" + std::to_string(round), later = "o" + std::to_string(round);
    t.mknod("/d/" + fresh);
    t.mknod("/d/" + later);
    if (round > 3) CHECK(t.unlink("/d/o" + std::to_string(round - 3)) == 0);
    if (round % 5 == 0 && given.size() > 10) {
      const std::string gone = given[prng.between(2, given.size() - 1)].entry.name;
      if (stay.erase(gone) > 0) CHECK(t.unlink("/d/" + gone) == 0);
    }
    if (round == 20) t.world.commit();
  }
  std::map<std::string, int> count;
  for (const auto& item : given) {
    ++count[item.entry.name];
    if (item.inode) CHECK(item.inode->type == item.entry.type);
  }
  CHECK(given[0].entry.name == ".");
  CHECK(given[0].entry.inode == id);
  CHECK(given[1].entry.name == "..");
  CHECK(given[1].entry.inode == kRootInode);
  for (const std::string& name : stay) {
    INFO(name);
    CHECK(count[name] == 1);
  }
  for (const auto& [name, times] : count) CHECK(times == 1);
  // From a place that was given before: the same, without what has gone.
  const auto again = t.must(t.fs().read_directory(handle, given[99].cookie, 50, false));
  REQUIRE(again.size() == 50);
  std::vector<std::string> expected, names;
  for (size_t i = 100; expected.size() < 50; ++i) {
    if (t.there("/d/" + given[i].entry.name)) expected.push_back(given[i].entry.name);
  }
  for (const auto& item : again) names.push_back(item.entry.name);
  CHECK(names == expected);
  CHECK(t.must(t.fs().read_directory(handle, 100'000, 50, false)).empty());
  // From the beginning: as it is now.
  t.must(t.fs().read_directory(handle, 0, 5, false));
  CHECK(t.must(t.fs().read_directory(handle, 2, 10'000, false)).size() == t.list("/d").size() - 2);
}

// The kernel keeps listings: it may go on, upon a new handle, from a place that another handle named.
TEST_CASE("a listing goes on from a place that was named to another handle") {
  DriveFs t;
  t.mkdir("/d");
  for (int i = 0; i < 3000; ++i) t.mknod("/d/n" + std::to_string(i));
  const InodeId id = t.id("/d");
  const auto all = t.must(t.fs().read_directory(t.must(t.fs().open_directory(id)), 0, 10'000, true));
  REQUIRE(all.size() == 3002);
  for (const size_t at : {0, 1, 2, 3, 700, 2999, 3000, 3001}) {
    CAPTURE(at);
    const auto handle = t.must(t.fs().open_directory(id));
    const auto rest = t.must(t.fs().read_directory(handle, all[at].cookie, 10'000, true));
    REQUIRE(rest.size() == all.size() - at - 1);
    for (size_t i = 0; i < rest.size(); ++i) {
      CHECK(rest[i].entry.name == all[at + 1 + i].entry.name);
      CHECK(rest[i].cookie == all[at + 1 + i].cookie);
    }
  }
}

TEST_CASE("a directory whose many entries were just removed is found empty with few looks at the tree") {
  DriveFs t;
  t.mkdir("/d");
  const InodeId id = t.id("/d");
  for (int i = 0; i < 3000; ++i) t.must(t.fs().make_node(id, std::to_string(i), FileType::fifo, 0600, 0, t.caller));
  t.world.commit();
  for (int i = 0; i < 3000; ++i) t.must(t.fs().unlink(id, std::to_string(i)));
  const uint64_t loads = t.world.nodes.loads;
  CHECK(t.rmdir("/d") == 0);
  CHECK(t.world.nodes.loads - loads < 100);
  t.check();
}

}  // namespace
}  // namespace cairn::volume
