// The interpreter of chat templates; see jinja.h.
#include "text/jinja.h"

#include <algorithm>
#include <ctime>
#include <deque>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "text/jinja_ast.h"
#include "text/jinja_runtime.h"
#include "text/utf8.h"

namespace um {
namespace {

class Interpreter {
 public:
  Interpreter(const JinjaTemplate::Variables& variables, const JinjaOptions& options)
      : context_(options.work) {
    context_.now = options.now.value_or(static_cast<int64_t>(std::time(nullptr)));
    scopes_.push_back({0, 0});
    for (const auto& [name, value] : variables) scopes_[0].names.emplace_back(name, value);
  }

  MarkedText run(const JinjaNodes& nodes) {
    execute(nodes);
    return std::move(out_);
  }
  int line() const { return line_; }

 private:
  using Value = JinjaValue;
  struct Scope {
    uint64_t serial;  // tells it from any other; later ones have larger ones
    size_t outer;     // the place of the scope around it
    std::vector<std::pair<std::string_view, Value>> names = {};
  };
  enum class Flow { kOn, kBreak, kContinue };

  /// A scope for names set while it lives.
  struct Inner {
    explicit Inner(Interpreter& self) : self(self), outer(self.here_) {
      self.here_ = self.scopes_.size();
      self.scopes_.push_back({++self.serial_, outer});
    }
    ~Inner() {
      self.scopes_.pop_back();
      self.here_ = outer;
    }
    Inner(const Inner&) = delete;
    Interpreter& self;
    size_t outer;
  };

  /// While it lives, names are those of the block in which a macro or a recursive loop stands, and
  /// not of the one that calls it.
  struct Home {
    Home(Interpreter& self, uint64_t serial) : self(self), caller(self.here_) {
      const auto& scopes = self.scopes_;
      const auto at = std::lower_bound(scopes.begin(), scopes.end(), serial,
                                       [](const Scope& s, uint64_t n) { return s.serial < n; });
      UM_CHECK(at != scopes.end() && at->serial == serial,
               "a macro or a loop is called outside its block");
      self.here_ = static_cast<size_t>(at - scopes.begin());
    }
    ~Home() { self.here_ = caller; }
    Home(const Home&) = delete;
    Interpreter& self;
    size_t caller;
  };

  // ---- names ----

  void set(std::string_view name, Value value) {
    auto& names = scopes_[here_].names;
    context_.budget.spend(names.size() + 1);
    for (auto& [key, old] : names) {
      if (key == name) {
        old = std::move(value);
        return;
      }
    }
    names.emplace_back(name, std::move(value));
  }

  /// The innermost of that name.
  const Value* find(std::string_view name) {
    for (size_t i = here_;; i = scopes_[i].outer) {
      context_.budget.spend(scopes_[i].names.size() + 1);
      for (const auto& [key, value] : scopes_[i].names)
        if (key == name) return &value;
      if (i == 0) return nullptr;
    }
  }

  Value name(const std::string& text) {
    if (const Value* found = find(text)) return *found;
    if (jinja_is_function(text)) return Value::function({.global = text});
    return Value::undefined(text);
  }

  // ---- statements ----

  Flow execute(const JinjaNodes& nodes) {
    const JinjaLevel level(context_);
    for (const auto& node : nodes) {
      const Flow flow = execute(*node);
      if (flow != Flow::kOn) return flow;
    }
    return Flow::kOn;
  }

