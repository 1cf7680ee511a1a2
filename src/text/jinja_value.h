// Values of chat templates: Python's, so far as templates use them. Texts know which of their bytes
// came from outside, and whatever makes or walks values pays for it from a budget.
//
// Values are immutable and cheap to copy (texts, lists and dicts are shared), but for namespaces,
// which live as long as the rendering that made them. How deep lists and dicts nest is bounded when
// they are made, so walks and destructors may recurse.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/stop_scope.h"

namespace um {

struct JinjaNode;

/// JSON whose objects keep their order, as tool definitions have to.
using OrderedJson = nlohmann::ordered_json;

/// What a rendering may still do. A byte made costs 1, a step of the interpreter or an element of a
/// list 64, so that both time and memory are bounded.
class JinjaBudget {
 public:
  static constexpr uint64_t kStep = 64;
  explicit JinjaBudget(uint64_t limit) : limit_(limit), left_(limit) {}
  /// Throws Error once more was spent than the limit, and Stopped.
  void spend(uint64_t cost) {
    if (cost > left_) exhausted();
    left_ -= cost;
    check_stop(1 + cost / kStep);
  }

 private:
  [[noreturn]] void exhausted() const;
  uint64_t limit_, left_;
};

/// Bytes, and which of them came from outside (messages, tools) and not from the template.
struct MarkedText {
  std::string bytes;
  std::string outside;  // one byte each: 0 the template's own, else from outside, and from where
  bool html = false;    // Python's Markup: what is added to it is escaped (filters safe, escape)

  static MarkedText own(std::string bytes) { return all(std::move(bytes), '\0'); }
  static MarkedText foreign(std::string bytes) { return all(std::move(bytes), '\1'); }
  static MarkedText all(std::string bytes, char mark) {
    std::string marks(bytes.size(), mark);
    return {std::move(bytes), std::move(marks), false};
  }
  size_t size() const { return bytes.size(); }
  bool any_outside() const { return any_mark() != 0; }
  /// The largest mark.
  char any_mark() const {
    uint8_t largest = 0;
    for (const char mark : outside) largest = std::max(largest, static_cast<uint8_t>(mark));
    return static_cast<char>(largest);
  }
  void append(const MarkedText& text) { bytes += text.bytes, outside += text.outside; }
  void append(std::string_view text, char mark = '\0') {
    bytes += text, outside.append(text.size(), mark);
  }
  MarkedText substr(size_t at, size_t count = std::string::npos) const {
    return {bytes.substr(at, count), outside.substr(at, count), html};
  }
};

/// What Python calls a sequence of values. A group is a tuple whose items are also called grouper
/// and list; items, keys and values are the views of a dict, which have no places.
enum class JinjaSequence { kList, kTuple, kGroup, kRange, kItems, kKeys, kValues };

class JinjaValue {
 public:
  using List = std::vector<JinjaValue>;
  /// In order of insertion; keys are what Python can hash.
  using Dict = std::vector<std::pair<JinjaValue, JinjaValue>>;
  struct Undefined {
    std::string name;
  };
  struct None {};
  /// `namespace(...)`: the one thing that a template may change.
  struct Namespace {
    std::vector<std::pair<std::string, JinjaValue>> fields;
  };
  /// The `loop` of a for block.
  struct Loop;
  /// What filters like map and select give: its items can be visited once.
  struct Iterator {
    List items;
    size_t next;
    int depth;
  };
  /// object.name, where that is a method.
  struct Method;
  struct Function {
    const JinjaNode* macro = nullptr;  // or, if null:
    std::string_view global = {};      // the name of a built-in function
    uint64_t scope = 0;                // in which the macro was defined
  };

  JinjaValue() : data_(Undefined{}) {}
  static JinjaValue undefined(std::string name) { return Data(Undefined{std::move(name)}); }
  static JinjaValue none() { return Data(None{}); }
  static JinjaValue boolean(bool value) { return Data(value); }
  static JinjaValue integer(int64_t value) { return Data(value); }
  /// Of JSON, beyond int64_t: it is shown and compared, not computed with.
  static JinjaValue large_integer(uint64_t value) { return Data(value); }
  static JinjaValue real(double value) { return Data(value); }
  static JinjaValue text(MarkedText value) {
    return Data(std::make_shared<const MarkedText>(std::move(value)));
  }
  static JinjaValue string(std::string value) { return text(MarkedText::own(std::move(value))); }
  /// Throw Error if the value would nest too deep.
  static JinjaValue list(List items, JinjaSequence kind = JinjaSequence::kList);
  static JinjaValue tuple(List items) { return list(std::move(items), JinjaSequence::kTuple); }
  static JinjaValue dict(Dict fields);
  static JinjaValue iterator(List items);
  static JinjaValue method(JinjaValue object, std::string name);
  static JinjaValue loop(std::shared_ptr<Loop> loop) { return Data(std::move(loop)); }
  static JinjaValue space(Namespace* space) { return Data(space); }
  static JinjaValue function(Function function) { return Data(function); }
  /// `outside`: all its texts came from outside.
  static JinjaValue from_json(const OrderedJson& json, bool outside);

