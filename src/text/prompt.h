// The prompt that a text without a chat template is.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace um {

/// The ids of a text to be continued, BOS in front where the tokenizer wants it. Where nothing
/// would be left, what stands in front of a document: BOS, or the EOS of the one before.
std::vector<int32_t> encode_prompt(const Tokenizer& tokenizer, std::string_view text,
                                   bool parse_special = false);

}  // namespace um
