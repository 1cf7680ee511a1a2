// The methods of texts, dicts and lists that chat templates may call. None changes its value, as in
// Jinja's immutable sandbox.
#include <algorithm>
#include <array>
#include <unordered_map>

#include "core/error.h"
#include "text/jinja_runtime.h"

namespace um {
namespace {

using Method = JinjaValue (*)(JinjaContext&, const JinjaValue&, const JinjaArguments&);
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

/// startswith and endswith: a text, or any of a tuple's.
template <bool kEnd>
JinjaValue has_edge(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue& given = args.need(0, "prefix", kEnd ? "endswith" : "startswith");
  const std::string_view bytes = text_of(v).bytes;
  const auto one = [&](const JinjaValue& edge) {
    UM_CHECK(edge.as_text() != nullptr, "{}: expected a text, found {}",
             kEnd ? "endswith" : "startswith", edge.type_name());
    c.budget.spend(edge.as_text()->size() / 4 + 1);
    const std::string_view part = edge.as_text()->bytes;
    return kEnd ? bytes.ends_with(part) : bytes.starts_with(part);
  };
  if (given.items() == nullptr) return JinjaValue::boolean(one(given));
  return JinjaValue::boolean(std::any_of(given.items()->begin(), given.items()->end(), one));
}

JinjaValue replace(JinjaContext& c, const JinjaValue& v, const Args& args) {
  return JinjaValue::text(jinja_replace(text_of(v), need_text(args, 0, "old").bytes,
                                        need_text(args, 1, "new"), args.integer(2, "count", -1),
                                        c.budget));
}

/// find, rfind, index: the place in characters, or -1.
template <bool kLast>
JinjaValue find(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const std::string& needle = need_text(args, 0, "sub").bytes;
  const std::string& text = text_of(v).bytes;
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
      static_cast<int64_t>(jinja_count_chars(std::string_view(text).substr(0, at))));
}

JinjaValue text_index(JinjaContext& c, const JinjaValue& v, const Args& args) {
  JinjaValue place = find<false>(c, v, args);
  UM_CHECK(place.as_integer("index") >= 0, "index: the text is not there");
  return place;
}

JinjaValue count_text(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const std::string& needle = need_text(args, 0, "sub").bytes;
  UM_CHECK(!needle.empty(), "count: the text to count is empty");
  const std::string& text = text_of(v).bytes;
  c.budget.spend(text.size() + needle.size());
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
  return JinjaValue::list(*list.items(), true);
}

JinjaValue split_lines(JinjaContext& c, const JinjaValue& v, const Args& args) {
  return jinja_texts(c, jinja_split_lines(text_of(v), args.flag(0, "keepends", false), c.budget));
}

JinjaValue join(JinjaContext& c, const JinjaValue& v, const Args& args) {
  return jinja_filter(c, "join", args.need(0, "iterable", "join"), {{v}, {}});
}

bool is_digit(char ch) {
  return ch >= '0' && ch <= '9';
}
bool is_alpha(char ch) {
  return (ch | 0x20) >= 'a' && (ch | 0x20) <= 'z';
}
template <bool kDigits, bool kLetters>
JinjaValue all_of(JinjaContext& c, const JinjaValue& v, const Args&) {
  const std::string& text = text_of(v).bytes;
  c.budget.spend(text.size());
  const bool all = std::all_of(text.begin(), text.end(), [](char ch) {
    return (kDigits && is_digit(ch)) || (kLetters && (is_alpha(ch) || (ch & 0x80) != 0));
  });
  return JinjaValue::boolean(all && !text.empty());
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

/// str.format for {} {0} {name}, without attributes and formats.
JinjaValue format(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const MarkedText& text = text_of(v);
  c.budget.spend(text.size());
  MarkedText out;
  size_t used = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const char ch = text.bytes[at];
    const bool twice = at + 1 < text.size() && text.bytes[at + 1] == ch;
    if ((ch == '{' || ch == '}') && twice) {
      out.append(text.substr(at++, 1));
    } else if (ch != '{') {
      out.append(text.substr(at, 1));
    } else {
      const size_t end = text.bytes.find('}', at);
      UM_CHECK(end != std::string::npos, "format: a {{ is not closed");
      const std::string name = text.bytes.substr(at + 1, end - at - 1);
      const bool number =
          !name.empty() && name.size() < 4 && std::all_of(name.begin(), name.end(), is_digit);
      const size_t index = name.empty() ? used++ : number ? std::stoul(name) : std::string::npos;
      out.append(jinja_text(args.need(index, name, "format"), c.budget));
      at = end;
    }
  }
  return JinjaValue::text(std::move(out));
}

JinjaValue dict_items(JinjaContext& c, const JinjaValue& v, const Args&) {
  return jinja_pairs(c, v, "items");
}
JinjaValue dict_keys(JinjaContext& c, const JinjaValue& v, const Args&) {
  return jinja_items(c, v);
}
JinjaValue dict_values(JinjaContext& c, const JinjaValue& v, const Args&) {
  c.budget.spend(JinjaBudget::kStep * v.fields()->size());
  JinjaValue::List values;
  for (const auto& field : *v.fields()) values.push_back(field.second);
  return JinjaValue::list(std::move(values));
}
JinjaValue dict_get(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const MarkedText* key = args.need(0, "key", "get").as_text();
  const JinjaValue* found =
      key != nullptr ? jinja_find(*v.fields(), key->bytes, c.budget) : nullptr;
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

const Methods kText = {{"strip", strip<true, true>},
                       {"lstrip", strip<true, false>},
                       {"rstrip", strip<false, true>},
                       {"split", split<false>},
                       {"rsplit", split<true>},
                       {"splitlines", split_lines},
                       {"partition", partition<false>},
                       {"rpartition", partition<true>},
                       {"upper", change_case<JinjaCase::kUpper>},
                       {"lower", change_case<JinjaCase::kLower>},
                       {"title", change_case<JinjaCase::kTitle>},
                       {"capitalize", change_case<JinjaCase::kCapitalize>},
                       {"startswith", has_edge<false>},
                       {"endswith", has_edge<true>},
                       {"removeprefix", remove_edge<false>},
                       {"removesuffix", remove_edge<true>},
                       {"replace", replace},
                       {"find", find<false>},
                       {"rfind", find<true>},
                       {"index", text_index},
                       {"count", count_text},
                       {"join", join},
                       {"isdigit", all_of<true, false>},
                       {"isalpha", all_of<false, true>},
                       {"isalnum", all_of<true, true>},
                       {"isspace", all_spaces},
                       {"isupper", has_case<true>},
                       {"islower", has_case<false>},
                       {"format", format}};
const Methods kDict = {{"items", dict_items},
                       {"keys", dict_keys},
                       {"values", dict_values},
                       {"get", dict_get},
                       {"copy", copy}};
const Methods kList = {{"index", list_index}, {"count", list_count}, {"copy", copy}};
constexpr std::array<std::string_view, 11> kChanging = {"append",  "extend",  "insert",    "pop",
                                                        "remove",  "clear",   "sort",      "update",
                                                        "reverse", "popitem", "setdefault"};

}  // namespace

std::optional<JinjaValue> jinja_method(JinjaContext& context, const JinjaValue& object,
                                       const std::string& name, const JinjaArguments& arguments) {
  const Methods* methods = object.as_text() != nullptr  ? &kText
                           : object.fields() != nullptr ? &kDict
                           : object.items() != nullptr  ? &kList
                                                        : nullptr;
  if (methods == nullptr) return {};
  const auto found = methods->find(name);
  if (found != methods->end()) return found->second(context, object, arguments);
  const bool changing = std::find(kChanging.begin(), kChanging.end(), name) != kChanging.end();
  UM_CHECK(!changing || methods == &kText, "{}: a template may not change a {}", name,
           object.type_name());
  return {};
}

}  // namespace um
