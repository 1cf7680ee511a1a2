// The pre-tokenizers that GGUF files only name (`tokenizer.ggml.pre`), as parts of a
// tokenizer.json.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "core/json.h"

namespace um {

struct PreTokenizerParts {
  Json normalizer, pre_tokenizer;
  bool ignore_merges = false;
  bool add_bos = false;  ///< where the file does not say
  bool raw = false;      ///< pieces are text, with `<0x0A>` for bytes, not ByteLevel's letters
  Json decoder = {{"type", "ByteLevel"},
                  {"add_prefix_space", false},
                  {"trim_offsets", true},
                  {"use_regex", true}};
};

/// All that are known.
std::vector<std::string_view> pre_tokenizer_names();

/// Nothing for a name that is not known; "default" is llama.cpp's.
std::optional<PreTokenizerParts> pre_tokenizer_parts(std::string_view pre);

}  // namespace um
