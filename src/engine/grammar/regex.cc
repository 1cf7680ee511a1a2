// See regex.h.
#include "engine/grammar/regex.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <map>
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

/// Characters by the first letters of their general category: L, Lu, Nd, ...; empty: no such.
const CodeSet& category(const std::string& name) {
  static const std::map<std::string, CodeSet> sets = [] {
    std::map<std::string, std::vector<CodeSet::Range>> ranges;
    const auto add = [&](const std::string& key, uint32_t code) {
      auto& list = ranges[key];
      if (!list.empty() && list.back().second + 1 == code)
        list.back().second = code;
      else
        list.emplace_back(code, code);
    };
    for (uint32_t code = 0; code <= 0x10ffff; ++code) {
      const std::string key = utf8proc_category_string(static_cast<utf8proc_int32_t>(code));
      add(key, code);
      add(key.substr(0, 1), code);
    }
    std::map<std::string, CodeSet> made;
    for (auto& [key, list] : ranges) made.emplace(key, CodeSet(std::move(list)));
    return made;
  }();
  static const CodeSet none;
  static const std::map<std::string, std::string> long_names = {{"Letter", "L"},
                                                                {"Lowercase_Letter", "Ll"},
                                                                {"Uppercase_Letter", "Lu"},
                                                                {"Titlecase_Letter", "Lt"},
                                                                {"Modifier_Letter", "Lm"},
                                                                {"Other_Letter", "Lo"},
                                                                {"Mark", "M"},
                                                                {"Number", "N"},
                                                                {"Decimal_Number", "Nd"},
                                                                {"digit", "Nd"},
                                                                {"Letter_Number", "Nl"},
                                                                {"Other_Number", "No"},
                                                                {"Punctuation", "P"},
                                                                {"Dash_Punctuation", "Pd"},
                                                                {"Symbol", "S"},
                                                                {"Currency_Symbol", "Sc"},
                                                                {"Math_Symbol", "Sm"},
                                                                {"Separator", "Z"},
                                                                {"Space_Separator", "Zs"},
                                                                {"Control", "Cc"}};
  const auto known = long_names.find(name);
  const auto at = sets.find(known == long_names.end() ? name : known->second);
  return at == sets.end() ? none : at->second;
}

/// With the other cases of its characters; of large sets only those of ASCII letters.
CodeSet any_case(const CodeSet& set) {
  constexpr uint32_t kMany = 4000;
  std::vector<CodeSet::Range> ranges = set.ranges();
  uint32_t count = 0;
  for (const auto& [first, last] : set.ranges()) count += last - first + 1;
  for (const auto& [first, last] : set.ranges())
    for (uint32_t code = first; code <= (count > kMany ? std::min(last, 0x7fu) : last); ++code) {
      const auto c = static_cast<utf8proc_int32_t>(code);
      for (const auto other : {utf8proc_tolower(c), utf8proc_toupper(c)})
        ranges.emplace_back(other, other);
    }
  return {std::move(ranges)};
}

class Parser {
 public:
  Parser(std::string_view pattern, std::string_view where) : where_(where) {
    if (pattern.size() > kMaxPattern || !is_utf8(pattern))
      throw UsageError(
          fmt::format("{}: expected a pattern of at most {} bytes in UTF-8", where_, kMaxPattern));
    text_ = decode_utf8(pattern);
  }

