// Which JSON types a tool's argument may have, by the tool's schema: forms that write arguments
// between marks do not tell the text 7 from the number.
#pragma once

#include <string>
#include <string_view>

#include "core/json.h"

namespace um {

class ArgumentTypes {
 public:
  /// `parameters`: the schema of a tool's arguments, as text; what is none allows everything.
  explicit ArgumentTypes(std::string_view parameters = {});

  /// Whether this argument is a text and nothing else.
  bool only_text(const std::string& name) const;
  /// Whether it may be one.
  bool may_be_text(const std::string& name) const;
  /// The JSON of what stands between the marks: of a type that the schema allows, a text where that
  /// may be and nothing else fits. Python's True, False and None are read, too, and where no text
  /// may be all its literals.
  std::string json(const std::string& name, std::string_view written) const;

  /// The schema of an argument, or of what is in it: a member, or an element of a list.
  struct Place {
    const Json* schema = nullptr;  ///< null where nothing is said
  };
  Place place(const std::string& name) const;
  Place member(Place place, const std::string& name) const;
  Place element(Place place) const;
  std::string json(Place place, std::string_view written) const;

 private:
  unsigned types_of(Place place) const;
  unsigned types(const Json& schema, int depth) const;
  const Json* resolved(const Json* schema) const;

  Json root_;
};

}  // namespace um
