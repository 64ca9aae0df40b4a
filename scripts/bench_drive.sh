#!/usr/bin/env bash
# Builds the release version and measures the drive against the local disk: six daemons, one mount. As root. Arguments go to bench_drive.py.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
if [ ! -f build/release/build.ninja ]; then cmake --preset release >/dev/null; fi
cmake --build --preset release --target cairn cairnd >&2
exec python3 scripts/bench_drive.py "$@"
