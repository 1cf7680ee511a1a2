// See jinja_strings.h.
#include "text/jinja_strings.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace um {
namespace {

/// Bytes of the character that begins with this byte of valid UTF-8.
size_t width_of(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/// Where the character before `end` begins.
size_t char_before(std::string_view text, size_t end) {
  do --end;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80);
  return end;
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

/// Where each character begins, and the end.
std::vector<size_t> char_starts(std::string_view text) {
  std::vector<size_t> starts;
  for (size_t at = 0; at < text.size(); at += width_of(text[at])) starts.push_back(at);
  starts.push_back(text.size());
  return starts;
}

bool stripped(std::string_view character, std::optional<std::string_view> chars) {
  size_t at = 0;
  if (!chars) return jinja_is_space(jinja_next_char(character, at));
  return chars->find(character) != std::string_view::npos;
}

std::vector<MarkedText> split_spaces(const MarkedText& text, int64_t most, JinjaBudget& budget) {
  std::vector<MarkedText> parts;
  size_t at = 0;
  const auto skip = [&](bool spaces) {
    while (at < text.size()) {
      size_t next = at;
      if (jinja_is_space(jinja_next_char(text.bytes, next)) != spaces) return;
      at = next;
    }
  };
  for (skip(true); at < text.size(); skip(true)) {
    const size_t begin = at;
    budget.spend(JinjaBudget::kStep);
    if (most >= 0 && std::ssize(parts) == most) {  // the rest, with its inner spaces
      parts.push_back(text.substr(begin));
      return parts;
    }
    skip(false);
    parts.push_back(text.substr(begin, at - begin));
  }
  return parts;
}

/// `by` before every character and at the end, at most so often.
MarkedText inserted(const MarkedText& text, const MarkedText& by, int64_t most,
                    JinjaBudget& budget) {
  MarkedText out;
  out.html = text.html;
  int64_t done = 0;
  for (size_t at = 0; at <= text.size();) {
    budget.spend(by.size() + 8);
    if (most < 0 || done++ < most) out.append(by);
    if (at == text.size()) break;
    const size_t width = width_of(text.bytes[at]);
    out.append(text.substr(at, width));
    at += width;
  }
  return out;
}

/// Where the line that begins at `at` ends, and where the next one begins, as str.splitlines() has
/// it.
std::pair<size_t, size_t> line_end(std::string_view text, size_t at) {
  while (at < text.size()) {
    size_t next = at;
    const int32_t code = jinja_next_char(text, next);
    if (text.substr(at, 2) == "\r\n") return {at, at + 2};
    const bool ends = (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) ||
                      code == 0x85 || code == 0x2028 || code == 0x2029;
    if (ends) return {at, next};
    at = next;
  }
  return {at, at};
}

/// As rsplit() has it: at most so many words from the right, then the rest.
std::vector<MarkedText> split_spaces_right(const MarkedText& text, int64_t most,
                                           JinjaBudget& budget) {
  std::vector<MarkedText> parts;
  size_t end = text.size();
  const auto skip = [&](bool spaces) {
    while (end > 0) {
      const size_t before = char_before(text.bytes, end);
      size_t next = before;
      if (jinja_is_space(jinja_next_char(text.bytes, next)) != spaces) return;
      end = before;
    }
  };
  for (skip(true); end > 0; skip(true)) {
    const size_t behind = end;
    budget.spend(JinjaBudget::kStep);
    if (std::ssize(parts) == most)
      end = 0;
    else
      skip(false);
    parts.push_back(text.substr(end, behind - end));
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace

int32_t jinja_next_char(std::string_view text, size_t& at) {
  utf8proc_int32_t code = 0;
  const size_t width = std::min(width_of(text[at]), text.size() - at);
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                   static_cast<utf8proc_ssize_t>(width), &code);
  at += width;
  return code;
}

size_t jinja_count_chars(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

bool jinja_is_space(int32_t code) {
  if ((code >= 9 && code <= 13) || (code >= 0x1C && code <= 0x20) || code == 0x85) return true;
  const auto category = utf8proc_category(code);
  return category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP;
}

size_t jinja_find_text(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  // memmem's time is linear; that of std::string_view::find is not.
  const void* found =
      ::memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  return found == nullptr ? std::string_view::npos
                          : static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

MarkedText jinja_strip(const MarkedText& text, std::optional<std::string_view> chars, bool left,
                       bool right, JinjaBudget& budget) {
  const std::string_view bytes = text.bytes;
  budget.spend(bytes.size());
  size_t begin = 0, end = bytes.size();
  const auto goes = [&](size_t at, size_t behind) {
    budget.spend(chars ? 1 + chars->size() / 4 : 1);
    return stripped(bytes.substr(at, behind - at), chars);
  };
  while (left && begin < end && goes(begin, begin + width_of(bytes[begin])))
    begin += width_of(bytes[begin]);
  while (right && begin < end && goes(char_before(bytes, end), end)) end = char_before(bytes, end);
  return text.substr(begin, end - begin);
}

std::vector<MarkedText> jinja_split(const MarkedText& text,
                                    std::optional<std::string_view> separator, int64_t most,
                                    bool from_right, JinjaBudget& budget) {
  budget.spend(2 * text.size());
  if (!separator) {
    return from_right && most >= 0 ? split_spaces_right(text, most, budget)
                                   : split_spaces(text, most, budget);
  }
  UM_CHECK(!separator->empty(), "split: the separator is empty");
  std::vector<size_t> places;
  for (size_t at = 0;; at += separator->size()) {
    at = jinja_find_text(text.bytes, *separator, at);
    if (at == std::string::npos) break;
    if (!from_right && most >= 0 && std::ssize(places) == most) break;
    budget.spend(JinjaBudget::kStep);
    places.push_back(at);
  }
  if (from_right && most >= 0 && std::ssize(places) > most)
    places.erase(places.begin(), places.end() - most);
  std::vector<MarkedText> parts;
  size_t begin = 0;
  for (const size_t at : places) {
    parts.push_back(text.substr(begin, at - begin));
    begin = at + separator->size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

std::vector<MarkedText> jinja_split_lines(const MarkedText& text, bool keep_ends,
                                          JinjaBudget& budget) {
  budget.spend(2 * text.size());
  std::vector<MarkedText> lines;
  for (size_t begin = 0; begin < text.size();) {
    budget.spend(JinjaBudget::kStep);
    const auto [end, next] = line_end(text.bytes, begin);
    lines.push_back(text.substr(begin, (keep_ends ? next : end) - begin));
    begin = next;
  }
  return lines;
}

MarkedText jinja_replace(const MarkedText& text, std::string_view old, const MarkedText& by,
                         int64_t most, JinjaBudget& budget) {
  budget.spend(2 * text.size());
  MarkedText out;
  out.html = text.html;
  if (old.empty()) return inserted(text, by, most, budget);
  size_t begin = 0;
  for (int64_t done = 0; most < 0 || done < most; ++done) {
    const size_t at = jinja_find_text(text.bytes, old, begin);
    if (at == std::string::npos) break;
    budget.spend(by.size() + 8);
    out.append(text.substr(begin, at - begin));
    out.append(by);
    begin = at + old.size();
  }
  out.append(text.substr(begin));
  return out;
}

MarkedText jinja_case(const MarkedText& text, JinjaCase mode, JinjaBudget& budget) {
  budget.spend(2 * text.size());
  MarkedText out;
  out.html = text.html;
  bool first = true;
  for (size_t at = 0; at < text.size();) {
    const char mark = text.outside[at];
    const int32_t code = jinja_next_char(text.bytes, at);
    const bool upper = mode == JinjaCase::kUpper || (mode != JinjaCase::kLower && first);
    // The filter `title` takes capitals, the methods take ǅ, which is half of one.
    const bool title = mode == JinjaCase::kTitle || mode == JinjaCase::kCapitalize;
    const auto capital = title ? utf8proc_totitle(code) : utf8proc_toupper(code);
    utf8proc_uint8_t bytes[4];
    const auto size = utf8proc_encode_char(upper ? capital : utf8proc_tolower(code), bytes);
    if (upper && code == 0xDF)  // the one common letter that becomes two
      out.append(mode == JinjaCase::kUpper ? "SS" : "Ss", mark);
    else
      out.append({reinterpret_cast<const char*>(bytes), static_cast<size_t>(size)}, mark);
    const auto category = utf8proc_category(code);
    const bool letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
    const bool opens =
        jinja_is_space(code) || (code < 0x80 && std::strchr("-({[<", code) != nullptr);
    first = mode == JinjaCase::kTitle ? !letter : mode == JinjaCase::kWords && opens;
  }
  return out;
}

std::vector<MarkedText> jinja_chars(const MarkedText& text, JinjaBudget& budget) {
  budget.spend(JinjaBudget::kStep * text.size());
  std::vector<MarkedText> chars;
  for (size_t at = 0; at < text.size(); at += width_of(text.bytes[at]))
    chars.push_back(text.substr(at, width_of(text.bytes[at])));
  for (MarkedText& one : chars) one.html = false;
  return chars;
}

std::vector<size_t> jinja_slice_places(size_t size, std::optional<int64_t> start,
                                       std::optional<int64_t> stop, int64_t step) {
  UM_CHECK(step != 0, "a slice's step is 0");
  UM_CHECK(step > INT64_MIN, "a slice's step is too small");
  const auto count = static_cast<int64_t>(size);
  // Python's rules: negative places count from the end, then all are cut to what there is.
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? count : count - 1;
  const auto place = [&](int64_t at) {
    return std::clamp(at < 0 ? std::max(at, -count - 1) + count : at, low, high);
  };
  const int64_t begin = start ? place(*start) : step > 0 ? low : high;
  const int64_t end = stop ? place(*stop) : step > 0 ? high : low;
  std::vector<size_t> places;
  for (int64_t at = begin; step > 0 ? at < end : at > end;) {
    places.push_back(static_cast<size_t>(at));
    if (step > 0 ? step >= end - at : step <= end - at) break;
    at += step;
  }
  return places;
}

MarkedText jinja_slice(const MarkedText& text, std::optional<int64_t> start,
                       std::optional<int64_t> stop, int64_t step, JinjaBudget& budget) {
  budget.spend(16 * text.size() + 8);
  const bool ascii = is_ascii(text.bytes);
  const std::vector<size_t> starts = ascii ? std::vector<size_t>() : char_starts(text.bytes);
  const size_t count = ascii ? text.size() : starts.size() - 1;
  const std::vector<size_t> places = jinja_slice_places(count, start, stop, step);
  const auto begin_of = [&](size_t at) { return ascii ? at : starts[at]; };
  if (places.empty()) return text.substr(0, 0);
  if (step == 1)
    return text.substr(begin_of(places[0]), begin_of(places.back() + 1) - begin_of(places[0]));
  MarkedText out;
  out.html = text.html;
  for (const size_t at : places)
    out.append(text.substr(begin_of(at), begin_of(at + 1) - begin_of(at)));
  return out;
}

int64_t jinja_count_words(std::string_view text, JinjaBudget& budget) {
  budget.spend(2 * text.size());
  int64_t words = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const int32_t code = jinja_next_char(text, at);
    const auto category = utf8proc_category(code);
    const bool letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
    const bool number = category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
    const bool word = letter || number || code == '_';
    words += word && !inside ? 1 : 0;
    inside = word;
  }
  return words;
}

}  // namespace um
