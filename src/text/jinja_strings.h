// Python's text functions over MarkedText, which must be valid UTF-8. What they make is charged to
// the budget; searches take time linear in the text.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/jinja_value.h"

namespace um {

/// Characters (code points).
size_t jinja_count_chars(std::string_view text);
/// Words as the filter `wordcount` counts them: runs of letters, digits and _.
int64_t jinja_count_words(std::string_view text, JinjaBudget& budget);
/// The character at `at`, which moves to the next one.
int32_t jinja_next_char(std::string_view text, size_t& at);
/// Characters that str.isspace() and str.strip() know.
bool jinja_is_space(int32_t code);
/// The first place of `needle` at or after `from`, or npos; the empty one is found at `from`.
size_t jinja_find_text(std::string_view text, std::string_view needle, size_t from = 0);

/// str.strip, lstrip, rstrip. `chars`: what goes; nothing: white space.
MarkedText jinja_strip(const MarkedText& text, std::optional<std::string_view> chars, bool left,
                       bool right, JinjaBudget& budget);
/// str.split and rsplit; without `separator` at runs of white space. `most` < 0: no limit.
std::vector<MarkedText> jinja_split(const MarkedText& text,
                                    std::optional<std::string_view> separator, int64_t most,
                                    bool from_right, JinjaBudget& budget);
std::vector<MarkedText> jinja_split_lines(const MarkedText& text, bool keep_ends,
                                          JinjaBudget& budget);
/// str.replace. `most` < 0: all.
MarkedText jinja_replace(const MarkedText& text, std::string_view old, const MarkedText& by,
                         int64_t most, JinjaBudget& budget);

/// kTitle is Python's str.title; kWords is the filter `title`, which begins words after spaces and
/// brackets only.
enum class JinjaCase { kUpper, kLower, kTitle, kWords, kCapitalize };
MarkedText jinja_case(const MarkedText& text, JinjaCase mode, JinjaBudget& budget);

/// Every character by itself.
std::vector<MarkedText> jinja_chars(const MarkedText& text, JinjaBudget& budget);
/// text[start:stop:step] by characters.
MarkedText jinja_slice(const MarkedText& text, std::optional<int64_t> start,
                       std::optional<int64_t> stop, int64_t step, JinjaBudget& budget);
/// What start:stop:step takes of `size` elements, in order.
std::vector<size_t> jinja_slice_places(size_t size, std::optional<int64_t> start,
                                       std::optional<int64_t> stop, int64_t step);

}  // namespace um
