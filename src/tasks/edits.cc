// Edits of strings, letter by letter.
#include <array>

#include "tasks/makers.h"
#include "tasks/words.h"

namespace um {
namespace {

constexpr ByLevel<size_t> kLength = {4, 6, 9, 13, 18};

using Letters = std::vector<std::string_view>;

std::string text_of(const Letters& word) {
  return fmt::format("{}", fmt::join(word, ""));
}

/// Of all letters, or of a few of them.
Letters random_word(TaskRandom& random, std::span<const std::string_view> from, int level) {
  Letters word;
  for (size_t i = 0; i < at_level(kLength, level); ++i) word.push_back(random.pick(from));
  return word;
}

Problem edit_problem(std::string key, std::string question, std::string steps, std::string answer) {
  return {.key = std::move(key),
          .question = std::move(question),
          .steps = std::move(steps),
          .answer = std::move(answer),
          .checker = {{"kind", "text"}}};
}

/// A word in which letter 0 of `few` stands once at least, and another one too.
struct Few {
  Letters few, word;
};
Few word_of_few(TaskRandom& random, Language language, int level) {
  Few out;
  out.few = random.choose(letters(language), 4);
  out.word = random_word(random, out.few, level);
  const size_t place = random.index(out.word.size() - 1);
  out.word[place] = out.few[0];
  out.word[place + 1] = out.few[1];
  return out;
}

}  // namespace

Problem make_reverse(TaskRandom& random, int level, Language language, const TaskInputs&) {
  const Letters word = random_word(random, letters(language), level);
  std::string steps, answer;
  for (size_t i = word.size(); i-- > 0;) {
    answer += word[i];
    steps += fmt::format("{}{}", steps.empty() ? "" : "\n", answer);
  }
  const std::string text = text_of(word);
  return edit_problem(text, say(language, "Write {} backwards.", "把“{}”倒过来写。", text), steps,
                      answer);
}

Problem make_delete(TaskRandom& random, int level, Language language, const TaskInputs&) {
  const Few given = word_of_few(random, language, level);
  std::string steps, answer;
  for (const std::string_view letter : given.word) {
    if (letter != given.few[0]) answer += letter;
    steps += fmt::format("{}: {}\n", letter, answer);
  }
  const std::string text = text_of(given.word);
  return edit_problem(
      fmt::format("{} from {}", given.few[0], text),
      say(language, "Remove every {} from {}.", "把所有的“{}”从“{}”中删去。", given.few[0], text),
      steps + answer, answer);
}

Problem make_replace(TaskRandom& random, int level, Language language, const TaskInputs&) {
  const Few given = word_of_few(random, language, level);
  const std::string_view old_letter = given.few[0], new_letter = random.pick(given.few);
  const std::string_view other = new_letter == old_letter ? given.few[1] : new_letter;
  std::string steps, answer;
  for (const std::string_view letter : given.word) {
    answer += letter == old_letter ? other : letter;
    steps += fmt::format("{}: {}\n", letter, answer);
  }
  const std::string text = text_of(given.word);
  return edit_problem(fmt::format("{} to {} in {}", old_letter, other, text),
                      say(language, "Replace every {} by {} in {}.", "把每个“{}”换成“{}”：{}",
                          old_letter, other, text),
                      steps + answer, answer);
}

}  // namespace um
