// The openPangu chat format (docs/tokenizers.md): turns, thinking modes, and the split of an answer
// into its thinking and what is said.
//
// A turn is `[unused9]` role `：` content `[unused10]`, without line breaks; a system turn always
// stands first. The model writes `[unused16]` thinking `[unused17]` answer `[unused10]`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace um {

inline constexpr std::string_view kTurnOpen = "[unused9]";
inline constexpr std::string_view kTurnClose = "[unused10]";  // also the end of generation
inline constexpr std::string_view kToolOpen = "[unused11]";
inline constexpr std::string_view kToolClose = "[unused12]";
inline constexpr std::string_view kThinkOpen = "[unused16]";
inline constexpr std::string_view kThinkClose = "[unused17]";

/// The same template in Jinja, for tokenizer_config.json.
extern const std::string_view kChatTemplate;

struct Message {
  std::string role;  // system, user, assistant, tool, function
  std::string content;
  std::string trusted = {};   // stands behind the content; special tokens in it count
  std::string thinking = {};  // of an answer to learn from: stands before it, between its marks
};

/// How the model is to think: slow is the model's default, the others are a mark on the user's
/// turn.
enum class ThinkMode { kSlow, kFast, kAuto };

/// "slow", "fast" or "auto"; throws UsageError for other names.
ThinkMode parse_think_mode(std::string_view name);
/// The same, or nothing for "default": as the model does by itself.
std::optional<ThinkMode> parse_optional_mode(std::string_view name);

struct ChatOptions {
  bool add_generation_prompt = true;  // end with `[unused9]助手：`, for the model to go on
  bool continue_final = false;        // leave the last turn open, for the model to go on
  bool plain_assistant = false;       // special tokens in the assistant's content do not count
  ThinkMode mode = ThinkMode::kSlow;  // fast: ` /no_think`, auto: ` /auto_think` after the last
                                      // user text
};

/// The prompt as text, special tokens spelled out. Throws Error for a role that does not exist.
std::string apply_chat_template(const std::vector<Message>& messages,
                                const ChatOptions& options = {});

/// The prompt as ids, with BOS if the tokenizer wants one. Special tokens in the texts of the
/// system, users and tools stay plain text (nobody can close his own turn); those in the
/// assistant's turns (thinking, tool calls; unless `plain_assistant`) and in `trusted` count.
/// Throws Error if the tokenizer lacks the tokens.
std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, const std::vector<Message>& messages,
                                 const ChatOptions& options = {});

struct Answer {
  std::string thinking;   // empty if there was none
  std::string text;       // what is said, without the end of turn
  bool finished = false;  // the end of turn was reached
};

/// Splits the text of one generated turn (special tokens spelled out). All before the last
/// `[unused17]` is thinking, even if `[unused16]` was never written; thinking that is opened and
/// not closed has no text yet; a turn with neither token is all text.
Answer split_answer(std::string_view generated);

}  // namespace um
