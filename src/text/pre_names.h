// The pre-tokenizers that GGUF files only name (`tokenizer.ggml.pre`), as parts of a
// tokenizer.json.
#pragma once

#include <string>

#include "core/json.h"

namespace um {

struct PreTokenizerParts {
  Json normalizer, pre_tokenizer;
  bool ignore_merges = false;
  Json decoder = {{"type", "ByteLevel"},
                  {"add_prefix_space", false},
                  {"trim_offsets", true},
                  {"use_regex", true}};
};

/// Throws Error `NAME: ...` for a pre-tokenizer that is not known.
PreTokenizerParts pre_tokenizer_parts(const std::string& pre, const std::string& name);

}  // namespace um
