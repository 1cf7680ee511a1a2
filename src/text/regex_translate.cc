// See translate_regex() in pcre.h.
#include <algorithm>
#include <array>
#include <charconv>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "text/pcre.h"

namespace um {
namespace {

constexpr int kMaxNesting = 50;
constexpr std::string_view kHex = "0123456789abcdefABCDEF";

/// Properties under the names that Oniguruma takes, without case, blanks, '_' and '-', as PCRE2
/// 10.42 has them. Every other name of more than two letters is a script.
constexpr std::array<std::pair<std::string_view, std::string_view>, 43> kProperties = {
    {{"letter", "L"},
     {"mark", "M"},
     {"number", "N"},
     {"punctuation", "P"},
     {"punct", "P"},
     {"symbol", "S"},
     {"separator", "Z"},
     {"other", "C"},
     {"casedletter", "L&"},
     {"uppercaseletter", "Lu"},
     {"lowercaseletter", "Ll"},
     {"titlecaseletter", "Lt"},
     {"modifierletter", "Lm"},
     {"otherletter", "Lo"},
     {"nonspacingmark", "Mn"},
     {"spacingmark", "Mc"},
     {"enclosingmark", "Me"},
     {"decimalnumber", "Nd"},
     {"letternumber", "Nl"},
     {"othernumber", "No"},
     {"connectorpunctuation", "Pc"},
     {"dashpunctuation", "Pd"},
     {"openpunctuation", "Ps"},
     {"closepunctuation", "Pe"},
     {"initialpunctuation", "Pi"},
     {"finalpunctuation", "Pf"},
     {"otherpunctuation", "Po"},
     {"mathsymbol", "Sm"},
     {"currencysymbol", "Sc"},
     {"modifiersymbol", "Sk"},
     {"othersymbol", "So"},
     {"spaceseparator", "Zs"},
     {"lineseparator", "Zl"},
     {"paragraphseparator", "Zp"},
     {"control", "Cc"},
     {"format", "Cf"},
     {"any", "Any"},
     {"alphabetic", "Alphabetic"},
     {"uppercase", "Uppercase"},
     {"lowercase", "Lowercase"},
     {"whitespace", "White_Space"},
     {"emoji", "Emoji"},
     {"ideographic", "Ideographic"}}};

constexpr std::string_view kSpaces = R"(\x09-\x0d\x{85}\p{Z})";
constexpr std::string_view kWords = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
/// Oniguruma has these among the words outside of brackets only.
constexpr std::string_view kWordsOutside = R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";

constexpr std::string_view kNotGraph = R"(\x09-\x0d\x{85}\p{Z}\p{Cc}\p{Cn}\p{Cs})";
constexpr std::string_view kNotPrint = R"(\p{Cc}\p{Cn}\p{Cs}\x{2028}\x{2029})";

/// Oniguruma's POSIX brackets, which are properties too, as the inside of a bracket expression.
constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kPosix = {
    {{"alpha", R"(\p{Alphabetic})"},
     {"alnum", R"(\p{Alphabetic}\p{Nd})"},
     {"upper", R"(\p{Uppercase})"},
     {"lower", R"(\p{Lowercase})"},
     {"digit", R"(\p{Nd})"},
     {"space", kSpaces},
     {"word", kWords},
     {"blank", R"(\x09\p{Zs})"},
     {"xdigit", "0-9A-Fa-f"},
     {"punct", R"(\p{P}\p{S})"},
     {"cntrl", R"(\p{Cc})"},
     {"ascii", R"(\x00-\x7f)"}}};

std::string plain_name(std::string_view name) {
  std::string out;
  for (const char c : name)
    if (c != ' ' && c != '_' && c != '-')
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  return out;
}

template <class Table>
std::string_view entry(const Table& table, std::string_view name) {
  for (const auto& [written, known] : table)
    if (written == name) return known;
  return {};
}

/// What stands for one character: `inside` of brackets, `negated` or not; or a pattern, where it is
/// more than brackets can say.
struct Set {
  std::string inside, pattern;
  bool negated = false;
  std::string text() const {
    return !pattern.empty() ? pattern : (negated ? "[^" : "[") + inside + "]";
  }
};

/// A class that Oniguruma and PCRE2 define differently; an empty inside for other letters.
Set shorthand(char letter) {
  const auto lower = static_cast<char>(letter | 0x20);
  const auto inside =
      lower == 's' ? kSpaces : (lower == 'w' ? kWords : std::string_view("0-9A-Fa-f"));
  if (lower != 's' && lower != 'w' && lower != 'h') return {};
  return {std::string(inside), {}, letter != lower};
}

class Translator {
 public:
  Translator(std::string_view pattern, bool own) : in_(pattern), own_(own) {}

  std::string take() {
    groups_.push_back({});
    while (at_ < in_.size()) step();
    out_.append(groups_.back().open_flags, ')');
    return std::move(out_);
  }

 private:
  struct Group {
    size_t start = 0;       ///< in out_
    size_t open_flags = 0;  ///< groups that `(?i)` opened
  };

