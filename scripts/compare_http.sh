#!/usr/bin/env bash
# Usage: scripts/compare_http.sh MODEL [--rounds N] [--port N]
#
# What the HTTP server costs: the same requests to an engine inside `bench serve` and to `ultramoe serve`
# with the same model, in turn, one stream and sixteen; prints medians of tokens per second and of the
# time between tokens. The server is stopped (SIGSTOP) while the engine alone is measured.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
cd "$ROOT"

rounds=5 port=8123 model=
while [[ $# -gt 0 ]]; do
  case $1 in
    --rounds | --port) [[ $# -ge 2 ]] || usage_error "$1 wants a value" ;;&
    --rounds) rounds=$2; shift 2 ;;
    --port) port=$2; shift 2 ;;
    --help | -h) print_help; exit 0 ;;
    -*) usage_error "unknown option $1" ;;
    *) model=$1; shift ;;
  esac
done
[[ -n $model ]] || usage_error "which MODEL?"
ultramoe=${ULTRAMOE:-build/ultramoe}
[[ -x $ultramoe ]] || die "$ultramoe is not built: run scripts/build.sh"

log=$(mktemp)
"$ultramoe" serve "$model" --port "$port" >"$log" 2>&1 &
server=$!
trap 'kill -CONT $server 2>/dev/null; kill $server 2>/dev/null; wait $server 2>/dev/null; rm -f "$log"' EXIT
until grep -q '^ready' "$log"; do
  kill -0 $server 2>/dev/null || die "the server ended: $(tail -n 1 "$log")"
  sleep 0.2
done

# Tokens per second and milliseconds between tokens: TARGET… STREAMS
measure() {
  "$ultramoe" bench serve --json --prompt-tokens 32 --answer-tokens 192 --seed "$RANDOM" "$@" | tr -d ' \n' |
    sed 's/.*"output_tokens_per_s":\([0-9.e+-]*\).*"itl_s":{"p50":\([0-9.e+-]*\).*/\1 \2/'
}

# The median of column COLUMN of a file: FILE COLUMN
median() {
  awk -v c="$2" '{ print $c }' "$1" | sort -g | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

printf '| streams | engine tokens/s | server tokens/s | ratio | engine, between tokens | server |\n|---|---|---|---|---|---|\n'
for streams in 1 16; do
  : >"$log.engine"; : >"$log.server"
  for ((i = 0; i < rounds; i++)); do
    load=(--concurrency "$streams" --requests "$((streams == 1 ? 2 : streams))")
    kill -STOP $server
    measure --model "$model" "${load[@]}" >>"$log.engine"
    kill -CONT $server
    measure --url "http://127.0.0.1:$port" "${load[@]}" >>"$log.server"
  done
  awk -v n="$streams" -v e="$(median "$log.engine" 1)" -v s="$(median "$log.server" 1)" \
    -v eg="$(median "$log.engine" 2)" -v sg="$(median "$log.server" 2)" \
    'BEGIN { printf "| %d | %.1f | %.1f | %.3f | %.2f ms | %.2f ms |\n", n, e, s, s / e, 1e3 * eg, 1e3 * sg }'
  rm -f "$log.engine" "$log.server"
done
