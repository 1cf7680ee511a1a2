// The tables; see gguf_names.h. Facts: docs/formats.md.
#include "models/gguf_names.h"

#include <charconv>

namespace um {
namespace {

using Rules = std::vector<GgufRule>;

Rules operator+(Rules a, const Rules& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const Rules kGlobal{{"token_embd.weight", "model.embed_tokens.weight"},
                    {"output_norm.weight", "model.norm.weight"},
                    {"output.weight", "lm_head.weight"}};

Rules attention(bool interleaved) {
  const auto q = interleaved ? GgufLayout::query_rows : GgufLayout::same;
  const auto k = interleaved ? GgufLayout::key_rows : GgufLayout::same;
  return {{"attn_norm.weight", "input_layernorm.weight"},
          {"attn_q.weight", "self_attn.q_proj.weight", q},
          {"attn_k.weight", "self_attn.k_proj.weight", k},
          {"attn_v.weight", "self_attn.v_proj.weight"},
          {"attn_output.weight", "self_attn.o_proj.weight"},
          {"attn_q.bias", "self_attn.q_proj.bias", q},
          {"attn_k.bias", "self_attn.k_proj.bias", k},
          {"attn_v.bias", "self_attn.v_proj.bias"},
          {"attn_output.bias", "self_attn.o_proj.bias"}};
}

const Rules kMla{{"attn_norm.weight", "input_layernorm.weight"},
                 {"attn_q.weight", "self_attn.q_proj.weight"},
                 {"attn_q_a.weight", "self_attn.q_a_proj.weight"},
                 {"attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight"},
                 {"attn_q_b.weight", "self_attn.q_b_proj.weight"},
                 {"attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight"},
                 {"attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight"},
                 {"attn_kv_b.weight", "self_attn.kv_b_proj.weight"},
                 {"attn_k_b.weight", "self_attn.kv_b_proj.weight", GgufLayout::mla_k},
                 {"attn_v_b.weight", "self_attn.kv_b_proj.weight", GgufLayout::mla_v},
                 {"attn_output.weight", "self_attn.o_proj.weight"}};

// Ultra MoE with grouped-query attention instead of MLA.
const Rules kPlainHeads{{"attn_k.weight", "self_attn.k_proj.weight"},
                        {"attn_v.weight", "self_attn.v_proj.weight"}};

const Rules kHeadNorms{{"attn_q_norm.weight", "self_attn.q_norm.weight"},
                       {"attn_k_norm.weight", "self_attn.k_norm.weight"}};

const Rules kMlpNorm{{"ffn_norm.weight", "post_attention_layernorm.weight"}};
const Rules kSandwichNorms{{"post_attention_norm.weight", "post_attention_layernorm.weight"},
                           {"ffn_norm.weight", "pre_mlp_layernorm.weight"},
                           {"post_ffw_norm.weight", "post_mlp_layernorm.weight"}};

const Rules kMlp{{"ffn_gate.weight", "mlp.gate_proj.weight"},
                 {"ffn_up.weight", "mlp.up_proj.weight"},
                 {"ffn_down.weight", "mlp.down_proj.weight"}};

const Rules kExperts{
    {"ffn_gate_inp.weight", "mlp.gate.weight"},
    {"ffn_gate_exps.weight", "mlp.experts.{}.gate_proj.weight", GgufLayout::experts},
    {"ffn_up_exps.weight", "mlp.experts.{}.up_proj.weight", GgufLayout::experts},
    {"ffn_down_exps.weight", "mlp.experts.{}.down_proj.weight", GgufLayout::experts},
    {"ffn_gate_up_exps.weight", "mlp.experts.{}.", GgufLayout::gate_up}};

Rules shared_experts(const std::string& name) {
  return {{"ffn_gate_shexp.weight", "mlp." + name + ".gate_proj.weight"},
          {"ffn_up_shexp.weight", "mlp." + name + ".up_proj.weight"},
          {"ffn_down_shexp.weight", "mlp." + name + ".down_proj.weight"}};
}

// openPangu-R-72B.
const Rules kSinkAttention{{"attn_norm.weight", "input_layernorm.weight"},
                           {"attn_qkv.weight", "self_attn.qkv_proj.weight"},
                           {"attn_k_norm.weight", "self_attn.k_layernorm.weight"},
                           {"attn_sink_k.weight", "self_attn.param_sink_key"},
                           {"attn_sink_v.weight", "self_attn.param_sink_value"},
                           {"attn_output.weight", "self_attn.o_proj.weight"}};

const Rules kSiblingBias{{"exp_probs_b.bias", "mlp.e_score_correction_bias"}};

const Rules kMtp{{"nextn.eh_proj.weight", "eh_proj.weight"},
                 {"nextn.enorm.weight", "enorm.weight"},
                 {"nextn.hnorm.weight", "hnorm.weight"},
                 {"nextn.embed_tokens.weight", "embed_tokens.weight"},
                 {"nextn.shared_head_head.weight", "shared_head.head.weight"},
                 {"nextn.shared_head_norm.weight", "shared_head.norm.weight"}};

// What openPangu-2.0 has beside Ultra MoE.
Rules hyper_connection(const std::string& gguf, const std::string& hf, const std::string& suffix) {
  return {{gguf + "_phi.weight", hf + ".phi.weight"},
          {gguf + "_alpha.weight", hf + ".branch_alpha" + suffix},
          {gguf + "_beta.weight", hf + ".branch_beta" + suffix},
          {gguf + "_gamma.weight", hf + ".norm_gamma"}};
}

const Rules kPangu2{{"attn_qa_conv.weight", "self_attn.qa_conv.weight"},
                    {"attn_compresskv_conv.weight", "self_attn.compresskv_conv.weight"},
                    {"attn_o_conv.weight", "self_attn.o_conv.weight"},
                    {"attn_param_sink_kv.weight", "self_attn.param_sink_compressed_kv"},
                    {"attn_param_sink_k_pe.weight", "self_attn.param_sink_k_pe"},
                    {"attn_indexer_q_b.weight", "self_attn.indexer.wq_b.weight"},
                    {"attn_indexer_k.weight", "self_attn.indexer.wk.weight"},
                    {"attn_indexer_k_norm.weight", "self_attn.indexer.k_norm.weight"},
                    {"attn_indexer_weights_proj.weight", "self_attn.indexer.weights_proj.weight"},
                    {"block_post_norm.weight", "block_post_layernorm.weight"}};

/// Those of llama.cpp, then ours for models that it does not have.
const std::vector<GgufNames>& all_names() {
  static const std::vector<GgufNames> names{
      {"llama", attention(true) + kMlpNorm + kMlp, kGlobal},
      {"qwen2", attention(false) + kMlpNorm + kMlp, kGlobal},
      {"qwen3", attention(false) + kHeadNorms + kMlpNorm + kMlp, kGlobal},
      {"qwen3moe", attention(false) + kHeadNorms + kMlpNorm + kMlp + kExperts, kGlobal},
      {"pangu-embedded", attention(false) + kMlpNorm + kMlp, kGlobal},
      {"deepseek2",
       kMla + kMlpNorm + kMlp + kExperts + shared_experts("shared_experts") + kMtp +
           Rules{{"exp_probs_b.bias", "mlp.gate.e_score_correction_bias"}},
       kGlobal},
      {"pangu-ultra-moe",
       kMla + kPlainHeads + kSandwichNorms + kMlp + kExperts + shared_experts("shared_experts") +
           kMtp + kSiblingBias,
       kGlobal},
      {"pangu-pro-moe",
       attention(false) + kMlpNorm + kMlp + kExperts + shared_experts("shared_expert") +
           Rules{{"ffn_gate_inp.scale", "mlp.router_scale", GgufLayout::row}},
       kGlobal},
      {"pangu-v2",
       kMla + kSandwichNorms + kMlp + kExperts + shared_experts("shared_experts") + kMtp +
           kSiblingBias + kPangu2 + hyper_connection("attn_mhc", "attn_mhc_module", "") +
           hyper_connection("mlp_mhc", "mlp_mhc_module", ""),
       kGlobal + hyper_connection("merge_mhc", "model.merge_mhc_module", "_pre")},
      {"pangu-pro-moe-v2",
       kSinkAttention + kSandwichNorms + kMlp + kExperts + shared_experts("shared_experts") + kMtp +
           kSiblingBias,
       kGlobal},
  };
  return names;
}

const GgufRule* find_rule(const Rules& rules, std::string_view name) {
  for (const GgufRule& rule : rules)
    if (rule.gguf == name) return &rule;
  return nullptr;
}

}  // namespace

const GgufRule* GgufNames::find_layer(std::string_view rest) const {
  return find_rule(layer, rest);
}

const GgufRule* GgufNames::find_global(std::string_view name) const {
  return find_rule(global, name);
}

const GgufNames* find_gguf_names(std::string_view architecture) {
  for (const GgufNames& names : all_names())
    if (names.architecture == architecture) return &names;
  return nullptr;
}

std::vector<std::string> gguf_architectures() {
  std::vector<std::string> known;
  for (const GgufNames& names : all_names()) known.push_back(names.architecture);
  return known;
}

std::optional<LayerName> split_layer_name(std::string_view prefix, std::string_view name) {
  if (!name.starts_with(prefix)) return {};
  const std::string_view tail = name.substr(prefix.size());
  LayerName found;
  const auto [end, error] = std::from_chars(tail.data(), tail.data() + tail.size(), found.layer);
  const auto digits = static_cast<size_t>(end - tail.data());
  if (error != std::errc() || found.layer < 0 || digits >= tail.size() || tail[digits] != '.')
    return {};
  // One spelling of a number only, so that no two names can be the same tensor.
  if (digits > 1 && tail[0] == '0') return {};
  found.rest = tail.substr(digits + 1);
  return found;
}

int64_t interleaved_row(int64_t row, int64_t head) {
  const int64_t base = row / head * head, i = row % head;
  return base + i % (head / 2) * 2 + i / (head / 2);
}

int64_t half_row(int64_t row, int64_t head) {
  const int64_t base = row / head * head, i = row % head;
  return base + i % 2 * (head / 2) + i / 2;
}

}  // namespace um
