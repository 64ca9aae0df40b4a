"""What a daemon with many small shards takes: `CAIRN_BIN=build/release/bin python3 tests/system/million_shards.py [shards] [folder] [minutes]`.

Figures, not a test. Two real daemons hold a slot each of the same packs. Their stores are filled while they are down
(`store_bench fill`), then they are started: printed are how long it took until one served, its memory then, while both make up for the
claims that their shards lack and tell each other, and what it takes idle: processor time and memory for some minutes with all that heals at
work at its real pace. What else would begin hours later, or come once an hour or a day, is made to begin at once: the walk of repairs over
all shards, the scrub at 1 MiB/s, audits. So it never takes more than this. About 8.2 GB of disk for 1,000,000 shards (a block of 4 KiB each)."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from pool import BIN, run


def memory(pid, field):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(field + ":"))


def processor_time(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Daemon:
    def __init__(self, root, number, code=None):
        self.home, self.store = root / f"home{number}", root / f"store{number}"
        self.log = open(root / f"log{number}", "ab")
        words = ["--store", self.store, "--limit", "64G", "--listen", "127.0.0.1:0", "--phrase-out", root / f"phrase{number}", "--home", self.home]
        if code is None:
            run(BIN / "cairn", "init", "--name", "million", *words)
        else:
            run(BIN / "cairn", "join", code, "--yes", *words)
        config = self.home / "config.toml"
        config.write_text(config.read_text().replace('"10%"', '"0%"'))
        self.process = None

    def start(self, say=None):
        began = time.monotonic()
        self.process = subprocess.Popen([BIN / "cairnd", "--home", self.home], stdout=subprocess.PIPE, stderr=self.log)
        line = self.process.stdout.readline().decode()
        if not line.startswith("ready "):
            raise SystemExit("the daemon did not start")
        self.id = line.split()[1]
        if say:
            print(f"{say}: ready after {time.monotonic() - began:.2f} s, RSS {memory(self.process.pid, 'VmRSS'):.1f} MiB", flush=True)

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait()
        self.process = None

    def fill(self, shards, slot, other):
        words = [BIN / "store_bench", "fill", self.store, str(shards), str(slot), other]
        print(subprocess.run(words, check=True, capture_output=True).stdout.decode().strip(), flush=True)

    def time(self):
        return processor_time(self.process.pid)


def wait_until_idle(daemons):
    """Until they have used next to no processor time for some seconds."""
    while True:
        before = [daemon.time() for daemon in daemons]
        time.sleep(10)
        if all(daemon.time() - used < 0.3 for daemon, used in zip(daemons, before)):
            return


def main():
    shards = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    root = pathlib.Path(tempfile.mkdtemp(prefix="cairn-million-", dir=sys.argv[2] if len(sys.argv) > 2 else None))
    minutes = float(sys.argv[3]) if len(sys.argv) > 3 else 5
    daemons = []
    try:
        daemons.append(Daemon(root, 0))
        first = daemons[0]
        first.start("empty store")
        daemons.append(Daemon(root, 1, run(BIN / "cairn", "invite", "--home", first.home).stdout.decode().strip()))
        daemons[1].start()
        for daemon in daemons:
            daemon.end(signal.SIGKILL)  # one that ended cleanly would trust that all its shards are claimed
        for slot, daemon in enumerate(daemons):
            daemon.fill(shards, slot, daemons[1 - slot].id)
        daemons[1].start()
        first.start(f"{shards} shards")
        wait_until_idle(daemons)
        print(f"all claims made and told: RSS {memory(first.process.pid, 'VmRSS'):.1f} MiB, peak {memory(first.process.pid, 'VmHWM'):.1f} MiB", flush=True)
        for daemon in daemons:
            daemon.end()
            with open(daemon.home / "config.toml", "a") as config:
                config.write("\n[healing]\ntime_scale = 0.01\n")
        daemons[1].start()
        first.start(f"{shards} shards, started again")
        time.sleep(30)
        print("idle with all that heals at work (limits: 1 % of a core, 128 MiB):", flush=True)
        begun, used = time.monotonic(), first.time()
        for minute in range(max(1, round(minutes))):
            before = first.time()
            time.sleep(60)
            print(f"  minute {minute + 1}: {(first.time() - before) / 0.6:.2f} % of a core, RSS {memory(first.process.pid, 'VmRSS'):.1f} MiB", flush=True)
        print(f"  in all: {100 * (first.time() - used) / (time.monotonic() - begun):.2f} % of a core, "
              f"peak {memory(first.process.pid, 'VmHWM'):.1f} MiB", flush=True)
        other = next(n for n in json.loads(run(BIN / "cairn", "nodes", "--json", "--home", first.home).stdout)["nodes"] if n["id"] == daemons[1].id)
        print(f"  the other passed {other['audits_passed']} audits and failed {other['audits_failed']}", flush=True)
        disk = sum(p.stat().st_blocks * 512 for p in first.store.rglob("*") if p.is_file())
        print(f"store on disk: {disk / 2**30:.2f} GiB")
    finally:
        for daemon in daemons:
            if daemon.process and daemon.process.poll() is None:
                daemon.process.kill()
                daemon.process.wait()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
