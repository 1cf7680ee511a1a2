#!/bin/sh
# Runs openai_test.py with the `openai` client in a virtual environment of its own, kept in DIR.
# Usage: openai_test.sh ULTRAMOE DIR. Exit code 77 (skipped) where the client cannot be had.
set -eu
program=$1
venv=$2/openai-venv
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v python3 >/dev/null; then
  echo "SKIPPED: no python3"
  exit 77
fi
if ! "$venv/bin/python" -c 'import openai' 2>/dev/null; then
  rm -rf "$venv"
  if ! { python3 -m venv "$venv" && timeout 240 "$venv/bin/pip" install --quiet openai; } >"$venv.log" 2>&1; then
    rm -rf "$venv"
    echo "SKIPPED: pip cannot get the openai client: $(tail -n 1 "$venv.log")"
    exit 77
  fi
fi
PYTHONDONTWRITEBYTECODE=1 exec "$venv/bin/python" "$here/openai_test.py" "$program"
