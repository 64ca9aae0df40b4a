"""The drive: real daemons, real FUSE mounts, the programs that people use on them.

Every mount that a test makes is taken away and its process ended, also when the test fails. Needs /dev/fuse and root."""
import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import pathlib
import random
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import unittest

from pool import BIN, PATIENCE, Node, PoolTest, run

libc = ctypes.CDLL(None, use_errno=True)
PUNCH_HOLE, KEEP_SIZE = 2, 1
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
AT_SYMLINK_FOLLOW = 0x400


NOBODY = 65534
# What a person does, in their own folder, with the programs in the PATH.
ORDINARY_USER = """
set -e
cairn init --home home --name mine --store store --limit 100M --listen 127.0.0.1:0 --phrase-out words >/dev/null
sed -i 's/"10%"/"0%"/' home/config.toml
cairnd --home home >ready 2>log &
daemon=$!
trap 'set +e; cairn umount drive --now --home home 2>/dev/null; kill $daemon; wait' EXIT
until grep -q ^ready ready; do sleep 0.05; done
mkdir drive
! cairn mount --home home -o allow_other main drive
cairn mount --home home main drive
[ "$(stat -c %u drive)" = "$(id -u)" ]
echo text > drive/file
mkdir drive/folder
cp words drive/folder
cairn umount drive --home home
[ -z "$(ls drive)" ]
cairn mount --home home main drive
[ "$(cat drive/file)" = text ]
cmp words drive/folder/words
[ "$(stat -c %u drive/file)" = "$(id -u)" ]
cairn umount drive --home home
echo all as it should be
"""


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not in time: {what}")
        time.sleep(0.02)


