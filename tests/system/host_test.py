"""The host comes first: stores that are resized, taken back and paused, nodes that leave, hours and batteries, and disks that their
owner fills. Real daemons, real small file systems; after each the files are compared."""
import errno
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from pool import PATIENCE, Pool


def wait_for(what, condition):
    deadline = time.monotonic() + PATIENCE
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}")
        time.sleep(0.1)


class HostTest(unittest.TestCase):
    def make(self, nodes=5, limit="512M"):
        # Moves at more than their usual rate, which is for machines that have other things to do.
        self.pool = Pool(nodes, limit, config='\n[healing]\nrate = "1G"\n')
        self.addCleanup(self.pool.close)
        self.me = self.pool.nodes[0]
        self.kept = {}

    @staticmethod
    def set_rate(node, rate):
        node.end()
        config = node.home / "config.toml"
        config.write_text(re.sub('rate = "[^"]*"', f'rate = "{rate}"', config.read_text()))
        node.start()

    def put(self, name, size):
        """A file of random bytes, at its redundancy goal."""
        path = self.pool.root / name
        digest = hashlib.sha256()
        with open(path, "wb") as file:
            while size > 0:
                block = os.urandom(min(size, 4 << 20))
                file.write(block)
                digest.update(block)
                size -= len(block)
        self.kept[name] = digest.hexdigest()
        self.me.cairn("put", "--wait", "placed", path, f"main:/{name}")
        path.unlink()

    def compare(self):
        """All that was put is there, bit for bit."""
        for name, digest in self.kept.items():
            out = self.pool.root / "out"
            self.me.cairn("get", f"main:/{name}", out)
            self.assertEqual(hashlib.sha256(out.read_bytes()).hexdigest(), digest, name)
            out.unlink()

    def at_goal(self):
        packs = self.me.json("status")["packs"]
        return packs["lost"] == 0 and packs["below_goal"] == 0 and packs["at_goal"] > 0

    def store_of(self, node, path=None):
        path = str(path or node.store)
        return next((s for s in node.json("store", "ls")["stores"] if s["path"] == path), None)

    def lends(self, node):
        """None: the first node's command has not heard of it yet."""
        return next((n["lends"] for n in self.me.json("nodes")["nodes"] if n["id"] == node.id), None)

    def small_disk(self, size):
        """A real ext4 of its own for a store."""
        if os.geteuid() != 0:
            self.skipTest("mounting a file system takes root")
        place = pathlib.Path(tempfile.mkdtemp(prefix="cairn-host-disk-"))
        self.addCleanup(shutil.rmtree, place, ignore_errors=True)
        disk, image = place / "disk", place / "image"
        disk.mkdir()
        with open(image, "wb") as file:
            file.truncate(size)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        if subprocess.run(["mount", "-o", "loop", image, disk], capture_output=True).returncode != 0:
            self.skipTest("no loop mounts here")

        def unmount():
            for node in self.pool.nodes:
                node.end()
            subprocess.run(["umount", disk], check=True)
        self.addCleanup(unmount)
        return disk

    def fill(self, disk, victim, speed, until_free=0):
        """The host writes at `speed` bytes a second (0: as fast as the disk takes it) until so little is free (0: until nothing is). A write may only fail once
        Cairn has given all that it held. Without a pace a disk may take more in 150 ms than was free at first (src/store/headroom.h): then one may fail earlier, and
        all must be given a moment later. Gives the bytes written."""
        written, block = 0, os.urandom(1 << 20)
        began = time.monotonic()
        with open(disk / "of-the-host", "ab") as file:
            while True:
                info = os.statvfs(disk)
                if info.f_bavail * info.f_frsize < until_free:
                    return written
                try:
                    os.write(file.fileno(), block)
                    os.fsync(file.fileno())
                except OSError as error:
                    self.assertEqual(error.errno, errno.ENOSPC)
                    if speed == 0:
                        wait_for("all is given", lambda: self.store_of(victim)["shards"] == 0 or "needed by the pool" in self.store_of(victim)["state"])
                    store = self.store_of(victim)
                    # What its claims say that the pool cannot do without is never dropped, only moved.
                    if "needed by the pool" not in store["state"]:
                        self.assertEqual(store["shards"], 0, "there was something to give")
                    return written
                written += len(block)
                ahead = written / speed - (time.monotonic() - began) if speed else 0
                if ahead > 0:
                    time.sleep(ahead)

    def put_files(self, name, count, enough):
        """So many files of 30 MiB, and a few more if the small store has drawn too little of them: where shards lie is chance."""
        for i in range(count + 5):
            if i >= count and enough():
                return
            self.put(f"{name}.{i}", 30 << 20)
        self.assertTrue(enough())

    def test_a_host_that_fills_its_disk_gets_it_and_nothing_is_lost(self):
        self.make(4)
        disk = self.small_disk(200 << 20)
        victim = self.pool.add(limit="150M", store=disk / "store", keep_free="10%")
        self.pool.wait_for(5)
        self.put_files("first", 5, lambda: self.store_of(victim)["used"] > 16 << 20)
        info = os.statvfs(disk)
        total = info.f_blocks * info.f_frsize
        log = self.pool.root / f"daemon{victim.number}.log"

        # A host at the pace of a download: what lies over is moved in time, until 15 % are free or nothing is left.
        self.fill(disk, victim, 60 << 20, until_free=total * 12 // 100)
        self.assertEqual(self.store_of(victim)["phase"], "ok")
        held = self.store_of(victim)["shards"]
        self.assertGreater(held, 2)
        self.fill(disk, victim, 3 << 20, until_free=total * 8 // 100)
        store = wait_for("yielding", lambda: (s := self.store_of(victim))["phase"] == "yielding" and s)
        self.assertIn("full", store["state"])
        self.assertEqual(store["free"], 0)
        wait_for("15 % are free or nothing is left", lambda: (s := os.statvfs(disk)).f_bavail * s.f_frsize >= total * 145 // 1000 or
                 self.store_of(victim)["shards"] == 0)
        self.assertLess(self.store_of(victim)["shards"], held)
        self.assertNotIn("host_disk_pressing", log.read_text())
        wait_for("all packs at their goal", self.at_goal)
        self.compare()

        # The host deletes its files: the store takes again.
        (disk / "of-the-host").unlink()
        wait_for("the store takes again", lambda: self.store_of(victim)["phase"] == "ok")
        wait_for("the others know it", lambda: any(n["id"] == victim.id and n["free"] > 40 << 20 for n in self.me.json("nodes")["nodes"]))
        self.put_files("second", 3, lambda: self.store_of(victim)["shards"] > 3)

        # A host that writes faster than shards can be moved, an eighth of its disk a second, until that is full.
        self.fill(disk, victim, 30 << 20)
        self.assertEqual(self.store_of(victim)["shards"], 0)
        self.assertIn("host_disk_pressing", log.read_text())
        self.assertEqual(self.me.json("status")["packs"]["lost"], 0)
        self.compare()

    def test_a_host_that_writes_as_fast_as_its_disk_can_finds_room_until_all_is_given(self):
        self.make(4)
        disk = self.small_disk(240 << 20)
        victim = self.pool.add(limit="200M", store=disk / "store", keep_free="10%")
        self.pool.wait_for(5)
        log = self.pool.root / f"daemon{victim.number}.log"
        info = os.statvfs(disk)
        total = info.f_blocks * info.f_frsize
        # From far off at 80 and 200 MiB a second and at all that the disk takes; and 80 MiB a second out of a standstill
        # with no more free than what the store keeps free.
        for number, (creep, speed) in enumerate([(None, 80 << 20), (None, 200 << 20), (None, 0), (10 << 20, 80 << 20)]):
            self.put_files(f"f{number}", 4, lambda: self.store_of(victim)["used"] > 16 << 20)
            if creep:
                # So slowly that nothing is dropped, nor moved.
                self.fill(disk, victim, creep, until_free=total * 11 // 100)
                self.assertGreater(self.store_of(victim)["shards"], 0)
            seen = log.stat().st_size
            begun = time.monotonic()
            written = self.fill(disk, victim, speed)
            taken = time.monotonic() - begun
            dropped = re.findall(r"dropped=(\d+)", log.read_text()[seen:])
            print(f"a host wrote {written >> 20} MiB at {written / taken / 2**20:.0f} MiB a second: dropped {'+'.join(dropped)} shards, "
                  f"{self.store_of(victim)['shards']} left", flush=True)
            self.assertGreater(written, 0)
            self.assertTrue(dropped)
            self.assertEqual(self.me.json("status")["packs"]["lost"], 0)
            (disk / "of-the-host").unlink()
            wait_for("the store takes again", lambda: self.store_of(victim)["phase"] == "ok")
            wait_for("the others know it", lambda: any(n["id"] == victim.id and n["free"] > 60 << 20 for n in self.me.json("nodes")["nodes"]))
        self.compare()

    def test_stores_are_resized_and_taken_back_and_nodes_pause_and_leave(self):
        self.make(6)
        me, nodes = self.me, self.pool.nodes
        # The sixth has room for what the others give up; until then five hold (2, 2) packs.
        nodes[5].cairn("pause")
        wait_for("a paused node lends nothing", lambda: self.lends(nodes[5]) is False)
        self.assertEqual(self.store_of(nodes[5])["phase"], "paused")
        self.assertEqual(nodes[5].json("status")["lending"]["state"], "paused")
        for i in range(4):
            self.put(f"f{i}", 20 << 20)
        self.assertEqual(self.store_of(nodes[5])["shards"], 0)
        nodes[5].end()
        nodes[5].start()
        self.assertEqual(self.store_of(nodes[5])["phase"], "paused")
        # What it holds a paused node serves: here nobody pauses alone.
        for node in nodes[1:5]:
            node.cairn("pause")
        wait_for("all pause", lambda: all(self.lends(node) is False for node in nodes[1:5]))
        self.compare()
        for node in nodes[1:]:
            node.cairn("resume")
        wait_for("all lend again", lambda: all(self.lends(node) for node in nodes))

        # Less: what is over goes elsewhere. More: at once.
        used = self.store_of(nodes[4])["used"]
        half = used // 2 >> 20
        nodes[4].cairn("store", "resize", nodes[4].store, f"{half}M", "--wait")
        store = self.store_of(nodes[4])
        self.assertLessEqual(store["used"], half << 20)
        self.assertEqual(store["limit"], half << 20)
        self.assertEqual(store["phase"], "ok")
        self.assertTrue(self.at_goal())
        self.compare()
        nodes[4].cairn("store", "resize", nodes[4].store, "512M", "--keep-free", "1M")
        store = wait_for("it is larger", lambda: (s := self.store_of(nodes[4]))["limit"] == 512 << 20 and s)
        self.assertGreater(store["free"], 300 << 20)
        self.assertEqual(store["keep_free"], 1 << 20)

        # Values that make no sense change nothing.
        before = (nodes[4].home / "config.toml").read_text()
        nodes[4].cairn("store", "resize", nodes[4].store, "1K", expect=2)
        nodes[4].cairn("store", "resize", nodes[4].store, "much", expect=2)
        nodes[4].cairn("store", "resize", nodes[4].store, expect=2)
        nodes[4].cairn("store", "resize", nodes[4].store, "--keep-free", "100%", expect=2)
        self.assertIn(b"lent are", nodes[4].cairn("store", "resize", "/nowhere", "1G", expect=10).stderr)
        nodes[4].cairn("store", "rm", "--cancel", nodes[4].store, expect=1)
        nodes[4].cairn("store", "rm", "--lost", nodes[4].store, expect=1)
        nodes[4].cairn("leave", "--cancel", expect=1)
        self.assertEqual((nodes[4].home / "config.toml").read_text(), before)

        # Taken back, and not after all, and then really.
        self.set_rate(nodes[2], "1M")
        shards = self.store_of(nodes[2])["shards"]
        self.assertGreater(shards, 1)
        nodes[2].cairn("store", "rm", nodes[2].store, "--no-wait")
        wait_for("it drains", lambda: (s := self.store_of(nodes[2]))["phase"] == "draining" and s["shards"] < shards)
        nodes[2].cairn("store", "rm", nodes[2].store, "--cancel")
        wait_for("it is lent again", lambda: self.store_of(nodes[2])["phase"] == "ok")
        self.assertGreater(self.store_of(nodes[2])["shards"], 0)
        self.set_rate(nodes[2], "1G")
        wait_for("all packs at their goal", self.at_goal)
        self.compare()
        done = nodes[2].cairn("store", "rm", nodes[2].store, "--json").stdout.decode().splitlines()
        self.assertIn('"removed"', done[-1])
        self.assertEqual(os.listdir(nodes[2].store), [])
        self.assertEqual(nodes[2].json("store", "ls")["stores"], [])
        self.assertTrue(self.at_goal())
        self.compare()
        # The directory may be lent anew.
        nodes[2].cairn("store", "add", nodes[2].store, "--limit", "256M", "--keep-free", "0%")
        wait_for("it is lent anew", lambda: self.store_of(nodes[2])["phase"] == "ok")
        wait_for("the others know", lambda: self.lends(nodes[2]))

        # Leaving, and not after all, and then really.
        self.set_rate(nodes[3], "1M")
        nodes[3].cairn("leave", "--no-wait")
        wait_for("it leaves", lambda: nodes[3].json("store", "ls")["lending"]["state"] == "leaving")
        nodes[3].end()
        nodes[3].start()
        self.assertEqual(nodes[3].json("store", "ls")["lending"]["state"], "leaving")
        nodes[3].cairn("leave", "--cancel")
        wait_for("it stays", lambda: nodes[3].json("store", "ls")["lending"]["state"] == "lending")
        wait_for("all packs at their goal", self.at_goal)
        self.set_rate(nodes[3], "1G")
        self.compare()
        nodes[3].cairn("leave")
        self.assertEqual(nodes[3].json("store", "ls")["lending"]["state"], "left")
        self.assertEqual(os.listdir(nodes[3].store), [])
        nodes[3].cairn("leave", "--cancel", expect=1)
        wait_for("the others know", lambda: any(n["id"] == nodes[3].id and n["state"] == "left" for n in me.json("nodes")["nodes"]))
        self.assertTrue(self.at_goal())
        nodes[3].end()
        self.compare()
        self.assertTrue(self.at_goal())

    def test_hours_batteries_rates_lost_disks_and_broken_files(self):
        self.make(4, "128M")
        me, nodes = self.me, self.pool.nodes
        self.put("a", 8 << 20)

        # Four nodes, four slots: a store that is to go has nowhere to put them. They stay, it is said, and it can be cancelled.
        nodes[3].cairn("store", "rm", nodes[3].store, "--no-wait")
        stuck = wait_for("it is stuck", lambda: (s := self.store_of(nodes[3]))["stuck"] > 0 and s)
        self.assertIn("nowhere to go", stuck["state"])
        self.assertTrue(self.at_goal())
        nodes[3].cairn("store", "rm", nodes[3].store, "--cancel")
        wait_for("it is lent again", lambda: self.store_of(nodes[3])["phase"] == "ok")
        self.pool.add()
        self.pool.wait_for(5)
        self.put("b", 8 << 20)
        # Far smaller: what the index may take shrinks with it, and all is there.
        nodes[0].cairn("store", "resize", nodes[0].store, "20G")
        wait_for("it is larger", lambda: self.store_of(nodes[0])["limit"] == 20 << 30)
        nodes[0].end()
        nodes[0].start()
        nodes[0].cairn("store", "resize", nodes[0].store, "40M")
        wait_for("it is smaller", lambda: (s := self.store_of(nodes[0]))["limit"] == 40 << 20 and s["used"] <= s["limit"])
        self.compare()
        config = nodes[1].home / "config.toml"
        original = config.read_text()

        # A schedule that lends nothing at any hour: not taken, and not served either; the files can be read.
        config.write_text(original + '\n[limits]\nup = "1M"\ndown = "2M"\n[[schedule]]\nlend = false\n')
        wait_for("it rests", lambda: self.store_of(nodes[1])["phase"] == "resting")
        lending = nodes[1].json("status")["lending"]
        self.assertEqual((lending["state"], lending["up"], lending["down"]), ("resting", 1 << 20, 2 << 20))
        wait_for("the others know", lambda: self.lends(nodes[1]) is False)
        self.compare()
        # A mistake in the file: what counted goes on, and it is said.
        config.write_text(original + '\n[limits]\nup = "fast"\n')
        wrong = wait_for("the mistake is seen", lambda: nodes[1].json("store", "ls")["lending"]["config_error"])
        self.assertIn("fast", wrong)
        self.assertEqual(self.store_of(nodes[1])["phase"], "resting")
        config.write_text(original)
        wait_for("it lends again", lambda: self.store_of(nodes[1])["phase"] == "ok")
        wait_for("the others know", lambda: self.lends(nodes[1]))

        # A rate: what is read from this node takes its time. All packs have a shard or none there; it is asked for directly.
        slow = nodes[2].home / "config.toml"
        slow.write_text(slow.read_text() + '\n[limits]\nup = "512K"\n')
        wait_for("the rate counts", lambda: nodes[2].json("store", "ls")["lending"]["up"] == 512 << 10)
        self.compare()

        # On battery, by the kernel's files of a machine that is unplugged.
        power = self.pool.root / "sys" / "class" / "power_supply" / "BAT0"
        power.mkdir(parents=True)
        (power / "type").write_text("Battery\n")
        (power / "status").write_text("Discharging\n")
        nodes[3].end()
        config = nodes[3].home / "config.toml"
        config.write_text(config.read_text() + "\n[limits]\non_battery = false\n")
        nodes[3].start(env={"CAIRN_SYSFS": str(self.pool.root / "sys")})
        state = wait_for("it rests", lambda: (s := self.store_of(nodes[3]))["phase"] == "resting" and s["state"])
        self.assertIn("battery", state)
        (power / "status").write_text("Charging\n")
        wait_for("plugged in it lends", lambda: self.store_of(nodes[3])["phase"] == "ok")
        # Low priority for processor and disk, of every thread.
        threads = pathlib.Path(f"/proc/{nodes[3].process.pid}/task").iterdir()
        nice = {int((thread / "stat").read_text().rsplit(")", 1)[1].split()[16]) for thread in threads}
        self.assertGreaterEqual(min(nice), 5)

        # A disk that is taken out while its store is open, as far as can be seen, and comes back.
        for name in ("cairn-store", "cairn-store.copy"):
            (nodes[2].store / name).rename(self.pool.root / name)
        wait_for("it is away", lambda: self.store_of(nodes[2])["phase"] == "offline")
        self.compare()
        for name in ("cairn-store", "cairn-store.copy"):
            (self.pool.root / name).rename(nodes[2].store / name)
        wait_for("it is back", lambda: self.store_of(nodes[2])["phase"] == "ok")

        # A disk that is gone: known by its missing marker, taken out by the flag, and the node says that its shards are gone.
        nodes[4].end()
        shutil.rmtree(nodes[4].store)
        nodes[4].store.mkdir()
        nodes[4].start()
        self.assertEqual(self.store_of(nodes[4])["phase"], "offline")
        nodes[4].cairn("store", "rm", nodes[4].store, "--lost")
        wait_for("it is lent no more", lambda: nodes[4].json("store", "ls")["stores"] == [])
        wait_for("its claims are taken back", lambda: not (nodes[4].home / "disown").exists())
        self.assertEqual(os.listdir(nodes[4].store), [])
        self.compare()


if __name__ == "__main__":
    unittest.main(verbosity=2)
