#!/usr/bin/env bash
# Usage: scripts/build.sh [--preset NAME] [TARGET…]
#
# Configures, where that is needed, and builds: by default the preset "release" in build/, all
# targets. Presets are in CMakePresets.json. Quick when nothing changed.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

preset=release
targets=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --preset) [[ $# -ge 2 ]] || usage_error "--preset wants a name"; preset=$2; shift 2 ;;
    --help | -h) print_help; exit 0 ;;
    -*) usage_error "unknown option $1" ;;
    *) targets+=(--target "$1"); shift ;;
  esac
done
build=$ROOT/build
[[ $preset == release ]] || build=$ROOT/build-$preset
log=$build/build.log
mkdir -p "$build"

# Runs a step; shows its output only when it fails, or live on a terminal.
step() {
  local what=$1
  shift
  if [[ -t 1 ]]; then
    "$@" || die "$what failed"
  elif ! "$@" >"$log" 2>&1; then
    grep -vE '^\[[0-9]+/[0-9]+\] ' "$log" | tail -n 80 >&2 || true
    die "$what failed; the whole output is in $log"
  fi
}

# CMake configures again by itself when its files change. It must be told when there is nothing yet,
# when the preset is newer, and when this tree was moved or copied.
home=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$build/CMakeCache.txt" 2>/dev/null || true)
fresh=()
[[ -z $home || $home == "$ROOT" ]] || fresh=(--fresh)
if [[ ! -f $build/build.ninja || -n ${fresh[*]} || $ROOT/CMakePresets.json -nt $build/build.ninja ]]; then
  cd "$ROOT"
  step "cmake --preset $preset" cmake --preset "$preset" "${fresh[@]}"
fi
step "the build" cmake --build "$build" -j "$(build_jobs)" "${targets[@]}"
