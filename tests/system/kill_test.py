"""kill -9 of daemons and of the client at random points of puts, from a seed: nothing that was acknowledged is lost, everything
completes in the end.

CAIRN_SEED and CAIRN_ROUNDS choose another run: `CAIRN_SEED=5 CAIRN_ROUNDS=200 python3 kill_test.py`."""
import os
import random
import signal
import subprocess
import time
import unittest

from pool import BIN, Pool, describe


class Kills(unittest.TestCase):
    def test_random_kills_of_daemons_and_of_the_client_during_puts(self):
        seed, rounds = int(os.environ.get("CAIRN_SEED", "1")), int(os.environ.get("CAIRN_ROUNDS", "12"))
        print(f"seed {seed}, {rounds} rounds", flush=True)
        dice = random.Random(seed)
        pool = Pool(6)
        self.addCleanup(pool.close)
        me = pool.nodes[0]
        tree = pool.root / "tree"
        tree.mkdir()
        acknowledged = {}  # path below the tree -> content
        since = {}  # path -> versions of later puts, each of which may or may not have been committed before its end
        for turn in range(rounds):
            # Some new files, and another version of an old one.
            written = {}
            for i in range(dice.randrange(1, 8)):
                written[f"r{turn}-{i}"] = dice.randbytes(dice.choice([0, 100, 4096, 5000, 200000, 3 << 20]))
            if acknowledged:
                written[dice.choice(sorted(acknowledged))] = dice.randbytes(dice.randrange(1, 400000))
            for name, content in written.items():
                (tree / name).write_bytes(content)
                since.setdefault(name, []).append(content)
            put = subprocess.Popen([BIN / "cairn", "put", tree, "main:/tree", "--home", me.home], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            time.sleep(dice.uniform(0, 0.4))
            victim = dice.choice(pool.nodes)
            what = dice.choice(["client", "daemon", "both"])
            if what != "daemon":
                put.kill()
            if what != "client":
                victim.end(signal.SIGKILL)
            said = put.communicate(timeout=180)[1].decode()
            if what == "daemon":
                self.assertEqual(put.returncode, 0, f"round {turn}: one of six daemons died\n{said}")
            if what != "client":
                victim.start()
                pool.wait_for(6)
            if put.returncode == 0:
                acknowledged.update({name: (tree / name).read_bytes() for name in os.listdir(tree)})
                since.clear()
            # A version that was not acknowledged may be there or not; half of it never.
            for name in dice.sample(sorted(acknowledged), min(3, len(acknowledged))):
                found = me.cairn("cat", f"main:/tree/{name}").stdout
                self.assertIn(found, [acknowledged[name], *since.get(name, [])], f"round {turn}: {name}")
        me.cairn("put", tree, "main:/tree")
        out = pool.root / "out"
        me.cairn("get", "main:/tree", out)
        self.assertEqual(describe(tree), describe(out))
        self.assertEqual(me.json("status")["packs"]["lost"], 0)


if __name__ == "__main__":
    unittest.main()
