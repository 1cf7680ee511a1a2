// Sorting: each step takes the first of what is left.
#include <algorithm>
#include <array>
#include <set>

#include "tasks/makers.h"
#include "tasks/words.h"

namespace um {
namespace {

constexpr ByLevel<size_t> kItems = {3, 5, 7, 10, 14};
constexpr ByLevel<int64_t> kLargest = {20, 99, 999, 9999, 99999};

/// `given` as text, and in the order wanted. The steps find the next item until none is left.
Problem sorted_problem(const std::vector<std::string>& given,
                       const std::vector<std::string>& sorted, Language language,
                       std::string question, bool down) {
  std::vector<std::string> left = given, done;
  std::string steps;
  for (const std::string& next : sorted) {
    steps += say(language, "{}: next {}\n", "{}：取 {}\n", joined(left), next);
    left.erase(std::find(left.begin(), left.end(), next));
  }
  const std::string answer = joined(sorted);
  std::vector<std::string> members = sorted;
  std::sort(members.begin(), members.end());
  return {.key = (down ? "down " : "up ") + joined(members),
          .question = std::move(question),
          .steps = steps + answer,
          .answer = answer,
          .checker = {{"kind", "list"}}};
}

}  // namespace

Problem make_sort_numbers(TaskRandom& random, int level, Language language, const TaskInputs&) {
  std::set<int64_t> numbers;
  while (numbers.size() < at_level(kItems, level))
    numbers.insert(random.between(0, at_level(kLargest, level)));
  std::vector<std::string> sorted;
  for (const int64_t number : numbers) sorted.push_back(std::to_string(number));
  std::vector<std::string> given = sorted;
  random.shuffle(given);
  const bool down = level >= 3 && random.coin();
  if (down) std::reverse(sorted.begin(), sorted.end());
  const std::string list = joined(given);
  return sorted_problem(
      given, sorted, language,
      down ? say(language, "Sort from largest to smallest: {}", "从大到小排列：{}", list)
           : say(language, "Sort from smallest to largest: {}", "从小到大排列：{}", list),
      down);
}

Problem make_sort_words(TaskRandom& random, int level, Language language, const TaskInputs&) {
  // Chinese has no order that everybody knows by heart: its problems sort English words.
  const auto chosen = random.choose(common_words(Language::kEnglish), at_level(kItems, level));
  const std::vector<std::string> given(chosen.begin(), chosen.end());
  std::vector<std::string> sorted = given;
  std::sort(sorted.begin(), sorted.end());
  return sorted_problem(given, sorted, language,
                        say(language, "Put these words in alphabetical order: {}",
                            "按字母顺序排列这些英文单词：{}", joined(given)),
                        false);
}

}  // namespace um
