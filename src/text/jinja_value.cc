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

}  // namespace

void JinjaBudget::exhausted() const {
  fail("the template does too much: more than {} units of work (a byte is 1, a step {})", limit_,
       kStep);
}

JinjaValue JinjaValue::list(List items, bool tuple) {
  int deepest = 0;
  for (const JinjaValue& item : items) deepest = std::max(deepest, item.depth());
  const int depth = checked_depth(deepest);
  return Data(std::make_shared<const ListData>(ListData{std::move(items), depth, tuple}));
}

JinjaValue JinjaValue::dict(Dict fields) {
  int deepest = 0;
  for (const auto& [key, value] : fields) deepest = std::max(deepest, value.depth());
  const int depth = checked_depth(deepest);
  return Data(std::make_shared<const DictData>(DictData{std::move(fields), depth}));
}

JinjaValue JinjaValue::from_json(const OrderedJson& json, bool outside) {
  const auto text_of = [&](std::string bytes) {
    return text(MarkedText::all(std::move(bytes), outside ? '\1' : '\0'));
  };
  if (json.is_null()) return none();
  if (json.is_boolean()) return boolean(json.get<bool>());
  if (json.is_number_unsigned() && json.get<uint64_t>() > uint64_t{INT64_MAX})
    return real(json.get<double>());
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

bool JinjaValue::is_tuple() const {
  const auto* shared = get_if<std::shared_ptr<const ListData>>();
  return shared != nullptr && (*shared)->tuple;
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
  const auto* number = get_if<int64_t>();
  UM_CHECK(number != nullptr, "{}: expected an integer, found {}", what, type_name());
  return *number;
}

double JinjaValue::as_real(std::string_view what) const {
  if (const auto* number = get_if<double>()) return *number;
  UM_CHECK(is_number(), "{}: expected a number, found {}", what, type_name());
  return static_cast<double>(as_integer(what));
}

bool JinjaValue::truthy() const {
  if (const auto* flag = get_if<bool>()) return *flag;
  if (const auto* number = get_if<int64_t>()) return *number != 0;
  if (const auto* number = get_if<double>()) return *number != 0;
  if (const auto* value = as_text()) return value->size() != 0;
  if (const auto* list = items()) return !list->empty();
  if (const auto* dict = fields()) return !dict->empty();
  return !is_undefined() && !is_none();
}

std::string_view JinjaValue::type_name() const {
  constexpr std::string_view kNames[] = {"undefined", "None", "bool", "int",       "float",   "str",
                                         "list",      "dict", "loop", "namespace", "function"};
  return kNames[data_.index()];
}

int JinjaValue::depth() const {
  if (const auto* list = get_if<std::shared_ptr<const ListData>>()) return (*list)->depth;
  if (const auto* dict = get_if<std::shared_ptr<const DictData>>()) return (*dict)->depth;
  // A loop keeps its items, and what `changed` was given.
  if (const Loop* loop = as_loop()) return 1 + std::max(loop->items.depth(), loop->changed.depth());
  return 0;
}

const JinjaValue* jinja_find(const JinjaValue::Dict& dict, std::string_view key,
                             JinjaBudget& budget) {
  budget.spend(dict.size() + key.size());
  for (const auto& [name, value] : dict) {
    if (name.as_text()->bytes == key) return &value;
  }
  return nullptr;
}

bool jinja_equal(const JinjaValue& a, const JinjaValue& b, JinjaBudget& budget) {
  budget.spend(8);
  if (a.is_number() && b.is_number()) {
    const bool real = a.get_if<double>() != nullptr || b.get_if<double>() != nullptr;
    return real ? a.as_real("==") == b.as_real("==") : a.as_integer("==") == b.as_integer("==");
  }
  if (const MarkedText* x = a.as_text(), *y = b.as_text(); x != nullptr && y != nullptr) {
    if (x->size() != y->size()) return false;
    budget.spend(x->size() / 4);
    return x->bytes == y->bytes;
  }
  if (const auto* x = a.items(), *y = b.items(); x != nullptr && y != nullptr) {
    return a.is_tuple() == b.is_tuple() &&
           std::equal(x->begin(), x->end(), y->begin(), y->end(),
                      [&](const auto& i, const auto& j) { return jinja_equal(i, j, budget); });
  }
  if (const auto* x = a.fields(), *y = b.fields(); x != nullptr && y != nullptr) {
    if (x->size() != y->size()) return false;
    return std::all_of(x->begin(), x->end(), [&](const auto& field) {
      const JinjaValue* other = jinja_find(*y, field.first.as_text()->bytes, budget);
      return other != nullptr && jinja_equal(field.second, *other, budget);
    });
  }
  if (a.as_namespace() != nullptr) return a.as_namespace() == b.as_namespace();
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

int jinja_compare(const JinjaValue& a, const JinjaValue& b, JinjaBudget& budget) {
  budget.spend(8);
  if (a.as_text() != nullptr && b.as_text() != nullptr) {
    budget.spend(std::min(a.as_text()->size(), b.as_text()->size()) / 4);
    const int order = a.as_text()->bytes.compare(b.as_text()->bytes);  // UTF-8 sorts as code points
    return order < 0 ? -1 : order > 0 ? 1 : 0;
  }
  UM_CHECK(a.is_number() && b.is_number(), "{} and {} have no order", a.type_name(), b.type_name());
  if (a.get_if<double>() == nullptr && b.get_if<double>() == nullptr) {
    const int64_t x = a.as_integer("<"), y = b.as_integer("<");
    return x < y ? -1 : x > y ? 1 : 0;
  }
  const double x = a.as_real("<"), y = b.as_real("<");
  return x < y ? -1 : x > y ? 1 : 0;
}

}  // namespace um
