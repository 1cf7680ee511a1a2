// Written arithmetic, digit by digit as it is done on paper.
#include <algorithm>
#include <array>

#include "tasks/makers.h"

namespace um {
namespace {

int64_t power_of_ten(int exponent) {
  int64_t power = 1;
  for (int i = 0; i < exponent; ++i) power *= 10;
  return power;
}

/// Exactly so many digits; of one digit 2 to 9.
int64_t number_of_digits(TaskRandom& random, int count) {
  return random.between(count == 1 ? 2 : power_of_ten(count - 1), power_of_ten(count) - 1);
}

struct Carry {
  std::string_view english, chinese;
};
constexpr Carry kAdd = {"{} = {}: write {}, carry {}\n", "{} = {}：写 {} 进 {}\n"};
constexpr Carry kBorrow = {"{} = {}: write {}, borrow {}\n", "{} = {}：写 {} 借 {}\n"};

/// Digit by digit from the right.
std::string addition_steps(int64_t a, int64_t b, Language language) {
  std::string steps;
  int64_t carry = 0;
  for (int64_t x = a, y = b; x > 0 || y > 0 || carry > 0; x /= 10, y /= 10) {
    const int64_t sum = x % 10 + y % 10 + carry;
    std::string terms = fmt::format("{} + {}", x % 10, y % 10);
    if (carry > 0) terms += fmt::format(" + {}", carry);
    carry = sum / 10;
    steps += say(language, kAdd.english, kAdd.chinese, terms, sum, sum % 10, carry);
  }
  return steps + fmt::format("{} + {} = {}", a, b, a + b);
}

/// Of a >= b.
std::string subtraction_steps(int64_t a, int64_t b, Language language) {
  std::string steps;
  int64_t borrow = 0;
  for (int64_t x = a, y = b; x > 0 || y > 0; x /= 10, y /= 10) {
    std::string terms = fmt::format("{} - {}", x % 10, y % 10);
    if (borrow > 0) terms += fmt::format(" - {}", borrow);
    int64_t rest = x % 10 - y % 10 - borrow;
    borrow = rest < 0 ? 1 : 0;
    if (borrow > 0) terms += " + 10", rest += 10;
    steps += say(language, kBorrow.english, kBorrow.chinese, terms, rest, rest, borrow);
  }
  return steps + fmt::format("{} - {} = {}", a, b, a - b);
}

/// `a` times one digit, with carries, on one line.
std::string digit_product(int64_t a, int64_t digit, Language language) {
  std::string steps;
  int64_t carry = 0;
  for (int64_t x = a; x > 0; x /= 10) {
    const int64_t product = x % 10 * digit + carry;
    steps += steps.empty() ? "" : ", ";
    steps += fmt::format("{}*{}", x % 10, digit);
    if (carry > 0) steps += fmt::format("+{}", carry);
    steps += fmt::format("={}", product);
    carry = product / 10;
  }
  return say(language, "{} * {}: {}; {}\n", "{} * {}：{}；{}\n", a, digit, steps, a * digit);
}

std::string multiplication_steps(int64_t a, int64_t b, Language language) {
  std::string steps;
  std::vector<int64_t> partial;
  int64_t place = 1;
  for (int64_t y = b; y > 0; y /= 10, place *= 10) {
    if (y % 10 == 0) continue;
    if (a >= 10) steps += digit_product(a, y % 10, language);
    partial.push_back(a * (y % 10) * place);
    if (b >= 10) steps += fmt::format("{} * {} = {}\n", a, y % 10 * place, partial.back());
  }
  int64_t sum = partial[0];
  for (size_t i = 1; i < partial.size(); ++i) {
    steps += fmt::format("{} + {} = {}\n", sum, partial[i], sum + partial[i]);
    sum += partial[i];
  }
  return steps + fmt::format("{} * {} = {}", a, b, a * b);
}

Problem problem_of(std::string key, int64_t a, char op, int64_t b, int64_t result,
                   std::string steps, Language language) {
  return {.key = std::move(key),
          .question = say(language, "What is {} {} {}?", "{} {} {} 等于多少？", a, op, b),
          .steps = std::move(steps),
          .answer = std::to_string(result),
          .checker = {{"kind", "number"}}};
}

/// The same for both orders.
std::string pair_key(char op, int64_t a, int64_t b) {
  return fmt::format("{} {} {}", std::min(a, b), op, std::max(a, b));
}

constexpr ByLevel<int> kDigits = {2, 3, 5, 8, 12};
struct Sizes {
  int left, right;
};
constexpr ByLevel<Sizes> kProducts = {{{1, 1}, {2, 1}, {2, 2}, {3, 2}, {4, 3}}};

}  // namespace

Problem make_addition(TaskRandom& random, int level, Language language, const TaskInputs&) {
  const int64_t a = number_of_digits(random, at_level(kDigits, level)),
                b = number_of_digits(random, at_level(kDigits, level));
  return problem_of(pair_key('+', a, b), a, '+', b, a + b, addition_steps(a, b, language),
                    language);
}

Problem make_subtraction(TaskRandom& random, int level, Language language, const TaskInputs&) {
  int64_t a = number_of_digits(random, at_level(kDigits, level)),
          b = number_of_digits(random, at_level(kDigits, level));
  if (a < b) std::swap(a, b);
  return problem_of(fmt::format("{} - {}", a, b), a, '-', b, a - b,
                    subtraction_steps(a, b, language), language);
}

Problem make_multiplication(TaskRandom& random, int level, Language language, const TaskInputs&) {
  const Sizes sizes = at_level(kProducts, level);
  int64_t a = number_of_digits(random, sizes.left), b = number_of_digits(random, sizes.right);
  if (random.coin()) std::swap(a, b);
  return problem_of(pair_key('*', a, b), a, '*', b, a * b, multiplication_steps(a, b, language),
                    language);
}

}  // namespace um
