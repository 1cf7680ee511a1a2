// Which tensor of a GGUF file is which of a Hugging Face checkpoint, for each GGUF architecture.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace um {

/// How the values of the two sides correspond.
enum class GgufLayout {
  same,
  query_rows,  ///< llama: rows of each query head interleaved there, in halves here
  key_rows,    ///< the same of the key heads
  experts,     ///< [experts, out, in] there, one tensor per expert here
  gate_up,     ///< [experts, 2·out, in] there: gate, then up (read only)
  mla_k,
  mla_v,  ///< the two parts of kv_b_proj there, which is one tensor here
  row,    ///< [n] there, [1, n] here
};

struct GgufRule {
  std::string gguf;  ///< behind "blk.N."; a suffix such as ".weight" included
  std::string hf;    ///< behind "model.layers.N."; `{}` is the expert
  GgufLayout layout = GgufLayout::same;
};

/// The names of one architecture.
struct GgufNames {
  std::string architecture;      ///< of the GGUF file
  std::vector<GgufRule> layer;   ///< in a layer
  std::vector<GgufRule> global;  ///< outside layers; whole names

  /// The rule of a tensor behind "blk.N.", or null.
  const GgufRule* find_layer(std::string_view rest) const;
  const GgufRule* find_global(std::string_view name) const;
};

/// Null for an architecture that is not known.
const GgufNames* find_gguf_names(std::string_view architecture);
/// All known architectures.
std::vector<std::string> gguf_architectures();

/// "blk.12.attn_q.weight" as 12 and "attn_q.weight"; nothing for other names.
struct LayerName {
  int64_t layer = 0;
  std::string_view rest;
};
std::optional<LayerName> split_layer_name(std::string_view prefix, std::string_view name);

/// Row of the GGUF tensor that holds row `row` of a Hugging Face query or key matrix, with heads of
/// `head` rows: there (x0, x1) are neighbours, here x1 is half a head further. And the inverse.
int64_t interleaved_row(int64_t row, int64_t head);
int64_t half_row(int64_t row, int64_t head);

}  // namespace um