  template <class T>
  const T* get_if() const {
    return std::get_if<T>(&data_);
  }
  bool is_undefined() const { return get_if<Undefined>() != nullptr; }
  bool is_none() const { return get_if<None>() != nullptr; }
  bool is_bool() const { return get_if<bool>() != nullptr; }
  bool is_number() const { return is_bool() || is_integer() || get_if<double>() != nullptr; }
  bool is_integer() const { return get_if<int64_t>() != nullptr || get_if<uint64_t>() != nullptr; }
  const MarkedText* as_text() const;
  const List* items() const;   // of a sequence
  const Dict* fields() const;  // of a dict
  /// Of a sequence only.
  JinjaSequence kind() const;
  bool is_tuple() const;
  /// Its items have places: a list, a tuple or a range.
  bool is_indexed() const;
  Iterator* as_iterator() const;
  const Method* as_method() const;
  Namespace* as_namespace() const;
  Loop* as_loop() const;
  const Function* as_function() const { return get_if<Function>(); }
  /// Whether it is the very same object, as Python's `is` tells.
  bool same_object(const JinjaValue& other) const;
  /// Of an integer or a boolean; Error `WHAT: expected an integer, found …` for others, and for a
  /// large integer.
  int64_t as_integer(std::string_view what) const;
  /// Of a number; Error for others.
  double as_real(std::string_view what) const;

  bool truthy() const;
  /// What Python calls it, for messages.
  std::string_view type_name() const;
  /// How deep lists and dicts nest in it.
  int depth() const;

 private:
  struct ListData {
    List items;
    int depth;
    JinjaSequence kind;
  };
  struct DictData {
    Dict fields;
    int depth;
  };
  using Data =
      std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const MarkedText>,
                   std::shared_ptr<const ListData>, std::shared_ptr<const DictData>,
                   std::shared_ptr<Loop>, Namespace*, Function, std::shared_ptr<Iterator>,
                   std::shared_ptr<const Method>, uint64_t>;
  JinjaValue(Data data) : data_(std::move(data)) {}
  Data data_;
};

struct JinjaValue::Method {
  JinjaValue object;
  std::string name;
};

struct JinjaValue::Loop {
  JinjaValue items;  // a list
  size_t index = 0, depth = 1;
  std::string_view target = {};
  JinjaValue changed = {};               // what loop.changed was last given
  const JinjaNode* recursive = nullptr;  // the block that loop(...) runs again
  uint64_t scope = 0;                    // in which that block stands
};

/// `==`; numbers by value, lists and dicts by contents.
bool jinja_equal(const JinjaValue& a, const JinjaValue& b, JinjaBudget& budget);
/// -1, 0 or 1 for numbers, for texts (by code points), and for two lists or tuples; throws Error
/// for other pairs.
int jinja_compare(const JinjaValue& a, const JinjaValue& b, JinjaBudget& budget);
/// Throws Error for a value that can be no key of a dict.
void jinja_need_hashable(const JinjaValue& key);
/// The value under `key` in a dict, or null.
const JinjaValue* jinja_find(const JinjaValue::Dict& dict, const JinjaValue& key,
                             JinjaBudget& budget);
const JinjaValue* jinja_find(const JinjaValue::Dict& dict, std::string_view key,
                             JinjaBudget& budget);
/// dict[key] = value while a dict is made.
void jinja_put(JinjaValue::Dict& dict, JinjaValue key, JinjaValue value, JinjaBudget& budget);

/// Python's `str()` and `repr()`; `soft`: what is HTML stays so.
MarkedText jinja_text(const JinjaValue& value, JinjaBudget& budget, bool soft = false);
MarkedText jinja_repr(const JinjaValue& value, JinjaBudget& budget);

struct JinjaJsonStyle {
  std::optional<std::string> indent = {};  // of one level; nothing: all on one line
  std::optional<std::string> item_separator = {}, key_separator = {};
  bool sort_keys = false, ascii = false;
};
/// `json.dumps(value, ensure_ascii=False)`.
std::string jinja_dumps(const OrderedJson& value);
/// The same of a template's value, in any style.
MarkedText jinja_json(const JinjaValue& value, const JinjaJsonStyle& style, JinjaBudget& budget);

}  // namespace um
