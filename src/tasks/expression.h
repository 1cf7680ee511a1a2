// Arithmetic expressions with exact rationals, as countdown's answers are.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace um {

/// numerator / denominator, in lowest terms, denominator > 0.
struct Rational {
  int64_t numerator = 0, denominator = 1;
  bool operator==(const Rational&) const = default;
};

struct Expression {
  Rational value = {};
  std::vector<int64_t> numbers = {};  ///< that stand in it, in their order
};

/// Reads whole numbers, + - * / (also × ÷ · − \times \div), signs and parentheses with the usual
/// precedence. Nothing for anything else, for a division by zero, for values beyond 64 bits and for
/// texts of more than 4,096 bytes. Linear, no recursion.
std::optional<Expression> read_expression(std::string_view text);

}  // namespace um
