// The tests of chat templates: `x is NAME(arguments)`.
#include <unordered_map>

#include "core/error.h"
#include "core/json.h"
#include "text/jinja_runtime.h"

namespace um {
namespace {

using Args = JinjaArguments;
using Test = bool (*)(JinjaContext&, const JinjaValue&, const Args&);

bool is_integer(const JinjaValue& v) {
  return v.is_integer();
}

/// value % by == rest
bool leaves(JinjaContext& c, const JinjaValue& v, const JinjaValue& by, int64_t rest) {
  return jinja_equal(jinja_arithmetic(c, "%", v, by), JinjaValue::integer(rest), c.budget);
}

const JinjaValue& other(const Args& args) {
  return args.need(0, "other", "test");
}

template <bool kEqual>
bool equal(JinjaContext& c, const JinjaValue& v, const Args& args) {
  return jinja_equal(v, other(args), c.budget) == kEqual;
}

/// Bit 0: less, bit 1: equal, bit 2: greater.
template <int kOrders>
bool ordered(JinjaContext& c, const JinjaValue& v, const Args& args) {
  return (kOrders >> (jinja_compare(v, other(args), c.budget) + 1) & 1) != 0;
}

/// Has letters, and none of the other case.
template <JinjaCase kMode>
bool in_case(JinjaContext& c, const JinjaValue& v, const Args&) {
  const MarkedText text = jinja_text(v, c.budget);
  constexpr JinjaCase kOther = kMode == JinjaCase::kUpper ? JinjaCase::kLower : JinjaCase::kUpper;
  return jinja_case(text, kMode, c.budget).bytes == text.bytes &&
         jinja_case(text, kOther, c.budget).bytes != text.bytes;
}

template <bool kWanted>
bool is_flag(JinjaContext&, const JinjaValue& v, const Args&) {
  const auto* flag = v.get_if<bool>();
  return flag != nullptr && *flag == kWanted;
}

bool is_sequence(const JinjaValue& v) {
  return v.as_text() || v.is_indexed() || v.fields() || v.is_undefined();
}

bool is_iterable(const JinjaValue& v) {
  return is_sequence(v) || v.items() || v.as_iterator() || v.as_loop();
}

const std::unordered_map<std::string_view, Test> kTests = {
    {"defined", [](auto&, const auto& v, const Args&) { return !v.is_undefined(); }},
    {"undefined", [](auto&, const auto& v, const Args&) { return v.is_undefined(); }},
    {"none", [](auto&, const auto& v, const Args&) { return v.is_none(); }},
    {"string", [](auto&, const auto& v, const Args&) { return v.as_text() != nullptr; }},
    {"mapping", [](auto&, const auto& v, const Args&) { return v.fields() != nullptr; }},
    {"sequence", [](auto&, const auto& v, const Args&) { return is_sequence(v); }},
    {"iterable", [](auto&, const auto& v, const Args&) { return is_iterable(v); }},
    {"number", [](auto&, const auto& v, const Args&) { return v.is_number(); }},
    {"integer", [](auto&, const auto& v, const Args&) { return is_integer(v); }},
    {"float",
     [](auto&, const auto& v, const Args&) { return v.template get_if<double>() != nullptr; }},
    {"boolean", [](auto&, const auto& v, const Args&) { return v.is_bool(); }},
    {"true", is_flag<true>},
    {"false", is_flag<false>},
    {"callable",
     [](auto&, const auto& v, const Args&) {
       return v.as_function() != nullptr || v.as_method() != nullptr || v.as_loop() != nullptr;
     }},
    {"filter",
     [](auto&, const auto& v, const Args&) {
       jinja_need_hashable(v);
       return v.as_text() != nullptr && jinja_has_filter(v.as_text()->bytes);
     }},
    {"test",
     [](auto&, const auto& v, const Args&) {
       jinja_need_hashable(v);
       return v.as_text() != nullptr && jinja_has_test(v.as_text()->bytes);
     }},
    {"escaped",
     [](auto&, const auto& v, const Args&) { return v.as_text() != nullptr && v.as_text()->html; }},
    {"sameas", [](auto&, const auto& v, const Args& args) { return v.same_object(other(args)); }},
    {"in",
     [](auto& c, const auto& v, const Args& args) { return jinja_contains(c, other(args), v); }},
    {"even",
     [](auto& c, const auto& v, const Args&) { return leaves(c, v, JinjaValue::integer(2), 0); }},
    {"odd",
     [](auto& c, const auto& v, const Args&) { return leaves(c, v, JinjaValue::integer(2), 1); }},
    {"divisibleby",
     [](auto& c, const auto& v, const Args& args) {
       return leaves(c, v, args.need(0, "num", "divisibleby"), 0);
     }},
    {"upper", in_case<JinjaCase::kUpper>},
    {"lower", in_case<JinjaCase::kLower>},
    {"==", equal<true>},
    {"eq", equal<true>},
    {"equalto", equal<true>},
    {"!=", equal<false>},
    {"ne", equal<false>},
    {"<", ordered<1>},
    {"lt", ordered<1>},
    {"lessthan", ordered<1>},
    {"<=", ordered<3>},
    {"le", ordered<3>},
    {">", ordered<4>},
    {"gt", ordered<4>},
    {"greaterthan", ordered<4>},
    {">=", ordered<6>},
    {"ge", ordered<6>}};

}  // namespace

bool jinja_has_test(std::string_view name) {
  return kTests.contains(name);
}

bool jinja_test(JinjaContext& context, const std::string& name, const JinjaValue& value,
                const JinjaArguments& arguments) {
  const auto found = kTests.find(name);
  UM_CHECK(found != kTests.end(), "there is no test {}", quote(name));
  return found->second(context, value, arguments);
}

}  // namespace um
