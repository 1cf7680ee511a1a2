// How a model marks the parts of an answer: where thinking begins and ends, and how it calls tools.
// Known from its chat template and its tokenizer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/call_form.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace um {

/// The ids of the marks; -1 where the tokenizer has no such token.
struct ChatMarks {
  std::vector<int32_t> turn_closes = {};  ///< any of them ends the turn
  int32_t think_open = -1, think_close = -1;
  std::string think_open_text = {}, think_close_text = {};  ///< empty: there is no thinking
  CallForm calls = {};
  std::string fault = {};  ///< why calls and ends of turns are not known; empty if they are
  /// The model is told in plain text how to call: it may spell out marks that are tokens.
  bool told_calls = false;
  /// Line ends beside the marks belong to the marks.
  bool trim = false;

  /// The template's, or those of the Pangu format.
  static ChatMarks of(const Tokenizer& tokenizer, const ChatTemplate& chat_template);
  /// The same from the template's source; empty for a built-in one.
  static ChatMarks of(const Tokenizer& tokenizer, std::string_view source = {});

  /// Whether answers may have thinking in them.
  bool may_think() const { return !think_close_text.empty(); }
  /// Whether text that follows this prompt is thinking.
  bool opens_thinking(const Tokenizer& tokenizer, const std::vector<int32_t>& prompt) const;
};

}  // namespace um
