// Calls as they stand in a program (kLiteral): NAME(key=VALUE, …), NAME{key:VALUE,…}. Values are
// literals of Python or JSON, or texts between the form's own marks; they come out as JSON, each
// when it is whole.
#include <charconv>
#include <optional>

#include "core/json.h"
#include "server/call_reader.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace um {
namespace {

constexpr size_t kMaxWord = 256;
constexpr int kMaxDepth = 64;
constexpr std::string_view kSpaces = " \t\r\n";

bool is_space(char c) {
  return kSpaces.find(c) != std::string_view::npos;
}

/// Letters, digits and what names have besides.
bool is_name(char c) {
  const auto byte = static_cast<uint8_t>(c);
  return (byte >= 0x80 && c != kMarkByte) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || std::string_view("_-./").find(c) != std::string_view::npos;
}

/// Where a text in quotes ends. Models leave out the backslash in 'it's', so only a quote that may
/// stand at the end of a value ends it.
std::optional<bool> closes_text(std::string_view text, size_t quote) {
  const size_t next = text.find_first_not_of(kSpaces, quote + 1);
  if (next == std::string_view::npos) return std::nullopt;  // more must show it
  return std::string_view(",:)]}").find(text[next]) != std::string_view::npos;
}

/// A whole literal as JSON.
class Literal {
 public:
  Literal(const CallForm& form, std::string_view text) : form_(form), text_(text) {}

  /// Nothing if it is none.
  std::optional<std::string> json() {
    std::string out;
    if (!value(out, 0) || !rest().empty()) return std::nullopt;
    return out;
  }

 private:
  std::string_view rest() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
    return text_.substr(at_);
  }
  bool take(char c) {
    if (!rest().starts_with(c)) return false;
    ++at_;
    return true;
  }

  bool value(std::string& out, int depth) {
    const std::string_view here = rest();
    if (here.empty() || depth > kMaxDepth) return false;
    if (!form_.quote.empty() && here.starts_with(form_.quote)) return marked_text(out);
    if (here[0] == '"' || here[0] == '\'') return quoted_text(out);
    if (here[0] == '[' || here[0] == '(') return list(out, here[0] == '[' ? ']' : ')', depth);
    if (here[0] == '{') return object(out, depth);
    return word(out);
  }

  bool word(std::string& out) {
    const std::string_view here = rest();
    const std::string_view word = here.substr(0, here.find_first_of(",:]}) \t\r\n"));
    at_ += word.size();
    const std::string_view json = word == "True"    ? "true"
                                  : word == "False" ? "false"
                                  : word == "None"  ? "null"
                                                    : word;
    out += json;
    return Json::accept(json);  // no text: those begin with a quote
  }

  bool marked_text(std::string& out) {
    at_ += form_.quote.size();
    const size_t end = text_.find(form_.quote, at_);
    if (end == std::string_view::npos) return false;
    out += to_text(form_.plain(text_.substr(at_, end - at_)));
    at_ = end + form_.quote.size();
    return true;
  }

