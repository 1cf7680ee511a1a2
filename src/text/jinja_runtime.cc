// See jinja_runtime.h: access to values, operators, and the built-in functions.
#include "text/jinja_runtime.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>

#include "core/error.h"
#include "core/json.h"
#include "text/jinja_ast.h"

namespace um {
namespace {

constexpr int kMaxDepth = 500;
constexpr int64_t kMaxRange = 100'000;

JinjaValue undefined_or(const JinjaValue* found, const std::string& name) {
  return found != nullptr ? *found : JinjaValue::undefined(name);
}

JinjaValue loop_attribute(const JinjaValue::Loop& loop, const std::string& name) {
  const JinjaValue::List& items = *loop.items.items();
  const auto index = static_cast<int64_t>(loop.index), count = std::ssize(items);
  if (name == "index") return JinjaValue::integer(index + 1);
  if (name == "index0") return JinjaValue::integer(index);
  if (name == "first") return JinjaValue::boolean(index == 0);
  if (name == "last") return JinjaValue::boolean(index + 1 == count);
  if (name == "length") return JinjaValue::integer(count);
  if (name == "revindex") return JinjaValue::integer(count - index);
  if (name == "revindex0") return JinjaValue::integer(count - index - 1);
  if (name == "depth") return JinjaValue::integer(static_cast<int64_t>(loop.depth));
  if (name == "depth0") return JinjaValue::integer(static_cast<int64_t>(loop.depth) - 1);
  if (name == "previtem" && index > 0) return items[loop.index - 1];
  if (name == "nextitem" && index + 1 < count) return items[loop.index + 1];
  return JinjaValue::undefined("loop." + name);
}

int64_t int_power(int64_t base, int64_t exponent) {
  if (base == 1 || base == 0 || base == -1) {  // the others leave 64 bits within 64 steps
    const bool one = exponent == 0 || base == 1 || (base == -1 && exponent % 2 == 0);
    return one ? 1 : base;
  }
  int64_t out = 1;
  for (int64_t i = 0; i < exponent; ++i)
    UM_CHECK(!__builtin_mul_overflow(out, base, &out), "**: the result does not fit 64 bits");
  return out;
}

JinjaValue integers(const std::string& op, int64_t a, int64_t b) {
  int64_t out = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &out);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &out);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &out);
  } else if (op == "**") {
    if (b < 0) return JinjaValue::real(std::pow(static_cast<double>(a), static_cast<double>(b)));
    out = int_power(a, b);
  } else {
    UM_CHECK(b != 0, "{}: division by zero", op);
    if (op == "/") return JinjaValue::real(static_cast<double>(a) / static_cast<double>(b));
    overflow = a == INT64_MIN && b == -1;
    if (!overflow) {  // Python rounds down
      const int64_t rest = a % b;
      const bool down = rest != 0 && (rest < 0) != (b < 0);
      out = op == "//" ? a / b - (down ? 1 : 0) : rest + (down ? b : 0);
    }
  }
  UM_CHECK(!overflow, "{}: the result does not fit 64 bits", op);
  return JinjaValue::integer(out);
}

