// See jinja_value.h.
#include "text/jinja_value.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace um {
namespace {

constexpr int kMaxDepth = 100;

int checked_depth(int deepest) {
  UM_CHECK(deepest < kMaxDepth, "a value nested deeper than {}", kMaxDepth);
  return deepest + 1;
}

int depth_of(const JinjaValue::List& items) {
  int deepest = 0;
  for (const JinjaValue& item : items) deepest = std::max(deepest, item.depth());
  return checked_depth(deepest);
}

/// -1, 0 or 1, of integers and booleans.
int compare_integers(const JinjaValue& a, const JinjaValue& b) {
  const auto* large_a = a.get_if<uint64_t>();
  const auto* large_b = b.get_if<uint64_t>();
  const auto order = [](auto x, auto y) { return x < y ? -1 : x > y ? 1 : 0; };
  if (large_a != nullptr && large_b != nullptr) return order(*large_a, *large_b);
  if (large_a != nullptr || large_b != nullptr) return large_a != nullptr ? 1 : -1;
  return order(a.as_integer("compare"), b.as_integer("compare"));
}

}  // namespace

void JinjaBudget::exhausted() const {
  fail("the template does too much: more than {} units of work (a byte is 1, a step {})", limit_,
       kStep);
}

JinjaValue JinjaValue::list(List items, JinjaSequence kind) {
  const int depth = depth_of(items);
  return Data(std::make_shared<const ListData>(ListData{std::move(items), depth, kind}));
}

JinjaValue JinjaValue::dict(Dict fields) {
  int deepest = 0;
  for (const auto& [key, value] : fields) deepest = std::max({deepest, key.depth(), value.depth()});
  const int depth = checked_depth(deepest);
  return Data(std::make_shared<const DictData>(DictData{std::move(fields), depth}));
}

JinjaValue JinjaValue::iterator(List items) {
  const int depth = depth_of(items);
  return Data(std::make_shared<Iterator>(Iterator{std::move(items), 0, depth}));
}

JinjaValue JinjaValue::method(JinjaValue object, std::string name) {
  checked_depth(object.depth());
  return Data(std::make_shared<const Method>(Method{std::move(object), std::move(name)}));
}

JinjaValue JinjaValue::from_json(const OrderedJson& json, bool outside) {
  const auto text_of = [&](std::string bytes) {
    return text(MarkedText::all(std::move(bytes), outside ? '\1' : '\0'));
  };
  if (json.is_null()) return none();
  if (json.is_boolean()) return boolean(json.get<bool>());
  if (json.is_number_unsigned() && json.get<uint64_t>() > uint64_t{INT64_MAX})
    return large_integer(json.get<uint64_t>());
  if (json.is_number_integer()) return integer(json.get<int64_t>());
  if (json.is_number()) return real(json.get<double>());
  if (json.is_string()) return text_of(json.get<std::string>());
  if (json.is_array()) {
    List items;
    for (const auto& item : json) items.push_back(from_json(item, outside));
    return list(std::move(items));
  }
  Dict fields;
  for (const auto& [key, value] : json.items())
    fields.emplace_back(text_of(key), from_json(value, outside));
  return dict(std::move(fields));
}

const MarkedText* JinjaValue::as_text() const {
  const auto* shared = get_if<std::shared_ptr<const MarkedText>>();
  return shared != nullptr ? shared->get() : nullptr;
}

const JinjaValue::List* JinjaValue::items() const {
  const auto* shared = get_if<std::shared_ptr<const ListData>>();
  return shared != nullptr ? &(*shared)->items : nullptr;
}

JinjaSequence JinjaValue::kind() const {
  const auto* shared = get_if<std::shared_ptr<const ListData>>();
  return shared != nullptr ? (*shared)->kind : JinjaSequence::kList;
}

bool JinjaValue::is_tuple() const {
  return kind() == JinjaSequence::kTuple || kind() == JinjaSequence::kGroup;
}

bool JinjaValue::is_indexed() const {
  return items() != nullptr && kind() <= JinjaSequence::kRange;
}

JinjaValue::Iterator* JinjaValue::as_iterator() const {
  const auto* shared = get_if<std::shared_ptr<Iterator>>();
  return shared != nullptr ? shared->get() : nullptr;
}