  Flow execute(const JinjaNode& node) {
    line_ = node.line;
    context_.budget.spend(JinjaBudget::kStep);
    switch (node.kind) {
      case JinjaNode::kText:
        write(MarkedText::own(node.text));
        return Flow::kOn;
      case JinjaNode::kOutput:
        write(jinja_text(evaluate(*node.expr), context_.budget));
        return Flow::kOn;
      case JinjaNode::kIf:
        return execute(evaluate(*node.expr).truthy() ? node.body : node.other);
      case JinjaNode::kFor:
        return loop(node, evaluate(*node.expr));
      case JinjaNode::kSet:
        bind(*node.targets[0], evaluate(*node.expr));
        return Flow::kOn;
      case JinjaNode::kSetBlock:
        bind(*node.targets[0], captured(node));
        return Flow::kOn;
      case JinjaNode::kFilterBlock:
        write(filtered_text(captured(node)));
        return Flow::kOn;
      case JinjaNode::kMacro:
        set(node.text, macro_value(node));
        return Flow::kOn;
      case JinjaNode::kCallBlock:
        call_block(node);
        return Flow::kOn;
      case JinjaNode::kBlock:
        return block(node);
      case JinjaNode::kBreak:
        return Flow::kBreak;
      case JinjaNode::kContinue:
        return Flow::kContinue;
    }
    return Flow::kOn;
  }

  void write(const MarkedText& text) {
    context_.budget.spend(text.size());
    out_.append(text);
  }

  /// namespace.name = value
  void set_field(const std::string& holder_name, const std::string& name, Value value) {
    const Value* holder = find(holder_name);
    Value::Namespace* space = holder != nullptr ? holder->as_namespace() : nullptr;
    UM_CHECK(space != nullptr, "set {}.{}: expected a namespace, found {}", holder_name, name,
             holder != nullptr ? holder->type_name() : "undefined");
    put_field(*space, name, std::move(value));
  }

  void put_field(Value::Namespace& space, const std::string& name, Value value) {
    UM_CHECK(!name.starts_with('_'), "a namespace's field {} begins with _", quote(name));
    context_.budget.spend(space.fields.size() + 1);
    for (auto& [key, old] : space.fields) {
      if (key != name) continue;
      old = std::move(value);
      return;
    }
    space.fields.emplace_back(name, std::move(value));
  }

  /// A name, a namespace's field, or several which take a list apart.
  void bind(const JinjaExpr& target, const Value& value) {
    if (target.kind == JinjaExpr::kName) return set(target.text, value);
    if (target.kind == JinjaExpr::kAttribute)
      return set_field(target.children[0]->text, target.text, value);
    UM_CHECK(!value.is_undefined(), "an undefined value cannot be unpacked");
    const Value items = jinja_items(context_, value);
    UM_CHECK(items.items()->size() == target.children.size(),
             "expected {} values to unpack, found {}", target.children.size(),
             items.items()->size());
    for (size_t i = 0; i < target.children.size(); ++i)
      bind(*target.children[i], (*items.items())[i]);
  }

  /// What the body writes, through the node's filters.
  Value captured(const JinjaNode& node) {
    const Inner inner(*this);
    Value body = written([&] { execute(node.body); });
    if (node.expr == nullptr) return body;
    set(kJinjaBody, std::move(body));
    return evaluate(*node.expr);
  }

  static const MarkedText& filtered_text(const Value& value) {
    UM_CHECK(value.as_text() != nullptr, "filter: expected a text, found {}", value.type_name());
    return *value.as_text();
  }

  void call_block(const JinjaNode& node) {
    const JinjaLevel level(context_);
    const Value caller = macro_value(node);
    write(jinja_text(call(*node.expr, &caller), context_.budget));
  }

  /// What `run` writes.
  template <class Run>
  Value written(Run run) {
    MarkedText outer = std::exchange(out_, {});
    run();
    return Value::text(std::exchange(out_, std::move(outer)));
  }

  Flow block(const JinjaNode& node) {
    std::vector<Value> values;
    for (const auto& value : node.defaults) values.push_back(evaluate(*value));
    const Inner inner(*this);
    for (size_t i = 0; i < values.size(); ++i) bind(*node.targets[i], values[i]);
    return execute(node.body);
  }

