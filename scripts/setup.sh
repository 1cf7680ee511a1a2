#!/usr/bin/env bash
# Usage: scripts/setup.sh [SECTION…]
#
# Installs what is missing of the Debian packages in scripts/packages.txt, sections "build" and
# "demo" unless others are named ("test" is the third). Works as root, or through sudo. Silent, and
# without touching the network, when everything is there.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
[[ ${1:-} == --help || ${1:-} == -h ]] && { print_help; exit 0; }

# The packages of the sections named, one a line.
packages_of() {
  local section
  for section in "$@"; do
    grep -qx "\[$section\]" "$ROOT/scripts/packages.txt" ||
      usage_error "scripts/packages.txt has no section [$section]"
    awk -v section="[$section]" '
      { sub(/#.*/, "") }
      /^\[/ { on = ($1 == section); next }
      on && NF { print $1 }' "$ROOT/scripts/packages.txt"
  done
}

# Those of its arguments that are not installed.
missing_of() {
  # dpkg-query fails for names it has never heard of; it prints the others all the same.
  dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
    awk -v wanted="$*" '
      $2 == "installed" { have[$1] = 1 }
      END { n = split(wanted, w, " "); for (i = 1; i <= n; i++) if (!(w[i] in have)) print w[i] }' ||
    true
}

[[ $# -gt 0 ]] || set -- build demo
list=$(packages_of "$@")
mapfile -t wanted <<<"$list"
{ command -v dpkg-query && command -v apt-get; } >/dev/null ||
  die "this is not Debian (no dpkg-query or apt-get): install the equivalents of: ${wanted[*]}"
mapfile -t missing < <(missing_of "${wanted[@]}")
[[ ${#missing[@]} -eq 0 ]] && exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null ||
    die "packages are missing and this is neither root nor has sudo; as root run: apt-get install ${missing[*]}"
  as_root=(sudo)
  [[ -t 0 ]] || as_root=(sudo -n)
fi

note "installing ${#missing[@]} Debian packages: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
    apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1
}
# A source of somebody else's that cannot be reached must not stop us: the installation decides.
apt update || true
if ! apt install --no-install-recommends "${missing[@]}"; then
  grep -E '^(E|W|Err)' "$log" | tail -n 8 >&2 || tail -n 8 "$log" >&2
  die "apt-get could not install: ${missing[*]} (its messages are above; Debian 12 has all of them in main)"
fi
mapfile -t missing < <(missing_of "${wanted[@]}")
[[ ${#missing[@]} -eq 0 ]] || die "still missing after installation: ${missing[*]}"
