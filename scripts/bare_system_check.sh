#!/usr/bin/env bash
# Usage: scripts/bare_system_check.sh [--dir DIR] [--keep] [--no-demo] [--no-test] [--minutes N]
#                                     [--ccache DIR] [-- COMMAND…]
#
# Proves that both commands work on a bare system: makes a minimal Debian of this release with
# debootstrap, from the mirror this machine's apt is set up with, copies this working tree into it,
# and runs scripts/demo.sh and scripts/test.sh there (or COMMAND instead), twice each: the second
# time must be quick. Needs root and debootstrap. Takes about half an hour and 5 GB under --dir
# (default: a new directory under $TMPDIR), which --keep leaves for a later call.
# --ccache shares a compiler cache with the bare system, which hides how long a build takes there.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

dir='' keep=0 demo=1 tests=1 minutes=1 cache='' command=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --dir | --minutes | --ccache)
      [[ $# -ge 2 ]] || usage_error "$1 wants a value"
      case $1 in
        --dir) dir=$2 ;;
        --minutes) minutes=$2 ;;
        --ccache) cache=$2 ;;
      esac
      shift 2 ;;
    --keep) keep=1; shift ;;
    --no-demo) demo=0; shift ;;
    --no-test) tests=0; shift ;;
    --help | -h) print_help; exit 0 ;;
    --) shift; command=("$@"); break ;;
    *) usage_error "unknown option $1" ;;
  esac
done
[[ $(id -u) -eq 0 ]] || die "debootstrap and chroot want root: sudo $0"
command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"
# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[[ -n $release ]] || die "/etc/os-release names no VERSION_CODENAME: not a Debian release"

# shellcheck disable=SC2016  # apt's own placeholders, not the shell's
# This machine's own sources for the release: "URI SUITE", the release itself first.
sources=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
  awk -v r="$release" '$3 == "main" && index($2, r) == 1 { print $1, $2 }' | sort -u -k2)
mirror=$(awk -v r="$release" '$2 == r { print $1; exit }' <<<"$sources")
[[ -n $mirror ]] || die "apt has no source with $release main (after apt-get update)"

if [[ -z $dir ]]; then
  dir=$(mktemp -d "${TMPDIR:-/tmp}/ultramoe-bare.XXXXXX")
fi
dir=$(realpath -m "$dir")
system=$dir/system
remove() {
  # All mounts are made in a namespace of their own (below), so nothing of the host is under here.
  [[ $keep -eq 1 ]] || rm -rf --one-file-system "$system"
}
trap remove EXIT

stage "A minimal $release in $system"
if [[ ! -f $system/etc/debian_version || -d $system/debootstrap ]]; then
  rm -rf --one-file-system "$system"
  mkdir -p "$system"
  debootstrap --variant=minbase "$release" "$system" "$mirror" >"$dir/debootstrap.log" 2>&1 ||
    { tail -n 20 "$dir/debootstrap.log" >&2; die "debootstrap failed; see $dir/debootstrap.log"; }
fi
sed 's/^/deb /; s/$/ main/' <<<"$sources" >"$system/etc/apt/sources.list"
apt-config dump Acquire | grep -i '::proxy' >"$system/etc/apt/apt.conf.d/90proxy" || true
for file in /etc/resolv.conf /etc/hosts; do
  [[ ! -e $file ]] || cp -L "$file" "$system$file"
done

stage "A copy of the working tree"
# Build directories and runs that an earlier call left there stay, when it is kept.
mkdir -p "$system/src"
find "$system/src" -mindepth 1 -maxdepth 1 ! -name 'build*' ! -name runs -exec rm -rf {} +
git -C "$ROOT" ls-files -z --cached --others --exclude-standard |
  (cd "$ROOT" && xargs -0 ls -d 2>/dev/null | tar -cf - -T -) | tar -xf - -C "$system/src"

# shellcheck disable=SC2016  # expanded by the inner shell
# Runs a command in the bare system, with nothing of this machine's environment.
in_system() {
  unshare --mount --propagation private bash -c '
    set -e
    system=$1 cache=$2
    shift 2
    mount -t proc proc "$system/proc"
    mkdir -p "$system/dev/shm"
    mount -t tmpfs tmpfs "$system/dev/shm"
    if [ -n "$cache" ]; then
      mkdir -p "$system/ccache"
      mount --bind "$cache" "$system/ccache"
    fi
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 CI="${CI:-}" \
      ${cache:+CCACHE_DIR=/ccache} chroot "$system" /bin/bash -c "cd /src && exec \"\$@\"" - "$@"
  ' - "$system" "$cache" "$@" </dev/null
}

check() {
  local begin=$SECONDS
  stage "$*"
  in_system "$@" || die "'$*' failed on the bare system (exit code $?)"
  note "done in $(clock $((SECONDS - begin)))"
}

if [[ ${#command[@]} -gt 0 ]]; then
  check "${command[@]}"
  exit 0
fi
if [[ $demo -eq 1 ]]; then
  check scripts/demo.sh --minutes "$minutes"
  check scripts/demo.sh --minutes "$minutes"
fi
if [[ $tests -eq 1 ]]; then
  check scripts/test.sh
  check scripts/test.sh
fi
stage "Both commands work on a bare system"
