#!/bin/sh
# Runs CLIENT_test.py with the Python client CLIENT (openai, anthropic) in a virtual environment of its
# own, kept in DIR. Usage: client_test.sh CLIENT ULTRAMOE DIR. Exit code 77 (skipped) where the client
# cannot be had.
set -eu
client=$1
program=$2
venv=$3/$client-venv
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v python3 >/dev/null; then
  echo "SKIPPED: no python3"
  exit 77
fi
if ! "$venv/bin/python" -c "import $client" 2>/dev/null; then
  rm -rf "$venv"
  if ! { python3 -m venv "$venv" && timeout 240 "$venv/bin/pip" install --quiet "$client"; } >"$venv.log" 2>&1; then
    rm -rf "$venv"
    echo "SKIPPED: pip cannot get the $client client: $(tail -n 1 "$venv.log")"
    exit 77
  fi
fi
PYTHONDONTWRITEBYTECODE=1 exec "$venv/bin/python" "$here/${client}_test.py" "$program"
