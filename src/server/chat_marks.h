// How a model marks the parts of an answer: where thinking and tool calls begin and end, and how
// the calls between are written. Known from its chat template and its tokenizer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace um {

/// How calls are written between their marks.
enum class CallSyntax {
  kList,      ///< Pangu, Mistral: a JSON list of {"name", "arguments"}
  kObject,    ///< Hermes, Qwen: one such object between each pair of marks
  kLlama,     ///< Llama 3: objects with "parameters" as the whole answer, or behind a mark
  kDeepSeek,  ///< DeepSeek: each between marks of its own, with the name before the arguments
};

/// DeepSeek's marks of one call.
inline constexpr std::string_view kCallBegin = "<｜tool▁call▁begin｜>",
                                  kCallEnd = "<｜tool▁call▁end｜>",
                                  kCallSeparator = "<｜tool▁sep｜>";

/// The ids of the marks; -1 where the tokenizer has no such token.
struct ChatMarks {
  std::vector<int32_t> turn_closes = {};  ///< any of them ends the turn
  int32_t think_open = -1, think_close = -1, tool_open = -1, tool_close = -1;
  /// Marks that are no tokens but are written in the text; empty if there is none.
  std::string think_open_text = {}, think_close_text = {}, tool_open_text = {},
              tool_close_text = {};
  CallSyntax calls = CallSyntax::kList;
  /// DeepSeek's marks of one call: its begin, the separator and its end; empty where they are no
  /// tokens.
  std::vector<int32_t> inner = {};
  bool code_block = false;  ///< DeepSeek V3, R1: the arguments stand in a block of code
  /// Line ends beside the marks belong to the marks.
  bool trim = false;

  /// `chat_template`: its source; empty for the Pangu format.
  static ChatMarks of(const Tokenizer& tokenizer, std::string_view chat_template = {});

  /// Whether answers may have thinking in them.
  bool may_think() const { return think_close >= 0 || !think_close_text.empty(); }
  /// Whether text that follows this prompt is thinking.
  bool opens_thinking(const Tokenizer& tokenizer, const std::vector<int32_t>& prompt) const;
};

}  // namespace um
