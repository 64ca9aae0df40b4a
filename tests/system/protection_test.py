"""Devices that may only add, and clocks that are wrong: nothing goes that should not."""
import json
import os
import pathlib
import subprocess
import unittest

from pool import BIN, PATIENCE, PoolTest, describe, run

# The clock of a process, so many seconds ahead: what a machine with a dead battery on its board has.
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec* out) {
  static int (*real)(clockid_t, struct timespec*);
  if (!real) real = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
  const int done = real(id, out);
  if (done == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) out->tv_sec += atol(getenv("CLOCK_AHEAD"));
  return done;
}
time_t time(time_t* out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
"""
HOUR = 3600


class Protection(PoolTest):
    NODES = 4

    def tree(self):
        tree = self.folder("tree")
        tree.mkdir(parents=True)
        (tree / "file").write_bytes(os.urandom(300_000))
        return tree

    def at(self, home, *words, **options):
        return run(BIN / "cairn", *words, "--home", home, **options)

    def snapshots(self, home, *words):
        return json.loads(self.at(home, "snapshots", *words, "--json").stdout)

    def backup(self, home, *words, **options):
        done = self.at(home, "backup", *words, "--json", **options)
        return json.loads(done.stdout.decode().splitlines()[-1])["snapshot_id"]

    def adding_device(self, name):
        home = self.pool.root / f"home-{name}"
        code = self.me.cairn("device", "add", "--append-only", name).stdout.decode().strip()
        self.assertTrue(code.startswith("cairndev1"))
        self.at(home, "join", code[:-3] + "000", expect=2)
        self.at(home, "join", code)
        return home

    def test_a_device_that_may_only_add(self):
        tree = self.tree()
        home = self.adding_device("web")
        first = self.backup(home, tree)
        (tree / "file").write_bytes(os.urandom(300_000))
        second = self.backup(home, tree)
        self.assertEqual([s["id"] for s in self.snapshots(home)], [first, second])
        out = self.folder("out")
        self.at(home, "restore", f"{second}:{tree}", "-t", out, "--verify")
        self.assertEqual(describe(out), describe(tree))
        # Neither what would remove, nor what is not its own.
        for words in [["forget", first], ["forget", "--keep-last", "1"], ["prune"], ["tag", "--add", "x", first], ["recovery-kit"],
                      ["rewrite", "--forget", "--exclude", "*", first], ["device", "add", "--append-only", "another"], ["invite"]]:
            self.assertNotEqual(self.at(home, *words, expect=None).returncode, 0, words)
        self.me.cairn("mkdir", "main:/mine")
        self.backup(self.me.home, tree)
        self.at(home, "ls", "main:/", expect=10)
        secret = (self.pool.root / "phrase0").read_text().split()
        kept = b"".join(p.read_bytes() for p in home.rglob("*") if p.is_file())
        self.assertNotIn(bytes.fromhex(self.secret_of(self.me.home)), kept)
        self.assertEqual(len(secret), 24)
        # Its owner sees all of it, and may.
        self.assertEqual([s["id"] for s in self.snapshots(self.me.home, "--volume", "backups-web")], [first, second])
        self.me.cairn("forget", first, "--volume", "backups-web")
        self.me.cairn("prune", "backups-web")
        self.assertEqual([s["id"] for s in self.snapshots(home)], [second])
        third = self.backup(home, tree)
        self.at(home, "restore", f"{third}:{tree}", "-t", self.folder("again"), "--verify")
        self.me.cairn("check", "backups-web", "--read-data")

    def secret_of(self, home):
        """The account secret in a full device's identity: field 3, 32 bytes."""
        raw = (home / "identity").read_bytes()
        at = raw.index(b"\x1a\x20")
        return raw[at + 2:at + 34].hex()

    def test_a_clock_that_is_ahead_removes_nothing(self):
        source, library = self.folder("clock.c"), self.folder("clock.so")
        source.write_text(CLOCK)
        subprocess.run(["clang-19", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
        ahead = {**os.environ, "LD_PRELOAD": str(library), "CLOCK_AHEAD": str(20 * HOUR)}
        if subprocess.run([BIN / "cairn", "--version"], env=ahead, capture_output=True).returncode != 0:
            self.skipTest("no library can be loaded before this build's")
        tree = self.tree()
        good = [self.backup(self.me.home, tree) for _ in range(3)]
        # By more than a day, and no peer takes its certificate for valid.
        self.at(self.me.home, "backup", tree, env={**ahead, "CLOCK_AHEAD": str(365 * 24 * HOUR)}, expect=13)
        wrong = self.backup(self.me.home, tree, env=ahead)
        claimed = [s for s in self.snapshots(self.me.home, "--path", tree) if s["id"] == wrong][0]
        self.assertGreater(claimed["time"], [s for s in self.snapshots(self.me.home, "--path", tree) if s["id"] == good[0]][0]["time"])
        keep = ["forget", "--path", tree, "--keep-within", "10h", "--json"]
        report = json.loads(self.me.cairn(*keep).stdout)
        self.assertEqual([len(group["remove"] or []) for group in report], [0], "the true ones are not 20 hours old")
        # Nor does a machine whose clock is ahead take what was forgotten just now for old enough.
        self.me.cairn("forget", good[0])
        self.me.cairn("prune", "backups", "--min-age", "10h", env=ahead)
        self.assertNotIn(b"pruned", self.me.cairn("undelete").stdout)
        self.me.cairn("undelete", good[0][:8])
        self.me.cairn("restore", f"{good[0]}:{tree}", "-t", self.folder("out"), "--verify")


if __name__ == "__main__":
    unittest.main()