  /// `over`: what is visited; `depth`: how many recursive loops run, with this one.
  Flow loop(const JinjaNode& node, const Value& over, size_t depth = 1) {
    Value items = jinja_items(context_, over);
    if (node.condition != nullptr) items = filtered(node, items);
    const Value::List& list = *items.items();
    if (list.empty()) {
      const Inner inner(*this);
      return execute(node.other);
    }
    auto state = std::make_shared<Value::Loop>();
    state->items = items;
    state->depth = depth;
    if (node.recursive) state->recursive = &node;
    state->scope = scopes_[here_].serial;
    UM_CHECK(items.depth() < 200, "a loop over a value nested too deep");
    for (size_t i = 0; i < list.size(); ++i) {
      context_.budget.spend(JinjaBudget::kStep);
      state->index = i;
      const Inner inner(*this);
      set("loop", Value::loop(state));
      bind(*node.targets[0], list[i]);
      if (execute(node.body) == Flow::kBreak) break;
    }
    return Flow::kOn;
  }

  Value filtered(const JinjaNode& node, const Value& items) {
    Value::List kept;
    for (const Value& item : *items.items()) {
      context_.budget.spend(JinjaBudget::kStep);
      const Inner inner(*this);
      bind(*node.targets[0], item);
      if (evaluate(*node.condition).truthy()) kept.push_back(item);
    }
    return Value::list(std::move(kept));
  }

  // ---- expressions ----

  Value evaluate(const JinjaExpr& e) {
    const JinjaLevel level(context_);
    line_ = e.line;
    context_.budget.spend(JinjaBudget::kStep);
    switch (e.kind) {
      case JinjaExpr::kLiteral:
        return e.value;
      case JinjaExpr::kName:
        return name(e.text);
      case JinjaExpr::kList:
      case JinjaExpr::kTuple:
        return Value::list(all(e.children), e.kind == JinjaExpr::kTuple ? JinjaSequence::kTuple
                                                                        : JinjaSequence::kList);
      case JinjaExpr::kDict:
        return dict(e);
      case JinjaExpr::kUnary:
        return unary(e);
      case JinjaExpr::kBinary:
        return binary(e);
      case JinjaExpr::kAnd:
      case JinjaExpr::kOr: {
        Value left = evaluate(*e.children[0]);
        return left.truthy() == (e.kind == JinjaExpr::kOr) ? left : evaluate(*e.children[1]);
      }
      case JinjaExpr::kCompare:
        return Value::boolean(compare(e));
      case JinjaExpr::kIf:
        if (evaluate(*e.children[1]).truthy()) return evaluate(*e.children[0]);
        return e.children.size() > 2 ? evaluate(*e.children[2]) : Value::undefined("the value");
      case JinjaExpr::kAttribute:
        return jinja_attribute(context_, evaluate(*e.children[0]), e.text);
      case JinjaExpr::kIndex: {
        const Value object = evaluate(*e.children[0]);
        return jinja_index(context_, object, evaluate(*e.children[1]));
      }
      case JinjaExpr::kSlice:
        return slice(e);
      case JinjaExpr::kCall:
        return call(e);
      case JinjaExpr::kFilter: {
        const Value value = evaluate(*e.children[0]);
        return jinja_filter(context_, e.text, value, arguments(e));
      }
      case JinjaExpr::kTest: {
        const Value value = evaluate(*e.children[0]);
        return Value::boolean(jinja_test(context_, e.text, value, arguments(e)));
      }
    }
    return {};
  }

  Value::List all(const std::vector<JinjaExprPtr>& list) {
    Value::List values;
    values.reserve(list.size());
    for (const auto& e : list) values.push_back(evaluate(*e));
    return values;
  }

  /// Of a call, filter or test, on whose line faults are from then on.
  JinjaArguments arguments(const JinjaExpr& e) {
    JinjaArguments given{all(e.arguments), {}};
    for (const auto& [key, value] : e.named) given.named.emplace_back(key, evaluate(*value));
    if (e.more_arguments != nullptr) {
      const Value more = jinja_items(context_, evaluate(*e.more_arguments));
      context_.budget.spend(JinjaBudget::kStep * more.items()->size());
      given.positional.insert(given.positional.end(), more.items()->begin(), more.items()->end());
    }
    if (e.more_named != nullptr) add_named(given, evaluate(*e.more_named));
    line_ = e.line;
    return given;
  }

