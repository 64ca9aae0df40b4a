"""Backups with real daemons: a zoo comes back with all its metadata, a second run moves nothing, a killed one is gone on from."""
import base64
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from pool import BIN, PATIENCE, PoolTest, describe, run


def make_zoo(tree):
    """Every kind of entry, odd names, holes, hard links, extended attributes, ACLs."""
    (tree / "sub/deeper").mkdir(parents=True)
    base = os.fsencode(tree)
    source = random.Random(7)
    for name in [b"new\nline", b"not utf-8 \xff\xfe", b"n" * 255, b"-dash", b" space ", b"back\\slash", b"*", "Umlaut \u00e4".encode()]:
        with open(base + b"/" + name, "wb") as file:
            file.write(name * 3)
    for size in [0, 1, 4095, 4096, 4097, 131071, 131072, 131073, 1 << 20, 3 << 20]:
        (tree / f"{size}.bin").write_bytes(source.randbytes(size))
    (tree / "plain").write_bytes(b"x" * 10000)
    os.link(tree / "plain", tree / "sub/hard link")
    os.link(tree / "plain", tree / "sub/deeper/third name")
    os.symlink("plain", tree / "link")
    os.symlink(b"/nowhere/\xff", base + b"/dangling")
    os.mkfifo(tree / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "socket"))
    if os.geteuid() == 0:
        os.mknod(tree / "null", 0o666 | 0o020000, os.makedev(1, 3))
        os.mknod(tree / "loop", 0o660 | 0o060000, os.makedev(7, 0))
        os.chown(tree / "plain", 1234, 4321)
    os.setxattr(tree / "plain", "user.comment", b"\x00binary\xff")
    os.setxattr(tree / "sub", "user.folder", b"yes")
    try:  # user:1:rw beside rw-r--r--, as the kernel stores it
        os.setxattr(tree / "1.bin", "system.posix_acl_access",
                    bytes.fromhex("0200000001000600ffffffff020006000100000004000400ffffffff10000600ffffffff20000400ffffffff"))
    except OSError:
        pass  # a file system without ACLs
    os.chmod(tree / "sub/deeper", 0o1770)
    os.chmod(tree / "plain", 0o4751)
    with open(tree / "sparse", "wb") as file:
        file.write(b"begin")
        file.seek(300 << 20)
        file.write(b"end")
    with open(tree / "hole at the end", "wb") as file:
        file.write(b"x" * 200000)
        file.truncate(50 << 20)
    os.utime(tree / "4097.bin", ns=(1, -1234567890123456789))
    os.utime(tree / "sub", ns=(1, 1234567890123456789))


def all_of(root):
    """As describe(), with ACLs."""
    entries = describe(root)
    for key in entries:
        try:
            entries[key].append(os.getxattr(os.fsencode(root) + key, "system.posix_acl_access", follow_symlinks=False))
        except OSError:
            pass
    return entries


