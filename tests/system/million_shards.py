"""What a daemon with many small shards takes: `CAIRN_BIN=build/release/bin python3 tests/system/million_shards.py [shards] [folder]`.

Figures, not a test. A real daemon's store is filled while the daemon is down (`store_bench fill`), then the daemon is started over it:
printed are how long it took until it served, its memory then, while it makes up for the claims that its shards lack, and idle after it.
About 4.1 GB of disk for 1,000,000 shards (a block of 4 KiB each)."""
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


def start(home, log, say):
    began = time.monotonic()
    daemon = subprocess.Popen([BIN / "cairnd", "--home", home], stdout=subprocess.PIPE, stderr=log)
    line = daemon.stdout.readline().decode()
    if not line.startswith("ready "):
        raise SystemExit("the daemon did not start")
    if say:
        print(f"{say}: ready after {time.monotonic() - began:.2f} s, RSS {memory(daemon.pid, 'VmRSS'):.1f} MiB", flush=True)
    return daemon


def wait_until_idle(daemon):
    """Until it has used next to no processor time for some seconds."""
    while True:
        before = processor_time(daemon.pid)
        time.sleep(5)
        if processor_time(daemon.pid) - before < 0.1:
            return


def main():
    shards = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    root = pathlib.Path(tempfile.mkdtemp(prefix="cairn-million-", dir=sys.argv[2] if len(sys.argv) > 2 else None))
    daemon = None
    try:
        home, store = root / "home", root / "store"
        run(BIN / "cairn", "init", "--name", "million", "--store", store, "--limit", "64G", "--listen", "127.0.0.1:0",
            "--phrase-out", root / "phrase", "--home", home)
        config = home / "config.toml"
        config.write_text(config.read_text().replace('"10%"', '"0%"'))
        log = open(root / "log", "ab")
        daemon = start(home, log, "empty store")
        daemon.send_signal(signal.SIGKILL)  # a daemon that ended cleanly would trust that all its shards are claimed
        daemon.wait()
        print(subprocess.run([BIN / "store_bench", "fill", store, str(shards)], check=True, capture_output=True).stdout.decode().strip(), flush=True)
        daemon = start(home, log, f"{shards} shards")
        wait_until_idle(daemon)
        print(f"all claims made: RSS {memory(daemon.pid, 'VmRSS'):.1f} MiB, peak {memory(daemon.pid, 'VmHWM'):.1f} MiB", flush=True)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
        daemon = start(home, log, f"{shards} shards, started again")
        wait_until_idle(daemon)
        print(f"idle: RSS {memory(daemon.pid, 'VmRSS'):.1f} MiB, peak {memory(daemon.pid, 'VmHWM'):.1f} MiB", flush=True)
        used = sum(p.stat().st_blocks * 512 for p in store.rglob("*") if p.is_file())
        print(f"store on disk: {used / 2**30:.2f} GiB")
    finally:
        if daemon and daemon.poll() is None:
            daemon.kill()
            daemon.wait()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
