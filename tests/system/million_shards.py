"""What a daemon with many small shards takes: `CAIRN_BIN=build/release/bin python3 tests/system/million_shards.py [shards [minutes [time_scale [folder]]]]`.

Figures, not a test. Two real daemons hold a slot each of the same packs, and every shard's sibling really is at the other. Their stores are filled while
they are down (`store_bench fill`), then they are started. Printed, of the first of the two:

  start-up   how long it takes until it serves; then the one-off work of making and telling the claims that all its shards lack: processor seconds, memory
  idle       each minute's processor time and memory with all services on (SWIM, audits, repair, trash, scrub), after it was started anew

With time_scale 1 the daemon keeps its real times: ten minutes after the start the walk over its claims begins (512 a second), behind it that over its
shards (32 a second), and after thirty minutes the scrub (1 MiB/s, each shard as 32 KiB at least). Of 1,000,000 shards all are at work from minute 43 on, for nine
hours. With less, what is waited for before and between them is shorter and audits are more, so it takes more than at real times; what the walks and the scrub do
in a second stays. 8.2 GB of disk for 1,000,000 shards (a block of 4 KiB each, twice)."""
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


def argument(place, otherwise):
    return type(otherwise)(sys.argv[place]) if len(sys.argv) > place else otherwise


def main():
    shards, minutes, scale = argument(1, 1_000_000), argument(2, 60), argument(3, 1.0)
    root = pathlib.Path(tempfile.mkdtemp(prefix="cairn-million-", dir=argument(4, tempfile.gettempdir())))
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
        begun = time.monotonic()
        daemons[1].start()
        first.start(f"{shards} shards")
        wait_until_idle(daemons)
        print(f"all claims made, signed and told: {first.time():.1f} s of processor time in {time.monotonic() - begun:.0f} s, "
              f"RSS {memory(first.process.pid, 'VmRSS'):.1f} MiB, peak {memory(first.process.pid, 'VmHWM'):.1f} MiB", flush=True)
        for daemon in daemons:
            daemon.end()
            if scale != 1:
                with open(daemon.home / "config.toml", "a") as config:
                    config.write(f"\n[healing]\ntime_scale = {scale}\n")
        daemons[1].start()
        first.start(f"{shards} shards, started again")
        time.sleep(10)
        print(f"  the start and ten seconds: {first.time():.2f} s of processor time", flush=True)
        print(f"idle, all services on, time_scale {scale} (limits: 1 % of a core, 128 MiB):", flush=True)
        begun, used, most = time.monotonic(), first.time(), 0
        for minute in range(minutes):
            at, before = time.monotonic(), first.time()
            time.sleep(60)
            share = 100 * (first.time() - before) / (time.monotonic() - at)
            most = max(most, share)
            print(f"  minute {minute + 1}: {share:.2f} % of a core, RSS {memory(first.process.pid, 'VmRSS'):.1f} MiB", flush=True)
        print(f"  in all {100 * (first.time() - used) / (time.monotonic() - begun):.2f} % of a core, the busiest minute {most:.2f} %, "
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
