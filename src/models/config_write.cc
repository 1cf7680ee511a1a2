// Writing a config.json with the published names; see config.h.
#include "core/json.h"
#include "models/architecture.h"
#include "models/config.h"
#include "models/config_fields.h"

namespace um {
namespace {

Json id_or_null(int64_t id) {
  return id < 0 ? Json(nullptr) : Json(id);
}

}  // namespace

Json config_to_json(const ModelConfig& config) {
  validate(config, "model config");
  Json out = Json::object();
  const Architecture& family = architecture(config.family);
  out["architectures"] = {family.name};
  out["model_type"] = family.model_type;
  out["vocab_size"] = config.vocab;
  out["hidden_size"] = config.hidden;
  out["hidden_act"] = "silu";
  out["num_hidden_layers"] = config.layers;
  out["num_attention_heads"] = config.attention.heads;
  out["num_key_value_heads"] = config.attention.kv_heads;
  if (!config.attention.is_mla()) out["head_dim"] = config.attention.qk_dim();
  fields::write_rope(config.attention, out);
  out["max_position_embeddings"] = config.max_positions;
  out["rms_norm_eps"] = config.norm_eps;
  out["tie_word_embeddings"] = config.tie_embeddings;
  out["initializer_range"] = config.initializer_range;
  out["init_rule"] = config.init == InitRule::tiny ? "tiny" : "normal";
  out["embedding_init_std"] = config.embedding_init_std;
  out["bos_token_id"] = id_or_null(config.bos);
  out["pad_token_id"] = id_or_null(config.pad);
  if (config.eos.size() == 1) out["eos_token_id"] = config.eos[0];
  if (config.eos.size() != 1) out["eos_token_id"] = config.eos.empty() ? Json() : Json(config.eos);
  out["torch_dtype"] = dtype_config_name(config.dtype);
  family.write(config, out);
  return out;
}

}  // namespace um
