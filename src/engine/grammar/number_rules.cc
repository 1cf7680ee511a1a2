// Numbers between two bounds, digit by digit: a state knows whether the text so far equals the
// lower bound's beginning, the upper one's, or neither, and so which digits may follow.
#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/grammar/json_rules.h"

namespace um {
namespace {

constexpr size_t kWholeDigits = 15;    // where there is no bound
constexpr size_t kFractionDigits = 6;  // at least

bool all_zero(std::string_view digits) {
  return digits.find_first_not_of('0') == std::string_view::npos;
}

bool is_zero(const Decimal& value) {
  return all_zero(value.whole) && all_zero(value.fraction);
}

/// Numbers from 0 between two bounds that are not negative, with a whole part of one length.
class DigitWriter {
 public:
  using State = Grammar::State;

  DigitWriter(Grammar& grammar, const NumberRange& range, size_t length, bool whole, State to)
      : grammar_(grammar), range_(range), length_(length), fraction_digits_(0), to_(to) {
    if (whole) return;
    fraction_digits_ = std::max({kFractionDigits, low().fraction.size(), high().fraction.size()});
  }

  void write(State from) {
    const bool on_low = low().whole.size() == length_, on_high = high().whole.size() == length_;
    whole_digit(from, 0, on_low, on_high);
  }

 private:
  const Decimal& low() const { return *range_.low; }
  const Decimal& high() const { return *range_.high; }

  /// May the number end here, with these digits of the bounds still to come?
  bool may_end(std::string_view low_rest, std::string_view high_rest, bool on_low,
               bool on_high) const {
    if (on_low && (!all_zero(low_rest) || range_.above_low)) return false;
    return !on_high || !all_zero(high_rest) || !range_.below_high;
  }

  /// Edges for the digits that may come; `next` makes the way on from each kind.
  template <class Next>
  void digit(State from, int least, char low_digit, char high_digit, bool on_low, bool on_high,
             const Next& next) {
    const int first = std::max(least, on_low ? low_digit - '0' : 0);
    const int last = on_high ? high_digit - '0' : 9;
    for (int d = first; d <= last;) {
      const bool stays_low = on_low && d == low_digit - '0';
      const bool stays_high = on_high && d == high_digit - '0';
      int until = d;
      if (!stays_low && !stays_high) until = on_high ? std::min(last, high_digit - '0' - 1) : last;
      const State to = grammar_.add_state();
      grammar_.add_bytes(from, static_cast<uint8_t>('0' + d), static_cast<uint8_t>('0' + until),
                         to);
      next(to, stays_low, stays_high);
      d = until + 1;
    }
  }

  void whole_digit(State from, size_t at, bool on_low, bool on_high) {
    if (at == length_) {
      whole_end(from, on_low, on_high);
      return;
    }
    State& known = free_whole_[at];
    if (!on_low && !on_high) {  // shared by all that have left the bounds
      if (known >= 0) {
        grammar_.add_empty(from, known);
        return;
      }
      known = from;
    }
    const int least = at == 0 && length_ > 1 ? 1 : 0;
    digit(from, least, on_low ? low().whole[at] : '0', on_high ? high().whole[at] : '9', on_low,
          on_high, [&](State to, bool l, bool h) { whole_digit(to, at + 1, l, h); });
  }

  void whole_end(State from, bool on_low, bool on_high) {
    if (may_end(low().fraction, high().fraction, on_low, on_high)) grammar_.add_empty(from, to_);
    if (fraction_digits_ == 0) return;
    const State point = grammar_.add_state();
    grammar_.add_bytes(from, '.', '.', point);
    fraction_digit(point, 0, on_low, on_high);
  }

  static char digit_of(const std::string& digits, size_t at) {
    return at < digits.size() ? digits[at] : '0';
  }
  static std::string_view rest_of(const std::string& digits, size_t at) {
    return std::string_view(digits).substr(std::min(at, digits.size()));
  }

  void fraction_digit(State from, size_t at, bool on_low, bool on_high) {
    if (at == fraction_digits_) return;
    digit(from, 0, digit_of(low().fraction, at), digit_of(high().fraction, at), on_low, on_high,
          [&](State to, bool l, bool h) {
            if (may_end(rest_of(low().fraction, at + 1), rest_of(high().fraction, at + 1), l, h))
              grammar_.add_empty(to, to_);
            if (!l && !h && at + 1 < fraction_digits_) {
              State& known = free_fraction_[at + 1];
              if (known >= 0) {
                grammar_.add_empty(to, known);
                return;
              }
              known = to;
            }
            fraction_digit(to, at + 1, l, h);
          });
  }

