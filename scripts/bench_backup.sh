#!/usr/bin/env bash
# Builds the release version and measures backups beside restic and borg. As root. Arguments go to bench_backup.py.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
command -v restic >/dev/null && command -v borg >/dev/null || apt-get install -y -q restic borgbackup >&2
if [ ! -f build/release/build.ninja ]; then cmake --preset release >/dev/null; fi
cmake --build --preset release --target cairn cairnd >&2
exec python3 scripts/bench_backup.py "$@"
