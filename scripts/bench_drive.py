#!/usr/bin/env python3
"""The drive side by side with the local disk: six real daemons on this machine, a mount, each piece of work on both in turn.

    scripts/bench_drive.sh                        builds, runs everything, prints one table
    scripts/bench_drive.py --only write,read      some of the work
    scripts/bench_drive.py --at DIR --remount CMD --drain CMD --pids CMD     the same work on any other mount

Needs root (to empty the kernel's caches), /dev/fuse, fio and git. CPU seconds are those of all daemons and the mount; the peak of
memory is the mount's. Nothing is left behind."""
import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from bench_common import MIB, ROOT, cpu_of, drop_caches, peak_of, sh, timed


def shell(command):
    subprocess.run(command, shell=True, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


class Local:
    """A folder of the local disk."""

    def __init__(self, folder):
        self.dir = folder

    def cold(self):
        drop_caches()

    def drain(self):
        sh("sync", "-f", self.dir)

    def cpu(self):
        return 0.0

    def peak(self):
        return 0.0


class Other:
    """A mount that somebody else has made."""

    def __init__(self, options):
        self.options = options
        self.dir = pathlib.Path(options.at) / "bench"
        self.dir.mkdir(exist_ok=True)

    def cold(self):
        if self.options.remount:
            shell(self.options.remount)
        drop_caches()

    def drain(self):
        sh("sync", "-f", self.dir)
        if self.options.drain:
            shell(self.options.drain)

    def pids(self):
        if not self.options.pids:
            return []
        return subprocess.run(self.options.pids, shell=True, check=True, capture_output=True, text=True).stdout.split()

    def cpu(self):
        return sum(cpu_of(pid) for pid in self.pids())

    def peak(self):
        return sum(peak_of(pid) for pid in self.pids())


class Drive:
    """A mount of a pool of six daemons."""

    def __init__(self, folder, options):
        os.environ["CAIRN_BIN"] = options.bin
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        sys.path.insert(0, str(ROOT / "tests/system"))
        import pool

        self.pool = pool.Pool(6, limit=f"{8 * options.mb + 4096}M")
        self.node = self.pool.nodes[0]
        self.mount_dir = folder / "mount"
        self.mount_dir.mkdir()
        self.cache = folder / "cache"
        self.pid, self.gone, self.highest = None, 0.0, 0.0
        self.mount()
        self.dir = self.mount_dir

    def mount(self):
        self.node.cairn("mount", "-o", f"cache-dir={self.cache}", "main", self.mount_dir)
        self.pid = json.loads(os.getxattr(self.mount_dir, "system.cairn.status"))["pid"]
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def umount(self):
        if self.pid is None:
            return
        # Its last work is its CPU time too.
        self.drain()
        self.gone += cpu_of(self.pid)
        self.highest = max(self.highest, peak_of(self.pid))
        self.node.cairn("umount", self.mount_dir)
        self.pid = None

    def cold(self):
        self.umount()
        shutil.rmtree(self.cache)
        self.mount()
        drop_caches()

    def drain(self):
        self.node.cairn("sync", self.mount_dir)

    def cpu(self):
        return self.gone + cpu_of(self.pid) + sum(cpu_of(node.process.pid) for node in self.pool.nodes if node.process)

    def peak(self):
        return peak_of(self.pid)

    def close(self):
        subprocess.run(["umount", "-l", self.mount_dir], capture_output=True)
        if self.pid is not None:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.pool.close()


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.source = pathlib.Path(tempfile.mkdtemp(prefix="cairn-bench-", dir="/dev/shm"))  # never the bottleneck
        (folder / "local").mkdir()
        self.local = Local(folder / "local")
        self.drive = Other(options) if options.at else Drive(folder, options)
        self.both = [self.local, self.drive]
        self.rows, self.peak = [], 0.0
        self.bytes = options.mb * MIB
        rng = random.Random(1)
        with open(self.source / "big", "wb") as file:
            for _ in range(options.mb):
                file.write(rng.randbytes(MIB))

    def close(self):
        shutil.rmtree(self.source, ignore_errors=True)
        if isinstance(self.drive, Drive):
            self.drive.close()
        else:
            shutil.rmtree(self.drive.dir, ignore_errors=True)

    def row(self, name, unit, here, there, cpu, note=""):
        ratio = there / here if here else 0
        peak = self.drive.peak()
        self.peak = max(self.peak, peak)
        self.rows.append(dict(name=name, unit=unit, drive=there, local=here, ratio=ratio, cpu_seconds=cpu, mount_mib=peak, note=note,
                              load=os.getloadavg()[0]))
        print(f"{name:<38} {there:>10.1f} {here:>10.1f} {unit:<9} {ratio:>6.2f} {cpu:>7.2f} {peak:>6.0f}  {note}", flush=True)

    def measure(self, name, unit, amount, work, before=lambda subject: None, rounds=1):
        """Amount a second of work(subject), on the local disk and then on the drive: the best of some rounds."""
        rates = []
        for subject in self.both:
            best = None
            for _ in range(rounds):
                before(subject)
                cpu = subject.cpu()
                seconds = timed(lambda s=subject: work(s))
                if best is None or seconds < best[0]:
                    best = seconds, subject.cpu() - cpu
            rates.append(amount / best[0])
        self.row(name, unit, rates[0], rates[1], best[1])

    # --- the work ---
    def write(self):
        def write(subject):
            sh("dd", f"if={self.source / 'big'}", f"of={subject.dir / 'big'}", "bs=1M", "conv=fsync", "status=none")

        rates = {}
        for subject in self.both:
            cpu = subject.cpu()
            accepted = timed(lambda s=subject: write(s))
            synced = accepted + timed(subject.drain)
            rates[subject] = (self.bytes / accepted / 1e6, self.bytes / synced / 1e6)
            cpu = subject.cpu() - cpu
        local, drive = rates[self.local], rates[self.drive]
        self.row(f"write {self.options.mb} MiB, fsync", "MB/s", local[0], drive[0], 0)
        self.row("  until synced", "MB/s", local[1], drive[1], cpu, f"{cpu / (self.bytes / 2**30):.1f} CPU-s/GiB")

    def read_big(self, subject):
        sh("dd", f"if={subject.dir / 'big'}", "of=/dev/null", "bs=1M", "status=none")

    def same(self):
        return subprocess.run(["cmp", self.source / "big", self.drive.dir / "big"], capture_output=True).returncode == 0

    def read(self):
        self.measure(f"cold read {self.options.mb} MiB", "MB/s", self.bytes / 1e6, self.read_big, lambda s: s.cold())
        self.measure("warm read", "MB/s", self.bytes / 1e6, self.read_big, rounds=3)
        self.check()

    def check(self):
        if not self.same():
            print("WRONG BYTES", flush=True)
            self.rows.append(dict(name="wrong bytes"))

    def make_tree(self):
        tar, tree = self.source / "tree.tar", self.source / "tree"
        rng = random.Random(2)
        words = [bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(3000)]
        for number in range(self.options.files):
            folder = tree / f"d{number // 500}" / f"d{number // 25 % 20}"
            folder.mkdir(parents=True, exist_ok=True)
            size = min(int(rng.lognormvariate(8.3, 1.2)), 65536)  # median 4 KiB, mean 8 KiB: as in /usr/include
            (folder / f"file{number}.h").write_bytes(b" ".join(rng.choices(words, k=size // 6 + 1))[:size])
        sh("tar", "-cf", tar, "-C", self.source, "tree")
        shutil.rmtree(tree)
        return tar

    def small(self):
        tar, count = self.make_tree(), self.options.files

        def unpack(subject):
            sh("tar", "xf", tar, "-C", subject.dir, "--no-same-owner")

        rates = {}
        for subject in self.both:
            cpu = subject.cpu()
            accepted = timed(lambda s=subject: unpack(s))
            synced = accepted + timed(subject.drain)
            rates[subject] = (count / accepted, count / synced)
            cpu = subject.cpu() - cpu
        local, drive = rates[self.local], rates[self.drive]
        self.row(f"untar {count} small files", "files/s", local[0], drive[0], 0)
        self.row("  until synced", "files/s", local[1], drive[1], cpu)
        entries = sum(1 for _ in (self.local.dir / "tree").rglob("*"))
        self.measure("find -ls, cold", "entries/s", entries, lambda s: sh("find", s.dir / "tree", "-ls"), lambda s: s.cold())
        self.measure("find -ls, warm", "entries/s", entries, lambda s: sh("find", s.dir / "tree", "-ls"), rounds=3)
        self.measure("grep -r, cold", "files/s", count,
                     lambda s: subprocess.run(["grep", "-r", "no such token", s.dir / "tree"], stdout=subprocess.DEVNULL), lambda s: s.cold())
        same = subprocess.run(["diff", "-r", self.local.dir / "tree", self.drive.dir / "tree"], capture_output=True).returncode == 0
        if not same:
            print("WRONG FILES", flush=True)
        self.measure("rm -rf", "files/s", count, lambda s: sh("rm", "-rf", s.dir / "tree"))
        self.drive.drain()

    def fio(self, subject, kind):
        words = ["fio", "--name=x", f"--filename={subject.dir / 'big'}", f"--size={self.options.mb}m", f"--rw={kind}", "--bs=4k", "--numjobs=4", "--thread",
                 "--group_reporting", "--time_based", f"--runtime={self.options.seconds}", "--ioengine=psync", "--direct=1",
                 "--allow_file_create=0", "--output-format=json"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        report = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
        return report["read" if kind == "randread" else "write"]["iops"]

    def random(self):
        for kind, name in [("randread", "random read 4 KiB, cold"), ("randwrite", "random write 4 KiB")]:
            rates = []
            for subject in self.both:
                subject.cold()
                cpu = subject.cpu()
                rates.append(self.fio(subject, kind))
                cpu = subject.cpu() - cpu
            drained = timed(self.drive.drain) if kind == "randwrite" else 0
            self.row(name, "iops", rates[0], rates[1], cpu, f"then {drained:.1f} s until synced" if drained else "")
        for subject in self.both:
            sh("cp", self.source / "big", subject.dir / "big")
            subject.drain()

    def degraded(self):
        nodes = self.drive.pool.nodes
        healthy = []
        for _ in range(2):
            self.drive.cold()
            healthy.append(timed(lambda: self.read_big(self.drive)))
        for node in nodes[4:]:
            node.end(signal.SIGKILL)
        self.drive.cold()
        cpu = self.drive.cpu()
        seconds = timed(lambda: self.read_big(self.drive))
        cpu = self.drive.cpu() - cpu
        self.check()
        self.row("2 of 6 gone: cold read (beside: healthy)", "MB/s", self.bytes / min(healthy) / 1e6, self.bytes / seconds / 1e6, cpu)
        for node in nodes[4:]:
            node.start()
        self.drive.pool.wait_for(6)

    def flipped(self):
        """64 KiB in the stored shards of two nodes."""
        rng = random.Random(3)
        victims = self.drive.pool.nodes[2:4]
        for node in victims:
            segments = sorted(node.store.rglob("*.seg"), key=lambda path: path.stat().st_size)
            with open(segments[-1], "r+b") as file:
                for _ in range(16):  # of 4 KiB
                    at = rng.randrange(MIB, min(segments[-1].stat().st_size, self.bytes // 4) - 4096)
                    file.seek(at)
                    old = file.read(4096)
                    file.seek(at)
                    file.write(bytes(b ^ 0xFF for b in old))
        for _ in range(2):
            self.drive.cold()
            self.check()
        log = self.node_names_reported()
        named = [f"node{node.number}" for node in victims if node.id[:8] in log or f"node{node.number}" in log]
        self.row("64 KiB flipped on 2 nodes", "right", 1, float(self.same()), 0, f"named: {', '.join(named) or 'none'}")

    def node_names_reported(self):
        return self.drive.node.cairn("status").stdout.decode() + self.drive.node.cairn("nodes", "--json").stdout.decode()

    def git(self):
        count = 2 * self.options.files

        def make(subject):
            repository = subject.dir / "repository"
            for number in range(count):
                folder = repository / f"d{number // 100}"
                if number % 100 == 0:
                    folder.mkdir(parents=True)
                (folder / f"f{number}").write_bytes(b"line %d\n" % number * 20)
            sh("git", "-C", repository, "init", "-q")
            sh("git", "-C", repository, "config", "gc.auto", "0")  # nothing goes on behind, into what is measured next
            sh("git", "-C", repository, "add", ".")
            sh("git", "-C", repository, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "x")

        def status(subject):
            sh("git", "-C", subject.dir / "repository", "status")

        self.measure(f"git add, commit of {count} files", "files/s", count, make)
        for subject in self.both:
            time.sleep(1.1)  # git trusts an index that is older than the files
            status(subject)
        self.measure(f"git status of {count} files, warm", "1/s", 1, status, rounds=5)
        for subject in self.both:
            shutil.rmtree(subject.dir / "repository")

    def run(self):
        names = self.options.only.split(",") if self.options.only else ["write", "read", "small", "random", "git", "degraded", "flipped"]
        print(f"{'work':<38} {'there':>10} {'local':>10} {'unit':<9} {'ratio':>6} {'CPU-s':>7} {'MiB':>6}", flush=True)
        for name in names:
            if self.options.at and name in ("degraded", "flipped"):
                continue
            getattr(self, name)()
        highest = max(self.peak, getattr(self.drive, "highest", 0))
        print(f"peak of the mount's memory: {highest:.0f} MiB", flush=True)
        if self.options.json:
            pathlib.Path(self.options.json).write_text(json.dumps(self.rows, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=str(ROOT / "build/release/bin"), help="where cairn and cairnd are")
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="on the disk to measure on")
    parser.add_argument("--mb", type=int, default=512, help="of the large file")
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--seconds", type=int, default=10, help="of each run of fio")
    parser.add_argument("--only", help="of: write,read,small,random,git,degraded,flipped (write first)")
    parser.add_argument("--json", help="also into this file")
    parser.add_argument("--at", help="another mount's folder")
    parser.add_argument("--remount", help="its command that empties its caches")
    parser.add_argument("--drain", help="its command that waits until all is safe")
    parser.add_argument("--pids", help="its command that prints its processes")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-bench-", dir=options.folder))
    bench = None
    try:
        bench = Bench(options, folder)
        bench.run()
    finally:
        if bench:
            bench.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
