"""check: what is sound is called sound; what is damaged is found, and the files that it touches are named."""
import json
import os
import time
import unittest

from pool import PATIENCE, PoolTest


def faults(done):
    lines = [json.loads(line) for line in done.stderr.decode().splitlines() if line.startswith("{")]
    return [line for line in lines if line["message_type"] == "error"]


class CheckTest(PoolTest):
    def below_goal(self, *words):
        """The check once it is known that a node has gone, which takes a while."""
        deadline = time.monotonic() + PATIENCE
        while True:
            report, found = self.check(*words)
            if report["packs_below_goal"] > 0 or time.monotonic() > deadline:
                return report, found
            time.sleep(0.5)

    def stored(self, node):
        return {path: path.read_bytes() for path in (node.store / "segments").iterdir()}

    def spoil(self, before):
        """The midst of the shard of 4 MiB that came since `before`, with others before and behind it, to each of three stores: of so much that the
        same part of all three is hit, wherever in the store the shard begins."""
        spoiled = 0
        for node, old in zip(self.pool.nodes, before):
            for path, now in sorted(self.stored(node).items()) if node.process and spoiled < 3 else []:
                was = old.get(path, b"")
                fresh = [i for i in range(0, len(now), 4096) if was[i:i + 4096] != now[i:i + 4096]]
                if len(fresh) < 900:
                    continue
                with open(path, "r+b") as file:
                    file.seek(fresh[0] + (5 << 18))
                    bytes_there = file.read(6 << 18)
                    file.seek(fresh[0] + (5 << 18))
                    file.write(bytes(b ^ 0xFF for b in bytes_there))
                spoiled += 1
                break
        self.assertEqual(spoiled, 3)

    def check(self, *words, expect=0):
        done = self.me.cairn("check", *words, "--json", expect=expect)
        return json.loads(done.stdout.decode().splitlines()[-1]), faults(done)


class Damage(CheckTest):
    def test_damage_is_found_and_the_files_that_it_touches_are_named(self):
        tree = self.folder("tree")
        tree.mkdir(parents=True)
        (tree / "small").write_bytes(os.urandom(100_000))
        os.link(tree / "small", tree / "linked")
        (tree / "sub").mkdir()
        (tree / "sub/inline").write_text("inline")
        os.symlink("small", tree / "symlink")
        self.me.cairn("backup", tree)
        self.me.cairn("put", tree, "main:/tree")
        report, found = self.check("--read-data")
        self.assertEqual(found, [])
        self.assertEqual(report["packs_at_goal"], report["packs"])
        self.assertEqual(report["bytes_read"], 200_000)
        self.assertEqual(report["volumes"], 2)
        self.assertGreaterEqual(report["trees"], 3)  # two heads and a snapshot

        # One pack of data, whose shards have 4 MiB, comes first into each store; the tree follows.
        before = [self.stored(node) for node in self.pool.nodes]
        big = self.folder("big")
        big.write_bytes(os.urandom(15 << 20))
        self.me.cairn("put", "--wait", "placed", big, "main:/big")
        self.spoil(before)
        report, found = self.check("--read-data", expect=15)
        self.assertEqual({(f["volume"], f["item"]) for f in found}, {("main", "/big")})
        self.assertGreaterEqual(len(report["damaged_packs"]) + len(report["broken_packs"]), 1)
        # What a part of the packs tells together is the same.
        named = set()
        for part in ("1/2", "2/2"):
            done = self.me.cairn("check", "main", "--read-data-subset", part, "--json", expect=None)
            named |= {f["item"] for f in faults(done)}
        self.assertEqual(named, {"/big"})
        self.check("backups", "--read-data")


class Sound(CheckTest):
    def test_shards_that_are_missing_are_told_without_reading(self):
        small = self.folder("small")
        small.parent.mkdir(parents=True, exist_ok=True)
        small.write_bytes(os.urandom(300_000))
        self.me.cairn("put", "--wait", "placed", small, "main:/small")
        self.pool.nodes[5].end()
        self.addCleanup(self.pool.nodes[5].start)
        report, found = self.below_goal("main")
        self.assertGreater(report["packs_below_goal"], 0)
        self.assertEqual(found, [])
        self.assertEqual(len(report["packs_to_rebuild"]), report["packs_below_goal"])

    def test_bad_input(self):
        self.me.cairn("put", __file__, "main:/any")
        self.me.cairn("check", "no-such-volume", expect=10)
        for subset in ("0/3", "4/3", "x", "0%", "101%", "-1G", "1/0"):
            self.me.cairn("check", "--read-data-subset", subset, expect=2)


class Repair(CheckTest):
    NODES = 7

    def test_packs_are_completed_and_what_is_lost_leaves_the_snapshots(self):
        tree = self.folder("tree")
        tree.mkdir(parents=True)
        (tree / "kept").write_bytes(os.urandom(300_000))
        self.me.cairn("backup", tree)
        before = [self.stored(node) for node in self.pool.nodes]
        (tree / "big").write_bytes(os.urandom(15 << 20))
        self.me.cairn("backup", tree, "--wait", "placed")
        self.me.cairn("repair", "--read-data")  # nothing to do
        # A node of seven goes: its shards come to the one that had none of the pack, at once.
        self.pool.nodes[6].end()
        report, found = self.below_goal("backups")
        self.assertGreater(report["packs_below_goal"], 0)
        self.me.cairn("repair", "-n")
        done = self.me.json("repair")
        self.assertEqual(done["packs_left"], 0)
        self.assertGreaterEqual(done["shards_placed"], report["packs_below_goal"])
        report, found = self.check("backups")
        self.assertEqual((report["packs_below_goal"], found), (0, []))
        # A file is lost for good.
        self.spoil(before)
        self.check("backups", "--read-data", expect=15)
        done = self.me.json("repair", "backups", "--read-data", "--forget")
        self.assertEqual(done["files_dropped"], 1)
        self.assertEqual(len(done["snapshots"]), 1)
        target = self.folder("back")
        self.me.cairn("restore", f"latest:{tree}", "-t", target)
        self.assertEqual(sorted(os.listdir(target)), ["kept"])
        self.assertEqual((target / "kept").read_bytes(), (tree / "kept").read_bytes())
        self.check("backups", "--read-data")


if __name__ == "__main__":
    unittest.main()
