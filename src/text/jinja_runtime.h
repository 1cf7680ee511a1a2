// What the interpreter of chat templates and its built-in filters, tests, methods and functions
// share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_format.h"
#include "text/jinja_strings.h"
#include "text/jinja_value.h"

namespace um {

/// Arguments of a call.
struct JinjaArguments {
  std::vector<JinjaValue> positional = {};
  std::vector<std::pair<std::string, JinjaValue>> named = {};

  /// The argument at `index`, or by name; null if there is none.
  const JinjaValue* find(size_t index, std::string_view name) const;
  /// The same; Error `WHAT: …` if there is none.
  const JinjaValue& need(size_t index, std::string_view name, std::string_view what) const;
  /// Typed reads, with what holds where there is no such argument.
  int64_t integer(size_t index, std::string_view name, int64_t standard) const;
  bool flag(size_t index, std::string_view name, bool standard) const;
  /// Null where there is none or it is none; Error for what is no text.
  const MarkedText* text(size_t index, std::string_view name) const;
};

/// One rendering.
struct JinjaContext {
  JinjaBudget budget;
  int64_t now = 0;  // seconds since 1970
  int depth = 0;    // of the recursion

  explicit JinjaContext(uint64_t work) : budget(work) {}
};

/// Counts the recursion while it lives, against the end of the stack.
struct JinjaLevel {
  explicit JinjaLevel(JinjaContext& context);
  ~JinjaLevel() { --context.depth; }
  JinjaLevel(const JinjaLevel&) = delete;
  JinjaContext& context;
};

/// All throw Error, without the place, for what Python would not do either.
JinjaValue jinja_filter(JinjaContext& context, const std::string& name, const JinjaValue& value,
                        const JinjaArguments& arguments);
bool jinja_has_filter(std::string_view name);
bool jinja_has_test(std::string_view name);
bool jinja_test(JinjaContext& context, const std::string& name, const JinjaValue& value,
                const JinjaArguments& arguments);
/// Nothing if this kind of value has no such method.
std::optional<JinjaValue> jinja_method(JinjaContext& context, const JinjaValue& object,
                                       const std::string& name, const JinjaArguments& arguments);
/// Whether object.name is a method of this kind of value, that may be called.
bool jinja_has_method(const JinjaValue& object, std::string_view name);
/// Whether it is a method that would change the object, which templates cannot even name.
bool jinja_would_change(const JinjaValue& object, std::string_view name);
/// range, dict, raise_exception, strftime_now.
bool jinja_is_function(std::string_view name);
JinjaValue jinja_function(JinjaContext& context, std::string_view name,
                          const JinjaArguments& arguments);

/// object.name and object[key].
JinjaValue jinja_attribute(JinjaContext& context, const JinjaValue& object,
                           const std::string& name);
JinjaValue jinja_index(JinjaContext& context, const JinjaValue& object, const JinjaValue& key);
/// What a loop over the value visits, as a list; what can be visited once is used up.
JinjaValue jinja_items(JinjaContext& context, const JinjaValue& value);
/// The dict's fields, from a dict or from a list of pairs.
JinjaValue::Dict jinja_make_dict(JinjaContext& context, const JinjaArguments& arguments);
/// & < > " ' as HTML has them; a text that is HTML already stays.
MarkedText jinja_escape(const MarkedText& text, JinjaBudget& budget);
/// `item in value`.
bool jinja_contains(JinjaContext& context, const JinjaValue& value, const JinjaValue& item);
/// + - * / // % **
JinjaValue jinja_arithmetic(JinjaContext& context, const std::string& op, const JinjaValue& a,
                            const JinjaValue& b);

/// A list of texts.
JinjaValue jinja_texts(JinjaContext& context, std::vector<MarkedText> texts);
/// (key, value) of each field of a dict.
JinjaValue::List jinja_pairs(JinjaContext& context, const JinjaValue& dict, std::string_view what);

}  // namespace um
