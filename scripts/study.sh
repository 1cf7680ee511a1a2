#!/usr/bin/env bash
# Usage: scripts/study.sh [--out DIR] [--data DIR] [--threads N] [dssn] [balance] [moge] [mtp] [mla] [expand]
#
# Makes the measurements in docs/{dssn,moe,moge,mtp,mla}.md: trains each study's arms on WordNet, small
# models for up to a minute each, and prints its table. All five take about a quarter of an hour on two cores.
#   --out DIR     where the runs go (default runs/study); an arm that is there already is not trained again
#   --data DIR    packed text (default: runs/demo/data of scripts/demo.sh, else made in --out)
#   --threads N   (default 2)
# With ULTRAMOE=PROGRAM in the environment it uses that program.
# What is small about all of this: models of 1-4 million parameters, 150 to 400 thousand tokens, one or
# two seeds. Differences below the spread between seeds mean nothing.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
cd "$ROOT"

out=runs/study
data=runs/demo/data
threads=2
studies=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --out | --data | --threads) [[ $# -ge 2 ]] || usage_error "$1 wants a value" ;;&
    --out) out=$2; shift 2 ;;
    --data) data=$2; shift 2 ;;
    --threads) threads=$2; shift 2 ;;
    dssn | balance | moge | mtp | mla | expand) studies+=("$1"); shift ;;
    --help | -h) print_help; exit 0 ;;
    *) usage_error "unknown option or study $1" ;;
  esac
