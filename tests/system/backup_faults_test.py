"""One holder of seven misbehaves under each command on backups: hangs, dies, answers garbage, or its disk has rotted."""
import json
import os
import random
import shutil
import signal
import time
import unittest

from hostile_test import Liar, address_of
from mount_test import Mount
from pool import PATIENCE, Pool, describe


def rot_places(node):
    """(file, offset) of a byte in each leaf that the node's store has on disk, but for the first of each file."""
    places = []
    for segment in sorted(p for p in node.store.rglob("*") if p.is_file() and p.stat().st_size > 200_000):
        data = segment.read_bytes()
        places += [(segment, at) for at in range(70_000, len(data), 65_536) if any(data[at - 64:at + 64])]
    return places


class FaultyHolder(unittest.TestCase):
    def setUp(self):
        self.pool = Pool(nodes=7, limit="512M")
        self.addCleanup(self.pool.close)
        self.me = self.pool.nodes[0]
        self.tree = self.pool.root / "tree"
        self.tree.mkdir()
        source = random.Random(3)
        for i in range(12):
            (self.tree / f"large{i}").write_bytes(source.randbytes(700_000))
            (self.tree / f"small{i}").write_text(f"small {i}\n")
        self.me.cairn("volume", "create", "second", "--dedup")
        self.first = self.backup()
        (self.tree / "changed").write_bytes(source.randbytes(400_000))
        self.middle = self.backup()
        self.before = describe(self.tree)

    def backup(self):
        done = self.me.cairn("backup", self.tree, "--json")
        return json.loads(done.stdout.decode().splitlines()[-1])["snapshot_id"]

    def restored(self, snapshot, name):
        out = self.pool.root / name
        self.me.cairn("restore", f"{snapshot}:{self.tree}", "-t", out, "--verify")
        found = describe(out)
        shutil.rmtree(out)
        return found

    def victim(self):
        """A holder that keeps neither my sessions' first address nor, by its number, anything special."""
        return self.pool.nodes[4]

    def every_command(self, may_be_damaged=False):
        """All of them do what they are for while one of seven does not."""
        me, tree = self.me, self.tree
        (tree / "later").write_bytes(random.Random(9).randbytes(500_000))
        last = self.backup()
        self.assertEqual(len(json.loads(me.cairn("snapshots", "--json").stdout)), 3)
        listed = me.cairn("ls", last).stdout.decode()
        self.assertIn(str(tree / "later"), listed)
        found = json.loads(me.cairn("find", "large7", "-s", last, "--json").stdout)
        self.assertEqual(found[0]["hits"], 1)
        changes = [json.loads(line) for line in me.cairn("diff", self.middle, last, "--json").stdout.decode().splitlines()]
        self.assertIn({"message_type": "change", "path": f"{tree}/later", "modifier": "+"}, changes)
        self.assertEqual(me.cairn("dump", last, f"{tree}/large3").stdout, (tree / "large3").read_bytes())
        mount = Mount(me, self.pool.root / "mounted", volume=last)
        try:
            for name in ("large5", "small5", "later"):
                self.assertEqual((mount.dir / tree.relative_to("/") / name).read_bytes(), (tree / name).read_bytes(), name)
        finally:
            mount.close()
        self.assertEqual(json.loads(me.cairn("stats", last, "--json").stdout)["snapshots_count"], 1)
        self.assertEqual(self.restored(last, "while"), describe(tree))
        copied = me.json("copy", "--volume", "second", last)
        self.assertEqual(copied["copied_snapshots"], 1)
        checked = me.cairn("check", "backups", "--read-data", expect=None)
        self.assertIn(checked.returncode, (0, 15) if may_be_damaged else (0,), checked.stderr[-1000:])
        me.cairn("forget", self.middle)
        me.cairn("prune", "backups")
        self.assertEqual(self.restored(last, "after"), describe(tree))
        self.last = last

    def nothing_is_lost(self):
        self.assertEqual(self.restored(self.last, "last"), describe(self.tree))
        first = self.restored(self.first, "first")
        for key in first:
            if key:
                self.assertEqual(first[key], self.before[key], key)
        self.me.cairn("restore", f"{self.last[:8]}:{self.tree}", "-t", self.pool.root / "copy", "--volume", "second", expect=10)
        self.me.cairn("restore", f"latest:{self.tree}", "-t", self.pool.root / "copy", "--volume", "second", "--verify")
        self.assertEqual(describe(self.pool.root / "copy"), describe(self.tree))
        self.me.cairn("check", "--read-data")

    def test_a_holder_that_is_dead(self):
        self.victim().end(signal.SIGKILL)
        self.every_command()
        self.victim().start()
        self.pool.wait_for(7)
        self.nothing_is_lost()

    def test_a_holder_that_hangs(self):
        victim = self.victim()
        victim.process.send_signal(signal.SIGSTOP)
        self.addCleanup(lambda: victim.process and victim.process.send_signal(signal.SIGCONT))
        self.every_command()
        victim.process.send_signal(signal.SIGCONT)
        self.pool.wait_for(7)
        self.nothing_is_lost()

    def test_a_holder_that_answers_garbage(self):
        victim = self.victim()
        victim.end()
        liar = Liar(address_of(victim), lambda connection: connection.sendall(random.Random(5).randbytes(100_000)))
        try:
            self.every_command()
        finally:
            liar.close()
        victim.start()
        self.pool.wait_for(7)
        self.nothing_is_lost()

    def test_a_holder_whose_disk_has_rotted(self):
        # Where shards lie is drawn: the one that holds most, for a holder of next to nothing shows nothing.
        victim = max(self.pool.nodes[1:], key=lambda node: len(rot_places(node)))
        victim.end()
        places = rot_places(victim)
        for segment, at in places:
            with open(segment, "r+b") as file:
                file.seek(at)
                byte = file.read(1)
                file.seek(at)
                file.write(bytes([byte[0] ^ 0x10]))
        self.assertGreater(len(places), 3)
        victim.start()
        self.pool.wait_for(7)
        self.every_command(may_be_damaged=True)
        self.assertEqual(self.restored(self.last, "last"), describe(self.tree))
        first = self.restored(self.first, "first")
        for key in first:
            if key:
                self.assertEqual(first[key], self.before[key], key)

    def test_reads_are_spread_over_all_holders(self):
        def read_by(node):
            with open(f"/proc/{node.process.pid}/io") as file:
                return int(file.readline().split()[1])  # rchar
        for i in range(30):
            (self.tree / f"more{i}").write_bytes(os.urandom(1 << 20))
        last = self.backup()
        before = [read_by(node) for node in self.pool.nodes]
        self.restored(last, "out")
        read = [read_by(node) - was for node, was in zip(self.pool.nodes, before)]
        # Of each pack its data shards' holders are read, not those of parity: with a few packs not all have their turn.
        share = sum(read) / len(read)
        self.assertGreaterEqual(sum(one > share / 4 for one in read), 5, read)
        self.assertLess(max(read), share * 3, read)


if __name__ == "__main__":
    unittest.main()
