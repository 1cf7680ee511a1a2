#!/usr/bin/env bash
# Usage: scripts/clients.sh [CLIENT…]
#
# Tries the server with the Python clients people use, at the versions that pip finds today, and
# prints a table: client, version, what came of it, seconds. Without names all of them: some bring
# hundreds of megabytes, so ctest runs only the small ones. They stay in build/clients/.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

[[ ${1:-} != --help && ${1:-} != -h ]] || { print_help; exit 0; }
all=(openai anthropic openai-agents pydantic-ai litellm langchain-openai instructor lm-eval)
program=$ROOT/build/ultramoe
[[ -x $program ]] || die "$program is not built: run scripts/build.sh first"
[[ $# -gt 0 ]] || set -- "${all[@]}"
mkdir -p "$ROOT/build/clients"
failed=0
printf '%-18s %-10s %-8s %s\n' client version result seconds
for client; do
  [[ " ${all[*]} " == *" $client "* ]] || usage_error "unknown client $client: expected ${all[*]}"
  log=$ROOT/build/clients/$client.log
  begin=$SECONDS
  code=0
  "$ROOT/tests/server/client_test.sh" "$client" "$program" "$ROOT/build/clients" >"$log" 2>&1 || code=$?
  case $code in
    0) result=passed ;;
    77) result=skipped ;;
    *) result=FAILED failed=1 ;;
  esac
  version=$(sed -n 's/^version //p' "$log" | head -n 1)
  printf '%-18s %-10s %-8s %s\n' "$client" "${version:--}" "$result" "$((SECONDS - begin))"
  [[ $code == 0 ]] || tail -n 5 "$log" | sed 's/^/    /'
done
exit "$failed"
