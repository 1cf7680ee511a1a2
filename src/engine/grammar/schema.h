// JSON Schema (draft 2020-12, the part that can be written left to right) as a Grammar. Where a
// keyword cannot be honoured exactly, fewer texts are allowed, never a wrong one;
// docs/constraints.md has the list.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/grammar/grammar.h"

namespace um {

/// JSON values with fixed text around them. In the texts kFormSpace stands for the white space that
/// may stand between the parts of JSON, kFormId for an id of 1 to 64 letters, digits and - _ . :,
/// and form_mark(i) for a token (see ConstraintFactory).
struct JsonForm {
  /// One of several values of a piece. Texts may stand without quotes and escapes, up to the first
  /// `after`.
  struct Value {
    enum Texts : uint8_t { kJson, kPlain, kOnlyPlain };  ///< the last: and there are only texts
    std::string before = {}, schema = {}, after = {};
    std::string name = {};
    bool required = true;
    Texts texts = kJson;
    bool constants = false;  ///< Python's True, False and None are right, too
  };
  struct Piece {
    std::string before = {}, schema = {}, after = {};
    std::string extra = {};          ///< may stand before `after`; empty: nothing may
    std::string name = {};           ///< of the schema, in errors
    bool object = false;             ///< of the schema's values only objects
    std::vector<Value> values = {};  ///< these in their order, in place of `schema`
    bool many_values = false;        ///< `values` counts, even where there are none
    std::string separator = {};      ///< between two values
  };
  std::string open = {};
  std::vector<Piece> pieces = {};  ///< one of these, ...
  bool repeat = false;             ///< ... or several, with `between` between them
  std::string between = {}, close = {};
};

inline constexpr char kFormSpace = '\x01', kFormId = '\x02';
/// Bytes that no text has; for indices up to 100.
inline std::string form_mark(size_t index) {
  return {'\xff', static_cast<char>(0x80 + index)};
}

/// Every value in the texts of the grammar meets its schema, with properties in the schema's order.
/// Throws UsageError `schema NAME#/PATH: ...` for a keyword that is not supported or damaged.
Grammar form_grammar(const JsonForm& form);
/// The same for one value alone.
Grammar schema_grammar(std::string_view schema);

}  // namespace um
