// TOML text to a JSON value; the only file that sees toml++. See fields.h.
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include "core/error.h"
#include "core/fields.h"
#include "core/json.h"

namespace um {
namespace {

constexpr int64_t kMostParts = 256;  // of a dotted key: toml++ nests a table for each, and recurses

/// Throws UsageError for a key of too many parts. Dots in strings, and those that a comma, bracket
/// or equals sign parts (numbers), are no key's.
void check_keys(std::string_view text, const std::string& where) {
  int64_t parts = 0, line = 1;
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    line += c == '\n' ? 1 : 0;
    if (quote != 0) {
      if (c == '\\' && quote == '"') ++i;
      if (c == quote || c == '\n') quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (std::string_view("=,[]{}#\n").find(c) != std::string_view::npos) {
      parts = 0;
    } else if (c == '.' && ++parts >= kMostParts) {
      throw UsageError(
          fmt::format("{}: line {}: a key of more than {} parts", where, line, kMostParts));
    }
  }
}

Json convert(const toml::node& node, const std::string& where) {
  if (const auto* table = node.as_table()) {
    Json out = Json::object();
    for (const auto& [key, value] : *table) out[std::string(key.str())] = convert(value, where);
    return out;
  }
  if (const auto* array = node.as_array()) {
    Json out = Json::array();
    for (const auto& value : *array) out.push_back(convert(value, where));
    return out;
  }
  if (const auto* value = node.as_string()) return value->get();
  if (const auto* value = node.as_integer()) return value->get();
  if (const auto* value = node.as_floating_point()) return value->get();
  if (const auto* value = node.as_boolean()) return value->get();
  throw UsageError(fmt::format("{}: line {}: dates and times have no use here", where,
                               node.source().begin.line));
}

}  // namespace

Json parse_toml(std::string_view text, const std::string& where) {
  check_keys(text, where);
  try {
    return convert(toml::parse(text), where);
  } catch (const toml::parse_error& error) {
    throw UsageError(fmt::format("{}: line {}, column {}: not valid TOML: {}", where,
                                 error.source().begin.line, error.source().begin.column,
                                 error.description()));
  }
}

}  // namespace um
