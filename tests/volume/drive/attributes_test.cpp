// Attributes, extended attributes and ACLs.

#include "volume/drive/acl.h"
#include "volume/drive/drive_helpers.h"

namespace cairn::volume {
namespace {

using test::DriveFs;

constexpr Duration kSecond = std::chrono::seconds(1);

TEST_CASE("chmod, chown and utimens change what was asked for, and the change time") {
  DriveFs t;
  t.mknod("/f");
  const Inode before = t.stat("/f");
  t.pass(kSecond);
  REQUIRE(t.set("/f", {.mode = 01711}) == 0);
  CHECK(t.stat("/f").mode == 01711);
  CHECK(t.stat("/f").ctime == t.now());
  CHECK(t.stat("/f").mtime == before.mtime);
  t.pass(kSecond);
  REQUIRE(t.set("/f", {.uid = 5}) == 0);
  CHECK(t.stat("/f").uid == 5);
  CHECK(t.stat("/f").gid == before.gid);
  CHECK(t.stat("/f").ctime == t.now());
  t.pass(kSecond);
  REQUIRE(t.set("/f", {.atime = 123'456'789'012, .mtime = -5}) == 0);
  CHECK(t.stat("/f").atime == 123'456'789'012);
  CHECK(t.stat("/f").mtime == -5);
  CHECK(t.stat("/f").ctime == t.now());
  REQUIRE(t.set("/f", {.mtime_now = true}) == 0);
  CHECK(t.stat("/f").mtime == t.now());
  CHECK(t.stat("/f").atime == 123'456'789'012);
  t.world.commit();
  CHECK(t.stat("/f").atime == 123'456'789'012);
  CHECK(t.error_of(t.fs().set_attributes(4711, {.mode = 0}, {})) == ESTALE);
}

TEST_CASE("the root of a volume that nobody owns yet is who mounts it") {
  DriveFs t(1, {.root_owner = RootOwner{.uid = 1000, .gid = 100}});
  CHECK(t.stat("/").uid == 1000);
  CHECK(t.stat("/").gid == 100);
  CHECK(t.stat("/").mtime != 0);
  t.mknod("/f");
  t.world.commit();
  CHECK(t.stat("/").uid == 1000);
  REQUIRE(t.set("/", {.uid = 0, .gid = 0}) == 0);
  CHECK(t.stat("/").uid == 0);  // given away on purpose
}

TEST_CASE("a new owner takes the set-id bits away from files, not from directories") {
  DriveFs t;
  t.mknod("/f");
  t.mkdir("/d");
  REQUIRE(t.set("/f", {.mode = 06755}) == 0);
  REQUIRE(t.set("/f", {.uid = 5}) == 0);
  CHECK(t.stat("/f").mode == 0755);
  REQUIRE(t.set("/f", {.mode = 06745}) == 0);
  REQUIRE(t.set("/f", {.gid = 5}) == 0);
  CHECK(t.stat("/f").mode == 02745);  // without the group's right to run it is no set-id bit
  REQUIRE(t.set("/d", {.mode = 06755}) == 0);
  REQUIRE(t.set("/d", {.uid = 5, .gid = 6}) == 0);
  CHECK(t.stat("/d").mode == 06755);
}

TEST_CASE("a truncation takes the set-id bits away when it is asked to") {
  DriveFs t;
  t.mknod("/f");
  for (const bool by_open : {false, true}) {
    REQUIRE(t.set("/f", {.mode = 06777}) == 0);
    const auto cut = [&](bool kill) {
      if (!by_open) return t.set("/f", {.size = 0, .kill_set_id = kill});
      const auto opened = t.must(t.fs().open(t.id("/f"), true, kill));
      t.release(opened.handle);
      return 0;
    };
    REQUIRE(cut(false) == 0);
    CHECK(t.stat("/f").mode == 06777);
    REQUIRE(cut(true) == 0);
    CHECK(t.stat("/f").mode == 0777);
  }
}

TEST_CASE("a write takes the set-id bits away when it is asked to") {
  DriveFs t;
  const auto handle = t.create("/f");
  REQUIRE(t.set("/f", {.mode = 06777}) == 0);
  t.must(t.fs().write(handle, 0, Buffer::copy_of(as_bytes("x")), false, false));
  CHECK(t.stat("/f").mode == 06777);
  t.must(t.fs().write(handle, 0, Buffer::copy_of(as_bytes("x")), false, true));
  CHECK(t.stat("/f").mode == 0777);
}

TEST_CASE("a change of content or owner takes a program's capabilities away") {
  DriveFs t;
  const std::string name = "security.capability";
  const auto handle = t.create("/f");
  const auto has = [&] { return t.error_of(t.fs().get_xattr(t.id("/f"), name)) == 0; };
  const auto give = [&] { REQUIRE(t.error_of(t.fs().set_xattr(t.id("/f"), name, "1", 0)) == 0); };
  give();
  REQUIRE(t.set("/f", {.mode = 0700}) == 0);
  CHECK(has());
  t.must(t.fs().write(handle, 0, Buffer::copy_of(as_bytes("x")), false, false));
  CHECK_FALSE(has());
  give();
  REQUIRE(t.truncate("/f", 0) == 0);
  CHECK_FALSE(has());
  give();
  REQUIRE(t.set("/f", {.gid = 7}) == 0);
  CHECK_FALSE(has());
}

TEST_CASE("truncation renews both times, and is refused for what has no bytes") {
  DriveFs t;
  t.put("/f", "hello");
  t.mkdir("/d");
  t.mknod("/p", 0600, FileType::fifo);
  t.pass(kSecond);
  REQUIRE(t.truncate("/f", 3) == 0);
  CHECK(t.stat("/f").mtime == t.now());
  CHECK(t.stat("/f").ctime == t.now());
  CHECK(t.stat("/f").size == 3);
  const uint64_t version = t.stat("/f").version;
  REQUIRE(t.truncate("/f", 1ULL << 43) == 0);
  CHECK(t.stat("/f").version > version);
  CHECK(t.truncate("/f", (1ULL << 43) + 1) == EFBIG);
  CHECK(t.truncate("/d", 0) == EISDIR);
  CHECK(t.truncate("/p", 0) == EINVAL);
  t.check();
}

TEST_CASE("access times follow the rules of relatime") {
  DriveFs t;
  t.put("/f", "hello");
  t.pass(kSecond);
  const auto handle = t.open("/f");
  t.read(handle, 0, 5);
  const WallTime first = t.now();
  CHECK(t.stat("/f").atime == first);
  CHECK(t.stat("/f").ctime < first);
  t.pass(kSecond);
  t.read(handle, 0, 5);
  CHECK(t.stat("/f").atime == first);
  t.write(handle, 0, "x");
  t.pass(kSecond);
  t.read(handle, 5, 5);  // nothing there
  CHECK(t.stat("/f").atime == first);
  t.read(handle, 0, 5);
  CHECK(t.stat("/f").atime == t.now());
  t.pass(std::chrono::hours(23));
  t.read(handle, 0, 5);
  CHECK(t.stat("/f").atime < t.now());
  t.pass(std::chrono::hours(2));
  t.read(handle, 0, 5);
  CHECK(t.stat("/f").atime == t.now());

  t.mkdir("/d");
  t.pass(kSecond);
  t.list("/d");
  CHECK(t.stat("/d").atime == t.now());
  CHECK(t.stat("/d").mtime < t.now());

  DriveFs quiet(1, {.relatime = false});
  quiet.put("/f", "hello");
  quiet.pass(kSecond);
  CHECK(quiet.read("/f") == "hello");
  CHECK(quiet.stat("/f").atime < quiet.now());
}

TEST_CASE("extended attributes are made, replaced, listed and removed") {
  DriveFs t;
  const InodeId f = t.mknod("/f");
  t.pass(kSecond);
  CHECK(t.error_of(t.fs().get_xattr(f, "user.a")) == ENODATA);
  CHECK(t.error_of(t.fs().set_xattr(f, "user.a", "1", kXattrReplace)) == ENODATA);
  t.must(t.fs().set_xattr(f, "user.a", "1", kXattrCreate));
  CHECK(t.stat("/f").ctime == t.now());
  CHECK(t.stat("/f").has_xattrs);
  CHECK(t.error_of(t.fs().set_xattr(f, "user.a", "2", kXattrCreate)) == EEXIST);
  t.must(t.fs().set_xattr(f, "user.a", "2", kXattrReplace));
  t.must(t.fs().set_xattr(f, "trusted.b", "", 0));
  t.must(t.fs().set_xattr(f, "security.c", std::string(65536, 'c'), 0));
  t.must(t.fs().set_xattr(f, "user." + std::string(250, 'n'), "long", 0));
  t.world.commit();
  CHECK(t.must(t.fs().get_xattr(f, "user.a")) == "2");
  CHECK(t.must(t.fs().get_xattr(f, "trusted.b")).empty());
  CHECK(t.must(t.fs().get_xattr(f, "security.c")).size() == 65536);
  CHECK(t.must(t.fs().list_xattrs(f)).size() == 4);
  CHECK(t.error_of(t.fs().set_xattr(f, "user.d", std::string(65537, 'd'), 0)) == E2BIG);
  CHECK(t.error_of(t.fs().set_xattr(f, "user." + std::string(251, 'n'), "", 0)) == ERANGE);
  CHECK(t.error_of(t.fs().set_xattr(f, "user.", "", 0)) == EINVAL);
  CHECK(t.error_of(t.fs().set_xattr(f, "other.a", "", 0)) == EOPNOTSUPP);
  CHECK(t.error_of(t.fs().get_xattr(f, "system.other")) == EOPNOTSUPP);
  CHECK(t.error_of(t.fs().remove_xattr(f, "user.z")) == ENODATA);
  for (const std::string& name : t.must(t.fs().list_xattrs(f))) t.must(t.fs().remove_xattr(f, name));
  CHECK_FALSE(t.stat("/f").has_xattrs);
  t.check();
}

TEST_CASE("the names of all attributes of a file fit into 64 KiB") {
  DriveFs t;
  const InodeId f = t.mknod("/f");
  int error = 0, count = 0;
  while (error == 0) {
    const std::string number = std::to_string(count++);
    error = t.error_of(t.fs().set_xattr(f, "user." + number + std::string(250 - number.size(), 'n'), "", 0));
  }
  CHECK(error == ENOSPC);
  CHECK(count == 65536 / 256 + 1);
}

TEST_CASE("an unlinked open file keeps its attributes") {
  DriveFs t;
  const auto handle = t.create("/f");
  const InodeId f = t.id("/f");
  t.must(t.fs().set_xattr(f, "user.a", "1", 0));
  REQUIRE(t.unlink("/f") == 0);
  CHECK(t.must(t.fs().get_xattr(f, "user.a")) == "1");
  t.must(t.fs().set_xattr(f, "user.b", "2", 0));
  CHECK(t.must(t.fs().list_xattrs(f)).size() == 2);
  t.must(t.fs().set_attributes(f, {.mode = 0600}, {}));
  CHECK(t.must(t.fs().attributes(f)).inode.mode == 0600);
  t.check();
  t.release(handle);
  t.check();
}

// --- ACLs ---

using Tag = AclEntry::Tag;

std::string acl(uint16_t owner, uint16_t user, uint16_t group, uint16_t mask, uint16_t other) {
  return encode_acl(
      {{Tag::owner, owner}, {Tag::user, user, 1000}, {Tag::group, group}, {Tag::mask, mask}, {Tag::other, other}});
}
std::string small_acl(uint16_t owner, uint16_t group, uint16_t other) {
  return encode_acl({{Tag::owner, owner}, {Tag::group, group}, {Tag::other, other}});
}
const std::string kAccess(kAclAccess), kDefault(kAclDefault);

TEST_CASE("an access ACL sets the mode, and is dropped when it says no more") {
  DriveFs t;
  const InodeId f = t.mknod("/f", 0644);
  t.must(t.fs().set_xattr(f, kAccess, acl(7, 6, 5, 4, 1), 0));
  CHECK(t.stat("/f").mode == 0741);
  CHECK(t.must(t.fs().get_xattr(f, kAccess)) == acl(7, 6, 5, 4, 1));
  REQUIRE(t.set("/f", {.mode = 0620}) == 0);
  CHECK(t.must(t.fs().get_xattr(f, kAccess)) == acl(6, 6, 5, 2, 0));
  t.must(t.fs().set_xattr(f, kAccess, small_acl(6, 5, 4), 0));
  CHECK(t.stat("/f").mode == 0654);
  CHECK(t.error_of(t.fs().get_xattr(f, kAccess)) == ENODATA);
  CHECK_FALSE(t.stat("/f").has_xattrs);
  t.must(t.fs().set_xattr(f, kAccess, acl(7, 6, 5, 4, 1), 0));
  t.must(t.fs().remove_xattr(f, kAccess));
  CHECK(t.stat("/f").mode == 0741);
  CHECK(t.error_of(t.fs().set_xattr(f, kAccess, std::string("\2\0\0\0rubbish", 11), 0)) == EINVAL);
  CHECK(t.error_of(t.fs().set_xattr(f, kDefault, acl(7, 6, 5, 4, 1), 0)) == EACCES);
  const InodeId link = t.symlink("/l", "f");
  CHECK(t.error_of(t.fs().set_xattr(link, kAccess, acl(7, 6, 5, 4, 1), 0)) == EOPNOTSUPP);
  t.check();
}

TEST_CASE(
    "an ACL set by one who is not of the group, and space allocated by one who is not root, take set-id bits away") {
  DriveFs t;
  t.mknod("/f");
  const InodeId f = t.id("/f");
  REQUIRE(t.set("/f", {.mode = 06775, .gid = 50}) == 0);
  const auto mode = [&] { return t.stat("/f").mode & 07000; };
  REQUIRE(t.set("/f", {.mode = 06775}) == 0);
  t.must(t.fs().set_xattr(f, kAccess, acl(7, 6, 5, 4, 1), 0));
  CHECK(mode() == 06000);
  t.must(t.fs().set_xattr(f, kAccess, acl(7, 6, 5, 4, 1), 0, std::vector<uint32_t>{3, 50}));
  CHECK(mode() == 06000);
  t.must(t.fs().set_xattr(f, kAccess, acl(7, 6, 5, 4, 1), 0, std::vector<uint32_t>{3, 51}));
  CHECK(mode() == 04000);
  const auto handle = t.must(t.fs().open(f, false)).handle;
  t.must(t.fs().allocate(handle, 0, 0, 100));
  CHECK(mode() == 04000);
  t.must(t.fs().allocate(handle, 0, 0, 100, true));
  CHECK(mode() == 0);
  REQUIRE(t.set("/f", {.mode = 06775}) == 0);
  t.must(t.fs().copy_range(handle, 0, handle, 50, 50, true));
  CHECK(mode() == 0);
}

TEST_CASE("a default ACL is passed on in place of the umask") {
  DriveFs t;
  const InodeId d = t.mkdir("/d", 0777);
  const uint32_t mode = t.stat("/d").mode;
  t.must(t.fs().set_xattr(d, kDefault, acl(7, 7, 5, 7, 5), 0));
  CHECK(t.stat("/d").mode == mode);
  const InodeId f = t.mknod("/d/f", 0666);
  CHECK(t.stat("/d/f").mode == 0664);
  CHECK(t.must(t.fs().get_xattr(f, kAccess)) == acl(6, 7, 5, 6, 4));
  CHECK(t.error_of(t.fs().get_xattr(f, kDefault)) == ENODATA);
  const InodeId e = t.mkdir("/d/e", 0700);
  CHECK(t.stat("/d/e").mode == 0700);
  CHECK(t.must(t.fs().get_xattr(e, kAccess)) == acl(7, 7, 5, 0, 0));
  CHECK(t.must(t.fs().get_xattr(e, kDefault)) == acl(7, 7, 5, 7, 5));
  t.symlink("/d/l", "x");
  CHECK(t.stat("/d/l").mode == 0777);
  CHECK_FALSE(t.stat("/d/l").has_xattrs);
  const auto made = t.must(t.fs().create(d, "g", 0666, true, t.caller));
  CHECK(made.node.inode.mode == 0664);
  const auto unnamed = t.must(t.fs().make_unnamed(d, 0666, t.caller));
  CHECK(unnamed.node.inode.mode == 0664);
  CHECK(t.must(t.fs().get_xattr(unnamed.node.id, kAccess)) == acl(6, 7, 5, 6, 4));
  t.must(t.fs().link(unnamed.node.id, d, "named"));
  CHECK(t.must(t.fs().get_xattr(unnamed.node.id, kAccess)) == acl(6, 7, 5, 6, 4));
  // One that says no more than a mode leaves no ACL at the file.
  t.must(t.fs().set_xattr(d, kDefault, small_acl(7, 7, 7), 0));
  const InodeId h = t.mknod("/d/h", 0666);
  CHECK(t.stat("/d/h").mode == 0666);
  CHECK(t.error_of(t.fs().get_xattr(h, kAccess)) == ENODATA);
  t.must(t.fs().set_xattr(d, kDefault, "", 0));
  CHECK(t.error_of(t.fs().get_xattr(d, kDefault)) == ENODATA);
  t.mknod("/d/i", 0666);
  CHECK(t.stat("/d/i").mode == 0644);
  t.world.commit();
  t.check();
}

}  // namespace
}  // namespace cairn::volume
