// The parser of chat templates; see jinja_ast.h. Precedence is Jinja's: if-else, or, and, not,
// comparisons, + -, ~, * / // %, **, unary signs, then attributes, calls, filters and tests.
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "core/error.h"
#include "core/json.h"
#include "text/jinja_ast.h"
#include "text/jinja_format.h"
#include "text/jinja_lexer.h"

namespace um {
namespace {

constexpr int kMaxDepth = 200;  // of the parser's own recursion, which one bracket takes in threes
constexpr int kMaxTree = 200;   // of an expression: also a + b + c … nests
constexpr size_t kMaxNodes = 200'000;
// Names that a macro has if its body reads them.
constexpr std::array<std::string_view, 3> kSpecial = {"caller", "varargs", "kwargs"};

class Parser {
 public:
  Parser(std::vector<JinjaToken> tokens, const std::string& name)
      : tokens_(std::move(tokens)), name_(name) {}

  JinjaNodes run() {
    JinjaNodes nodes = body({});
    if (peek().kind != JinjaToken::kEnd) wrong("a block is closed that is not open");
    return nodes;
  }

 private:
  using Kind = JinjaToken::Kind;
  /// Counts nesting against hostile templates.
  struct Level {
    explicit Level(Parser& parser) : parser(parser) {
      if (++parser.depth_ > kMaxDepth) parser.wrong("nested deeper than {}", kMaxDepth);
    }
    ~Level() { --parser.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    Parser& parser;
  };

