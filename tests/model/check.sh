#!/bin/sh
# Checks tests/model/register.pml with spin: check.sh MODEL CC WORK_DIR [-DBROKEN_...]
# Without a breach the search must end with no error; with one, it must report that an assertion was violated.
set -eu
model=$1 cc=$2 work=$3 breach=${4:-}
rm -rf "$work"
mkdir -p "$work"
cd "$work"
spin -a ${breach:+"$breach"} "$model"
"$cc" -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=1024 -o pan pan.c
./pan -m100000 > out.txt 2>&1 || true
cat out.txt
if [ -z "$breach" ]; then
  ! grep -q 'Search not completed' out.txt || { echo "the search was cut short"; exit 1; }
  ! grep -q 'max search depth too small' out.txt || { echo "the search was cut short"; exit 1; }
  grep -q 'errors: 0' out.txt || { echo "the protocol breaks an assertion"; exit 1; }
else
  grep -q 'assertion violated' out.txt || { echo "$breach was not found"; exit 1; }
fi