class Mount:
    """A mount of a node's volume; close() takes it away whatever state it is in."""

    def __init__(self, node, directory, *words, volume="main", options=()):
        self.node, self.dir, self.words, self.volume, self.options = node, pathlib.Path(directory), words, volume, list(options)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.pids = []
        self.mount()

    def mount(self):
        options = [w for o in self.options for w in ("-o", o)]
        self.node.cairn("mount", *self.words, *options, self.volume, self.dir)
        self.pids.append(self.status()["pid"])

    def status(self):
        return json.loads(os.getxattr(self.dir, "system.cairn.status"))

    @property
    def pid(self):
        return self.pids[-1]

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not alive(self.pid), "the mount's process has ended")

    def umount(self, *words, **options):
        self.node.cairn("umount", self.dir, *words, **options)

    def sync(self):
        self.node.cairn("sync", self.dir)

    def close(self):
        subprocess.run(["umount", "-l", self.dir], capture_output=True)
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
        for pid in self.pids:
            wait_until(lambda p=pid: not alive(p), "the mount's process has ended")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def make_zoo(root):
    """Every kind of entry."""
    root = pathlib.Path(root)
    rng = random.Random(7)
    (root / "dir/deep/er").mkdir(parents=True)
    (root / "empty dir").mkdir(mode=0o1777)
    os.chmod(root / "empty dir", 0o1777)
    for name, size in [("empty", 0), ("one", 1), ("inline", 4096), ("above", 4097), ("extent", 131072), ("odd", 131073), ("large", 3 << 20)]:
        (root / "dir" / name).write_bytes(rng.randbytes(size))
    for number in range(50):
        (root / "dir/deep" / f"f{number}").write_bytes(rng.randbytes(number * 100))
    names = [b"\xff\xfe not utf-8", "ünï\u00e7ødé".encode(), b"new\nline", b" spaces ", b"-dash", b"n" * 255, b"'quote\"", b"tab\t", b"\\back"]
    for name in names:
        with open(os.fsencode(root) + b"/" + name, "wb") as file:
            file.write(name)
    (root / "link").symlink_to("dir/odd")
    (root / "dangling").symlink_to("no where" * 100)
    os.link(root / "dir/odd", root / "dir/deep/er/hard")
    os.link(root / "dir/odd", root / "hard2")
    os.mkfifo(root / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        os.chdir(root)
        s.bind("socket")
        os.chdir(here)
    os.mknod(root / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(root / "block", 0o600 | stat.S_IFBLK, os.makedev(7, 200))
    with open(root / "sparse", "wb") as file:
        file.truncate(20 << 20)
        file.seek(5 << 20)
        file.write(rng.randbytes(100000))
        file.seek(17 << 20)
        file.write(b"x")
    for name in ["set-uid", "read-only", "none"]:
        (root / name).write_bytes(name.encode())
    os.chmod(root / "set-uid", 0o6755)
    os.chmod(root / "read-only", 0o444)
    os.chmod(root / "none", 0)
    os.chown(root / "dir/inline", 1234, 4321)
    os.setxattr(root / "dir/inline", "user.comment", b"a value \0 with zero")
    os.setxattr(root / "dir/inline", "user.large", rng.randbytes(3000))
    os.setxattr(root / "dir", "user.of a directory", b"")
    os.setxattr(root / "link", "trusted.of.a.link", b"1", follow_symlinks=False)
    run("setfacl", "-m", "u:1234:rwx,g:4321:r-x", root / "dir/one")
    run("setfacl", "-d", "-m", "u:1234:rwx", root / "dir/deep/er")
    for index, path in enumerate(sorted(root.rglob("*"))):
        os.utime(path, ns=(1_500_000_000_000_000_001 + index, 1_600_000_000_123_456_789 + index * 1000), follow_symlinks=False)


class MountTest(PoolTest):
    NODES, LIMIT = 6, "512M"

    def mounted(self, *words, node=None, name="mnt", **options):
        mount = Mount(node or self.me, self.folder(name), *words, **options)
        self.addCleanup(mount.close)
        return mount

    def same_trees(self, one, other):
        """As rsync sees it: every byte, time, owner, attribute and hard link."""
        said = run("rsync", "-aHAXn", "--checksum", "--delete", "--itemize-changes", f"{one}/", f"{other}/").stdout
        self.assertEqual(said, b"")

    def here(self, mount, name):
        folder = mount.dir / self.id().rsplit(".", 1)[-1] / name
        folder.mkdir(parents=True)
        return folder


class Files(MountTest):
    """One mount for all tests of the class, each in a folder of its own."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mount = Mount(cls.me, cls.pool.root / "drive", options=["allow_other,dev,suid"])
        cls.addClassCleanup(cls.mount.close)

    def setUp(self):
        self.dir = self.mount.dir / self.id().rsplit(".", 1)[-1]
        self.dir.mkdir()

    def test_a_zoo_makes_the_round_trip_by_rsync_and_is_the_same_from_another_cache(self):
        zoo = self.folder("zoo")
        zoo.mkdir()
        make_zoo(zoo)
        run("rsync", "-aHAXS", "--checksum", f"{zoo}/", f"{self.dir}/")
        self.same_trees(zoo, self.dir)
        # A sparse file stays sparse, by what the file says of itself.
        with open(self.dir / "sparse", "rb") as file:
            self.assertEqual(os.lseek(file.fileno(), 0, os.SEEK_HOLE), 0)
        self.mount.sync()
        fresh = self.mounted(options=["cache-dir=" + str(self.folder("cache"))])
        self.same_trees(zoo, fresh.dir / self.dir.name)
        back = self.folder("back")
        back.mkdir()
        run("rsync", "-aHAX", "--checksum", f"{fresh.dir / self.dir.name}/", f"{back}/")
        self.same_trees(zoo, back)

    def test_sqlite_keeps_a_database(self):
        def work(number):
            base = sqlite3.connect(self.dir / "base.db", timeout=60, isolation_level=None)
            for i in range(40):
                base.execute("begin immediate")
                base.execute("insert into t values (?, ?)", (number, i))
                base.execute("update total set n = n + 1")
                base.execute("commit")
            base.close()

        base = sqlite3.connect(self.dir / "base.db")
        base.executescript("create table t (a, b); create table total (n); insert into total values (0);")
        threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(base.execute("select n from total").fetchone(), (120,))
        self.assertEqual(base.execute("select count(*) from t").fetchone(), (120,))
        self.assertEqual(base.execute("pragma integrity_check").fetchone(), ("ok",))
        base.execute("pragma journal_mode=wal")
        base.execute("insert into t values (9, 9)")
        base.commit()
        base.close()

    def test_git_works_in_it(self):
        def git(*words):
            return run("git", "-C", self.dir / "repo", "-c", "user.name=a", "-c", "user.email=a@b", *words).stdout

        run("git", "init", "-q", "-b", "main", self.dir / "repo")
        for i in range(200):
            path = self.dir / "repo" / f"d{i % 7}" / f"f{i}"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{i}\n" * i)
        git("add", ".")
        git("commit", "-qm", "one")
        git("checkout", "-qb", "other")
        (self.dir / "repo/d0/f0").write_text("changed")
        git("commit", "-qam", "two")
        git("checkout", "-q", "main")
        git("merge", "-q", "other")
        git("gc", "-q")
        self.assertEqual(git("status", "--porcelain"), b"")
        git("fsck", "--strict")
        run("git", "clone", "-q", self.dir / "repo", self.dir / "clone")
        self.assertEqual((self.dir / "clone/d0/f0").read_text(), "changed")

    def test_a_shared_mapping_is_written_back(self):
        path = self.dir / "mapped"
        path.write_bytes(bytes(1 << 20))
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            mapped[5000:5005] = b"hello"
            mapped[(1 << 20) - 3:] = b"end"
            mapped.flush()
            self.assertEqual(os.pread(file.fileno(), 5, 5000), b"hello")
            os.pwrite(file.fileno(), b"HELLO", 5000)
            self.assertEqual(mapped[5000:5005], b"HELLO")
        before = path.stat().st_mtime_ns
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            mapped[0:1] = b"x"
        self.assertEqual(path.read_bytes()[:1] + path.read_bytes()[-3:], b"xend")
        self.assertGreater(path.stat().st_mtime_ns, before)

    def test_two_processes_that_append_lose_no_line(self):
        path = self.dir / "log"
        code = "import os,sys\nf=os.open(sys.argv[1],os.O_WRONLY|os.O_CREAT|os.O_APPEND,0o600)\nfor i in range(500): os.write(f,(sys.argv[2]+str(i).zfill(60)+chr(10)).encode())"
        writers = [subprocess.Popen([sys.executable, "-c", code, path, letter]) for letter in "ab"]
        for writer in writers:
            self.assertEqual(writer.wait(PATIENCE), 0)
        lines = path.read_text().splitlines()
        for letter in "ab":
            self.assertEqual([l[1:] for l in lines if l[0] == letter], [str(i).zfill(60) for i in range(500)])

    def test_a_removed_file_lives_while_it_is_open(self):
        path = self.dir / "gone"
        with open(path, "w+b") as file:
            file.write(b"a" * 300000)
            file.flush()
            path.unlink()
            self.assertEqual(os.listdir(self.dir), [])
            self.assertEqual(os.fstat(file.fileno()).st_nlink, 0)
            file.write(b"b" * 300000)
            file.flush()
            os.fchmod(file.fileno(), 0o600)
            self.mount.sync()
            self.assertEqual(os.pread(file.fileno(), 600001, 0), b"a" * 300000 + b"b" * 300000)

    def test_a_file_without_a_name_may_get_one(self):
        try:
            fd = os.open(self.dir, os.O_TMPFILE | os.O_RDWR, 0o640)
        except OSError as error:
            self.assertEqual(error.errno, errno.EOPNOTSUPP)  # of the kernel before 6.1
            self.skipTest("no O_TMPFILE here")
        os.write(fd, b"content" * 1000)
        self.assertEqual(os.listdir(self.dir), [])
        # os.link() never asks for the link to be followed.
        self.assertEqual(libc.linkat(-100, os.fsencode(f"/proc/self/fd/{fd}"), -100, os.fsencode(self.dir / "named"), AT_SYMLINK_FOLLOW), 0)
        os.close(fd)
        self.assertEqual((self.dir / "named").read_bytes(), b"content" * 1000)
        self.assertEqual((self.dir / "named").stat().st_mode & 0o777, 0o640)
        os.close(os.open(self.dir, os.O_TMPFILE | os.O_RDWR, 0o600))
        self.assertEqual(os.listdir(self.dir), ["named"])

    def test_holes_are_told_and_made(self):
        path = self.dir / "holes"
        with open(path, "w+b") as file:
            fd = file.fileno()
            os.ftruncate(fd, 8 << 20)
            os.pwrite(fd, b"x" * (1 << 20), 2 << 20)
            self.assertEqual(os.lseek(fd, 0, os.SEEK_DATA), 2 << 20)
            self.assertEqual(os.lseek(fd, 2 << 20, os.SEEK_HOLE), 3 << 20)
            with self.assertRaises(OSError) as raised:
                os.lseek(fd, 3 << 20, os.SEEK_DATA)
            self.assertEqual(raised.exception.errno, errno.ENXIO)
            self.assertEqual(libc.fallocate(fd, PUNCH_HOLE | KEEP_SIZE, ctypes.c_long((2 << 20) + (256 << 10)), ctypes.c_long(512 << 10)), 0)
            self.assertEqual(os.lseek(fd, 2 << 20, os.SEEK_HOLE), (2 << 20) + (256 << 10))
            self.assertEqual(os.pread(fd, 1 << 20, 2 << 20), b"x" * (256 << 10) + bytes(512 << 10) + b"x" * (256 << 10))
            os.posix_fallocate(fd, 0, 9 << 20)
            self.assertEqual(os.fstat(fd).st_size, 9 << 20)
            copied = os.copy_file_range(fd, fd, 1 << 20, 2 << 20, 8 << 20)
            self.assertEqual(copied, 1 << 20)
            self.assertEqual(os.pread(fd, 256 << 10, 8 << 20), b"x" * (256 << 10))

    def test_locks_hold_between_processes(self):
        path = self.dir / "lock"
        path.write_bytes(b"0")
        code = ("import fcntl,sys\nhow=getattr(fcntl,sys.argv[2])\nf=open(sys.argv[1],'r+b')\n"
                "for i in range(200):\n how(f,fcntl.LOCK_EX); f.seek(0); n=int(f.read()); f.seek(0); f.write(str(n+1).encode()); f.flush(); how(f,fcntl.LOCK_UN)")
        for how in ["flock", "lockf"]:
            path.write_bytes(b"0")
            workers = [subprocess.Popen([sys.executable, "-c", code, path, how]) for _ in range(3)]
            for worker in workers:
                self.assertEqual(worker.wait(PATIENCE), 0)
            self.assertEqual(path.read_bytes(), b"600")
        with open(path, "r+b") as one, open(path, "r+b") as other:
            fcntl.flock(one, fcntl.LOCK_EX)
            with self.assertRaises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_renames_keep_their_rules(self):
        def rename(one, other, flags):
            done = libc.renameat2(-100, os.fsencode(self.dir / one), -100, os.fsencode(self.dir / other), flags)
            return ctypes.get_errno() if done else 0

        (self.dir / "a").write_text("a")
        (self.dir / "b").write_text("b")
        self.assertEqual(rename("a", "b", RENAME_NOREPLACE), errno.EEXIST)
        self.assertEqual(rename("a", "b", RENAME_EXCHANGE), 0)
        self.assertEqual((self.dir / "a").read_text(), "b")
        (self.dir / "d").mkdir()
        (self.dir / "e/f").mkdir(parents=True)
        self.assertEqual(rename("d", "e", 0), errno.ENOTEMPTY)
        self.assertEqual(rename("e", "e/f/g", 0), errno.EINVAL)
        self.assertEqual(rename("e", "d", 0), 0)
        self.assertEqual(rename("a", "d", 0), errno.EISDIR)
        self.assertEqual(rename("d", "a", 0), errno.ENOTDIR)
        self.assertEqual((self.dir / "d").stat().st_nlink, 3)

    def test_a_listing_is_whole_while_entries_come_and_go(self):
        for i in range(3000):
            (self.dir / f"stays{i}").touch()
        seen = []
        with os.scandir(self.dir) as entries:
            for count, entry in enumerate(entries):
                seen.append(entry.name)
                if count % 10 == 0:
                    (self.dir / f"new{count}").touch()
                if count % 20 == 0 and count > 0:
                    (self.dir / f"new{count - 10}").unlink(missing_ok=True)
        stays = [name for name in seen if name.startswith("stays")]
        self.assertEqual(len(stays), 3000)
        self.assertEqual(len(set(seen)), len(seen))

    def test_other_users_are_held_to_the_permissions(self):
        secret = self.dir / "secret"
        secret.write_text("x")
        secret.chmod(0o600)
        acl = self.dir / "acl"
        acl.write_text("y")
        acl.chmod(0o600)
        run("setfacl", "-m", "u:1234:r", acl)
        self.dir.chmod(0o755)
        os.chmod(self.pool.root, 0o755)
        code = "import os,sys\nos.setgid(1234); os.setuid(1234)\nprint(open(sys.argv[1]).read())"
        self.assertIn(b"PermissionError", run(sys.executable, "-c", code, secret, expect=1).stderr)
        self.assertEqual(run(sys.executable, "-c", code, acl).stdout, b"y\n")

    def test_a_write_by_another_user_takes_the_set_id_bits_away(self):
        os.chmod(self.pool.root, 0o755)
        self.dir.chmod(0o777)
        code = ("import os,sys\nos.setgid(1234); os.setuid(1234)\nf=os.open(sys.argv[1],os.O_RDWR|(os.O_TRUNC if sys.argv[2]=='open' else 0))\n"
                "os.write(f,b'x') if sys.argv[2]=='write' else os.ftruncate(f,1) if sys.argv[2]=='truncate'"
                " else os.posix_fallocate(f,0,9) if sys.argv[2]=='fallocate' else os.copy_file_range(f,f,1,0,4) if sys.argv[2]=='copy' else 0")
        for how in ["write", "truncate", "open", "fallocate", "copy"]:
            path = self.dir / how
            path.write_bytes(b"program")
            path.chmod(0o6777)
            with open(path, "r+b") as file:
                file.write(b"by root")
            self.assertEqual(path.stat().st_mode & 0o7777, 0o6777)
            run(sys.executable, "-c", code, path, how)
            self.assertEqual(path.stat().st_mode & 0o7777, 0o777, how)

    def test_the_figures_of_df_are_the_pools(self):
        space = os.statvfs(self.dir)
        total = space.f_blocks * space.f_frsize
        # Six stores of 512 MiB, coded 4+2.
        self.assertLessEqual(total, 6 * (512 << 20) * 4 // 6)
        self.assertGreater(total, 1 << 30)
        self.assertLessEqual(space.f_bavail, space.f_blocks)
        self.assertGreater(space.f_files, 0)
        self.assertEqual(space.f_namemax, 255)

    def test_status_says_what_is_not_in_the_pool(self):
        (self.dir / "f").write_bytes(os.urandom(2 << 20))
        mounts = self.me.json("status")["mounts"]
        mine = [m for m in mounts if m["dir"] == str(self.mount.dir)]
        self.assertEqual(len(mine), 1)
        self.assertEqual(mine[0]["volume"], "main")
        self.mount.sync()
        mine = [m for m in self.me.json("status")["mounts"] if m["dir"] == str(self.mount.dir)]
        self.assertEqual(mine[0]["pending_bytes"], 0)
        self.assertIn(b"everything is in the pool", self.me.cairn("status").stdout)
        self.assertEqual(self.me.cairn("cat", f"main:/{self.dir.name}/f").stdout, (self.dir / "f").read_bytes())


class Lives(MountTest):
    """Mounts that come, go and die."""

    def test_umount_waits_until_all_is_in_the_pool(self):
        mount = self.mounted()
        content = os.urandom(20 << 20)
        (self.here(mount, "x") / "file").write_bytes(content)
        mount.umount()
        self.assertFalse(alive(mount.pid))
        self.assertFalse(os.path.ismount(mount.dir))
        self.assertEqual(self.me.cairn("cat", f"main:/{self.id().rsplit('.', 1)[-1]}/x/file").stdout, content)
        self.assertEqual(self.me.json("status")["mounts"], [])

    def test_plain_umount_leaves_the_process_uploading_until_done(self):
        mount = self.mounted()
        content = os.urandom(20 << 20)
        (self.here(mount, "x") / "file").write_bytes(content)
        run("umount", mount.dir)
        self.me.cairn("sync")
        wait_until(lambda: not alive(mount.pid), "the process has ended")
        self.assertEqual(self.me.cairn("cat", f"main:/{self.id().rsplit('.', 1)[-1]}/x/file").stdout, content)
        self.assertEqual(self.me.json("status")["mounts"], [])

    def test_umount_now_leaves_the_rest_to_the_next_mount(self):
        mount = self.mounted()
        folder = self.here(mount, "x")
        content = os.urandom(20 << 20)
        (folder / "file").write_bytes(content)
        mount.umount("--now")
        self.assertFalse(alive(mount.pid))
        mount.mount()
        self.assertEqual((folder / "file").read_bytes(), content)
        mount.umount()
        self.assertEqual(self.me.cairn("cat", f"main:/{self.id().rsplit('.', 1)[-1]}/x/file").stdout, content)

    def test_what_was_fsynced_survives_a_kill_in_the_midst_of_writes(self):
        mount = self.mounted()
        folder = self.here(mount, "x")
        written, stop = {}, threading.Event()

        def write(number):
            rng = random.Random(number)
            for i in range(10000):
                if stop.is_set():
                    return
                content = rng.randbytes(rng.randrange(1, 200000))
                path = folder / f"{number}-{i}"
                try:
                    with open(path, "wb") as file:
                        file.write(content)
                        file.flush()
                        os.fsync(file.fileno())
                    if i % 3 == 0:
                        os.rename(path, folder / f"{number}-{i}-renamed")
                        path = folder / f"{number}-{i}-renamed"
                        fd = os.open(folder, os.O_RDONLY)
                        os.fsync(fd)
                        os.close(fd)
                except OSError:
                    return
                written[path] = content

        threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(written) > 60, "files were written")
        mount.kill()
        stop.set()
        for thread in threads:
            thread.join()
        with self.assertRaises(OSError):
            os.listdir(mount.dir)
        left = self.me.json("status")["mounts"]
        self.assertEqual([m["state"] for m in left], ["left"])
        mount.mount()
        for path, content in written.items():
            self.assertEqual(path.read_bytes(), content)
        mount.umount()
        self.assertEqual(self.me.json("status")["mounts"], [])
        out = self.folder("out")
        self.me.cairn("get", f"main:/{self.id().rsplit('.', 1)[-1]}/x", out)
        for path, content in written.items():
            self.assertEqual((out / path.name).read_bytes(), content)

    def test_a_dead_mount_can_be_unmounted(self):
        mount = self.mounted()
        mount.kill()
        mount.umount()
        self.assertFalse(os.path.ismount(mount.dir))

    def test_mount_says_why_not(self):
        directory = self.folder("mnt")
        self.me.cairn("mount", "main", directory, expect=10)
        directory.mkdir()
        said = self.me.cairn("mount", "-o", "nonsense=1", "main", directory, expect=2).stderr
        self.assertIn(b"nonsense=1", said)
        self.me.cairn("mount", "no-such-volume", directory, expect=10)
        self.me.cairn("umount", directory, expect=10)
        mount = self.mounted()
        said = self.me.cairn("mount", "main", directory, expect=1).stderr
        self.assertIn(b"cache-dir", said)
        self.assertFalse(os.path.ismount(mount.dir / "x"))

    def test_mount_8_and_fstab_words_work(self):
        helper = pathlib.Path("/sbin/mount.cairn")
        if helper.exists():
            self.skipTest("a mount.cairn is installed")
        helper.symlink_to(BIN / "mount.cairn")
        self.addCleanup(helper.unlink)
        directory = self.folder("mnt")
        directory.mkdir()
        self.addCleanup(lambda: subprocess.run(["umount", "-l", directory], capture_output=True))
        run("mount", "-t", "cairn", "main", directory, "-o", f"home={self.me.home},noatime,_netdev,nofail,x-systemd.automount")
        line = next(l for l in pathlib.Path("/proc/mounts").read_text().splitlines() if l.split()[1] == str(directory))
        self.assertEqual(line.split()[0], "main")
        self.assertEqual(line.split()[2], "fuse.cairn")
        self.assertIn("default_permissions", line)
        (directory / "by mount 8").write_text("x")
        self.me.cairn("umount", directory)

    def test_an_ordinary_user_makes_a_pool_and_mounts_it(self):
        # As a user sees it: /dev/fuse is everybody's, the programs are where everybody may run them.
        if not shutil.which("fusermount3"):
            self.skipTest("no fusermount3")
        place = self.folder("place")
        for folder in [self.pool.root, *reversed([p for p in place.parents if self.pool.root in p.parents])]:
            folder.chmod(0o755)
        (place / "bin").mkdir(parents=True)
        for program in ("cairn", "cairnd"):
            shutil.copy(BIN / program, place / "bin")
        (place / "mine").mkdir()
        os.chown(place / "mine", NOBODY, NOBODY)
        os.mknod(place / "fuse", 0o666 | stat.S_IFCHR, os.makedev(10, 229))
        os.chmod(place / "fuse", 0o666)
        script = f"mount --bind {place}/fuse /dev/fuse && exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups bash {place}/script"
        (place / "script").write_text(ORDINARY_USER)
        done = subprocess.run(["unshare", "-m", "bash", "-c", script], cwd=place / "mine", capture_output=True, timeout=PATIENCE,
                              env={"PATH": f"{place}/bin:{os.environ['PATH']}", "HOME": str(place / "mine")})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(b"user_allow_other", done.stderr)
        self.assertEqual(done.stdout.split(b"\n")[-2], b"all as it should be")

    def test_the_unit_for_systemd_is_understood(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("no systemd-analyze")
        folder = self.folder("units")
        folder.mkdir(parents=True)
        unit = (pathlib.Path(__file__).parents[2] / "scripts/cairn-drive@.service").read_text()
        (folder / "cairn-drive@main.service").write_text(unit.replace("=cairn ", f"={BIN}/cairn "))
        run("systemd-analyze", "--user", "verify", folder / "cairn-drive@main.service", env={"XDG_RUNTIME_DIR": str(folder), **os.environ})

    def test_read_only(self):
        mount = self.mounted()
        (self.here(mount, "x") / "file").write_text("x")
        mount.umount()
        mount = self.mounted(name="ro", options=["ro"])
        path = mount.dir / self.id().rsplit(".", 1)[-1] / "x/file"
        self.assertEqual(path.read_text(), "x")
        with self.assertRaises(OSError) as raised:
            path.write_text("y")
        self.assertEqual(raised.exception.errno, errno.EROFS)
        mount.umount()

    def test_snapshots_are_shown_for_reading(self):
        tree = self.folder("tree")
        tree.mkdir()
        make_zoo(tree)
        self.me.cairn("backup", tree)
        (tree / "later").write_text("x")
        self.me.cairn("backup", tree)
        latest = self.mounted(name="latest", volume="latest")
        self.same_trees(tree, latest.dir / tree.relative_to("/"))
        with self.assertRaises(OSError) as raised:
            (latest.dir / "new").touch()
        self.assertEqual(raised.exception.errno, errno.EROFS)
        ids = [s["id"] for s in json.loads(self.me.cairn("snapshots", "--json").stdout)]
        first = self.mounted(name="first", volume=ids[0])
        self.assertFalse((first.dir / tree.relative_to("/") / "later").exists())
        everything = self.mounted("--snapshots", name="all", volume="backups")
        self.assertEqual({n.rsplit("-", 1)[1] for n in os.listdir(everything.dir)}, {i[:8] for i in ids})
        for name in os.listdir(everything.dir):
            self.assertEqual((everything.dir / name / tree.relative_to("/") / "dir/odd").read_bytes(), (tree / "dir/odd").read_bytes())
        # New ones appear, forgotten ones go, within seconds.
        (tree / "later").write_text("y")
        self.me.cairn("backup", tree)
        self.me.cairn("forget", ids[0])
        now = {s["id"][:8] for s in json.loads(self.me.cairn("snapshots", "--json").stdout)}
        deadline = time.monotonic() + PATIENCE
        while {n.rsplit("-", 1)[1] for n in os.listdir(everything.dir)} != now and time.monotonic() < deadline:
            time.sleep(0.2)
        names = os.listdir(everything.dir)
        self.assertEqual({n.rsplit("-", 1)[1] for n in names}, now)
        newest, = [n for n in names if n.rsplit("-", 1)[1] in now - {i[:8] for i in ids}]  # two may be of one second
        self.assertEqual((everything.dir / newest / tree.relative_to("/") / "later").read_text(), "y")
        for mount in [latest, first, everything]:
            mount.umount()

    def test_foreground_serves_until_a_signal(self):
        directory = self.folder("mnt")
        directory.mkdir()
        process = subprocess.Popen([BIN / "cairn", "mount", "--foreground", "main", directory, "--home", self.me.home])
        self.addCleanup(lambda: subprocess.run(["umount", "-l", directory], capture_output=True))
        self.addCleanup(lambda: process.poll() is None and process.kill())
        wait_until(lambda: os.path.ismount(directory), "it is mounted")
        (directory / "from the foreground").write_text("x")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertFalse(os.path.ismount(directory))


class Together(MountTest):
    """Several mounts of one volume."""

    def second_device(self):
        node = Node(self.pool, 200)
        if not node.home.exists():
            pool_id = self.me.json("status")["pool"]["id"]
            node.cairn("recover", "--phrase-file", self.pool.root / "phrase0", "--pool", pool_id, "--peer", self.pool.nodes[2].address)
        return node

    def pairs(self):
        yield "one home", self.me, ["cache-dir=" + str(self.folder("cache"))]
        yield "two devices", self.second_device(), []

    def test_what_one_closes_and_syncs_the_other_sees(self):
        for name, node, options in self.pairs():
            with self.subTest(name):
                a = self.mounted(name="a")
                b = self.mounted(node=node, name="b", options=options)
                folder = self.here(a, name)
                other = b.dir / folder.relative_to(a.dir)
                a.sync()
                wait_until(other.is_dir, "the folder is seen")
                for i in range(5):
                    (folder / "file").write_bytes(b"%d" % i * (i * 1000))
                    (folder / f"new{i}").mkdir()
                    self.assertFalse((other / f"later{i}").exists())  # a name that is not there is kept too
                    (folder / f"later{i}").touch()
                    a.sync()
                    written = time.monotonic()
                    wait_until(lambda: (other / "file").exists() and (other / "file").read_bytes() == b"%d" % i * (i * 1000), "the content is seen")
                    wait_until(lambda: (other / f"later{i}").exists(), "the name is seen")
                    took = time.monotonic() - written
                    self.assertEqual(sorted(os.listdir(folder)), sorted(os.listdir(other)))
                    print(f"seen after {took:.2f} s", file=sys.stderr)
                (folder / "file").unlink()
                os.rename(folder / "new0", folder / "renamed")
                a.sync()
                wait_until(lambda: not (other / "file").exists() and (other / "renamed").exists(), "the removal is seen")
                a.umount()
                b.umount()

    def test_both_writers_of_one_file_survive(self):
        for name, node, options in self.pairs():
            with self.subTest(name):
                a = self.mounted(name="a")
                b = self.mounted(node=node, name="b", options=options)
                folder = self.here(a, name)
                other = b.dir / folder.relative_to(a.dir)
                (folder / "both").write_text("base")
                a.sync()
                wait_until(lambda: (other / "both").exists(), "the file is seen")
                (folder / "both").write_text("from a")
                (other / "both").write_text("from b")
                (folder / "only a").write_text("a")
                (other / "only b").write_text("b")
                a.sync()
                b.sync()

                def contents(root):
                    return sorted(p.read_text() for p in root.iterdir())

                wait_until(lambda: contents(folder) == ["a", "b", "from a", "from b"], "both are seen on a")
                wait_until(lambda: contents(other) == ["a", "b", "from a", "from b"], "both are seen on b")
                self.assertEqual(sorted(os.listdir(folder)), sorted(os.listdir(other)))
                a.umount()
                b.umount()


class Away(MountTest):
    """The pool goes away and comes back."""

    def setUp(self):
        self.addCleanup(self.go_on)

    def stop(self):
        for node in self.pool.nodes:
            node.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        for node in self.pool.nodes:
            node.process.send_signal(signal.SIGCONT)

    def test_cached_work_goes_on_and_the_rest_fails_in_time_and_comes_back(self):
        mount = self.mounted(options=["timeout=4s"])
        folder = self.here(mount, "x")
        content = os.urandom(3 << 20)
        (folder / "cold").write_bytes(content)
        mount.umount()
        shutil.rmtree(self.me.home / "drives")
        mount.mount()
        (folder / "cached").write_bytes(content)
        self.assertEqual(len(os.listdir(folder)), 2)
        self.stop()
        self.assertEqual((folder / "cached").read_bytes(), content)
        (folder / "new").write_bytes(content)
        self.assertEqual((folder / "new").read_bytes(), content)
        with open(folder / "new", "ab") as file:
            os.fsync(file.fileno())
        with self.assertRaises(OSError) as raised:
            (folder / "cold").read_bytes()
        self.assertEqual(raised.exception.errno, errno.EIO)
        # Ctrl-C ends a read that waits.
        reader = subprocess.Popen(["cat", folder / "cold"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        reader.send_signal(signal.SIGINT)
        began = time.monotonic()
        reader.wait(PATIENCE)
        print(f"ended {time.monotonic() - began:.2f} s after Ctrl-C", file=sys.stderr)
        self.go_on()

        def again():
            with contextlib.suppress(OSError):
                return (folder / "cold").read_bytes() == content

        wait_until(again, "the cold file can be read again")
        mount.umount()
        self.assertEqual(self.me.cairn("cat", f"main:/{self.id().rsplit('.', 1)[-1]}/x/new").stdout, content)

    def test_a_volume_that_was_mounted_here_is_mounted_again_without_the_pool(self):
        mount = self.mounted(options=["timeout=4s"])
        folder = self.here(mount, "x")
        content = os.urandom(1 << 20)
        (folder / "synced").write_bytes(content)
        mount.sync()
        self.assertEqual((folder / "synced").read_bytes(), content)
        with open(folder / "not synced", "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self.stop()
        mount.kill()
        mount.mount()
        self.assertEqual((folder / "not synced").read_bytes(), content)
        (folder / "new").write_bytes(content)
        self.go_on()
        mount.umount()
        for name in ["synced", "not synced", "new"]:
            self.assertEqual(self.me.cairn("cat", f"main:/{self.id().rsplit('.', 1)[-1]}/x/{name}").stdout, content)


if __name__ == "__main__":
    unittest.main()
