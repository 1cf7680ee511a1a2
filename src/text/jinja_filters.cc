// The filters of chat templates for texts and numbers: `value | NAME(arguments)`.
#include "text/jinja_filters.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/json.h"

namespace um {
namespace {

using Args = JinjaArguments;

constexpr int64_t kMaxWidth = 100'000;

// ---- texts ----

MarkedText text_of(JinjaContext& c, const JinjaValue& v) {
  return jinja_text(v, c.budget);
}
/// What is HTML stays so, as most filters have it.
MarkedText soft_text(JinjaContext& c, const JinjaValue& v) {
  return jinja_text(v, c.budget, true);
}

JinjaValue trim(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const MarkedText* chars = args.text(0, "chars");
  const auto which =
      chars != nullptr ? std::optional<std::string_view>(chars->bytes) : std::nullopt;
  return JinjaValue::text(jinja_strip(soft_text(c, v), which, true, true, c.budget));
}

template <JinjaCase kMode>
JinjaValue change_case(JinjaContext& c, const JinjaValue& v, const Args&) {
  return JinjaValue::text(jinja_case(soft_text(c, v), kMode, c.budget));
}

JinjaValue to_string(JinjaContext& c, const JinjaValue& v, const Args&) {
  return v.as_text() != nullptr ? v : JinjaValue::text(text_of(c, v));
}

JinjaValue safe(JinjaContext& c, const JinjaValue& v, const Args&) {
  MarkedText text = text_of(c, v);
  text.html = true;
  return JinjaValue::text(std::move(text));
}

JinjaValue escape(JinjaContext& c, const JinjaValue& v, const Args&) {
  return JinjaValue::text(jinja_escape(soft_text(c, v), c.budget));
}

JinjaValue replace(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const MarkedText old = text_of(c, args.need(0, "old", "replace"));
  const MarkedText by = text_of(c, args.need(1, "new", "replace"));
  const int64_t most = args.integer(2, "count", -1);
  return JinjaValue::text(jinja_replace(text_of(c, v), old.bytes, by, most, c.budget));
}

const MarkedText& need_text(const JinjaValue& v, std::string_view what) {
  UM_CHECK(v.as_text() != nullptr, "{}: expected a text, found {}", what, v.type_name());
  return *v.as_text();
}

MarkedText spaces(int64_t count) {
  UM_CHECK(count <= kMaxWidth, "{} spaces are too many", count);
  return MarkedText::own(std::string(static_cast<size_t>(std::max<int64_t>(count, 0)), ' '));
}

JinjaValue indent(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue* width = args.find(0, "width");
  const MarkedText margin = width == nullptr              ? spaces(4)
                            : width->as_text() != nullptr ? *width->as_text()
                                                          : spaces(width->as_integer("indent"));
  const bool first = args.flag(1, "first", false), blank = args.flag(2, "blank", false);
  MarkedText text = need_text(v, "indent");
  text.append("\n");
  const std::vector<MarkedText> lines = jinja_split_lines(text, false, c.budget);
  MarkedText out;
  out.html = text.html;
  for (size_t i = 0; i < lines.size(); ++i) {
    c.budget.spend(margin.size() + lines[i].size() + 1);
    if (i > 0) out.append("\n");
    if (i == 0 ? first : blank || lines[i].size() != 0) out.append(margin);
    out.append(lines[i]);
  }
  return JinjaValue::text(std::move(out));
}

JinjaValue format(JinjaContext& c, const JinjaValue& v, const Args& args) {
  UM_CHECK(args.positional.empty() || args.named.empty(), "format: values by place and by name");
  const JinjaValue values = args.named.empty()
                                ? JinjaValue::tuple(args.positional)
                                : JinjaValue::dict(jinja_make_dict(c, {{}, args.named}));
  return JinjaValue::text(jinja_percent(soft_text(c, v), values, c.budget));
}

JinjaValue word_count(JinjaContext& c, const JinjaValue& v, const Args&) {
  return JinjaValue::integer(jinja_count_words(text_of(c, v).bytes, c.budget));
}

JinjaValue center(JinjaContext& c, const JinjaValue& v, const Args& args) {
  return JinjaValue::text(jinja_pad(soft_text(c, v), args.integer(0, "width", 80),
                                    MarkedText::own(" "), JinjaAlign::kCenter, c.budget));
}

JinjaValue truncate(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const MarkedText* given = args.text(2, "end");
  const MarkedText end = given != nullptr ? *given : MarkedText::own("...");
  const int64_t length = args.integer(0, "length", 255), leeway = args.integer(3, "leeway", 5);
  const auto tail = static_cast<int64_t>(jinja_count_chars(end.bytes));
  UM_CHECK(length >= tail && leeway >= 0, "truncate: length {}, leeway {}", length, leeway);
  if (jinja_filter(c, "length", v, {}).as_integer("truncate") - leeway <= length) return v;
  const MarkedText& text = need_text(v, "truncate");
  MarkedText out = jinja_slice(text, {}, length - tail, 1, c.budget);
  if (!args.flag(1, "killwords", false))
    out = jinja_split(out, std::string_view(" "), 1, true, c.budget)[0];
  out.append(end);
  return JinjaValue::text(std::move(out));
}

/// As a part of a URL; `query`: a blank is +, and / is none of its own.
MarkedText url_quoted(JinjaContext& c, const JinjaValue& v, bool query) {
  const MarkedText text = text_of(c, v);
  MarkedText out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char ch = text.bytes[i];
    const bool plain = (ch >= '0' && ch <= '9') || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z') ||
                       std::string_view("_.-~").find(ch) != std::string_view::npos ||
                       (ch == '/' && !query);
    c.budget.spend(3);
    if (plain)
      out.append(std::string_view(&ch, 1), text.outside[i]);
    else if (ch == ' ' && query)
      out.append("+", text.outside[i]);
    else
      out.append(fmt::format("%{:02X}", static_cast<uint8_t>(ch)), text.outside[i]);
  }
  return out;
}

JinjaValue url_encode(JinjaContext& c, const JinjaValue& v, const Args&) {
  const bool single = v.as_text() != nullptr || v.is_number() || v.is_none();
  if (single) return JinjaValue::text(url_quoted(c, v, false));
  MarkedText out;
  for (const auto& [key, value] : jinja_make_dict(c, {{v}, {}})) {
    if (out.size() > 0) out.append("&");
    out.append(url_quoted(c, key, true));
    out.append("=");
    out.append(url_quoted(c, value, true));
  }
  return JinjaValue::text(std::move(out));
}

/// Arguments in Hugging Face's order, not Jinja's.
JinjaValue to_json(JinjaContext& c, const JinjaValue& v, const Args& args) {
  JinjaJsonStyle style;
  if (const JinjaValue* indent = args.find(1, "indent"); indent != nullptr && !indent->is_none())
    style.indent = indent->as_text() != nullptr ? indent->as_text()->bytes
                                                : spaces(indent->as_integer("tojson")).bytes;
  if (const JinjaValue* both = args.find(2, "separators"); both != nullptr && !both->is_none()) {
    const JinjaValue parts = jinja_items(c, *both);
    UM_CHECK(parts.items()->size() == 2, "tojson: separators: expected two texts");
    style.item_separator = need_text((*parts.items())[0], "tojson: separators").bytes;
    style.key_separator = need_text((*parts.items())[1], "tojson: separators").bytes;
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

void need_defined(const JinjaValue& v) {
  if (const auto* missing = v.get_if<JinjaValue::Undefined>())
    fail("{} is undefined", missing->name.empty() ? "the value" : missing->name);
}

JinjaValue to_int(JinjaContext& c, const JinjaValue& v, const Args& args) {
  need_defined(v);
  if (v.is_integer()) return v;
  if (v.is_bool()) return JinjaValue::integer(v.as_integer("int"));
  const JinjaValue zero = fallback(args, JinjaValue::integer(0));
  const auto whole = [&](double real) {
    UM_CHECK(std::abs(real) < 9e18, "int: the number does not fit 64 bits");
    return JinjaValue::integer(static_cast<int64_t>(real));
  };
  if (const auto* real = v.get_if<double>()) return std::isnan(*real) ? zero : whole(*real);
  if (v.as_text() == nullptr) return zero;
  const std::string text = jinja_strip(*v.as_text(), {}, true, true, c.budget).bytes;
  const int64_t base = args.integer(1, "base", 10);
  UM_CHECK(base == 0 || (base >= 2 && base <= 36), "int: base {}", base);
  if (const auto integer = jinja_parse_integer(text, static_cast<int>(base)))
    return JinjaValue::integer(*integer);
  const auto real = jinja_parse_real(text);  // int("3.7") is 3 here, as Jinja has it
  return real && std::isfinite(*real) ? whole(*real) : zero;
}

JinjaValue to_float(JinjaContext& c, const JinjaValue& v, const Args& args) {
  need_defined(v);
  if (v.is_number()) return JinjaValue::real(v.as_real("float"));
  if (v.as_text() == nullptr) return fallback(args, JinjaValue::real(0));
  const auto real = jinja_parse_real(jinja_strip(*v.as_text(), {}, true, true, c.budget).bytes);
  return real ? JinjaValue::real(*real) : fallback(args, JinjaValue::real(0));
}

JinjaValue absolute(JinjaContext&, const JinjaValue& v, const Args&) {
  if (v.get_if<double>() != nullptr) return JinjaValue::real(std::fabs(v.as_real("abs")));
  if (v.get_if<uint64_t>() != nullptr) return v;
  const int64_t number = v.as_integer("abs");
  UM_CHECK(number != INT64_MIN, "abs: the result does not fit 64 bits");
  return JinjaValue::integer(number < 0 ? -number : number);
}

/// Python's round(): of the decimal text, to even in the middle.
JinjaValue rounded(const JinjaValue& v, int64_t precision) {
  const double number = v.as_real("round");
  if (v.get_if<double>() == nullptr && precision >= 0)
    return JinjaValue::integer(v.as_integer("round"));
  if (v.get_if<double>() != nullptr && precision > 0 && std::isfinite(number))
    return JinjaValue::real(*jinja_parse_real(fmt::format("{:.{}f}", number, precision)));
  const double unit = std::pow(10.0, static_cast<double>(-precision));
  const double near = std::nearbyint(number / unit) * unit;
  return v.get_if<double>() != nullptr ? JinjaValue::real(near)
                                       : JinjaValue::integer(static_cast<int64_t>(near));
}

JinjaValue round(JinjaContext&, const JinjaValue& v, const Args& args) {
  const int64_t precision = args.integer(0, "precision", 0);
  UM_CHECK(precision >= -15 && precision <= 15, "round: precision {}", precision);
  const MarkedText* method = args.text(1, "method");
  const std::string_view how = method != nullptr ? std::string_view(method->bytes) : "common";
  if (how == "common") return rounded(v, precision);
  UM_CHECK(how == "ceil" || how == "floor", "round: method {}, expected common, ceil or floor",
           quote(how));
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = v.as_real("round") * scale;
  return JinjaValue::real((how == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

}  // namespace

const JinjaFilters& jinja_text_filters() {
  static const JinjaFilters table = {
      {"trim", {trim, {"chars"}}},
      {"upper", {change_case<JinjaCase::kUpper>}},
      {"lower", {change_case<JinjaCase::kLower>}},
      {"title", {change_case<JinjaCase::kWords>}},
      {"capitalize", {change_case<JinjaCase::kCapitalize>}},
      {"string", {to_string}},
      {"safe", {safe}},
      {"escape", {escape}},
      {"e", {escape}},
      {"replace", {replace, {"old", "new", "count"}}},
      {"indent", {indent, {"width", "first", "blank"}}},
      {"format", {format, {}, true}},
      {"wordcount", {word_count}},
      {"center", {center, {"width"}}},
      {"truncate", {truncate, {"length", "killwords", "end", "leeway"}}},
      {"urlencode", {url_encode}},
      {"tojson", {to_json, {"ensure_ascii", "indent", "separators", "sort_keys"}}},
      {"int", {to_int, {"default", "base"}}},
      {"float", {to_float, {"default"}}},
      {"abs", {absolute}},
      {"round", {round, {"precision", "method"}}}};
  return table;
}

namespace {

const JinjaFilter* find_filter(std::string_view name) {
  for (const JinjaFilters* table : {&jinja_text_filters(), &jinja_list_filters()}) {
    const auto found = table->find(name);
    if (found != table->end()) return &found->second;
  }
  return nullptr;
}

/// Python's rules for what a call gives a function with these parameters.
void check_arguments(const std::string& name, const JinjaFilter& filter, const Args& given) {
  if (filter.any_arguments) return;
  const auto& parameters = filter.parameters;
  UM_CHECK(given.positional.size() <= parameters.size(), "{}: at most {} arguments, found {}", name,
           parameters.size(), given.positional.size());
  for (const auto& [key, value] : given.named) {
    const auto place = std::find(parameters.begin(), parameters.end(), key) - parameters.begin();
    UM_CHECK(place < std::ssize(parameters), "{}: there is no argument {}", name, quote(key));
    UM_CHECK(place >= std::ssize(given.positional), "{}: two values for {}", name, quote(key));
  }
}

}  // namespace

bool jinja_has_filter(std::string_view name) {
  return find_filter(name) != nullptr;
}

JinjaValue jinja_filter(JinjaContext& context, const std::string& name, const JinjaValue& value,
                        const JinjaArguments& arguments) {
  const JinjaLevel level(context);
  const JinjaFilter* filter = find_filter(name);
  UM_CHECK(filter != nullptr, "there is no filter {}", quote(name));
  check_arguments(name, *filter, arguments);
  return filter->run(context, value, arguments);
}

}  // namespace um
