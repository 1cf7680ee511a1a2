// How a chat template turns thinking on and off. Templates name their switch as they like
// (enable_thinking, thinking, reasoning_effort, thinking_mode, thinking_budget, a word in the
// system's turn), so it is found by rendering a short conversation with different values.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "text/jinja_value.h"

namespace um {

struct ThinkingSwitch {
  OrderedJson on = OrderedJson::object(), off = OrderedJson::object();  ///< variables to set
  std::string on_word = {}, off_word = {};  ///< or words at the end of the system's turn

  bool works() const { return !off.empty() || !off_word.empty(); }
};

/// Renders `messages` with some more variables, ready for an answer. Throws Error.
using ChatProbe =
    std::function<std::string(const OrderedJson& messages, const OrderedJson& variables)>;

/// The switch of the template with this source, which reads these variables. One that does not
/// work has nothing in it.
ThinkingSwitch find_thinking_switch(std::string_view source,
                                    const std::set<std::string, std::less<>>& variables,
                                    const ChatProbe& probe);

/// Whether a template knows of thinking: it writes marks of thinking, or reads that of earlier
/// answers.
bool knows_thinking(std::string_view source);

/// A text without the words that switch thinking, which templates take out of it.
std::string without_switch_words(std::string text);

/// `messages` with a word at the end of the system's turn, which is added if there is none.
OrderedJson with_system_word(OrderedJson messages, const std::string& word);

}  // namespace um
