"""Ten daemons keep what was put whole, with its owner away: machines and disks are lost one after the other, one comes back, bytes rot.
What is waited for is shortened to seconds."""
import os
import shutil
import signal
import time
import unittest

from pool import PATIENCE, Pool, describe


class Healing(unittest.TestCase):
    NODES = 10

    def setUp(self):
        self.pool = Pool(0, "256M")
        self.addCleanup(self.pool.close)
        self.begun = time.monotonic()
        for i in range(self.NODES + 1):
            node = self.pool.add(lend=i > 0)  # the first is the owner's, and lends nothing
            with open(node.home / "config.toml", "a") as config:
                config.write('\n[healing]\ntime_scale = 0.00002\nscrub_rate = "64M"\n')
            node.end()
            node.start()
        self.owner, self.holders = self.pool.nodes[0], self.pool.nodes[1:]
        self.pool.wait_for(self.NODES)

    def note(self, what):
        print(f"{time.monotonic() - self.begun:6.1f} s {what}", flush=True)

    def shards(self):
        """Of each holder that runs, how many there are in its stores whose disks are there."""
        count = {}
        for node in self.holders:
            if node.process is not None:
                count[node.number] = sum(store["shards"] for store in node.json("store", "ls")["stores"]
                                         if store["running"] and os.path.exists(store["path"]))
        return count

    def until(self, what, condition, patience=PATIENCE):
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                logs = "".join(f"--- {n.number}\n{(self.pool.root / f'daemon{n.number}.log').read_text()[-1500:]}" for n in self.holders)
                raise AssertionError(f"{what}: {self.shards()}\n{logs}")
            time.sleep(0.3)
        self.note(what)

    def until_whole(self, what):
        """As many shards as all packs have slots: none missing, none twice."""
        self.until(what, lambda: sum(self.shards().values()) == self.goal)

    def log(self, node):
        return (self.pool.root / f"daemon{node.number}.log").read_text()

    def test_holders_keep_every_pack_whole_while_its_owner_is_away(self):
        tree = self.pool.root / "tree"
        tree.mkdir()
        for i in range(8):
            (tree / f"large{i}").write_bytes(os.urandom(3_000_000))
        for i in range(50):
            (tree / f"small{i}").write_bytes(os.urandom(20_000))
        self.owner.cairn("put", "--wait", "placed", tree, "main:/tree")
        status = self.owner.json("status")
        self.assertEqual(status["packs"]["below_goal"], 0)
        self.assertEqual((status["redundancy"]["k"], status["redundancy"]["m"]), (5, 3))
        self.owner.end()  # away from here on
        self.until("claims are made", lambda: sum(self.shards().values()) % 8 == 0)
        self.goal = sum(self.shards().values())
        self.assertGreaterEqual(self.goal, 8 * status["packs"]["at_goal"])

        # One is away for longer than the grace, and comes back: nothing stays twice.
        away = self.holders[0]
        had = self.shards()[away.number]
        self.assertGreater(had, 0)
        away.end(signal.SIGKILL)
        self.until_whole("what was on the machine that is away is rebuilt")
        away.start()
        self.assertGreater(sum(self.shards().values()), self.goal)
        self.until_whole("it is back, and needless copies are gone")
        self.assertIn("surplus_dropped", "".join(self.log(n) for n in self.holders))

        # Wrong bytes in every segment of one holder.
        rotten = max(self.holders, key=lambda n: self.shards()[n.number])
        for segment in rotten.store.rglob("segments/*"):
            with open(segment, "r+b") as file:
                for at in range(100_000, segment.stat().st_size, 400_000):
                    file.seek(at)
                    byte = file.read(1)
                    if byte and byte != b"\0":
                        file.seek(at)
                        file.write(bytes([byte[0] ^ 0x55]))
        self.until("the rot is found", lambda: "rotten_shard" in self.log(rotten))
        self.until_whole("rotten shards are replaced")

        # Three disks, one after the other: two with their machines.
        for node in self.holders[1:3]:
            node.end(signal.SIGKILL)
            shutil.rmtree(node.store)
            self.until_whole(f"what was on machine {node.number} is rebuilt")
        # Eight machines are left for eight slots: the third gets a new disk.
        node = self.holders[3]
        shutil.rmtree(node.store)
        node.cairn("store", "add", self.pool.root / "new-disk", "--limit", "256M")
        self.until_whole(f"what was on the disk of machine {node.number} is rebuilt")

        self.owner.start()
        self.pool.wait_for(self.NODES - 2)
        status = self.owner.json("status")
        self.assertEqual((status["packs"]["below_goal"], status["packs"]["lost"]), (0, 0), status)
        self.owner.cairn("get", "main:/tree", self.pool.root / "out")
        self.assertEqual(describe(tree), describe(self.pool.root / "out"))
        audits = [n for n in self.holders[4].json("nodes")["nodes"] if n["lends"] and n["state"] == "alive"]
        self.assertGreater(sum(n["audits_passed"] for n in audits), 0)
        self.assertTrue(any(0 < n["online"] <= 1 for n in audits))
        self.note("all is read")


