"""A pool that grows: packs follow its number of domains, new nodes fill up, and what was put survives as many losses as the new code allows."""
import os
import shutil
import signal
import time
import unittest

from pool import PATIENCE, Pool, describe


class Growth(unittest.TestCase):
    def setUp(self):
        self.begun = time.monotonic()

    def note(self, what):
        print(f"{time.monotonic() - self.begun:6.1f} s {what}", flush=True)

    def add(self, pool, limit=None):
        node = pool.add(limit=limit)
        with open(node.home / "config.toml", "a") as config:
            config.write('\n[healing]\nrate = "256M"\n')
        return node

    def with_data(self, nodes, limit, files):
        """A pool, its first node, and a folder with files of these sizes, which is in the pool too."""
        pool = Pool(0, limit)
        self.addCleanup(pool.close)
        for _ in range(nodes):
            self.add(pool)
        pool.wait_for(nodes)
        me = pool.nodes[0]
        tree = pool.root / "tree"
        tree.mkdir()
        for i, size in enumerate(files):
            (tree / f"file{i}").write_bytes(os.urandom(size))
        me.cairn("put", "--wait", "placed", tree, "main:/tree")
        return pool, me, tree

    def until(self, pool, what, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                logs = "".join(f"--- {n.number}\n{(pool.root / f'daemon{n.number}.log').read_text()[-1500:]}" for n in pool.nodes)
                raise AssertionError(f"{what}\n{logs}")
            time.sleep(0.3)
        self.note(what)

    @staticmethod
    def rebalance(node, *words, expect=0):
        return node.json("rebalance", *words, expect=expect)

    def test_a_pool_grows_from_three_nodes_to_ten(self):
        pool, me, tree = self.with_data(nodes=3, limit="256M", files=[4_000_000] * 10 + [20_000] * 40)
        status = me.json("status")
        self.assertEqual((status["redundancy"]["k"], status["redundancy"]["m"]), (1, 2))
        self.assertEqual(self.rebalance(me)["volumes"][0]["recoded_packs"], 0)
        self.note("three nodes")

        for _ in range(7):
            self.add(pool)
        pool.wait_for(10)
        would = self.rebalance(me, "-n")
        self.assertEqual((would["k"], would["m"], would["domains"]), (5, 3, 10))
        self.assertGreater(would["volumes"][0]["recoded_packs"], 1)
        self.assertEqual(set(self.rebalance(me, "-n")["volumes"][0]["codes"]), {"1+2"})
        self.note("ten nodes")
        # Interrupted, and run again: it goes on.
        first = pool.run_for(me, 1.5, "rebalance", "--rate", "8M")
        self.note(f"interrupted: {first}")
        done = self.rebalance(me, "main")
        self.note(f"{done}")
        self.assertEqual(set(done["volumes"][0]["codes"]), {"5+3"})
        self.assertEqual((done["volumes"][0]["unfit_packs"], done["volumes"][0]["failed_moves"]), (0, 0))
        again = self.rebalance(me, "main")
        self.assertEqual((again["volumes"][0]["recoded_packs"], again["volumes"][0]["failed_moves"]), (0, 0), again)
        self.assertEqual(me.json("status")["packs"]["below_goal"], 0)
        # The new ones have their part.
        shards = {n.number: sum(store["shards"] for store in n.json("store", "ls")["stores"]) for n in pool.nodes}
        self.assertTrue(all(shards[n] > 0 for n in range(3, 10)), shards)

        # As many as the new code allows, for good.
        for node in pool.nodes[3:6]:
            node.end(signal.SIGKILL)
            shutil.rmtree(node.store)
        me.cairn("get", "main:/tree", pool.root / "out")
        self.assertEqual(describe(tree), describe(pool.root / "out"))
        self.note("all is read with three of ten gone")

    def test_shards_move_from_full_nodes_to_new_ones(self):
        pool, me, tree = self.with_data(nodes=6, limit="128M", files=[16_000_000] * 12)
        self.add(pool)  # seven domains want the same code as six
        pool.wait_for(7)
        self.until(pool, "the figures of the six are known", lambda: self.rebalance(me, "-n")["most_used"] > 0.3)
        would = self.rebalance(me, "-n")["volumes"][0]
        self.assertEqual(would["recoded_packs"], 0, would)
        self.assertGreater(would["moved_shards"], 3, would)
        done = self.rebalance(me)
        self.note(f"{done}")
        self.assertEqual(done["volumes"][0]["failed_moves"], 0)
        self.assertGreater(done["volumes"][0]["moved_shards"], 3)
        # Nodes tell now and then how full they are: a later run knows better.
        levels = done

        def even():
            nonlocal levels
            level = levels["most_used"] - levels["least_used"]
            if level >= 0.1:
                time.sleep(1)
                levels = self.rebalance(me)
                self.assertEqual(levels["volumes"][0]["failed_moves"], 0)
            return level < 0.1
        self.until(pool, "the nodes are about as full as each other", even)
        self.assertGreater(sum(store["shards"] for store in pool.nodes[6].json("store", "ls")["stores"]), 3)
        status = me.json("status")
        self.assertEqual((status["packs"]["below_goal"], status["packs"]["lost"]), (0, 0), status)
        for node in (pool.nodes[1], pool.nodes[6]):
            node.end(signal.SIGKILL)
        me.cairn("get", "main:/tree", pool.root / "out")
        self.assertEqual(describe(tree), describe(pool.root / "out"))


if __name__ == "__main__":
    unittest.main()
