#!/usr/bin/env bash
# Builds the release version of the benchmark and runs it. Arguments go to cairn-bench; without any: `stages`, then `pool`.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
if [ ! -f build/release/build.ninja ]; then cmake --preset release >/dev/null; fi
cmake --build --preset release --target cairn-bench cairn cairnd >&2
if [ "$#" -eq 0 ]; then
  build/release/bin/cairn-bench stages
  set -- pool
fi
exec build/release/bin/cairn-bench "$@"
