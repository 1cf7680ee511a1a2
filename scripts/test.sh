#!/usr/bin/env bash
# Usage: scripts/test.sh [--quick] [--asan] [--ubsan] [--tsan] [--clang] [--tidy] [--lint] [--all]
#                        [--sample] [-R REGEX] [-E REGEX]
#
# Installs what is missing, builds in build/ and runs every test and source check (layers, style,
# formatting, scripts). Quick when run again.
#   --asan --ubsan --tsan   builds with that sanitizer in build-NAME/ and runs the tests there, instead
#   --clang                 the same with clang and no sanitizer
#   --tidy                  clang-tidy on src/ and fuzz/, instead
#   --lint                  the same without src/cli, the static analyser and the slowest checks
#   --all                   all of the above, one after another
#   --quick                 without the tests labelled "slow"
#   --sample                with --asan or --ubsan: the tests of a third of the folders, chosen by the commit
#   -R, -E                  only, or without, the tests whose names match (as ctest has them)
# Under a sanitizer the slow tests, the source checks and those that kill or photograph something are
# left out; ThreadSanitizer sees only the folders that have threads (UM_TEST_FOLDERS in its preset).
set -euo pipefail
source "$(dirname "$0")/lib.sh"

quick=0
sample=0
modes=()
filter=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --quick) quick=1; shift ;;
    --sample) sample=1; shift ;;
    --asan | --ubsan | --tsan | --clang | --tidy | --lint) modes+=("${1#--}"); shift ;;
    --all) modes+=(plain clang asan tsan tidy); shift ;;
    -R | -E) [[ $# -ge 2 ]] || usage_error "$1 wants a pattern"; filter+=("$1" "$2"); shift 2 ;;
    --help | -h) print_help; exit 0 ;;
    *) usage_error "unknown option $1" ;;
  esac
done
[[ ${#modes[@]} -gt 0 ]] || modes=(plain)
cd "$ROOT"

# All C++ sources of the project.
sources() {
  local folders=()
  for folder in src tests bench fuzz; do
    [[ ! -d $folder ]] || folders+=("$folder")
  done
  find "${folders[@]}" -type f \( "$@" \) | LC_ALL=C sort
}

check_sources() {
  stage "Checking the sources"
  sources -name '*.cc' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' |
    xargs -d '\n' clang-format --dry-run --Werror ||
    die "run clang-format -i on the files above (Debian 12's version, 14)"
  shellcheck -x -P SCRIPTDIR scripts/*.sh tools/*.sh tools/check_* .ci/run || die "shellcheck found faults"
  note "formatting and scripts: no fault (layers and style are among the tests)"
}

# Sanitizers: stop at the first report; ThreadSanitizer needs OpenMP's own word on what is ordered.
sanitizer_environment() {
  export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1:strict_string_checks=1}
  export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
  export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$ROOT/tools/lsan.supp:print_suppressions=0}
  export TSAN_OPTIONS=${TSAN_OPTIONS:-ignore_noninstrumented_modules=1:suppressions=$ROOT/tools/tsan.supp:history_size=5}
}

# The folders of tests that --sample takes with this commit: about equal parts in processor time.
sampled_folders() {
  local parts=("cli;core;data;tasks;text" "engine;nn;ops;server;train" "kernels;models;post;quant") commit
  commit=$(git rev-parse --short=7 HEAD 2>/dev/null || date +0%j)
  printf '%s' "${parts[16#$commit % 3]}"
}

run_tests() {
  local preset=$1 build=build options=(--output-on-failure --no-tests=error -j "$(nproc)")
  if [[ $preset == asan || $preset == ubsan ]]; then  # an earlier run may have had other folders
    local only=''
    [[ $sample -eq 0 ]] || only=$(sampled_folders)
    cmake --preset "$preset" -DUM_TEST_FOLDERS="$only" >/dev/null
    stage "Building ($preset${only:+: the tests of ${only//;/, }})"
  else
    stage "Building ($preset)"
  fi
  scripts/build.sh --preset "$preset"
  stage "Testing ($preset)"
  if [[ $preset != release ]]; then
    build=build-$preset
  fi
  case $preset in
    asan | ubsan | tsan) options+=(-LE slow -E '^tools\.|^scripts\.|screenshot|KillAtAnyInstant'); sanitizer_environment ;;
    *) [[ $quick -eq 0 ]] || options+=(-LE slow) ;;
  esac
  # Several tests share the cores: a thread that waits must not spin on one.
  OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} \
    ctest --test-dir "$build" "${options[@]}" "${filter[@]}" >"$build/ctest.log" 2>&1 &
  show_progress $! "$build/ctest.log"
}

# Waits for ctest; prints the failures and the closing lines, and on a terminal the current test.
show_progress() {
  local pid=$1 log=$2 status=0
  while [[ -t 1 ]] && kill -0 "$pid" 2>/dev/null; do
    printf '\r\e[K   %.100s' "$(grep -E '^ *[0-9]+/[0-9]+ Test' "$log" | tail -n 1)"
    sleep 0.5
  done
  [[ ! -t 1 ]] || printf '\r\e[K'
  wait "$pid" || status=$?
  if [[ $status -ne 0 ]]; then
    grep -vE ' Passed +[0-9.]+ sec$|^ +Start ' "$log" || true
    die "tests failed; the whole output is in $log"
  fi
  sed -n '/tests passed/,$p' "$log"
}

# $1: tidy or lint. The analyser takes half of the time, the two named checks much of the rest.
run_tidy() {
  local options=() folders=(-path 'src/*' -o -path 'fuzz/*')
  if [[ $1 == lint ]]; then
    options=('--checks=-clang-analyzer-*,-bugprone-reserved-identifier,-bugprone-stringview-nullptr')
    folders=(-path 'src/*' ! -path 'src/cli/*')  # CLI11's header alone takes seconds
  fi
  scripts/build.sh --preset release
  stage "clang-tidy ($1)"
  sources \( "${folders[@]}" \) -name '*.cc' |
    xargs -d '\n' -I '{}' -P "$(nproc)" tools/tidy build '{}' "${options[@]}" ||
    die "clang-tidy found faults (above)"
  note "no fault"
}

scripts/setup.sh build demo test
for mode in "${modes[@]}"; do
  case $mode in
    plain) check_sources; run_tests release ;;
    tidy | lint) run_tidy "$mode" ;;
    *) run_tests "$mode" ;;
  esac
done
printf '\n   done in %s\n' "$(clock $SECONDS)"
