#!/usr/bin/env bash
# clang-tidy over the given files, or over all of src/ and tools/.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
[ -f build/dev/compile_commands.json ] || cmake --preset dev >/dev/null
cmake --build --preset dev
if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(git ls-files 'src/*.cpp' 'tools/*.cpp'); fi
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy-19 -p build/dev --quiet --warnings-as-errors='*'
