// Numbers as texts write them, read and compared exactly: integers and decimals of any length,
// thousands separators, fractions, Chinese numerals. Time is linear in the text, nothing throws.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace um {

/// digits / 10^scale / denominator.
struct Number {
  bool negative = false;    ///< never of zero
  std::string digits = {};  ///< without zeros in front; "0" for zero
  size_t scale = 0;  ///< how many of them stand behind the point; the last of those is no zero
  uint64_t denominator = 1;  ///< of a fraction; not 0
};
/// Whether both have the same value.
bool operator==(const Number& a, const Number& b);

/// The number that is all of `text`: `-1,234.50`, `+7`, `.5`, `3/4`, `\frac{3}{4}`, `12%`
/// (which is 12, as with any unit). Fractions have
/// at most 18 digits above and below. Chinese numerals: see chinese_number(). Nothing for others.
std::optional<Number> parse_number(std::string_view text);
Number number_of(int64_t value);

/// An integer in Chinese numerals that is all of `text`: 二百零三, 十二, 一万三千, 二〇二四.
std::optional<int64_t> chinese_number(std::string_view text);

/// A number in a text, and where it stands, sign included.
struct NumberToken {
  Number number;
  size_t begin = 0, end = 0;
};

/// Walks through the numbers of a text in Arabic digits. A `-` belongs to the number unless
/// something that is subtracted from stands in front of it; digits in words (`x2`) are none.
class NumberScanner {
 public:
  /// `text` must outlive this.
  explicit NumberScanner(std::string_view text) : text_(text) {}
  std::optional<NumberToken> next();

 private:
  std::string_view text_;
  size_t at_ = 0;
};

/// The one number of `text` in Chinese numerals: nothing if there is none, or several that differ.
std::optional<Number> one_chinese_number(std::string_view text);

}  // namespace um
