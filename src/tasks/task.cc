// See task.h: the table of tasks.
#include "tasks/task.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/suggest.h"
#include "tasks/makers.h"

namespace um {
namespace {

constexpr std::array<Task, 19> kTasks = {{
    {"addition", "two numbers, with carries", make_addition},
    {"subtraction", "two numbers, with borrows", make_subtraction},
    {"multiplication", "two numbers, with partial products", make_multiplication},
    {"chain", "operations told one after the other", make_chain},
    {"precedence", "an expression of + - * and parentheses", make_precedence},
    {"sort_numbers", "numbers in order", make_sort_numbers},
    {"sort_words", "words in alphabetical order", make_sort_words},
    {"count_letters", "how often a letter is in a word", make_count_letters},
    {"count_words", "how often a word is in a list", make_count_words},
    {"countdown", "a target from given numbers", make_countdown},
    {"ordering", "who is at which place, from comparisons", make_ordering},
    {"truth_tellers", "who tells the truth, from what they say", make_truth_tellers},
    {"reverse", "a word backwards", make_reverse},
    {"delete", "a word without a letter", make_delete},
    {"replace", "a word with one letter for another", make_replace},
    {"hypernym", "what something is a kind of (WordNet)", make_hypernym, true},
    {"antonym", "the opposite of a word (WordNet)", make_antonym, true},
    {"calculator", "a call of a calculator", make_calculator, false, true},
    {"lookup", "a call that looks something up", make_lookup, false, true},
}};

}  // namespace

Language parse_language(std::string_view name) {
  if (name == "en") return Language::kEnglish;
  if (name == "zh") return Language::kChinese;
  throw UsageError(fmt::format("--language {}: expected en or zh", name));
}

std::string_view language_name(Language language) {
  return language == Language::kEnglish ? "en" : "zh";
}

std::span<const Task> all_tasks() {
  return kTasks;
}

std::vector<Task> find_tasks(const std::vector<std::string>& names) {
  std::vector<std::string> known = {"all"};
  for (const Task& task : kTasks) known.emplace_back(task.name);
  for (const std::string& name : names)
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw UsageError(fmt::format("--task: no task \"{}\"{}; there are {}", name,
                                   did_you_mean(name, known), joined(known)));
  const auto wanted = [&](std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  std::vector<Task> tasks;
  for (const Task& task : kTasks)
    if (wanted("all") || wanted(task.name)) tasks.push_back(task);
  return tasks;
}

TaskInputs load_inputs(std::span<const Task> tasks, const std::filesystem::path& directory) {
  TaskInputs inputs;
  for (const Task& task : tasks) {
    if (!task.needs_wordnet) continue;
    inputs.words = read_word_relations(directory);
    break;
  }
  return inputs;
}

std::string joined(const std::vector<std::string>& items, std::string_view between) {
  return fmt::format("{}", fmt::join(items, between));
}

}  // namespace um
