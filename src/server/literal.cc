// See literal.h.
#include "server/literal.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "core/json.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace um {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::string_view kSpaces = " \t\r\n";

bool is_quote(char c) {
  return c == '"' || c == '\'';
}

/// Digits with single _ between them, without those; nothing if there are others.
std::optional<std::string> digits_of(std::string_view text, int base) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool between = i > 0 && i + 1 < text.size() && text[i - 1] != '_';
    if (c == '_' && between) continue;
    const int value = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : base;
    if (value >= base) return std::nullopt;
    out += c;
  }
  return out;
}

/// 0x1f, 0o17, 0b11 as decimal digits.
std::optional<std::string> based_number(std::string_view text) {
  if (text.size() < 3 || text[0] != '0') return std::nullopt;
  const char letter = static_cast<char>(text[1] | 0x20);
  const int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
  if (base == 0) return std::nullopt;
  const auto digits = digits_of(text.substr(text[2] == '_' ? 3 : 2), base);
  uint64_t value = 0;
  if (!digits || digits->empty()) return std::nullopt;
  const char* end = digits->data() + digits->size();
  const auto parsed = std::from_chars(digits->data(), end, value, base);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return std::to_string(value);
}

/// A decimal number of Python without its sign: 1_000, 1., .5, 1e5.
std::optional<std::string> decimal_number(std::string_view text) {
  const size_t exponent = std::min(text.find_first_of("eE"), text.size());
  const size_t point = std::min(text.substr(0, exponent).find('.'), exponent);
  const bool fraction = point < exponent;
  const auto whole = digits_of(text.substr(0, point), 10);
  const auto part =
      digits_of(fraction ? text.substr(point + 1, exponent - point - 1) : std::string_view(), 10);
  if (!whole || !part || (whole->empty() && part->empty())) return std::nullopt;
  std::string out = *whole;
  const bool zeros = out.find_first_not_of('0') == std::string::npos;
  if (zeros) out = "0";
  if (!zeros && out[0] == '0') {  // 007 is no number, 007. is one
    if (!fraction && exponent == text.size()) return std::nullopt;
    out.erase(0, out.find_first_not_of('0'));
  }
  if (fraction) out += "." + (part->empty() ? std::string("0") : *part);
  if (exponent == text.size()) return out;
  std::string_view power = text.substr(exponent + 1);
  const bool sign = power.starts_with('-') || power.starts_with('+');
  const auto digits = digits_of(power.substr(sign ? 1 : 0), 10);
  if (!digits || digits->empty()) return std::nullopt;
  return out + "e" + (sign ? std::string(1, power[0]) : "") + *digits;
}

/// The JSON of a word: a number or a constant.
std::optional<std::string> word_json(std::string_view word) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kConstants = {
      {{"True", "true"},
       {"False", "false"},
       {"None", "null"},
       {"true", "true"},
       {"false", "false"},
       {"null", "null"}}};
  for (const auto& [python, json] : kConstants)
    if (word == python) return std::string(json);
  const bool minus = word.starts_with('-');
  if (minus || word.starts_with('+')) word.remove_prefix(1);
  auto number = based_number(word);
  if (!number) number = decimal_number(word);
  if (!number) return std::nullopt;
  std::string json = (minus ? "-" : "") + *number;
  if (!Json::accept(json)) return std::nullopt;  // larger than a number can be
  return json;
}

class Literal {
 public:
  Literal(const CallForm& form, std::string_view text, LiteralQuotes quotes)
      : form_(form), text_(text), exact_(quotes == LiteralQuotes::kExact) {}

  std::optional<std::string> json() {
    std::string out;
    if (!value(out, 0, 0) || !rest().empty()) return std::nullopt;
    return out;
  }

 private:
  std::string_view rest() {
    while (at_ < text_.size() && kSpaces.find(text_[at_]) != std::string_view::npos) ++at_;
    return text_.substr(at_);
  }
  bool take(char c) {
    if (!rest().starts_with(c)) return false;
    ++at_;
    return true;
  }

