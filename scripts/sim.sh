#!/usr/bin/env bash
# Runs simulated pools from seeds, one process for each core. A seed that fails is printed; the same seed fails again:
#   scripts/sim.sh                           200 seeds from 1 on
#   scripts/sim.sh --seed 5000 --seeds 1000
#   scripts/sim.sh --seed 17 --seeds 1 --trace
set -euo pipefail
cd "$(dirname "$0")/.."
seed=1 seeds=200 rest=()
while [ $# -gt 0 ]; do
  case $1 in
    --seed) seed=$2; shift 2 ;;
    --seeds) seeds=$2; shift 2 ;;
    *) rest+=("$1"); shift ;;
  esac
done
cmake --preset release >/dev/null
cmake --build --preset release --target cairn-sim >/dev/null
workers=$(nproc)
[ "$workers" -gt "$seeds" ] && workers=$seeds
pids=()
for ((worker = 0; worker < workers; ++worker)); do
  share=$(((seeds - worker + workers - 1) / workers))
  build/release/bin/cairn-sim --seed $((seed + worker)) --step "$workers" --seeds "$share" "${rest[@]}" &
  pids+=($!)
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=1; done
exit "$status"
