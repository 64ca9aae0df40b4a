#!/usr/bin/env bash
# Sets everything up on a fresh Debian 12 machine and shows the main job: six real daemons keep a folder, two are killed
# with SIGKILL, and every file comes back bit for bit. Arguments go to `cairn demo` (see build/release/bin/cairn demo --help).
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
if [ ! -f build/release/build.ninja ]; then cmake --preset release >/dev/null; fi
cmake --build --preset release --target cairn cairnd
exec build/release/bin/cairn demo "$@"
