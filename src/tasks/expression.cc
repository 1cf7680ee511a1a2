// See expression.h. Two stacks, one of values and one of operators (Dijkstra 1961).
#include "tasks/expression.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <numeric>
#include <utility>

namespace um {
namespace {

constexpr size_t kMostBytes = 4096;

struct Spelling {
  std::string_view text;
  char meaning;
};
constexpr std::array<Spelling, 13> kSymbols = {{{"+", '+'},
                                                {"-", '-'},
                                                {"−", '-'},
                                                {"*", '*'},
                                                {"×", '*'},
                                                {"·", '*'},
                                                {"\\times", '*'},
                                                {"\\cdot", '*'},
                                                {"/", '/'},
                                                {"÷", '/'},
                                                {"\\div", '/'},
                                                {"(", '('},
                                                {")", ')'}}};
constexpr char kNegate = 'n';

int precedence(char op) {
  if (op == '(') return 0;
  if (op == kNegate) return 3;
  return op == '*' || op == '/' ? 2 : 1;
}

/// Nothing where 64 bits do not hold it.
std::optional<Rational> reduced(int64_t p, int64_t q) {
  if (q == 0 || p == INT64_MIN || q == INT64_MIN) return {};
  if (q < 0) p = -p, q = -q;
  const int64_t common = std::gcd(p, q);
  return Rational{p / common, q / common};
}

std::optional<Rational> product(Rational a, Rational b) {
  int64_t p = 0, q = 0;
  if (__builtin_mul_overflow(a.numerator, b.numerator, &p) ||
      __builtin_mul_overflow(a.denominator, b.denominator, &q))
    return {};
  return reduced(p, q);
}

std::optional<Rational> sum(Rational a, Rational b) {
  int64_t left = 0, right = 0, p = 0, q = 0;
  if (__builtin_mul_overflow(a.numerator, b.denominator, &left) ||
      __builtin_mul_overflow(b.numerator, a.denominator, &right) ||
      __builtin_add_overflow(left, right, &p) ||
      __builtin_mul_overflow(a.denominator, b.denominator, &q))
    return {};
  return reduced(p, q);
}

std::optional<Rational> applied(char op, Rational a, Rational b) {
  if (op == '+') return sum(a, b);
  if (op == '-') return sum(a, {-b.numerator, b.denominator});
  if (op == '*') return product(a, b);
  if (b.numerator == 0) return {};
  return product(a, {b.denominator, b.numerator});
}

class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  std::optional<Expression> read() {
    while (skip_space(), !rest_.empty()) {
      const bool good = rest_[0] >= '0' && rest_[0] <= '9' ? take_number() : take_symbol();
      if (!good) return {};
    }
    if (want_value_) return {};
    while (!operators_.empty())
      if (operators_.back() == '(' || !apply()) return {};
    out_.value = values_.back();
    return std::move(out_);
  }

 private:
  void skip_space() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t')) rest_.remove_prefix(1);
  }

  bool take_number() {
    int64_t value = 0;
    const auto parsed = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (!want_value_ || parsed.ec != std::errc()) return false;
    rest_.remove_prefix(static_cast<size_t>(parsed.ptr - rest_.data()));
    out_.numbers.push_back(value);
    values_.push_back({value, 1});
    want_value_ = false;
    return true;
  }

  bool take_symbol() {
    for (const Spelling& symbol : kSymbols) {
      if (!rest_.starts_with(symbol.text)) continue;
      rest_.remove_prefix(symbol.text.size());
      return take(symbol.meaning);
    }
    return false;
  }

  bool take(char op) {
    if (op == '(') {
      operators_.push_back(op);
      return want_value_;
    }
    if (op == ')') return close();
    if (want_value_) {  // a sign
      if (op == '-') operators_.push_back(kNegate);
      return op == '-' || op == '+';
    }
    while (!operators_.empty() && precedence(operators_.back()) >= precedence(op))
      if (!apply()) return false;
    operators_.push_back(op);
    want_value_ = true;
    return true;
  }

  bool close() {
    if (want_value_) return false;
    while (!operators_.empty() && operators_.back() != '(')
      if (!apply()) return false;
    if (operators_.empty()) return false;
    operators_.pop_back();
    return true;
  }

  bool apply() {
    const char op = operators_.back();
    operators_.pop_back();
    if (op == kNegate) {
      values_.back().numerator = -values_.back().numerator;
      return true;
    }
    const Rational right = values_.back();
    values_.pop_back();
    const auto value = applied(op, values_.back(), right);
    if (value) values_.back() = *value;
    return value.has_value();
  }

  std::string_view rest_;
  bool want_value_ = true;
  std::vector<Rational> values_;
  std::vector<char> operators_;
  Expression out_;
};

}  // namespace

std::optional<Expression> read_expression(std::string_view text) {
  if (text.size() > kMostBytes) return {};
  return Reader(text).read();
}

}  // namespace um