  /// `bracket`: the one that it stands in.
  bool value(std::string& out, int depth, char bracket) {
    const std::string_view here = rest();
    if (here.empty() || depth > kMaxDepth) return false;
    if (begins_text(here)) return texts(out, bracket);
    if (here[0] == '[') return list(out, depth);
    if (here[0] == '(') return tuple(out, depth);
    if (here[0] == '{') return object(out, depth);
    return word(out);
  }

  bool begins_text(std::string_view here) const {
    return (!form_.quote.empty() && here.starts_with(form_.quote)) || text_prefix(here);
  }

  std::string_view take_word() {
    const std::string_view here = rest();
    const std::string_view word = here.substr(0, here.find_first_of(",:]}) \t\r\n"));
    at_ += word.size();
    return word;
  }

  bool word(std::string& out) {
    const auto json = word_json(take_word());
    if (json) out += *json;
    return json.has_value();
  }

  /// Texts that stand side by side are one.
  bool texts(std::string& out, char bracket) {
    std::string all;
    do {
      const bool marked = !form_.quote.empty() && rest().starts_with(form_.quote);
      if (!(marked ? marked_text(all) : quoted_text(all, bracket))) return false;
    } while (exact_ && begins_text(rest()));
    out += to_text(repair_utf8(all));
    return true;
  }

  bool marked_text(std::string& out) {
    at_ += form_.quote.size();
    const size_t end = text_.find(form_.quote, at_);
    if (end == std::string_view::npos) return false;
    out += form_.plain(text_.substr(at_, end - at_));
    at_ = end + form_.quote.size();
    return true;
  }

