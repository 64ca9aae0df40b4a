#!/usr/bin/env bash
# Builds the release version of the benchmark and runs it. Arguments go to cairn-bench; without any: `stages`, then `pool`.
# `limits [shards [minutes [time_scale]]]`: what Cairn takes while nothing is asked of it, as counters beside their limits. The daemon at its end has
# 60,000 shards and quicker times than in life, which takes ten minutes; `limits 1000000 60 1` has 1,000,000 and real times: 80 minutes and 9 GB of disk.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
if [ ! -f build/release/build.ninja ]; then cmake --preset release >/dev/null; fi
if [ "${1:-}" = limits ]; then
  cmake --build --preset release --target cairn-limits store_bench cairn cairnd >&2
  build/release/bin/cairn-limits
  CAIRN_BIN="$PWD/build/release/bin" exec python3 tests/system/million_shards.py "${2:-60000}" "${3:-6}" "${4:-0.03}"
fi
cmake --build --preset release --target cairn-bench cairn cairnd >&2
if [ "$#" -eq 0 ]; then
  build/release/bin/cairn-bench stages
  set -- pool
fi
exec build/release/bin/cairn-bench "$@"
