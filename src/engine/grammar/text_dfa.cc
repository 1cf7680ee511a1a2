// See text_dfa.h.
#include "engine/grammar/text_dfa.h"

#include <algorithm>
#include <limits>
#include <map>

#include "core/stop_scope.h"

namespace um {
namespace {

constexpr int64_t kEndless = std::numeric_limits<int64_t>::max() / 4;
constexpr int64_t kNever = kEndless;

/// How many characters lead from each state to an end, at least (kNever: none does) and at most
/// (kEndless: any number).
struct Distances {
  std::vector<int64_t> least, most;
};

Distances distances(const TextDfa& dfa) {
  const size_t states = dfa.states();
  std::vector<std::vector<size_t>> before(states);  // once for each letter
  for (size_t state = 0; state < states; ++state)
    for (const int32_t to : dfa.row(state))
      if (to != TextDfa::kNowhere) before[static_cast<size_t>(to)].push_back(state);
  Distances made{std::vector(states, kNever), std::vector(states, kEndless)};
  std::vector<size_t> open;
  for (size_t state = 0; state < states; ++state)
    if (dfa.accepts[state]) made.least[state] = 0, open.push_back(state);
  for (size_t i = 0; i < open.size(); ++i)
    for (const size_t state : before[open[i]])
      if (made.least[state] == kNever)
        made.least[state] = made.least[open[i]] + 1, open.push_back(state);
  // From the ends backwards: a state is known when all that follow it are. Loops never are.
  std::vector<size_t> unknown(states, 0);
  for (size_t state = 0; state < states; ++state)
    for (const int32_t to : dfa.row(state))
      if (to != TextDfa::kNowhere && made.least[static_cast<size_t>(to)] != kNever)
        ++unknown[state];
  std::vector<int64_t> longest(states, 0);
  open.clear();
  for (size_t state = 0; state < states; ++state)
    if (unknown[state] == 0 && made.least[state] != kNever) open.push_back(state);
  for (size_t i = 0; i < open.size(); ++i) {
    made.most[open[i]] = longest[open[i]];
    for (const size_t state : before[open[i]]) {
      longest[state] = std::max(longest[state], longest[open[i]] + 1);
      if (--unknown[state] == 0) open.push_back(state);
    }
  }
  return made;
}

/// Writes the states of with_length(), one length of texts after the other: a state of the
/// automaton behind so many characters, or, where no way on can be too short or too long, behind
/// any number.
class LengthWriter {
 public:
  LengthWriter(const TextDfa& dfa, int64_t min, int64_t max, size_t limit)
      : dfa_(dfa),
        min_(min),
        max_(max < 0 ? 2 * kEndless : max),
        limit_(limit),
        far_(distances(dfa)),
        free_(dfa.states(), TextDfa::kNowhere),
        counted_(dfa.states(), TextDfa::kNowhere) {
    made_.letters = dfa.letters;
  }

  std::optional<TextDfa> write() {
    if (enter(0, 0) == TextDfa::kNowhere) {  // no text at all
      made_.accepts = {false};
      made_.next.assign(made_.letters.size(), TextDfa::kNowhere);
      return std::move(made_);
    }
    for (size_t at = 0; at < places_.size(); ++at) {
      if (places_.size() > limit_) return std::nullopt;
      const Place place = places_[at];
      if (place.length > length_) {
        length_ = place.length;
        std::fill(counted_.begin(), counted_.end(), TextDfa::kNowhere);
      }
      for (const int32_t to : dfa_.row(place.state))
        made_.next.push_back(
            to == TextDfa::kNowhere ? to : enter(static_cast<size_t>(to), place.length + 1));
    }
    return std::move(made_);
  }

 private:
  struct Place {
    size_t state;
    int64_t length;
  };

  int32_t enter(size_t state, int64_t length) {
    const int64_t least = far_.least[state], most = far_.most[state];
    if (least == kNever || length + least > max_ || length + most < min_) return TextDfa::kNowhere;
    const bool free = length + least >= min_ && length + most <= max_;
    int32_t& known = (free ? free_ : counted_)[state];
    if (known != TextDfa::kNowhere) return known;
    check_stop(1 + made_.letters.size() / 8);
    count_memory(sizeof(Place) + 4 * made_.letters.size());
    known = static_cast<int32_t>(places_.size());
    places_.push_back({state, length});
    made_.accepts.push_back(dfa_.accepts[state] && length >= min_ && length <= max_);
    return known;
  }

