// What words have to do with each other: a choice among options, one of which is right.
#include <algorithm>
#include <array>

#include "tasks/makers.h"

namespace um {
namespace {

constexpr ByLevel<size_t> kOptions = {2, 3, 4, 6, 8};

/// The right word among others that `draw` gives and `fits` takes.
template <class Draw, class Fits>
std::vector<std::string> make_options(TaskRandom& random, int level, const std::string& right,
                                      Draw draw, Fits fits) {
  std::vector<std::string> options = {right};
  constexpr int kMostDraws = 1000;  // of a WordNet too small to have enough
  for (int i = 0; i < kMostDraws && options.size() < at_level(kOptions, level); ++i) {
    const std::string& option = draw();
    if (std::find(options.begin(), options.end(), option) == options.end() && fits(option))
      options.push_back(option);
  }
  random.shuffle(options);
  return options;
}

Problem choice(std::string key, std::string question, const std::vector<std::string>& options,
               std::string steps, const std::string& answer, Language language) {
  question += say(language, " Choose one: {}", "请选一个：{}", joined(options));
  return {.key = std::move(key),
          .question = std::move(question),
          .steps = std::move(steps) + "\n" + answer,
          .answer = answer,
          .checker = {{"kind", "text"}}};
}

}  // namespace

Problem make_hypernym(TaskRandom& random, int level, Language language, const TaskInputs& inputs) {
  const Noun& noun = random.pick(inputs.words.nouns);
  const auto options = make_options(
      random, level, noun.kind,
      [&]() -> const std::string& { return random.pick(inputs.words.nouns).kind; },
      [&](const std::string& option) {
        return option != noun.word &&
               std::find(noun.above.begin(), noun.above.end(), option) == noun.above.end();
      });
  return choice(noun.word,
                say(language, "What is a {} a kind of?", "英文单词 {} 是哪一种东西？", noun.word),
                options, noun.word + ": " + noun.definition, noun.kind, language);
}

Problem make_antonym(TaskRandom& random, int level, Language language, const TaskInputs& inputs) {
  Opposites pair = random.pick(inputs.words.opposites);
  const std::string key = fmt::format("{} and {}", pair.word, pair.opposite);
  if (random.coin()) std::swap(pair.word, pair.opposite);
  const auto options = make_options(
      random, level, pair.opposite,
      [&]() -> const std::string& {
        const Opposites& other = random.pick(inputs.words.opposites);
        return random.coin() ? other.word : other.opposite;
      },
      [&](const std::string& option) { return option != pair.word; });
  return choice(
      key, say(language, "What is the opposite of {}?", "英文单词 {} 的反义词是什么？", pair.word),
      options, say(language, "{} is not {}", "{} 不是 {}", pair.opposite, pair.word), pair.opposite,
      language);
}

}  // namespace um
