#!/usr/bin/env bash
# Runs simulated pools from seeds, one process for each core (tests/sim/README.md). A seed that fails is printed; the
# same seed fails again:
#   scripts/sim.sh                                 1,000 seeds of 30 nodes from 1 on
#   scripts/sim.sh --nodes 300 --seeds 20          20 of 300
#   scripts/sim.sh --seed 17                       that one, with all that happens in it
#   scripts/sim.sh --seed 5000 --seeds 1000
set -euo pipefail
cd "$(dirname "$0")/.."
seed='' seeds='' rest=()
while [ $# -gt 0 ]; do
  case $1 in
    --seed) seed=$2; shift 2 ;;
    --seeds) seeds=$2; shift 2 ;;
    *) rest+=("$1"); shift ;;
  esac
done
if [ -n "$seed" ] && [ -z "$seeds" ]; then
  seeds=1
  rest+=(--trace)
fi
seed=${seed:-1} seeds=${seeds:-1000}
cmake --preset release >/dev/null
cmake --build --preset release --target cairn-sim >/dev/null
# At most so many at a time, so that all cores are at work until the end.
share=$(((seeds + $(nproc) - 1) / $(nproc)))
[ "$share" -gt 50 ] && share=50
status=0
for ((first = seed; first < seed + seeds; first += share)); do
  count=$((seed + seeds - first))
  [ "$count" -gt "$share" ] && count=$share
  while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || status=1; done
  build/release/bin/cairn-sim --drawn --seed "$first" --seeds "$count" ${rest[@]+"${rest[@]}"} &
done
while [ -n "$(jobs -rp)" ]; do wait -n || status=1; done
exit "$status"
