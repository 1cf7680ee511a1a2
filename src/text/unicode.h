// Characters of valid UTF-8, their classes, and the Unicode normal forms (utf8proc).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace um {

/// The character at the front of `text` (valid UTF-8), -1 if there is none.
int32_t first_code(std::string_view text);
/// The bytes of the last character of `text` (valid UTF-8, not empty).
std::string_view last_character(std::string_view text);
/// Appends a character as UTF-8.
void append_code(std::string& text, int32_t code);

/// White_Space of the Unicode standard: U+3000 and U+00A0 too.
bool is_white_space(int32_t code);
/// Letters, marks, numbers and connectors: what `\w` matches.
bool is_word_code(int32_t code);
/// A mark that takes no room of its own (category Mn).
bool is_nonspacing_mark(int32_t code);

/// What separates the four normal forms.
struct NormalForm {
  bool compose = false;  ///< NFC, NFKC
  bool compat = false;   ///< NFKC, NFKD
};

/// `text` (valid UTF-8) in a normal form, in time linear in the text.
std::string normalize(std::string_view text, NormalForm form);

/// `text` (valid UTF-8) in small letters, character by character.
std::string lower_case(std::string_view text);

}  // namespace um