  template <class... Args>
  [[noreturn]] void wrong(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: line {}: {}", name_, peek().line, fmt::format(format, std::forward<Args>(args)...));
  }
  const JinjaToken& peek(size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  const JinjaToken& take() {
    const JinjaToken& token = peek();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool is_op(std::string_view text) const {
    return peek().kind == Kind::kOperator && peek().text == text;
  }
  bool is_word(std::string_view text, size_t ahead = 0) const {
    return peek(ahead).kind == Kind::kName && peek(ahead).text == text;
  }
  bool take_op(std::string_view text) { return is_op(text) && (take(), true); }
  bool take_word(std::string_view text) { return is_word(text) && (take(), true); }
  void need_op(std::string_view text) {
    if (!take_op(text)) wrong("expected \"{}\", found {}", text, quote(peek().text));
  }
  std::string need_name() {
    if (peek().kind != Kind::kName) wrong("expected a name, found {}", quote(peek().text));
    return take().text;
  }
  void need_end() {
    if (peek().kind != Kind::kBlockEnd)
      wrong("expected the end of the tag, found {}", quote(peek().text));
    take();
  }
  JinjaExprPtr make(JinjaExpr::Kind kind, std::string text = {}) {
    if (++nodes_ > kMaxNodes) wrong("more than {} nodes", kMaxNodes);
    auto expr = std::make_unique<JinjaExpr>();
    expr->kind = kind;
    expr->line = peek().line;
    expr->text = std::move(text);
    return expr;
  }
  /// A child (may be null) into one of its parent's lists.
  void adopt(JinjaExpr& parent, std::vector<JinjaExprPtr>& list, JinjaExprPtr child) {
    deepen(parent, child.get());
    list.push_back(std::move(child));
  }
  void deepen(JinjaExpr& parent, const JinjaExpr* child) {
    if (child == nullptr) return;
    parent.depth = std::max(parent.depth, child->depth + 1);
    if (parent.depth > kMaxTree) wrong("an expression nested deeper than {}", kMaxTree);
  }
  JinjaExprPtr join(JinjaExpr::Kind kind, std::string text, JinjaExprPtr a, JinjaExprPtr b) {
    JinjaExprPtr expr = make(kind, std::move(text));
    expr->line = a->line;
    adopt(*expr, expr->children, std::move(a));
    if (b != nullptr) adopt(*expr, expr->children, std::move(b));
    return expr;
  }

  // ---- expressions ----

  JinjaExprPtr expression() {
    const Level level(*this);
    JinjaExprPtr value = either();
    while (take_word("if")) {
      JinjaExprPtr condition = either();
      JinjaExprPtr other = take_word("else") ? expression() : nullptr;
      value = join(JinjaExpr::kIf, "", std::move(value), std::move(condition));
      if (other != nullptr) adopt(*value, value->children, std::move(other));
    }
    return value;
  }
  JinjaExprPtr either() {
    JinjaExprPtr left = both();
    while (take_word("or")) left = join(JinjaExpr::kOr, "", std::move(left), both());
    return left;
  }
  JinjaExprPtr both() {
    JinjaExprPtr left = negated();
    while (take_word("and")) left = join(JinjaExpr::kAnd, "", std::move(left), negated());
    return left;
  }
  JinjaExprPtr negated() {
    const Level level(*this);
    if (take_word("not")) return join(JinjaExpr::kUnary, "not", negated(), nullptr);
    return comparison();
  }
  std::optional<std::string> comparison_operator() {
    for (const char* op : {"==", "!=", "<=", ">=", "<", ">"}) {
      if (take_op(op)) return op;
    }
    if (take_word("in")) return "in";
    if (is_word("not") && is_word("in", 1)) return take(), take(), "not in";
    return {};
  }
  JinjaExprPtr comparison() {
    JinjaExprPtr left = sum();
    auto op = comparison_operator();
    if (!op) return left;
    JinjaExprPtr chain = join(JinjaExpr::kCompare, "", std::move(left), nullptr);
    for (; op; op = comparison_operator()) {
      chain->operators.push_back(*op);
      adopt(*chain, chain->children, sum());
    }
    return chain;
  }
  template <class Next>
  JinjaExprPtr chain(std::initializer_list<const char*> operators, Next next) {
    JinjaExprPtr left = next();
    for (bool found = true; found;) {
      found = false;
      for (const char* op : operators) {
        if (!take_op(op)) continue;
        left = join(JinjaExpr::kBinary, op, std::move(left), next());
        found = true;
        break;
      }
    }
    return left;
  }
  JinjaExprPtr sum() {
    return chain({"+", "-"}, [&] { return joined(); });
  }
  JinjaExprPtr joined() {
    return chain({"~"}, [&] { return product(); });
  }
  JinjaExprPtr product() {
    return chain({"*", "//", "/", "%"}, [&] { return power(); });
  }
  JinjaExprPtr power() {
    return chain({"**"}, [&] { return signed_value(true); });
  }
  JinjaExprPtr signed_value(bool with_filters) {
    const Level level(*this);
    JinjaExprPtr value;
    if (is_op("-") || is_op("+")) {
      const std::string sign = take().text;
      value = join(JinjaExpr::kUnary, sign, signed_value(false), nullptr);
    } else {
      value = postfix(primary());
    }
    return with_filters ? filters(std::move(value)) : std::move(value);
  }

  JinjaExprPtr primary() {
    const JinjaToken token = peek();
    if (token.kind == Kind::kName) return take(), name_or_constant(token.text);
    if (token.kind == Kind::kString) {
      JinjaExprPtr expr = make(JinjaExpr::kLiteral);
      std::string text;
      while (peek().kind == Kind::kString) text += take().text;
      expr->value = JinjaValue::string(std::move(text));
      return expr;
    }
    if (token.kind == Kind::kInteger || token.kind == Kind::kReal) return take(), number(token);
    if (take_op("(")) {
      if (take_op(")")) return make(JinjaExpr::kTuple);
      JinjaExprPtr inner = tuple();
      need_op(")");
      return inner;
    }
    if (take_op("[")) return list();
    if (take_op("{")) return dict();
    wrong("expected a value, found {}", quote(token.text));
  }
  JinjaExprPtr name_or_constant(const std::string& text) {
    const auto constant = [&](JinjaValue value) {
      JinjaExprPtr expr = make(JinjaExpr::kLiteral);
      expr->value = std::move(value);
      return expr;
    };
    if (text == "true" || text == "True") return constant(JinjaValue::boolean(true));
    if (text == "false" || text == "False") return constant(JinjaValue::boolean(false));
    if (text == "none" || text == "None") return constant(JinjaValue::none());
    if (const auto special = std::find(kSpecial.begin(), kSpecial.end(), text);
        special != kSpecial.end())
      ++reads_[static_cast<size_t>(special - kSpecial.begin())];
    return make(JinjaExpr::kName, text);
  }
  JinjaExprPtr number(const JinjaToken& token) {
    JinjaExprPtr expr = make(JinjaExpr::kLiteral);
    const char *begin = token.text.data(), *end = begin + token.text.size();
    if (token.kind == Kind::kReal) {
      double value = 0;
      if (std::from_chars(begin, end, value).ec != std::errc())
        wrong("number {} is too large", token.text);
      expr->value = JinjaValue::real(value);
    } else {
      const auto value = jinja_parse_integer(token.text, 0);
      if (!value) wrong("{} is no number", token.text);
      expr->value = JinjaValue::integer(*value);
    }
    return expr;
  }
  /// One expression, or several with commas between, which are a tuple.
  JinjaExprPtr tuple(bool conditional = true) {
    const auto part = [&] { return conditional ? expression() : either(); };
    JinjaExprPtr first = part();
    if (!is_op(",")) return first;
    JinjaExprPtr all = join(JinjaExpr::kTuple, "", std::move(first), nullptr);
    while (take_op(",")) {
      const bool end = peek().kind == Kind::kBlockEnd || peek().kind == Kind::kOutputEnd;
      if (is_op(")") || end || is_word("recursive")) break;
      adopt(*all, all->children, part());
    }
    return all;
  }
  /// What a set or a loop gives a value: a name, a tuple of such, or a namespace's field.
  JinjaExprPtr target(bool fields) {
    const Level level(*this);
    const auto part = [&]() -> JinjaExprPtr {
      if (take_op("(")) {
        JinjaExprPtr inner = target(fields);
        need_op(")");
        return inner;
      }
      JinjaExprPtr name = make(JinjaExpr::kName, need_name());
      if (!fields || !take_op(".")) return name;
      return join(JinjaExpr::kAttribute, need_name(), std::move(name), nullptr);
    };
    JinjaExprPtr first = part();
    if (!is_op(",")) return first;
    JinjaExprPtr all = join(JinjaExpr::kTuple, "", std::move(first), nullptr);
    while (take_op(",")) {
      if (is_op(")") || is_op("=") || is_word("in")) break;
      adopt(*all, all->children, part());
    }
    return all;
  }
  JinjaExprPtr list() {
    JinjaExprPtr all = make(JinjaExpr::kList);
    while (!take_op("]")) {
      if (!all->children.empty()) need_op(",");
      if (take_op("]")) break;
      adopt(*all, all->children, expression());
    }
    return all;
  }
  JinjaExprPtr dict() {
    JinjaExprPtr all = make(JinjaExpr::kDict);
    while (!take_op("}")) {
      if (!all->children.empty()) need_op(",");
      if (take_op("}")) break;
      adopt(*all, all->children, expression());
      need_op(":");
      adopt(*all, all->children, expression());
    }
    return all;
  }

  JinjaExprPtr postfix(JinjaExprPtr value) {
    for (;;) {
      if (take_op(".")) {
        const bool index = peek().kind == Kind::kInteger;
        JinjaExprPtr key = index ? number(take()) : nullptr;
        value = index ? join(JinjaExpr::kIndex, "", std::move(value), std::move(key))
                      : join(JinjaExpr::kAttribute, need_name(), std::move(value), nullptr);
      } else if (take_op("[")) {
        value = subscript(std::move(value));
      } else if (is_op("(")) {
        value = join(JinjaExpr::kCall, "", std::move(value), nullptr);
        arguments(*value);
      } else {
        return value;
      }
    }
  }
  JinjaExprPtr subscript(JinjaExprPtr value) {
    if (is_op("]")) wrong("an index is missing");
    JinjaExprPtr key = subscript_part();
    if (is_op(",")) {
      if (key->kind == JinjaExpr::kSlice) wrong("a slice beside other indices");
      key = join(JinjaExpr::kTuple, "", std::move(key), nullptr);
      while (take_op(",")) {
        if (is_op("]")) break;
        JinjaExprPtr next = subscript_part();
        if (next->kind == JinjaExpr::kSlice) wrong("a slice beside other indices");
        adopt(*key, key->children, std::move(next));
      }
    }
    need_op("]");
    if (key->kind != JinjaExpr::kSlice)
      return join(JinjaExpr::kIndex, "", std::move(value), std::move(key));
    deepen(*key, value.get());
    key->children[0] = std::move(value);
    return key;
  }
  /// An index, or a slice of what its first child is to be.
  JinjaExprPtr subscript_part() {
    const bool open = is_op(":");
    JinjaExprPtr first = open ? nullptr : expression();
    if (!is_op(":")) return first;
    JinjaExprPtr slice = make(JinjaExpr::kSlice);
    slice->children.push_back(nullptr);
    adopt(*slice, slice->children, std::move(first));
    for (int part = 1; part < 3; ++part) {
      const bool there = take_op(":") && !is_op(":") && !is_op("]") && !is_op(",");
      adopt(*slice, slice->children, there ? expression() : nullptr);
    }
    return slice;
  }
  void arguments(JinjaExpr& call) {
    need_op("(");
    for (bool first = true; !take_op(")"); first = false) {
      if (!first) need_op(",");
      if (take_op(")")) break;
      const bool named =
          peek().kind == Kind::kName && peek(1).kind == Kind::kOperator && peek(1).text == "=";
      if (is_op("*") || is_op("**")) {
        more_arguments(call);
      } else if (named) {
        if (call.more_named != nullptr) wrong("a named argument behind **");
        std::string key = take().text;
        take();
        JinjaExprPtr value = expression();
        deepen(call, value.get());
        for (const auto& [other, ignored] : call.named)
          if (other == key) wrong("the argument {} is given twice", key);
        call.named.emplace_back(std::move(key), std::move(value));
      } else {
        const bool last = !call.named.empty() || call.more_arguments || call.more_named;
        if (last) wrong("a positional argument behind a named one");
        adopt(call, call.arguments, expression());
      }
    }
  }
  /// *list or **dict.
  void more_arguments(JinjaExpr& call) {
    JinjaExprPtr& place = take().text == "*" ? call.more_arguments : call.more_named;
    if (place != nullptr || call.more_named != nullptr) wrong("* or ** twice, or * behind **");
    place = expression();
    deepen(call, place.get());
  }
  JinjaExprPtr filter(JinjaExprPtr value) {
    value = join(JinjaExpr::kFilter, need_name(), std::move(value), nullptr);
    if (is_op("(")) arguments(*value);
    return value;
  }
  JinjaExprPtr filters(JinjaExprPtr value) {
    for (;;) {
      if (take_op("|")) {
        value = filter(std::move(value));
      } else if (take_word("is")) {
        value = test(std::move(value));
      } else if (is_op("(")) {
        value = join(JinjaExpr::kCall, "", std::move(value), nullptr);
        arguments(*value);
      } else {
        return value;
      }
    }
  }
  JinjaExprPtr test(JinjaExprPtr value) {
    const bool negated = take_word("not");
    value = join(JinjaExpr::kTest, need_name(), std::move(value), nullptr);
    const Kind next = peek().kind;
    const bool word = next == Kind::kName && !is_word("else") && !is_word("or") &&
                      !is_word("and") && !is_word("is") && !is_word("if") && !is_word("not") &&
                      !is_word("in");
    if (is_op("(")) {
      arguments(*value);
    } else if (word || next == Kind::kString || next == Kind::kInteger || next == Kind::kReal ||
               is_op("[") || is_op("{")) {
      adopt(*value, value->arguments, postfix(primary()));
    }
    return negated ? join(JinjaExpr::kUnary, "not", std::move(value), nullptr) : std::move(value);
  }

  // ---- statements ----

  using NodePtr = std::unique_ptr<JinjaNode>;
  NodePtr node(JinjaNode::Kind kind) {
    if (++nodes_ > kMaxNodes) wrong("more than {} nodes", kMaxNodes);
    auto out = std::make_unique<JinjaNode>();
    out->kind = kind;
    out->line = peek().line;
    return out;
  }
  /// Everything up to a block tag that begins with one of `ends`; the tag's `{%` is taken, its name
  /// is next.
  JinjaNodes body(std::initializer_list<const char*> ends) {
    const Level level(*this);
    JinjaNodes out;
    for (;;) {
      const Kind kind = peek().kind;
      if (kind == Kind::kEnd) {
        if (ends.size() > 0) wrong("a block is not closed: expected {}", *ends.begin());
        return out;
      }
      if (kind == Kind::kText) {
        out.push_back(node(JinjaNode::kText));
        out.back()->text = take().text;
      } else if (kind == Kind::kOutputBegin) {
        take();
        out.push_back(node(JinjaNode::kOutput));
        out.back()->expr = tuple();
        if (peek().kind != Kind::kOutputEnd) wrong("expected }}, found {}", quote(peek().text));
        take();
      } else {
        take();
        for (const char* end : ends) {
          if (is_word(end)) return out;
        }
        out.push_back(statement());
      }
    }
  }
  void close(std::string_view word) {
    if (!take_word(word)) wrong("expected {}, found {}", word, quote(peek().text));
    need_end();
  }

  NodePtr statement() {
    const std::string word = need_name();
    if (word == "for") return for_loop();
    if (word == "if") return condition();
    if (word == "set") return assignment();
    if (word == "macro") return macro();
    if (word == "call") return call_block();
    if (word == "break" || word == "continue") {
      if (loops_ == 0) wrong("{} outside a loop", word);
      NodePtr out = node(word == "break" ? JinjaNode::kBreak : JinjaNode::kContinue);
      need_end();
      return out;
    }
    if (word == "generation") {
      NodePtr out = node(JinjaNode::kBlock);
      need_end();
      out->body = body({"endgeneration"});
      close("endgeneration");
      return out;
    }
    if (word == "print") {
      NodePtr out = node(JinjaNode::kOutput);
      out->expr = tuple();
      need_end();
      return out;
    }
    if (word == "with") return with();
    if (word == "filter") return filter_block();
    wrong(
        "tag {} is not supported: expected for, if, set, macro, call, filter, with, generation, "
        "print, raw, break or continue",
        quote(word));
  }
  NodePtr for_loop() {
    NodePtr out = node(JinjaNode::kFor);
    out->targets.push_back(target(false));
    if (!take_word("in")) wrong("expected \"in\", found {}", quote(peek().text));
    out->expr = tuple(false);
    if (take_word("if")) out->condition = expression();
    out->recursive = take_word("recursive");
    need_end();
    ++loops_;
    out->body = body({"endfor", "else"});
    --loops_;
    if (take_word("else")) {
      need_end();
      out->other = body({"endfor"});
    }
    close("endfor");
    return out;
  }
  NodePtr condition() {
    const Level level(*this);
    NodePtr out = node(JinjaNode::kIf);
    out->expr = tuple(false);
    need_end();
    out->body = body({"endif", "else", "elif"});
    if (take_word("elif")) {
      out->other.push_back(condition());
      return out;  // the last elif took the endif
    }
    if (take_word("else")) {
      need_end();
      out->other = body({"endif"});
    }
    close("endif");
    return out;
  }
  NodePtr assignment() {
    NodePtr out = node(JinjaNode::kSet);
    out->targets.push_back(target(true));
    if (take_op("=")) {
      out->expr = tuple();
      need_end();
      return out;
    }
    if (out->targets[0]->kind == JinjaExpr::kTuple) wrong("expected \"=\"");
    out->kind = JinjaNode::kSetBlock;
    if (take_op("|")) out->expr = block_filters();
    need_end();
    out->body = body({"endset"});
    close("endset");
    return out;
  }
  NodePtr macro() {
    NodePtr out = node(JinjaNode::kMacro);
    out->text = need_name();
    signature(*out);
    need_end();
    macro_body(*out, "endmacro");
    return out;
  }
  NodePtr call_block() {
    NodePtr out = node(JinjaNode::kCallBlock);
    out->text = "caller";
    if (is_op("(")) signature(*out);
    out->expr = expression();
    if (out->expr->kind != JinjaExpr::kCall) wrong("expected a call of a macro");
    for (const auto& [key, value] : out->expr->named)
      if (key == "caller") wrong("a call block cannot be given a caller");
    need_end();
    macro_body(*out, "endcall");
    return out;
  }
  void signature(JinjaNode& macro) {
    need_op("(");
    for (bool first = true; !take_op(")"); first = false) {
      if (!first) need_op(",");
      if (take_op(")")) break;
      macro.names.push_back(need_name());
      macro.defaults.push_back(take_op("=") ? expression() : nullptr);
    }
  }
  void macro_body(JinjaNode& macro, const char* end) {
    const int loops = std::exchange(loops_, 0);
    const auto reads = reads_;
    macro.body = body({end});
    macro.takes_caller = reads_[0] != reads[0];
    macro.takes_more = reads_[1] != reads[1];
    macro.takes_named = reads_[2] != reads[2];
    loops_ = loops;
    close(end);
  }
  NodePtr with() {
    NodePtr out = node(JinjaNode::kBlock);
    while (peek().kind != Kind::kBlockEnd) {
      if (!out->targets.empty()) need_op(",");
      out->targets.push_back(make(JinjaExpr::kName, need_name()));
      need_op("=");
      out->defaults.push_back(expression());
    }
    need_end();
    out->body = body({"endwith"});
    close("endwith");
    return out;
  }
  /// Filters of what a block writes.
  JinjaExprPtr block_filters() {
    JinjaExprPtr value = make(JinjaExpr::kName, std::string(kJinjaBody));
    do value = filter(std::move(value));
    while (take_op("|"));
    return value;
  }
  NodePtr filter_block() {
    NodePtr out = node(JinjaNode::kFilterBlock);
    out->expr = block_filters();
    need_end();
    out->body = body({"endfilter"});
    close("endfilter");
    return out;
  }

  std::vector<JinjaToken> tokens_;
  const std::string& name_;
  size_t at_ = 0, nodes_ = 0;
  int depth_ = 0, loops_ = 0;
  std::array<int, kSpecial.size()> reads_ = {};  // times that each special name was read
};

}  // namespace

JinjaNodes parse_jinja(std::string_view source, const std::string& name) {
  return Parser(lex_jinja(source, name), name).run();
}

}  // namespace um
