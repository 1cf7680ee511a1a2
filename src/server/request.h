// What clients ask for: the bodies of chat/completions and completions requests, read and checked.
// Fields nobody knows are ignored, as other servers do; known ones that we cannot honour are
// refused by name, so that nobody gets something else than he asked for in silence.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "engine/sampler.h"
#include "text/chat.h"
#include "text/chat_template.h"

namespace um {

/// What the model is held to: response_format, structured_outputs and their older spellings.
struct FormatSpec {
  enum Kind { kText, kJsonObject, kJsonSchema, kRegex, kChoice };
  Kind kind = kText;
  std::string schema = {};                ///< of kJsonSchema: its text
  std::string regex = {};                 ///< of kRegex
  std::vector<std::string> choices = {};  ///< of kChoice
  std::string field = {};                 ///< of the request that asks for it
};

/// What both kinds of request share.
struct GenerationParams {
  SamplingOptions sampling = {};
  std::optional<uint64_t> seed = {};
  int64_t n = 1;
  int64_t max_tokens = -1;  ///< -1: to the end of the context
  int64_t min_tokens = 0;
  std::vector<std::string> stop = {};
  std::vector<int32_t> stop_token_ids = {};
  std::vector<int32_t> allowed_token_ids = {};  ///< empty: all
  std::vector<std::string> bad_words = {};
  bool include_stop = false;  ///< the stop string that ended it is part of the text
  bool ignore_eos = false;
  bool skip_special = true;   ///< special tokens are left out of the text
  int64_t top_logprobs = -1;  ///< -1: no logprobs; k: of the k most likely tokens, too
  bool return_token_ids = false;
  bool routed_experts = false;  ///< the experts of every row, to train with the same routes
  int priority = 0;             ///< lower is served first (as in vLLM)
  bool stream = false, include_usage = false, continuous_usage = false;
  FormatSpec format = {};
};

struct Tool {
  std::string name, description;
  std::string parameters;  ///< a JSON schema of an object, as text
};

/// Which tools the model may, must or must not call.
struct ToolChoice {
  enum Kind { kNone, kAuto, kRequired, kNamed };
  Kind kind = kAuto;
  std::string name = {};  ///< of kNamed

  bool forced() const { return kind == kRequired || kind == kNamed; }
};

struct ChatRequest {
  GenerationParams params;
  std::vector<Message> messages;  ///< tools are not in it yet, see chat_prompt
  TemplateInput input;            ///< the same conversation, with all that templates may read
  std::vector<Tool> tools;
  ToolChoice tool_choice;
  bool parallel_tool_calls = true;
  ThinkMode mode = ThinkMode::kSlow;
  int64_t thinking_budget = -1;  ///< tokens of thinking at most; -1: no limit
  bool include_reasoning = true;
  bool add_generation_prompt = true, continue_final_message = false;

  /// Whether the answer, thinking aside, is held to a form from its first token.
  bool held() const { return params.format.kind != FormatSpec::kText || tool_choice.forced(); }
};

struct CompletionRequest {
  GenerationParams params;
  /// Each prompt is text or ids.
  struct Prompt {
    std::string text;
    std::vector<int32_t> ids;
    bool is_text = true;
  };
  std::vector<Prompt> prompts;
  bool echo = false;
  bool only_echo = false;          ///< max_tokens 0: nothing is generated
  bool add_special_tokens = true;  ///< BOS and EOS, where the tokenizer adds them
  bool parse_special = true;       ///< special tokens written in texts count
};

/// What a request may ask for at most, and what it gets where it says nothing.
struct RequestLimits {
  SamplingOptions sampling = {};       ///< the checkpoint's wishes
  std::optional<ThinkMode> mode = {};  ///< nothing: as the model thinks by itself
  int64_t vocab = 0;
  int64_t max_n = 16;
  int64_t max_top_logprobs = 20;
  int64_t max_stops = 16;
  int64_t max_prompts = 64;
};

/// A body, which must be a JSON object. The keys of its objects keep the client's order, which
/// counts in schemas. Throws ApiError 400 for anything else.
struct Body {
  explicit Body(std::string_view text);
  Json json;
  nlohmann::ordered_json ordered;
};

/// Throws ApiError 400 naming the field.
ChatRequest parse_chat_request(const Body& body, const RequestLimits& limits);
CompletionRequest parse_completion_request(const Body& body, const RequestLimits& limits);

/// The messages of a chat body (also of /tokenize and /apply-template).
std::vector<Message> parse_messages(const Json& body);
/// A body that parse_chat_request takes, as templates see it.
TemplateInput template_input(const Body& body, const std::vector<Message>& messages);
/// `tools` of a chat body.
std::vector<Tool> parse_tools(const Body& body);
/// How a request wants the model to think.
struct ThinkingWish {
  std::optional<ThinkMode> mode = {};
  std::string effort = {};  ///< as the client names it; empty: nothing was said
};
/// What chat_template_kwargs, reasoning_effort and reasoning ask for.
ThinkingWish parse_thinking(const Json& body);
/// Token ids from JSON numbers below `vocab`.
std::vector<int32_t> parse_ids(const Json& value, const std::string& field, int64_t vocab);

/// response_format and its like.
FormatSpec parse_format(const Body& body);
/// The fields that chat and completions share, but for `logprobs`, which differ.
/// `max_tokens` may be 0 only where `none_good`, and then is read as 1.
GenerationParams parse_generation(const Body& body, const RequestLimits& limits,
                                  bool none_good = false);

}  // namespace um
