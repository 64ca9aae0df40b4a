#!/usr/bin/env python3
"""Backups side by side with restic and borg, on the same data in one run: theirs into a folder of this disk, ours into six real daemons on
this machine, encrypted and coded 4+2.

    scripts/bench_backup.sh                 builds, installs restic and borg, runs everything, prints one table
    scripts/bench_backup.py --mb 256 --files 2000 --only cairn,restic

Needs root (to empty the kernel's caches). CPU seconds are those of all processes; memory is the peak of the command's own process. "Stored" is
before the erasure code. Nothing is left behind."""
import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

from bench_common import MIB, ROOT, cpu_of, drop_caches, sh, timed

CHANGE = 64 << 10  # bytes of one change


class Run:
    def __init__(self, seconds, cpu, rss, output):
        self.seconds, self.cpu, self.rss, self.output = seconds, cpu, rss, output


def run(*words, env=None, cwd=None, pids=()):
    """The command to its end; CPU with that of the processes `pids` meanwhile."""
    others = sum(cpu_of(pid) for pid in pids)
    begin = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([str(w) for w in words], stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=env, cwd=cwd)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            raise SystemExit(f"{words} exited {process.returncode}\n{errors.read().decode(errors='replace')[-2000:]}")
        output = out.read().decode(errors="replace")
    cpu = usage.ru_utime + usage.ru_stime + sum(cpu_of(pid) for pid in pids) - others
    return Run(seconds, cpu, usage.ru_maxrss / 1024, output)


def bytes_in(folder):
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


class Restic:
    name = "restic"

    def __init__(self, folder):
        self.repo = folder / "restic"
        self.env = {**os.environ, "RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": str(folder / "restic-cache")}
        run("restic", "-q", "init", "-r", self.repo, env=self.env)

    def backup(self, source):
        done = run("restic", "-q", "-r", self.repo, "backup", source, env=self.env)
        return done, bytes_in(self.repo)

    def restore(self, source, target):
        return run("restic", "-q", "-r", self.repo, "restore", "latest", "--path", source, "--target", target, env=self.env), target / str(source)[1:]

    def close(self):
        pass


