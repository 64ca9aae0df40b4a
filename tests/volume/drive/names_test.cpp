// Names: what POSIX and Linux say of make, link, unlink, rename.

#include "volume/drive/drive_helpers.h"

namespace cairn::volume {
namespace {

using test::DriveFs;

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
  CHECK(t.error_of(t.fs().lookup(dir, std::string(256, 'x'))) == ENAMETOOLONG);
  CHECK(t.error_of(t.fs().make_directory(dir, "f", 0755, {})) == EEXIST);
  CHECK(t.error_of(t.fs().make_directory(dir, std::string(256, 'x'), 0755, {})) == ENAMETOOLONG);
  CHECK(t.error_of(t.fs().make_directory(file, "x", 0755, {})) == ENOTDIR);
  CHECK(t.error_of(t.fs().make_symlink(dir, "l", std::string(4096, 'x'), {})) == ENAMETOOLONG);
  t.mkdir("/" + std::string(255, 'n'));
  t.check();
}

}  // namespace
}  // namespace cairn::volume