  Grammar& grammar_;
  const NumberRange& range_;
  size_t length_, fraction_digits_;
  State to_;
  std::array<State, 32> free_whole_ = filled();
  std::array<State, 64> free_fraction_ = filled_fraction();
  static std::array<State, 32> filled() {
    std::array<State, 32> list;
    list.fill(-1);
    return list;
  }
  static std::array<State, 64> filled_fraction() {
    std::array<State, 64> list;
    list.fill(-1);
    return list;
  }
};

/// Numbers without a sign; both bounds are given and not negative.
void add_unsigned(Grammar& grammar, const NumberRange& range, bool whole, Grammar::State from,
                  Grammar::State to) {
  for (size_t length = range.low->whole.size(); length <= range.high->whole.size(); ++length) {
    const Grammar::State start = grammar.add_state();
    grammar.add_empty(from, start);
    DigitWriter(grammar, range, length, whole, to).write(start);
  }
}

}  // namespace

void JsonRules::number_in(State from, bool whole, const NumberRange& range, State to) {
  const Decimal most{.whole = std::string(kWholeDigits, '9')};
  const Decimal zero;
  const auto negative = [](const std::optional<Decimal>& bound) {
    return bound && bound->negative && !is_zero(*bound);
  };
  // From 0 up.
  if (!negative(range.high)) {
    NumberRange part = range;
    if (!range.low || negative(range.low)) part.low = zero, part.above_low = false;
    if (!range.high) {
      part.high = part.low->whole.size() > most.whole.size()
                      ? Decimal{.whole = std::string(kWholeDigits + 3, '9')}
                      : most;
    }
    add_unsigned(grammar_, part, whole, from, to);
  }
  // Below 0: the same with the bounds' signs and places exchanged.
  if (!range.low || negative(range.low)) {
    NumberRange part;
    part.low = negative(range.high) ? *range.high : zero;
    part.above_low = negative(range.high) ? range.below_high : true;
    part.high = range.low ? *range.low : most;
    if (!range.low && part.low->whole.size() > most.whole.size())
      part.high = Decimal{.whole = std::string(kWholeDigits + 3, '9')};
    part.below_high = range.low && range.above_low;
    const State digits = grammar_.add_state();
    grammar_.add_bytes(from, '-', '-', digits);
    add_unsigned(grammar_, part, whole, digits, to);
  }
}

namespace {

/// The first whole number from a bound on, upwards or downwards.
int64_t whole_from(const Decimal& bound, bool strict, bool up) {
  const int64_t size = std::stoll(bound.whole), toward_zero = bound.negative ? -size : size;
  if (all_zero(bound.fraction)) return toward_zero + (strict ? (up ? 1 : -1) : 0);
  if (up) return bound.negative ? toward_zero : toward_zero + 1;
  return bound.negative ? toward_zero - 1 : toward_zero;
}

}  // namespace

bool JsonRules::multiples(State from, int64_t of, const NumberRange& range, State to) {
  constexpr int64_t kMaxListed = 1000;
  if (range.low && range.high) {
    const int64_t low = whole_from(*range.low, range.above_low, true);
    const int64_t high = whole_from(*range.high, range.below_high, false);
    const int64_t first = low / of + (low % of > 0), last = high / of - (high % of < 0);
    if (last - first >= kMaxListed) return false;
    std::vector<std::string> texts;
    for (int64_t i = first; i <= last; ++i) texts.push_back(std::to_string(i * of));
    grammar_.add_literals(from, texts, to);
    return true;
  }
  const bool from_zero = range.low && is_zero(*range.low) && !range.high;
  if ((range.low || range.high) && !from_zero) return false;
  if (!range.above_low) grammar_.add_bytes(from, '0', '0', to);
  // A state for each number of digits and the remainder of what they say.
  std::map<int64_t, State> row, next;
  const auto digits = [&](State at, int64_t remainder, uint8_t least) {
    for (uint8_t digit = least; digit <= '9'; ++digit) {
      const auto [state, is_new] = next.try_emplace((10 * remainder + digit - '0') % of, -1);
      if (is_new) state->second = grammar_.add_state();
      grammar_.add_bytes(at, digit, digit, state->second);
    }
  };
  digits(from, 0, '1');
  if (!from_zero) {
    const State minus = grammar_.add_state();
    grammar_.add_bytes(from, '-', '-', minus);
    digits(minus, 0, '1');
  }
  for (size_t count = 1; count <= kWholeDigits; ++count) {
    row = std::exchange(next, {});
    if (row.contains(0)) grammar_.add_empty(row[0], to);
    if (count == kWholeDigits) break;
    for (const auto& [remainder, state] : row) digits(state, remainder, '0');
  }
  return true;
}

}  // namespace um