  Regex parse() {
    regex_.root = alternatives(0);
    if (!done()) refuse("a ) without its (");
    find_alternatives();
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

  /// Takes ^ and $ off the alternatives of the whole.
  void find_alternatives() {
    const Regex::Node root = regex_.nodes[static_cast<size_t>(regex_.root)];
    const bool several = root.kind == Regex::Node::kAlternatives;
    for (const int child : several ? root.children : std::vector<int>{regex_.root}) {
      Regex::Node node = regex_.nodes[static_cast<size_t>(child)];
      Regex::Alternative alternative;
      const auto is = [&](int part, Regex::Node::Kind kind) {
        return regex_.nodes[static_cast<size_t>(part)].kind == kind;
      };
      while (!node.children.empty() && is(node.children.front(), Regex::Node::kBegin)) {
        alternative.begins = true;
        node.children.erase(node.children.begin());
      }
      while (!node.children.empty() && is(node.children.back(), Regex::Node::kEnd)) {
        alternative.ends = true;
        node.children.pop_back();
      }
      alternative.node = add(std::move(node));
      regex_.alternatives.push_back(alternative);
    }
    regex_.plain = std::none_of(regex_.alternatives.begin(), regex_.alternatives.end(),
                                [&](const auto& part) { return regex_.asserts(part.node); });
  }

  int add(Regex::Node node) {
    if (regex_.nodes.size() >= kMaxNodes) refuse("too many parts");
    regex_.nodes.push_back(std::move(node));
    return static_cast<int>(regex_.nodes.size() - 1);
  }
  int add_characters(const CodeSet& set) {
    return add({.kind = Regex::Node::kCharacters, .set = folded(set)});
  }
  CodeSet folded(const CodeSet& set) const { return ignore_case_ ? any_case(set) : set; }
  int add_assertion(Regex::Node::Kind kind) {
    if (at('*') || at('+') || at('?')) refuse("a repeat of an assertion");
    return add({.kind = kind});
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
    while (!done() && !at('|') && !at(')')) node.children.push_back(repeated(atom(nesting)));
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
    if (take('^')) return add_assertion(Regex::Node::kBegin);
    if (take('$')) return add_assertion(Regex::Node::kEnd);
    if (take("\\b")) return add_assertion(Regex::Node::kBorder);
    if (take("\\B")) return add_assertion(Regex::Node::kNoBorder);
    if (take('.'))
      return add_characters(dot_all_ ? CodeSet::all()
                                     : CodeSet::all() -
                                           CodeSet({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}));
    if (at('*') || at('+') || at('?')) refuse("a repeat of nothing");
    if (take('\\')) return add_characters(escape(false));
    const uint32_t code = text_[at_++];
    return add_characters({{{code, code}}});
  }

  int group(int nesting) {
    const bool ignore_case = ignore_case_, dot_all = dot_all_;  // flags end with their group
    Regex::Node::Kind kind = Regex::Node::kSequence;
    if (take('?')) {
      if (take('=')) {
        kind = Regex::Node::kAhead;
      } else if (take('!')) {
        kind = Regex::Node::kNotAhead;
      } else if (take("P<") || take('<')) {
        if (at('=') || at('!')) refuse("look-behind");
        while (!done() && !at('>')) ++at_;
        if (!take('>')) refuse("a group name without its >");
      } else if (!take(':')) {
        if (flags()) return add({});  // (?i): to the end of what surrounds it
      }
    }
    const int node = alternatives(nesting + 1);
    if (!take(')')) refuse("a ( without its )");
    ignore_case_ = ignore_case;
    dot_all_ = dot_all;
    if (kind == Regex::Node::kSequence) return node;
    if (at('*') || at('+') || at('?')) refuse("a repeat of an assertion");
    return add({.kind = kind, .children = {node}});
  }

  /// Flags behind "(?": true if they stand alone, false if their group begins.
  bool flags() {
    for (; !at(')') && !at(':'); ++at_) {
      if (at('i'))
        ignore_case_ = true;
      else if (at('s'))
        dot_all_ = true;
      else if (!at('a') && !at('u'))
        refuse("a flag or unknown group");
    }
    return text_[at_++] == ')';
  }

  CodeSet bracket() {
    const bool negated = take('^');
    if (at(']')) refuse("an empty class");
    const bool ignore_case = ignore_case_;
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
    if (ignore_case) set = any_case(set);  // before its opposite is taken
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
    static const CodeSet space({{'\t', '\r'},
                                {' ', ' '},
                                {0xa0, 0xa0},
                                {0x1680, 0x1680},
                                {0x2000, 0x200a},
                                {0x2028, 0x2029},
                                {0x202f, 0x202f},
                                {0x205f, 0x205f},
                                {0x3000, 0x3000},
                                {0xfeff, 0xfeff}});
    const CodeSet& word = word_characters();
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
        return one(unicode());
      case 'p':
        return property();
      case 'P':
        return CodeSet::all() - property();
      case 'c':
        if (const uint32_t letter = peek() | 0x20; letter >= 'a' && letter <= 'z')
          return one(text_[at_++] & 0x1f);
        break;
      case '0':
        if (done() || peek() < '0' || peek() > '9') return one(0);
        break;
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
  /// Behind \p: {Lu}, {Letter}, {General_Category=Lu}.
  CodeSet property() {
    std::string name;
    if (!take('{')) refuse("\\p without {...}");
    for (; !done() && !at('}'); ++at_) name += static_cast<char>(peek());
    if (!take('}')) refuse("\\p{ without its }");
    for (const char* prefix : {"General_Category=", "gc="})
      if (name.starts_with(prefix)) name = name.substr(std::string_view(prefix).size());
    const CodeSet& set = name == "ASCII" ? ascii() : name == "Any" ? all() : category(name);
    if (set.empty()) refuse(fmt::format("the property {}", quote(name)));
    return set;
  }
  static const CodeSet& ascii() {
    static const CodeSet set({{0, 0x7f}});
    return set;
  }
  static const CodeSet& all() {
    static const CodeSet set = CodeSet::all();
    return set;
  }

  /// Behind \u: four digits, a pair of surrogates, or {...}.
  uint32_t unicode() {
    if (take('{')) {
      uint32_t value = 0;
      while (!at('}')) {
        value = value * 16 + hex_digit();
        if (value > 0x10ffff) refuse("an escape above 10ffff");
      }
      ++at_;
      return checked(value);
    }
    const uint32_t value = hex(4);
    if (value < 0xd800 || value > 0xdbff || !take("\\u")) return checked(value);
    const uint32_t low = hex(4);
    if (low < 0xdc00 || low > 0xdfff) refuse("half of a surrogate pair");
    return 0x10000 + ((value - 0xd800) << 10) + (low - 0xdc00);
  }
  uint32_t checked(uint32_t code) const {
    if (code >= 0xd800 && code <= 0xdfff) refuse("half of a surrogate pair");
    return code;
  }
  uint32_t hex_digit() {
    const uint32_t c = peek();
    const bool ten = c >= '0' && c <= '9';
    const bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'f';
    if (!ten && !letter) refuse("an escape with too few hexadecimal digits");
    ++at_;
    return ten ? c - '0' : (c | 0x20) - 'a' + 10;
  }
  uint32_t hex(int digits) {
    uint32_t value = 0;
    for (int i = 0; i < digits; ++i) value = value * 16 + hex_digit();
    return value;
  }

  std::string where_;
  std::vector<uint32_t> text_;
  size_t at_ = 0;
  bool ignore_case_ = false, dot_all_ = false;
  Regex regex_;
};

}  // namespace

const CodeSet& word_characters() {
  static const CodeSet word({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
  return word;
}

bool Regex::asserts(int node) const {
  const Node& part = nodes[static_cast<size_t>(node)];
  return part.kind > Node::kRepeat || std::any_of(part.children.begin(), part.children.end(),
                                                  [&](int child) { return asserts(child); });
}

Regex Regex::parse(std::string_view pattern, std::string_view where) {
  return Parser(pattern, where).parse();
}

}  // namespace um
