#!/bin/sh
# Runs the test of the Python client CLIENT, a package's name (openai, lm-eval), in a virtual
# environment of its own, kept in DIR. Usage: client_test.sh CLIENT ULTRAMOE DIR. Exit code 77 (skipped)
# where the client cannot be had.
set -eu
client=$1
program=$2
venv=$3/$client-venv
here=$(cd "$(dirname "$0")" && pwd)
case $client in
  pydantic-ai) package='pydantic-ai-slim[openai,anthropic]' ;;  # the library without other clients
  lm-eval) package='lm-eval[api]' ;;
  *) package=$client ;;
esac
if ! command -v python3 >/dev/null; then
  echo "SKIPPED: no python3"
  exit 77
fi
if ! [ -e "$venv/complete" ]; then
  rm -rf "$venv"
  if ! { python3 -m venv "$venv" && timeout 900 "$venv/bin/pip" install --quiet "$package"; } >"$venv.log" 2>&1; then
    rm -rf "$venv"
    echo "SKIPPED: pip cannot get the $client client: $(tail -n 1 "$venv.log")"
    exit 77
  fi
  touch "$venv/complete"
fi
"$venv/bin/python" -c 'import importlib.metadata, sys; print("version", importlib.metadata.version(sys.argv[1]))' "${package%%[*}"
test=$(echo "$client" | tr - _)_test.py
PYTHONDONTWRITEBYTECODE=1 exec "$venv/bin/python" "$here/$test" "$program"
