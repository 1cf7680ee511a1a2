// From a chat request to the prompt, by the model's chat template; in the Pangu chat format
// (text/chat.h) tools are described in the system's turn.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/request.h"
#include "text/tokenizer.h"

namespace um {

/// `messages` with the tools described at the end of the system's turn (which is added if there is
/// none), and how the model is to call them.
std::vector<Message> with_tools(std::vector<Message> messages, const std::vector<Tool>& tools);

/// The prompt of a chat by a Jinja template, with what each byte comes from: 0 the template's own,
/// message_mark(i) the text of messages[i], else what else is from outside. Throws ApiError 400
/// where the template fails.
MarkedText marked_prompt(const ChatTemplate& form, const ChatRequest& request);
/// The prompt of a chat, as text and as ids. Throws ApiError 400 where the template fails.
std::string chat_prompt_text(const ChatTemplate& form, const ChatRequest& request);
std::vector<int32_t> chat_prompt(const ChatTemplate& form, const Tokenizer& tokenizer,
                                 const ChatRequest& request);
/// The same in the Pangu format.
std::string chat_prompt_text(const ChatRequest& request);
std::vector<int32_t> chat_prompt(const Tokenizer& tokenizer, const ChatRequest& request);

}  // namespace um
