// See number.h.
#include "tasks/number.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace um {
namespace {

using Wide = unsigned __int128;

constexpr size_t kFractionDigits = 18;  // above and below: both fit 64 bits
constexpr std::string_view kMinus = "−";

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/// Where the digits that begin at `at` end.
size_t digits_end(std::string_view text, size_t at) {
  while (at < text.size() && is_digit(text[at])) ++at;
  return at;
}

/// The same, through groups of three behind commas.
size_t grouped_end(std::string_view text, size_t at) {
  size_t end = digits_end(text, at);
  if (end - at > 3 || end == at) return end;
  const auto group = [&] {
    if (end + 4 > text.size() || text[end] != ',') return false;
    const std::string_view digits = text.substr(end + 1, 3);
    return std::all_of(digits.begin(), digits.end(), is_digit) &&
           (end + 4 == text.size() || !is_digit(text[end + 4]));
  };
  while (group()) end += 4;
  return end;
}

uint64_t to_integer(std::string_view digits) {
  uint64_t value = 0;
  for (const char c : digits) value = value * 10 + static_cast<uint64_t>(c - '0');
  return value;
}

Number decimal(bool negative, std::string_view whole, std::string_view behind) {
  while (behind.ends_with('0')) behind.remove_suffix(1);
  std::string digits;
  for (const char c : whole)
    if (is_digit(c)) digits += c;
  digits += behind;
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  if (digits.empty()) return {.digits = "0"};
  return {.negative = negative, .digits = std::move(digits), .scale = behind.size()};
}

/// Reads the number without a sign that begins at `at`, which moves behind it. Nothing where none
/// begins, or one that no Number holds; `at` moves on all the same where there are digits.
std::optional<Number> read_unsigned(std::string_view text, size_t& at, bool negative) {
  const size_t begin = at, end = grouped_end(text, at);
  at = end;
  size_t behind = end;
  if (end + 1 < text.size() && text[end] == '.' && is_digit(text[end + 1]))
    at = behind = digits_end(text, end + 1);
  if (begin == behind) return {};
  Number number =
      decimal(negative, text.substr(begin, end - begin),
              text.substr(std::min(end + 1, behind), behind - std::min(end + 1, behind)));
  if (at + 1 >= text.size() || text[at] != '/' || !is_digit(text[at + 1])) return number;
  const size_t slash = at;
  at = digits_end(text, slash + 1);
  const std::string_view below = text.substr(slash + 1, at - slash - 1);
  if (below.size() > kFractionDigits || to_integer(below) == 0) return {};
  number.denominator = to_integer(below);
  return number;
}

/// The same for `frac{1}{2}`, in which `at` stands.
std::optional<Number> read_frac(std::string_view text, size_t& at, bool negative) {
  const size_t above = at + std::string_view("frac{").size(), middle = digits_end(text, above);
  at = middle;
  if (middle == above || text.substr(middle, 2) != "}{") return {};
  const size_t below = middle + 2, end = digits_end(text, below);
  at = end;
  const std::string_view digits = text.substr(below, end - below);
  if (digits.empty() || end >= text.size() || text[end] != '}') return {};
  ++at;
  if (digits.size() > kFractionDigits || to_integer(digits) == 0) return {};
  Number number = decimal(negative, text.substr(above, middle - above), {});
  number.denominator = to_integer(digits);
  return number;
}

constexpr size_t kNone = std::string_view::npos;

/// Where the backslash of \frac, \dfrac or \tfrac stands, whose `frac` is at `at`; or kNone.
size_t slash_in_front(std::string_view text, size_t at) {
  if (at >= 1 && text[at - 1] == '\\') return at - 1;
  const bool style = at >= 2 && (text[at - 1] == 'd' || text[at - 1] == 't');
  return style && text[at - 2] == '\\' ? at - 2 : kNone;
}

/// Where a minus that is a sign begins, right in front of `at`, maybe with a currency between; `at`
/// if there is none.
size_t sign_begin(std::string_view text, size_t at) {
  std::string_view front = text.substr(0, at);
  if (front.ends_with('$')) front.remove_suffix(1);
  if (front.ends_with('-')) {
    front.remove_suffix(1);
  } else if (front.ends_with(kMinus)) {
    front.remove_suffix(kMinus.size());
  } else {
    return at;
  }
  const bool subtracts =
      !front.empty() && (is_digit(front.back()) || is_letter(front.back()) ||
                         std::string_view(")]}").find(front.back()) != std::string_view::npos);
  return subtracts ? at : front.size();
}

/// Numerator and denominator in lowest terms; nothing where they do not fit.
std::optional<std::pair<Wide, Wide>> ratio(const Number& number) {
  if (number.digits.size() > kFractionDigits || number.scale > kFractionDigits) return {};
  const Wide p = to_integer(number.digits);
  Wide q = number.denominator;
  for (size_t i = 0; i < number.scale; ++i) q *= 10;
  Wide a = p, b = q;
  while (b != 0) a = std::exchange(b, a % b);
  return std::pair{p / a, q / a};
}

struct Numeral {
  std::string_view text;
  int64_t value;
};
constexpr std::array<Numeral, 12> kChineseDigits = {{{"零", 0},
                                                     {"〇", 0},
                                                     {"一", 1},
                                                     {"二", 2},
                                                     {"两", 2},
                                                     {"三", 3},
                                                     {"四", 4},
                                                     {"五", 5},
                                                     {"六", 6},
                                                     {"七", 7},
                                                     {"八", 8},
                                                     {"九", 9}}};
constexpr std::array<Numeral, 3> kChineseUnits = {{{"十", 10}, {"百", 100}, {"千", 1000}}};
constexpr std::array<Numeral, 2> kChineseGroups = {{{"万", 10'000}, {"亿", 100'000'000}}};
constexpr size_t kChineseBytes = 3;  // each of them

template <size_t kCount>
std::optional<int64_t> numeral_in(const std::array<Numeral, kCount>& table, std::string_view text) {
  for (const Numeral& numeral : table)
    if (numeral.text == text) return numeral.value;
  return {};
}

bool is_numeral(std::string_view text) {
  return numeral_in(kChineseDigits, text) || numeral_in(kChineseUnits, text) ||
         numeral_in(kChineseGroups, text);
}

using Numerals = std::vector<std::string_view>;

/// 二〇二四: digits one after the other, as years are written.
bool is_digit_run(const Numerals& numerals) {
  return std::all_of(numerals.begin(), numerals.end(), [](std::string_view one) {
    return numeral_in(kChineseDigits, one).has_value();
  });
}
int64_t digit_run(const Numerals& numerals) {
  int64_t value = 0;
  for (const std::string_view one : numerals) value = value * 10 + *numeral_in(kChineseDigits, one);
  return value;
}

/// 一万三千零五. What is left out in speech (一百二 for 一百二十) is not taken: it can be misread.
class UnitsReader {
 public:
  std::optional<int64_t> read(const Numerals& numerals) {
    for (const std::string_view one : numerals) {
      if (const auto value = numeral_in(kChineseDigits, one)) {
        if (digit_ > 0) return {};
        zero_ = zero_ || *value == 0;
        digit_ = *value;
      } else if (const auto unit = numeral_in(kChineseUnits, one)) {
        if (*unit >= last_unit_ || digit_ == 0 || (digit_ < 0 && *unit != 10)) return {};
        group_ += std::max<int64_t>(digit_, 1) * *unit;
        last_unit_ = *unit, digit_ = -1, zero_ = false;
      } else if (const int64_t next = *numeral_in(kChineseGroups, one); !end_group(next)) {
        return {};
      }
    }
    if (digit_ == 0 || (digit_ > 0 && !zero_ && last_unit_ > 10 && last_unit_ != kNoUnit))
      return {};
    if (digit_ > 0 && !zero_ && last_unit_ == kNoUnit && total_ > 0) return {};
    return total_ + group_ + std::max<int64_t>(digit_, 0);
  }

 private:
  static constexpr int64_t kNoUnit = 10'000;

  bool end_group(int64_t factor) {
    group_ += std::max<int64_t>(digit_, 0);
    if (group_ == 0 || factor >= last_group_) return false;
    total_ += group_ * factor;
    last_group_ = factor, group_ = 0, digit_ = -1, last_unit_ = kNoUnit, zero_ = false;
    return true;
  }

  int64_t total_ = 0, group_ = 0, digit_ = -1;
  int64_t last_unit_ = kNoUnit, last_group_ = INT64_MAX;
  bool zero_ = false;  // since the last unit
};

}  // namespace

bool operator==(const Number& a, const Number& b) {
  if (a.negative != b.negative) return false;
  if (a.denominator == 1 && b.denominator == 1) return a.digits == b.digits && a.scale == b.scale;
  const auto left = ratio(a), right = ratio(b);
  return left && right && *left == *right;
}

Number number_of(int64_t value) {
  const std::string text = std::to_string(value);
  return decimal(value < 0, std::string_view(text).substr(value < 0 ? 1 : 0), {});
}

std::optional<Number> parse_number(std::string_view text) {
  bool negative = false;
  if (text.starts_with('+')) {
    text.remove_prefix(1);
  } else if (text.starts_with('-') || text.starts_with(kMinus)) {
    negative = true;
    text.remove_prefix(text.starts_with('-') ? 1 : kMinus.size());
  }
  if (text.starts_with('$')) text.remove_prefix(1);
  for (const std::string_view unit : {"%", "\\"})
    if (text.ends_with(unit)) text.remove_suffix(unit.size());
  for (const std::string_view form : {"\\frac{", "\\dfrac{"})
    if (text.starts_with(form)) {
      size_t at = form.size() - 5;
      auto number = read_frac(text, at, negative);
      return at == text.size() ? number : std::nullopt;
    }
  size_t at = 0;
  auto number = read_unsigned(text, at, negative);
  if (number && at == text.size()) return number;
  if (negative) return {};
  const auto chinese = chinese_number(text);
  return chinese ? std::optional(number_of(*chinese)) : std::nullopt;
}

std::optional<int64_t> chinese_number(std::string_view text) {
  constexpr size_t kMostNumerals = 17;  // 10^17 fits
  if (text.empty() || text.size() > kMostNumerals * kChineseBytes) return {};
  std::vector<std::string_view> numerals;
  for (size_t at = 0; at < text.size(); at += kChineseBytes) {
    numerals.push_back(text.substr(at, kChineseBytes));
    if (!is_numeral(numerals.back())) return {};
  }
  return is_digit_run(numerals) ? digit_run(numerals) : UnitsReader().read(numerals);
}

std::optional<NumberToken> NumberScanner::next() {
  while (at_ < text_.size()) {
    const size_t slash =
        text_.substr(at_).starts_with("frac{") ? slash_in_front(text_, at_) : kNone;
    const bool frac = slash != kNone;
    const bool point = text_[at_] == '.' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1]);
    if (!frac && !point && !is_digit(text_[at_])) {
      ++at_;
      continue;
    }
    const size_t begin = at_;
    const bool in_word = !frac && begin > 0 && is_letter(text_[begin - 1]);
    const size_t start = frac ? slash : begin, sign = sign_begin(text_, start);
    const bool negative = sign < start;
    const auto number =
        frac ? read_frac(text_, at_, negative) : read_unsigned(text_, at_, negative);
    at_ = std::max(at_, begin + 1);
    if (number && !in_word) return NumberToken{*number, sign, at_};
  }
  return {};
}

std::optional<Number> one_chinese_number(std::string_view text) {
  std::optional<int64_t> found;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (is_numeral(text.substr(end, kChineseBytes))) end += kChineseBytes;
    if (end == at) {
      ++at;
      continue;
    }
    const auto value = chinese_number(text.substr(at, end - at));
    if (!value || (found && *found != *value)) return {};
    found = value;
    at = end;
  }
  return found ? std::optional(number_of(*found)) : std::nullopt;
}

}  // namespace um
