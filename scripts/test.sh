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

# Builds quietly; what the compiler says is shown when it fails.
build() {  # preset, targets...
  local preset=$1 log
  shift
  echo "== $preset: build"
  cmake --preset "$preset" >/dev/null
  log=$(mktemp)
  if ! cmake --build --preset "$preset" -j "$jobs" ${1:+--target "$@"} >"$log" 2>&1; then
    grep -E 'error|warning|FAILED|undefined' "$log" | tail -n 50
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}
check() {  # preset, ctest's arguments
  local preset=$1
  shift
  echo "== $preset: tests"
  ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j "$jobs" "$@"
}

if [ "${1:-}" != quick ]; then
  build asan
  check asan -L 'unit|fuzz-smoke' -LE 'bench|long'
  # The only rooms that start threads of their own, or are called from several.
  build tsan os_test erasure_test
  check tsan -R '^(os_test|erasure_test):'
fi
build release
check release -LE bench
