"""A pool as an earlier version left it (tests/data/frozen-N.tar.xz, with SHA-256 and attributes of all its files in manifest.json) is read whole by
this one. `frozen_test.py --make FILE` freezes today's format under a new number; files once committed stay for good."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

from pool import BIN, PATIENCE, Node, run

DATA = pathlib.Path(__file__).parents[1] / "data"


class Place:
    """What Node needs of a pool: a folder."""

    def __init__(self, root):
        self.root = pathlib.Path(root)


def start(root):
    node = Node(Place(root), 0)
    config = node.home / "config.toml"
    text = re.sub(r'(?m)^path = .*$', f'path = "{node.store}"', config.read_text())
    config.write_text(re.sub(r'(?m)^listen = .*$', 'listen = "127.0.0.1:0"', text))
    node.start()
    return node


def manifest_of(root):
    """Relative path -> kind, mode, mtime, content."""
    entries = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        entry = [oct(info.st_mode), info.st_mtime_ns]
        if path.is_symlink():
            entry.append(os.readlink(path))
        elif path.is_file():
            entry += [hashlib.sha256(path.read_bytes()).hexdigest(), info.st_blocks * 512 < info.st_size,
                      sorted([n, os.getxattr(path, n).hex()] for n in os.listxattr(path) if n.startswith("user."))]
        entries[os.fsencode(path.relative_to(root)).hex()] = entry
    return entries


def make_tree(tree):
    (tree / "sub/deeper").mkdir(parents=True)
    (tree / "empty").touch()
    (tree / "inline").write_text("a few bytes")
    (tree / "extent").write_bytes(b"".join(hashlib.sha256(bytes([i % 251])).digest() for i in range(9_000)))  # some extents of 128 KiB
    (tree / "sub/linked").hardlink_to(tree / "extent")
    (tree / "sub/symbolic").symlink_to("../inline")
    with open(tree / "sparse", "wb") as file:
        file.seek(50 << 20)
        file.write(b"behind a hole")
    os.setxattr(tree / "inline", "user.colour", b"green\0")
    (tree / "sub/deeper" / os.fsdecode(b"not utf-8 \xff\xfe")).write_text("x")
    (tree / "sub/new\nline").write_text("y")
    os.utime(tree / "inline", ns=(1, 1_234_567_890_123_456_789))


def make(path):
    root = pathlib.Path(tempfile.mkdtemp(prefix="cairn-system-"))
    node = Node(Place(root), 0)
    node.cairn("init", "--name", "frozen", "--store", node.store, "--limit", "64M", "--listen", "127.0.0.1:0", "--phrase-out", root / "phrase")
    config = node.home / "config.toml"
    config.write_text(config.read_text().replace('"10%"', '"0%"'))
    node.start()
    tree = root / "tree"
    make_tree(tree)
    manifest = {"first": manifest_of(tree)}
    node.cairn("put", tree, "main:/tree")
    node.cairn("backup", tree, "--time", "2026-01-01 00:00:00", "--tag", "first")
    (tree / "inline").write_text("changed")
    (tree / "extent").write_bytes((tree / "extent").read_bytes()[:200_000] + b"and another end")
    (tree / "sub/deeper").rename(tree / "moved")
    manifest["second"] = manifest_of(tree)
    node.cairn("backup", tree, "--tag", "second")
    manifest["place"] = str(tree)
    manifest["version"] = run(BIN / "cairn", "--version").stdout.decode().strip()
    node.end()
    (root / "manifest.json").write_text(json.dumps(manifest, indent=1))
    shutil.rmtree(tree)
    for junk in ("drives", "mounts"):
        shutil.rmtree(node.home / junk, ignore_errors=True)
    subprocess.run(["tar", "-C", root, "--sparse", "-cJf", path, "home0", "store0", "phrase", "manifest.json"], check=True)
    shutil.rmtree(root)


class Frozen(unittest.TestCase):
    def test_every_frozen_pool_is_read_whole(self):
        files = sorted(DATA.glob("frozen-*.tar.xz"))
        self.assertTrue(files)
        for file in files:
            with self.subTest(file.name):
                root = pathlib.Path(tempfile.mkdtemp(prefix="cairn-system-"))
                self.addCleanup(shutil.rmtree, root)
                with tarfile.open(file) as archive:
                    archive.extractall(root, filter="fully_trusted")
                manifest = json.loads((root / "manifest.json").read_text())
                node = start(root)
                self.addCleanup(node.end)
                node.cairn("get", "main:/tree", root / "got")
                self.assertEqual(manifest_of(root / "got"), manifest["first"])
                for tag in ("first", "second"):
                    node.cairn("restore", f"latest:{manifest['place']}", "--tag", tag, "-t", root / tag)
                    self.assertEqual(manifest_of(root / tag), manifest[tag])
                node.cairn("check", "--read-data")
                # It goes on with it.
                node.cairn("put", __file__, "main:/tree/new")
                self.assertEqual(node.cairn("cat", "main:/tree/new").stdout, pathlib.Path(__file__).read_bytes())
                node.cairn("backup", root / "first")
                # The phrase opens it anew on another machine.
                run(BIN / "cairn", "recover", "--home", root / "other", "--phrase-file", root / "phrase", "--pool",
                    node.json("status")["pool"]["id"], "--peer", node.address)
                self.assertEqual(run(BIN / "cairn", "cat", "main:/tree/new", "--home", root / "other").stdout, pathlib.Path(__file__).read_bytes())


if __name__ == "__main__":
    make(sys.argv[2]) if sys.argv[1:2] == ["--make"] else unittest.main()
