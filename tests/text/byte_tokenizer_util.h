// A byte-level tokenizer.json for tests: one token per byte, and the special tokens asked for.
#pragma once

#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace um {

/// Ids 0 to 255 are the bytes, then come the special tokens. `config`: tokenizer_config.json.
Tokenizer byte_tokenizer(const std::vector<std::string>& specials,
                         const std::string& config = "{}");
/// The text of its tokenizer.json.
std::string byte_tokenizer_json(const std::vector<std::string>& specials);

}  // namespace um
