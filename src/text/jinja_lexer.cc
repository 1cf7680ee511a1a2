// See jinja_lexer.h.
#include "text/jinja_lexer.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "core/error.h"
#include "text/jinja_strings.h"

namespace um {
namespace {

constexpr std::string_view kSpaces = " \t\r\n\f\v";
constexpr size_t kMaxBytes = size_t{1} << 20;
constexpr size_t kMaxName = 256;

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out.append({static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))});
  } else if (code < 0x10000) {
    out.append({static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 63)),
                static_cast<char>(0x80 | (code & 63))});
  } else {
    out.append({static_cast<char>(0xF0 | code >> 18), static_cast<char>(0x80 | (code >> 12 & 63)),
                static_cast<char>(0x80 | (code >> 6 & 63)), static_cast<char>(0x80 | (code & 63))});
  }
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& name) : source_(source), name_(name) {}

  std::vector<JinjaToken> run() {
    while (at_ < source_.size()) text();
    add(JinjaToken::kEnd, "");
    return std::move(tokens_);
  }

 private:
  template <class... Args>
  [[noreturn]] void wrong(fmt::format_string<Args...> format, Args&&... args) {
    fail("{}: line {}: {}", name_, line_, fmt::format(format, std::forward<Args>(args)...));
  }
  bool starts(std::string_view what) const { return source_.substr(at_).starts_with(what); }
  void add(JinjaToken::Kind kind, std::string text) {
    tokens_.push_back({kind, std::move(text), line_});
  }
  void skip(size_t count) {
    for (size_t i = 0; i < count; ++i) line_ += source_[at_ + i] == '\n';
    at_ += count;
  }

  /// Where the next tag opens, or the end.
  size_t next_tag(size_t from) const {
    for (size_t i = from; i + 1 < source_.size(); ++i) {
      if (source_[i] == '{' &&
          std::string_view("{%#").find(source_[i + 1]) != std::string_view::npos)
        return i;
    }
    return source_.size();
  }

  /// The text up to the tag at `tag` (`{`, `kind`, `mark`), without what that tag and the one
  /// before take away.
  std::string_view cut_text(size_t tag, char kind, char mark) const {
    std::string_view part = source_.substr(at_, tag - at_);
    if (strip_after_) {
      part.remove_prefix(std::min(part.find_first_not_of(kSpaces), part.size()));
    } else if (trim_newline_ && part.starts_with('\n')) {
      part.remove_prefix(1);
    }
    if (tag == source_.size()) return part;
    if (mark == '-') return part.substr(0, part.find_last_not_of(kSpaces) + 1);
    return kind != '{' && mark != '+' ? strip_line(part, tag) : part;
  }

  /// Text up to the next tag, then the tag.
  void text() {
    const size_t tag = next_tag(at_);
    const char mark = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
    const char kind = tag + 1 < source_.size() ? source_[tag + 1] : ' ';
    const std::string_view part = cut_text(tag, kind, mark);
    if (!part.empty()) add(JinjaToken::kText, std::string(part));
    skip(tag - at_);
    strip_after_ = trim_newline_ = false;
    if (at_ == source_.size()) return;
    const size_t open = mark == '-' || (mark == '+' && kind != '{') ? 3 : 2;
    if (kind == '#') return comment(open);
    if (const size_t begin = kind == '%' ? raw_begin(open) : 0; begin != 0) return raw(begin);
    add(kind == '{' ? JinjaToken::kOutputBegin : JinjaToken::kBlockBegin, "");
    skip(open);
    inside(kind == '{' ? "}}" : "%}", kind == '{' ? JinjaToken::kOutputEnd : JinjaToken::kBlockEnd);
  }

  /// lstrip_blocks: blanks between the start of the line and a block tag go.
  std::string_view strip_line(std::string_view part, size_t tag) const {
    const size_t blank = part.find_last_not_of(" \t");
    if (blank == std::string_view::npos) {
      const size_t begin = tag - part.size();
      return begin == 0 || source_[begin - 1] == '\n' ? std::string_view() : part;
    }
    return part[blank] == '\n' ? part.substr(0, blank + 1) : part;
  }

  void comment(size_t open) {
    const size_t end = source_.find("#}", at_ + open);
    if (end == std::string_view::npos) wrong("a comment is not closed");
    strip_after_ = source_[end - 1] == '-' && end - 1 >= at_ + open;
    trim_newline_ = source_[end - 1] != '+';
    skip(end + 2 - at_);
  }

  /// Behind `{% WORD %}` that starts at `at`, or 0; `minus`: it ends in -%}.
  size_t behind_tag(size_t at, std::string_view word, bool& minus, bool& plus) const {
    at = std::min(source_.find_first_not_of(kSpaces, at), source_.size());
    if (!source_.substr(at).starts_with(word)) return 0;
    at = std::min(source_.find_first_not_of(kSpaces, at + word.size()), source_.size());
    const char sign = at < source_.size() ? source_[at] : ' ';
    minus = sign == '-', plus = sign == '+';
    if (minus || plus) ++at;
    return source_.substr(at).starts_with("%}") ? at + 2 : 0;
  }
  size_t raw_begin(size_t open) {
    bool plus = false;
    const size_t begin = behind_tag(at_ + open, "raw", strip_after_, plus);
    return plus ? 0 : begin;
  }

  /// The text of a raw block, whose tag was read, and its end.
  void raw(size_t begin) {
    skip(begin - at_);
    for (size_t tag = at_; (tag = source_.find("{%", tag)) != std::string_view::npos; tag += 2) {
      const char mark = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
      bool minus = false, plus = false;
      const size_t open = mark == '-' || mark == '+' ? 3 : 2;
      const size_t end = behind_tag(tag + open, "endraw", minus, plus);
      if (end == 0) continue;
      const std::string_view part = cut_text(tag, '%', mark);
      if (!part.empty()) add(JinjaToken::kText, std::string(part));
      skip(end - at_);
      strip_after_ = minus;
      trim_newline_ = !minus && !plus;
      return;
    }
    wrong("a raw block is not closed: expected endraw");
  }

  /// The tokens of a tag up to `close`.
  void inside(std::string_view close, JinjaToken::Kind end_kind) {
    std::string brackets;
    for (;;) {
      const size_t next = source_.find_first_not_of(kSpaces, at_);
      if (next == std::string_view::npos) wrong("a tag is not closed");
      skip(next - at_);
      const char sign = source_[at_];
      const bool signs = sign == '-' || (sign == '+' && end_kind == JinjaToken::kBlockEnd);
      const bool marked = signs && source_.substr(at_ + 1).starts_with(close);
      if (brackets.empty() && (starts(close) || marked)) {
        strip_after_ = marked && sign == '-';
        trim_newline_ = end_kind == JinjaToken::kBlockEnd && !(marked && sign == '+');
        add(end_kind, "");
        return skip(close.size() + (marked ? 1 : 0));
      }
      token(brackets);
    }
  }

  void token(std::string& brackets) {
    const char c = source_[at_];
    if (name_char(at_) > 0) return word();
    if (is_digit(c)) return number();
    if (c == '\'' || c == '"') return string(c);
    static constexpr std::array<std::string_view, 6> kDouble = {"==", "!=", "<=", ">=", "//", "**"};
    for (const std::string_view op : kDouble) {
      if (starts(op)) {
        add(JinjaToken::kOperator, std::string(op));
        return skip(2);
      }
    }
    if (std::string_view("+-*/%~<>=()[]{}.,:|").find(c) == std::string_view::npos) {
      wrong("character \"{}\" is not expected here", c);
    }
    if (c == '(' || c == '[' || c == '{') brackets += c;
    if ((c == ')' || c == ']' || c == '}') && !brackets.empty()) brackets.pop_back();
    add(JinjaToken::kOperator, std::string(1, c));
    skip(1);
  }

  /// Bytes of a character of a name at `at`, which may be a letter of any script; 0: it is none.
  size_t name_char(size_t at) const {
    if (at >= source_.size()) return 0;
    if (is_letter(source_[at])) return 1;
    if (static_cast<uint8_t>(source_[at]) < 0x80) return 0;
    const size_t begin = at;
    const int32_t code = jinja_next_char(source_, at);
    const auto category = utf8proc_category(code);
    const bool letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
    return letter ? at - begin : 0;
  }

  void word() {
    size_t end = at_;
    while (end < source_.size()) {
      const size_t width = is_digit(source_[end]) ? 1 : name_char(end);
      if (width == 0) break;
      end += width;
    }
    if (end - at_ > kMaxName) wrong("a name longer than {} bytes", kMaxName);
    add(JinjaToken::kName, std::string(source_.substr(at_, end - at_)));
    skip(end - at_);
  }

  /// Digits with single _ between, from `at`; where they end.
  size_t digits_end(size_t at, std::string_view kinds = "0123456789") const {
    const auto digit = [&](size_t i) {
      return i < source_.size() && kinds.find(source_[i]) != std::string_view::npos;
    };
    while (digit(at) || (at < source_.size() && source_[at] == '_' && digit(at + 1))) ++at;
    return at;
  }

  void number() {
    const char base = at_ + 1 < source_.size() ? static_cast<char>(source_[at_ + 1] | 0x20) : ' ';
    const std::string_view kinds = base == 'x'   ? "0123456789abcdefABCDEF"
                                   : base == 'o' ? "01234567"
                                   : base == 'b' ? "01"
                                                 : "";
    if (const size_t end = digits_end(at_ + 2, kinds); source_[at_] == '0' && end > at_ + 2)
      return add_number(JinjaToken::kInteger, end);
    size_t end = digits_end(at_);
    bool real = false;
    if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
      real = true;
      end = digits_end(end + 1);
    }
    if (end < source_.size() && (source_[end] | 0x20) == 'e') {
      size_t digits = end + 1;
      if (digits < source_.size() && (source_[digits] == '+' || source_[digits] == '-')) ++digits;
      if (digits < source_.size() && is_digit(source_[digits])) {
        real = true;
        end = digits_end(digits);
      }
    }
    add_number(real ? JinjaToken::kReal : JinjaToken::kInteger, end);
  }

  void add_number(JinjaToken::Kind kind, size_t end) {
    std::string digits(source_.substr(at_, end - at_));
    std::erase(digits, '_');
    add(kind, std::move(digits));
    skip(end - at_);
  }

  void string(char quote) {
    std::string out;
    size_t at = at_ + 1;
    for (; at < source_.size() && source_[at] != quote; ++at) {
      if (source_[at] != '\\' || at + 1 == source_.size()) {
        out += source_[at];
      } else {
        at = escape(at + 1, out);
      }
    }
    if (at >= source_.size()) wrong("a string is not closed");
    add(JinjaToken::kString, std::move(out));
    skip(at + 1 - at_);
  }

  /// Reads the escape whose letter is at `at`; returns the place of its last character.
  size_t escape(size_t at, std::string& out) {
    constexpr std::string_view kLetters = "ntrbfav\\'\"", kMeanings = "\n\t\r\b\f\a\v\\'\"";
    const char c = source_[at];
    if (c >= '0' && c <= '7') return octal(at, out);
    if (const size_t known = kLetters.find(c); known != std::string_view::npos) {
      out += kMeanings[known];
      return at;
    }
    if (c == '\n') return at;  // a line goes on
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) {
      out.append({'\\', c});
      return at;
    }
    const std::string_view hex = source_.substr(at + 1, digits);
    uint32_t code = 0;
    const auto parsed = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
    if (hex.size() != digits || parsed.ptr != hex.data() + digits || code > 0x10FFFF ||
        (code >= 0xD800 && code < 0xE000)) {
      wrong("a string has a bad \\{} escape", c);
    }
    append_utf8(out, code);
    return at + digits;
  }

  /// One to three octal digits.
  size_t octal(size_t at, std::string& out) {
    uint32_t code = 0;
    size_t end = at;
    while (end < at + 3 && end < source_.size() && source_[end] >= '0' && source_[end] <= '7')
      code = code * 8 + static_cast<uint32_t>(source_[end++] - '0');
    append_utf8(out, code);
    return end - 1;
  }

  std::string_view source_;
  const std::string& name_;
  std::vector<JinjaToken> tokens_;
  size_t at_ = 0;
  int line_ = 1;
  bool strip_after_ = false;   // the last tag took the white space behind it
  bool trim_newline_ = false;  // the last tag was a block: one newline behind it goes
};

}  // namespace

std::vector<JinjaToken> lex_jinja(std::string_view source, const std::string& name) {
  UM_CHECK(source.size() <= kMaxBytes, "{}: a template of {} bytes, the limit is {}", name,
           source.size(), kMaxBytes);
  std::string lines;  // all ends of lines as \n, the last one gone
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') lines += source[i];
    if (source[i] == '\r' && !source.substr(i + 1).starts_with('\n')) lines += '\n';
  }
  if (lines.ends_with('\n')) lines.pop_back();
  return Lexer(lines, name).run();
}

}  // namespace um
