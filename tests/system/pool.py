"""A real pool of daemons for the system tests: real processes, real TLS on loopback, real stores in a temporary folder.

Everything that a Pool starts it ends, by pid, and its folder goes with it."""
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

BIN = pathlib.Path(os.environ["CAIRN_BIN"])
# Bounds a command that hangs; no test asserts a time.
PATIENCE = 180


def run(*words, expect=0, stdin=None, env=None):
    """Runs a command to its end; fails unless it exits with `expect` (None: any). Gives the finished process."""
    done = subprocess.run([str(w) if not isinstance(w, bytes) else w for w in words], stdin=stdin or subprocess.DEVNULL,
                          capture_output=True, timeout=PATIENCE, env=env)
    if expect is not None and done.returncode != expect:
        raise AssertionError(f"{words} exited {done.returncode}, not {expect}\n{done.stdout.decode(errors='replace')[-2000:]}\n"
                             f"{done.stderr.decode(errors='replace')[-4000:]}")
    return done


class Ports:
    """Ports for a pool's daemons, below those that the system gives to whoever asks for any one: while a daemon is down
    nobody else comes to serve at its address, no daemon of another pool above all."""
    BLOCK = 200

    def __init__(self):
        end = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        blocks = list(range(10_000, end - self.BLOCK, self.BLOCK))
        random.shuffle(blocks)
        for first in blocks:
            self.guard = socket.socket()  # held for as long as the block is
            try:
                self.guard.bind(("127.0.0.1", first))
                self.guard.listen()
            except OSError:
                self.guard.close()
                continue
            self.left = list(range(first + self.BLOCK - 1, first, -1))
            return
        raise AssertionError("no free ports")

    def next(self):
        while True:
            port = self.left.pop()
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            return f"127.0.0.1:{port}"


class Node:
    """A home, and its daemon when it runs."""

    def __init__(self, pool, number):
        self.pool, self.number = pool, number
        self.home = pool.root / f"home{number}"
        self.store = pool.root / f"store{number}"
        self.process = None

    def cairn(self, *words, **options):
        return run(BIN / "cairn", *words, "--home", self.home, **options)

    def json(self, *words, **options):
        return json.loads(self.cairn(*words, "--json", **options).stdout.decode().splitlines()[-1])

    def start(self, env=None):
        log = open(self.pool.root / f"daemon{self.number}.log", "ab")
        self.process = subprocess.Popen([BIN / "cairnd", "--home", self.home], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                                        env={**os.environ, **(env or {})})
        log.close()
        line = self.process.stdout.readline().decode()
        if not line.startswith("ready "):
            raise AssertionError(f"daemon {self.number} did not get ready: {(self.pool.root / f'daemon{self.number}.log').read_text()[-2000:]}")
        self.id, self.address = line.split()[1:3]

    def end(self, how=signal.SIGTERM):
        if self.process is None:
            return None
        self.process.send_signal(how)
        code = self.process.wait(PATIENCE)
        self.process.stdout.close()
        self.process = None
        return code


class Pool:
    def __init__(self, nodes=6, limit="256M", config=""):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="cairn-system-"))
        self.ports = Ports()
        self.nodes = []
        self.limit, self.config = limit, config
        try:
            for i in range(nodes):
                self.add()
            if nodes > 0:
                self.wait_for(nodes)
        except BaseException:
            self.close()
            raise

    def add(self, limit=None, store=None, keep_free="0%", lend=True):
        node = Node(self, len(self.nodes))
        node.store = store or node.store
        stores = (["--store", node.store, "--limit", limit or self.limit] if lend else []) + ["--listen", self.ports.next(), "--phrase-out", self.root / f"phrase{node.number}"]
        if not self.nodes:
            node.cairn("init", "--name", "test", *stores)
        else:
            code = self.nodes[0].cairn("invite").stdout.decode().strip()
            node.cairn("join", code, "--yes", "--name", f"node{node.number}", *stores)
        # A full disk of the test machine is not what is tested.
        config = node.home / "config.toml"
        config.write_text(config.read_text().replace('"10%"', f'"{keep_free}"') + self.config)
        self.nodes.append(node)
        node.start()
        return node

    def run_for(self, node, seconds, *words):
        """Runs a command and interrupts it when it is not done by then; its exit code."""
        process = subprocess.Popen([BIN / "cairn", *words, "--home", node.home], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            return process.wait(PATIENCE)

    def wait_for(self, alive):
        """Until the first node's commands can reach so many lending nodes."""
        deadline = time.monotonic() + PATIENCE
        while True:
            nodes = self.nodes[0].json("nodes")["nodes"]
            if sum(n["lends"] and n["path"] == "direct" for n in nodes) >= alive:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"not {alive} nodes: {nodes}")
            time.sleep(0.1)

    def close(self):
        for node in self.nodes:
            if node.process is not None:
                node.end(signal.SIGKILL)
        self.ports.guard.close()
        shutil.rmtree(self.root, ignore_errors=True)


class PoolTest(unittest.TestCase):
    """A pool for all tests of a class."""
    NODES, LIMIT = 6, "256M"

    @classmethod
    def setUpClass(cls):
        cls.pool = Pool(cls.NODES, cls.LIMIT)
        cls.addClassCleanup(cls.pool.close)
        cls.me = cls.pool.nodes[0]

    def folder(self, name):
        path = self.pool.root / "work" / self.id().rsplit(".", 1)[-1] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def describe(root):
    """Every entry below root with all that must come back: relative path (bytes) -> description."""
    root = os.fsencode(root)
    entries, first_of = {}, {}

    def look(path, key):
        info = os.lstat(path)
        what = [oct(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns]
        if os.path.islink(path):
            what.append(os.readlink(path))
        elif os.path.isfile(path):
            with open(path, "rb") as file:
                what.append(file.read())
        elif not os.path.isdir(path):
            what.append(info.st_rdev)
        what.append(sorted((name, os.getxattr(path, name, follow_symlinks=False)) for name in os.listxattr(path, follow_symlinks=False)
                           if name.startswith("user.")))
        if info.st_nlink > 1 and not os.path.isdir(path):
            what.append(("link of", first_of.setdefault((info.st_dev, info.st_ino), key)))
        entries[key] = what
        if os.path.isdir(path) and not os.path.islink(path):
            for name in sorted(os.listdir(path)):
                look(path + b"/" + name, key + b"/" + name)

    look(root, b"")
    return entries
