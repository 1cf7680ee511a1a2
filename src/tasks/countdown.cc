// Countdown: an expression that reaches a target with given numbers. Each problem is made from a
// solution, so all can be solved.
#include <algorithm>
#include <array>

#include "tasks/makers.h"

namespace um {
namespace {

constexpr ByLevel<size_t> kNumbers = {2, 3, 4, 5, 6};
constexpr ByLevel<int64_t> kLargest = {12, 12, 25, 50, 100};
constexpr int64_t kMostTarget = 999, kMostBetween = 9999;

struct Part {
  int64_t value;
  std::string text;
  bool compound = false;
};

std::string in_brackets(const Part& part) {
  return part.compound ? "(" + part.text + ")" : part.text;
}

/// Joins two parts so that a positive whole number comes out.
Part combined(TaskRandom& random, Part a, Part b, std::string& steps) {
  if (a.value < b.value) std::swap(a, b);
  std::string ops = "+";
  if (a.value > b.value) ops += '-';
  if (a.value * b.value <= kMostBetween && b.value > 1) ops += '*';
  if (b.value > 1 && a.value % b.value == 0) ops += '/';
  const char op = ops[random.index(ops.size())];
  const int64_t value = op == '+'   ? a.value + b.value
                        : op == '-' ? a.value - b.value
                        : op == '*' ? a.value * b.value
                                    : a.value / b.value;
  steps += fmt::format("{} {} {} = {}\n", a.value, op, b.value, value);
  return {value, fmt::format("{} {} {}", in_brackets(a), op, in_brackets(b)), true};
}

struct Solution {
  Part whole;
  std::string steps;
};

Solution random_solution(TaskRandom& random, const std::vector<int64_t>& numbers) {
  std::vector<Part> parts;
  for (const int64_t number : numbers) parts.push_back({number, std::to_string(number)});
  Solution out;
  while (parts.size() > 1) {
    random.shuffle(parts);
    const Part b = parts.back();
    parts.pop_back();
    parts.back() = combined(random, parts.back(), b, out.steps);
  }
  out.whole = parts[0];
  return out;
}

}  // namespace

Problem make_countdown(TaskRandom& random, int level, Language language, const TaskInputs&) {
  std::vector<int64_t> numbers;
  for (size_t i = 0; i < at_level(kNumbers, level); ++i)
    numbers.push_back(random.between(1, at_level(kLargest, level)));
  // A sum of at most six numbers up to 100 is within the bound, so this ends.
  Solution solution = random_solution(random, numbers);
  while (solution.whole.value > kMostTarget) solution = random_solution(random, numbers);
  const int64_t target = solution.whole.value;
  std::vector<int64_t> sorted = numbers;
  std::sort(sorted.begin(), sorted.end());
  const std::string list = fmt::format("{}", fmt::join(numbers, ", "));
  return {.key = fmt::format("{} from {}", target, fmt::join(sorted, " ")),
          .question = say(language,
                          "Use the numbers {}, each at most once, with + - * / and parentheses to "
                          "make {}. Answer with the expression alone.",
                          "用数字 {}（每个最多用一次）和 + - * / 及括号得到 {}。只写出算式。", list,
                          target),
          .steps = solution.steps + solution.whole.text,
          .answer = solution.whole.text,
          .checker = {{"kind", "countdown"}, {"numbers", numbers}, {"target", target}}};
}

}  // namespace um