done
[[ ${#studies[@]} -gt 0 ]] || studies=(dssn balance moge mtp mla expand)
ultramoe=${ULTRAMOE:-build/ultramoe}
[[ -x $ultramoe ]] || die "$ultramoe is not built: run scripts/build.sh"
mkdir -p "$out"

prepare_data() {
  [[ ! -e $data/manifest.json ]] || return 0
  data=$out/data
  [[ ! -e $data/manifest.json ]] || return 0
  stage "Packing WordNet as scripts/demo.sh does"
  "$ultramoe" data wordnet --out "$out/corpus.txt"
  "$ultramoe" tokenizer train --input "$out/corpus.txt" --vocab-size 4096 --out "$out/tokenizer"
  "$ultramoe" data pack --input "$out/corpus.txt" --tokenizer "$out/tokenizer" --document line --out "$data"
}

# Trains one arm, unless it is there: NAME STEPS [flag…]
arm() {
  local run=$out/$1 steps=$2
  shift 2
  [[ ! -e $run/done ]] || return 0
  rm -rf "$run"
  "$ultramoe" train --threads "$threads" --out "$run" --data.path "$data" --train.steps "$steps" --train.seq_len 128 \
    --train.mtp_weight 0 --log.eval_every "$steps" --log.eval_batches 64 --log.sample_every 0 --log.checkpoint_every 0 \
    --log.rms_every 0 --log.report_seconds 1e6 --log.tensorboard=false "$@" >"$run.log" 2>&1 ||
    die "$run failed: $(tail -n 1 "$run.log")"
  touch "$run/done"
}

# Figures of a run from its metrics: NAME [GROUPS TOP_K]. Sets val (last validation), spikes (% of steps), peak_norm,
# load (max/mean expert load), dead (most experts without a token in a step and layer), imbalance
# ((max - min)/tokens over GROUPS groups of experts); the last three are means over layers and the second half.
figures() {
  read -r val spikes peak_norm load dead imbalance < <(awk -v groups="${2:-0}" -v top_k="${3:-0}" '
    function number(name) {
      if (!match($0, "\"" name "\":[-+0-9.e]+")) return ""
      return substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3)
    }
    /"type":"val"/ { val = number("val_loss"); next }
    { n++; spikes += /"spike":true/; norm = number("grad_norm") + 0; if (norm > peak && n > 100) peak = norm; line[n] = $0 }
    END {
      for (i = int(n / 2) + 1; i <= n; i++) {
        rest = line[i]
        while (match(rest, /"dead":[0-9]+/)) {
          d = substr(rest, RSTART + 7, RLENGTH - 7) + 0; if (d > dead) dead = d
          rest = substr(rest, RSTART + RLENGTH)
          match(rest, /"load":\[[^]]*\]/)
          k = split(substr(rest, RSTART + 8, RLENGTH - 9), share, ",")
          match(rest, /"max_over_mean":[-+0-9.e]+/)
          load += substr(rest, RSTART + 16, RLENGTH - 16); loads++
          if (groups == 0) continue
          high = 0; low = 1
          for (g = 0; g < groups; g++) {
            sum = 0
            for (e = 1; e <= k / groups; e++) sum += share[g * k / groups + e]
            if (sum > high) high = sum
            if (sum < low) low = sum
          }
          imbalance += top_k * (high - low)
        }
      }
      printf "%.3f %.2f %.1f ", val, 100 * spikes / n, peak
      printf "%.2f %d %.3f\n", loads ? load / loads : 0, dead, loads ? imbalance / loads : 0
    }' "$out/$1/metrics.jsonl")
}

checkpoint() {
  find "$out/$1/checkpoints" -mindepth 1 -maxdepth 1 -name 'step-*' | sort -V | tail -n 1
}

# The named figure of `ultramoe eval --json` on an arm's held-out text: NAME FIELD
evaluate() {
  [[ -e $out/$1/eval.json ]] ||
    "$ultramoe" eval --threads "$threads" --model "$(checkpoint "$1")" --data "$data" --max-tokens 60000 --json >"$out/$1/eval.json" 2>>"$out/$1.log"
  tr -d ' \n' <"$out/$1/eval.json" | grep -o "\"$2\":\(\[[^]]*\]\|[^,}]*\)" | cut -d: -f2
}

# A number of a flat JSON file, to two digits: FILE FIELD
json_figure() {
  grep -o "\"$2\": *[-+0-9.e]*" "$1" | cut -d: -f2 | awk '{ printf "%.2f", $1 }'
}

percent() {
  tr -d '[]' | tr ',' '\n' | awk '{ printf "%s%.1f%%", (NR > 1 ? ", " : ""), 100 * $1 }'
}

# Spikes of a deep narrow model at an aggressive rate (techniques: DSSN, TinyInit).
dssn() {
  stage "DSSN and TinyInit: 24 layers, hidden 64, dense, rate ${dssn_lr:=2e-2}"
  local deep gain=4.898979 # sqrt(24): gains of 1
  deep=hidden_size=64,num_hidden_layers=24,first_k_dense_replace=24,num_nextn_predict_layers=0,intermediate_size=192
  deep+=,num_attention_heads=4,num_key_value_heads=4,q_lora_rank=32,kv_lora_rank=32,qk_nope_head_dim=8
  deep+=,qk_rope_head_dim=8,v_head_dim=16,initializer_range=0.079,embedding_init_std=0.5
  printf '| %-22s | %4s | %8s | %7s | %9s |\n' arm seed "val loss" "spikes" "peak norm"
  local name seed set
  for seed in 1 2; do
    for name in pre-norm sandwich dssn dssn-tiny; do
      case $name in
        pre-norm) set=sandwich_norm=false,init_rule=normal ;;
        sandwich) set=init_rule=normal,dssn_c_attn=$gain,dssn_c_mlp=$gain ;;
        dssn) set=init_rule=normal ;;
        dssn-tiny) set=init_rule=tiny ;;
      esac
      arm "dssn-$name-$seed" 300 --model.set "$deep,$set" --model.seed "$seed" --data.seed "$seed" \
        --train.batch 4 --train.lr "$dssn_lr" --train.final_lr "$dssn_lr" --train.schedule constant --train.warmup 20
      figures "dssn-$name-$seed"
      printf '| %-22s | %4s | %8s | %6s%% | %9s |\n' "$name" "$seed" "$val" "$spikes" "$peak_norm"
    done
  done
}

