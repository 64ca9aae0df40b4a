#!/usr/bin/env python3
"""Holds the table of rooms (src/README.md): who may include whom, and who may touch the operating system.

Prints one line for each offence and exits 1 when there is any."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Each room and the rooms that it may include beside itself.
ROOMS = {
    "base": [],
    "env": ["base"],
    "crypto": ["base"],
    "erasure": ["base"],
    "wire": ["base"],
    "content": ["base", "env/random.h", "crypto", "erasure", "wire"],
    "os": ["base", "env", "crypto"],
    "store": ["base", "env", "crypto", "erasure", "wire", "content"],
    "peer": ["base", "env", "crypto", "wire"],
    "pool": ["base", "env", "crypto", "erasure", "wire", "content", "store", "peer"],
    "volume": ["base", "env", "crypto", "erasure", "wire", "content", "store", "peer", "pool"],
    "backup": ["base", "env", "crypto", "erasure", "wire", "content", "store", "peer", "pool", "volume"],
    "client": ["base", "env", "crypto", "erasure", "wire", "content", "os", "store", "peer", "pool", "volume", "backup", "node"],
    "node": ["base", "env", "crypto", "erasure", "wire", "content", "os", "store", "peer", "pool", "volume", "backup", "client"],
}
PROTO_HEADERS = {p.stem + ".pb.h" for p in (ROOT / "src/wire/proto").glob("*.proto")}

# Headers of a library, and the only rooms that may include them.
OWNERS = [
    (re.compile(r"^asio"), {"os"}),
    (re.compile(r"^openssl/"), {"os", "crypto"}),
    (re.compile(r"^(cryptopp|crypto\+\+)/"), {"crypto"}),
    (re.compile(r"^(erasurecode|liberasurecode)"), {"erasure"}),
    (re.compile(r"^intel-ipsec-mb"), {"crypto"}),
    (re.compile(r"^leveldb/"), {"os"}),
    (re.compile(r"^zstd"), {"content"}),
    (re.compile(r"^isa-l"), {"base"}),
    (re.compile(r"^zlib"), {"client"}),
    (re.compile(r"^toml"), {"client", "node"}),
    (re.compile(r"^google/protobuf"), {"wire"}),
]
# The operating system: only os and the composition roots. (base's logger and assertion write to stderr.)
SYSTEM = re.compile(r"^(thread|condition_variable|fstream|iostream|filesystem|random|sys/|unistd\.h|fcntl\.h|netinet|arpa|dirent\.h|poll\.h)")
SYSTEM_ROOMS = {"os", "client", "node"}
SYSTEM_CALLS = re.compile(r"\b(system_clock|steady_clock|random_device|std::thread|std::jthread|getenv)\b")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def may_include(room, target):
    if target.startswith("cairn/"):
        own = ("cairn/buffer.h", "cairn/result.h", "cairn/text.h", "cairn/units.h")
        return room in ("client", "node") or target in own and room == "base"
    if target.startswith("proto/") and target[len("proto/"):] in PROTO_HEADERS:
        return room == "wire" or "wire" in ROOMS[room]
    other = target.split("/")[0]
    return other == room or other in ROOMS[room] or target in ROOMS[room]


def check(path, room, offences):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{path.relative_to(ROOT)}:{number}"
        found = INCLUDE.match(line)
        if found:
            quoted, target = found.group(1) == '"', found.group(2)
            if (quoted or target.endswith(".pb.h")) and not may_include(room, target):
                offences.append(f"{where}: {room} may not include {target}")
            if not quoted:
                for pattern, owners in OWNERS:
                    if pattern.match(target) and room not in owners:
                        offences.append(f"{where}: only {', '.join(sorted(owners))} may include <{target}>")
                if SYSTEM.match(target) and room not in SYSTEM_ROOMS:
                    offences.append(f"{where}: <{target}> outside os and the composition roots: go through env")
        elif room not in SYSTEM_ROOMS and SYSTEM_CALLS.search(line.split("//")[0]):
            offences.append(f"{where}: touches the operating system: go through env")


def main():
    offences = []
    for room in ROOMS:
        for path in sorted((ROOT / "src" / room).rglob("*")):
            if path.suffix in (".h", ".cpp"):
                check(path, room, offences)
    for folder in ("tools", "fuse"):  # these see the public API and nothing else of ours
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".h", ".cpp"):
                for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                    found = INCLUDE.match(line)
                    if found and found.group(1) == '"' and not found.group(2).startswith(("cairn/", f"{folder}/")):
                        offences.append(f"{path.relative_to(ROOT)}:{number}: {folder}/ uses include/cairn only, not {found.group(2)}")
    for line in offences:
        print(line)
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
