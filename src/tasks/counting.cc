// Counting letters in a word and words in a list.
#include <array>

#include "tasks/makers.h"
#include "tasks/words.h"

namespace um {
namespace {

constexpr ByLevel<size_t> kLength = {5, 9, 14, 22, 36};
constexpr ByLevel<size_t> kDifferent = {3, 3, 4, 5, 6};

/// `length` items of a few different ones, and the one that is asked for.
struct Items {
  std::vector<std::string_view> items;
  std::string_view wanted;
};

Items random_items(TaskRandom& random, std::span<const std::string_view> from, int level) {
  const auto few = random.choose(from, at_level(kDifferent, level));
  Items out{{}, few[0]};
  for (size_t i = 0; i < at_level(kLength, level); ++i) out.items.push_back(random.pick(few));
  return out;
}

/// Every item with the count so far, then the count.
Problem counting_problem(const Items& items, std::string key, std::string question) {
  std::string steps;
  int64_t count = 0;
  for (const std::string_view item : items.items) {
    count += item == items.wanted ? 1 : 0;
    steps += fmt::format("{} {}\n", item, count);
  }
  return {.key = std::move(key),
          .question = std::move(question),
          .steps = steps + std::to_string(count),
          .answer = std::to_string(count),
          .checker = {{"kind", "number"}}};
}

}  // namespace

Problem make_count_letters(TaskRandom& random, int level, Language language, const TaskInputs&) {
  const Items items = random_items(random, letters(language), level);
  const std::string word = fmt::format("{}", fmt::join(items.items, ""));
  return counting_problem(items, fmt::format("{} in {}", items.wanted, word),
                          say(language, "How many times does the letter {} occur in {}?",
                              "“{}”字在“{}”中出现了多少次？", items.wanted, word));
}

Problem make_count_words(TaskRandom& random, int level, Language language, const TaskInputs&) {
  const Items items = random_items(random, common_words(language), level);
  const std::string list = fmt::format("{}", fmt::join(items.items, " "));
  return counting_problem(
      items, fmt::format("{} in {}", items.wanted, list),
      say(language, "How many times does the word \"{}\" occur in this list? {}",
          "“{}”这个词在下面出现了多少次？{}", items.wanted, list));
}

}  // namespace um