  void add_named(JinjaArguments& given, const Value& more) {
    UM_CHECK(more.fields() != nullptr, "**: expected a dict, found {}", more.type_name());
    context_.budget.spend(JinjaBudget::kStep * more.fields()->size());
    for (const auto& [key, value] : *more.fields()) {
      UM_CHECK(key.as_text() != nullptr, "**: expected texts as keys");
      for (const auto& [name, other] : given.named)
        UM_CHECK(name != key.as_text()->bytes, "the argument {} is given twice", quote(name));
      given.named.emplace_back(key.as_text()->bytes, value);
    }
  }

  Value dict(const JinjaExpr& e) {
    Value::Dict fields;
    for (size_t i = 0; i + 1 < e.children.size(); i += 2) {
      Value key = evaluate(*e.children[i]), value = evaluate(*e.children[i + 1]);
      jinja_put(fields, std::move(key), std::move(value), context_.budget);
    }
    return Value::dict(std::move(fields));
  }

  Value unary(const JinjaExpr& e) {
    const Value value = evaluate(*e.children[0]);
    if (e.text == "not") return Value::boolean(!value.truthy());
    const Value sign = Value::integer(e.text == "-" ? -1 : 1);
    UM_CHECK(value.is_number(), "{}: expected a number, found {}", e.text, value.type_name());
    return jinja_arithmetic(context_, "*", sign, value);
  }

  void need_defined(const Value& value) {
    if (const auto* missing = value.get_if<Value::Undefined>())
      fail("{} is undefined", missing->name.empty() ? "a value" : missing->name);
  }

  Value binary(const JinjaExpr& e) {
    const Value left = evaluate(*e.children[0]), right = evaluate(*e.children[1]);
    line_ = e.line;
    if (e.text == "~") {
      MarkedText text = jinja_text(left, context_.budget);
      text.append(jinja_text(right, context_.budget));
      return Value::text(std::move(text));
    }
    need_defined(left);
    need_defined(right);
    return jinja_arithmetic(context_, e.text, left, right);
  }

  bool compare(const JinjaExpr& e) {
    Value left = evaluate(*e.children[0]);
    for (size_t i = 0; i < e.operators.size(); ++i) {
      Value right = evaluate(*e.children[i + 1]);
      line_ = e.line;
      if (!holds(e.operators[i], left, right)) return false;
      left = std::move(right);
    }
    return true;
  }

  bool holds(const std::string& op, const Value& a, const Value& b) {
    if (op == "==") return jinja_equal(a, b, context_.budget);
    if (op == "!=") return !jinja_equal(a, b, context_.budget);
    if (op == "in") return jinja_contains(context_, b, a);
    if (op == "not in") return !jinja_contains(context_, b, a);
    need_defined(a);
    need_defined(b);
    const int order = jinja_compare(a, b, context_.budget);
    if (op == "<") return order < 0;
    if (op == "<=") return order <= 0;
    return op == ">" ? order > 0 : order >= 0;
  }

  Value slice(const JinjaExpr& e) {
    const Value object = evaluate(*e.children[0]);
    const auto place = [&](size_t i) -> std::optional<int64_t> {
      if (e.children[i] == nullptr) return {};
      const Value value = evaluate(*e.children[i]);
      return value.is_none() ? std::optional<int64_t>() : value.as_integer("a slice");
    };
    const auto start = place(1), stop = place(2);
    const int64_t step = place(3).value_or(1);
    if (object.as_text() != nullptr)
      return Value::text(jinja_slice(*object.as_text(), start, stop, step, context_.budget));
    need_defined(object);
    UM_CHECK(object.is_indexed(), "a slice of a {}: expected a list or a text", object.type_name());
    const Value::List& items = *object.items();
    context_.budget.spend(8 * items.size());
    Value::List out;
    for (const size_t i : jinja_slice_places(items.size(), start, stop, step)) {
      context_.budget.spend(JinjaBudget::kStep);
      out.push_back(items[i]);
    }
    const auto kind = object.is_tuple() ? JinjaSequence::kTuple : object.kind();
    return Value::list(std::move(out), kind);
  }