const JinjaValue::Method* JinjaValue::as_method() const {
  const auto* shared = get_if<std::shared_ptr<const Method>>();
  return shared != nullptr ? shared->get() : nullptr;
}

const JinjaValue::Dict* JinjaValue::fields() const {
  const auto* shared = get_if<std::shared_ptr<const DictData>>();
  return shared != nullptr ? &(*shared)->fields : nullptr;
}

JinjaValue::Namespace* JinjaValue::as_namespace() const {
  const auto* space = get_if<Namespace*>();
  return space != nullptr ? *space : nullptr;
}

JinjaValue::Loop* JinjaValue::as_loop() const {
  const auto* loop = get_if<std::shared_ptr<Loop>>();
  return loop != nullptr ? loop->get() : nullptr;
}

int64_t JinjaValue::as_integer(std::string_view what) const {
  if (const auto* flag = get_if<bool>()) return *flag ? 1 : 0;
  if (const auto* large = get_if<uint64_t>())
    fail("{}: {} does not fit 64 bits with a sign", what, *large);
  const auto* number = get_if<int64_t>();
  UM_CHECK(number != nullptr, "{}: expected an integer, found {}", what, type_name());
  return *number;
}

double JinjaValue::as_real(std::string_view what) const {
  if (const auto* number = get_if<double>()) return *number;
  if (const auto* number = get_if<uint64_t>()) return static_cast<double>(*number);
  UM_CHECK(is_number(), "{}: expected a number, found {}", what, type_name());
  return static_cast<double>(as_integer(what));
}

bool JinjaValue::truthy() const {
  if (const auto* flag = get_if<bool>()) return *flag;
  if (const auto* number = get_if<int64_t>()) return *number != 0;
  if (const auto* number = get_if<double>()) return *number != 0;
  if (get_if<uint64_t>() != nullptr) return true;
  if (const auto* value = as_text()) return value->size() != 0;
  if (const auto* list = items()) return !list->empty();
  if (const auto* dict = fields()) return !dict->empty();
  return !is_undefined() && !is_none();
}

bool JinjaValue::same_object(const JinjaValue& other) const {
  if (data_.index() != other.data_.index()) return false;
  if (const auto* list = get_if<std::shared_ptr<const ListData>>())
    return *list == *other.get_if<std::shared_ptr<const ListData>>();
  if (const auto* dict = get_if<std::shared_ptr<const DictData>>())
    return *dict == *other.get_if<std::shared_ptr<const DictData>>();
  if (as_iterator() != nullptr) return as_iterator() == other.as_iterator();
  if (as_loop() != nullptr) return as_loop() == other.as_loop();
  if (as_namespace() != nullptr) return as_namespace() == other.as_namespace();
  if (const MarkedText* text_here = as_text()) return text_here->bytes == other.as_text()->bytes;
  if (is_number()) return as_real("is") == other.as_real("is");
  return is_none();
}

std::string_view JinjaValue::type_name() const {
  constexpr std::string_view kNames[] = {"undefined", "None",      "bool",   "int",  "float",
                                         "str",       "list",      "dict",   "loop", "namespace",
                                         "function",  "generator", "method", "int"};
  constexpr std::string_view kSequences[] = {"list",       "tuple",     "tuple",      "range",
                                             "dict_items", "dict_keys", "dict_values"};
  if (items() != nullptr) return kSequences[static_cast<size_t>(kind())];
  return kNames[data_.index()];
}

int JinjaValue::depth() const {
  if (const auto* list = get_if<std::shared_ptr<const ListData>>()) return (*list)->depth;
  if (const auto* dict = get_if<std::shared_ptr<const DictData>>()) return (*dict)->depth;
  // A loop keeps its items, and what `changed` was given.
  if (const Iterator* iterator = as_iterator()) return iterator->depth;
  if (const Method* method = as_method()) return 1 + method->object.depth();
  if (const Loop* loop = as_loop()) return 1 + std::max(loop->items.depth(), loop->changed.depth());
  return 0;
}

