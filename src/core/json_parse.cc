// The one parser of JSON from outside: nlohmann's events, our builder. See json.h, ordered_json.h.
#include <algorithm>
#include <type_traits>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "core/ordered_json.h"
#include "core/stop_scope.h"

namespace um {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::string position(std::string_view text, size_t byte) {
  size_t line = 1, start = 0;
  for (size_t i = 0; i < std::min(byte, text.size()); ++i) {
    if (text[i] == '\n' && i + 1 < byte) ++line, start = i + 1;
  }
  return fmt::format("line {}, column {}", line, byte > start ? byte - start : 1);
}

/// Builds a value from the events of nlohmann's parser; each event costs constant time, a key the
/// logarithm of the keys of its object. The library's own builders search an object for each key
/// (ordered_json), or look through the parent at each end (its parser with a callback).
template <class Value>
class Builder {
 public:
  Builder(std::string_view where, std::string_view text, const JsonLimits& limits,
          std::span<const std::string_view> exact, std::span<const std::string_view> digits)
      : where_(where), text_(text), limits_(limits), exact_(exact), digits_(digits) {}

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(int64_t value) { return put(value); }
  bool number_unsigned(uint64_t value) { return put(value); }
  bool number_float(double value, const std::string& text) {
    const bool integer = text.find_first_of(".eE") == std::string::npos;
    if (!integer || (exact_.empty() && digits_.empty())) return put(value);
    const std::string path = path_here();
    for (const std::string_view part : digits_)
      if (path.find(part) != std::string::npos) return put(text);
    check_exact(path, text);
    return put(value);
  }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(typename Value::binary_t&) { return false; }  // JSON has none
  bool start_object(size_t) { return open(Value::object()); }
  bool start_array(size_t) { return open(Value::array()); }
  bool end_array() { return close(); }
  bool end_object() {
    if constexpr (kOrdered) check_keys();
    return close();
  }
  bool key(std::string& key) {
    count();
    auto& object = *open_.back()->template get_ptr<typename Value::object_t*>();
    if constexpr (kOrdered) {
      // Past its own emplace_back, which searches for the key.
      auto& fields = static_cast<typename Value::object_t::Container&>(object);
      field_ = &fields.emplace_back(std::move(key), nullptr).second;
    } else {
      const auto [at, added] = object.emplace(std::move(key), nullptr);
      if (!added) twice(at->first);
      field_ = &at->second;
    }
    return true;
  }
  bool parse_error(size_t byte, const std::string&, const Json::exception& error) {
    const bool number = dynamic_cast<const Json::out_of_range*>(&error) != nullptr;
    fail("{}: not valid JSON at {}{}", where_, position(text_, byte),
         number ? ": a number is out of range" : "");
  }

  Value take() { return std::move(root_); }

 private:
  static constexpr bool kOrdered = std::is_same_v<Value, OrderedJson>;

  void count() {
    check_stop();
    UM_CHECK(++values_ <= limits_.max_values, "{}: more than {} JSON values", where_,
             limits_.max_values);
  }
  Value& add(Value value) {
    count();
    if (open_.empty()) return root_ = std::move(value);
    if (!open_.back()->is_array()) return *field_ = std::move(value);
    open_.back()->push_back(std::move(value));
    return open_.back()->back();
  }
  bool put(Value value) {
    add(std::move(value));
    return true;
  }
  bool open(Value empty) {
    UM_CHECK(std::ssize(open_) < limits_.max_depth, "{}: JSON nested deeper than {} levels", where_,
             limits_.max_depth);
    open_.push_back(&add(std::move(empty)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  void check_exact(const std::string& path, const std::string& digits) const {
    for (const std::string_view field : exact_)
      UM_CHECK(field != path.substr(0, path.find_first_of(".[")),
               "{}: {}: the integer {} does not fit 64 bits", where_, path, quote(digits));
  }
  /// Of the next value: "messages[0].content"; empty in objects that sort their keys.
  std::string path_here() const {
    std::string path;
    if constexpr (kOrdered)
      for (const Value* at : open_) {
        if (at->is_array())  // it has the list or object that is open in it already
          path += fmt::format("[{}]", at->size() - (at != open_.back() ? 1 : 0));
        else
          path += (path.empty() ? "" : ".") +
                  at->template get_ptr<const typename Value::object_t*>()->back().first;
      }
    return path;
  }
  /// Of the object that ends; a sorted object refuses such a key by itself.
  void check_keys() {
    std::vector<std::string_view> keys;
    for (const auto& [key, value] : *open_.back()->template get_ptr<typename Value::object_t*>())
      keys.push_back(key);
    std::sort(keys.begin(), keys.end());
    const auto same = std::adjacent_find(keys.begin(), keys.end());
    if (same != keys.end()) twice(*same);
  }
  [[noreturn]] void twice(std::string_view key) {
    fail("{}: key {} appears twice in one object", where_, quote(key));
  }

  std::string_view where_, text_;
  JsonLimits limits_;
  std::span<const std::string_view> exact_, digits_;
  uint64_t values_ = 0;
  Value root_;
  std::vector<Value*> open_;  // lists and objects that have not ended, outermost first
  Value* field_ = nullptr;    // of the innermost object: the value of its last key
};

template <class Value>
Value parse(std::string_view text, std::string_view where, const JsonLimits& limits,
            std::span<const std::string_view> exact, std::span<const std::string_view> digits) {
  // The library takes a NUL for the end of the text.
  const size_t nul = text.find('\0');
  UM_CHECK(nul == std::string_view::npos, "{}: not valid JSON at {}: a NUL", where,
           position(text, nul + 1));
  Builder<Value> builder(where, text, limits, exact, digits);
  Value::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

}  // namespace

Json parse_json(std::string_view text, std::string_view where, const JsonLimits& limits) {
  return parse<Json>(text, where, limits, {}, {});
}

nlohmann::ordered_json parse_ordered_json(std::string_view text, std::string_view where,
                                          const JsonLimits& limits,
                                          std::span<const std::string_view> exact,
                                          std::span<const std::string_view> digits) {
  return parse<OrderedJson>(text, where, limits, exact, digits);
}

}  // namespace um