  bool at(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  [[noreturn]] void refuse(const std::string& what) const {
    fail("regular expression {}: {} cannot be translated", quote(in_), what);
  }
  void atom(std::string_view text) {
    atom_ = out_.size();
    out_ += text;
  }

  void step() {
    const char c = in_[at_];
    if (c == '\\') return atom(escape().text_outside);
    if (c == '[') return ++at_, atom(bracket(0).text());
    if (c == '(') return open();
    if (c == ')') return close();
    if (c == '{' && counted()) return;
    if (std::string_view("*+?|").find(c) == std::string_view::npos) atom_ = out_.size();
    out_ += c, ++at_;
  }

  /// `(`, of which Oniguruma's flags are others: `m` lets the dot match line ends, and flags
  /// without a colon hold for all alternatives up to the end of the group. PCRE2's verbs, such as
  /// (*UCP), would change what the rest means, or its limits.
  void open() {
    if (at("(*")) refuse(std::string(in_.substr(at_, in_.find(')', at_) + 1 - at_)));
    if (at("(?#")) {
      at_ = std::min(in_.find(')', at_), in_.size() - 1) + 1;
      return;
    }
    const size_t end = at("(?") ? in_.find_first_not_of("imxWDSPy-", at_ + 2) : std::string::npos;
    const bool flags = end != std::string::npos && (in_[end] == ':' || in_[end] == ')');
    if (!flags || end == at_ + 2) {
      groups_.push_back({out_.size(), 0});
      out_ += '(', ++at_;
      return;
    }
    std::string names(in_.substr(at_ + 2, end - at_ - 2));
    if (names.find_first_not_of("im-") != std::string::npos) refuse("(?" + names);
    std::replace(names.begin(), names.end(), 'm', 's');
    if (in_[end] == ':') groups_.push_back({out_.size(), 0});
    if (in_[end] == ')') ++groups_.back().open_flags;
    out_ += "(?" + names + ":";
    at_ = end + 1;
  }

  void close() {
    if (groups_.size() == 1) return out_ += ')', ++at_, void();  // PCRE2 says what is wrong
    out_.append(groups_.back().open_flags + 1, ')');
    atom_ = groups_.back().start;
    groups_.pop_back();
    ++at_;
  }

  /// `{n}`, `{n,}`, `{n,m}`, `{,m}`; a `+` behind it repeats it, as does a `?` behind `{n}`.
  bool counted() {
    const size_t end = in_.find('}', at_);
    if (end == std::string_view::npos) return false;
    const std::string_view inside = in_.substr(at_ + 1, end - at_ - 1);
    const size_t comma = inside.find(',');
    const std::string_view low = inside.substr(0, comma);
    const std::string_view high = comma == std::string_view::npos ? low : inside.substr(comma + 1);
    if ((low.empty() && high.empty()) ||
        (std::string(low) + std::string(high)).find_first_not_of("0123456789") != std::string::npos)
      return false;
    out_ += "{" + std::string(low.empty() ? "0" : low);
    if (comma != std::string_view::npos) out_ += "," + std::string(high);
    out_ += '}';
    at_ = end + 1;
    if (at("+") || (at("?") && comma == std::string_view::npos)) {
      out_.insert(atom_, "(?:");
      out_ += ')';
    }
    return true;
  }

  struct Escape {
    std::string text_outside;  ///< of brackets
    Set set = {};              ///< the same in brackets
    bool is_class = false;
  };

  static Escape of_set(Set set) {
    Set outside = set;
    if (set.inside == kWords) outside.inside += kWordsOutside;
    std::string text = outside.text();
    return {std::move(text), std::move(set), true};
  }
  static Escape of_text(std::string text) { return {text, {text, {}, false}, false}; }

  Escape escape() {
    if (++at_ == in_.size()) return of_text("\\");
    const char c = in_[at_++];
    if ((c == 'p' || c == 'P') && at("{")) return property(c == 'P');
    if (const Set set = shorthand(c); !set.inside.empty()) return of_set(set);
    if (c == 'X') refuse("\\X");
    if (c == 'G' && !own_) refuse("\\G");
    if (c == 'u') return of_text("\\x{" + hex(4) + "}");
    if (c == 'v') return of_text("\\x0b");
    if (c == 'x' && !at("{")) {
      const size_t end = std::min(in_.find_first_not_of(kHex, at_), in_.size());
      const size_t count = std::min<size_t>(end - at_, 2);
      if (count == 2 && in_[at_] >= '8') refuse("\\x of a byte that is no character");
    }
    if (c == 'V' || c == 'Q' || c == 'E') return of_text(std::string(1, c));
    if (c == 'd' || c == 'D') return {{'\\', c}, {{'\\', c}, {}, false}, true};
    return of_text({'\\', c});
  }

  std::string hex(size_t count) {
    const std::string_view digits = in_.substr(at_, count);
    if (digits.size() < count || digits.find_first_not_of(kHex) != std::string_view::npos)
      refuse("\\u without four digits");
    at_ += count;
    return std::string(digits);
  }

  Escape property(bool negated) {
    const size_t end = in_.find('}', at_);
    if (end == std::string_view::npos) refuse("\\p without its end");
    std::string_view name = in_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    const bool caret = name.starts_with('^');
    if (caret) name.remove_prefix(1);
    const std::string plain = plain_name(name);
    if (const auto posix = entry(kPosix, plain); !posix.empty() && plain != "punct")
      return of_set({std::string(posix), {}, negated != caret});
    std::string known(entry(kProperties, plain));
    const bool script = plain.size() > 2 && name.find_first_of(":=&") == std::string_view::npos;
    if (known.empty()) known = (script ? "sc:" : "") + std::string(name);
    std::string text = std::string(negated ? "\\P{" : "\\p{") + (caret ? "^" : "") + known + "}";
    return {text, {text, {}, false}, true};
  }

  /// One operand of `&&`: what brackets can say, and what else one of has to match.
  struct Operand {
    std::string inside;
    std::vector<std::string> others;
    void add(const Set& set) {
      if (set.pattern.empty() && !set.negated)
        inside += set.inside;
      else
        others.push_back(set.text());
    }
    bool empty() const { return inside.empty() && others.empty(); }
    std::string text() const {
      std::string all = inside.empty() ? std::string() : "[" + inside + "]";
      if (others.empty()) return all;
      for (const std::string& other : others) all += (all.empty() ? "" : "|") + other;
      return "(?:" + all + ")";
    }
  };

  /// The class whose `[` has been read, up to its end.
  Set bracket(int depth) {
    if (depth > kMaxNesting) refuse("a class that deep");
    const bool negated = at("^");
    if (negated) ++at_;
    std::vector<Operand> operands(1);
    bool after_class = true;  // a '-' here begins no range
    if (at("]") && in_.find(']', at_ + 1) != std::string_view::npos)
      operands[0].inside = "\\]", ++at_, after_class = false;
    while (!at("]")) {
      if (at_ == in_.size()) refuse("a class without its end");
      if (at("&&")) {
        at_ += 2, after_class = true;
        operands.emplace_back();
      } else {
        after_class = member(operands.back(), after_class, depth);
      }
    }
    ++at_;
    return combined(operands, negated);
  }

  /// Reads one member; whether it is a class of its own.
  bool member(Operand& operand, bool after_class, int depth) {
    if (at("[:")) {
      const size_t end = in_.find(":]", at_);
      if (end != std::string_view::npos && posix(operand, end)) return true;
    }
    if (at("[")) {
      ++at_;
      operand.add(bracket(depth + 1));
      return true;
    }
    if (at("\\")) {
      const Escape escaped = escape();
      operand.add(escaped.set);
      return escaped.is_class;
    }
    const char c = in_[at_++];
    if (c == '-' && !after_class && at("[")) refuse("a range that ends in a class");
    const bool literal = after_class || at("]") || at("&&") || at_class_escape();
    if (c == '-' && literal) operand.inside += '\\';
    if (std::string_view("^=.:").find(c) != std::string_view::npos && operand.inside.empty())
      operand.inside += '\\';
    operand.inside += c;
    return false;
  }

  bool at_class_escape() const {
    return at("\\") && at_ + 1 < in_.size() &&
           std::string_view("dDsSwWhHpP").find(in_[at_ + 1]) != std::string_view::npos;
  }

  bool posix(Operand& operand, size_t end) {
    std::string_view name = in_.substr(at_ + 2, end - at_ - 2);
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    if (name.empty() || name.find_first_not_of("abcdefghijklmnopqrstuvwxyz") != std::string::npos)
      return false;
    const bool shown = name == "graph" || name == "print";  // all but these
    const std::string_view inside =
        shown ? (name == "graph" ? kNotGraph : kNotPrint) : entry(kPosix, name);
    if (inside.empty()) refuse("[:" + std::string(name) + ":]");
    operand.add({std::string(inside), {}, negated != shown});
    at_ = end + 2;
    return true;
  }

  Set combined(const std::vector<Operand>& operands, bool negated) const {
    for (const Operand& operand : operands)
      if (operand.empty()) refuse("an empty class");
    if (operands.size() == 1 && operands[0].others.empty())
      return {operands[0].inside, {}, negated};
    std::string all;
    for (size_t i = 0; i < operands.size(); ++i)
      all += i + 1 < operands.size() ? "(?=" + operands[i].text() + ")" : operands[i].text();
    if (operands.size() > 1) all = "(?:" + all + ")";
    return {{}, negated ? "(?:(?!" + all + ")\\p{Any})" : all, false};
  }

  std::string_view in_;
  bool own_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_ = 0;  ///< where the last one that can be repeated begins in out_
  std::vector<Group> groups_;
};

}  // namespace

std::string translate_regex(std::string_view pattern, bool own) {
  return Translator(pattern, own).take();
}

}  // namespace um