void jinja_need_hashable(const JinjaValue& key) {
  const bool plain =
      key.is_number() || key.is_none() || key.is_undefined() || key.as_text() != nullptr;
  const bool sequence = key.is_tuple() || key.kind() == JinjaSequence::kRange;
  UM_CHECK(plain || sequence, "a {} can be no key of a dict", key.type_name());
  if (key.is_tuple())
    for (const JinjaValue& item : *key.items()) jinja_need_hashable(item);
}

const JinjaValue* jinja_find(const JinjaValue::Dict& dict, std::string_view key,
                             JinjaBudget& budget) {
  budget.spend(dict.size() + key.size());
  for (const auto& [name, value] : dict) {
    const MarkedText* text = name.as_text();
    if (text != nullptr && text->bytes == key) return &value;
  }
  return nullptr;
}

const JinjaValue* jinja_find(const JinjaValue::Dict& dict, const JinjaValue& key,
                             JinjaBudget& budget) {
  if (const MarkedText* text = key.as_text()) return jinja_find(dict, text->bytes, budget);
  for (const auto& [name, value] : dict)
    if (jinja_equal(name, key, budget)) return &value;
  return nullptr;
}

void jinja_put(JinjaValue::Dict& dict, JinjaValue key, JinjaValue value, JinjaBudget& budget) {
  jinja_need_hashable(key);
  budget.spend(JinjaBudget::kStep);
  for (auto& [name, old] : dict) {
    if (!jinja_equal(name, key, budget)) continue;
    old = std::move(value);
    return;
  }
  dict.emplace_back(std::move(key), std::move(value));
}

bool jinja_equal(const JinjaValue& a, const JinjaValue& b, JinjaBudget& budget) {
  budget.spend(8);
  if (a.is_number() && b.is_number()) {
    const bool real = a.get_if<double>() != nullptr || b.get_if<double>() != nullptr;
    return real ? a.as_real("==") == b.as_real("==") : compare_integers(a, b) == 0;
  }
  if (const MarkedText* x = a.as_text(), *y = b.as_text(); x != nullptr && y != nullptr) {
    if (x->size() != y->size()) return false;
    budget.spend(x->size() / 4);
    return x->bytes == y->bytes;
  }
  if (const auto* x = a.items(), *y = b.items(); x != nullptr && y != nullptr) {
    return a.type_name() == b.type_name() &&
           std::equal(x->begin(), x->end(), y->begin(), y->end(),
                      [&](const auto& i, const auto& j) { return jinja_equal(i, j, budget); });
  }
  if (const auto* x = a.fields(), *y = b.fields(); x != nullptr && y != nullptr) {
    if (x->size() != y->size()) return false;
    return std::all_of(x->begin(), x->end(), [&](const auto& field) {
      const JinjaValue* other = jinja_find(*y, field.first, budget);
      return other != nullptr && jinja_equal(field.second, *other, budget);
    });
  }
  if (a.as_namespace() != nullptr || a.as_iterator() != nullptr) return a.same_object(b);
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

int jinja_compare(const JinjaValue& a, const JinjaValue& b, JinjaBudget& budget) {
  budget.spend(8);
  if (a.as_text() != nullptr && b.as_text() != nullptr) {
    budget.spend(std::min(a.as_text()->size(), b.as_text()->size()) / 4);
    const int order = a.as_text()->bytes.compare(b.as_text()->bytes);  // UTF-8 sorts as code points
    return order < 0 ? -1 : order > 0 ? 1 : 0;
  }
  if (a.items() != nullptr && b.items() != nullptr && a.is_indexed() &&
      a.type_name() == b.type_name() && a.kind() != JinjaSequence::kRange) {
    const JinjaValue::List &x = *a.items(), &y = *b.items();
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i)
      if (!jinja_equal(x[i], y[i], budget)) return jinja_compare(x[i], y[i], budget);
    return x.size() < y.size() ? -1 : x.size() > y.size() ? 1 : 0;
  }
  UM_CHECK(a.is_number() && b.is_number(), "{} and {} have no order", a.type_name(), b.type_name());
  if (a.get_if<double>() == nullptr && b.get_if<double>() == nullptr) {
    return compare_integers(a, b);
  }
  const double x = a.as_real("<"), y = b.as_real("<");
  return x < y ? -1 : x > y ? 1 : 0;
}

}  // namespace um
