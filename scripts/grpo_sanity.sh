#!/usr/bin/env bash
# Does reinforcement learning find what a model half knows? Fine-tunes BASE (a small trained model) on
# single-digit sums of which every second answer is off by one, so that it is right about half of
# the time, then trains on its own answers to the same questions, with three seeds, and prints the
# shares of right answers before and after. docs/grpo.md has a table of it.
# Usage: scripts/grpo_sanity.sh BASE [OUT] [STEPS]
set -euo pipefail
cd "$(dirname "$0")/.."
[[ $# -ge 1 ]] || { echo "usage: $0 BASE [OUT] [STEPS]" >&2; exit 2; }
base=$1 out=${2:-runs/grpo_sanity} steps=${3:-60}
ultramoe=${ULTRAMOE:-build/ultramoe}
mkdir -p "$out"
awk -v file="$out" 'BEGIN {
  for (a = 0; a < 10; a++) for (b = 0; b < 10; b++) {
    ask = sprintf("{\"messages\": [{\"role\": \"user\", \"content\": \"What is %d + %d?\"}", a, b)
    printf "%s], \"answer\": \"%d\", \"checker\": \"number\", \"task\": \"digits\", \"mode\": \"fast\", \"id\": \"%d%d\"}\n", ask, a + b, a, b > (file "/questions.jsonl")
    for (k = 0; k < 20; k++)
      printf "%s, {\"role\": \"assistant\", \"content\": \"%d\"}], \"mode\": \"fast\"}\n", ask, a + b + k % 2 > (file "/half_right.jsonl")
  }
}'
newest() { find "$1/checkpoints" -maxdepth 1 -name 'step-*' | sort | tail -n 1; }
grade() {
  "$ultramoe" eval --model "$1" --tasks "$out/questions.jsonl" --samples 8 --temperature 1 --seed 1 --max-tokens 12 | tail -n 1
}
"$ultramoe" sft --model.from "$base" --data.path "$out/half_right.jsonl" --data.epochs 8 --data.hold_out 0 \
  --train.lr 2e-3 --train.final_lr 2e-4 --train.batch 16 --train.seq_len 64 --log.eval_every 0 --log.sample_every 0 --out "$out/sft"
grade "$(newest "$out/sft")"
for seed in 1 2 3; do
  "$ultramoe" grpo --model.from "$(newest "$out/sft")" --grpo.path "$out/questions.jsonl" --grpo.seed "$seed" --train.steps "$steps" \
    --train.lr 1e-4 --train.final_lr 1e-4 --grpo.max_tokens 12 --train.seq_len 64 --log.checkpoint_every 0 --out "$out/seed$seed"
  grade "$(newest "$out/seed$seed")"
done
