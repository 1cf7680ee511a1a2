#!/usr/bin/env bash
# Usage: scripts/fuzz.sh [--seconds N] [--keep] [TARGET…]
#
# Runs the fuzz targets (fuzz/TARGET_fuzz.cc; all unless some are named) under libFuzzer with the address
# and undefined-behaviour sanitizers, one after the other. Each begins from its seeds and from fuzz/corpus/
# TARGET, and goes on from what earlier calls found (build-fuzz/corpus/). Prints what each reached. An
# input that fails is kept in build-fuzz/failures/, and the script ends with 1.
#   --seconds N   for each target (default 60)
#   --keep        then reduces what was found to few small inputs that reach the same, into fuzz/corpus/
set -euo pipefail
source "$(dirname "$0")/lib.sh"

seconds=60
keep=0
targets=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --seconds) [[ $# -ge 2 ]] || usage_error "--seconds wants a number"; seconds=$2; shift 2 ;;
    --keep) keep=1; shift ;;
    --help | -h) print_help; exit 0 ;;
    -*) usage_error "unknown option $1" ;;
    *) targets+=("$1"); shift ;;
  esac
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || usage_error "--seconds wants a whole number above 0, found '$seconds'"
cd "$ROOT"
if [[ ${#targets[@]} -eq 0 ]]; then
  for source in fuzz/*_fuzz.cc; do
    name=${source##*/}
    targets+=("${name%_fuzz.cc}")
  done
fi
for target in "${targets[@]}"; do
  [[ -f fuzz/${target}_fuzz.cc ]] || usage_error "no target $target (fuzz/${target}_fuzz.cc)"
done

scripts/setup.sh build test
stage "Building (fuzz)"
scripts/build.sh --preset fuzz "${targets[@]/%/_fuzz}"

most_bytes=1024 most_kept_bytes=$((64 << 10))
failures=build-fuzz/failures
mkdir -p "$failures"

# Keeps the smallest inputs that reach all that was found, up to a bound on their sum.
keep_corpus() { # TARGET FOUND
  local kept=fuzz/corpus/$1 sum=0 file size
  rm -rf "$kept" build-fuzz/merged
  mkdir -p "$kept" build-fuzz/merged
  "build-fuzz/fuzz/$1_fuzz" -merge=1 -max_len=$most_bytes build-fuzz/merged "$2" >/dev/null 2>&1
  while read -r size file; do
    sum=$((sum + size))
    [[ $sum -le $most_kept_bytes ]] || break
    cp "$file" "$kept/"
  done < <(find build-fuzz/merged -type f -printf '%s %p\n' | sort -n)
}

status=0
stage "Fuzzing, $seconds s each"
for target in "${targets[@]}"; do
  found=build-fuzz/corpus/$target log=build-fuzz/$target.log
  mkdir -p "$found"
  UM_WRITE_SEEDS=$found "build-fuzz/fuzz/${target}_fuzz"
  inputs=("$found")
  [[ ! -d fuzz/corpus/$target ]] || inputs+=("fuzz/corpus/$target")
  if "build-fuzz/fuzz/${target}_fuzz" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -max_len=65536 \
    -artifact_prefix="$failures/$target-" "${inputs[@]}" >"$log" 2>&1; then
    note "$target: $(grep -E '(DONE|INITED).*cov:' "$log" | tail -n 1 | sed 's/^#//; s/\t/ /g')"
  else
    status=1
    note "$target: FAILED, $(grep -E 'SUMMARY|ERROR' "$log" | tail -n 1); see $log"
  fi
  [[ $keep -eq 0 ]] || keep_corpus "$target" "$found"
done
[[ $status -eq 0 ]] || die "inputs that fail are in $failures"
note "no failure"