  // ---- calls ----

  /// `caller`: of a call block, which calls macros only.
  Value call(const JinjaExpr& e, const Value* caller = nullptr) {
    const JinjaExpr& callee = *e.children[0];
    const bool method = callee.kind == JinjaExpr::kAttribute;
    const Value object = evaluate(method ? *callee.children[0] : callee);
    JinjaArguments given = arguments(e);
    if (caller == nullptr && method) {
      if (object.as_loop() != nullptr) return loop_method(*object.as_loop(), callee.text, given);
      if (auto result = jinja_method(context_, object, callee.text, given)) return *result;
    }
    const Value function = method ? jinja_attribute(context_, object, callee.text) : object;
    if (caller == nullptr) return apply(function, callee, given);
    const Value::Function* known = function.as_function();
    UM_CHECK(known != nullptr && known->macro != nullptr, "call: expected a macro, found {}",
             function.type_name());
    given.named.emplace_back("caller", *caller);
    return macro(*known, given);
  }

  Value loop_method(Value::Loop& loop, const std::string& name, const JinjaArguments& given) {
    UM_CHECK(name == "cycle" || name == "changed", "loop.{} is not a method", name);
    UM_CHECK(!given.positional.empty(), "loop.{}: expected arguments", name);
    if (name == "cycle") return given.positional[loop.index % given.positional.size()];
    // As text, so that a loop never holds itself.
    const Value now = Value::text(jinja_repr(Value::tuple(given.positional), context_.budget));
    const bool changed = loop.index == 0 || !jinja_equal(loop.changed, now, context_.budget);
    loop.changed = now;
    return Value::boolean(changed);
  }

  /// loop(items) in a recursive loop: the block again, for these items.
  Value recurse(const Value::Loop& from, const JinjaArguments& given) {
    UM_CHECK(from.recursive != nullptr, "loop(...): the loop is not recursive");
    UM_CHECK(given.positional.size() == 1 && given.named.empty(), "loop(...): expected one list");
    const Home home(*this, from.scope);
    return written([&] { loop(*from.recursive, given.positional[0], from.depth + 1); });
  }

  Value apply(const Value& function, const JinjaExpr& callee, const JinjaArguments& given) {
    if (function.as_loop() != nullptr) return recurse(*function.as_loop(), given);
    if (const Value::Method* bound = function.as_method())
      return *jinja_method(context_, bound->object, bound->name, given);
    const Value::Function* known = function.as_function();
    UM_CHECK(known != nullptr, "{} is {} and cannot be called",
             quote(callee.text.empty() ? "the value" : callee.text), function.type_name());
    if (known->macro != nullptr) return macro(*known, given);
    if (known->global == "namespace") return make_namespace(given);
    return jinja_function(context_, known->global, given);
  }

  Value make_namespace(const JinjaArguments& given) {
    Value::Namespace& space = spaces_.emplace_back();
    context_.budget.spend(JinjaBudget::kStep);
    for (const auto& [key, value] : jinja_make_dict(context_, given)) {
      UM_CHECK(key.as_text() != nullptr, "namespace: expected texts as keys");
      put_field(space, key.as_text()->bytes, value);
    }
    return Value::space(&space);
  }

  Value macro_value(const JinjaNode& node) {
    return Value::function({.macro = &node, .scope = scopes_[here_].serial});
  }