# What the tokens are over which an even load is asked for. (`global` is `ep_group` on one rank.)
balance() {
  stage "Balance scopes: 4 layers, 16 experts, 2 per token, 4 micro-batches a step"
  local model scope
  model=hidden_size=128,num_hidden_layers=4,num_nextn_predict_layers=0,num_attention_heads=4,num_key_value_heads=4
  model+=,intermediate_size=384,moe_intermediate_size=96,n_routed_experts=16,num_experts_per_tok=2
  printf '| %-12s | %8s | %13s | %12s |\n' scope "val loss" "max/mean load" "dead experts"
  for scope in none sequence micro_batch ep_group bias; do
    arm "balance-$scope" 200 --model.set "$model,router_enable_expert_bias=$([[ $scope == bias ]] && echo true || echo false)" \
      --train.batch 4 --train.accumulate 4 --train.balance "$scope"
    figures "balance-$scope"
    printf '| %-12s | %8s | %13s | %12s |\n' "$scope" "$val" "$load" "$dead"
  done
}

# The same number of experts from each group, against the best of all.
moge() {
  stage "MoGE: tiny-pro with 16 experts, 4 per token, as 4 groups of 4 and without groups"
  local model=hidden_size=128,num_hidden_layers=4,num_attention_heads=4,num_experts=16,num_experts_per_tok=4
  model+=,moe_intermediate_size=96,shared_expert_intermediate_size=128,initializer_range=0.05
  printf '| %-10s | %4s | %8s | %13s | %21s |\n' router seed "val loss" "max/mean load" "imbalance of 4 groups"
  local groups seed
  for seed in 1 2; do
    for groups in 4 1; do
      arm "moge-$groups-$seed" 200 --model.preset tiny-pro --model.set "$model,num_expert_groups=$groups" \
        --model.seed "$seed" --data.seed "$seed" --train.batch 16
      figures "moge-$groups-$seed" 4 4
      printf '| %-10s | %4s | %8s | %13s | %21s |\n' "$([[ $groups == 4 ]] && echo MoGE || echo top-k)" \
        "$seed" "$val" "$load" "$imbalance"
    done
  done
}

# Multi-token-prediction heads: what they cost the trunk, and how often they would be right.
mtp() {
  stage "MTP: tiny-ultra with 0, 1 and 2 heads"
  printf '| %5s | %8s | %14s | %18s | %24s |\n' heads "val loss" "heads' loss" "drafts accepted" "given the earlier ones"
  local heads
  for heads in 0 1 2; do
    arm "mtp-$heads" 200 --model.set "num_nextn_predict_layers=$heads" --train.batch 12 --train.mtp_weight 0.3
    figures "mtp-$heads"
    printf '| %5s | %8s | %14s | %18s | %24s |\n' "$heads" "$val" \
      "$(tail -n 20 "$out/mtp-$heads/metrics.jsonl" | grep -o '"mtp_loss":\[[^]]*\]' | cut -d'[' -f2 | tr -d ']' |
        awk -F, '{ for (i = 1; i <= NF; i++) s[i] += $i; n++; k = NF }
          END { for (i = 1; i <= k; i++) printf "%s%.2f", (i > 1 ? ", " : ""), s[i] / n }')" \
      "$(evaluate "mtp-$heads" mtp_acceptance | percent)" \
      "$(evaluate "mtp-$heads" mtp_acceptance_given_earlier | percent)"
  done
}

