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

# A reader's hands: change the axes, point at every chart, zoom in and out, hide a curve, unfold samples.
{
  cat "$out/full/report.html"
  cat <<'EOS'
<script>
const fire = (node, type, x, y) => node.dispatchEvent(new PointerEvent(type, {clientX: x, clientY: y, pointerType: 'mouse', pointerId: 1, bubbles: true}));
const press = (text) => [...document.querySelectorAll('button')].filter((b) => b.textContent === text).forEach((b) => b.click());
Element.prototype.setPointerCapture = () => {};
for (const text of ['tokens', 'time', 'log', 'linear', 'log', 'tokens']) press(text);
for (const plot of document.querySelectorAll('.plot')) {
  const box = plot.getBoundingClientRect();
  for (const t of [0, 0.3, 0.7, 1]) fire(plot, 'pointermove', box.left + t * box.width, box.top + t * box.height);
}
const plot = document.querySelector('.plot');
const box = plot.getBoundingClientRect();
press('linear');
fire(plot, 'pointerdown', box.left + 0.5 * box.width, box.top + 50);
fire(plot, 'pointermove', box.left + 0.8 * box.width, box.top + 50);
fire(plot, 'pointerup', box.left + 0.8 * box.width, box.top + 50);
const zoomed = view.range && view.range[0] > 800 && view.range[1] < 1800;
fire(plot, 'pointermove', box.left + 0.6 * box.width, box.top + 50);
document.querySelector('.more').click();
document.querySelector('.key button').click();
document.body.dataset.poked = String(zoomed && document.querySelector('.where').textContent.includes('tokens'));
</script>
EOS
} >"$out/full/poked.html"
chrome --dump-dom --window-size=1280,2000 "file://$out/full/poked.html" >"$out/full/dom.html" || true
if grep -q '<body[^>]*data-poked="true"' "$out/full/dom.html" && ! grep -q '<body[^>]*data-error' "$out/full/dom.html"; then
  echo "ok: axes, pointer, zoom"
else
  echo "FAILED: interaction: $(grep -o '<body[^>]*>' "$out/full/dom.html" || echo 'no page')"
  failed=1
fi

# picture FILE PAGE WIDTH,HEIGHT [FLAG…]: of PAGE.
picture() {
  file=$out/$1
  page=$out/$2
  size=$3
  shift 3
  chrome --screenshot="$file" --window-size="$size" "$@" "file://$page" >/dev/null || true
  if [ ! -s "$file" ]; then
    echo "FAILED: no picture $file"
    failed=1
  fi
}
picture light.png full/report.html 1280,4900
if [ $# -gt 1 ]; then
  picture dark.png full/report.html 1280,4900 --blink-settings=preferredColorScheme=0
  picture phone.png full/report.html 500,6400
  picture zoomed.png full/poked.html 1280,2600
  picture live.png live/report.html 1280,1100
  picture one_step.png one_step/report.html 1280,1500
  picture dense_nan.png dense_nan/report.html 1280,2200
fi
exit $failed
