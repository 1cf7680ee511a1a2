// SchemaAlgebra: schemas as sets of values: their intersection, difference and normal form (a list
// of SchemaCells), whether a value is in one, and whether one is empty. A schema is looked at when
// it is asked for, and once: so recursive ones are finite.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/grammar/schema_cell.h"
#include "engine/grammar/schema_source.h"
#include "engine/grammar/text_set.h"

namespace um {

struct SchemaPattern {
  std::string path;
  Regex regex = {};
  bool fewer = false;  ///< matches fewer texts than the format that it stands for
  TextSets::Id set = -1;
};

class SchemaAlgebra;
/// What a schema's keywords say (schema_read.cc).
SchemaCells read_cells(SchemaAlgebra& algebra, const SchemaPlace& place);

class SchemaAlgebra {
 public:
  using Expr = SchemaExpr;
  using Cell = SchemaCell;
  using Cells = SchemaCells;

  SchemaAlgebra();

  /// Reads a schema's text; `name` stands in the paths of errors.
  Expr read(std::string_view text, const std::string& name);

  Expr both(Expr a, Expr b);
  Expr negation(Expr a);
  /// Values that are in one of the schemas, or in several.
  Expr either(std::vector<Expr> parts);
  /// The normal form.
  const Cells& cells(Expr expr);
  bool accepts(Expr expr, const SchemaNode& value);
  bool contains(const Cell& cell, const SchemaNode& value);
  /// Whether it is certain that no value is in the set.
  bool is_empty(Expr expr) { return is_empty(expr, 0); }
  bool is_empty(const Cell& cell) { return is_empty(cell, 0); }
  /// What all the rules say of a property.
  Expr property(const NameRules& rules, const std::string& name);
  Expr item(const Cell& cell, size_t index);

  TextSets& texts() { return texts_; }
  const SchemaPattern& pattern(PatternId id) const { return patterns_[static_cast<size_t>(id)]; }
  TextSets::Id pattern_set(PatternId id);
  /// The texts of a string cell; of all string cells of a schema.
  TextSets::Id text_set(const Cell& cell);
  TextSets::Id text_set(Expr expr);
  const std::string& path(Expr expr) const;

  /// Counts work; throws UsageError when a schema takes too much.
  void work(size_t amount = 1);

 private:
  struct Entry {
    enum { kAll, kNone, kPlace, kBoth, kEither, kNot } kind = kAll;
    SchemaPlace place = {};
    std::vector<Expr> parts = {};
    std::optional<Cells> cells = {};
    std::optional<bool> empty = {};
    bool open = false;
    bool doubtful = false;  ///< cells were left out which only our narrowing makes empty
  };

  // schema_algebra.cc
  Expr add(Entry entry);
  Cells find_cells(Expr expr);
  Cell intersect(const Cell& a, const Cell& b);
  Cells intersect(const Cells& a, const Cells& b);
  bool is_empty(Expr expr, int depth);
  bool is_empty(const Cell& cell, int depth);
  bool find_empty(const Cell& cell, int depth);
  bool is_empty_array(const Cell& cell, int depth);
  bool is_empty_object(const Cell& cell, int depth);
  bool contains_array(const Cell& cell, const SchemaNode& value);
  bool contains_object(const Cell& cell, const SchemaNode& value);
  bool meets(const NameRule& rule, const std::string& name, const SchemaNode& value);
  Expr property(const NameRule& rule, const std::string& name);
  static Cells everything();

  // schema_subtract.cc
  Cells subtract(Cells from, Expr expr);
  Cells subtract(const Cell& from, const Cell& cell);
  bool apart(const Cell& a, const Cell& b);
  void subtract_strings(const Cell& from, const Cell& cell, Cells& out);
  void subtract_numbers(const Cell& from, const Cell& cell, Cells& out);
  void subtract_arrays(const Cell& from, const Cell& cell, Cells& out);
  void subtract_objects(const Cell& from, const Cell& cell, Cells& out);
  void subtract_rule(const Cell& from, const std::shared_ptr<const NameRule>& rule, Cells& out);
  void keep(Cell cell, Cells& out);
  static Cell with_property(Cell cell, const std::string& name, Expr expr, bool required);

  // schema_read.cc
  friend class SchemaReader;
  Expr place(const SchemaPlace& at);
  PatternId add_pattern(const std::string& source, const std::string& path, bool fewer = false);
  /// The strings of a schema as a pattern.
  PatternId pattern_of_names(Expr expr);

  std::deque<Entry> entries_;
  std::unordered_map<const SchemaNode*, Expr> by_node_;
  std::map<std::vector<Expr>, Expr> by_parts_;
  std::map<Expr, Expr> by_negated_;
  std::deque<SchemaSource> sources_;
  std::unordered_map<const SchemaResource*, const SchemaSource*> source_of_;
  TextSets texts_;
  std::vector<SchemaPattern> patterns_;
  std::map<std::string, PatternId> by_source_;
  bool doubtful_ = false;  // emptiness was found from a cell that holds fewer than its schema says
  int probing_ = 0;        // emptiness is looked for: what cannot be said yet is not an error
};

}  // namespace um
