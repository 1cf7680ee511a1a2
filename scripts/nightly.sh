#!/usr/bin/env bash
# Usage: scripts/nightly.sh
#
# What CI has no time for: every test under every compiler and sanitizer, clang-tidy, and ten minutes of
# fuzzing for each parser. Takes a few hours on two cores. Goes on after a failure, and ends with 1.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
[[ ${1:-} == --help || ${1:-} == -h ]] && { print_help; exit 0; }

failed=()
run() {
  "$@" || failed+=("$*")
}
cd "$ROOT"
for mode in '' --clang --asan --tsan --tidy; do
  run scripts/test.sh ${mode:+"$mode"}
done
run scripts/fuzz.sh --seconds 600
[[ ${#failed[@]} -eq 0 ]] || die "failed: ${failed[*]}"
