// The methods of texts, dicts and lists that chat templates may call. None changes its value, as in
// Jinja's immutable sandbox.
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <unordered_map>

#include "core/error.h"
#include "text/jinja_runtime.h"

namespace um {
namespace {

struct Method {
  JinjaValue (*run)(JinjaContext&, const JinjaValue&, const JinjaArguments&);
  size_t most;         // positional arguments
  bool named = false;  // takes named ones, too
};
using Methods = std::unordered_map<std::string_view, Method>;
using Args = JinjaArguments;

const MarkedText& text_of(const JinjaValue& value) {
  return *value.as_text();
}
std::optional<std::string_view> optional_text(const MarkedText* text) {
  return text != nullptr ? std::optional<std::string_view>(text->bytes) : std::nullopt;
}
const MarkedText& need_text(const Args& args, size_t index, std::string_view name) {
  const MarkedText* text = args.text(index, name);
  UM_CHECK(text != nullptr, "{}: expected a text", name);
  return *text;
}

template <bool kLeft, bool kRight>
JinjaValue strip(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const auto chars = optional_text(args.text(0, "chars"));
  return JinjaValue::text(jinja_strip(text_of(v), chars, kLeft, kRight, c.budget));
}

template <bool kRight>
JinjaValue split(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const auto separator = optional_text(args.text(0, "sep"));
  const int64_t most = args.integer(1, "maxsplit", -1);
  return jinja_texts(c, jinja_split(text_of(v), separator, most, kRight, c.budget));
}

template <JinjaCase kMode>
JinjaValue change_case(JinjaContext& c, const JinjaValue& v, const Args&) {
  return JinjaValue::text(jinja_case(text_of(v), kMode, c.budget));
}

/// What the arguments at `at` and behind, a start and an end, leave of a text; `start`: its first
/// character in the whole.
MarkedText window(JinjaContext& c, const JinjaValue& v, const Args& args, size_t at,
                  int64_t& start) {
  const auto place = [&](size_t i) -> std::optional<int64_t> {
    const JinjaValue* given = args.find(i, "");
    if (given == nullptr || given->is_none()) return {};
    return given->as_integer("a place in a text");
  };
  const auto from = place(at), to = place(at + 1);
  start = 0;
  if (!from && !to) return text_of(v);
  const auto count = static_cast<int64_t>(jinja_count_chars(text_of(v).bytes));
  start = std::max<int64_t>(from && *from < 0 ? *from + count : from.value_or(0), 0);
  return jinja_slice(text_of(v), from, to, 1, c.budget);
}

/// startswith and endswith: a text, or any of a tuple's.
template <bool kEnd>
JinjaValue has_edge(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const std::string_view what = kEnd ? "endswith" : "startswith";
  const JinjaValue& given = args.need(0, "prefix", what);
  int64_t start = 0;
  const MarkedText text = window(c, v, args, 1, start);
  const auto one = [&](const JinjaValue& edge) {
    UM_CHECK(edge.as_text() != nullptr, "{}: expected a text, found {}", what, edge.type_name());
    c.budget.spend(edge.as_text()->size() / 4 + 1);
    const std::string_view part = edge.as_text()->bytes;
    return kEnd ? text.bytes.ends_with(part) : text.bytes.starts_with(part);
  };
  if (!given.is_tuple()) return JinjaValue::boolean(one(given));
  return JinjaValue::boolean(std::any_of(given.items()->begin(), given.items()->end(), one));
}

JinjaValue replace(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const MarkedText& by = need_text(args, 1, "new");
  return JinjaValue::text(jinja_replace(text_of(v), need_text(args, 0, "old").bytes,
                                        text_of(v).html ? jinja_escape(by, c.budget) : by,
                                        args.integer(2, "count", -1), c.budget));
}

/// find, rfind, index: the place in characters, or -1.
template <bool kLast>
JinjaValue find(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const std::string& needle = need_text(args, 0, "sub").bytes;
  int64_t start = 0;
  const std::string text = window(c, v, args, 1, start).bytes;
  c.budget.spend(text.size() + needle.size());
  size_t at = jinja_find_text(text, needle);
  if (kLast && at != std::string::npos) {
    if (needle.empty()) at = text.size();
    for (size_t next = at; next < text.size() && !needle.empty();) {
      c.budget.spend(8 + needle.size());
      next = jinja_find_text(text, needle, next + 1);
      if (next != std::string::npos) at = next;
    }
  }
  if (at == std::string::npos) return JinjaValue::integer(-1);
  return JinjaValue::integer(
      start + static_cast<int64_t>(jinja_count_chars(std::string_view(text).substr(0, at))));
}

template <bool kLast>
JinjaValue text_index(JinjaContext& c, const JinjaValue& v, const Args& args) {
  JinjaValue place = find<kLast>(c, v, args);
  UM_CHECK(place.as_integer("index") >= 0, "index: the text is not there");
  return place;
}

JinjaValue count_text(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const std::string& needle = need_text(args, 0, "sub").bytes;
  int64_t start = 0;
  const std::string text = window(c, v, args, 1, start).bytes;
  c.budget.spend(text.size() + needle.size());
  if (needle.empty()) return JinjaValue::integer(static_cast<int64_t>(jinja_count_chars(text)) + 1);
  int64_t count = 0;
  for (size_t at = 0; (at = jinja_find_text(text, needle, at)) != std::string::npos;
       at += needle.size()) {
    c.budget.spend(8);
    ++count;
  }
  return JinjaValue::integer(count);
}

template <bool kEnd>
JinjaValue remove_edge(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const MarkedText& text = text_of(v);
  const std::string& part = need_text(args, 0, "prefix").bytes;
  c.budget.spend(text.size());
  const bool there = kEnd ? text.bytes.ends_with(part) : text.bytes.starts_with(part);
  if (!there) return v;
  return JinjaValue::text(text.substr(kEnd ? 0 : part.size(), text.size() - part.size()));
}

template <bool kLast>
JinjaValue partition(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const MarkedText& text = text_of(v);
  const MarkedText& separator = need_text(args, 0, "sep");
  UM_CHECK(separator.size() != 0, "partition: the separator is empty");
  std::vector<MarkedText> parts = jinja_split(text, separator.bytes, 1, kLast, c.budget);
  if (parts.size() == 2)
    parts.insert(parts.begin() + 1, separator);
  else
    parts.insert(kLast ? parts.begin() : parts.end(), 2, MarkedText());
  const JinjaValue list = jinja_texts(c, std::move(parts));
  return JinjaValue::tuple(*list.items());
}

JinjaValue split_lines(JinjaContext& c, const JinjaValue& v, const Args& args) {
  return jinja_texts(c, jinja_split_lines(text_of(v), args.flag(0, "keepends", false), c.budget));
}

JinjaValue join(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue items = jinja_items(c, args.need(0, "iterable", "join"));
  MarkedText out;
  out.html = text_of(v).html;
  for (size_t i = 0; i < items.items()->size(); ++i) {
    const MarkedText* text = (*items.items())[i].as_text();
    UM_CHECK(text != nullptr, "join: expected texts, found {}", (*items.items())[i].type_name());
    c.budget.spend(text->size() + text_of(v).size() + 8);
    if (i > 0) out.append(text_of(v));
    out.append(out.html ? jinja_escape(*text, c.budget) : *text);
  }
  return JinjaValue::text(std::move(out));
}

JinjaValue zero_fill(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const MarkedText& text = text_of(v);
  const int64_t width = args.need(0, "width", "zfill").as_integer("zfill");
  const bool sign = text.bytes.starts_with('-') || text.bytes.starts_with('+');
  MarkedText out = text.substr(0, sign ? 1 : 0);
  out.append(jinja_pad(text.substr(sign ? 1 : 0), width - (sign ? 1 : 0), MarkedText::own("0"),
                       JinjaAlign::kRight, c.budget));
  return JinjaValue::text(std::move(out));
}

template <JinjaAlign kAlign>
JinjaValue pad(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const MarkedText* given = args.text(1, "fillchar");
  const MarkedText fill = given != nullptr ? *given : MarkedText::own(" ");
  return JinjaValue::text(
      jinja_pad(text_of(v), args.need(0, "width", "a width").as_integer("width"),
                text_of(v).html ? jinja_escape(fill, c.budget) : fill, kAlign, c.budget));
}

JinjaValue expand_tabs(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const int64_t size = std::clamp<int64_t>(args.integer(0, "tabsize", 8), 0, 1000);
  MarkedText out;
  out.html = text_of(v).html;
  int64_t column = 0;
  for (const MarkedText& one : jinja_chars(text_of(v), c.budget)) {
    if (one.bytes == "\t") {
      const int64_t room = size == 0 ? 0 : size - column % size;
      c.budget.spend(static_cast<uint64_t>(room));
      out.append(std::string(static_cast<size_t>(room), ' '), one.outside[0]);
      column += room;
    } else {
      out.append(one);
      column = one.bytes == "\n" || one.bytes == "\r" ? 0 : column + 1;
    }
  }
  return JinjaValue::text(std::move(out));
}

JinjaValue swap_case(JinjaContext& c, const JinjaValue& v, const Args&) {
  MarkedText out;
  out.html = text_of(v).html;
  for (const MarkedText& one : jinja_chars(text_of(v), c.budget)) {
    const MarkedText lower = jinja_case(one, JinjaCase::kLower, c.budget);
    out.append(lower.bytes != one.bytes ? lower : jinja_case(one, JinjaCase::kUpper, c.budget));
  }
  return JinjaValue::text(std::move(out));
}

JinjaValue case_fold(JinjaContext& c, const JinjaValue& v, const Args&) {
  const MarkedText lower = jinja_case(text_of(v), JinjaCase::kLower, c.budget);
  return JinjaValue::text(jinja_replace(lower, "ß", MarkedText::own("ss"), -1, c.budget));
}

bool is_decimal(int32_t code) {
  return utf8proc_category(code) == UTF8PROC_CATEGORY_ND;
}
bool is_digit(int32_t code) {
  const bool raised = code == 0xB9 || code == 0xB2 || code == 0xB3 ||
                      (code >= 0x2070 && code <= 0x2089 && code != 0x2071);
  return is_decimal(code) || (raised && utf8proc_category(code) == UTF8PROC_CATEGORY_NO);
}
bool is_numeric(int32_t code) {
  const auto category = utf8proc_category(code);
  return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}
bool is_letter(int32_t code) {
  const auto category = utf8proc_category(code);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
bool is_alnum(int32_t code) {
  return is_letter(code) || is_numeric(code);
}
bool is_printable(int32_t code) {
  const auto category = utf8proc_category(code);
  return code == ' ' || (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_SO);
}
bool is_ascii(int32_t code) {
  return code < 0x80;
}
bool in_name(int32_t code) {
  const auto category = utf8proc_category(code);
  return is_alnum(code) || code == '_' || category == UTF8PROC_CATEGORY_MN;
}

/// Whether all characters are such, and there is one, or `empty`.
template <bool (*kIs)(int32_t), bool kEmpty = false>
JinjaValue all_of(JinjaContext& c, const JinjaValue& v, const Args&) {
  const std::string& text = text_of(v).bytes;
  c.budget.spend(4 * text.size());
  for (size_t at = 0; at < text.size();)
    if (!kIs(jinja_next_char(text, at))) return JinjaValue::boolean(false);
  return JinjaValue::boolean(kEmpty || !text.empty());
}

JinjaValue is_identifier(JinjaContext& c, const JinjaValue& v, const Args& args) {
  size_t at = 0;
  const std::string& text = text_of(v).bytes;
  const int32_t first = text.empty() ? ' ' : jinja_next_char(text, at);
  const bool begins = is_letter(first) || first == '_';
  return begins ? all_of<in_name>(c, v, args) : JinjaValue::boolean(false);
}

JinjaValue is_title(JinjaContext& c, const JinjaValue& v, const Args&) {
  const MarkedText& text = text_of(v);
  const bool same = jinja_case(text, JinjaCase::kTitle, c.budget).bytes == text.bytes;
  return JinjaValue::boolean(same &&
                             jinja_case(text, JinjaCase::kLower, c.budget).bytes != text.bytes);
}

JinjaValue all_spaces(JinjaContext& c, const JinjaValue& v, const Args&) {
  const bool empty = text_of(v).size() == 0;
  return JinjaValue::boolean(!empty &&
                             jinja_strip(text_of(v), {}, true, true, c.budget).size() == 0);
}

template <bool kUpper>
JinjaValue has_case(JinjaContext& c, const JinjaValue& v, const Args&) {
  return JinjaValue::boolean(jinja_test(c, kUpper ? "upper" : "lower", v, {}));
}

JinjaValue format(JinjaContext& c, const JinjaValue& v, const Args& args) {
  return JinjaValue::text(jinja_format(c, text_of(v), args));
}

JinjaValue format_map(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue& map = args.need(0, "map", "format_map");
  UM_CHECK(map.fields() != nullptr, "format_map: expected a dict");
  Args named;
  for (const auto& [key, value] : *map.fields())
    if (key.as_text() != nullptr) named.named.emplace_back(key.as_text()->bytes, value);
  c.budget.spend(JinjaBudget::kStep * named.named.size());
  return JinjaValue::text(jinja_format(c, text_of(v), named));
}

JinjaValue dict_items(JinjaContext& c, const JinjaValue& v, const Args&) {
  return JinjaValue::list(jinja_pairs(c, v, "items"), JinjaSequence::kItems);
}
JinjaValue dict_keys(JinjaContext& c, const JinjaValue& v, const Args&) {
  return JinjaValue::list(*jinja_items(c, v).items(), JinjaSequence::kKeys);
}
JinjaValue dict_values(JinjaContext& c, const JinjaValue& v, const Args&) {
  c.budget.spend(JinjaBudget::kStep * v.fields()->size());
  JinjaValue::List values;
  for (const auto& field : *v.fields()) values.push_back(field.second);
  return JinjaValue::list(std::move(values), JinjaSequence::kValues);
}
JinjaValue dict_get(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue& key = args.need(0, "key", "get");
  jinja_need_hashable(key);
  const JinjaValue* found = jinja_find(*v.fields(), key, c.budget);
  const JinjaValue* standard = args.find(1, "default");
  return found != nullptr ? *found : standard != nullptr ? *standard : JinjaValue::none();
}
JinjaValue copy(JinjaContext&, const JinjaValue& v, const Args&) {
  return v;
}

JinjaValue list_index(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue& item = args.need(0, "value", "index");
  for (size_t i = 0; i < v.items()->size(); ++i)
    if (jinja_equal((*v.items())[i], item, c.budget))
      return JinjaValue::integer(static_cast<int64_t>(i));
  fail("index: the value is not in the list");
}
JinjaValue list_count(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue& item = args.need(0, "value", "count");
  const auto same = [&](const JinjaValue& other) { return jinja_equal(item, other, c.budget); };
  return JinjaValue::integer(std::count_if(v.items()->begin(), v.items()->end(), same));
}

const Methods kText = {{"strip", {strip<true, true>, 1}},
                       {"lstrip", {strip<true, false>, 1}},
                       {"rstrip", {strip<false, true>, 1}},
                       {"split", {split<false>, 2, true}},
                       {"rsplit", {split<true>, 2, true}},
                       {"splitlines", {split_lines, 1, true}},
                       {"partition", {partition<false>, 1}},
                       {"rpartition", {partition<true>, 1}},
                       {"upper", {change_case<JinjaCase::kUpper>, 0}},
                       {"lower", {change_case<JinjaCase::kLower>, 0}},
                       {"title", {change_case<JinjaCase::kTitle>, 0}},
                       {"capitalize", {change_case<JinjaCase::kCapitalize>, 0}},
                       {"casefold", {case_fold, 0}},
                       {"swapcase", {swap_case, 0}},
                       {"startswith", {has_edge<false>, 3}},
                       {"endswith", {has_edge<true>, 3}},
                       {"removeprefix", {remove_edge<false>, 1}},
                       {"removesuffix", {remove_edge<true>, 1}},
                       {"replace", {replace, 3}},
                       {"find", {find<false>, 3}},
                       {"rfind", {find<true>, 3}},
                       {"index", {text_index<false>, 3}},
                       {"rindex", {text_index<true>, 3}},
                       {"count", {count_text, 3}},
                       {"join", {join, 1}},
                       {"zfill", {zero_fill, 1}},
                       {"ljust", {pad<JinjaAlign::kLeft>, 2}},
                       {"rjust", {pad<JinjaAlign::kRight>, 2}},
                       {"center", {pad<JinjaAlign::kCenter>, 2}},
                       {"expandtabs", {expand_tabs, 1, true}},
                       {"isdigit", {all_of<is_digit>, 0}},
                       {"isdecimal", {all_of<is_decimal>, 0}},
                       {"isnumeric", {all_of<is_numeric>, 0}},
                       {"isalpha", {all_of<is_letter>, 0}},
                       {"isalnum", {all_of<is_alnum>, 0}},
                       {"isascii", {all_of<is_ascii, true>, 0}},
                       {"isprintable", {all_of<is_printable, true>, 0}},
                       {"isidentifier", {is_identifier, 0}},
                       {"isspace", {all_spaces, 0}},
                       {"isupper", {has_case<true>, 0}},
                       {"islower", {has_case<false>, 0}},
                       {"istitle", {is_title, 0}},
                       {"format", {format, SIZE_MAX, true}},
                       {"format_map", {format_map, 1}}};
const Methods kDict = {{"items", {dict_items, 0}},
                       {"keys", {dict_keys, 0}},
                       {"values", {dict_values, 0}},
                       {"get", {dict_get, 2}},
                       {"copy", {copy, 0}}};
const Methods kList = {{"index", {list_index, 1}}, {"count", {list_count, 1}}, {"copy", {copy, 0}}};
const Methods kPlaces = {{"index", {list_index, 1}}, {"count", {list_count, 1}}};  // tuple, range
constexpr std::array<std::string_view, 8> kListChanges = {"append", "clear", "pop",    "reverse",
                                                          "insert", "sort",  "extend", "remove"};
constexpr std::array<std::string_view, 5> kDictChanges = {"clear", "pop", "popitem", "setdefault",
                                                          "update"};

const Methods* methods_of(const JinjaValue& object) {
  if (object.as_text() != nullptr) return &kText;
  if (object.fields() != nullptr) return &kDict;
  if (!object.is_indexed()) return nullptr;
  return object.kind() == JinjaSequence::kList ? &kList : &kPlaces;
}

}  // namespace

bool jinja_has_method(const JinjaValue& object, std::string_view name) {
  const Methods* methods = methods_of(object);
  return methods != nullptr && methods->contains(name);
}

bool jinja_would_change(const JinjaValue& object, std::string_view name) {
  const auto among = [&](const auto& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (object.fields() != nullptr) return among(kDictChanges);
  return object.items() != nullptr && object.kind() == JinjaSequence::kList && among(kListChanges);
}

std::optional<JinjaValue> jinja_method(JinjaContext& context, const JinjaValue& object,
                                       const std::string& name, const JinjaArguments& arguments) {
  UM_CHECK(!jinja_would_change(object, name), "{}: a template may not change a {}", name,
           object.type_name());
  if (!jinja_has_method(object, name)) return {};
  const Method& method = methods_of(object)->at(name);
  UM_CHECK(arguments.positional.size() <= method.most, "{}: at most {} arguments, found {}", name,
           method.most, arguments.positional.size());
  UM_CHECK(method.named || arguments.named.empty(), "{}: it takes no named arguments", name);
  return method.run(context, object, arguments);
}

}  // namespace um
