// Numbers of a set, digit by digit: a state knows for each bound how the digits so far compare with
// the bound's, and for each multipleOf the remainder of what they say.
//
// Readers round what is written to a double, and that must be in the set too. Rounding keeps the
// order, so >= and <= stay true; < and > become <= and >= of the neighbouring double. Decimals of
// at most kSureDigits digits are distinct as doubles, whatever is not whole or no multiple stays
// so.
#include <algorithm>
#include <map>
#include <vector>

#include "core/stop_scope.h"
#include "engine/grammar/json_rules.h"

namespace um {
namespace {

constexpr int kWholeDigits = 18, kFractionDigits = 17;
constexpr size_t kLongestWhole = 40;  // where a bound has so many digits
constexpr int kSureDigits = 15;
constexpr size_t kMaxNumberStates = 30'000;

/// What is known of a number whose text has been read so far.
struct NumberPlace {
  enum Phase : int32_t { kStart, kSign, kZero, kWhole, kPoint, kFraction } phase = kStart;
  int32_t digits = 0;  ///< of the present phase
  bool negative = false, nonzero = false;
  /// Behind the point, of the sure digits: some is not 0; some is not 9.
  bool not_zeros = false, not_nines = false;
  int32_t sure = kSureDigits;            ///< so many more digits are, or kNoMatter
  std::vector<int32_t> orders = {};      ///< for each bound, of the sizes
  std::vector<int64_t> remainders = {};  ///< for each multipleOf; -1: none
  std::vector<int32_t> places = {};      ///< digits behind the point in them
  auto operator<=>(const NumberPlace&) const = default;
};
constexpr int32_t kNoMatter = 1000;

/// A bound as it is asked of the text.
struct Limit {
  NumberSet::Bound bound = {};
  bool or_next = false;  ///< it or the next one must hold
};

/// The bound so that what it holds for, it holds for as a double.
std::vector<Limit> limits_of(const NumberSet::Bound& bound) {
  if (bound.equal) return {{bound}};
  const auto next = bound.above ? next_double(bound.value, true) : std::nullopt;
  const auto last = bound.below ? next_double(bound.value, false) : std::nullopt;
  std::vector<Limit> limits;
  if (last) limits.push_back({{*last, true, true, false}, next.has_value()});
  if (next) limits.push_back({{*next, false, true, true}});
  if (limits.empty()) limits.push_back({{bound.value}});  // nothing
  return limits;
}

class NumberWriter {
 public:
  using State = Grammar::State;

  NumberWriter(Grammar& grammar, const NumberSet& set, State to)
      : grammar_(grammar), set_(set), to_(to) {
    for (const auto& bound : set.bounds)
      for (Limit& limit : limits_of(bound)) limits_.push_back(std::move(limit));
    for (const Limit& limit : limits_) {
      const size_t size = limit.bound.value.whole.size();
      if (size <= kLongestWhole) whole_digits_ = std::max(whole_digits_, static_cast<int>(size));
    }
    fraction_digits_ = set.whole.value_or(false) ? 0 : kFractionDigits;
    for (const MultipleOf& of : set.multiples)
      if (!of.negated) fraction_digits_ = std::min(fraction_digits_, of.places);
  }

  JsonRules::NumbersWritten write(State from) {
    NumberPlace start;
    start.orders.resize(limits_.size());
    if (set_.multiples.empty() && set_.whole.value_or(true)) start.sure = kNoMatter;
    start.remainders.resize(set_.multiples.size());
    start.places.resize(set_.multiples.size());
    known_.emplace(start, from);
    open_.push_back(start);
    while (!open_.empty()) {
      const NumberPlace place = open_.back();
      open_.pop_back();
      if (known_.size() > kMaxNumberStates) return JsonRules::kTooManyStates;
      extend(place, known_.at(place));
    }
    return any_ ? JsonRules::kSomeNumbers : JsonRules::kNoNumber;
  }

 private:
  State state_of(const NumberPlace& place) {
    const auto [at, is_new] = known_.try_emplace(place, -1);
    if (is_new) {
      count_memory(2 * (sizeof(NumberPlace) + limits_.size() * sizeof(int32_t)));  // with the list
      at->second = grammar_.add_state();
      open_.push_back(place);
    }
    return at->second;
  }

  void extend(const NumberPlace& place, State here) {
    using P = NumberPlace;
    if (place.phase == P::kStart) {
      NumberPlace next = place;
      next.phase = P::kSign;
      next.negative = true;
      grammar_.add_bytes(here, '-', '-', state_of(next));
    }
    const bool in_number = place.phase == P::kZero || place.phase == P::kWhole;
    if ((in_number || place.phase == P::kFraction) && may_end(place)) {
      grammar_.add_empty(here, to_);
      any_ = true;
    }
    if (in_number && fraction_digits_ > 0) {
      NumberPlace next = place;
      end_whole(next);
      next.phase = P::kPoint;
      next.digits = 0;
      grammar_.add_bytes(here, '.', '.', state_of(next));
    }
    const int limit = place.phase == P::kWhole  ? whole_digits_
                      : place.phase == P::kZero ? 0
                                                : fraction_digits_;
    if (place.phase <= P::kSign || place.digits < limit) digits(place, here);
  }

