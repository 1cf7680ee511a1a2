// Decimal: a number's digits, exactly. NumberSet: the numbers between bounds, multiples, whole
// ones.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace um {

struct Decimal {
  bool negative = false;
  std::string whole = "0", fraction = {};  ///< without zeros in front, and behind

  /// Nothing if the text is no JSON number or needs more than 400 digits on one side of the point.
  static std::optional<Decimal> parse(std::string_view text);
  bool is_zero() const { return whole == "0" && fraction.empty(); }
  auto operator<=>(const Decimal&) const = default;  // of the text, not of the value
};

/// Below 0, 0, above 0.
int compare(const Decimal& a, const Decimal& b);

/// The shortest decimal of the double above (or below) the one that the value is read as; nothing
/// where there is none.
std::optional<Decimal> next_double(const Decimal& value, bool up);

/// multipleOf as `units` / 10^`places`.
struct MultipleOf {
  uint64_t units = 1;
  int places = 0;
  bool negated = false;  ///< all but the multiples
  auto operator<=>(const MultipleOf&) const = default;
};

struct NumberSet {
  struct Bound {
    Decimal value;
    bool below = false, equal = false, above = false;  ///< which numbers are in
    auto operator<=>(const Bound&) const = default;
  };
  std::optional<bool> whole = {};  ///< only whole numbers; only others
  bool pointless = false;          ///< nor such as 1.0: draft 4's integers, among listed values
  std::vector<Bound> bounds = {};
  std::vector<MultipleOf> multiples = {};

  bool contains(const Decimal& value) const;
  /// Whether it is certain that no number is in the set.
  bool is_empty() const;
  void intersect(const NumberSet& other);
  auto operator<=>(const NumberSet&) const = default;
};

}  // namespace um
