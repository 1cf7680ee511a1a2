// The filters of chat templates for lists and dicts. What Jinja gives as a generator can be visited
// once here too, but is computed at once.
#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "text/jinja_filters.h"

namespace um {
namespace {

using Args = JinjaArguments;
using List = JinjaValue::List;

MarkedText text_of(JinjaContext& c, const JinjaValue& v) {
  return jinja_text(v, c.budget);
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

JinjaValue first(JinjaContext& c, const JinjaValue& v, const Args&) {
  if (JinjaValue::Iterator* iterator = v.as_iterator()) {
    const bool any = iterator->next < iterator->items.size();
    return any ? iterator->items[iterator->next++] : JinjaValue::undefined("the first item");
  }
  const JinjaValue items = jinja_items(c, v);
  return items.items()->empty() ? JinjaValue::undefined("the first item") : items.items()->front();
}

JinjaValue last(JinjaContext& c, const JinjaValue& v, const Args&) {
  UM_CHECK(v.as_iterator() == nullptr, "last: expected a list, found {}", v.type_name());
  const JinjaValue items = jinja_items(c, v);
  return items.items()->empty() ? JinjaValue::undefined("the last item") : items.items()->back();
}

JinjaValue to_list(JinjaContext& c, const JinjaValue& v, const Args&) {
  const JinjaValue items = jinja_items(c, v);
  if (items.kind() == JinjaSequence::kList) return items;
  c.budget.spend(JinjaBudget::kStep * items.items()->size());
  return JinjaValue::list(*items.items());
}

JinjaValue reverse(JinjaContext& c, const JinjaValue& v, const Args&) {
  if (v.as_text() != nullptr)
    return JinjaValue::text(jinja_slice(*v.as_text(), {}, {}, -1, c.budget));
  const JinjaValue items = jinja_items(c, v);
  c.budget.spend(JinjaBudget::kStep * items.items()->size());
  List turned(items.items()->rbegin(), items.items()->rend());
  return v.as_iterator() != nullptr ? JinjaValue::list(std::move(turned))
                                    : JinjaValue::iterator(std::move(turned));
}

/// item.a.0.b for "a.0.b", each part as item[part]. `standard` stands for what is undefined.
JinjaValue deep_attribute(JinjaContext& c, JinjaValue item, const JinjaValue& path,
                          const JinjaValue* standard = nullptr) {
  const auto step = [&](const JinjaValue& key) {
    item = jinja_index(c, item, key);
    if (item.is_undefined() && standard != nullptr && !standard->is_none()) item = *standard;
  };
  if (path.is_none()) return item;
  if (path.as_text() == nullptr) {
    step(path);
    return item;
  }
  for (MarkedText& part :
       jinja_split(*path.as_text(), std::string_view("."), -1, false, c.budget)) {
    const bool digits = part.size() != 0 && part.size() < 10 &&
                        part.bytes.find_first_not_of("0123456789") == std::string::npos;
    step(digits ? JinjaValue::integer(std::stoll(part.bytes)) : JinjaValue::text(std::move(part)));
  }
  return item;
}

JinjaValue join(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue* given = args.find(0, "d");
  const MarkedText between = given != nullptr ? text_of(c, *given) : MarkedText();
  const JinjaValue* path = args.find(1, "attribute");
  const JinjaValue items = jinja_items(c, v);
  MarkedText out;
  bool some = false;
  for (const JinjaValue& item : *items.items()) {
    c.budget.spend(between.size() + 8);
    if (some) out.append(between);
    some = true;
    out.append(text_of(c, path != nullptr ? deep_attribute(c, item, *path) : item));
  }
  return JinjaValue::text(std::move(out));
}

Args without_first(JinjaContext& c, const Args& args, size_t count) {
  c.budget.spend(JinjaBudget::kStep * (args.positional.size() + args.named.size()));
  const auto from = static_cast<ptrdiff_t>(std::min(count, args.positional.size()));
  return {{args.positional.begin() + from, args.positional.end()}, args.named};
}

/// What map and select visit: of what counts as false (none, too) nothing.
JinjaValue visited(JinjaContext& c, const JinjaValue& v) {
  return v.truthy() ? jinja_items(c, v) : JinjaValue::list({});
}

JinjaValue map(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue items = visited(c, v);
  const bool by_name = args.positional.empty();
  const JinjaValue* path = by_name ? args.find(0, "attribute") : nullptr;
  const JinjaValue* standard = by_name ? args.find(0, "default") : nullptr;
  UM_CHECK(path != nullptr || !by_name, "map: expected a filter or an attribute");
  UM_CHECK(!by_name || args.named.size() == (standard != nullptr ? 2u : 1u),
           "map: expected attribute and default only");
  const std::string name = by_name ? std::string() : text_of(c, args.positional[0]).bytes;
  const Args rest = by_name ? Args{} : without_first(c, args, 1);
  List out;
  for (const JinjaValue& item : *items.items()) {
    c.budget.spend(JinjaBudget::kStep);
    out.push_back(by_name ? deep_attribute(c, item, *path, standard)
                          : jinja_filter(c, name, item, rest));
  }
  return JinjaValue::iterator(std::move(out));
}

/// The items for which `keep` holds; it charges for them.
template <class Keep>
JinjaValue picked(JinjaContext& c, const JinjaValue& items, Keep keep) {
  List out;
  for (const JinjaValue& item : *items.items()) {
    c.budget.spend(JinjaBudget::kStep);
    if (keep(item)) out.push_back(item);
  }
  return JinjaValue::iterator(std::move(out));
}

/// select, reject, selectattr, rejectattr.
template <bool kAttribute, bool kKeep>
JinjaValue choose(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const size_t at = kAttribute ? 1 : 0;
  const JinjaValue items = visited(c, v);
  UM_CHECK(args.positional.size() >= at, "selectattr: the name of the attribute is missing");
  const JinjaValue* path = kAttribute ? &args.positional[0] : nullptr;
  const bool test = args.positional.size() > at;
  const std::string name = test ? text_of(c, args.positional[at]).bytes : std::string();
  const Args rest = without_first(c, args, at + 1);
  return picked(c, items, [&](const JinjaValue& item) {
    const JinjaValue value = path != nullptr ? deep_attribute(c, item, *path) : item;
    return (test ? jinja_test(c, name, value, rest) : value.truthy()) == kKeep;
  });
}

JinjaValue lowered(JinjaContext& c, JinjaValue key, bool cased) {
  if (cased || key.as_text() == nullptr) return key;
  return JinjaValue::text(jinja_case(*key.as_text(), JinjaCase::kLower, c.budget));
}

/// By what sort, unique, min and max compare an item: its attribute, texts in lower case.
JinjaValue sort_key(JinjaContext& c, const JinjaValue& item, const JinjaValue* path, bool cased,
                    const JinjaValue* standard = nullptr) {
  return lowered(c, path != nullptr ? deep_attribute(c, item, *path, standard) : item, cased);
}

/// The same for several attributes with commas between, as a list.
JinjaValue sort_keys(JinjaContext& c, const JinjaValue& item, const JinjaValue* paths, bool cased) {
  if (paths == nullptr || paths->as_text() == nullptr)
    return JinjaValue::list({sort_key(c, item, paths, cased)});
  List keys;
  for (MarkedText& path :
       jinja_split(*paths->as_text(), std::string_view(","), -1, false, c.budget)) {
    const JinjaValue one = JinjaValue::text(std::move(path));
    keys.push_back(sort_key(c, item, &one, cased));
  }
  return JinjaValue::list(std::move(keys));
}

using Keyed = std::vector<std::pair<JinjaValue, JinjaValue>>;

template <class Key>
Keyed sorted(JinjaContext& c, const List& items, bool reverse, Key key_of) {
  Keyed keyed;
  for (const JinjaValue& item : items) {
    c.budget.spend(2 * JinjaBudget::kStep);
    keyed.emplace_back(key_of(item), item);
  }
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return jinja_compare(reverse ? b.first : a.first, reverse ? a.first : b.first, c.budget) < 0;
  });
  return keyed;
}

List values_of(Keyed keyed) {
  List out;
  for (auto& [key, item] : keyed) out.push_back(std::move(item));
  return out;
}

JinjaValue sort(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue items = jinja_items(c, v);
  const JinjaValue* paths = args.find(2, "attribute");
  const bool cased = args.flag(1, "case_sensitive", false);
  return JinjaValue::list(
      values_of(sorted(c, *items.items(), args.flag(0, "reverse", false),
                       [&](const JinjaValue& item) { return sort_keys(c, item, paths, cased); })));
}

template <bool kMax>
JinjaValue extreme(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue items = jinja_items(c, v);
  const JinjaValue* path = args.find(1, "attribute");
  const bool cased = args.flag(0, "case_sensitive", false);
  const JinjaValue* best = nullptr;
  JinjaValue best_key;
  for (const JinjaValue& item : *items.items()) {
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
  return picked(c, jinja_items(c, v), [&](const JinjaValue& item) {
    JinjaValue key = sort_key(c, item, path, cased);
    jinja_need_hashable(key);
    for (const JinjaValue& other : seen)
      if (jinja_equal(key, other, c.budget)) return false;
    seen.push_back(std::move(key));
    return true;
  });
}

JinjaValue group_by(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue items = jinja_items(c, v);
  const JinjaValue& path = args.need(0, "attribute", "groupby");
  const JinjaValue* standard = args.find(1, "default");
  const bool cased = args.flag(2, "case_sensitive", false);
  const Keyed keyed = sorted(c, *items.items(), false, [&](const JinjaValue& item) {
    return sort_key(c, item, &path, cased, standard);
  });
  List groups;
  for (size_t begin = 0, end = 0; begin < keyed.size(); begin = end) {
    List members;
    for (end = begin; end < keyed.size(); ++end) {
      if (!jinja_equal(keyed[begin].first, keyed[end].first, c.budget)) break;
      members.push_back(keyed[end].second);
    }
    c.budget.spend(4 * JinjaBudget::kStep);
    JinjaValue name = deep_attribute(c, members[0], path, standard);
    groups.push_back(JinjaValue::list({std::move(name), JinjaValue::list(std::move(members))},
                                      JinjaSequence::kGroup));
  }
  return JinjaValue::list(std::move(groups));
}

JinjaValue sum(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue items = jinja_items(c, v);
  const JinjaValue *path = args.find(0, "attribute"), *start = args.find(1, "start");
  JinjaValue total = start != nullptr ? *start : JinjaValue::integer(0);
  UM_CHECK(total.as_text() == nullptr, "sum: texts are joined by join");
  for (const JinjaValue& item : *items.items())
    total =
        jinja_arithmetic(c, "+", total, path != nullptr ? deep_attribute(c, item, *path) : item);
  return total;
}

/// Lists of so many items; the last one may be filled up.
JinjaValue batch(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue items = jinja_items(c, v);
  const int64_t size = args.need(0, "linecount", "batch").as_integer("batch");
  const JinjaValue* fill = args.find(1, "fill_with");
  List rows, row;
  for (const JinjaValue& item : *items.items()) {
    c.budget.spend(2 * JinjaBudget::kStep);
    if (std::ssize(row) == size) rows.push_back(JinjaValue::list(std::exchange(row, {})));
    row.push_back(item);
  }
  if (row.empty()) return JinjaValue::iterator(std::move(rows));
  while (fill != nullptr && !fill->is_none() && std::ssize(row) < size) {
    c.budget.spend(JinjaBudget::kStep);
    row.push_back(*fill);
  }
  rows.push_back(JinjaValue::list(std::move(row)));
  return JinjaValue::iterator(std::move(rows));
}

/// So many lists of about one length.
JinjaValue slice(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const JinjaValue items = jinja_items(c, v);
  const int64_t count = args.need(0, "slices", "slice").as_integer("slice");
  const JinjaValue* fill = args.find(1, "fill_with");
  UM_CHECK(count != 0, "slice: division by zero");
  const int64_t length = std::ssize(*items.items());
  const int64_t each = count > 0 ? length / count : 0, extra = count > 0 ? length % count : 0;
  List rows;
  auto at = items.items()->begin();
  for (int64_t i = 0; i < count; ++i) {
    const auto end = at + each + (i < extra ? 1 : 0);
    List row(at, end);
    c.budget.spend(JinjaBudget::kStep * (row.size() + 2));
    if (fill != nullptr && !fill->is_none() && i >= extra) row.push_back(*fill);
    rows.push_back(JinjaValue::list(std::move(row)));
    at = end;
  }
  return JinjaValue::iterator(std::move(rows));
}

JinjaValue dict_items(JinjaContext& c, const JinjaValue& v, const Args&) {
  return JinjaValue::iterator(v.is_undefined() ? List() : jinja_pairs(c, v, "items"));
}

JinjaValue dict_sort(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const MarkedText* by = args.text(1, "by");
  UM_CHECK(by == nullptr || by->bytes == "key" || by->bytes == "value",
           "dictsort: by: expected key or value");
  const size_t place = by != nullptr && by->bytes == "value" ? 1 : 0;
  const bool cased = args.flag(0, "case_sensitive", false);
  return JinjaValue::list(values_of(
      sorted(c, jinja_pairs(c, v, "dictsort"), args.flag(2, "reverse", false),
             [&](const JinjaValue& pair) { return lowered(c, (*pair.items())[place], cased); })));
}

/// As object.name, but a key of a dict is no attribute.
JinjaValue attribute(JinjaContext& c, const JinjaValue& v, const Args& args) {
  const MarkedText* name = args.need(0, "name", "attr").as_text();
  UM_CHECK(name != nullptr && name->size() <= 256, "attr: expected a name");
  const bool key = v.fields() != nullptr && !jinja_has_method(v, name->bytes);
  return key ? JinjaValue::undefined(name->bytes) : jinja_attribute(c, v, name->bytes);
}

JinjaValue standard(JinjaContext&, const JinjaValue& v, const Args& args) {
  const bool missing = v.is_undefined() || (args.flag(1, "boolean", false) && !v.truthy());
  if (!missing) return v;
  const JinjaValue* given = args.find(0, "default_value");
  return given != nullptr ? *given : JinjaValue::string("");
}

}  // namespace

const JinjaFilters& jinja_list_filters() {
  static const JinjaFilters table = {
      {"length", {length}},
      {"count", {length}},
      {"first", {first}},
      {"last", {last}},
      {"list", {to_list}},
      {"reverse", {reverse}},
      {"join", {join, {"d", "attribute"}}},
      {"map", {map, {}, true}},
      {"select", {choose<false, true>, {}, true}},
      {"reject", {choose<false, false>, {}, true}},
      {"selectattr", {choose<true, true>, {}, true}},
      {"rejectattr", {choose<true, false>, {}, true}},
      {"sort", {sort, {"reverse", "case_sensitive", "attribute"}}},
      {"min", {extreme<false>, {"case_sensitive", "attribute"}}},
      {"max", {extreme<true>, {"case_sensitive", "attribute"}}},
      {"unique", {unique, {"case_sensitive", "attribute"}}},
      {"groupby", {group_by, {"attribute", "default", "case_sensitive"}}},
      {"sum", {sum, {"attribute", "start"}}},
      {"batch", {batch, {"linecount", "fill_with"}}},
      {"slice", {slice, {"slices", "fill_with"}}},
      {"items", {dict_items}},
      {"dictsort", {dict_sort, {"case_sensitive", "by", "reverse"}}},
      {"attr", {attribute, {"name"}}},
      {"default", {standard, {"default_value", "boolean"}}},
      {"d", {standard, {"default_value", "boolean"}}}};
  return table;
}

}  // namespace um
