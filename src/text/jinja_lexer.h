// Tokens of chat templates, with white space control done.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace um {

struct JinjaToken {
  enum Kind {
    kText,
    kName,
    kInteger,
    kReal,
    kString,
    kOperator,
    kOutputBegin,
    kOutputEnd,
    kBlockBegin,
    kBlockEnd,
    kEnd
  } kind;
  std::string text;  // strings: without quotes, escapes read
  int line;
};

/// Throws Error `NAME: line N: …`.
std::vector<JinjaToken> lex_jinja(std::string_view source, const std::string& name);

}  // namespace um