class Backup(PoolTest):
    LIMIT = "1G"

    def tree(self):
        tree = self.folder("tree")
        tree.mkdir()
        return tree

    def lines(self, *words, **options):
        return [json.loads(line) for line in self.me.cairn(*words, "--json", **options).stdout.decode().splitlines()]

    def backup(self, *words, **options):
        return [line for line in self.lines("backup", *words, **options) if line["message_type"] == "summary"][0]

    def same(self, before, after):
        self.assertEqual(before.keys(), after.keys())
        for key in before:
            self.assertEqual(before[key], after[key], key)

    def test_a_zoo_comes_back_with_all_its_metadata(self):
        tree = self.tree()
        make_zoo(tree)
        summary = self.backup(tree)
        out = self.folder("out")
        back = self.me.json("restore", f"{summary['snapshot_id'][:8]}:{tree}", "-t", out, "--verify")
        self.assertEqual(back["error_count"], 0)
        self.assertGreater(back["files_verified"], 15)
        self.same(all_of(tree), all_of(out))
        for name in ["sparse", "hole at the end"]:
            self.assertLess(os.stat(out / name).st_blocks * 512, 8 << 20, "the hole came back as a hole")
        # From the root of the snapshot the whole path is there, with the folders above it.
        whole = self.folder("whole")
        self.me.cairn("restore", summary["snapshot_id"], "-t", whole)
        self.same(all_of(tree), all_of(pathlib.Path(str(whole) + str(tree))))
        self.assertEqual(os.stat(f"{whole}/tmp").st_mode, os.stat("/tmp").st_mode)

    def test_etc_and_usr_share_come_back_entry_by_entry(self):
        # The machine's own trees, as they are; of large ones those parts that have every kind of entry and many small files.
        chosen = [path for path in ["/etc", "/usr/share/zoneinfo", "/usr/share/perl", "/usr/share/terminfo", "/usr/share/bash-completion"] if os.path.isdir(path)]
        source = self.folder("source")
        source.mkdir()
        for path in chosen:  # a copy: the machine goes on living
            (source / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", path, source / path[1:]], check=True, capture_output=True)
        summary = self.backup(source)
        out = self.folder("out")
        back = self.me.json("restore", f"{summary['snapshot_id']}:{source}", "-t", out, "--verify")
        self.assertEqual(back["error_count"], 0)
        before = all_of(source)
        self.assertGreater(len(before), 500)
        self.same(before, all_of(out))
        again = self.backup(source)
        self.assertEqual((again["files_new"], again["files_changed"], again["data_blobs"]), (0, 0, 0))

    def test_a_second_run_without_a_change_moves_no_data(self):
        # The folders above the tree are in the snapshot too: in /tmp other tests make and remove theirs meanwhile.
        above = pathlib.Path(tempfile.mkdtemp(prefix="cairn-system-", dir="/var/tmp"))
        self.addCleanup(shutil.rmtree, above)
        tree = above / "tree"
        tree.mkdir()
        make_zoo(tree)
        first = self.backup(tree)
        again = self.backup(tree)
        self.assertEqual((again["files_new"], again["files_changed"], again["data_added"], again["data_blobs"], again["tree_blobs"]), (0, 0, 0, 0, 0))
        self.assertEqual(again["files_unmodified"], first["total_files_processed"])
        self.assertEqual(again["dirs_unmodified"], first["dirs_new"])
        self.assertLess(again["bytes_sent"], 200_000)  # the head's own tree
        one, two = [s for s in json.loads(self.me.cairn("snapshots", "--path", tree, "--json").stdout)]
        self.assertEqual(one["tree"], two["tree"])
        self.assertEqual(two["parent"], one["id"])
        self.assertEqual(two["short_id"], two["id"][:8])
        self.assertNotIn("snapshot_id", self.backup(tree, "--skip-if-unchanged"))
        # A file that has moved is stored no second time.
        os.rename(tree / "3145728.bin", tree / "sub/moved")
        moved = self.backup(tree)
        self.assertEqual((moved["files_new"], moved["data_blobs"]), (1, 0))

    def test_a_small_change_stores_little(self):
        tree = self.tree()
        big = bytearray(random.Random(3).randbytes(40 << 20))
        (tree / "big").write_bytes(big)
        self.backup(tree)
        big[20 << 20:(20 << 20) + 100] = os.urandom(100)
        (tree / "big").write_bytes(big)
        summary = self.backup(tree)
        self.assertEqual(summary["files_changed"], 1)
        self.assertLess(summary["data_added"], 3 << 20)
        self.assertEqual(self.me.cairn("cat", f"latest:{tree}/big").stdout, bytes(big))

    def test_unreadable_files_are_named_and_the_exit_code_is_3(self):
        tree = self.tree()
        (tree / "fine").write_text("fine")
        gone = self.folder("not there")
        done = self.me.cairn("backup", tree, gone, "--json", expect=3)
        errors = [json.loads(line) for line in done.stderr.decode().splitlines()]
        self.assertEqual([e["item"] for e in errors], [str(gone)])
        summary = json.loads(done.stdout.decode().splitlines()[-1])
        self.assertEqual((summary["files_new"], summary["error_count"]), (1, 1))
        self.me.cairn("backup", gone, expect=10)
        self.me.cairn("backup", expect=2)
        self.me.cairn("backup", tree, "--exclude", "[", expect=2)

    def test_a_file_that_the_user_may_not_read(self):
        if os.geteuid() != 0:
            self.skipTest("needs to become another user")
        tree = self.tree()
        (tree / "mine").write_text("mine")
        (tree / "secret").write_text("secret")
        (tree / "closed").mkdir()
        (tree / "closed/inside").write_text("x")
        os.chmod(tree / "secret", 0)
        os.chmod(tree / "closed", 0)
        for path in [self.pool.root, *tree.parents]:
            if str(path).startswith(str(self.pool.root)):
                os.chmod(path, 0o755)
        home = self.folder("home")
        subprocess.run(["cp", "-a", self.me.home, home], check=True)
        subprocess.run(["chown", "-R", "65534", home], check=True)
        done = subprocess.run([BIN / "cairn", "backup", tree, "--json", "--home", home], capture_output=True, user=65534, group=65534,
                              extra_groups=[], timeout=PATIENCE)
        self.assertEqual(done.returncode, 3, done.stderr)
        named = [json.loads(line)["item"] for line in done.stderr.decode().splitlines()]
        self.assertEqual(sorted(named), [str(tree / "closed"), str(tree / "secret")])
        listed = self.me.cairn("ls", json.loads(done.stdout.decode().splitlines()[-1])["snapshot_id"]).stdout.decode().splitlines()
        self.assertIn(str(tree / "mine"), listed)
        self.assertNotIn(str(tree / "secret"), listed)

    def test_excludes(self):
        tree = self.tree()
        for name in ["a.c", "a.o", "B.TMP", "sub/b.o", "sub/deep/x/bar/in", "keep/c.o", "big", "cache/data", "cache/CACHEDIR.TAG", "marked/x", "marked/.nobackup"]:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text("x")
        (tree / "big").write_bytes(b"x" * 5000)
        (tree / "cache/CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
        patterns = self.folder("patterns")
        patterns.write_text("# objects\n*.o\n\n!keep/*.o\n$TREE/sub/**/bar\n")
        os.environ["TREE"] = str(tree)
        summary = self.backup("--exclude-file", patterns, "--exclude-caches", "--exclude-if-present", ".nobackup", "--exclude-larger-than", "4K",
                              "--iexclude", "*.tmp", tree)
        nodes = self.lines("ls", summary["snapshot_id"])[1:]
        files = sorted(os.path.relpath(n["path"], tree) for n in nodes if n["type"] == "file")
        self.assertEqual(files, ["a.c", "cache/CACHEDIR.TAG", "keep/c.o", "marked/.nobackup"])

    def test_relative_paths_lists_of_files_and_streams(self):
        tree = self.tree()
        (tree / "work").mkdir()
        for name in ["one", "two", "three.txt", "work/four"]:
            (tree / name).write_text(name)
        here = os.getcwd()
        os.chdir(tree)
        try:
            relative = self.backup("work", "./one")
            everything = self.backup(".")
            listed = self.folder("list")
            listed.write_bytes(b"one\0work/four\0")
            raw = self.backup("--files-from-raw", listed)
            listed.write_text("*.txt\n# not this\n  two  \n")
            patterns = self.backup("--files-from", listed)
        finally:
            os.chdir(here)
        def paths(summary):
            return [n["path"] for n in self.lines("ls", summary["snapshot_id"])[1:] if n["type"] == "file"]
        self.assertEqual(paths(relative), ["/one", "/work/four"])
        self.assertEqual(paths(everything), ["/one", "/three.txt", "/two", "/work/four"])
        self.assertEqual(paths(raw), ["/one", "/work/four"])
        self.assertEqual(paths(patterns), ["/three.txt", "/two"])
        content = os.urandom(3 << 20)
        stream = subprocess.run([BIN / "cairn", "backup", "--stdin", "--stdin-filename", "dump.sql", "--home", self.me.home], input=content,
                                capture_output=True, timeout=PATIENCE)
        self.assertEqual(stream.returncode, 0, stream.stderr)
        self.assertEqual(self.me.cairn("cat", "latest:/dump.sql").stdout, content)
        run(BIN / "cairn", "backup", "--home", self.me.home, "--stdin-from-command", "--stdin-filename", "words", "--", "echo", "hello")
        self.assertEqual(self.me.cairn("cat", "latest:/words").stdout, b"hello\n")
        count = len(json.loads(self.me.cairn("snapshots", "--json").stdout))
        run(BIN / "cairn", "backup", "--home", self.me.home, "--stdin-from-command", "--", "sh", "-c", "echo half; exit 3", expect=1)
        self.assertEqual(len(json.loads(self.me.cairn("snapshots", "--json").stdout)), count)

    def test_dry_run_leaves_nothing(self):
        tree = self.tree()
        make_zoo(tree)
        before = len(json.loads(self.me.cairn("snapshots", "--json").stdout))
        summary = self.backup(tree, "-n")
        self.assertTrue(summary["dry_run"])
        self.assertNotIn("snapshot_id", summary)
        self.assertGreater(summary["files_new"], 20)
        self.assertEqual(len(json.loads(self.me.cairn("snapshots", "--json").stdout)), before)

    def test_names_that_are_not_utf8_survive_in_json(self):
        tree = self.tree()
        odd = os.fsencode(tree) + b"/\xff\xfe"
        os.mkdir(odd)
        with open(odd + b"/in", "wb"):
            pass
        summary = self.backup(odd)
        snapshot = json.loads(self.me.cairn("snapshots", summary["snapshot_id"], "--json").stdout)[0]
        self.assertEqual(base64.b64decode(snapshot["paths_b64"][0]), odd)
        head, *nodes = self.lines("ls", summary["snapshot_id"])
        self.assertEqual((head["message_type"], head["struct_type"], head["id"]), ("snapshot", "snapshot", summary["snapshot_id"]))
        self.assertIn(odd + b"/in", [base64.b64decode(n["path_b64"]) for n in nodes if "path_b64" in n])
        self.assertEqual({n["struct_type"] for n in nodes}, {"node"})

    def test_a_killed_backup_leaves_a_partial_snapshot_and_the_next_goes_on_from_it(self):
        tree = self.tree()
        source = random.Random(11)
        for i in range(200):  # some seconds: it is looked at while it runs
            (tree / f"{i:03}").write_bytes(source.randbytes(2 << 20))
        process = subprocess.Popen([BIN / "cairn", "backup", tree, "--json", "--home", self.me.home], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env={**os.environ, "CAIRN_CHECKPOINT_SECONDS": "0"})
        deadline = time.monotonic() + PATIENCE
        partial = []
        while not partial and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.25)  # who reads all the time outbids who writes all the time, in the end for good
            partial = [s for s in json.loads(self.me.cairn("snapshots", "--path", tree, "--json").stdout)
                       if s.get("partial") and s["summary"]["data_added"] > 20 << 20]
        process.send_signal(signal.SIGKILL)
        said = process.communicate()[1].decode()
        self.assertTrue(partial, f"a checkpoint was seen while it ran: {said}")
        self.assertIn("partial", self.me.cairn("snapshots", "--path", tree).stdout.decode())
        left = [s for s in json.loads(self.me.cairn("snapshots", "--path", tree, "--json").stdout)]
        self.assertEqual(len(left), 1)
        summary = self.backup(tree)
        self.assertLess(summary["data_added"], 381 << 20)
        self.assertGreater(summary["resumed_files"], 0)
        snapshots = json.loads(self.me.cairn("snapshots", "--path", tree, "--json").stdout)
        self.assertEqual([s["id"] for s in snapshots], [summary["snapshot_id"]])
        self.assertNotIn("partial", snapshots[0])
        out = self.folder("out")
        self.me.cairn("restore", f"latest:{tree}", "--path", tree, "-t", out)
        self.same(describe(tree), describe(out))

    def test_restore_selects_overwrites_and_deletes(self):
        tree = self.tree()
        for name in ["a.txt", "b.c", "sub/c.txt", "sub/d.c", "other/e.c"]:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text("from the backup: " + name)
        (tree / "large").write_bytes(os.urandom(2 << 20))
        snapshot = self.backup(tree)["snapshot_id"] + ":" + str(tree)

        def files(root):
            return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())

        some = self.folder("some")
        self.me.cairn("restore", snapshot, "-t", some, "-i", "*.txt")
        self.assertEqual(files(some), ["a.txt", "sub/c.txt"])
        self.assertFalse((some / "other").exists())
        rest = self.folder("rest")
        self.me.cairn("restore", snapshot, "-t", rest, "-e", "*.c", "-e", "/large")
        self.assertEqual(files(rest), ["a.txt", "sub/c.txt"])
        self.me.cairn("restore", snapshot, "-t", rest, "-e", "x", "-i", "y", expect=2)

        out = self.folder("out")
        dry = self.me.json("restore", snapshot, "-t", out, "--dry-run")
        self.assertEqual(dry["files_restored"], 6)
        self.assertFalse(out.exists())
        self.me.cairn("restore", snapshot, "-t", out)
        again = self.me.json("restore", snapshot, "-t", out)
        self.assertEqual((again["files_restored"], again["files_skipped"]), (0, 6))
        # Same size and time, other bytes: "always" sees it, "if-changed" does not.
        info = os.stat(out / "large")
        with open(out / "large", "r+b") as file:
            file.seek(1 << 20)
            file.write(b"damaged")
        os.utime(out / "large", ns=(info.st_atime_ns, info.st_mtime_ns))
        self.assertEqual(self.me.json("restore", snapshot, "-t", out, "--overwrite", "if-changed")["files_restored"], 0)
        self.assertEqual(self.me.json("restore", snapshot, "-t", out, "--overwrite", "always")["files_restored"], 1)
        self.assertEqual((out / "large").read_bytes(), (tree / "large").read_bytes())
        (out / "a.txt").write_text("newer than the backup")
        os.remove(out / "b.c")
        never = self.me.json("restore", snapshot, "-t", out, "--overwrite", "never")
        self.assertEqual((never["files_restored"], (out / "a.txt").read_text()), (1, "newer than the backup"))
        self.me.cairn("restore", snapshot, "-t", out, "--overwrite", "if-newer")
        self.assertEqual((out / "a.txt").read_text(), "newer than the backup")
        os.utime(out / "a.txt", ns=(1, 1))
        self.me.cairn("restore", snapshot, "-t", out, "--overwrite", "if-newer")
        self.assertEqual((out / "a.txt").read_text(), "from the backup: a.txt")

        (out / "sub/extra").write_text("x")
        (out / "extra folder/in").mkdir(parents=True)
        would = self.me.json("restore", snapshot, "-t", out, "--delete", "--dry-run")
        self.assertEqual(would["files_deleted"], 2)
        self.assertTrue((out / "sub/extra").exists())
        done = self.me.json("restore", snapshot, "-t", out, "--delete", "--verify")
        self.assertEqual((done["files_deleted"], done["error_count"]), (2, 0))
        self.same(describe(tree), describe(out))
        self.me.cairn("restore", snapshot, expect=2)
        self.me.cairn("restore", "0123456789abcdef", "-t", out, expect=10)
        self.me.cairn("restore", "latest:/no/such", "-t", out, expect=10)

    def test_with_two_holders_down_it_all_comes_back(self):
        tree = self.tree()
        make_zoo(tree)
        snapshot = self.backup(tree, "--wait", "placed")["snapshot_id"]
        for node in self.pool.nodes[4:6]:
            node.end(signal.SIGKILL)
        try:
            out = self.folder("out")
            back = self.me.json("restore", f"{snapshot}:{tree}", "-t", out, "--verify")
            self.assertEqual(back["error_count"], 0)
            self.same(all_of(tree), all_of(out))
        finally:
            for node in self.pool.nodes[4:6]:
                node.start()
            self.pool.wait_for(6)

    def test_a_snapshot_is_a_tree_for_the_other_commands(self):
        tree = self.tree()
        (tree / "file").write_text("content")
        short = self.backup(tree)["snapshot_id"][:8]
        self.assertEqual(self.me.cairn("cat", f"{short}:{tree}/file").stdout, b"content")
        self.assertEqual(self.me.json("stat", f"{short}:{tree}/file")["inode"], os.stat(tree / "file").st_ino)
        out = self.folder("out")
        self.me.cairn("get", f"{short}:{tree}", out)
        self.assertEqual(describe(tree), describe(out))
        self.assertEqual(self.me.cairn("ls", f"{short}:{tree}").stdout, b"file\n")
        self.assertEqual(self.me.cairn("ls", short, tree).stdout.decode().splitlines(), [str(tree), f"{tree}/file"])
        self.me.cairn("put", tree / "file", f"{short}:/x", expect=10)
        head = subprocess.run(f"{BIN}/cairn ls {short} --home {self.me.home} | head -1", shell=True, capture_output=True, timeout=PATIENCE)
        self.assertEqual(len(head.stdout.splitlines()), 1)


