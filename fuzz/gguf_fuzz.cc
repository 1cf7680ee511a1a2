// Fuzzes GGUF files as models: container, metadata as a config, names, block types and their sizes,
// the vocabulary. A file is refused with Error, or every row of every tensor can be read.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "core/gguf.h"
#include "core/gguf_write.h"
#include "models/config.h"
#include "models/gguf_model.h"
#include "text/vocabulary.h"

namespace {

namespace fs = std::filesystem;
using um::BlockType;

std::string file_of(const std::vector<um::GgufEntry>& metadata,
                    const std::vector<um::GgufTensorSpec>& tensors) {
  const fs::path path = fs::temp_directory_path() / ("um_gguf_fuzz_" + std::to_string(::getpid()));
  um::write_gguf(path, metadata, tensors,
                 [](const um::GgufTensorSpec& spec, const um::GgufSink& sink) {
                   sink(std::vector<std::byte>(spec.byte_size(), std::byte{0x2A}));
                 });
  std::string bytes = um::read_file(path);
  fs::remove(path);
  return bytes;
}

std::vector<um::GgufEntry> shape_of(const std::string& a) {
  return {{"general.architecture", a},          {a + ".block_count", 1U},
          {a + ".context_length", 64U},         {a + ".embedding_length", 32U},
          {a + ".feed_forward_length", 32U},    {a + ".attention.head_count", 2U},
          {a + ".attention.head_count_kv", 1U}, {a + ".attention.layer_norm_rms_epsilon", 1e-5F}};
}

std::string llama() {
  std::vector<um::GgufEntry> metadata = shape_of("llama");
  metadata.push_back({"tokenizer.ggml.model", std::string("gpt2")});
  metadata.push_back({"tokenizer.ggml.pre", std::string("gpt-2")});
  metadata.push_back({"tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "ab", "<s>"}});
  metadata.push_back({"tokenizer.ggml.token_type", std::vector<int32_t>{1, 1, 1, 3}});
  metadata.push_back({"tokenizer.ggml.merges", std::vector<std::string>{"a b"}});
  metadata.push_back({"tokenizer.ggml.bos_token_id", 3U});
  return file_of(metadata, {{"token_embd.weight", {4, 32}, BlockType::q8_0},
                            {"output_norm.weight", {32}, BlockType::f32},
                            {"blk.0.attn_q.weight", {32, 32}, BlockType::q4_0},
                            {"blk.0.attn_k.weight", {16, 32}, BlockType::q5_1},
                            {"blk.0.attn_q.bias", {32}, BlockType::f32},
                            {"blk.0.ffn_up.weight", {1, 256}, BlockType::q6_k},
                            {"rope_freqs.weight", {8}, BlockType::f32}});
}

std::string deepseek() {
  std::vector<um::GgufEntry> metadata = shape_of("deepseek2");
  const auto add = [&](const char* key, uint32_t value) {
    metadata.push_back({std::string("deepseek2.") + key, value});
  };
  add("attention.key_length_mla", 16);
  add("attention.value_length_mla", 8);
  add("attention.kv_lora_rank", 32);
  add("rope.dimension_count", 8);
  add("expert_count", 2);
  add("expert_used_count", 1);
  add("expert_feed_forward_length", 32);
  metadata.push_back({"deepseek2.rope.scaling.type", std::string("yarn")});
  metadata.push_back({"deepseek2.rope.scaling.yarn_log_multiplier", 0.1F});
  return file_of(metadata, {{"token_embd.weight", {4, 32}, BlockType::bf16},
                            {"blk.0.attn_k_b.weight", {2, 32, 8}, BlockType::f16},
                            {"blk.0.attn_v_b.weight", {2, 8, 32}, BlockType::q4_1},
                            {"blk.0.ffn_down_exps.weight", {2, 32, 32}, BlockType::q5_0},
                            {"blk.0.ffn_gate_up_exps.weight", {2, 4, 256}, BlockType::q2_k},
                            {"blk.0.ffn_gate_exps.weight", {2, 1, 256}, BlockType::iq4_xs},
                            {"blk.0.ffn_up_exps.weight", {2, 4, 32}, BlockType::mxfp4},
                            {"blk.0.exp_probs_b.bias", {2}, BlockType::f32}});
}

/// Reads a tensor a row at a time, at most so much that an input takes no time.
void read_rows(const um::StoredWeight& weight) {
  constexpr int64_t kMost = 1 << 16;
  const int64_t columns = weight.columns(), rows = weight.rows();
  if (!weight.read || columns > kMost || rows <= 0) return;
  std::vector<float> row(static_cast<size_t>(columns));
  for (int64_t r = 0; r < rows && r * columns < kMost; ++r) weight.read(r, 1, row.data());
  weight.read(rows - 1, 1, row.data());
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {llama(), deepseek()};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto file =
        std::make_shared<um::Gguf>(std::as_bytes(std::span(data, size)), std::string("fuzz"));
    try {
      um::make_tokenizer(um::read_vocabulary(*file), "fuzz");
    } catch (const um::Error&) {
    }
    const um::GgufModel model(file);
    const um::WeightSource source = um::gguf_weights(model);
    for (const auto& [name, weight] : source.tensors()) read_rows(weight);
    um::load_config(um::gguf_config(model), "fuzz");
  } catch (const um::Error&) {
  }
  return 0;
}
