// TOML text to a JSON value; the only file that sees toml++. See fields.h.
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include "core/error.h"
#include "core/fields.h"
#include "core/json.h"

namespace um {
namespace {

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
  try {
    return convert(toml::parse(text), where);
  } catch (const toml::parse_error& error) {
    throw UsageError(fmt::format("{}: line {}, column {}: not valid TOML: {}", where,
                                 error.source().begin.line, error.source().begin.column,
                                 error.description()));
  }
}

}  // namespace um
