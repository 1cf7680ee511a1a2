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
/// What `\w` matches in the expressions of Hugging Face's tokenizers themselves (those in files are
/// of another language): Alphabetic, marks, decimal digits, connectors, joiners (UTS 18, annex C).
bool is_word_code(int32_t code);
/// The same as a class of PCRE2, without its brackets.
inline constexpr const char* kWordCodes =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169})"
    R"(\x{1F170}-\x{1F189}\x{200C}\x{200D})";
/// Categories Mn, Mc and Me.
bool is_combining_mark(int32_t code);

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
