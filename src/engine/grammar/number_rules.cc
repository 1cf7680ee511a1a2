// Numbers of a set, digit by digit: a state knows for each bound how the digits so far compare with
// the bound's, and for each multipleOf the remainder of what they say.
#include <algorithm>
#include <map>
#include <vector>

#include "core/stop_scope.h"
#include "engine/grammar/json_rules.h"

namespace um {
namespace {

constexpr int kWholeDigits = 18, kFractionDigits = 17;
constexpr size_t kMaxNumberStates = 30'000;

/// What is known of a number whose text has been read so far.
struct NumberPlace {
  enum Phase : int32_t { kStart, kSign, kZero, kWhole, kPoint, kFraction } phase = kStart;
  int32_t digits = 0;                                      ///< of the present phase
  bool negative = false, nonzero = false, broken = false;  ///< broken: digits behind the point
  std::vector<int32_t> orders = {};                        ///< for each bound, of the sizes
  std::vector<int64_t> remainders = {};                    ///< for each multipleOf; -1: none
  std::vector<int32_t> places = {};                        ///< digits behind the point in them
  auto operator<=>(const NumberPlace&) const = default;
};

class NumberWriter {
 public:
  using State = Grammar::State;

  NumberWriter(Grammar& grammar, const NumberSet& set, State to)
      : grammar_(grammar), set_(set), to_(to) {
    for (const auto& bound : set.bounds)
      whole_digits_ = std::max(whole_digits_, static_cast<int>(bound.value.whole.size()));
    fraction_digits_ = set.whole.value_or(false) ? 0 : kFractionDigits;
    for (const MultipleOf& of : set.multiples)
      if (!of.negated) fraction_digits_ = std::min(fraction_digits_, of.places);
  }

  /// False if there are too many states.
  bool write(State from) {
    NumberPlace start;
    start.orders.resize(set_.bounds.size());
    start.remainders.resize(set_.multiples.size());
    start.places.resize(set_.multiples.size());
    known_.emplace(start, from);
    open_.push_back(start);
    while (!open_.empty()) {
      const NumberPlace place = open_.back();
      open_.pop_back();
      if (known_.size() > kMaxNumberStates) return false;
      extend(place, known_.at(place));
    }
    return true;
  }

 private:
  State state_of(const NumberPlace& place) {
    const auto [at, is_new] = known_.try_emplace(place, -1);
    if (is_new) {
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
    if ((in_number || place.phase == P::kFraction) && may_end(place)) grammar_.add_empty(here, to_);
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
    const bool behind_point = place.phase >= P::kPoint;
    const auto at = static_cast<size_t>(place.digits);
    if (behind_point)
      place.phase = P::kFraction;
    else
      place.phase = place.phase != P::kWhole && digit == 0 ? P::kZero : P::kWhole;
    ++place.digits;
    place.nonzero = place.nonzero || digit != 0;
    place.broken = place.broken || (behind_point && digit != 0);
    for (size_t i = 0; i < set_.bounds.size(); ++i) {
      const Decimal& bound = set_.bounds[i].value;
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

  bool read_multiple(NumberPlace& place, size_t i, int digit, bool behind_point) const {
    const MultipleOf& of = set_.multiples[i];
    int64_t& rest = place.remainders[i];
    if (behind_point && place.places[i] == of.places) {
      if (digit != 0) rest = -1;
    } else if (rest >= 0) {
      rest = (rest * 10 + digit) % static_cast<int64_t>(of.units);
      if (behind_point) ++place.places[i];
    }
    return rest >= 0 || of.negated;
  }

  /// The whole part ends: one with fewer digits than the bound's is smaller, with more larger.
  void end_whole(NumberPlace& place) const {
    for (size_t i = 0; i < set_.bounds.size(); ++i) {
      const auto length = static_cast<int>(set_.bounds[i].value.whole.size());
      if (place.digits != length) place.orders[i] = place.digits < length ? -1 : 1;
    }
  }

  bool may_end(NumberPlace place) const {
    const bool in_whole = place.phase != NumberPlace::kFraction;
    if (in_whole) end_whole(place);
    if (place.negative && !place.nonzero) return false;
    if (set_.whole && *set_.whole == place.broken) return false;
    const int behind = in_whole ? 0 : place.digits;
    for (size_t i = 0; i < set_.bounds.size(); ++i) {
      const NumberSet::Bound& bound = set_.bounds[i];
      int order = place.orders[i];
      if (order == 0 && static_cast<int>(bound.value.fraction.size()) > behind) order = -1;
      if (place.negative != bound.value.negative)
        order = place.negative ? -1 : 1;
      else if (place.negative)
        order = -order;
      if (!(order < 0 ? bound.below : order > 0 ? bound.above : bound.equal)) return false;
    }
    for (size_t i = 0; i < set_.multiples.size(); ++i)
      if (is_multiple(place, i) == set_.multiples[i].negated) return false;
    return true;
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
  int whole_digits_ = kWholeDigits, fraction_digits_ = 0;
  std::map<NumberPlace, State> known_;
  std::vector<NumberPlace> open_;
};

}  // namespace

bool JsonRules::number_in(State from, const NumberSet& set, State to) {
  const State start = grammar_.add_state();
  grammar_.add_empty(from, start);
  return NumberWriter(grammar_, set, to).write(start);
}

}  // namespace um