  Value macro(const Value::Function& function, const JinjaArguments& given) {
    const JinjaNode& node = *function.macro;
    const size_t listed = node.names.size();
    UM_CHECK(given.positional.size() <= listed || node.takes_more,
             "macro {}: expected {} arguments, found {}", node.text, listed,
             given.positional.size());
    const Value* caller = nullptr;
    Value::Dict others;
    for (const auto& [key, value] : given.named) {
      const auto place = std::find(node.names.begin(), node.names.end(), key) - node.names.begin();
      UM_CHECK(place >= std::ssize(given.positional) || place >= std::ssize(node.names),
               "macro {}: two values for {}", node.text, key);
      if (place < std::ssize(node.names)) continue;
      UM_CHECK((key == "caller" && node.takes_caller) || node.takes_named,
               "macro {}: there is no argument {}", node.text, key);
      if (key == "caller" && node.takes_caller)
        caller = &value;
      else
        jinja_put(others, Value::string(key), value, context_.budget);
    }
    const Home home(*this, function.scope);
    const Inner inner(*this);
    if (node.takes_caller) set("caller", caller != nullptr ? *caller : Value::undefined("caller"));
    for (size_t i = 0; i < node.names.size(); ++i) {
      const Value* value = given.find(i, node.names[i]);
      if (value != nullptr)
        set(node.names[i], *value);
      else if (node.defaults[i] != nullptr)
        set(node.names[i], evaluate(*node.defaults[i]));
      else
        set(node.names[i], Value::undefined(node.names[i]));
    }
    if (node.takes_named) set("kwargs", Value::dict(std::move(others)));
    if (node.takes_more) {
      const size_t extra = given.positional.size() - std::min(listed, given.positional.size());
      set("varargs", Value::tuple({given.positional.end() - static_cast<ptrdiff_t>(extra),
                                   given.positional.end()}));
    }
    return written([&] { execute(node.body); });
  }

  JinjaContext context_;
  std::deque<Value::Namespace> spaces_;  // live as long as the rendering
  std::vector<Scope> scopes_;            // of all blocks that are open
  size_t here_ = 0;                      // the innermost one of what runs
  uint64_t serial_ = 0;                  // of the last scope
  MarkedText out_;
  int line_ = 1;
};

void collect(const JinjaExpr& e, std::set<std::string, std::less<>>& names);
void collect(const std::vector<JinjaExprPtr>& list, std::set<std::string, std::less<>>& names) {
  for (const auto& e : list)
    if (e != nullptr) collect(*e, names);
}
void collect(const JinjaExpr& e, std::set<std::string, std::less<>>& names) {
  if (e.kind == JinjaExpr::kName) names.insert(e.text);
  collect(e.children, names);
  collect(e.arguments, names);
  if (e.more_arguments != nullptr) collect(*e.more_arguments, names);
  if (e.more_named != nullptr) collect(*e.more_named, names);
  for (const auto& [key, value] : e.named) collect(*value, names);
}
void collect(const JinjaNodes& nodes, std::set<std::string, std::less<>>& names) {
  for (const auto& node : nodes) {
    if (node->expr != nullptr) collect(*node->expr, names);
    if (node->condition != nullptr) collect(*node->condition, names);
    collect(node->defaults, names);
    collect(node->body, names);
    collect(node->other, names);
  }
}

}  // namespace

struct JinjaTemplate::Tree {
  JinjaNodes nodes;
  std::set<std::string, std::less<>> names;  // of variables that it reads
};

JinjaTemplate::JinjaTemplate(std::string_view source, std::string name) : name_(std::move(name)) {
  UM_CHECK(is_utf8(source), "{}: the template is not valid UTF-8", name_);
  auto tree = std::make_unique<Tree>();
  tree->nodes = parse_jinja(source, name_);
  collect(tree->nodes, tree->names);
  tree_ = std::move(tree);
}

JinjaTemplate::JinjaTemplate(JinjaTemplate&&) noexcept = default;
JinjaTemplate::~JinjaTemplate() = default;

MarkedText JinjaTemplate::render(const Variables& variables, const JinjaOptions& options) const {
  Interpreter interpreter(variables, options);
  try {
    return interpreter.run(tree_->nodes);
  } catch (const Error& error) {
    fail("{}: line {}: {}", name_, interpreter.line(), error.what());
  }
}

const std::set<std::string, std::less<>>& JinjaTemplate::names() const {
  return tree_->names;
}

}  // namespace um
