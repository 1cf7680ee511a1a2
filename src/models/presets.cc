// Presets: directories with a config.json, shipped beside the program; see config.h.
#include <algorithm>
#include <cstdlib>

#include "core/error.h"
#include "core/json.h"
#include "core/suggest.h"
#include "models/config.h"

namespace um {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> preset_roots() {
  std::vector<fs::path> roots;
  if (const char* chosen = std::getenv("UM_CONFIGS"); chosen != nullptr && *chosen != '\0') {
    roots.emplace_back(chosen);
  }
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error).parent_path();
  if (!error) {
    for (const char* place : {"../configs", "configs", "../share/ultramoe/configs"}) {
      roots.push_back((program / place).lexically_normal());
    }
  }
  return roots;
}

bool is_preset(const fs::path& directory) {
  std::error_code ignored;
  return fs::is_regular_file(directory / "config.json", ignored);
}

}  // namespace

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const fs::path& root : preset_roots()) {
    std::error_code error;
    for (fs::directory_iterator at(root, error), end; !error && at != end; at.increment(error)) {
      if (is_preset(at->path())) names.push_back(at->path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

fs::path find_preset(std::string_view name) {
  const bool plain =
      !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos;
  for (const fs::path& root : preset_roots()) {
    if (plain && is_preset(root / name)) return root / name;
  }
  const std::vector<std::string> known = preset_names();
  UM_CHECK(!known.empty(), "{}: no preset found: set UM_CONFIGS to the project's configs folder",
           quote(name));
  fail("{}: no such preset or model directory; did you mean {}? known presets: {}", quote(name),
       nearest(name, known), fmt::join(known, ", "));
}

fs::path find_model(const std::string& name_or_directory) {
  std::error_code ignored;
  return fs::is_directory(name_or_directory, ignored) ? fs::path(name_or_directory)
                                                      : find_preset(name_or_directory);
}

}  // namespace um
