"""Several at work on one volume, one home or one node: writers side by side, stores side by side."""
import os
import subprocess
import time
import unittest

from pool import BIN, Node, Pool, describe


def begin(node, *words):
    return subprocess.Popen([BIN / "cairn", *words, "--home", node.home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Together(unittest.TestCase):
    def pool(self, nodes):
        pool = Pool(nodes)
        self.addCleanup(pool.close)
        return pool

    def finish(self, process, content=b""):
        output = process.communicate(content, timeout=180)
        self.assertEqual(process.returncode, 0, output)

    def second_device(self, pool):
        """A further home of the first node's member."""
        node = Node(pool, 50)
        node.cairn("recover", "--phrase-file", pool.root / "phrase0", "--pool", pool.nodes[0].json("status")["pool"]["id"],
                   "--peer", pool.nodes[1].address)
        return node

    def test_two_writers_of_one_volume_both_win_and_a_file_that_both_touched_is_kept_twice(self):
        pool = self.pool(6)
        me, other = pool.nodes[0], self.second_device(pool)
        for name in ["same", "only mine", "only theirs"]:
            path = pool.root / name
            path.write_bytes(b"before " + os.urandom(50000))
            me.cairn("put", path, f"main:/{name}")
        ours, theirs = os.urandom(1 << 20) + b"ours", os.urandom(200000) + b"theirs"

        # A put from a pipe begins its edits before it reads. It takes more than a pipe holds, so when all of that has gone it has begun.
        mine = begin(me, "put", "-", "main:/same")
        mine.stdin.write(ours)
        mine.stdin.flush()
        for name, content in [("same", theirs), ("only theirs", b"changed by them")]:
            self.finish(begin(other, "put", "-", f"main:/{name}"), content)
        other.cairn("mkdir", "main:/their folder")
        self.finish(mine, b"!")

        for node in [me, other]:
            self.assertEqual(node.cairn("cat", "main:/same").stdout, ours + b"!")  # the later one has the name
            self.assertEqual(node.cairn("cat", "main:/only theirs").stdout, b"changed by them")
            self.assertEqual(node.cairn("cat", "main:/only mine").stdout, (pool.root / "only mine").read_bytes())
            names = node.cairn("ls", "main:/").stdout.decode().splitlines()
            kept = [name for name in names if name.startswith("same (conflict from ")]
            self.assertEqual(len(kept), 1, names)
            self.assertEqual(node.cairn("cat", f"main:/{kept[0]}").stdout, theirs)
            self.assertEqual(sorted(names), sorted(["same", "only mine", "only theirs", "their folder", *kept]))

    def test_two_that_make_the_same_new_name_are_both_kept(self):
        pool = self.pool(3)
        me, other = pool.nodes[0], self.second_device(pool)
        me.cairn("mkdir", "main:/there")
        ours, theirs = os.urandom(1 << 20), os.urandom(1000)
        mine = begin(me, "put", "-", "main:/new/name")
        mine.stdin.write(ours)
        mine.stdin.flush()
        self.finish(begin(other, "put", "-", "main:/new/name"), theirs)
        self.finish(mine)
        self.assertEqual(me.cairn("cat", "main:/new/name").stdout, ours)
        names = me.cairn("ls", "main:/new").stdout.decode().splitlines()  # two folders that are new at once become one
        self.assertEqual(len(names), 2, names)
        kept = next(name for name in names if name != "name")
        self.assertEqual(me.cairn("cat", f"main:/new/{kept}").stdout, theirs)

    def test_many_commands_of_one_home_beside_its_own_daemon(self):
        pool = self.pool(3)
        me = pool.nodes[0]  # its daemon runs, under the same NodeID as all of its commands
        trees = []
        for i in range(6):
            tree = pool.root / f"tree{i}"
            tree.mkdir()
            for j in range(20):
                (tree / f"f{j}").write_bytes(os.urandom(30000))
            trees.append(tree)
        puts = [begin(me, "put", tree, f"main:/t{i}") for i, tree in enumerate(trees)]
        for put in puts:
            self.finish(put)
        gets = [begin(me, "get", f"main:/t{i}", pool.root / f"out{i}") for i in range(len(trees))]
        for get in gets:
            self.finish(get)
        for i, tree in enumerate(trees):
            self.assertEqual(describe(tree), describe(pool.root / f"out{i}"))
        # With nobody else: what the own daemon holds comes from it.
        alone = self.pool(1)
        alone.nodes[0].cairn("put", trees[0], "main:/t")
        alone.nodes[0].cairn("get", "main:/t", alone.root / "out")
        self.assertEqual(describe(trees[0]), describe(alone.root / "out"))

    def test_a_node_of_several_stores_uses_them_all_and_lives_without_one(self):
        pool = self.pool(6)
        me, node = pool.nodes[0], pool.nodes[1]
        more = [pool.root / "second", pool.root / "third"]
        for path in more:
            node.cairn("store", "add", path, "--limit", "256M", "--keep-free", "0%")

        def stores(wanted):
            deadline = time.monotonic() + 180
            while True:
                found = {store["path"]: store for store in node.json("store", "ls")["stores"]}
                if len(found) == 3 and wanted(found):
                    return found
                self.assertLess(time.monotonic(), deadline, found)
                time.sleep(0.2)

        stores(lambda found: all(store["state"] == "ok" for store in found.values()))
        tree = pool.root / "tree"
        tree.mkdir()
        for i in range(12):
            (tree / f"f{i}").write_bytes(os.urandom(6 << 20))
            me.cairn("put", "--wait", "placed", tree / f"f{i}", f"main:/tree/f{i}")
        stores(lambda found: all(store["shards"] > 0 for store in found.values()))

        # One disk is not mounted any more: the node goes on with the others, and nothing is written below the empty place.
        node.end()
        more[0].rename(pool.root / "elsewhere")
        more[0].mkdir()
        node.start()
        pool.wait_for(6)
        found = stores(lambda found: found[str(more[0])]["state"] != "ok")
        self.assertIn("offline", found[str(more[0])]["state"])
        self.assertEqual(found[str(more[1])]["state"], "ok")
        me.cairn("get", "main:/tree", pool.root / "out")
        self.assertEqual({k: v[5] for k, v in describe(tree).items() if len(v) > 5}, {k: v[5] for k, v in describe(pool.root / "out").items() if len(v) > 5})
        self.assertEqual(list(more[0].iterdir()), [])
        # It is mounted again: taken up by the running daemon.
        more[0].rmdir()
        (pool.root / "elsewhere").rename(more[0])
        stores(lambda found: all(store["state"] == "ok" for store in found.values()))
        self.assertEqual(me.json("status")["packs"]["below_goal"], 0)


if __name__ == "__main__":
    unittest.main()
