# Shared by the scripts: where the project is, headings with the elapsed time, and errors.
# Sourced, not run; the caller has set -euo pipefail.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1  # one clone's objects serve the next

if [[ -t 1 ]]; then
  BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
  BOLD='' DIM='' RED='' PLAIN=''
fi

# Prints "1:07" for 67 seconds.
clock() {
  printf '%d:%02d' $(($1 / 60)) $(($1 % 60))
}

# One heading per stage, with the time since the script began.
stage() {
  printf '\n%s== %s%s  %s[%s]%s\n' "$BOLD" "$*" "$PLAIN" "$DIM" "$(clock $SECONDS)" "$PLAIN"
}

note() {
  printf '   %s\n' "$*"
}

die() {
  printf '%serror:%s %s\n' "$RED" "$PLAIN" "$*" >&2
  exit 1
}

usage_error() {
  printf '%serror:%s %s (see --help)\n' "$RED" "$PLAIN" "$*" >&2
  exit 2
}

# Prints the comment block at the top of the calling script.
print_help() {
  awk 'NR > 1 { if ($0 !~ /^#/) exit; sub(/^# ?/, ""); print }' "$0"
}

# How many compilations may run at once: one per core, but no more than memory allows (1.5 GB each).
build_jobs() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/^MemAvailable/ { print int($2 / 1500000) }' /proc/meminfo 2>/dev/null || true)
  memory=${memory:-$cores}
  if ((memory < 1)); then memory=1; fi
  echo $((memory < cores ? memory : cores))
}
