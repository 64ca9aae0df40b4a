#!/usr/bin/env bash
# Builds the release version of the benchmark and runs it. Arguments go to cairn-bench; without any: `stages`, then `pool`.
# `limits`: what Cairn takes while nothing is asked of it, as counters beside their limits. It takes some 20 minutes and 9 GB of disk.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
if [ ! -f build/release/build.ninja ]; then cmake --preset release >/dev/null; fi
if [ "${1:-}" = limits ]; then
  cmake --build --preset release --target cairn-limits store_bench cairn cairnd >&2
  build/release/bin/cairn-limits
  CAIRN_BIN="$PWD/build/release/bin" exec python3 tests/system/million_shards.py
fi
cmake --build --preset release --target cairn-bench cairn cairnd >&2
if [ "$#" -eq 0 ]; then
  build/release/bin/cairn-bench stages
  set -- pool
fi
exec build/release/bin/cairn-bench "$@"