  bool quoted_text(std::string& out, char bracket) {
    const auto prefix = text_prefix(rest());
    if (!prefix) return false;
    const bool raw = prefix->find_first_of("rR") != std::string_view::npos;
    at_ += prefix->size();
    const std::string_view one = text_.substr(at_, 1), three = text_.substr(at_, 3);
    const bool triple = exact_ && three == std::string(3, one[0]);
    const std::string_view mark = triple ? three : one;
    const size_t begin = at_ += mark.size();
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\')
        ++at_;
      else if (text_.substr(at_).starts_with(mark) && (exact_ || ends_text(bracket)))
        break;
    }
    if (at_ >= text_.size()) return false;
    const std::string inner = form_.plain(text_.substr(begin, at_ - begin));
    out += raw ? inner : unescaped(inner, one[0] == '"');
    at_ += mark.size();
    return true;
  }

  /// Whether a text may end at this quote.
  bool ends_text(char bracket) const {
    const size_t next = text_.find_first_not_of(kSpaces, at_ + 1);
    if (next == std::string_view::npos) return true;
    return closers_in(bracket).find(text_[next]) != std::string_view::npos;
  }

  /// What Python and JSON have in common, and Python's own; an unknown escape stays. `json`: it may
  /// be a text of JSON, which has \/ besides.
  static std::string unescaped(const std::string& text, bool json) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\' || i + 1 == text.size()) {
        out += text[i];
        continue;
      }
      const char c = text[++i];
      constexpr std::string_view kNames = "\\'\"nrtbfav", kValues = "\\'\"\n\r\t\b\f\a\v";
      if (const size_t known = kNames.find(c); known != std::string_view::npos)
        out += kValues[known];
      else if (c == '\n' || (c == '/' && json))
        out += c == '/' ? "/" : "";
      else if (c >= '0' && c <= '7')
        i += add_octal(text, i, out) - 1;
      else if (const size_t digits = c == 'u'   ? 4
                                     : c == 'U' ? 8
                                     : c == 'x' ? 2
                                                : 0;
               !add_code(text, i + 1, digits, out))
        out += {'\\', c};
      else
        i += digits + (surrogate_pair(text, i, digits) ? 6 : 0);
    }
    return out;
  }

  /// How many digits it has, 1 to 3.
  static size_t add_octal(const std::string& text, size_t at, std::string& out) {
    int32_t value = 0;
    size_t n = 0;
    for (; n < 3 && at + n < text.size() && text[at + n] >= '0' && text[at + n] <= '7'; ++n)
      value = value * 8 + (text[at + n] - '0');
    append_code(out, value);
    return n;
  }

  static std::optional<uint32_t> code(const std::string& text, size_t at, size_t digits) {
    uint32_t value = 0;
    if (digits == 0 || at + digits > text.size()) return std::nullopt;
    const char* end = text.data() + at + digits;
    const auto parsed = std::from_chars(text.data() + at, end, value, 16);
    if (parsed.ec != std::errc() || parsed.ptr != end || value > 0x10FFFF) return std::nullopt;
    return value;
  }
  /// Whether two escapes of four digits from `at` ("uD83D\\uDE00") on are one character.
  static bool surrogate_pair(const std::string& text, size_t at, size_t digits) {
    if (digits != 4) return false;
    const auto high = code(text, at + 1, 4);
    if (!high || *high < 0xD800 || *high > 0xDBFF || text.compare(at + 5, 2, "\\u") != 0)
      return false;
    const auto low = code(text, at + 7, 4);
    return low && *low >= 0xDC00 && *low <= 0xDFFF;
  }
  static bool add_code(const std::string& text, size_t at, size_t digits, std::string& out) {
    auto found = code(text, at, digits);
    if (!found) return false;
    if (surrogate_pair(text, at - 1, digits))
      found = 0x10000 + ((*found - 0xD800) << 10) + (*code(text, at + 6, 4) - 0xDC00);
    append_code(out, static_cast<int32_t>(*found));
    return true;
  }

  bool list(std::string& out, int depth) {
    out += '[';
    ++at_;
    bool comma = false;
    if (!values(out, ']', depth, comma)) return false;
    out += ']';
    return true;
  }

  /// A value in brackets is that value, unless a comma stands behind it.
  bool tuple(std::string& out, int depth) {
    ++at_;
    std::string inner;
    bool comma = false;
    if (!values(inner, ')', depth, comma)) return false;
    out += inner.empty() || comma ? "[" + inner + "]" : inner;
    return true;
  }

  bool values(std::string& out, char close, int depth, bool& comma) {
    for (bool first = true;; first = false) {
      if (take(close)) return true;
      if (!first) {
        if (!take(',')) return false;
        comma = true;
        if (take(close)) return true;
        out += ", ";
      }
      if (!value(out, depth + 1, close == ']' ? '[' : '(')) return false;
    }
  }

  bool object(std::string& out, int depth) {
    ++at_;
    out += '{';
    for (bool first = true;; first = false) {
      if (take('}')) break;
      if (!first) {
        if (!take(',')) return false;
        if (take('}')) break;
        out += ", ";
      }
      if (!key(out) || !take(':')) return false;
      out += ": ";
      if (!value(out, depth + 1, '{')) return false;
    }
    out += '}';
    return true;
  }

  /// Other values than texts become what JSON has for them; the marks of a form allow bare words.
  bool key(std::string& out) {
    if (begins_text(rest())) return texts(out, '{');
    const std::string_view word = take_word();
    const auto json = word_json(word);
    if (!json && exact_ && form_.quote.empty()) return false;
    out += to_text(json ? *json : form_.plain(word));
    return !word.empty();
  }

  const CallForm& form_;
  std::string_view text_;
  bool exact_;
  size_t at_ = 0;
};

}  // namespace

std::optional<std::string> literal_json(std::string_view text, const CallForm& form,
                                        LiteralQuotes quotes) {
  return Literal(form, text, quotes).json();
}

std::optional<std::string> literal_json(std::string_view text) {
  static const CallForm none;
  return literal_json(text, none, LiteralQuotes::kExact);
}

std::optional<std::string_view> text_prefix(std::string_view text) {
  const size_t letters = !text.empty() && may_be_prefix(text.substr(0, 1)) ? 1 : 0;
  if (text.size() <= letters || !is_quote(text[letters])) return std::nullopt;
  return text.substr(0, letters);
}

bool may_be_prefix(std::string_view text) {
  return text.size() == 1 && std::string_view("rRuU").find(text[0]) != std::string_view::npos;
}

std::string_view closers_in(char bracket) {
  switch (bracket) {
    case '[':
      return ",]";
    case '(':
      return ",)";
    case '{':
      return ",:}";
    default:
      return "";
  }
}

}  // namespace um
