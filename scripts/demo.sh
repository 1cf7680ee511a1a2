#!/usr/bin/env bash
# Usage: scripts/demo.sh [--minutes N] [--text FILE…] [--out DIR] [--fresh]
#
# The life of a model, in one command: installs what is missing, builds, packs a corpus, trains a
# tokenizer, trains a small Pangu Ultra MoE, writes its report, measures it on held-out text and
# lets it write. Under 15 minutes on two cores from a fresh clone.
#   --minutes N    how long to train (default 6)
#   --text FILE…   text to learn: .txt, .jsonl or directories, gzipped or not (default: WordNet)
#   --out DIR      where everything goes (default runs/demo)
#   --fresh        train anew, though a finished or interrupted run is there (it is set aside)
# Run again, it skips what is done and goes on with an interrupted training where it stopped.
# With ULTRAMOE=PROGRAM in the environment it uses that program and neither installs nor builds.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

minutes=6
out=runs/demo
texts=()
fresh=0
while [[ $# -gt 0 ]]; do
  case $1 in
    --minutes) [[ $# -ge 2 ]] || usage_error "--minutes wants a number"; minutes=$2; shift 2 ;;
    --out) [[ $# -ge 2 ]] || usage_error "--out wants a directory"; out=$2; shift 2 ;;
    --text)
      shift
      while [[ $# -gt 0 && $1 != --* ]]; do
        [[ -r $1 ]] || usage_error "--text: cannot read $1"
        texts+=("$(realpath "$1")")
        shift
      done
      [[ ${#texts[@]} -gt 0 ]] || usage_error "--text wants at least one file" ;;
    --fresh) fresh=1; shift ;;
    --help | -h) print_help; exit 0 ;;
    *) usage_error "unknown option $1" ;;
  esac
done
[[ $minutes =~ ^[0-9]+([.][0-9]+)?$ && ! $minutes =~ ^0+([.]0+)?$ ]] ||
  usage_error "--minutes wants a number above 0, found '$minutes'"
# Paths as the user gave them are relative to where they stand; the default is in the project.
[[ $out != runs/demo ]] || out=$ROOT/runs/demo
mkdir -p "$out/.demo" || die "cannot write to $out"
out=$(cd "$out" && pwd)
cd "$ROOT"
out=${out#"$ROOT"/} # shorter to read and to copy
ultramoe=${ULTRAMOE:-build/ultramoe}
config=configs/demo.toml

# A stage's stamp holds what its result was made from: the stage is done when that has not changed.
is_done() { # STAGE KEY OUTPUT
  [[ -e $3 && $(cat "$out/.demo/$1" 2>/dev/null) == "$2" ]]
}
mark_done() { # STAGE KEY
  printf '%s\n' "$2" >"$out/.demo/$1.new"
  mv "$out/.demo/$1.new" "$out/.demo/$1"
}
digest() {
  sha256sum | cut -d ' ' -f 1
}

if [[ -z ${ULTRAMOE:-} ]]; then
  stage "Set-up"
  scripts/setup.sh build demo
  note "all packages are there"

  stage "Build"
  [[ -x $ultramoe ]] || note "the first time this takes a few minutes"
  scripts/build.sh ultramoe
  note "$ultramoe"
fi

stage "Corpus"
if [[ ${#texts[@]} -gt 0 ]]; then
  inputs=("${texts[@]}")
  corpus_key=$(find "${texts[@]}" -type f -printf '%p %s %T@\n' | LC_ALL=C sort | digest)
  note "${texts[*]}"
else
  inputs=("$out/corpus.txt")
  corpus_key="wordnet $(dpkg-query -W -f '${Version}' wordnet-base)"
  if is_done corpus "$corpus_key" "$out/corpus.txt"; then
    note "already there: $out/corpus.txt"
  else
    "$ultramoe" data wordnet --out "$out/corpus.txt"
    mark_done corpus "$corpus_key"
  fi
fi

stage "Tokenizer"
tokenizer_key="$corpus_key vocab=4096"
if is_done tokenizer "$tokenizer_key" "$out/tokenizer"; then
  note "already there: $out/tokenizer"
else
  rm -rf "$out/tokenizer"
  "$ultramoe" tokenizer train --input "${inputs[@]}" --vocab-size 4096 --out "$out/tokenizer"
  mark_done tokenizer "$tokenizer_key"
fi

stage "Packing"
if is_done data "$tokenizer_key" "$out/data"; then
  note "already there: $out/data"
else
  rm -rf "$out/data"
  documents=block # running text
  [[ ${#texts[@]} -gt 0 ]] || documents=line # WordNet: a line is an entry
  "$ultramoe" data pack --input "${inputs[@]}" --tokenizer "$out/tokenizer" --document "$documents" --out "$out/data"
  mark_done data "$tokenizer_key"
fi

# Moves a run that this one does not go on with out of the way; the corpus and what was made of it stay.
set_aside() {
  local n=1 entry
  while [[ -e $out/previous-$n ]]; do n=$((n + 1)); done
  mkdir "$out/previous-$n"
  for entry in "$out"/*; do
    case ${entry##*/} in
      corpus.txt | tokenizer | data | previous-*) ;;
      *) mv "$entry" "$out/previous-$n/" ;;
    esac
  done
  rm -f "$out/.demo/run" "$out/.demo/trained"
  note "the run that was there is now in $out/previous-$n"
}

# The newest complete checkpoint of the run, if there is one.
newest_checkpoint() {
  { find "$out/checkpoints" -mindepth 1 -maxdepth 1 -name 'step-*' ! -name '*.*' 2>/dev/null || true; } |
    sort -V | tail -n 1
}

stage "Training (--minutes $minutes, $(nproc) cores)"
run_key="$tokenizer_key config=$(digest <"$config") minutes=$minutes"
checkpoint=$(newest_checkpoint)
if [[ -e $out/run.toml || -e $out/metrics.jsonl ]] &&
  { [[ $fresh -eq 1 || -z $checkpoint ]] || ! is_done run "$run_key" "$out"; }; then
  set_aside
  checkpoint=''
fi
if [[ -n $checkpoint ]] && is_done trained "$run_key" "$out"; then
  note "already trained (--fresh trains anew)"
else
  mark_done run "$run_key"
  resume=()
  if [[ -n $checkpoint ]]; then
    resume=(--resume)
    note "going on from $checkpoint"
  fi
  # Ctrl-C reaches the program too, which saves a checkpoint and ends; then so do we.
  interrupted=0
  trap 'interrupted=1' INT TERM
  "$ultramoe" train --config "$config" --out "$out" --data.path "$out/data" --train.minutes "$minutes" \
    "${resume[@]}" || [[ $interrupted -eq 1 ]] || die "training failed (above); the run is in $out"
  trap - INT TERM
  if [[ $interrupted -eq 1 ]]; then
    note "interrupted; the same command goes on from the last checkpoint"
    exit 130
  fi
  mark_done trained "$run_key"
fi
checkpoint=$(newest_checkpoint)
[[ -n $checkpoint ]] || die "no checkpoint in $out/checkpoints"

stage "Report"
"$ultramoe" report "$out"

stage "Held-out text"
"$ultramoe" eval --model "$checkpoint" --data "$out/data"

stage "The model writes"
prompt='The'
[[ ${#texts[@]} -gt 0 ]] || prompt='lantern (noun.artifact):'
"$ultramoe" generate --model "$checkpoint" --prompt "$prompt" --max-tokens 96 --temperature 0.8 --seed 1

stage "Done"
again="scripts/demo.sh --minutes 30"
[[ ${#texts[@]} -eq 0 ]] || again+=" --text$(printf ' %q' "${texts[@]}")"
[[ $out == runs/demo ]] || again+=" --out $(printf '%q' "$out")"
cat <<EOF
   report       $out/report.html   (open it in a browser)
   checkpoint   $checkpoint   (Hugging Face form)

   Try next:
     $ultramoe generate --model $checkpoint --prompt '$prompt' --temperature 0.5
     $ultramoe eval --model $checkpoint --text FILE
     $ultramoe inspect $checkpoint
     $again
EOF
