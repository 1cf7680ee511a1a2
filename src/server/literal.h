// Literals of Python and JSON, as they stand in programs and as Python's str() writes them, as
// JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/call_form.h"

namespace um {

/// How texts in quotes are read.
enum class LiteralQuotes {
  kExact,  ///< as Python has it: what ends at a quote, or is no literal
  kLoose,  ///< a quote ends a text only where a text may end: models leave out the backslash
};

/// The JSON of a whole literal; nothing if it is none. `form`: its marks around texts, and those
/// that are tokens.
std::optional<std::string> literal_json(std::string_view text, const CallForm& form,
                                        LiteralQuotes quotes);
/// The same without marks, by Python's rules.
std::optional<std::string> literal_json(std::string_view text);

/// The letters in front of a text's first quote ("r" of r'\d') where `text` begins with them and a
/// quote; nothing where no text begins.
std::optional<std::string_view> text_prefix(std::string_view text);
/// Whether these bytes may be letters of a text that goes on.
bool may_be_prefix(std::string_view text);

/// What may stand behind a text in such a bracket; `bracket` 0: in none, where only the end may.
std::string_view closers_in(char bracket);

}  // namespace um
