// A JSON Schema validator for tests, written apart from the code it checks: it looks at values, not
// at texts.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace um {

/// What is wrong with `value`, or nothing.
std::string schema_fault(const nlohmann::json& root, const nlohmann::json& schema,
                         const nlohmann::json& value, const std::string& path = "$");

/// UTF-8 as one wchar_t per character, for std::wregex.
std::wstring wide(const std::string& text);

}  // namespace um
