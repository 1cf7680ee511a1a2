// Tasks: generators of problems with levels, written steps and exact checkers, in English and
// Chinese. A task is a row of all_tasks() and one function; docs/tasks.md has an example of each.
#pragma once

#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/wordnet_relations.h"
#include "tasks/random.h"

namespace um {

enum class Language { kEnglish, kChinese };
/// "en" or "zh"; throws UsageError for other names.
Language parse_language(std::string_view name);
std::string_view language_name(Language language);

inline constexpr int kTaskLevels = 5;
/// A figure for each level.
template <class T>
using ByLevel = std::array<T, kTaskLevels>;
template <class T>
const T& at_level(const ByLevel<T>& values, int level) {
  return values[static_cast<size_t>(level - 1)];
}

struct Problem {
  /// What is asked apart from the wording and the language: problems with one key are one problem.
  std::string key = {};
  std::string question = {};
  std::string steps = {};               ///< written work, whose end is the answer
  std::string answer = {};              ///< all that a good answer says
  nlohmann::ordered_json checker = {};  ///< as Checker::from_json takes it
  /// Of tasks that call a tool: what is on offer, the one call, and what it gives; else null.
  nlohmann::ordered_json tools = nullptr, call = nullptr;
  std::string result = {};
};

/// What generators need beside random numbers.
struct TaskInputs {
  WordRelations words = {};  ///< of WordNet, for tasks that need it
};

struct Task {
  std::string_view name, about;
  Problem (*make)(TaskRandom& random, int level, Language language, const TaskInputs& inputs);
  bool needs_wordnet = false, calls_tools = false;
};

std::span<const Task> all_tasks();
/// The tasks of these names, in the order of all_tasks(); "all": all of them. Throws UsageError for
/// a name that does not exist.
std::vector<Task> find_tasks(const std::vector<std::string>& names);

/// What the tasks need of WordNet's files in `directory`. Throws Error where they are missing.
TaskInputs load_inputs(std::span<const Task> tasks, const std::filesystem::path& directory);

/// The text in the language, its places filled.
template <class... Args>
std::string say(Language language, std::string_view english, std::string_view chinese,
                const Args&... args) {
  return fmt::vformat(language == Language::kEnglish ? english : chinese,
                      fmt::make_format_args(args...));
}
/// "a, b, c"
std::string joined(const std::vector<std::string>& items, std::string_view between = ", ");

}  // namespace um
