#!/usr/bin/env bash
# Usage: scripts/bench_schemas.sh TOKENIZER FOLDER [--draft URI] [--whole] [--every N] [--list] [--check] [--samples N]
#
# How constrained answers do on a folder of JSON schemas with instances, and what they cost: see the
# first lines of bench/schemas_bench.cc. FOLDER: MaskBench's maskbench/data, or a draft of the
# official suite (with --whole and --draft https://json-schema.org/draft/2020-12/schema or the like).
# TOKENIZER: a tokenizer's file or folder, or "bytes".
#        scripts/bench_schemas.sh --suite
# The same as a test: the drafts of the official suite in $UM_JSON_SCHEMA_SUITE must give no wrong
# text. Skipped (77) without it.
#        scripts/bench_schemas.sh --pydantic [TYPE…]
# The field types of pydantic, as $UM_PYTHON (python3) has it: tests/engine/pydantic_types_test.py.
#        scripts/bench_schemas.sh --numbers
# Numbers near their bounds, checked with Python's jsonschema: tests/engine/schema_numbers_test.py.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

case ${1:-} in
  --help | -h | '') print_help; exit 0 ;;
esac
if [[ $1 == --suite && -z ${UM_JSON_SCHEMA_SUITE:-} ]]; then
  note 'skipped: UM_JSON_SCHEMA_SUITE does not name a copy of the JSON Schema test suite'
  exit 77
fi
"$ROOT"/scripts/build.sh schemas_bench
bench=$ROOT/build/schemas_bench
if [[ $1 == --pydantic ]]; then
  exec "${UM_PYTHON:-python3}" -B "$ROOT/tests/engine/pydantic_types_test.py" "$bench" "${@:2}"
fi
if [[ $1 == --numbers ]]; then
  exec "${UM_PYTHON:-python3}" -B "$ROOT/tests/engine/schema_numbers_test.py" "$bench"
fi
if [[ $1 != --suite ]]; then
  exec "$bench" "$@"
fi

# Contents (optional/content.json of draft 7) are annotations.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for draft in draft2020-12=https://json-schema.org/draft/2020-12/schema \
             draft2019-09=https://json-schema.org/draft/2019-09/schema \
             draft7=http://json-schema.org/draft-07/schema \
             draft6=http://json-schema.org/draft-06/schema \
             draft4=http://json-schema.org/draft-04/schema; do
  name=${draft%%=*}
  cp -r "$UM_JSON_SCHEMA_SUITE/tests/$name" "$work/"
  rm -f "$work/$name/optional/content.json"
  stage "$name"
  "$bench" bytes "$work/$name" --whole --check --draft "${draft#*=}"
done
