"""Files of every size, kind and name go into a pool of real daemons and come back as they were."""
import json
import os
import pathlib
import random
import subprocess
import unittest

from pool import BIN, PoolTest, describe, run

PACK = 4 * 4 * 1024 * 1024  # of a 4+2 code


class Files(PoolTest):
    def round_trip(self, tree, name):
        self.me.cairn("put", tree, f"main:/{name}")
        out = self.folder("out")
        self.me.cairn("get", f"main:/{name}", out)
        before, after = describe(tree), describe(out)
        self.assertEqual(before.keys(), after.keys())
        for key in before:
            self.assertEqual(before[key], after[key], key)

    def test_sizes_at_every_border(self):
        tree = self.folder("tree")
        tree.mkdir()
        source = random.Random(1)
        for size in [0, 1, 4095, 4096, 4097, 131071, 131072, 131073, 4194304, PACK - 1, PACK, PACK + 1]:
            (tree / f"{size}.bin").write_bytes(source.randbytes(size))
        self.round_trip(tree, "sizes")

    def test_every_kind_of_entry_and_odd_names(self):
        tree = self.folder("tree")
        (tree / "sub/deeper").mkdir(parents=True)
        base = os.fsencode(tree)
        for name in [b"new\nline", b"not utf-8 \xff\xfe", b"n" * 255, b"-dash", b" space ", "Umlaut \u00e4".encode()]:
            with open(base + b"/" + name, "wb") as file:
                file.write(name * 3)
        (tree / "plain").write_bytes(b"x" * 10000)
        os.link(tree / "plain", tree / "sub/hard link")
        os.symlink("plain", tree / "link")
        os.symlink(b"/nowhere/\xff", base + b"/dangling")
        os.symlink("../..", tree / "sub/up")
        os.mkfifo(tree / "fifo", 0o640)
        os.setxattr(tree / "plain", "user.comment", b"\x00binary\xff")
        os.setxattr(tree / "sub", "user.folder", b"yes")
        os.chmod(tree / "sub/deeper", 0o1770)
        os.chown(tree / "plain", 1234, 4321)
        os.chmod(tree / "plain", 0o4751)
        with open(tree / "sparse", "wb") as file:
            file.write(b"begin")
            file.seek(300 << 20)
            file.write(b"end")
        with open(tree / "islands", "wb") as file:
            for at in (1, 7, 90, 91, 280):
                file.seek(at << 20)
                file.write(os.urandom(1 << 20))
            file.truncate(301 << 20)
        os.utime(tree / "sub", ns=(1, 1234567890123456789))
        self.round_trip(tree, "zoo")
        holes = os.stat(self.folder("out") / "sparse")
        self.assertLess(holes.st_blocks * 512, 8 << 20, "the hole came back as a hole")
        islands = os.stat(self.folder("out") / "islands")
        self.assertLess(islands.st_blocks * 512, 8 << 20, "all the holes came back as holes")

    def test_a_second_put_moves_nothing_and_a_changed_file_alone(self):
        tree = self.folder("tree")
        tree.mkdir()
        for i in range(50):
            (tree / f"f{i}").write_bytes(os.urandom(20000))
        self.me.cairn("put", tree, "main:/twice")
        again = self.me.json("put", tree, "main:/twice")
        self.assertEqual((again["files_new"], again["files_unmodified"], again["packs"]), (0, 50, 0))
        (tree / "f7").write_bytes(b"changed")
        third = self.me.json("put", tree, "main:/twice")
        self.assertEqual((third["files_new"], third["files_unmodified"]), (1, 49))
        self.assertEqual(self.me.cairn("cat", "main:/twice/f7").stdout, b"changed")

    def test_ten_thousand_small_files_take_few_packs_and_few_requests(self):
        tree = self.folder("tree")
        tree.mkdir()
        for i in range(10000):
            (tree / f"{i:05}").write_bytes(os.urandom(4096))
        put = self.me.json("put", tree, "main:/many")
        self.assertEqual(put["files_new"], 10000)
        self.assertLess(put["requests"] / 10000, 0.1)
        self.assertLess(put["packs"], 20)
        got = self.me.json("get", "main:/many", self.folder("out"))
        self.assertEqual(got["files_restored"], 10000)
        self.assertLess(got["requests"] / 10000, 0.1)
        self.assertEqual(describe(tree), describe(self.folder("out")))

    def test_a_folder_of_a_hundred_thousand_entries(self):
        tree = self.folder("tree")
        tree.mkdir()
        for i in range(100000):
            (tree / f"entry {i}").touch()
        self.me.cairn("put", tree, "main:/crowd")
        names = self.me.cairn("ls", "main:/crowd").stdout.decode().splitlines()
        self.assertEqual(sorted(names), sorted(os.listdir(tree)))

    def test_a_cold_small_read_asks_one_holder_for_little(self):
        big = self.folder("big")
        big.write_bytes(os.urandom(80 << 20))
        self.me.cairn("put", big, "main:/big")
        content = big.read_bytes()
        for offset in [0, 4096, 128 << 10, (17 << 20) - 4096, (33 << 20) + 8192, (80 << 20) - 4096]:
            for _ in range(10):
                # A command of its own is cold: it knows nothing of head, tree and holders.
                cat = self.me.cairn("cat", "main:/big", "--offset", str(offset), "--length", "4K", "--json")
                self.assertEqual(cat.stdout, content[offset:offset + 4096])
                told = json.loads(cat.stderr.decode().splitlines()[-1])
                if told["raced_reads"] == 0:  # else this busy machine let a holder wait, and others were asked too
                    break
            self.assertEqual(told["raced_reads"], 0)
            self.assertEqual((told["data_reads"]["requests"], told["data_reads"]["holders"]), (1, 1))
            self.assertLessEqual(told["data_reads"]["bytes"], 160 << 10)
            # The way down the tree, by itself and with all else that the command received.
            self.assertLessEqual(told["tree_reads"]["requests"], 6)
            self.assertLessEqual(told["tree_reads"]["bytes"], 160 << 10)
            self.assertLessEqual(told["data_reads"]["bytes"] + told["tree_reads"]["bytes"], told["bytes_received"])

    def test_a_range_of_a_file_is_written_out(self):
        file = self.folder("file")
        file.write_bytes(os.urandom(300000))
        content = file.read_bytes()
        self.me.cairn("put", file, "main:/ranged")
        for offset, length in [(0, 1), (131071, 2), (299999, 1), (100000, 1 << 20), (300000, 5), (1 << 40, 5), (0, 0)]:
            said = ["--offset", str(offset), "--length", str(length)]
            self.assertEqual(self.me.cairn("cat", "main:/ranged", *said).stdout, content[offset:offset + length])
            self.assertEqual(self.me.cairn("get", "main:/ranged", "-", *said).stdout, content[offset:offset + length])
        self.me.cairn("get", "main:/ranged", self.folder("out"), "--offset", "1", expect=2)
        # Standard output has nothing but the bytes, also with --json.
        whole = self.me.cairn("get", "main:/ranged", "-", "--json")
        self.assertEqual(whole.stdout, content)
        self.assertEqual(json.loads(whole.stderr.decode().splitlines()[-1])["bytes_restored"], 300000)

    def test_streams(self):
        content = os.urandom(5 << 20)
        process = subprocess.run([BIN / "cairn", "put", "-", "main:/stream/x", "--home", self.me.home], input=content, capture_output=True, timeout=180)
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertEqual(self.me.cairn("get", "main:/stream/x", "-").stdout, content)

    def test_the_namespace_commands(self):
        me = self.me
        me.cairn("mkdir", "-p", "main:/a/b/c")
        me.cairn("mkdir", "main:/a/b", expect=1)
        one = self.folder("one")
        one.write_text("one")
        me.cairn("put", one, "main:/a/one.txt")
        me.cairn("mv", "main:/a/one.txt", "main:/a/b/two.txt")
        self.assertEqual(me.json("stat", "main:/a/b/two.txt")["size"], 3)
        me.cairn("cat", "main:/a/one.txt", expect=10)
        me.cairn("rm", "main:/a/b", expect=2)
        me.cairn("rm", "-r", "main:/a/b")
        self.assertEqual(me.cairn("ls", "main:/a").stdout, b"")
        me.cairn("ls", "nosuch:/", expect=10)
        me.cairn("ls", "no path", expect=10)  # a word without a colon names a snapshot
        me.cairn("put", "/does/not/exist", "main:/a/x", expect=3)
        listing = subprocess.run(f"{BIN}/cairn ls -R main:/ --home {me.home} | head -1", shell=True, capture_output=True, timeout=180)
        self.assertEqual(len(listing.stdout.splitlines()), 1)

    def test_the_time_of_birth_is_kept(self):
        file = self.folder("file")
        file.write_bytes(b"x" * 10000)
        born = subprocess.run(["stat", "-c", "%W", file], check=True, capture_output=True).stdout.strip()
        if born in (b"0", b"-"):
            self.skipTest("this file system does not know it")
        os.utime(file, ns=(1, 1234567890123456789))
        self.me.cairn("put", file, "main:/born")
        kept = self.me.json("stat", "main:/born")
        self.assertTrue(kept["btime"].startswith(subprocess.run(["date", "-u", "-d", b"@" + born, "+%Y-%m-%dT%H:%M:%S"], check=True,
                                                                capture_output=True).stdout.decode().strip()), kept)
        self.me.cairn("put", file, "main:/born")  # nothing changes
        self.assertEqual(self.me.json("stat", "main:/born")["btime"], kept["btime"])

    def test_names_that_are_not_utf8_survive_in_json(self):
        tree = self.folder("tree")
        tree.mkdir()
        with open(os.fsencode(tree) + b"/\xff\xfe", "wb"):
            pass
        self.me.cairn("put", tree, "main:/bytes")
        entry = json.loads(self.me.cairn("ls", "main:/bytes", "--json").stdout)
        self.assertEqual(entry["name_b64"], "//4=")

    def test_volumes(self):
        made = self.me.json("volume", "create", "extra")
        self.assertEqual(made["name"], "extra")
        self.me.cairn("volume", "create", "extra", expect=1)
        self.me.cairn("volume", "create", "a:b", expect=2)
        self.assertIn("extra", [v["name"] for v in self.me.json("volume", "ls")["volumes"]])
        self.assertEqual(len(self.me.json("volume", "info", "extra")["keepers"]), 5)
        small = self.folder("small")
        small.write_bytes(os.urandom(200000))
        self.me.cairn("put", small, "extra:/small")
        self.assertEqual(self.me.cairn("cat", "extra:/small").stdout, small.read_bytes())
        self.me.cairn("cat", "main:/small", expect=10)


if __name__ == "__main__":
    unittest.main()
