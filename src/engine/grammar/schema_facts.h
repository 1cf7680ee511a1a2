// What schemas say by themselves, before any text is made of them: where references lead, which
// types they speak of, and whether two of them exclude each other (for oneOf).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>

namespace um {

using SchemaNode = nlohmann::ordered_json;  // keeps the order of properties

/// Throws UsageError `schema PATH: WHAT`.
[[noreturn]] void refuse_schema(const std::string& path, std::string_view what);

/// Keywords that say nothing about which texts are valid.
bool is_schema_annotation(std::string_view keyword);
/// The type that a keyword is about, or nothing.
std::string_view type_of_keyword(std::string_view keyword);
/// "integer" for whole numbers, else the JSON type.
std::string type_of_value(const SchemaNode& value);
/// The types that a schema names, else those that its keywords are about; none: any.
std::set<std::string> schema_types(const SchemaNode& node, const std::string& path);

/// Follows a JSON pointer (RFC 6901) in its URI form.
const SchemaNode& find_schema(const SchemaNode& root, const SchemaNode& reference,
                              const std::string& path);

/// Whether it is certain that no text which is written for `made` meets `other`: by their types,
/// their constants, or a property. `steps` counts the work, which ends at a limit with "no".
bool schema_excludes(const SchemaNode& root, const SchemaNode& made, const SchemaNode& other,
                     int64_t& steps);

}  // namespace um