class Scores(unittest.TestCase):
    """What a node finds out about the others, as `cairn nodes` shows it."""

    def test_audits_and_presence_of_each_node_are_counted_and_shown(self):
        pool = Pool(6, "256M", config='\n[healing]\ntime_scale = 0.0003\n')  # an audit a second, or so
        self.addCleanup(pool.close)
        data = pool.root / "data"
        data.write_bytes(os.urandom(30_000_000))
        pool.nodes[0].cairn("put", "--wait", "placed", data, "main:/data")

        def until(what, condition):
            deadline = time.monotonic() + PATIENCE
            while not condition():
                self.assertLess(time.monotonic(), deadline, what + ": " + str(seen))
                time.sleep(0.3)

        seen = {}

        def look(node):
            seen.clear()
            seen.update({n["id"]: n for n in node.json("nodes")["nodes"]})
            return {i: n for i, n in seen.items() if i != node.id}

        # (4, 2) packs over six nodes: each shares packs with each other one, and asks all of them in turn.
        for node in pool.nodes:
            until("all are audited", lambda: all(n["audits_passed"] >= 2 for n in look(node).values()))
            for other in look(node).values():
                self.assertEqual((other["audits_failed"], other["audit"]), (0, "ok"), other)
                self.assertGreater(other["online"], 0.5)
            self.assertEqual(seen[node.id]["audits_passed"], 0)  # nobody audits himself
        passed = {i: n["audits_passed"] for i, n in look(pool.nodes[1]).items()}
        until("they go on", lambda: all(n["audits_passed"] > passed[i] for i, n in look(pool.nodes[1]).items()))
        # One is away: it is not asked, that is no failure, and the time counts.
        away = pool.nodes[5]
        before = look(pool.nodes[0])[away.id]["online"]
        away.end(signal.SIGKILL)
        until("it is gone", lambda: look(pool.nodes[0])[away.id]["state"] == "departed")
        until("it was seen less", lambda: look(pool.nodes[0])[away.id]["online"] < 0.9 * before)
        self.assertEqual(seen[away.id]["audits_failed"], 0)
        for other in pool.nodes[1:5]:
            self.assertGreater(seen[other.id]["online"], seen[away.id]["online"])
        text = pool.nodes[0].cairn("nodes").stdout.decode()
        line = next(line for line in text.splitlines() if line.startswith(away.id[:8]))
        self.assertRegex(line, r" \d+\.\d% ")
        # A restart forgets none of it.
        passed = look(pool.nodes[0])[pool.nodes[1].id]["audits_passed"]
        pool.nodes[0].end()
        pool.nodes[0].start()
        self.assertGreaterEqual(look(pool.nodes[0])[pool.nodes[1].id]["audits_passed"], passed)


if __name__ == "__main__":
    unittest.main()
