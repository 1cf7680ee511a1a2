#!/usr/bin/env bash
# Usage: scripts/compare_torch.sh BASELINE.py [PAIRS]
#
# Times `ultramoe bench train` and a PyTorch training script in turn (PAIRS times, default 3) at two
# shapes, and prints medians: tokens/s, the ratio, our share of the f32 matmul ceiling, and peak
# memory of both processes. BASELINE.py takes --d N --layers N, runs the shapes of configs/bench-d256 and
# bench-d512 and prints "… N tokens/s …" on a line. Needs python3-torch and libopenblas0-openmp.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
[[ $# -ge 1 && -r $1 ]] || usage_error "name a readable PyTorch script"
baseline=$(realpath "$1")
pairs=${2:-3}
cd "$ROOT"

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
field() { grep -o "\"$1\":[^,}]*" | cut -d: -f2 | tr -d ' '; }

measured=$(mktemp -d)
trap 'rm -rf "$measured"' EXIT
printf '%-12s %14s %14s %8s %10s %12s %12s\n' shape "ultramoe tok/s" "PyTorch tok/s" ratio "of ceiling" "ultramoe MB" "PyTorch MB"
for shape in 256:6 512:8; do
  d=${shape%:*}
  layers=${shape#*:}
  rm -f "$measured"/*
  for ((i = 0; i < pairs; i++)); do
    build/ultramoe bench train --model "bench-d$d" --json >"$measured/run"
    field tokens_per_s <"$measured/run" >>"$measured/ours"
    field ratio <"$measured/run" >>"$measured/ceiling"
    field peak_bytes <"$measured/run" >>"$measured/memory"
    /usr/bin/python3 -c 'import resource, subprocess, sys
subprocess.run(["/usr/bin/python3"] + sys.argv[1:], check=True)
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)' \
      "$baseline" --d "$d" --layers "$layers" >"$measured/run"
    grep -o '[0-9.]* tokens/s' "$measured/run" | cut -d' ' -f1 >>"$measured/theirs"
    awk '/^peak/ { print $2 }' "$measured/run" >>"$measured/their_memory"
    paste <(tail -n 1 "$measured/ours") <(tail -n 1 "$measured/theirs") | awk '{ print $1 / $2 }' >>"$measured/ratios"
  done
  printf '%-12s %14.0f %14.0f %8.2f %9.0f%% %12.0f %12.0f\n' "bench-d$d" \
    "$(median <"$measured/ours")" "$(median <"$measured/theirs")" "$(median <"$measured/ratios")" \
    "$(median <"$measured/ceiling" | awk '{ print 100 * $1 }')" \
    "$(median <"$measured/memory" | awk '{ print $1 / 1e6 }')" \
    "$(median <"$measured/their_memory" | awk '{ print $1 / 1e6 }')"
done