  bool quoted_text(std::string& out) {
    const char quote = text_[at_];
    const size_t begin = ++at_;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\')
        ++at_;
      else if (text_[at_] == quote && closes_text(text_, at_).value_or(true))
        break;
    }
    if (at_ >= text_.size()) return false;
    out += to_text(unescaped(form_.plain(text_.substr(begin, at_ - begin))));
    ++at_;
    return true;
  }

  /// What Python and JSON have in common, and Python's own; an unknown escape stays.
  static std::string unescaped(const std::string& text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\' || i + 1 == text.size()) {
        out += text[i];
        continue;
      }
      const char c = text[++i];
      constexpr std::string_view kNames = "\\'\"/nrtbfav0", kValues("\\'\"/\n\r\t\b\f\a\v\0", 12);
      if (const size_t known = kNames.find(c); known != std::string_view::npos)
        out += kValues[known];
      else if (const size_t digits = c == 'u'   ? 4
                                     : c == 'U' ? 8
                                     : c == 'x' ? 2
                                                : 0;
               !add_code(text, i + 1, digits, out))
        out += {'\\', c};
      else
        i += digits + (surrogate_pair(text, i, digits) ? 6 : 0);
    }
    return repair_utf8(out);
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

  bool list(std::string& out, char close, int depth) {
    ++at_;
    out += '[';
    for (bool first = true;; first = false) {
      if (take(close)) break;
      if (!first) {
        if (!take(',')) return false;
        if (take(close)) break;
        out += ", ";
      }
      if (!value(out, depth + 1)) return false;
    }
    out += ']';
    return true;
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
      if (!value(out, depth + 1)) return false;
    }
    out += '}';
    return true;
  }

  bool key(std::string& out) {
    const std::string_view here = rest();
    if (here.empty()) return false;
    if (here[0] == '"' || here[0] == '\'') return quoted_text(out);
    if (!form_.quote.empty() && here.starts_with(form_.quote)) return marked_text(out);
    const std::string_view word = here.substr(0, here.find_first_of(",:]}) \t\r\n"));
    at_ += word.size();
    out += to_text(form_.plain(word));
    return !word.empty();
  }

  const CallForm& form_;
  std::string_view text_;
  size_t at_ = 0;
};

class LiteralReader : public CallReader {
 public:
  LiteralReader(const CallForm& form, const std::vector<Tool>& tools) : CallReader(form, tools) {}
  bool outside() const override { return place_ == Place::kBegin || place_ == Place::kTail; }

 private:
  enum class Place { kStart, kBegin, kName, kMiddle, kKey, kValue, kNext, kTail };

  Step step(std::vector<ToolCallDelta>& out) override {
    if (place_ == Place::kValue) return value(out);
    if (!skip_space()) return Step::kMore;
    switch (place_) {
      case Place::kStart:
        list_ = form_.list && next() == '[';
        if (list_) ++at_;
        return go(Place::kBegin);
      case Place::kBegin:
        return begin();
      case Place::kName:
        return name();
      case Place::kMiddle:
        return pass(form_.middle, Place::kKey);
      case Place::kKey:
        return key(out);
      case Place::kNext:
        return behind_value(out);
      default:
        return take_close();
    }
  }

  Step go(Place place) {
    place_ = place;
    return Step::kAgain;
  }
  Step pass(std::string_view mark, Place behind) {
    switch (take(mark)) {
      case Match::kYes:
        return go(behind);
      case Match::kPartly:
        return Step::kMore;
      case Match::kNo:
        break;
    }
    return Step::kFault;
  }

  /// A call, or the end of the calls.
  Step begin() {
    if (list_ && next() == ']' && calls() > 0) {
      ++at_;
      return go(Place::kTail);
    }
    if (calls() == 0)
      return form_.begin.empty() ? go(Place::kName) : pass(form_.begin, Place::kName);
    if (form_.list && (next() == ',' || next() == ';')) {
      ++at_;
      return Step::kAgain;
    }
    if (list_) return go(Place::kName);
    return take_close();
  }

  Step name() {
    size_t end = at_;
    while (end < text_.size() && is_name(text_[end])) ++end;
    if (end - at_ > kMaxWord || (end == at_ && end < text_.size())) return Step::kFault;
    if (end == text_.size()) return Step::kMore;
    name_ = text_.substr(at_, end - at_);
    at_ = end;
    return go(Place::kMiddle);
  }

