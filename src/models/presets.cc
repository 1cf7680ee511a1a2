// Presets: configs by name, from a folder of the user's or built into the program; see config.h.
#include "embedded/presets.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/paths.h"
#include "core/suggest.h"
#include "models/config.h"
#include "models/digests.h"
#include "models/gguf_model.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;

/// The folder of the user's own presets; they come before those of the same name that are built in.
std::optional<fs::path> own_presets() {
  const char* chosen = std::getenv("UM_CONFIGS");
  if (chosen == nullptr || *chosen == '\0') return std::nullopt;
  return chosen;
}

bool is_preset(const fs::path& directory) {
  std::error_code ignored;
  return fs::exists(directory / "config.json", ignored);
}

/// A directory as given, or that of a preset of the user's own.
std::optional<fs::path> find_directory(const std::string& name) {
  if (path_exists(name) && fs::is_directory(name)) return name;
  const bool plain =
      !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos;
  const auto own = own_presets();
  if (plain && own && is_preset(*own / name)) return *own / name;
  return std::nullopt;
}

bool is_gguf_file(const std::string& name) {
  return is_gguf(name) && path_exists(name);
}

std::optional<std::string_view> built_in(std::string_view name) {
  for (const auto& [preset, text] : embedded::kPresets)
    if (preset == name) return text;
  return std::nullopt;
}

[[noreturn]] void unknown(const std::string& name) {
  const std::vector<std::string> known = preset_names();
  fail("{}: no such preset, model directory or .gguf file{}; known presets: {}", quote(name),
       did_you_mean(name, known), fmt::join(known, ", "));
}

}  // namespace

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const auto& [preset, text] : embedded::kPresets) names.emplace_back(preset);
  if (const auto own = own_presets()) {
    std::error_code error;
    for (fs::directory_iterator at(*own, error), end; !error && at != end; at.increment(error)) {
      if (is_preset(at->path())) names.push_back(at->path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

ConfigText find_config(const std::string& name_or_directory) {
  if (is_gguf_file(name_or_directory))
    return {to_text(gguf_config(GgufModel(name_or_directory)), 2), name_or_directory};
  if (const auto directory = find_directory(name_or_directory)) {
    const fs::path file = *directory / "config.json";
    return {read_file(file, kMaxConfigBytes), file.string()};
  }
  const auto text = built_in(name_or_directory);
  if (!text) unknown(name_or_directory);
  return {std::string(*text), "preset " + name_or_directory};
}

fs::path find_model(const std::string& name_or_directory) {
  if (is_gguf_file(name_or_directory)) return name_or_directory;
  if (const auto directory = find_directory(name_or_directory)) {
    check_digests(*directory, DigestScope::model);  // before anybody reads a damaged file
    return *directory;
  }
  if (!built_in(name_or_directory)) unknown(name_or_directory);
  fail(
      "{}: this preset has no weights; `ultramoe init` makes random ones, `ultramoe train` trains "
      "them",
      name_or_directory);
}

}  // namespace um
