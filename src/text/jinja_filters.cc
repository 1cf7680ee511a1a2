// The filters of chat templates: `value | NAME(arguments)`.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <unordered_map>

#include "core/error.h"
#include "core/json.h"
#include "text/jinja_runtime.h"

namespace um {
namespace {

using Args = JinjaArguments;
using Filter = JinjaValue (*)(JinjaContext&, const JinjaValue&, const Args&);
using List = JinjaValue::List;

// ---- texts ----

MarkedText text_of(JinjaContext& c, const JinjaValue& v) {
  return jinja_text(v, c.budget);
}

JinjaValue trim(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const MarkedText* chars = args.text(0, "chars");
  const auto which =
      chars != nullptr ? std::optional<std::string_view>(chars->bytes) : std::nullopt;
  return JinjaValue::text(jinja_strip(text_of(c, v), which, true, true, c.budget));
}

template <JinjaCase kMode>
JinjaValue change_case(JinjaContext& c, const JinjaValue& v, const Args&) {
  return JinjaValue::text(jinja_case(text_of(c, v), kMode, c.budget));
}

JinjaValue to_string(JinjaContext& c, const JinjaValue& v, const Args&) {
  return v.as_text() != nullptr ? v : JinjaValue::text(text_of(c, v));
}

JinjaValue escape(JinjaContext& c, const JinjaValue& v, const Args&) {
  static constexpr std::array<std::pair<char, const char*>, 5> kEscapes = {
      {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&#34;"}, {'\'', "&#39;"}}};
  const MarkedText text = text_of(c, v);
  MarkedText out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto* found = std::find_if(kEscapes.begin(), kEscapes.end(),
                                     [&](const auto& e) { return e.first == text.bytes[i]; });
    c.budget.spend(6);
    if (found == kEscapes.end())
      out.append(text.substr(i, 1));
    else
      out.append(found->second, text.outside[i]);
  }
  return JinjaValue::text(std::move(out));
}

JinjaValue replace(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const MarkedText old = text_of(c, args.need(0, "old", "replace"));
  const MarkedText by = text_of(c, args.need(1, "new", "replace"));
  const int64_t most = args.integer(2, "count", -1);
  return JinjaValue::text(jinja_replace(text_of(c, v), old.bytes, by, most, c.budget));
}

JinjaValue indent(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue* width = args.find(0, "width");
  MarkedText margin = MarkedText::own("    ");
  if (width != nullptr && width->as_text() != nullptr) {
    margin = *width->as_text();
  } else if (width != nullptr) {
    const int64_t count = width->as_integer("indent");
    UM_CHECK(count <= 1000, "indent: {} spaces are too many", count);
    margin = MarkedText::own(std::string(static_cast<size_t>(std::max<int64_t>(count, 0)), ' '));
  }
  const bool first = args.flag(1, "first", false), blank = args.flag(2, "blank", false);
  MarkedText text = text_of(c, v);
  text.append("\n");
  std::vector<MarkedText> lines = jinja_split_lines(text, false, c.budget);
  MarkedText out;
  for (size_t i = 0; i < lines.size(); ++i) {
    c.budget.spend(margin.size() + lines[i].size() + 1);
    if (i > 0) out.append("\n");
    if (i == 0 ? first : blank || lines[i].size() != 0) out.append(margin);
    out.append(lines[i]);
  }
  return JinjaValue::text(std::move(out));
}

JinjaValue format(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue values = JinjaValue::list(args.positional, true);
  return JinjaValue::text(jinja_percent(text_of(c, v), values, c.budget));
}

JinjaValue word_count(JinjaContext& c, const JinjaValue& v, const Args&) {
  return JinjaValue::integer(std::ssize(jinja_split(text_of(c, v), {}, -1, false, c.budget)));
}

/// Arguments in Hugging Face's order, not Jinja's.
JinjaValue to_json(JinjaContext& c, const JinjaValue& v, const Args& args) {
  JinjaJsonStyle style;
  style.indent = static_cast<int>(std::clamp<int64_t>(args.integer(1, "indent", -1), -1, 64));
  if (const JinjaValue* both = args.find(2, "separators"); both != nullptr && !both->is_none()) {
    const List* parts = both->items();
    UM_CHECK(parts != nullptr && parts->size() == 2 && (*parts)[0].as_text() != nullptr &&
                 (*parts)[1].as_text() != nullptr,
             "tojson: separators: expected two texts");
    style.item_separator = (*parts)[0].as_text()->bytes;
    style.key_separator = (*parts)[1].as_text()->bytes;
  }
  style.sort_keys = args.flag(3, "sort_keys", false);
  style.ascii = args.flag(0, "ensure_ascii", false);
  return JinjaValue::text(jinja_json(v, style, c.budget));
}

// ---- numbers ----

/// What stands for a value that is no number.
JinjaValue fallback(const Args& args, JinjaValue standard) {
  const JinjaValue* given = args.find(0, "default");
  return given != nullptr ? *given : standard;
}

JinjaValue to_int(JinjaContext& c, const JinjaValue& v, const Args& args) {
  if (v.get_if<int64_t>() != nullptr) return v;
  if (v.is_bool()) return JinjaValue::integer(v.as_integer("int"));
  if (const auto* real = v.get_if<double>())
    return std::abs(*real) < 9e18 ? JinjaValue::integer(static_cast<int64_t>(*real))
                                  : fallback(args, JinjaValue::integer(0));
  if (v.as_text() == nullptr) return fallback(args, JinjaValue::integer(0));
  const std::string text = jinja_strip(*v.as_text(), {}, true, true, c.budget).bytes;
  const char *begin = text.data(), *end = begin + text.size();
  if (begin != end && *begin == '+') ++begin;
  int64_t whole = 0;
  const int64_t base = args.integer(1, "base", 10);
  UM_CHECK(base >= 2 && base <= 36, "int: base {}", base);
  const auto parsed = std::from_chars(begin, end, whole, static_cast<int>(base));
  if (parsed.ec == std::errc() && parsed.ptr == end) return JinjaValue::integer(whole);
  double real = 0;  // int("3.7") is 3 here, as Jinja has it
  const auto number = std::from_chars(begin, end, real);
  if (number.ec == std::errc() && number.ptr == end && std::abs(real) < 9e18)
    return JinjaValue::integer(static_cast<int64_t>(real));
  return fallback(args, JinjaValue::integer(0));
}

JinjaValue to_float(JinjaContext& c, const JinjaValue& v, const Args& args) {
  if (v.is_number()) return JinjaValue::real(v.as_real("float"));
  if (v.as_text() == nullptr) return fallback(args, JinjaValue::real(0));
  const std::string text = jinja_strip(*v.as_text(), {}, true, true, c.budget).bytes;
  double real = 0;
  const auto number = std::from_chars(text.data(), text.data() + text.size(), real);
  const bool whole = number.ec == std::errc() && number.ptr == text.data() + text.size();
  return whole ? JinjaValue::real(real) : fallback(args, JinjaValue::real(0));
}

JinjaValue absolute(JinjaContext&, const JinjaValue& v, const Args&) {
  if (v.get_if<double>() != nullptr) return JinjaValue::real(std::fabs(v.as_real("abs")));
  const int64_t number = v.as_integer("abs");
  UM_CHECK(number != INT64_MIN, "abs: the result does not fit 64 bits");
  return JinjaValue::integer(number < 0 ? -number : number);
}

JinjaValue round(JinjaContext&, const JinjaValue& v, const Args& args) {
  const int64_t precision = args.integer(0, "precision", 0);
  UM_CHECK(precision >= -15 && precision <= 15, "round: precision {}", precision);
  const MarkedText* method = args.text(1, "method");
  const std::string_view how = method != nullptr ? std::string_view(method->bytes) : "common";
  if (v.get_if<double>() == nullptr && precision >= 0 && how == "common")
    return JinjaValue::integer(v.as_integer("round"));
  const double number = v.as_real("round");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (how == "ceil") return JinjaValue::real(std::ceil(number * scale) / scale);
  if (how == "floor") return JinjaValue::real(std::floor(number * scale) / scale);
  UM_CHECK(how == "common", "round: method {}, expected common, ceil or floor", quote(how));
  if (precision <= 0) return JinjaValue::real(std::nearbyint(number * scale) / scale);
  double rounded = 0;  // of the decimal text, as Python does it
  const std::string text = fmt::format("{:.{}f}", number, precision);
  std::from_chars(text.data(), text.data() + text.size(), rounded);
  return JinjaValue::real(rounded);
}

// ---- lists ----

const List& list_of(const JinjaValue& holder) {
  return *holder.items();
}

JinjaValue length(JinjaContext& c, const JinjaValue& v, const Args&) {
  if (const MarkedText* text = v.as_text()) {
    c.budget.spend(text->size() / 4);
    return JinjaValue::integer(static_cast<int64_t>(jinja_count_chars(text->bytes)));
  }
  if (v.fields() != nullptr) return JinjaValue::integer(std::ssize(*v.fields()));
  if (v.items() != nullptr) return JinjaValue::integer(std::ssize(*v.items()));
  UM_CHECK(v.is_undefined(), "length: a {} has no length", v.type_name());
  return JinjaValue::integer(0);
}

/// A list in which `place` picks from the items; it charges for them.
template <class Pick>
JinjaValue picked(JinjaContext& c, const JinjaValue& v, Pick pick) {
  const JinjaValue items = jinja_items(c, v);
  List out;
  for (const JinjaValue& item : list_of(items)) {
    c.budget.spend(JinjaBudget::kStep);
    if (pick(item)) out.push_back(item);
  }
  return JinjaValue::list(std::move(out));
}

template <bool kLast>
JinjaValue edge(JinjaContext& c, const JinjaValue& v, const Args&) {
  const JinjaValue items = jinja_items(c, v);
  if (list_of(items).empty()) return JinjaValue::undefined("the first or last item");
  return kLast ? list_of(items).back() : list_of(items).front();
}

JinjaValue to_list(JinjaContext& c, const JinjaValue& v, const Args&) {
  const JinjaValue items = jinja_items(c, v);
  return items.is_tuple() ? picked(c, items, [](const JinjaValue&) { return true; }) : items;
}

JinjaValue reverse(JinjaContext& c, const JinjaValue& v, const Args&) {
  if (v.as_text() != nullptr)
    return JinjaValue::text(jinja_slice(*v.as_text(), {}, {}, -1, c.budget));
  const JinjaValue items = jinja_items(c, v);
  c.budget.spend(JinjaBudget::kStep * list_of(items).size());
  return JinjaValue::list(List(list_of(items).rbegin(), list_of(items).rend()));
}

/// item.a.0.b for "a.0.b".
JinjaValue deep_attribute(JinjaContext& c, JinjaValue item, const JinjaValue& path) {
  if (path.as_text() == nullptr) return jinja_index(c, item, path);
  for (const MarkedText& part :
       jinja_split(*path.as_text(), std::string_view("."), -1, false, c.budget)) {
    const bool digits = part.size() != 0 && part.size() < 10 &&
                        part.bytes.find_first_not_of("0123456789") == std::string::npos;
    item = digits ? jinja_index(c, item, JinjaValue::integer(std::stoll(part.bytes)))
                  : jinja_attribute(c, item, part.bytes);
  }
  return item;
}

JinjaValue join(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue* given = args.find(0, "d");
  const MarkedText between = given != nullptr ? text_of(c, *given) : MarkedText();
  const JinjaValue* path = args.find(1, "attribute");
  const JinjaValue items = jinja_items(c, v);
  MarkedText out;
  bool first = true;
  for (const JinjaValue& item : list_of(items)) {
    c.budget.spend(between.size() + 8);
    if (!first) out.append(between);
    first = false;
    out.append(text_of(c, path != nullptr ? deep_attribute(c, item, *path) : item));
  }
  return JinjaValue::text(std::move(out));
}

Args without_first(JinjaContext& c, const Args& args, size_t count) {
  c.budget.spend(JinjaBudget::kStep * (args.positional.size() + args.named.size()));
  const auto from = static_cast<ptrdiff_t>(std::min(count, args.positional.size()));
  return {{args.positional.begin() + from, args.positional.end()}, args.named};
}

JinjaValue map(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue items = jinja_items(c, v);
  List out;
  const JinjaValue* path = args.find(args.positional.size(), "attribute");
  const JinjaValue* standard = args.find(args.positional.size(), "default");
  UM_CHECK(path != nullptr || !args.positional.empty(), "map: expected a filter or an attribute");
  const std::string name = path == nullptr ? text_of(c, args.positional[0]).bytes : std::string();
  const Args rest = path == nullptr ? without_first(c, args, 1) : Args{};
  for (const JinjaValue& item : list_of(items)) {
    c.budget.spend(JinjaBudget::kStep);
    JinjaValue value =
        path != nullptr ? deep_attribute(c, item, *path) : jinja_filter(c, name, item, rest);
    if (value.is_undefined() && standard != nullptr) value = *standard;
    out.push_back(std::move(value));
  }
  return JinjaValue::list(std::move(out));
}

/// select, reject, selectattr, rejectattr.
template <bool kAttribute, bool kKeep>
JinjaValue choose(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const size_t at = kAttribute ? 1 : 0;
  const JinjaValue* path = kAttribute ? &args.need(0, "attribute", "selectattr") : nullptr;
  const bool test = args.positional.size() > at;
  const std::string name = test ? text_of(c, args.positional[at]).bytes : std::string();
  const Args rest = without_first(c, args, at + 1);
  return picked(c, v, [&](const JinjaValue& item) {
    const JinjaValue value = path != nullptr ? deep_attribute(c, item, *path) : item;
    return (test ? jinja_test(c, name, value, rest) : value.truthy()) == kKeep;
  });
}

/// By what sort, unique, min and max compare an item: its attribute, texts in lower case.
JinjaValue sort_key(JinjaContext& c, const JinjaValue& item, const JinjaValue* path, bool cased) {
  JinjaValue key = path != nullptr ? deep_attribute(c, item, *path) : item;
  if (cased || key.as_text() == nullptr) return key;
  return JinjaValue::text(jinja_case(*key.as_text(), JinjaCase::kLower, c.budget));
}

List sorted(JinjaContext& c, const List& items, const JinjaValue* path, bool cased, bool reverse) {
  std::vector<std::pair<JinjaValue, JinjaValue>> keyed;
  for (const JinjaValue& item : items) {
    c.budget.spend(2 * JinjaBudget::kStep);
    keyed.emplace_back(sort_key(c, item, path, cased), item);
  }
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return jinja_compare(reverse ? b.first : a.first, reverse ? a.first : b.first, c.budget) < 0;
  });
  List out;
  for (auto& [key, item] : keyed) out.push_back(std::move(item));
  return out;
}

JinjaValue sort(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue items = jinja_items(c, v);
  return JinjaValue::list(sorted(c, list_of(items), args.find(2, "attribute"),
                                 args.flag(1, "case_sensitive", false),
                                 args.flag(0, "reverse", false)));
}

template <bool kMax>
JinjaValue extreme(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue items = jinja_items(c, v);
  const JinjaValue* path = args.find(1, "attribute");
  const bool cased = args.flag(0, "case_sensitive", false);
  const JinjaValue* best = nullptr;
  JinjaValue best_key;
  for (const JinjaValue& item : list_of(items)) {
    JinjaValue key = sort_key(c, item, path, cased);
    const int order = best == nullptr ? 0 : jinja_compare(key, best_key, c.budget);
    if (best != nullptr && (kMax ? order <= 0 : order >= 0)) continue;
    best = &item;
    best_key = std::move(key);
  }
  return best != nullptr ? *best : JinjaValue::undefined("the least or greatest of nothing");
}

JinjaValue unique(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue* path = args.find(1, "attribute");
  const bool cased = args.flag(0, "case_sensitive", false);
  List seen;
  return picked(c, v, [&](const JinjaValue& item) {
    JinjaValue key = sort_key(c, item, path, cased);
    for (const JinjaValue& other : seen)
      if (jinja_equal(key, other, c.budget)) return false;
    seen.push_back(std::move(key));
    return true;
  });
}

JinjaValue sum(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue items = jinja_items(c, v);
  const JinjaValue *path = args.find(0, "attribute"), *start = args.find(1, "start");
  JinjaValue total = start != nullptr ? *start : JinjaValue::integer(0);
  for (const JinjaValue& item : list_of(items)) {
    const bool deep = path != nullptr && !path->is_none();
    total = jinja_arithmetic(c, "+", total, deep ? deep_attribute(c, item, *path) : item);
  }
  return total;
}

JinjaValue dict_items(JinjaContext& c, const JinjaValue& v, const Args&) {
  return v.is_undefined() ? JinjaValue::list({}) : jinja_pairs(c, v, "items");
}

JinjaValue dict_sort(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue pairs = jinja_pairs(c, v, "dictsort");
  const MarkedText* by = args.text(1, "by");
  const JinjaValue place = JinjaValue::integer(by != nullptr && by->bytes == "value" ? 1 : 0);
  return JinjaValue::list(sorted(c, list_of(pairs), &place, args.flag(0, "case_sensitive", false),
                                 args.flag(2, "reverse", false)));
}

JinjaValue attribute(JinjaContext& c, const JinjaValue& v, const Args& args) {
  return jinja_index(c, v, args.need(0, "name", "attr"));
}

JinjaValue standard(JinjaContext&, const JinjaValue& v, const Args& args) {
  const bool missing = v.is_undefined() || (args.flag(1, "boolean", false) && !v.truthy());
  if (!missing) return v;
  const JinjaValue* given = args.find(0, "default_value");
  return given != nullptr ? *given : JinjaValue::string("");
}

JinjaValue same(JinjaContext&, const JinjaValue& v, const Args&) {
  return v;
}

const std::unordered_map<std::string_view, Filter> kFilters = {
    {"trim", trim},
    {"upper", change_case<JinjaCase::kUpper>},
    {"lower", change_case<JinjaCase::kLower>},
    {"title", change_case<JinjaCase::kWords>},
    {"capitalize", change_case<JinjaCase::kCapitalize>},
    {"string", to_string},
    {"safe", same},
    {"escape", escape},
    {"e", escape},
    {"replace", replace},
    {"indent", indent},
    {"format", format},
    {"wordcount", word_count},
    {"tojson", to_json},
    {"int", to_int},
    {"float", to_float},
    {"abs", absolute},
    {"round", round},
    {"length", length},
    {"count", length},
    {"first", edge<false>},
    {"last", edge<true>},
    {"list", to_list},
    {"reverse", reverse},
    {"join", join},
    {"map", map},
    {"select", choose<false, true>},
    {"reject", choose<false, false>},
    {"selectattr", choose<true, true>},
    {"rejectattr", choose<true, false>},
    {"sort", sort},
    {"min", extreme<false>},
    {"max", extreme<true>},
    {"unique", unique},
    {"sum", sum},
    {"items", dict_items},
    {"dictsort", dict_sort},
    {"attr", attribute},
    {"default", standard},
    {"d", standard}};

}  // namespace

JinjaValue jinja_filter(JinjaContext& context, const std::string& name, const JinjaValue& value,
                        const JinjaArguments& arguments) {
  const JinjaLevel level(context);
  const auto found = kFilters.find(name);
  UM_CHECK(found != kFilters.end(), "there is no filter {}", quote(name));
  return found->second(context, value, arguments);
}

}  // namespace um