  /// A key with its mark, or the end of the call.
  Step key(std::vector<ToolCallDelta>& out) {
    const Match ends = take(form_.end);
    if (ends == Match::kYes) return finish(out);
    if (ends == Match::kPartly) return Step::kMore;
    const size_t stop = text_.find_first_of(std::string_view(form_.key_close + "\n([{,"), at_);
    if (stop == std::string::npos)
      return text_.size() - at_ > kMaxWord ? Step::kFault : Step::kMore;
    std::string_view written = trimmed(std::string_view(text_).substr(at_, stop - at_));
    if (text_[stop] != form_.key_close[0] || written.empty()) return Step::kFault;
    const bool quoted = written.size() > 1 && written[0] == '"' && written.back() == '"';
    if (quoted) written = written.substr(1, written.size() - 2);
    const std::string key = form_.plain(written);
    at_ = stop + 1;
    if (!unfinished()) {
      begin_call(name_, out);
      first_ = true;
    }
    add((first_ ? "{" : ", ") + to_text(key) + ": ", out);
    first_ = false;
    looked_ = at_;
    depth_ = 0;
    quote_.clear();
    return go(Place::kValue);
  }

  Step finish(std::vector<ToolCallDelta>& out) {
    const bool none = !unfinished();
    if (none) begin_call(name_, out);
    end_call(none ? "{}" : "}", out);
    return go(Place::kBegin);
  }

  /// Goes on to the end of the value, which what stands behind it shows.
  Step value(std::vector<ToolCallDelta>& out) {
    for (;; ++looked_) {
      if (looked_ >= text_.size()) return Step::kMore;
      const std::optional<bool> inside = in_text();
      if (!inside) return Step::kMore;
      if (*inside) continue;
      const char c = text_[looked_];
      if (depth_ == 0 && (c == form_.end[0] || c == ',')) break;
      if (c == '[' || c == '(' || c == '{') ++depth_;
      if ((c == ']' || c == ')' || c == '}') && --depth_ < 0) return Step::kFault;
    }
    const auto json = Literal(form_, std::string_view(text_).substr(at_, looked_ - at_)).json();
    if (!json) return Step::kFault;
    at_ = looked_;
    add(*json, out);
    return go(Place::kNext);
  }

  /// Whether what stands at `looked_` is of a text; nothing where more must show it. Passes marks
  /// and escapes.
  std::optional<bool> in_text() {
    const std::string_view here = std::string_view(text_).substr(looked_);
    if (quote_.empty()) {
      if (!form_.quote.empty() && here.starts_with(form_.quote))
        quote_ = form_.quote;
      else if (!form_.quote.empty() && std::string_view(form_.quote).starts_with(here))
        return std::nullopt;
      else if (here[0] == '"' || here[0] == '\'')
        quote_ = here[0];
      if (!quote_.empty()) looked_ += quote_.size() - 1;
      return !quote_.empty();
    }
    if (quote_.size() == 1 && here[0] == '\\') {
      if (here.size() == 1) return std::nullopt;
      ++looked_;
    } else if (here.starts_with(quote_)) {
      const std::optional<bool> closes = quote_.size() == 1 ? closes_text(text_, looked_) : true;
      if (!closes) return std::nullopt;
      looked_ += quote_.size() - 1;
      if (*closes) quote_.clear();
    } else if (std::string_view(quote_).starts_with(here)) {
      return std::nullopt;
    }
    return true;
  }

  /// A comma, or the end of the call.
  Step behind_value(std::vector<ToolCallDelta>& out) {
    const Match ends = take(form_.end);
    if (ends == Match::kYes) return finish(out);
    if (ends == Match::kPartly) return Step::kMore;
    if (next() != ',') return Step::kFault;
    ++at_;
    return go(Place::kKey);
  }

  Place place_ = Place::kStart;
  bool list_ = false;  // the calls stand in [ ]
  bool first_ = true;  // no argument has come
  std::string name_;
  size_t looked_ = 0;  // where the end of the value is looked for
  int depth_ = 0;      // of brackets there
  std::string quote_;  // the mark that ends the text there; empty outside texts
};

}  // namespace

std::unique_ptr<CallReader> make_literal_reader(const CallForm& form,
                                                const std::vector<Tool>& tools) {
  return std::make_unique<LiteralReader>(form, tools);
}

}  // namespace um
