// The token that ends a turn of a chat, by what a template writes after an answer.
#pragma once

#include <cstdint>
#include <vector>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace um {

/// The special tokens that end an answer: the one that the template writes after the last answer of
/// a conversation, or where it writes none there, after an earlier one. Empty for a template that
/// cannot be rendered or that ends turns in plain text.
std::vector<int32_t> turn_ends(const ChatTemplate& chat, const Tokenizer& tokenizer);

}  // namespace um
