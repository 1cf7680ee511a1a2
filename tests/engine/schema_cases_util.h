// Schemas with texts that meet them, in the form the constraint allows, and texts that do not.
#pragma once

#include <string>
#include <vector>

namespace um {

struct SchemaCase {
  std::string schema;
  std::vector<std::string> right, wrong;
};
/// The first is an object with the string `name` and the integer `age`.
const std::vector<SchemaCase>& schema_cases();

}  // namespace um
