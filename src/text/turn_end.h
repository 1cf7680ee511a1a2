// The token that ends a turn of a chat, by what a template writes after an answer.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace um {

/// The id of the special token with this text; -1 if there is none.
int32_t special_id(const Tokenizer& tokenizer, std::string_view text);

/// The special tokens that end an answer: the one that the template writes after the last answer of
/// a conversation, or where it writes none there, after an earlier one; and the one after calls of
/// tools, where a family has its own. Empty for a template that cannot be rendered or that ends
/// turns in plain text.
std::vector<int32_t> turn_ends(const ChatTemplate& chat, const Tokenizer& tokenizer);

}  // namespace um
