// Chains of operations: told one after the other, or as an expression with precedence.
#include <array>

#include "tasks/makers.h"

namespace um {
namespace {

constexpr ByLevel<int> kOperations = {2, 3, 5, 7, 10};
constexpr ByLevel<int64_t> kLargest = {9, 20, 50, 99, 99};
constexpr int64_t kBound = 10'000;  // of what a chain comes to on its way

int64_t apply(int64_t a, char op, int64_t b) {
  return op == '+' ? a + b : op == '-' ? a - b : a * b;
}

struct Told {
  char op;
  std::string_view english, chinese;
};
constexpr std::array<Told, 3> kTold = {{{'+', "Add {}.", "加上 {}。"},
                                        {'-', "Subtract {}.", "减去 {}。"},
                                        {'*', "Multiply by {}.", "乘以 {}。"}}};

/// A term of an expression: a number, or an expression in parentheses.
struct Term {
  int64_t value = 0;
  std::vector<int64_t> group = {};  // of a group: its numbers
  std::string ops = {};             // and what stands between them
};
struct Terms {
  std::vector<Term> terms;
  std::string ops;

  std::string text() const {
    std::string out;
    for (size_t i = 0; i < terms.size(); ++i) {
      if (i > 0) out += fmt::format(" {} ", ops[i - 1]);
      const Term& term = terms[i];
      if (term.group.empty()) {
        out += std::to_string(term.value);
        continue;
      }
      out += "(" + std::to_string(term.group[0]);
      for (size_t k = 1; k < term.group.size(); ++k)
        out += fmt::format(" {} {}", term.ops[k - 1], term.group[k]);
      out += ")";
    }
    return out;
  }

  /// Works out what comes first: a group, else the first product, else the first sum.
  void reduce() {
    for (Term& term : terms)
      if (!term.group.empty()) {
        term = {apply(term.group[0], term.ops[0], term.group[1])};
        return;
      }
    const size_t product = ops.find('*'), at = product == std::string::npos ? 0 : product;
    terms[at].value = apply(terms[at].value, ops[at], terms[at + 1].value);
    terms.erase(terms.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    ops.erase(at, 1);
  }
};

Terms random_terms(TaskRandom& random, int level) {
  const int64_t largest = at_level(kLargest, level);
  const auto number = [&] { return random.between(1, largest); };
  Terms out;
  const int count = at_level(kOperations, level) + 1;
  for (int i = 0; i < count; ++i) {
    // From level 3 on about a quarter of the terms are groups; a group is a sum that is no loss.
    if (level >= 3 && random.between(0, 3) == 0) {
      const int64_t a = number(), b = number();
      const bool minus = a > b && random.coin();
      out.terms.push_back({.value = 0, .group = {a, b}, .ops = minus ? "-" : "+"});
    } else {
      out.terms.push_back({number()});
    }
    // Two products in a row would grow beyond what is written on paper.
    const bool after_product = out.ops.ends_with('*');
    if (i + 1 < count) out.ops += "+-*"[random.between(0, after_product ? 1 : 2)];
  }
  return out;
}

}  // namespace

Problem make_chain(TaskRandom& random, int level, Language language, const TaskInputs&) {
  const int64_t largest = at_level(kLargest, level);
  int64_t value = random.between(1, largest);
  std::string key = std::to_string(value), steps;
  std::string question = say(language, "Start with {}.", "从 {} 开始。", value);
  for (int i = 0; i < at_level(kOperations, level); ++i) {
    const bool small = value < kBound / 10 && value > -kBound / 10;
    const Told& told = kTold[static_cast<size_t>(random.between(0, small ? 2 : 1))];
    const int64_t operand = told.op == '*' ? random.between(2, 5) : random.between(1, largest);
    const int64_t next = apply(value, told.op, operand);
    question += (language == Language::kEnglish ? " " : "") +
                say(language, told.english, told.chinese, operand);
    steps +=
        fmt::format("{}{} {} {} = {}", steps.empty() ? "" : "\n", value, told.op, operand, next);
    key += fmt::format("{}{}", told.op, operand);
    value = next;
  }
  return {.key = key,
          .question = question + say(language, " What is the result?", "结果是多少？"),
          .steps = steps,
          .answer = std::to_string(value),
          .checker = {{"kind", "number"}}};
}

Problem make_precedence(TaskRandom& random, int level, Language language, const TaskInputs&) {
  Terms terms = random_terms(random, level);
  const std::string text = terms.text();
  std::string steps = text;
  while (terms.terms.size() > 1 || !terms.terms[0].group.empty()) {
    terms.reduce();
    steps += "\n= " + terms.text();
  }
  return {.key = text,
          .question = say(language, "Work out {}.", "计算 {}。", text),
          .steps = steps,
          .answer = std::to_string(terms.terms[0].value),
          .checker = {{"kind", "number"}}};
}

}  // namespace um