class Snapshots(PoolTest):
    """forget, tag, find, diff, stats, dump."""
    NODES, LIMIT = 3, "1G"

    def tree(self):
        tree = self.folder("tree")
        tree.mkdir()
        return tree

    def backup(self, *words):
        return [json.loads(line) for line in self.me.cairn("backup", *words, "--json").stdout.decode().splitlines()][-1]["snapshot_id"]

    def snapshots(self, *words):
        return json.loads(self.me.cairn("snapshots", *words, "--json").stdout)

    def test_forget_by_policy_and_by_id(self):
        tree = self.tree()
        ids = []
        for day in range(1, 11):
            (tree / "day").write_text(str(day))
            ids.append(self.backup(tree, "--time", f"2026-01-{day:02} 12:00:00"))
        other = self.backup(tree, "--host", "other", "--time", "2026-01-01 12:00:00")
        mine = ["--path", tree, "--host", self.snapshots(ids[0])[0]["hostname"]]
        dry = json.loads(self.me.cairn("forget", "--keep-daily", "3", "--path", tree, "-n", "--json").stdout)
        self.assertEqual(len(dry), 2)  # a group for each host
        group = [g for g in dry if g["host"] != "other"][0]
        self.assertEqual([s["id"] for s in group["keep"]], ids[7:])
        self.assertEqual([s["id"] for s in group["remove"]], ids[:7])
        self.assertEqual(group["reasons"][0]["matches"], ["daily snapshot"])
        self.assertEqual(len(self.snapshots(*mine)), 10)
        self.me.cairn("forget", "--keep-daily", "3", "--keep-weekly", "2", "--path", tree)
        left = [s["id"] for s in self.snapshots(*mine)]
        self.assertEqual(left, [ids[3], *ids[7:]])  # 4 January 2026 is a Sunday
        self.assertEqual([s["id"] for s in self.snapshots("--host", "other", "--path", tree)], [other])
        self.me.cairn("forget", ids[3][:8], ids[8])
        self.assertEqual([s["id"] for s in self.snapshots(*mine)], [ids[7], ids[9]])
        # What is shared with the ones that went is still there.
        self.assertEqual(self.me.cairn("cat", f"{ids[7][:8]}:{tree}/day").stdout, b"8")
        self.me.cairn("forget", expect=2)
        self.me.cairn("forget", "--keep-last", "0", expect=2)
        self.me.cairn("forget", "--keep-last", "x", expect=2)
        self.me.cairn("forget", "--keep-tag", "nobody has it", "--path", tree, expect=1)
        self.assertEqual(len(self.snapshots(*mine)), 2)
        self.me.cairn("forget", ids[0], expect=10)

    def test_tags(self):
        tree = self.tree()
        (tree / "f").write_text("f")
        first = self.backup(tree, "--tag", "a,b", "--tag", "c")
        self.assertEqual(self.snapshots(first)[0]["tags"], ["a", "b", "c"])
        lines = [json.loads(line) for line in self.me.cairn("tag", "--add", "d", "--remove", "a", first, "--json").stdout.decode().splitlines()]
        self.assertEqual([l["message_type"] for l in lines], ["changed", "summary"])
        changed = self.snapshots(lines[0]["new_snapshot_id"])[0]
        self.assertEqual((changed["tags"], changed["original"]), (["b", "c", "d"], first))
        self.me.cairn("snapshots", first, expect=10)
        self.me.cairn("tag", "--set", "x", "--tag", "b,d")
        self.assertEqual([s["tags"] for s in self.snapshots("--tag", "x")], [["x"]])
        self.assertEqual(self.snapshots("--tag", "b"), [])
        self.me.cairn("tag", "--set", "x", "--add", "y", expect=2)
        self.assertEqual(self.me.cairn("cat", f"latest:{tree}/f").stdout, b"f")

    def test_find_diff_and_stats(self):
        tree = self.tree()
        for name in ["same", "changed", "gone", "sub/deep/x.c", "sub/y.c", "turned"]:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(name)
        big = os.urandom(1 << 20)
        (tree / "big").write_bytes(big)
        one = self.backup(tree)
        os.remove(tree / "gone")
        os.remove(tree / "turned")
        (tree / "turned").mkdir()
        (tree / "turned/in").write_text("in")
        (tree / "changed").write_text("other")
        os.chmod(tree / "same", 0o600)
        (tree / "new").write_text("new")
        (tree / "copy").write_bytes(big)
        with open(os.fsencode(tree) + b"/\xff", "wb"):
            pass
        two = self.backup(tree)

        found = json.loads(self.me.cairn("find", "*.c", "-s", one, "-s", two, "--json").stdout)
        self.assertEqual([(f["snapshot"], f["hits"]) for f in found], [(one, 2), (two, 2)])
        self.assertEqual([m["path"] for m in found[0]["matches"]], [f"{tree}/sub/deep/x.c", f"{tree}/sub/y.c"])
        self.assertEqual(json.loads(self.me.cairn("find", "GONE", "-s", two, "--json").stdout), [])
        self.assertIn(f"{tree}/gone", self.me.cairn("find", "-i", "GONE", "-s", one).stdout.decode().splitlines())

        def changes(*words):
            lines = [json.loads(line) for line in self.me.cairn("diff", *words, "--json").stdout.decode().splitlines()]
            names = {base64.b64decode(l["path_b64"]) if "path_b64" in l else l["path"].encode(): l["modifier"] for l in lines[:-1]}
            return {os.path.relpath(k, os.fsencode(tree)) + (b"/" if k.endswith(b"/") else b""): v for k, v in names.items()}, lines[-1]

        what, statistics = changes(one, two)
        self.assertEqual(what, {b"changed": "M", b"copy": "+", b"gone": "-", b"new": "+", b"turned/": "T", b"turned/in": "+", b"\xff": "+"})
        self.assertEqual(statistics["changed_files"], 2)
        self.assertEqual((statistics["added"]["files"], statistics["added"]["dirs"], statistics["removed"]["files"]), (4, 1, 2))
        self.assertEqual((statistics["source_snapshot"], statistics["target_snapshot"]), (one, two))
        what, _ = changes("--metadata", one, two)
        self.assertEqual((what[b"same"], what[b"changed"]), ("U", "MU"))
        what, _ = changes(f"{one}:{tree}/sub", f"{two}:{tree}/sub")
        self.assertEqual(what, {})
        what, _ = changes(one, one)
        self.assertEqual(what, {})

        stats = json.loads(self.me.cairn("stats", two, "--json").stdout)
        files = [p for p in tree.rglob("*") if p.is_file()]
        self.assertEqual(stats["total_size"], sum(p.stat().st_size for p in files))
        self.assertEqual(stats["snapshots_count"], 1)
        once = json.loads(self.me.cairn("stats", two, "--mode", "files-by-contents", "--json").stdout)
        self.assertEqual(once["total_size"], stats["total_size"] - len(big))
        raw = json.loads(self.me.cairn("stats", one, two, "--mode", "raw-data", "--json").stdout)
        self.assertEqual(raw["total_uncompressed_size"], len(big))  # small files lie in the tree itself

    def test_rewrite_takes_out_what_should_not_be_there(self):
        tree = self.tree()
        for name in ["keep", "secret.key", "sub/secret.key", "sub/other", "junk/a", "junk/b"]:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(name)
        os.link(tree / "keep", tree / "junk/keep too")
        one = self.backup(tree)
        self.me.cairn("rewrite", one, expect=2)
        self.me.cairn("rewrite", "-n", "--exclude", "*.key", one)
        self.assertEqual([s["id"] for s in self.snapshots("--path", tree)], [one])
        self.me.cairn("rewrite", "--exclude", "*.key", "-e", f"{tree}/junk", one)
        both = self.snapshots("--path", tree)
        new = [s for s in both if s["id"] != one][0]
        self.assertEqual((len(both), new["original"], new["tags"]), (2, one, ["rewrite"]))
        out = self.folder("out")
        self.me.cairn("restore", f"{new['id']}:{tree}", "-t", out)
        for name in ["secret.key", "sub/secret.key"]:
            os.remove(tree / name)
        subprocess.run(["rm", "-r", tree / "junk"], check=True)
        for folder in [tree, tree / "sub"]:  # the snapshot's folders have kept their times
            os.utime(folder, ns=(0, os.stat(out / folder.relative_to(tree)).st_mtime_ns))
        self.assertEqual(describe(tree), describe(out))
        self.me.cairn("rewrite", "--forget", "--new-host", "elsewhere", one)
        self.assertEqual(sorted(s["hostname"] == "elsewhere" for s in self.snapshots("--path", tree)), [False, True])
        self.me.cairn("snapshots", one, expect=10)

    def test_killed_backups_and_restores_are_gone_on_from(self):
        tree = self.tree()
        source = random.Random(5)
        chance = random.Random(6)
        for i in range(40):
            (tree / f"{i:02}").write_bytes(source.randbytes(1 << 20))
        (tree / "large").write_bytes(source.randbytes(100 << 20))
        out = self.folder("out")

        def kill_now_and_then(*words, rounds):
            for _ in range(rounds):
                process = subprocess.Popen([BIN / "cairn", *words, "--home", self.me.home], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                           stdin=subprocess.DEVNULL, env={**os.environ, "CAIRN_CHECKPOINT_SECONDS": "0"})
                try:
                    process.wait(chance.uniform(0.1, 2))
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()

        kill_now_and_then("backup", tree, rounds=6)
        snapshot = self.backup(tree)
        self.assertEqual([s["id"] for s in self.snapshots("--path", tree) if s.get("partial")], [])
        kill_now_and_then("restore", f"{snapshot}:{tree}", "-t", out, rounds=6)
        # What stands under its own name is whole, however often it was killed.
        for path in out.glob("[0-9l]*") if out.exists() else []:
            self.assertEqual(path.read_bytes(), (tree / path.name).read_bytes(), path)
        self.me.cairn("restore", f"{snapshot}:{tree}", "-t", out, "--verify")
        self.assertEqual(describe(tree), describe(out))

    @unittest.skipUnless(shutil.which("strace"), "needs strace")
    def test_an_unchanged_entry_costs_one_stat_and_nothing_else(self):
        tree = self.tree()
        for i in range(20):
            (tree / f"d{i}").mkdir()
            for j in range(25):
                (tree / f"d{i}/f{j}").write_text("x" * j)
                os.setxattr(tree / f"d{i}/f{j}", "user.a", b"b")
        self.backup(tree)
        trace = self.folder("trace")
        run("strace", "-f", "-o", trace, BIN / "cairn", "backup", tree, "--home", self.me.home)
        calls = [re.match(r"\d+ +(\w+)\((.*)", line) for line in trace.read_text(errors="replace").splitlines()]
        calls = [(c.group(1), c.group(2)) for c in calls if c]
        stats = [c for c in calls if c[0] in ("statx", "newfstatat", "lstat", "stat") and re.search(r'"[df]\d+"', c[1])]
        self.assertEqual(len(stats), 20 * 26)
        self.assertEqual([c for c in calls if "xattr" in c[0] and str(tree.name) in c[1]], [])
        self.assertEqual([c for c in calls if c[0].startswith("open") and re.search(r'"f\d+"', c[1])], [])

    def test_dump_a_file_and_a_folder(self):
        tree = self.tree()
        make_zoo(tree)
        snapshot = self.backup(tree)
        self.assertEqual(self.me.cairn("dump", snapshot, f"{tree}/1048576.bin").stdout, (tree / "1048576.bin").read_bytes())
        archive = self.folder("out.tar")
        self.me.cairn("dump", f"{snapshot}:{tree}", "/", "-t", archive)
        out = self.folder("out")
        out.mkdir()
        subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "--sparse", "-xpf", archive, "-C", out], check=True, capture_output=True)
        before, after = describe(tree), describe(out)
        before.pop(b"")
        after.pop(b"")
        before.pop(b"/socket")  # archives have none
        # tar sets no times of symbolic links nor of hard links' folders by nanoseconds everywhere: all others must be right.
        self.assertEqual(before.keys(), after.keys())
        for key in before:
            self.assertEqual(before[key], after[key], key)
        self.me.cairn("dump", snapshot, "/no/such", expect=10)
        self.me.cairn("dump", snapshot, f"{tree}/fifo", expect=2)

    def test_backups_restores_and_forget_side_by_side(self):
        trees = []
        for i in range(3):
            tree = self.folder(f"tree{i}")
            tree.mkdir(parents=True)
            trees.append(tree)
            for j in range(20):
                (tree / f"{j}").write_bytes(random.Random(j).randbytes(50_000))
        for round in range(4):
            for i, tree in enumerate(trees):
                (tree / "round").write_text(f"{i} {round}")
            going = [subprocess.Popen([BIN / "cairn", "backup", tree, "--set", f"s{i}", "--home", self.me.home], stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) for i, tree in enumerate(trees)]
            if round > 0:
                going.append(subprocess.Popen([BIN / "cairn", "forget", "--keep-last", "2", "--path", trees[0], "--home", self.me.home],
                                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL))
            for process in going:
                out, err = process.communicate(timeout=PATIENCE)
                self.assertEqual(process.returncode, 0, err)
        for i, tree in enumerate(trees):
            mine = self.snapshots("--path", tree)
            self.assertEqual({s["set"] for s in mine}, {f"s{i}"})
            if i > 0:
                self.assertEqual(len(mine), 4)
            for snapshot in mine[-2:]:
                out = self.folder(f"out{i}{snapshot['short_id']}")
                self.me.cairn("restore", f"{snapshot['id']}:{tree}", "-t", out, "--verify")
                self.assertEqual((out / "7").read_bytes(), (tree / "7").read_bytes())
            self.assertEqual((out / "round").read_text(), f"{i} 3")


if __name__ == "__main__":
    unittest.main()
