// Self-contained HTML pages: a template of the program with data put in.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace um {

std::string escape_html(std::string_view text);
/// JSON that may stand inside <script>: ASCII only, and no `<`, `>` or `&` that could end or open
/// anything. Invalid UTF-8 becomes U+FFFD.
std::string script_json(const nlohmann::ordered_json& json);
/// Replaces each {{name}} of `page` in one pass: what is put in is never looked at again. Throws
/// Error for a name without a value.
std::string fill_page(std::string_view page,
                      const std::vector<std::pair<std::string_view, std::string_view>>& values);

}  // namespace um
