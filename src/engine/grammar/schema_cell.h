// SchemaCell: a set of JSON values of one type as conditions that all hold. A schema's normal form
// is a list of them: a value meets the schema if it is in any.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/keyed_hash.h"
#include "engine/grammar/number_set.h"
#include "engine/grammar/schema_source.h"

namespace um {

/// A schema whose normal form is found when it is asked for (SchemaAlgebra).
using SchemaExpr = int32_t;
inline constexpr SchemaExpr kAnything = 0, kNothing = 1;
inline constexpr int64_t kNoLimit = -1;
inline constexpr size_t kMaxProperties = 5000;  // of one object

/// A regular expression of a schema (SchemaAlgebra).
using PatternId = int32_t;

/// prefixItems and items.
struct ItemRule {
  std::vector<SchemaExpr> prefix = {};
  SchemaExpr rest = kAnything;

  SchemaExpr at(size_t index) const { return index < prefix.size() ? prefix[index] : rest; }
  bool operator==(const ItemRule&) const = default;
};

/// contains, of the items from an index on.
struct ContainsRule {
  SchemaExpr expr = kAnything;
  int64_t min = 1, max = kNoLimit;
  size_t from = 0;
  bool operator==(const ContainsRule&) const = default;
};

/// properties, patternProperties and additionalProperties.
struct NameRule {
  std::vector<std::pair<std::string, SchemaExpr>> names = {};
  std::vector<std::pair<PatternId, SchemaExpr>> patterns = {};
  SchemaExpr rest = kAnything;
  NameMap<SchemaExpr> by_name = {};

  void add(const std::string& name, SchemaExpr expr) {
    names.emplace_back(name, expr);
    by_name.emplace(name, expr);
  }
};
using NameRules = std::vector<std::shared_ptr<const NameRule>>;

/// What other keywords have looked at, for unevaluatedItems and unevaluatedProperties.
struct Evaluated {
  bool all_items = false, all_names = false;
  size_t items = 0;                        ///< so many from the front, ...
  std::vector<SchemaExpr> contained = {};  ///< ... and those that meet one of these
  std::set<std::string> names = {};
  std::set<PatternId> patterns = {};
};

struct SchemaCell {
  enum Kind : uint8_t { kNull, kBoolean, kNumber, kString, kArray, kObject };
  static constexpr int kKinds = 6;
  /// Whether the schema speaks of this type, or only lets it pass.
  enum Spoken : uint8_t { kOpen, kPasses, kSaid };

  Kind kind = kNull;
  Spoken spoken = kOpen;
  bool fewer = false;  ///< holds fewer values than the schema says, and so has no complement
  /// Exactly these; then there are no other conditions.
  std::optional<std::vector<const SchemaNode*>> values = {};
  std::vector<const SchemaNode*> excluded = {};
  int64_t min = 0, max = kNoLimit;  ///< characters, items or properties

  NumberSet number = {};
  std::vector<std::pair<PatternId, bool>> patterns = {};  ///< found; not found
  std::vector<ItemRule> items = {};
  std::vector<ContainsRule> contains = {};
  bool unique = false;
  NameRules names = {};
  NameRules broken = {};  ///< of each some property does not meet it
  std::vector<std::string> required = {};
  std::vector<SchemaExpr> property_names = {};

  Evaluated evaluated = {};
};

using SchemaCells = std::vector<SchemaCell>;

/// Equality as JSON Schema has it: 1 is 1.0, and the order of properties does not count.
/// Counts its work (check_stop).
bool equal_values(const SchemaNode& a, const SchemaNode& b);
SchemaCell::Kind kind_of(const SchemaNode& value);
size_t count_characters(std::string_view utf8);

}  // namespace um
