// See unicode.h.
#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

#include "core/error.h"
#include "text/utf8.h"

namespace um {
namespace {

using Codes = std::vector<utf8proc_int32_t>;

bool is_ascii(char c) {
  return static_cast<uint8_t>(c) < 128;
}

utf8proc_option_t options_of(NormalForm form) {
  int options = UTF8PROC_STABLE | (form.compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
  if (form.compat) options |= UTF8PROC_COMPAT;
  return static_cast<utf8proc_option_t>(options);
}

void decompose(int32_t code, utf8proc_option_t options, Codes& codes) {
  constexpr size_t kLongest = 32;  // the longest decomposition has 18 characters
  std::array<utf8proc_int32_t, kLongest> parts{};
  int last_class = 0;
  const auto count = utf8proc_decompose_char(
      code, parts.data(), kLongest,
      static_cast<utf8proc_option_t>((options & ~UTF8PROC_COMPOSE) | UTF8PROC_DECOMPOSE),
      &last_class);
  UM_CHECK(count >= 0 && count <= static_cast<utf8proc_ssize_t>(kLongest),
           "tokenizer: Unicode normalisation of U+{:04X} failed", code);
  codes.insert(codes.end(), parts.begin(), parts.begin() + count);
}

/// Marks in a row go into the order of their combining classes. utf8proc would do it by exchanging
/// neighbours, in time quadratic in the row.
void order_marks(Codes& codes) {
  const auto class_of = [](utf8proc_int32_t code) {
    return utf8proc_get_property(code)->combining_class;
  };
  for (auto at = codes.begin(); at != codes.end();) {
    const auto end = std::find_if(at, codes.end(), [&](auto code) { return class_of(code) == 0; });
    if (end - at > 1)
      std::stable_sort(at, end, [&](auto a, auto b) { return class_of(a) < class_of(b); });
    at = end == codes.end() ? end : end + 1;
  }
}

/// A stretch which no character outside of it can change.
void normalize_stretch(std::string_view text, NormalForm form, Codes& codes, std::string& out) {
  const utf8proc_option_t options = options_of(form);
  codes.clear();
  while (!text.empty()) {
    decompose(first_code(text), options, codes);
    text.remove_prefix(utf8_step(text).bytes);
  }
  order_marks(codes);
  const auto count =
      utf8proc_normalize_utf32(codes.data(), static_cast<utf8proc_ssize_t>(codes.size()), options);
  UM_CHECK(count >= 0, "tokenizer: Unicode normalisation failed: {}", utf8proc_errmsg(count));
  for (utf8proc_ssize_t i = 0; i < count; ++i) append_code(out, codes[static_cast<size_t>(i)]);
}

}  // namespace

int32_t first_code(std::string_view text) {
  utf8proc_int32_t code = -1;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &code);
  return code;
}

std::string_view last_character(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return text.substr(begin);
}

void append_code(std::string& text, int32_t code) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const auto count = utf8proc_encode_char(code, bytes.data());
  text.append(reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(count));
}

bool is_white_space(int32_t code) {
  if (code == 0x85 || (code >= 9 && code <= 13)) return true;
  const auto category = utf8proc_category(code);
  return category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP;
}

bool is_word_code(int32_t code) {
  const auto category = utf8proc_category(code);
  if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) return true;
  const auto within = [&](int32_t first, int32_t last) { return code >= first && code <= last; };
  const bool circled = within(0x24B6, 0x24E9) || within(0x1F130, 0x1F149) ||
                       within(0x1F150, 0x1F169) || within(0x1F170, 0x1F189);
  return category == UTF8PROC_CATEGORY_PC || circled || within(0x200C, 0x200D);
}

bool is_combining_mark(int32_t code) {
  const auto category = utf8proc_category(code);
  return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}

// ASCII is its own normal form. Of a run of it only the last character can change, by the marks
// behind it; what comes before an ASCII character never changes with it.
std::string normalize(std::string_view text, NormalForm form) {
  std::string out;
  Codes codes;
  while (!text.empty()) {
    const auto wide = std::find_if_not(text.begin(), text.end(), is_ascii);
    const auto kept = static_cast<size_t>(wide - text.begin());
    if (wide == text.end()) return out.append(text);
    const auto narrow =
        static_cast<size_t>(std::find_if(wide, text.end(), is_ascii) - text.begin());
    const size_t begin = kept - (kept > 0 ? 1 : 0);
    out.append(text.substr(0, begin));
    normalize_stretch(text.substr(begin, narrow - begin), form, codes, out);
    text.remove_prefix(narrow);
  }
  return out;
}

std::string lower_case(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const int32_t code = first_code(text);
    if (code == 0x130) {  // the one letter whose small form is two characters
      out += "i\u0307";
    } else {
      append_code(out, utf8proc_tolower(code));
    }
    text.remove_prefix(utf8_step(text).bytes);
  }
  return out;
}

}  // namespace um
