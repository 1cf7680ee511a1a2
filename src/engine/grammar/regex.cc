// See regex.h.
#include "engine/grammar/regex.h"

#include <fmt/format.h>

#include <optional>
#include <string>

#include "core/error.h"
#include "core/json.h"
#include "text/utf8.h"

namespace um {
namespace {

constexpr size_t kMaxPattern = 16'384;
constexpr int kMaxNesting = 100;
constexpr size_t kMaxNodes = 50'000;

class Parser {
 public:
  Parser(std::string_view pattern, std::string_view where) : where_(where) {
    if (pattern.size() > kMaxPattern || !is_utf8(pattern))
      throw UsageError(
          fmt::format("{}: expected a pattern of at most {} bytes in UTF-8", where_, kMaxPattern));
    text_ = decode_utf8(pattern);
  }

  Regex parse() {
    do {
      Regex::Alternative alternative;
      alternative.begins = take('^');
      alternative.node = sequence(0);
      alternative.ends = take('$');
      regex_.alternatives.push_back(alternative);
    } while (take('|'));
    if (!done()) refuse(peek() == ')' ? "a ) without its (" : "an anchor in this place");
    return std::move(regex_);
  }

 private:
  bool done() const { return at_ >= text_.size(); }
  uint32_t peek() const { return done() ? 0 : text_[at_]; }
  bool at(uint32_t code) const { return !done() && text_[at_] == code; }
  bool take(uint32_t code) {
    if (!at(code)) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view text) {
    for (size_t i = 0; i < text.size(); ++i)
      if (at_ + i >= text_.size() || text_[at_ + i] != static_cast<uint32_t>(text[i])) return false;
    at_ += text.size();
    return true;
  }
  [[noreturn]] void refuse(std::string_view what) const {
    throw UsageError(fmt::format("{}: the pattern has {} at character {}; this is not supported",
                                 where_, what, at_ + 1));
  }

  int add(Regex::Node node) {
    if (regex_.nodes.size() >= kMaxNodes) refuse("too many parts");
    regex_.nodes.push_back(std::move(node));
    return static_cast<int>(regex_.nodes.size() - 1);
  }
  int add_characters(CodeSet set) {
    return add({.kind = Regex::Node::kCharacters, .set = std::move(set)});
  }

  int alternatives(int nesting) {
    if (nesting > kMaxNesting) refuse("groups nested too deep");
    Regex::Node node{.kind = Regex::Node::kAlternatives};
    do {
      node.children.push_back(sequence(nesting));
    } while (take('|'));
    return node.children.size() == 1 ? node.children[0] : add(std::move(node));
  }

  int sequence(int nesting) {
    Regex::Node node{.kind = Regex::Node::kSequence};
    while (!done() && !at('|') && !at(')') && !at('$') && !at('^'))
      node.children.push_back(repeated(atom(nesting)));
    return add(std::move(node));
  }

  int repeated(int node) {
    for (int times = 0; !done(); ++times) {
      int min = 0, max = Regex::kOpen;
      if (take('*')) {
      } else if (take('+')) {
        min = 1;
      } else if (take('?')) {
        max = 1;
      } else if (!at('{') || !counts(min, max)) {
        return node;
      }
      if (times > 0) refuse("a repeat of a repeat");
      take('?');  // lazy: the same texts
      if (at('+')) refuse("a possessive repeat");
      node = add({.kind = Regex::Node::kRepeat, .children = {node}, .min = min, .max = max});
    }
    return node;
  }

  /// {m}, {m,} or {m,n}; anything else is literal text.
  bool counts(int& min, int& max) {
    const size_t begin = at_;
    ++at_;
    const auto low = number();
    const bool open = take(',');
    const auto high = number();
    if (!low || !take('}')) {
      at_ = begin;
      return false;
    }
    min = *low;
    max = high ? *high : open ? Regex::kOpen : min;
    if (max != Regex::kOpen && max < min) refuse("a repeat {m,n} with m above n before it");
    return true;
  }
  std::optional<int> number() {
    std::optional<int> value;
    while (!done() && peek() >= '0' && peek() <= '9') {
      value = value.value_or(0) * 10 + static_cast<int>(peek() - '0');
      if (*value > Regex::kMaxRepeat) refuse(fmt::format("a count above {}", Regex::kMaxRepeat));
      ++at_;
    }
    return value;
  }

