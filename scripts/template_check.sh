#!/usr/bin/env bash
# Usage: scripts/template_check.sh FOLDER
#
# Renders every chat template in FOLDER (*.jinja, for example llama.cpp's models/templates) with a set of
# conversations, compares with Hugging Face's transformers, and prints how many are the same. Needs a Python with
# transformers and jinja2: UM_PYTHON=/path/to/python, else python3.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

[[ $# -eq 1 && $1 != -* ]] || { print_help; exit 2; }
[[ -d $1 ]] || die "$1: no such folder"
folder=$(cd "$1" && pwd)
"$ROOT/scripts/build.sh" ultramoe_tests
UM_TEMPLATES=$folder "$ROOT/build/ultramoe_tests" --gtest_filter='TemplateCollection.*'
