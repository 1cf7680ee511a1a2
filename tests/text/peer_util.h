// Other people's implementations as peers of tests: a Python script of tests/text is run with a
// JSON request on its standard input. Where Python or the package is missing, tests skip.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace um {

/// Runs `tests/text/SCRIPT` with `request`; nothing if the script says that a package is missing
/// (exit code 77) or Python is not there. Python is $UM_PYTHON or python3. Other failures throw.
std::optional<nlohmann::json> ask_python(const std::string& script, const nlohmann::json& request);

/// The folder of shared material, $UM_SHARED or ../shared; it may be missing.
std::filesystem::path shared_folder();

}  // namespace um
