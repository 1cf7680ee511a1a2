// The formats of JSON Schema as regular expressions.
#pragma once

#include <string>
#include <string_view>

namespace um {

struct FormatPattern {
  std::string pattern = {};  ///< empty: none
  bool fewer = false;        ///< matches fewer texts than the format has
};

FormatPattern pattern_of_format(std::string_view format);

}  // namespace um