  /// Edges for the digits that may come; neighbours that lead to one state share an edge.
  void digits(const NumberPlace& place, State here) {
    check_stop(1 + (set_.bounds.size() + set_.multiples.size()) / 4);  // copies of the place
    State last = -1;
    uint8_t first = 0;
    for (uint8_t digit = '0'; digit <= '9' + 1; ++digit) {
      NumberPlace next = place;
      const State to = digit <= '9' && read(next, digit - '0') ? state_of(next) : -1;
      if (to == last) continue;
      if (last >= 0) grammar_.add_bytes(here, first, static_cast<uint8_t>(digit - 1), last);
      last = to;
      first = digit;
    }
  }

  /// Goes on by a digit; false if no number of the set goes on like that.
  bool read(NumberPlace& place, int digit) {
    using P = NumberPlace;
    check_stop(1 + limits_.size() / 8);
    const bool behind_point = place.phase >= P::kPoint;
    const auto at = static_cast<size_t>(place.digits);
    if (behind_point)
      place.phase = P::kFraction;
    else
      place.phase = place.phase != P::kWhole && digit == 0 ? P::kZero : P::kWhole;
    ++place.digits;
    place.nonzero = place.nonzero || digit != 0;
    if (!count_sure(place, digit)) return false;
    for (size_t i = 0; i < limits_.size(); ++i) {
      const Decimal& bound = limits_[i].bound.value;
      const std::string& other = behind_point ? bound.fraction : bound.whole;
      int32_t& order = place.orders[i];
      if (order != 0) continue;
      const int other_digit = at < other.size() ? other[at] - '0' : behind_point ? 0 : -1;
      order = digit < other_digit ? -1 : digit > other_digit ? 1 : 0;
    }
    for (size_t i = 0; i < set_.multiples.size(); ++i)
      if (!read_multiple(place, i, digit, behind_point)) return false;
    return true;
  }

  /// Counts the sure digits, from the first that is not 0; false if this one is no longer sure.
  bool count_sure(NumberPlace& place, int digit) const {
    if (place.sure == kNoMatter) return true;
    if (place.sure == 0) return false;
    const bool behind_point = place.phase == NumberPlace::kFraction;
    if (place.nonzero) --place.sure;
    if (behind_point && !set_.whole.value_or(true)) {
      place.not_zeros = place.not_zeros || digit != 0;
      place.not_nines = place.not_nines || digit != 9;
    }
    const bool told = set_.multiples.empty() && place.not_zeros && place.not_nines;
    const bool all = behind_point && place.sure >= fraction_digits_ - place.digits;
    if (told || (all && set_.whole.value_or(true))) place.sure = kNoMatter;
    return true;
  }

  bool read_multiple(NumberPlace& place, size_t i, int digit, bool behind_point) const {
    const MultipleOf& of = set_.multiples[i];
    int64_t& rest = place.remainders[i];
    if (behind_point && place.places[i] == of.places) {
      if (digit != 0 || rest != 0) rest = -1;
    } else if (rest >= 0) {
      rest = (rest * 10 + digit) % static_cast<int64_t>(of.units);
      if (behind_point) ++place.places[i];
    }
    return rest >= 0 || of.negated;
  }

  /// The whole part ends: one with fewer digits than the bound's is smaller, with more larger.
  void end_whole(NumberPlace& place) const {
    for (size_t i = 0; i < limits_.size(); ++i) {
      const auto length = static_cast<int>(limits_[i].bound.value.whole.size());
      if (place.digits != length) place.orders[i] = place.digits < length ? -1 : 1;
    }
  }

  bool may_end(NumberPlace place) const {
    const bool in_whole = place.phase != NumberPlace::kFraction;
    if (in_whole) end_whole(place);
    if (place.negative && !place.nonzero) return false;
    if (!set_.whole.value_or(true) && !place.not_zeros) return false;
    const int behind = in_whole ? 0 : place.digits;
    bool either = false;
    for (size_t i = 0; i < limits_.size(); ++i) {
      either = either || holds(limits_[i].bound, place, place.orders[i], behind);
      if (limits_[i].or_next) continue;
      if (!either) return false;
      either = false;
    }
    for (size_t i = 0; i < set_.multiples.size(); ++i)
      if (is_multiple(place, i) == set_.multiples[i].negated) return false;
    return true;
  }

  /// Whether the number with so many digits behind the point keeps to the bound.
  static bool holds(const NumberSet::Bound& bound, const NumberPlace& place, int order,
                    int behind) {
    if (order == 0 && static_cast<int>(bound.value.fraction.size()) > behind) order = -1;
    if (place.negative != bound.value.negative)
      order = place.negative ? -1 : 1;
    else if (place.negative)
      order = -order;
    return order < 0 ? bound.below : order > 0 ? bound.above : bound.equal;
  }

  bool is_multiple(const NumberPlace& place, size_t i) const {
    int64_t rest = place.remainders[i];
    const MultipleOf& of = set_.multiples[i];
    for (int at = place.places[i]; rest > 0 && at < of.places; ++at)
      rest = rest * 10 % static_cast<int64_t>(of.units);
    return rest == 0;
  }

  Grammar& grammar_;
  const NumberSet& set_;
  State to_;
  bool any_ = false;  // a number may end somewhere
  std::vector<Limit> limits_;
  int whole_digits_ = kWholeDigits, fraction_digits_ = 0;
  std::map<NumberPlace, State> known_;
  std::vector<NumberPlace> open_;
};

}  // namespace

JsonRules::NumbersWritten JsonRules::number_in(State from, const NumberSet& set, State to) {
  const State start = grammar_.add_state();
  grammar_.add_empty(from, start);
  return NumberWriter(grammar_, set, to).write(start);
}

}  // namespace um