JinjaValue reals(const std::string& op, double a, double b) {
  if (op == "+") return JinjaValue::real(a + b);
  if (op == "-") return JinjaValue::real(a - b);
  if (op == "*") return JinjaValue::real(a * b);
  if (op == "**") return JinjaValue::real(std::pow(a, b));
  UM_CHECK(b != 0, "{}: division by zero", op);
  if (op == "/") return JinjaValue::real(a / b);
  if (op == "//") return JinjaValue::real(std::floor(a / b));
  const double rest = std::fmod(a, b);
  return JinjaValue::real(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
}

JinjaValue repeated(JinjaContext& context, const JinjaValue& value, int64_t times) {
  times = std::max<int64_t>(times, 0);
  const auto count = static_cast<uint64_t>(times);
  const uint64_t each = value.as_text() != nullptr
                            ? value.as_text()->size() + 1
                            : JinjaBudget::kStep * (value.items()->size() + 1);
  UM_CHECK(count < (uint64_t{1} << 40), "*: {} times is too much", times);
  context.budget.spend(std::min<uint64_t>(each, uint64_t{1} << 22) * count);
  if (const MarkedText* text = value.as_text()) {
    MarkedText out;
    out.html = text->html;
    for (int64_t i = 0; i < times; ++i) out.append(*text);
    return JinjaValue::text(std::move(out));
  }
  JinjaValue::List out;
  for (int64_t i = 0; i < times; ++i)
    out.insert(out.end(), value.items()->begin(), value.items()->end());
  return JinjaValue::list(std::move(out),
                          value.is_tuple() ? JinjaSequence::kTuple : JinjaSequence::kList);
}

JinjaValue range(JinjaContext& context, const JinjaArguments& arguments) {
  const size_t count = arguments.positional.size();
  UM_CHECK(count >= 1 && count <= 3, "range: expected 1 to 3 numbers, found {}", count);
  const auto number = [&](size_t i) { return arguments.positional[i].as_integer("range"); };
  const int64_t begin = count > 1 ? number(0) : 0, end = number(count > 1 ? 1 : 0);
  const int64_t step = count > 2 ? number(2) : 1;
  UM_CHECK(step != 0, "range: the step is 0");
  JinjaValue::List out;
  for (int64_t at = begin; step > 0 ? at < end : at > end;) {
    UM_CHECK(std::ssize(out) < kMaxRange, "range: more than {} numbers", kMaxRange);
    context.budget.spend(JinjaBudget::kStep);
    out.push_back(JinjaValue::integer(at));
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return JinjaValue::list(std::move(out), JinjaSequence::kRange);
}

JinjaValue time_text(JinjaContext& context, const JinjaArguments& arguments) {
  const MarkedText* format = arguments.text(0, "format");
  UM_CHECK(format != nullptr && format->size() <= 200,
           "strftime_now: expected a format of at most 200 bytes");
  const std::time_t now = static_cast<std::time_t>(context.now);
  std::tm local{};
  ::localtime_r(&now, &local);
  std::array<char, 8192> room;
  const size_t size = std::strftime(room.data(), room.size(), format->bytes.c_str(), &local);
  context.budget.spend(size);
  return JinjaValue::string(std::string(room.data(), size));
}

}  // namespace

const JinjaValue* JinjaArguments::find(size_t index, std::string_view name) const {
  if (index < positional.size()) return &positional[index];
  for (const auto& [key, value] : named) {
    if (key == name) return &value;
  }
  return nullptr;
}

const JinjaValue& JinjaArguments::need(size_t index, std::string_view name,
                                       std::string_view what) const {
  const JinjaValue* found = find(index, name);
  UM_CHECK(found != nullptr, "{}: the argument {} is missing", what, name);
  return *found;
}

int64_t JinjaArguments::integer(size_t index, std::string_view name, int64_t standard) const {
  const JinjaValue* found = find(index, name);
  return found == nullptr || found->is_none() ? standard : found->as_integer(name);
}

bool JinjaArguments::flag(size_t index, std::string_view name, bool standard) const {
  const JinjaValue* found = find(index, name);
  return found == nullptr ? standard : found->truthy();
}

const MarkedText* JinjaArguments::text(size_t index, std::string_view name) const {
  const JinjaValue* found = find(index, name);
  if (found == nullptr || found->is_none()) return nullptr;
  UM_CHECK(found->as_text() != nullptr, "{}: expected a text, found {}", name, found->type_name());
  return found->as_text();
}

JinjaLevel::JinjaLevel(JinjaContext& context) : context(context) {
  UM_CHECK(context.depth < kMaxDepth, "nested deeper than {} levels", kMaxDepth);
  ++context.depth;
}

JinjaValue jinja_attribute(JinjaContext& context, const JinjaValue& object,
                           const std::string& name) {
  if (const auto* missing = object.get_if<JinjaValue::Undefined>())
    fail("{} is undefined, so it has no {}", missing->name.empty() ? "the value" : missing->name,
         quote(name));
  if (jinja_would_change(object, name)) return JinjaValue::undefined(name);
  if (jinja_has_method(object, name)) return JinjaValue::method(object, name);
  if (const auto* fields = object.fields())
    return undefined_or(jinja_find(*fields, name, context.budget), name);
  if (object.items() != nullptr && object.kind() == JinjaSequence::kGroup) {
    if (name == "grouper") return (*object.items())[0];
    if (name == "list") return (*object.items())[1];
  }
  if (const auto* function = object.as_function(); function != nullptr && name == "name")
    if (function->macro != nullptr) return JinjaValue::string(function->macro->text);
  if (const JinjaValue::Loop* loop = object.as_loop()) return loop_attribute(*loop, name);
  if (const JinjaValue::Namespace* space = object.as_namespace()) {
    context.budget.spend(space->fields.size());
    for (const auto& [key, value] : space->fields)
      if (key == name) return value;
  }
  return JinjaValue::undefined(name);
}

JinjaValue jinja_index(JinjaContext& context, const JinjaValue& object, const JinjaValue& key) {
  if (const auto* missing = object.get_if<JinjaValue::Undefined>())
    fail("{} is undefined, so it has no elements",
         missing->name.empty() ? "the value" : missing->name);
  if (const auto* fields = object.fields())
    if (const JinjaValue* found = jinja_find(*fields, key, context.budget)) return *found;
  if (const MarkedText* name = key.as_text()) {
    const bool known = name->size() <= 256 &&
                       (object.fields() == nullptr || jinja_has_method(object, name->bytes));
    return known ? jinja_attribute(context, object, name->bytes) : JinjaValue::undefined("element");
  }
  if (key.get_if<int64_t>() == nullptr && !key.is_bool()) return JinjaValue::undefined("element");
  const int64_t at = key.as_integer("index");
  if (object.is_indexed()) {
    const JinjaValue::List& items = *object.items();
    const int64_t place = at < 0 ? at + std::ssize(items) : at;
    if (place >= 0 && place < std::ssize(items)) return items[static_cast<size_t>(place)];
  } else if (const MarkedText* text = object.as_text()) {
    const std::optional<int64_t> end = at == -1 ? std::optional<int64_t>() : at + 1;
    if (at == INT64_MAX) return JinjaValue::undefined("element");
    MarkedText one = jinja_slice(*text, at, end, 1, context.budget);
    // A place before the beginning gives nothing, though a slice would.
    const auto count = static_cast<int64_t>(jinja_count_chars(text->bytes));
    if (one.size() != 0 && at >= -count) return JinjaValue::text(std::move(one));
  }
  return JinjaValue::undefined(fmt::format("element {}", at));
}

JinjaValue jinja_texts(JinjaContext& context, std::vector<MarkedText> texts) {
  context.budget.spend(JinjaBudget::kStep * texts.size());
  JinjaValue::List out;
  for (MarkedText& text : texts) out.push_back(JinjaValue::text(std::move(text)));
  return JinjaValue::list(std::move(out));
}

JinjaValue::List jinja_pairs(JinjaContext& context, const JinjaValue& dict, std::string_view what) {
  UM_CHECK(dict.fields() != nullptr, "{}: expected a dict, found {}", what, dict.type_name());
  context.budget.spend(4 * JinjaBudget::kStep * dict.fields()->size());
  JinjaValue::List pairs;
  for (const auto& [key, value] : *dict.fields()) pairs.push_back(JinjaValue::tuple({key, value}));
  return pairs;
}

JinjaValue jinja_items(JinjaContext& context, const JinjaValue& value) {
  if (value.items() != nullptr) return value;
  if (value.is_undefined()) return JinjaValue::list({});
  if (const MarkedText* text = value.as_text())
    return jinja_texts(context, jinja_chars(*text, context.budget));
  JinjaValue::List out;
  if (JinjaValue::Iterator* iterator = value.as_iterator()) {
    const size_t count = iterator->items.size() - iterator->next;
    context.budget.spend(JinjaBudget::kStep * count);
    out.assign(iterator->items.end() - static_cast<ptrdiff_t>(count), iterator->items.end());
    iterator->next += count;
    return JinjaValue::list(std::move(out));
  }
  const JinjaValue::Dict* fields = value.fields();
  UM_CHECK(fields != nullptr, "expected a list, found {}", value.type_name());
  context.budget.spend(JinjaBudget::kStep * fields->size());
  for (const auto& field : *fields) out.push_back(field.first);
  return JinjaValue::list(std::move(out));
}

JinjaValue::Dict jinja_make_dict(JinjaContext& context, const JinjaArguments& arguments) {
  UM_CHECK(arguments.positional.size() <= 1, "dict: expected one dict or list of pairs");
  JinjaValue::Dict out;
  if (!arguments.positional.empty() && arguments.positional[0].fields() != nullptr) {
    out = *arguments.positional[0].fields();
    context.budget.spend(JinjaBudget::kStep * out.size());
  } else if (!arguments.positional.empty()) {
    const JinjaValue items = jinja_items(context, arguments.positional[0]);
    for (const JinjaValue& item : *items.items()) {
      const JinjaValue pair = jinja_items(context, item);
      UM_CHECK(pair.items()->size() == 2, "dict: expected pairs");
      jinja_put(out, (*pair.items())[0], (*pair.items())[1], context.budget);
    }
  }
  for (const auto& [name, value] : arguments.named)
    jinja_put(out, JinjaValue::string(name), value, context.budget);
  return out;
}

MarkedText jinja_escape(const MarkedText& text, JinjaBudget& budget) {
  static constexpr std::array<std::pair<char, const char*>, 5> kEscapes = {
      {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&#34;"}, {'\'', "&#39;"}}};
  if (text.html) return text;
  budget.spend(2 * text.size());
  MarkedText out;
  out.html = true;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text.bytes[i], mark = text.outside[i];
    const auto* found = std::find_if(kEscapes.begin(), kEscapes.end(),
                                     [&](const auto& escape) { return escape.first == c; });
    if (found != kEscapes.end())
      out.append(found->second, mark);
    else
      out.append(std::string_view(&c, 1), mark);
  }
  budget.spend(out.size());
  return out;
}

bool jinja_contains(JinjaContext& context, const JinjaValue& value, const JinjaValue& item) {
  if (const MarkedText* text = value.as_text()) {
    UM_CHECK(item.as_text() != nullptr, "in: expected a text, found {}", item.type_name());
    context.budget.spend((text->size() + item.as_text()->size()) / 4);
    return jinja_find_text(text->bytes, item.as_text()->bytes) != std::string_view::npos;
  }
  if (const JinjaValue::Dict* fields = value.fields()) {
    jinja_need_hashable(item);
    return jinja_find(*fields, item, context.budget) != nullptr;
  }
  const JinjaValue items = jinja_items(context, value);
  return std::any_of(items.items()->begin(), items.items()->end(), [&](const JinjaValue& other) {
    return jinja_equal(item, other, context.budget);
  });
}

JinjaValue jinja_arithmetic(JinjaContext& context, const std::string& op, const JinjaValue& a,
                            const JinjaValue& b) {
  const bool numbers = a.is_number() && b.is_number();
  if (numbers && a.get_if<double>() == nullptr && b.get_if<double>() == nullptr)
    return integers(op, a.as_integer(op), b.as_integer(op));
  if (numbers) return reals(op, a.as_real(op), b.as_real(op));
  const MarkedText *x = a.as_text(), *y = b.as_text();
  if (op == "+" && x != nullptr && y != nullptr) {
    context.budget.spend(x->size() + y->size());
    const bool html = x->html || y->html;
    MarkedText sum = html ? jinja_escape(*x, context.budget) : *x;
    sum.append(html ? jinja_escape(*y, context.budget) : *y);
    return JinjaValue::text(std::move(sum));
  }
  const bool lists = a.is_indexed() && b.is_indexed() && a.kind() != JinjaSequence::kRange &&
                     b.kind() != JinjaSequence::kRange;
  if (op == "+" && lists && a.is_tuple() == b.is_tuple()) {
    context.budget.spend(JinjaBudget::kStep * (a.items()->size() + b.items()->size()));
    JinjaValue::List sum = *a.items();
    sum.insert(sum.end(), b.items()->begin(), b.items()->end());
    return JinjaValue::list(std::move(sum),
                            a.is_tuple() ? JinjaSequence::kTuple : JinjaSequence::kList);
  }
  if (op == "%" && x != nullptr) return JinjaValue::text(jinja_percent(*x, b, context.budget));
  const auto sequence = [](const JinjaValue& v) {
    return v.as_text() || (v.is_indexed() && v.kind() != JinjaSequence::kRange);
  };
  if (op == "*" && sequence(a) && b.is_number()) return repeated(context, a, b.as_integer("*"));
  if (op == "*" && sequence(b) && a.is_number()) return repeated(context, b, a.as_integer("*"));
  fail("{} {} {} is not possible", a.type_name(), op, b.type_name());
}

bool jinja_is_function(std::string_view name) {
  return name == "range" || name == "dict" || name == "raise_exception" || name == "strftime_now" ||
         name == "namespace";
}

JinjaValue jinja_function(JinjaContext& context, std::string_view name,
                          const JinjaArguments& arguments) {
  if (name == "range") return range(context, arguments);
  if (name == "dict") return JinjaValue::dict(jinja_make_dict(context, arguments));
  if (name == "strftime_now") return time_text(context, arguments);
  UM_CHECK(name == "raise_exception", "{} is not a function", name);
  const JinjaValue& message = arguments.need(0, "message", "raise_exception");
  fail("the template says: {}", jinja_text(message, context.budget).bytes);
}

}  // namespace um
