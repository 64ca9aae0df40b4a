"""Prune with real daemons: the space of what is gone comes back, and all that is left reads back."""
import datetime
import json
import os
import pathlib
import time
import unittest

from pool import PATIENCE, Pool, PoolTest, describe

TRASH = 3  # seconds
# What stores of this size may have reserved more at one time than at another: 4 MiB each (preallocation_step() in
# src/store/limits.h), and some for trees.
RESERVED = 6 * (4 << 20) + 3_000_000


def blocks(root):
    return sum(path.stat().st_blocks * 512 for path in pathlib.Path(root).rglob("*") if path.is_file())


class Prune(PoolTest):
    NODES, LIMIT = 6, "256M"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for node in cls.pool.nodes:  # the trash's time is taken up at the start
            node.end()
            config = node.home / "config.toml"
            config.write_text(f'trash = "{TRASH}s"\n' + config.read_text())
            node.start()
        cls.pool.wait_for(cls.NODES)

    def set_trash(self, text):
        for node in self.pool.nodes:
            node.end()
            config = node.home / "config.toml"
            lines = [line for line in config.read_text().splitlines() if not line.startswith("trash")]
            config.write_text(f'trash = "{text}"\n' + "\n".join(lines) + "\n")
            node.start()
        self.pool.wait_for(self.NODES)

    def held(self):
        """Bytes that the stores take, as their daemons count them."""
        return sum(store["used"] for node in self.pool.nodes for store in node.json("store", "ls")["stores"])

    def wait_until_held(self, most):
        deadline = time.monotonic() + PATIENCE
        while self.held() > most:
            self.assertLess(time.monotonic(), deadline, f"{self.held()} bytes are held, not {most}")
            time.sleep(0.3)

    def random_file(self, path, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        return path

    def test_space_of_removed_files_comes_back(self):
        keep = self.random_file(self.folder("keep.bin"), 3_000_000)
        self.me.cairn("put", keep, "main:/keep.bin")
        before = self.held()
        lose = self.random_file(self.folder("lose.bin"), 64_000_000)
        self.me.cairn("put", lose, "main:/lose.bin")
        full = self.held()
        self.assertGreater(full, before + 96_000_000 - RESERVED)  # 4+2
        self.me.cairn("rm", "main:/lose.bin")
        dry = self.me.json("prune", "-n", "main")["volumes"][0]
        self.assertGreaterEqual(dry["removed_bytes"], 64_000_000)
        self.assertGreater(self.held(), before + 96_000_000 - RESERVED)
        done = self.me.json("prune", "main")["volumes"][0]
        self.assertGreaterEqual(done["removed_bytes"], 64_000_000)
        self.assertEqual(done["told_packs"], done["removed_packs"])
        self.wait_until_held(before + RESERVED)
        self.me.cairn("get", "main:/keep.bin", self.folder("back.bin"))
        self.assertEqual(self.folder("back.bin").read_bytes(), keep.read_bytes())

    def trash(self, node):
        return [store["trash"] for store in node.json("status")["stores"]][0]

    def test_the_trash_is_shown_with_the_time_at_which_it_goes(self):
        self.set_trash("72h")
        lose = self.random_file(self.folder("lose.bin"), 12_000_000)
        self.me.cairn("put", "--wait", "placed", lose, "main:/shown.bin")
        before = [self.trash(node) for node in self.pool.nodes]  # other tests have left some
        self.me.cairn("rm", "main:/shown.bin")
        self.me.cairn("prune", "main")
        trash = [self.trash(node) for node in self.pool.nodes]
        self.assertGreaterEqual(sum(t["bytes"] for t in trash) - sum(t["bytes"] for t in before), 12_000_000 * 6 // 4)
        now = datetime.datetime.now(datetime.timezone.utc)
        for t, earlier in zip(trash, before):
            self.assertGreater(t["shards"], earlier["shards"])
            first, last = (datetime.datetime.fromisoformat(t[which]) for which in ("next", "last"))
            self.assertLessEqual(first, last)
            self.assertTrue(70 < (last - now).total_seconds() / 3600 <= 72.1, t)
        said = self.me.cairn("status").stdout.decode()
        self.assertRegex(said, r"[\d.]+ MiB in \d+ shards were removed by their owners: trash, gone from 20\d\d-\S+ to 20\d\d-")
        self.set_trash(f"{TRASH}s")  # of what comes from now on
        for node in self.pool.nodes:
            self.assertGreater(self.trash(node)["bytes"], 0)

    def test_the_daemon_has_what_was_removed_collected_by_itself(self):
        self.me.cairn("put", self.random_file(self.folder("keep.bin"), 1_000_000), "main:/by-itself")
        before = self.held()
        self.me.cairn("put", self.random_file(self.folder("lose.bin"), 64_000_000), "main:/unpruned")
        self.me.cairn("rm", "main:/unpruned")
        tree = self.folder("tree")
        self.random_file(tree / "file", 100_000)
        forgotten = self.me.json("backup", tree)["snapshot_id"]
        self.me.cairn("forget", forgotten)
        self.assertGreater(self.held(), before + 96_000_000 - RESERVED)
        config = self.me.home / "config.toml"
        original = config.read_text()

        def restart(every):
            self.me.end()
            config.write_text(f'prune_every = "{every}"\n' + original)
            self.me.start()
        self.addCleanup(restart, "none")
        restart("2s")
        self.wait_until_held(before + RESERVED)
        # What was forgotten lately stays to be had back.
        self.me.cairn("undelete", forgotten[:10])
        self.me.cairn("check", "--read-data")

    def test_forgotten_snapshots_until_they_are_gone(self):
        self.set_trash("30m")
        tree = self.folder("tree")
        for i in range(3):
            self.random_file(tree / f"file{i}", 2_000_000)
        first = self.me.json("backup", tree)["snapshot_id"]
        want = describe(tree)
        self.random_file(tree / "more", 1_000_000)
        second = self.me.json("backup", tree)["snapshot_id"]
        self.me.cairn("forget", first, second)
        self.assertEqual(json.loads(self.me.cairn("snapshots", "--json").stdout), [])
        gone = json.loads(self.me.cairn("undelete", "--json").stdout)
        self.assertEqual({one["id"] for one in gone}, {first, second})
        self.me.cairn("undelete", second[:8])
        self.me.cairn("forget", second)
        removed = self.me.json("prune", "backups")["volumes"][0]
        self.assertEqual(removed["forgotten_snapshots"], 2)
        self.me.cairn("undelete", first[:10])  # out of the trash
        target = self.folder("out")
        self.me.cairn("restore", first, "--target", target)
        self.assertEqual(describe(target / tree.relative_to("/")), want)
        self.me.cairn("prune")
        # The trash is emptied; what came back stays.
        self.set_trash(f"{TRASH}s")
        self.me.cairn("forget", first)
        self.me.cairn("prune")
        self.set_trash(f"{TRASH}s")
        deadline = time.monotonic() + PATIENCE
        while True:
            late = self.me.cairn("undelete", first[:8], expect=None)
            if late.returncode != 0:
                break
            self.me.cairn("forget", first)
            self.me.cairn("prune")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(TRASH + 1)
        self.assertIn(late.returncode, (1, 13, 15))

    def test_two_machines_back_up_and_prune_at_once(self):
        phrase = self.pool.root / "phrase0"
        other = self.pool.root / "home-second"
        status = self.me.json("status")
        from pool import BIN, run
        run(BIN / "cairn", "recover", "--home", other, "--phrase-file", phrase, "--pool", status["pool"]["id"], "--peer", self.me.address,
            "--name", "second")
        trees = []
        for i in range(2):
            tree = self.folder(f"tree{i}")
            for j in range(8):
                self.random_file(tree / f"file{j}", 300_000)
            trees.append(tree)
        homes = [self.me.home, other]
        import subprocess
        kept = [None, None]
        rounds = 30
        for turn in range(rounds):
            (trees[0] / f"file{turn % 8}").write_bytes(os.urandom(300_000))
            (trees[1] / f"file{turn % 8}").write_bytes((trees[0] / f"file{turn % 8}").read_bytes())  # chunks that both have
            work = []
            for i in range(2):
                command = ["backup", trees[i]] if turn % 2 == i or turn == rounds - 1 else ["prune"]
                work.append((i, command[0], subprocess.Popen([str(BIN / "cairn"), *map(str, command), "--home", str(homes[i]), "--json"],
                                                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)))
            for i, command, process in work:
                out, err = process.communicate(timeout=PATIENCE)
                self.assertEqual(process.returncode, 0, err.decode()[-2000:])
                if command == "backup":
                    kept[i] = json.loads(out.decode().splitlines()[-1])["snapshot_id"]
                    run(BIN / "cairn", "forget", "--keep-last", "1", "--group-by", "paths", "--home", homes[i])
        self.me.cairn("prune")
        time.sleep(TRASH + 2)
        for i in range(2):
            target = self.folder(f"out{i}")
            self.me.cairn("restore", kept[i], "--target", target)
            self.assertEqual(describe(target / trees[i].relative_to("/")), describe(trees[i]))


if __name__ == "__main__":
    unittest.main()