  const TextDfa& dfa_;
  const int64_t min_, max_;
  const size_t limit_;
  const Distances far_;
  std::vector<Place> places_;
  std::vector<int32_t> free_, counted_;  // by state; counted_: behind length_ + 1 characters
  int64_t length_ = -1;
  TextDfa made_;
};

/// Puts together the letters that no state tells apart any more.
TextDfa with_fewer_letters(const TextDfa& dfa) {
  std::map<std::vector<int32_t>, std::vector<CodeSet::Range>> letters;  // by what they do
  for (size_t letter = 0; letter < dfa.letters.size(); ++letter) {
    std::vector<int32_t> column;
    for (size_t state = 0; state < dfa.states(); ++state) column.push_back(dfa.row(state)[letter]);
    if (std::all_of(column.begin(), column.end(),
                    [](int32_t to) { return to == TextDfa::kNowhere; }))
      continue;
    const auto& ranges = dfa.letters[letter].ranges();
    auto& all = letters[std::move(column)];
    all.insert(all.end(), ranges.begin(), ranges.end());
  }
  TextDfa made{.accepts = dfa.accepts};
  for (size_t state = 0; state < dfa.states(); ++state)
    for (const auto& [column, ranges] : letters) made.next.push_back(column[state]);
  for (auto& [column, ranges] : letters) made.letters.emplace_back(std::move(ranges));
  return made;
}

}  // namespace

TextDfa reduced(const TextDfa& dfa) {
  constexpr size_t kMaxWork = 4'000'000;
  // Classes of states, told apart by what they accept, then by the classes that they lead to.
  std::vector<int32_t> class_of(dfa.states(), TextDfa::kNowhere);
  const std::vector<int64_t> least = distances(dfa).least;
  for (size_t state = 0; state < dfa.states(); ++state)
    if (least[state] != kNever) class_of[state] = dfa.accepts[state] ? 1 : 0;
  if (class_of[0] == TextDfa::kNowhere) return {.accepts = {false}};
  const auto class_at = [&](int32_t to) {
    return to == TextDfa::kNowhere ? to : class_of[static_cast<size_t>(to)];
  };
  std::map<std::vector<int32_t>, int32_t> classes;
  for (size_t had = 0, work = 0; had == 0 || classes.size() > had;) {
    had = classes.size();
    work += dfa.next.size();
    if (work > kMaxWork) return dfa;
    check_stop(dfa.next.size() / 8);
    classes.clear();
    std::vector<int32_t> finer(dfa.states(), TextDfa::kNowhere);
    for (size_t state = 0; state < dfa.states(); ++state) {
      if (class_of[state] == TextDfa::kNowhere) continue;
      std::vector<int32_t> key = {class_of[state]};
      for (const int32_t to : dfa.row(state)) key.push_back(class_at(to));
      finer[state] =
          classes.try_emplace(std::move(key), static_cast<int32_t>(classes.size())).first->second;
    }
    class_of = std::move(finer);
  }
  TextDfa made{.letters = dfa.letters};
  for (size_t state = 0; state < dfa.states(); ++state) {  // the first of each class, in order
    if (class_of[state] != static_cast<int32_t>(made.states())) continue;
    for (const int32_t to : dfa.row(state)) made.next.push_back(class_at(to));
    made.accepts.push_back(dfa.accepts[state]);
  }
  return with_fewer_letters(made);
}

std::optional<TextDfa> with_length(const TextDfa& dfa, int64_t min, int64_t max, size_t limit) {
  return LengthWriter(dfa, min, max, limit).write();
}

TextEdges edges_of(const TextDfa& dfa) {
  TextEdges made;
  std::map<std::vector<size_t>, size_t> set_of;  // by its letters
  for (size_t state = 0; state < dfa.states(); ++state) {
    std::map<int32_t, std::vector<size_t>> ways;
    for (size_t letter = 0; letter < dfa.letters.size(); ++letter)
      if (const int32_t to = dfa.row(state)[letter]; to != TextDfa::kNowhere)
        ways[to].push_back(letter);
    auto& edges = made.from.emplace_back();
    for (auto& [to, letters] : ways) {
      const auto [set, is_new] = set_of.try_emplace(letters, made.sets.size());
      if (is_new) {
        std::vector<CodeSet::Range> ranges;
        for (const size_t letter : letters) {
          const auto& more = dfa.letters[letter].ranges();
          ranges.insert(ranges.end(), more.begin(), more.end());
        }
        count_memory(ranges.size() * sizeof(CodeSet::Range));
        made.sets.emplace_back(std::move(ranges));
      }
      count_memory(sizeof(TextEdges::Edge));
      edges.push_back({set->second, to});
    }
  }
  return made;
}

}  // namespace um
