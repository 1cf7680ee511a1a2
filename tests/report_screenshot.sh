#!/bin/sh
# Renders the synthetic reports of tests/train/report_test.cc in headless Chromium: every page must
# run its script to the end without an error and draw its charts. Usage: report_screenshot.sh
# ULTRAMOE_TESTS [KEEP_DIR]; with KEEP_DIR the pages and pictures (light, dark, phone) stay there.
# Exit code 77 (skipped) if there is no Chromium.
set -eu
tests=$1
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
  echo "SKIPPED: no chromium on this machine"
  exit 77
fi
if [ $# -gt 1 ]; then
  out=$2
  mkdir -p "$out"
else
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi
out=$(cd "$out" && pwd)
UM_REPORT_DIR=$out "$tests" --gtest_filter='ReportTest.*' --gtest_brief=1

chrome() {
  timeout 120 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
    --hide-scrollbars --user-data-dir="$out/.profile" "$@" 2>"$out/chromium.log"
}

failed=0
# check RUN PATHS: RUN's page ends ready and holds at least PATHS drawn curves.
check() {
  dom=$out/$1/dom.html
  chrome --dump-dom --window-size=1280,2000 "file://$out/$1/report.html" >"$dom" || true
  curves=$(grep -o '<path class="curve" d="M' "$dom" | wc -l)
  if ! grep -q '<body[^>]*data-ready="1"' "$dom" || grep -q '<body[^>]*data-error' "$dom"; then
    echo "FAILED: $1: the page's script did not end well: $(grep -o '<body[^>]*>' "$dom" || echo 'no page')"
    failed=1
  elif grep -q '<body[^>]*data-hacked' "$dom"; then
    echo "FAILED: $1: text of the run was executed"
    failed=1
  elif [ "$curves" -lt "$2" ]; then
    echo "FAILED: $1: expected at least $2 curves, found $curves"
    failed=1
  else
    echo "ok: $1 ($curves curves)"
  fi
}
check full 30
check live 30
check dense_nan 5
check one_step 2
check all_nan 0
check empty 0
check hostile 1
check foreign_card 0

# picture FILE WIDTH,HEIGHT [FLAG…]: of the full run.
picture() {
  file=$out/$1
  size=$2
  shift 2
  chrome --screenshot="$file" --window-size="$size" "$@" "file://$out/full/report.html" >/dev/null || true
  if [ ! -s "$file" ]; then
    echo "FAILED: no picture $file"
    failed=1
  fi
}
picture light.png 1280,3900
if [ $# -gt 1 ]; then
  picture dark.png 1280,3900 --blink-settings=preferredColorScheme=0
  picture phone.png 500,6400
fi
exit $failed