# A second head: from the start, or as a copy of the first and a little training (techniques: MTP expansion).
# Twenty layers, four of them MoE: a draft must cost little beside the trunk to pay.
expand() {
  local steps=${expand_steps:=600} more=${expand_more:=120} train name init freeze prompts=$out/prompts.txt
  local deep=num_hidden_layers=20,first_k_dense_replace=16
  stage "MTP expansion: tiny-ultra with 20 layers, $steps steps, then $more for the second head"
  train=(--train.batch 16 --train.mtp_weight 0.3)
  printf '%s:\n' "lantern (noun.artifact)" "to run, jog (verb.motion)" "river (noun.object)" "quiet (adj.all)" \
    "oak (noun.plant)" "to think (verb.cognition)" "teacher (noun.person)" "winter (noun.time)" >"$prompts"
  arm expand-one "$steps" "${train[@]}" --model.set "$deep,num_nextn_predict_layers=1"
  arm expand-two "$steps" "${train[@]}" --model.set "$deep,num_nextn_predict_layers=2"
  for name in full frozen random; do
    init=copy freeze=first_head
    [[ $name != full ]] || freeze=none
    [[ $name != random ]] || init=random
    [[ -e $out/expand-$name-start/config.json ]] ||
      "$ultramoe" expand-mtp "$(checkpoint expand-one)" --heads 2 --init "$init" --out "$out/expand-$name-start" >"$out/expand-$name-start.log"
    arm "expand-$name" "$more" "${train[@]}" --model.from "$out/expand-$name-start" --train.freeze "$freeze" \
      --train.mtp_weight 1 --train.lr 1e-3 --train.final_lr 1e-4 --train.warmup 10
  done
  printf '| %-24s | %8s | %15s | %20s | %15s | %8s |\n' heads "val loss" "drafts accepted" \
    "given the earlier" "tokens per step" "speed-up"
  for name in one two full frozen random; do
    figures "expand-$name"
    "$ultramoe" bench decode --threads "$threads" --speculative --model "$(checkpoint "expand-$name")" \
      --prompts "$prompts" --tokens 96 --json >"$out/expand-$name/speculative.json"
    printf '| %-24s | %8s | %15s | %20s | %15s | %8s |\n' "$name" "$val" \
      "$(evaluate "expand-$name" mtp_acceptance | percent)" \
      "$(evaluate "expand-$name" mtp_acceptance_given_earlier | percent)" \
      "$(json_figure "$out/expand-$name/speculative.json" tokens_per_step)" \
      "$(json_figure "$out/expand-$name/speculative.json" speedup)"
  done
}

# The latent cache against grouped keys and values, all else equal.
mla() {
  stage "MLA and GQA: tiny-ultra without its MTP head"
  local base=num_nextn_predict_layers=0 gqa=kv_lora_rank=0,head_dim=32,num_key_value_heads name set
  printf '| %-14s | %10s | %21s | %8s |\n' attention parameters "KV bytes/token (f32)" "val loss"
  for name in MLA GQA-3 GQA-1; do
    set=$base
    [[ $name == MLA ]] || set+=,$gqa=${name#GQA-}
    arm "mla-$name" 200 --model.set "$set" --train.batch 12
    figures "mla-$name"
    "$ultramoe" inspect --json "$(checkpoint "mla-$name")" >"$out/mla-$name/inspect.json"
    printf '| %-14s | %10s | %21s | %8s |\n' "$name" \
      "$(grep -o '"total_params": *[0-9]*' "$out/mla-$name/inspect.json" | head -n 1 | tr -dc 0-9)" \
      "$(grep -o '"kv_bytes[a-z_]*": *[0-9]*' "$out/mla-$name/inspect.json" | head -n 1 | grep -o '[0-9]*$')" "$val"
  done
  [[ -x build/ultramoe_tests ]] || return 0
  note "absorbed against naive, random weights: largest difference of a logit, relative to the largest logit"
  build/ultramoe_tests --gtest_filter='*CachedDecode.EqualsTheWholeForward*' --gtest_output="xml:$out/decode.xml" >/dev/null
  grep -o 'EqualsTheWholeForward/[^"]*"\|name="largest_difference" value="[^"]*"' "$out/decode.xml" | sed 's/^/   /'
}

prepare_data
for study in "${studies[@]}"; do "$study"; done
