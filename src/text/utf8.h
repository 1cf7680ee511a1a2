// UTF-8: stepping through bytes that may be anything, and the repair of invalid text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace um {

/// U+FFFD, what an invalid byte sequence becomes.
inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// What stands at the front of a byte string.
struct Utf8Step {
  enum Kind { kValid, kInvalid, kIncomplete } kind;
  size_t bytes;  // of the character, of the maximal invalid part, or all that is left
};

/// Looks at the first character of `text` (not empty). kIncomplete: a valid beginning which the end
/// of `text` cuts off. Surrogates, overlong forms and values above U+10FFFF are invalid; the
/// invalid part is maximal as in the Unicode standard, section 3.9 (what browsers and Python
/// replace by one U+FFFD).
Utf8Step utf8_step(std::string_view text);

/// True if `text` is valid UTF-8.
bool is_utf8(std::string_view text);

/// `text` with every invalid sequence replaced by U+FFFD; valid text comes back unchanged.
std::string repair_utf8(std::string_view text);

/// The same for a JSON text, in whose strings halves of surrogate pairs (`\ud800`) become
/// `\ufffd` too: no parser takes them. Adds their number to `halves`, if there is one.
std::string repair_json(std::string_view text, uint64_t* halves = nullptr);

/// Moves the complete characters at the front of `pending` into the result, invalid sequences as
/// U+FFFD, and leaves an incomplete one behind. With `last` that one becomes U+FFFD too.
std::string take_utf8(std::string& pending, bool last);

}  // namespace um
