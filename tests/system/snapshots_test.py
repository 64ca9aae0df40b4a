"""What is done with snapshots beside making them and bringing them back: archives, copies, flags of files, pipes that end early."""
import fcntl
import json
import os
import pathlib
import shutil
import struct
import subprocess
import unittest
import zipfile

from backup_test import all_of, make_zoo
from pool import BIN, PATIENCE, Pool, PoolTest, describe, run

GET_FLAGS, SET_FLAGS = 0x80086601, 0x40086602
IMMUTABLE, APPEND, NODUMP, NOATIME = 0x10, 0x20, 0x40, 0x80
KEPT = 0x2083C4FF


def flags(path, change=None):
    """The flags of chattr(1); sets them first when `change` is given. None where they cannot be had."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        now, = struct.unpack("i", fcntl.ioctl(handle, GET_FLAGS, struct.pack("i", 0)))
        if change is not None:
            now = now & ~KEPT | change
            fcntl.ioctl(handle, SET_FLAGS, struct.pack("i", now))
        return now & KEPT
    except OSError:
        return None
    finally:
        os.close(handle)


class Snapshots(PoolTest):
    LIMIT = "1G"

    def tree(self):
        tree = self.folder("tree")
        tree.mkdir()
        return tree

    def backup(self, *words):
        done = self.me.cairn("backup", *words, "--json")
        return [json.loads(line) for line in done.stdout.decode().splitlines()][-1]["snapshot_id"]

    def snapshots(self, *words, node=None):
        return json.loads((node or self.me).cairn("snapshots", *words, "--json").stdout)

    def test_a_folder_as_a_zip_archive(self):
        tree = self.tree()
        make_zoo(tree)
        snapshot = self.backup(tree)
        archive = self.folder("out.zip")
        self.me.cairn("dump", f"{snapshot}:{tree}", "/", "-a", "zip", "-t", archive)
        stream = self.me.cairn("dump", f"{snapshot}:{tree}", "/sub", "--archive", "zip").stdout
        self.assertEqual(stream[:4], b"PK\x03\x04")
        with zipfile.ZipFile(archive) as zipped:
            self.assertIsNone(zipped.testzip())
            there = {}
            for info in zipped.infolist():
                # Names that are not UTF-8 have no flag that says so: Python takes them for code page 437.
                raw = info.filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
                there[raw.rstrip(b"/")] = (info, zipped.read(info))
        entries = describe(tree)
        expected = set()
        for key in entries:
            path = os.fsencode(tree) + key
            if key and (os.path.islink(path) or os.path.isfile(path) or os.path.isdir(path)):
                expected.add(key[1:])
        self.assertEqual(set(there), expected)
        for key, (info, content) in there.items():
            path = os.fsencode(tree) + b"/" + key
            about = os.lstat(path)
            self.assertEqual(info.external_attr >> 16, about.st_mode, key)
            if os.path.islink(path):
                self.assertEqual(content, os.readlink(path))
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    self.assertEqual(content, file.read(), key)
        with open(tree / "1048576.bin", "rb") as file:  # of a file an archive makes nothing
            self.assertEqual(self.me.cairn("dump", snapshot, f"{tree}/1048576.bin", "-a", "zip").stdout, file.read())

    def test_flags_of_files_come_back_last(self):
        tree = self.tree()
        (tree / "frozen/in").mkdir(parents=True)
        for name in ["plain", "nodump", "append", "immutable", "frozen/in/file", "large"]:
            (tree / name).write_text(name)
        (tree / "large").write_bytes(os.urandom(1 << 20))
        os.link(tree / "immutable", tree / "second name")
        if flags(tree / "nodump", NODUMP | NOATIME) is None:
            self.skipTest("a file system without flags")
        flags(tree / "large", NODUMP)
        flags(tree / "frozen", NODUMP)
        out = self.folder("out")

        def thaw():
            for root in [tree, out]:
                for path in [root / "frozen", *root.rglob("*")]:
                    if path.exists() and not path.is_symlink():
                        flags(path, 0)
        self.addCleanup(thaw)
        privileged = os.geteuid() == 0 and flags(tree / "immutable", IMMUTABLE) is not None
        if privileged:
            flags(tree / "append", APPEND)
            flags(tree / "frozen", IMMUTABLE | NODUMP)
        before = {str(p.relative_to(tree)): flags(p) for p in tree.rglob("*")}
        self.assertEqual(before["nodump"], NODUMP | NOATIME)
        snapshot = self.backup(tree)
        for _ in range(2):  # the second time over what is immutable
            back = self.me.json("restore", f"{snapshot}:{tree}", "-t", out)
            self.assertEqual(back["error_count"], 0)
            self.assertEqual({str(p.relative_to(out)): flags(p) for p in out.rglob("*")}, before)
            self.assertEqual(all_of(tree), all_of(out))
            if privileged:
                flags(out / "immutable", 0)
                (out / "immutable").write_text("another")
                flags(out / "immutable", IMMUTABLE)
        # A change of flags alone is a change.
        flags(tree / "plain", NODUMP)
        again = self.backup(tree)
        what = [json.loads(line) for line in self.me.cairn("diff", snapshot, again, "--metadata", "--json").stdout.decode().splitlines()]
        self.assertIn({"message_type": "change", "path": f"{tree}/plain", "modifier": "U"}, what)

    def test_copies_into_another_volume_and_another_pool(self):
        tree = self.tree()
        make_zoo(tree)
        first = self.backup(tree, "--tag", "one", "--host", "laptop")
        (tree / "later").write_bytes(os.urandom(300_000))
        second = self.backup(tree, "--host", "laptop")
        other = self.folder("other")
        other.mkdir()
        (other / "x").write_text("x")
        self.backup(other, "--host", "desk")
        self.me.cairn("copy", "--volume", "offsite", expect=10)
        self.me.cairn("copy", expect=2)
        self.me.cairn("volume", "create", "offsite", "--dedup")
        plan = self.me.json("copy", "--volume", "offsite", "--host", "laptop", "-n")
        self.assertEqual((plan["copied_snapshots"], plan["dry_run"]), (2, True))
        self.assertEqual(self.snapshots("--volume", "offsite"), [])
        done = self.me.json("copy", "--volume", "offsite", "--host", "laptop")
        self.assertEqual((done["copied_snapshots"], done["skipped_snapshots"]), (2, 0))
        copies = self.snapshots("--volume", "offsite")
        self.assertEqual([(s["original"], s["hostname"], s.get("tags")) for s in copies],
                         [(first, "laptop", ["one"]), (second, "laptop", None)])
        originals = {s["id"]: s for s in self.snapshots()}
        for copy in copies:
            self.assertEqual(copy["time"], originals[copy["original"]]["time"])
            self.assertEqual(copy["paths"], originals[copy["original"]]["paths"])
        out = self.folder("out")
        self.me.cairn("restore", f"latest:{tree}", "-t", out, "--volume", "offsite", "--verify")
        self.assertEqual(all_of(tree), all_of(out))
        again = self.me.json("copy", "--volume", "offsite", "--host", "laptop")
        self.assertEqual((again["copied_snapshots"], again["skipped_snapshots"], again["data_added"]), (0, 2, 0))
        # The second one shares what it has with the first.
        self.assertLess(done["data_added"], 2 * sum(p.stat().st_blocks * 512 for p in tree.rglob("*") if p.is_file() and not p.is_symlink()))
        elsewhere = Pool(nodes=1, limit="512M")
        self.addCleanup(elsewhere.close)
        there = elsewhere.nodes[0]
        there.cairn("backup", other)
        done = there.json("copy", "--from-home", self.me.home, "--from-volume", "offsite", "latest")
        self.assertEqual(done["copied_snapshots"], 1)
        mine = [s for s in self.snapshots(node=there) if s["hostname"] == "laptop"]
        self.assertEqual([s["original"] for s in mine], [second])
        back = self.folder("back")
        there.cairn("restore", f"{mine[0]['id']}:{tree}", "-t", back, "--verify")
        self.assertEqual(all_of(tree), all_of(back))
        # A backup goes on from a copy as from its own: nothing is read again.
        summary = json.loads(there.cairn("backup", tree, "--host", "laptop", "--json").stdout.decode().splitlines()[-1])
        self.assertEqual((summary["files_new"], summary["files_changed"], summary["data_blobs"]), (0, 0, 0))

    def test_a_reader_that_goes_leaves_nothing_behind(self):
        tree = self.tree()
        for i in range(3000):
            (tree / f"{i:04} with a long name so that the pipe is full soon {'x' * 100}").write_text("")
        snapshot = self.backup(tree)
        for words in [["ls", snapshot], ["ls", snapshot, "--json"], ["find", "*", "-s", snapshot], ["dump", snapshot, str(tree)],
                      ["dump", snapshot, str(tree), "-a", "zip"], ["ls", "-R", f"{snapshot}:/"]]:
            process = subprocess.Popen([BIN / "cairn", *words, "--home", self.me.home], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       stdin=subprocess.DEVNULL)
            self.assertTrue(process.stdout.read(10), words)
            process.stdout.close()
            said = process.stderr.read()
            process.stderr.close()
            code = process.wait(PATIENCE)  # it ends by itself
            self.assertIn(code, (0, 1), (words, said))
            self.assertNotIn(b"terminate", said)
            self.assertLessEqual(said.count(b"\n"), 1, (words, said))
        done = subprocess.run(["bash", "-o", "pipefail", "-c", f"'{BIN}/cairn' ls {snapshot} --home '{self.me.home}' | head -1"], capture_output=True,
                              timeout=PATIENCE)
        self.assertEqual((done.stdout.count(b"\n"), done.stderr), (1, b""))
        left = [p for p in pathlib.Path("/proc").glob("[0-9]*/cmdline") if self.uses_home(p)]
        self.assertEqual(left, [])

    def uses_home(self, cmdline):
        try:
            words = cmdline.read_bytes().split(b"\0")
        except OSError:
            return False
        return words[0].endswith(b"/cairn") and os.fsencode(self.me.home) in words


if __name__ == "__main__":
    unittest.main()
