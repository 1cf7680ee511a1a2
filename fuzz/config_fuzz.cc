// Fuzzes the config reader: it refuses with Error, or gives a config that can be counted, written
// and read back.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "models/config.h"
#include "models/count.h"

std::vector<std::string> fuzz_seeds() {
  return {
      R"({"architectures":["PanguUltraMoEForCausalLM"],"vocab_size":512,"hidden_size":32,)"
      R"("num_hidden_layers":3,"first_k_dense_replace":1,"num_nextn_predict_layers":1,)"
      R"("num_attention_heads":2,"q_lora_rank":16,"kv_lora_rank":16,"qk_nope_head_dim":8,)"
      R"("qk_rope_head_dim":8,"v_head_dim":8,"intermediate_size":64,"moe_intermediate_size":16,)"
      R"("n_routed_experts":4,"num_shared_experts":1,"num_experts_per_tok":2,"eos_token_id":[1,2],)"
      R"("max_position_embeddings":256,"rope_parameters":{"rope_theta":1e4}})",
      R"({"architectures":["PanguProMoEForCausalLM"],"vocab_size":512,"hidden_size":32,)"
      R"("num_hidden_layers":3,"num_attention_heads":4,"num_key_value_heads":2,"num_experts":8,)"
      R"("num_experts_per_tok":4,"num_expert_groups":2,"moe_intermediate_size":16,)"
      R"("shared_expert_intermediate_size":32,"max_position_embeddings":256,"dtype":"bfloat16"})",
      R"({"architectures":["OpenPanguV2ForCausalLM"],"vocab_size":512,"hidden_size":32,)"
      R"("num_hidden_layers":3,"first_k_dense_replace":1,"num_nextn_predict_layers":1,)"
      R"("num_attention_heads":2,"q_lora_rank":16,"kv_lora_rank":16,"qk_nope_head_dim":8,)"
      R"("qk_rope_head_dim":8,"v_head_dim":8,"intermediate_size":64,"moe_intermediate_size":16,)"
      R"("n_routed_experts":4,"num_experts_per_tok":2,"max_position_embeddings":256,)"
      R"("param_sink_number":64,"router_sliding_window":3,"dsa_layers":[0],"index_topk":5,)"
      R"("index_n_heads":2,"index_head_dim":8,"swa_layers":[1,2,3],"sliding_window_list":[4,5,6],)"
      R"("use_mhc":true,"mhc_num_stream":2,"mhc_recur_norm":3,"block_post_layernorm_idx":[1]})",
      R"({"architectures":["LlamaForCausalLM"],"vocab_size":512,"hidden_size":32,)"
      R"("num_hidden_layers":3,"num_attention_heads":4,"head_dim":16,"intermediate_size":64,)"
      R"("max_position_embeddings":256,"rope_theta":1e4,"rope_scaling":null})"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const um::ModelConfig config = um::load_config(um::parse_json(text, "fuzz"), "fuzz");
    if (um::count_parameters(config).total_with_mtp() <= 0) std::abort();
    if (um::kv_bytes_per_token(config, um::DType::f32) <= 0) std::abort();
    if (!(um::training_flops(config, 4096) > 0)) std::abort();
    um::Json written;
    try {
      written = um::config_to_json(config);
      if (!(um::load_config(written, "written") == config)) std::abort();
    } catch (const um::Error&) {
      std::abort();  // what loads can be written and read back
    }
  } catch (const um::Error&) {
  }
  return 0;
}