class Borg:
    name = "borg"

    def __init__(self, folder):
        self.repo = folder / "borg"
        self.env = {**os.environ, "BORG_PASSPHRASE": "x", "BORG_BASE_DIR": str(folder / "borg-base"), "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}
        self.count = 0
        run("borg", "init", "-e", "repokey-blake2", self.repo, env=self.env)

    def backup(self, source):
        self.count += 1
        done = run("borg", "create", f"{self.repo}::a{self.count}", source, env=self.env)
        return done, bytes_in(self.repo)

    def restore(self, source, target):
        target.mkdir()
        return run("borg", "extract", f"{self.repo}::a{self.count}", env=self.env, cwd=target), target / str(source)[1:]

    def close(self):
        pass


class Cairn:
    name = "cairn"

    def __init__(self, folder, options):
        os.environ["CAIRN_BIN"] = options.bin
        sys.path.insert(0, str(ROOT / "tests/system"))
        import pool

        tempfile.tempdir = str(folder)
        self.bin = pathlib.Path(options.bin) / "cairn"
        self.pool = pool.Pool(6, limit=f"{8 * options.mb + 4096}M")
        self.stored = 0
        self.home = self.pool.nodes[0].home

    def pids(self):
        return [node.process.pid for node in self.pool.nodes]

    def backup(self, source):
        done = run(self.bin, "backup", source, "--json", "--home", self.home, pids=self.pids())
        summary = json.loads(done.output.splitlines()[-1])
        self.stored += summary["data_added_packed"]
        return done, self.stored

    def restore(self, source, target):
        return run(self.bin, "restore", f"latest:{source}", "--path", source, "-t", target, "--home", self.home, pids=self.pids()), target

    def close(self):
        self.pool.close()


def make_random(folder, mb):
    rng = random.Random(1)
    for i in range(4):
        with open(folder / f"file{i}", "wb") as file:
            for _ in range(mb // 4):
                file.write(rng.randbytes(MIB))


def change_random(folder, mb):
    """1 % in scattered places; how many bytes are new."""
    rng = random.Random(2)
    count = mb * MIB // 100 // CHANGE
    for i in range(count):
        path = folder / f"file{i % 4}"
        with open(path, "r+b") as file:
            file.seek(rng.randrange(path.stat().st_size - CHANGE))
            file.write(rng.randbytes(CHANGE))
    return count * CHANGE


def make_tree(folder, files):
    """Real files of this machine, small ones, as a source tree has."""
    count = 0
    for top in ("/usr/include", "/usr/share/doc", "/usr/lib/python3", "/usr/share", "/usr/lib"):
        for path, _, names in os.walk(top):
            for name in sorted(names):
                source = pathlib.Path(path) / name
                if source.is_symlink() or not source.is_file() or source.stat().st_size > 200_000:
                    continue
                target = folder / str(count % 200) / f"{count}-{name}"
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(source, target)
                count += 1
                if count == files:
                    return
    raise SystemExit(f"this machine has {count} files of the kind, not {files}")


def change_tree(folder):
    new = 0
    for i, path in enumerate(sorted(p for p in folder.rglob("*") if p.is_file())):
        if i % 100 == 7:
            with open(path, "ab") as file:
                file.write(b"changed\n")
            new += path.stat().st_size
    return new


def measure(options, folder):
    rows = []
    systems = [make(folder) for name, make in (("cairn", lambda f: Cairn(f, options)), ("restic", Restic), ("borg", Borg)) if name in options.only]
    try:
        for kind in ("random", "tree"):
            source = folder / kind
            source.mkdir()
            if kind == "random":
                make_random(source, options.mb)
            else:
                make_tree(source, options.files)
            size = bytes_in(source)
            stored = {}

            def backups(what, new):
                for system in systems:
                    drop_caches()
                    done, total = system.backup(source)
                    grown = total - stored.get(system.name, 0)
                    stored[system.name] = total
                    rows.append((f"{kind}: {what}", system.name, done, grown, new))

            for system in systems:  # what is there already of the other kind
                stored[system.name] = system.stored if isinstance(system, Cairn) else bytes_in(system.repo)
            backups("first", size)
            drop_caches()
            rows.append((f"{kind}: find -ls", "", Run(timed(lambda: sh("find", source, "-ls")), 0, 0, ""), 0, 0))
            backups("nothing changed", 0)
            backups("1 % changed", change_random(source, options.mb) if kind == "random" else change_tree(source))
            for system in systems:
                drop_caches()
                target = folder / "restored"
                done, place = system.restore(source, target)
                sh("diff", "-r", source, place)
                shutil.rmtree(target)
                rows.append((f"{kind}: restore", system.name, done, 0, size))
    finally:
        for system in systems:
            system.close()
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=1024, help="MiB of incompressible data")
    parser.add_argument("--files", type=int, default=20000, help="files of the tree")
    parser.add_argument("--only", default="cairn,restic,borg", type=lambda text: text.split(","))
    parser.add_argument("--bin", default=str(ROOT / "build/release/bin"))
    parser.add_argument("--folder", help="where the data and the stores go (default: a temporary folder)")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-bench-", dir=options.folder))
    try:
        rows = measure(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("| work | with | s | MB/s | CPU-s | peak MiB | stored MB | of what is new |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for work, name, done, grown, new in rows:
        rate = f"{new / 1e6 / done.seconds:.0f}" if new and name and "%" not in work else ""
        share = f"{grown / new:.2f}" if new and grown else ""
        figures = (f"{done.cpu:.1f}", f"{done.rss:.0f}", f"{grown / 1e6:.1f}" if grown else "") if name else ("", "", "")
        print(f"| {work} | {name} | {done.seconds:.2f} | {rate} | {figures[0]} | {figures[1]} | {figures[2]} | {share} |")


if __name__ == "__main__":
    main()
