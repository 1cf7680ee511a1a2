#!/usr/bin/env bash
# Usage: scripts/selftest.sh
#
# Tests the scripts without installing, building or training: set-up against a pretended package
# manager, the demo's stages against a pretended program.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# expect WHAT CONDITION…: the condition (a command) holds.
expect() {
  local what=$1
  shift
  if ! "$@" >/dev/null; then
    printf 'FAIL: %s\n' "$what"
    cat "$work/out"
    failures=$((failures + 1))
  fi
}
says() { grep -qF -- "$1" "$work/out"; }
silent() { [[ ! -s $work/out ]]; }
never_says() { ! grep -qF -- "$1" "$work/out"; }
status_is() { [[ $status -eq $1 ]]; }
run() {
  status=0
  "$@" >"$work/out" 2>&1 </dev/null || status=$?
}
pretend() { # NAME, a script on stdin
  mkdir -p "$work/bin"
  { echo '#!/bin/bash'; cat; } >"$work/bin/$1"
  chmod +x "$work/bin/$1"
}

test_setup() {
  local path="$work/bin:$PATH"
  pretend apt-get <<EOF
echo "\$*" >>"$work/apt"
[[ "\$*" != *" install "* ]] || { [[ ! -e "$work/offline" ]] || { echo "E: no route"; exit 100; }; touch "$work/installed"; }
EOF
  # Every package but ccache is there, until apt-get installs it.
  pretend dpkg-query <<EOF
for name in "\${@:4}"; do
  [[ \$name == ccache && ! -e "$work/installed" ]] || echo "\$name installed"
done
EOF
  touch "$work/offline"
  run env PATH="$path" scripts/setup.sh
  expect "setup fails when nothing can be installed" status_is 1
  expect "setup names the package" says "could not install: ccache"
  expect "setup shows apt's message" says "E: no route"
  rm "$work/offline" "$work/apt"
  run env PATH="$path" scripts/setup.sh
  expect "setup installs" status_is 0
  expect "setup says what" says "installing 1 Debian packages: ccache"
  expect "only what is missing" grep -q -- 'install --no-install-recommends ccache$' "$work/apt"
  rm "$work/apt"
  run env PATH="$path" scripts/setup.sh
  expect "setup succeeds when all is there" status_is 0
  expect "setup is silent when all is there" silent
  expect "setup does not call apt-get when all is there" test ! -e "$work/apt"
  run env PATH="$path" scripts/setup.sh nonsense
  expect "an unknown section is wrong usage" status_is 2
}

test_demo() {
  pretend ultramoe <<'EOF'
echo "called: $*"
out='' previous=''
for word in "$@"; do
  [[ $previous != --out ]] || out=$word
  previous=$word
done
case "$1 $2" in
  "data wordnet") echo text >"$out" ;;
  "tokenizer train" | "data pack") mkdir -p "$out" ;;
  train*)
    touch "$out/run.toml" "$out/metrics.jsonl"
    [[ -z ${FAKE_EARLY:-} ]] || exit 1
    mkdir -p "$out/checkpoints/step-9" "$out/checkpoints/step-10" "$out/checkpoints/step-11.tmp"
    exit "${FAKE_EXIT:-0}" ;;
esac
EOF
  local demo=(env ULTRAMOE="$work/bin/ultramoe" scripts/demo.sh --out "$work/run")
  echo one >"$work/a.txt"
  demo+=(--text "$work/a.txt")

  FAKE_EARLY=1 run "${demo[@]}"
  expect "a training that fails at once fails the demo" status_is 1
  FAKE_EXIT=1 run "${demo[@]}"
  expect "without a checkpoint, training starts anew" never_says "--resume"
  expect "with the other run set aside" test -e "$work/run/previous-1/run.toml"
  expect "a failed training fails the demo" status_is 1
  expect "and is reported" says "training failed"
  run "${demo[@]}"
  expect "the demo passes" status_is 0
  expect "a failed run is gone on with" says "--resume"
  expect "the tokenizer is not trained again" never_says "called: tokenizer"
  expect "the newest checkpoint is used" says "eval --model $work/run/checkpoints/step-10"
  run "${demo[@]}"
  expect "a finished run is not trained again" never_says "called: train"
  expect "but shown again" says "called: report"
  run "${demo[@]}" --minutes 7
  expect "other minutes are another run" says "--train.minutes 7"
  expect "which starts anew" never_says "--resume"
  echo two >>"$work/a.txt"
  run "${demo[@]}"
  expect "another text is packed" says "called: data pack"
  expect "and the old run is set aside" test -e "$work/run/previous-3/metrics.jsonl"
  expect "and training starts anew" never_says "--resume"
  run "${demo[@]}" --fresh
  expect "--fresh sets the run aside" test -e "$work/run/previous-4/metrics.jsonl"
  expect "--fresh keeps the tokens" never_says "called: data pack"

  for wrong in "--minutes 0" "--minutes x" "--minutes" "--text" "--text /nowhere" "--nonsense"; do
    # shellcheck disable=SC2086  # an option and its value
    run scripts/demo.sh $wrong
    expect "demo.sh $wrong is wrong usage" status_is 2
  done
  run scripts/test.sh --nonsense
  expect "test.sh --nonsense is wrong usage" status_is 2
  run scripts/build.sh --preset
  expect "build.sh --preset is wrong usage" status_is 2
}

cd "$ROOT"
test_setup
[[ ! -f configs/demo.toml ]] || test_demo
[[ $failures -eq 0 ]] || exit 1
echo "selftest: the scripts do as they say"
