#!/usr/bin/env bash
# Builds and runs all tests: the release build with everything, then the sanitizer builds on the tests where they pay.
# `scripts/test.sh quick` runs the release part only.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
jobs=$(nproc)

echo "== rooms and format"
python3 scripts/check_rooms.py
git ls-files --cached --others --exclude-standard '*.h' '*.cpp' | xargs clang-format-19 --dry-run -Werror

run() {  # preset, then ctest's arguments
  local preset=$1
  shift
  echo "== $preset"
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset" -j "$jobs" 2>&1 | grep -vE '^\[[0-9]+/[0-9]+\]' || [ "${PIPESTATUS[0]}" -eq 0 ]
  ctest --test-dir "build/$preset" --output-on-failure --no-tests=error "$@"
}

if [ "${1:-}" != quick ]; then
  run asan -j "$jobs" -L 'unit|fuzz-smoke' -LE bench
  run tsan -j "$jobs" -L threads
fi
run release -j "$jobs" -LE bench
