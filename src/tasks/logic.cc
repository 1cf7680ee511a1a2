// Small logic puzzles with one solution.
#include <algorithm>
#include <array>
#include <bit>

#include "tasks/makers.h"
#include "tasks/words.h"

namespace um {
namespace {

std::vector<std::string> some_names(TaskRandom& random, Language language, size_t count) {
  const auto chosen = random.choose(first_names(language), count);
  return {chosen.begin(), chosen.end()};
}

constexpr ByLevel<size_t> kRanked = {3, 4, 5, 6, 8};

struct Clue {
  std::string taller, shorter;
};

/// The order, put together clue by clue.
std::string ordering_steps(std::vector<Clue> clues) {
  std::vector<std::string> chain = {clues[0].taller, clues[0].shorter};
  clues.erase(clues.begin());
  std::string steps = joined(chain, " > ");
  while (!clues.empty()) {
    const auto next = std::find_if(clues.begin(), clues.end(), [&](const Clue& clue) {
      return clue.taller == chain.back() || clue.shorter == chain.front();
    });
    if (next->taller == chain.back())
      chain.push_back(next->shorter);
    else
      chain.insert(chain.begin(), next->taller);
    clues.erase(next);
    steps += "\n" + joined(chain, " > ");
  }
  return steps;
}

/// Who says what about whom. A person's kind is a bit: 1 tells the truth, 0 lies.
struct Statement {
  enum Kind { kHonest, kLiar, kAlike, kCount } kind = kHonest;
  size_t about = 0, also = 0;
  int count = 0;

  bool holds(uint32_t kinds) const {
    const bool honest = (kinds >> about & 1) != 0;
    if (kind == kHonest) return honest;
    if (kind == kLiar) return !honest;
    if (kind == kAlike) return honest == ((kinds >> also & 1) != 0);
    return std::popcount(kinds) == count;
  }

  std::string text(Language language, const std::vector<std::string>& names) const {
    if (kind == kHonest) return say(language, "{} tells the truth", "{}说真话", names[about]);
    if (kind == kLiar) return say(language, "{} lies", "{}说谎", names[about]);
    if (kind == kAlike)
      return say(language, "{} and {} are of the same kind", "{}和{}是同一类人", names[about],
                 names[also]);
    return say(language, "the number of us who tell the truth is {}", "我们中恰好有{}个人说真话",
               count);
  }
};

constexpr ByLevel<size_t> kSpeakers = {2, 3, 4, 5, 6};

Statement random_statement(TaskRandom& random, int level, size_t speaker, size_t count) {
  const auto other = [&](size_t than) {
    const size_t at = random.index(count - 1);
    return at < than ? at : at + 1;
  };
  Statement out{static_cast<Statement::Kind>(random.between(0, level >= 3 ? 3 : 2))};
  if (level < 3 && out.kind == Statement::kAlike) out.kind = Statement::kCount;
  out.about = other(speaker);
  if (out.kind == Statement::kAlike) out.also = other(out.about);
  out.count = static_cast<int>(random.between(1, static_cast<int64_t>(count)));
  return out;
}

/// All ways in which what is said fits who tells the truth.
std::vector<uint32_t> solutions(const std::vector<Statement>& statements) {
  std::vector<uint32_t> found;
  for (uint32_t kinds = 0; kinds < 1u << statements.size(); ++kinds) {
    bool fits = true;
    for (size_t i = 0; i < statements.size(); ++i)
      fits = fits && statements[i].holds(kinds) == ((kinds >> i & 1) != 0);
    if (fits) found.push_back(kinds);
  }
  return found;
}

}  // namespace

Problem make_ordering(TaskRandom& random, int level, Language language, const TaskInputs&) {
  const size_t count = at_level(kRanked, level);
  const std::vector<std::string> order = some_names(random, language, count);
  std::vector<Clue> clues;
  for (size_t i = 0; i + 1 < count; ++i) clues.push_back({order[i], order[i + 1]});
  random.shuffle(clues);
  std::string question;
  for (const Clue& clue : clues) {
    if (level >= 3 && random.coin())
      question += say(language, "{} is shorter than {}. ", "{}比{}矮。", clue.shorter, clue.taller);
    else
      question += say(language, "{} is taller than {}. ", "{}比{}高。", clue.taller, clue.shorter);
  }
  const size_t place = random.index(count);
  question += say(language, "Who is number {}, counted from the tallest?",
                  "从高到低数，第{}个人是谁？", place + 1);
  return {.key = question,
          .question = question,
          .steps = ordering_steps(clues) + "\n" + order[place],
          .answer = order[place],
          .checker = {{"kind", "text"}}};
}

Problem make_truth_tellers(TaskRandom& random, int level, Language language, const TaskInputs&) {
  const size_t count = at_level(kSpeakers, level);
  const std::vector<std::string> names = some_names(random, language, count);
  std::vector<Statement> statements;
  std::vector<uint32_t> found;
  while (found.size() != 1 || found[0] == 0) {
    statements.clear();
    for (size_t i = 0; i < count; ++i)
      statements.push_back(random_statement(random, level, i, count));
    found = solutions(statements);
  }
  std::string question = say(language, "Each of {} either always tells the truth or always lies. ",
                             "{}每人要么总说真话，要么总说谎。",
                             joined(names, language == Language::kEnglish ? ", " : "、"));
  std::string steps;
  std::vector<std::string> honest;
  for (size_t i = 0; i < count; ++i) {
    const std::string text = statements[i].text(language, names);
    question += say(language, "{} says: {}. ", "{}说：{}。", names[i], text);
    const bool truth = (found[0] >> i & 1) != 0;
    if (truth) honest.push_back(names[i]);
    steps += truth ? say(language, "{} tells the truth: it is so that {}\n", "{}说真话：确实{}\n",
                         names[i], text)
                   : say(language, "{} lies: it is not so that {}\n", "{}说谎：并非{}\n", names[i],
                         text);
  }
  question += say(language, "Who tells the truth? Name all of them in this order.",
                  "谁说真话？请按以上顺序列出。");
  return {.key = question,
          .question = question,
          .steps = steps + joined(honest),
          .answer = joined(honest),
          .checker = {{"kind", "list"}}};
}

}  // namespace um
