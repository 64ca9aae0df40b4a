"""kill -9 at any point of backup, restore and prune, again and again: nothing that was saved is hurt, no half file appears, and the same
command goes on. The seed is printed; CAIRN_SEED=N repeats one."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import unittest

from pool import BIN, PATIENCE, PoolTest, describe

ROUNDS = int(os.environ.get("CAIRN_ROUNDS", 50))


class Kills(PoolTest):
    NODES = 3
    LIMIT = "512M"

    def setUp(self):
        seed = int(os.environ.get("CAIRN_SEED", random.randrange(1 << 30)))
        print(f"CAIRN_SEED={seed}", file=sys.stderr)
        self.random = random.Random(seed)
        self.tree = self.folder("tree")
        for i in range(12):
            (self.tree / f"d{i}").mkdir(parents=True)
        self.change(60)

    def change(self, files):
        for _ in range(files):
            path = self.tree / f"d{self.random.randrange(12)}/f{self.random.randrange(20)}"
            path.write_bytes(self.random.randbytes(self.random.choice([0, 10, 5_000, 200_000, 1_500_000])))

    def timed(self, *words):
        begin = time.monotonic()
        self.me.cairn(*words)
        return time.monotonic() - begin

    def kill_in(self, seconds, *words):
        """Runs the command and kills it after a part of `seconds`; whether it had ended by itself."""
        process = subprocess.Popen([BIN / "cairn", *map(str, words), "--home", self.me.home], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            _, said = process.communicate(timeout=self.random.random() * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=PATIENCE)
            return False
        self.assertEqual(process.returncode, 0, said)
        return True

    def ids(self):
        return {s["id"] for s in json.loads(self.me.cairn("snapshots", "--json").stdout) if not s.get("partial")}

    def same_as(self, snapshot, expected):
        target = self.folder("whole")
        self.me.cairn("restore", f"{snapshot}:{self.tree}", "-t", target)
        self.assertEqual({k: v[4:] for k, v in describe(target).items() if k}, {k: v[4:] for k, v in expected.items() if k})
        shutil.rmtree(target)

    def test_whatever_is_killed_nothing_that_was_saved_is_hurt(self):
        took = self.timed("backup", self.tree)
        saved = {next(iter(self.ids())): describe(self.tree)}
        versions = {}

        def note(tree):
            for key, what in tree.items():
                if len(what) > 5:
                    versions.setdefault(key, set()).add(what[4])

        note(next(iter(saved.values())))
        has_prune = b"prune" in self.me.cairn("--help").stdout
        ended = {"backup": 0, "restore": 0, "prune": 0}
        for round in range(ROUNDS):
            what = self.random.choice(["backup", "backup", "restore", "prune"] if has_prune else ["backup", "restore"])
            if what == "backup":
                self.change(5)
                ended[what] += self.kill_in(1.3 * took, "backup", self.tree)
                now = describe(self.tree)
                for id in self.ids() - saved.keys():
                    saved[id] = now
                    note(now)
            elif what == "restore":
                id, expected = self.random.choice(list(saved.items()))
                target = self.folder("half")
                ended[what] += self.kill_in(1.3 * took, "restore", f"{id}:{self.tree}", "-t", target)
                for path in target.rglob("*") if target.exists() else []:
                    key = b"/" + os.fsencode(path.relative_to(target))
                    if path.is_file() and path.name[0] == "f":  # its final name: then it is whole, of this restore or one before
                        self.assertIn(path.read_bytes(), versions[key], (round, path))
                if self.random.random() < 0.5:
                    self.me.cairn("restore", f"{id}:{self.tree}", "-t", target, "--delete")
                    self.assertEqual({k: v[4] for k, v in describe(target).items() if len(v) > 5},
                                     {k: v[4] for k, v in expected.items() if len(v) > 5})
                    shutil.rmtree(target)
            else:
                if len(saved) > 3:
                    for id in self.random.sample(list(saved), len(saved) - 3):
                        self.me.cairn("forget", id)
                        del saved[id]
                ended[what] += self.kill_in(1.3 * took, "prune")
            self.assertEqual(self.ids(), saved.keys(), round)
        print(f"ended by themselves: {ended}", file=sys.stderr)
        self.me.cairn("check", "backups", "--read-data")
        for id, expected in saved.items():
            self.same_as(id, expected)
        self.change(5)
        self.me.cairn("backup", self.tree)
        self.same_as("latest", describe(self.tree))


if __name__ == "__main__":
    unittest.main()
