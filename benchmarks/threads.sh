#!/usr/bin/env bash
# Seconds in the training loop by GOMP_SPINCOUNT, alone and beside four busy processes
# (docs/measured.md). 300000 is libgomp's own choice. Usage: benchmarks/threads.sh PYTHON
set -euo pipefail
python=$1
folder=$(mktemp -d)
measure() { # where, spins, epochs
  rm -rf "$folder/run"
  GOMP_SPINCOUNT=$2 "$python" -m pyrovae.train --output "$folder/run" \
    --set "inference.epochs=$3" > "$folder/log"
  seconds=$(grep -o '"seconds": [0-9.]*' "$folder/run/metrics.jsonl" | tail -n 1 | cut -d ' ' -f 2)
  printf '%-6s %8s spins %4s epochs %7.1f s\n' "$1" "$2" "$3" "$seconds"
}
for spins in 300000 20000 2000 0; do measure alone "$spins" 60; done
for _ in 1 2 3 4; do "$python" -c 'while True: pass' & done
trap 'kill $(jobs -p)' EXIT
for spins in 0 2000 20000 300000; do measure busy "$spins" 15; done