  int atom(int nesting) {
    if (take('(')) return group(nesting);
    if (take('[')) return add_characters(bracket());
    if (take('.'))
      return add_characters(CodeSet::all() -
                            CodeSet({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}));
    if (at('*') || at('+') || at('?')) refuse("a repeat of nothing");
    if (take('\\')) return add_characters(escape(false));
    const uint32_t code = text_[at_++];
    return add_characters({{{code, code}}});
  }

  int group(int nesting) {
    if (take('?')) {
      if (at('=') || at('!')) refuse("look-ahead");
      if (take("P<") || take('<')) {
        if (at('=') || at('!')) refuse("look-behind");
        while (!done() && !at('>')) ++at_;
        if (!take('>')) refuse("a group name without its >");
      } else if (!take(':')) {
        refuse("a flag or unknown group");
      }
    }
    const int node = alternatives(nesting + 1);
    if (at('^') || at('$')) refuse("an anchor inside a group");
    if (!take(')')) refuse("a ( without its )");
    return node;
  }

  CodeSet bracket() {
    const bool negated = take('^');
    if (at(']')) refuse("an empty class");
    std::vector<CodeSet::Range> ranges;
    const auto add = [&](const CodeSet& item) {
      ranges.insert(ranges.end(), item.ranges().begin(), item.ranges().end());
    };
    while (!take(']')) {
      const CodeSet first = class_item();
      add(first);
      if (!at('-') || at_ + 1 >= text_.size() || text_[at_ + 1] == ']') continue;
      ++at_;
      const CodeSet last = class_item();
      add(last);
      const auto single = [](const CodeSet& item) {
        return item.ranges().size() == 1 && item.ranges()[0].first == item.ranges()[0].second;
      };
      if (single(first) && single(last)) {
        if (first.ranges()[0].first > last.ranges()[0].first) refuse("a range that runs backwards");
        ranges.emplace_back(first.ranges()[0].first, last.ranges()[0].first);
      } else {  // [\w-x]: the hyphen stands for itself
        ranges.emplace_back('-', '-');
      }
    }
    CodeSet set(std::move(ranges));
    return negated ? CodeSet::all() - set : set;
  }
  CodeSet class_item() {
    if (done()) refuse("a [ without its ]");
    if (take('\\')) return escape(true);
    if (at('[') && at_ + 1 < text_.size() && text_[at_ + 1] == ':') refuse("a POSIX class");
    const uint32_t code = text_[at_++];
    return {{{code, code}}};
  }

  CodeSet escape(bool in_class) {
    static const CodeSet digits({{'0', '9'}});
    static const CodeSet word({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
    static const CodeSet space({{'\t', '\r'}, {' ', ' '}});
    if (done()) refuse("a backslash at the end");
    const uint32_t code = text_[at_++];
    const auto one = [](uint32_t c) { return CodeSet({{c, c}}); };
    switch (code) {
      case 'd':
        return digits;
      case 'D':
        return CodeSet::all() - digits;
      case 'w':
        return word;
      case 'W':
        return CodeSet::all() - word;
      case 's':
        return space;
      case 'S':
        return CodeSet::all() - space;
      case 't':
        return one('\t');
      case 'n':
        return one('\n');
      case 'r':
        return one('\r');
      case 'f':
        return one('\f');
      case 'v':
        return one('\v');
      case 'x':
        return one(hex(2));
      case 'u':
        return one(hex(4));
      case 'b':
        if (in_class) return one('\b');
        break;
      default:
        break;
    }
    const bool letter = (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
    const bool digit = code >= '0' && code <= '9';
    --at_;
    if (digit) refuse("a back-reference or octal escape");
    if (letter) refuse(fmt::format("the escape \\{}", static_cast<char>(code)));
    ++at_;
    return one(code);
  }
  uint32_t hex(int digits) {
    uint32_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const uint32_t c = peek();
      const bool ten = c >= '0' && c <= '9';
      const bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'f';
      if (!ten && !letter) refuse("an escape with too few hexadecimal digits");
      value = value * 16 + (ten ? c - '0' : (c | 0x20) - 'a' + 10);
      ++at_;
    }
    if (value >= 0xd800 && value <= 0xdfff) refuse("half of a surrogate pair");
    return value;
  }

  std::string where_;
  std::vector<uint32_t> text_;
  size_t at_ = 0;
  Regex regex_;
};

}  // namespace

Regex Regex::parse(std::string_view pattern, std::string_view where) {
  return Parser(pattern, where).parse();
}

}  // namespace um
