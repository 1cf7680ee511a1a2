// See text_set.h.
#include "engine/grammar/text_set.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/stop_scope.h"

namespace um {
namespace {

/// Terms made for one schema.
constexpr size_t kMaxTerms = 300'000;

}  // namespace

TextSets::TextSets() {
  add({.kind = Kind::kNone});
  add({.kind = Kind::kEmpty});
  any_ = characters(CodeSet::all());
  all_ = repeat(any_, 0, kOpen);
}

TextSets::Id TextSets::add(Term term) {
  const auto [at, is_new] = known_.try_emplace(std::move(term), static_cast<Id>(terms_.size()));
  check_stop(1 + at->first.parts.size() / 8 + at->first.set.ranges().size() / 8);
  if (is_new) {
    check_stop(4 + at->first.parts.size() / 8 + at->first.set.ranges().size() / 8);
    if (terms_.size() >= kMaxTerms)
      throw UsageError("the constraint is too large: its patterns together have too many states");
    constexpr size_t kNodes = 64;  // of the map, and of the heap
    count_memory(kNodes + 2 * (sizeof(Term) + at->first.parts.size() * sizeof(Id) +
                               at->first.set.ranges().size() * sizeof(CodeSet::Range)));
    nullable_.push_back(find_nullable(at->first));
    terms_.push_back(at->first);
  }
  return at->second;
}

bool TextSets::find_nullable(const Term& term) const {
  const auto is = [&](Id id) { return nullable(id); };
  switch (term.kind) {
    case Kind::kNone:
    case Kind::kCharacters:
      return false;
    case Kind::kEmpty:
      return true;
    case Kind::kSequence:
    case Kind::kBoth:
      return std::all_of(term.parts.begin(), term.parts.end(), is);
    case Kind::kEither:
      return std::any_of(term.parts.begin(), term.parts.end(), is);
    case Kind::kNot:
      return !is(term.parts[0]);
    case Kind::kRepeat:
      return term.min == 0 || is(term.parts[0]);
  }
  return false;
}

TextSets::Id TextSets::characters(const CodeSet& set) {
  if (set.empty()) return none();
  return add({.kind = Kind::kCharacters, .set = set});
}

TextSets::Id TextSets::sequence(Id first, Id second) {
  if (first == none() || second == none()) return none();
  if (first == empty()) return second;
  if (second == empty()) return first;
  if (at(first).kind == Kind::kSequence) {  // to the right, so that equal ones meet
    const std::vector<Id> parts = at(first).parts;
    return sequence(parts[0], sequence(parts[1], second));
  }
  return add({.kind = Kind::kSequence, .parts = {first, second}});
}

void TextSets::flatten(Kind kind, std::vector<Id>& parts) const {
  std::vector<Id> flat;
  for (const Id id : parts) {
    if (at(id).kind == kind)
      flat.insert(flat.end(), at(id).parts.begin(), at(id).parts.end());
    else
      flat.push_back(id);
  }
  check_stop(flat.size() / 4);
  std::sort(flat.begin(), flat.end());
  flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
  parts = std::move(flat);
}

TextSets::Id TextSets::either(std::vector<Id> parts) {
  flatten(Kind::kEither, parts);
  std::vector<CodeSet::Range> ranges;
  std::vector<Id> kept;
  for (const Id id : parts) {
    if (id == all()) return all();
    if (at(id).kind == Kind::kCharacters)
      ranges.insert(ranges.end(), at(id).set.ranges().begin(), at(id).set.ranges().end());
    else if (id != none())
      kept.push_back(id);
  }
  if (!ranges.empty()) kept.push_back(characters(CodeSet(std::move(ranges))));
  std::sort(kept.begin(), kept.end());
  if (kept.empty()) return none();
  return kept.size() == 1 ? kept[0] : add({.kind = Kind::kEither, .parts = std::move(kept)});
}

TextSets::Id TextSets::both(std::vector<Id> parts) {
  flatten(Kind::kBoth, parts);
  std::erase(parts, all());
  if (parts.empty()) return all();
  const auto has = [&](Id id) { return std::binary_search(parts.begin(), parts.end(), id); };
  if (has(none())) return none();
  if (has(empty()))
    return std::all_of(parts.begin(), parts.end(), [&](Id id) { return nullable(id); }) ? empty()
                                                                                        : none();
  for (const Id id : parts)
    if (at(id).kind == Kind::kNot && has(at(id).parts[0])) return none();
  return parts.size() == 1 ? parts[0] : add({.kind = Kind::kBoth, .parts = std::move(parts)});
}

TextSets::Id TextSets::negation(Id part) {
  if (at(part).kind == Kind::kNot) return at(part).parts[0];
  if (part == none()) return all();
  if (part == all()) return none();
  return add({.kind = Kind::kNot, .parts = {part}});
}

TextSets::Id TextSets::repeat(Id part, int min, int max) {
  if (max == 0 || part == empty()) return empty();
  if (part == none()) return min == 0 ? empty() : none();
  if (min == 1 && max == 1) return part;
  const bool twice = at(part).kind == Kind::kRepeat && at(part).min == 0 && at(part).max == kOpen;
  if (twice && max == kOpen) return part;
  return add({.kind = Kind::kRepeat, .parts = {part}, .min = min, .max = max});
}

TextSets::Id TextSets::text(std::string_view utf8) {
  Id id = empty();
  const std::vector<uint32_t> codes = decode_utf8(utf8);
  for (size_t i = codes.size(); i-- > 0;)
    id = sequence(characters(CodeSet({{codes[i], codes[i]}})), id);
  return id;
}

TextSets::Id TextSets::length(int64_t min, int64_t max) {
  return repeat(any_, static_cast<int>(min), max < 0 ? kOpen : static_cast<int>(max));
}

TextSets::Id TextSets::derive(Id id, uint32_t code) {
  check_stop();
  const auto place = [&](std::vector<Derived>& list) {
    return std::lower_bound(list.begin(), list.end(), code,
                            [](const Derived& one, uint32_t code) { return one.code < code; });
  };
  derived_.resize(terms_.size());
  auto& known = derived_[static_cast<size_t>(id)];
  if (const auto at = place(known); at != known.end() && at->code == code) return at->to;
  const Term term = at(id);  // a copy: terms_ grows
  check_stop(2 + term.parts.size() / 8 + term.set.ranges().size() / 8 + known.size() / 1024);
  count_memory(sizeof(known) + 2 * sizeof(Derived));
  const Id made = derive_term(term, code);
  auto& list = derived_[static_cast<size_t>(id)];  // which has moved meanwhile
  list.insert(place(list), {code, made});
  return made;
}

TextSets::Id TextSets::derive_term(const Term& term, uint32_t code) {
  std::vector<Id> parts;
  switch (term.kind) {
    case Kind::kNone:
    case Kind::kEmpty:
      return none();
    case Kind::kCharacters:
      return term.set.contains(code) ? empty() : none();
    case Kind::kSequence: {
      const Id first = sequence(derive(term.parts[0], code), term.parts[1]);
      return nullable(term.parts[0]) ? either({first, derive(term.parts[1], code)}) : first;
    }
    case Kind::kEither:
    case Kind::kBoth:
      for (const Id part : term.parts) parts.push_back(derive(part, code));
      return term.kind == Kind::kEither ? either(std::move(parts)) : both(std::move(parts));
    case Kind::kNot:
      return negation(derive(term.parts[0], code));
    case Kind::kRepeat: {
      const int max = term.max == kOpen ? kOpen : term.max - 1;
      return sequence(derive(term.parts[0], code),
                      repeat(term.parts[0], std::max(0, term.min - 1), max));
    }
  }
  return none();
}

bool TextSets::contains(Id id, std::string_view utf8) {
  for (const uint32_t code : decode_utf8(utf8)) {
    if (id == none()) return false;
    id = derive(id, code);
  }
  return nullable(id);
}

void TextSets::collect(Id id, std::vector<CodeSet>& sets, std::vector<bool>& seen) const {
  if (seen[static_cast<size_t>(id)]) return;
  seen[static_cast<size_t>(id)] = true;
  check_stop();
  if (at(id).kind == Kind::kCharacters) sets.push_back(at(id).set);
  for (const Id part : at(id).parts) collect(part, sets, seen);
}

TextSets::Alphabet TextSets::alphabet(Id id) const {
  std::vector<CodeSet> sets = {CodeSet::all()};
  std::vector<bool> seen(terms_.size());
  check_stop(terms_.size() / 1024);
  collect(id, sets, seen);
  // Between two borders no set changes; stretches in the same sets are one class.
  std::map<uint32_t, std::vector<uint32_t>> borders;  // at a character: the sets that change there
  for (uint32_t i = 0; i < sets.size(); ++i) {
    check_stop(sets[i].ranges().size());
    for (const auto& [first, last] : sets[i].ranges()) {
      borders[first].push_back(i);
      borders[last + 1].push_back(i);
    }
  }
  std::map<std::set<uint32_t>, std::vector<CodeSet::Range>> classes;
  std::set<uint32_t> in;
  for (auto border = borders.begin(); border != borders.end(); ++border) {
    check_stop(1 + in.size());
    for (const uint32_t i : border->second)
      if (!in.erase(i)) in.insert(i);
    const auto next = std::next(border);
    if (!in.empty() && next != borders.end())
      classes[in].emplace_back(border->first, next->first - 1);
  }
  Alphabet made;
  for (auto& [members, ranges] : classes) {
    made.classes.emplace_back(std::move(ranges));
    made.representative.push_back(made.classes.back().ranges()[0].first);
  }
  return made;
}

std::optional<TextDfa> TextSets::automaton(Id id, size_t limit) {
  Alphabet letters = alphabet(id);
  std::unordered_map<Id, int32_t> state_of = {{id, 0}};
  std::vector<Id> states = {id};
  TextDfa dfa;
  for (size_t i = 0; i < states.size(); ++i) {
    if (states.size() > limit) return std::nullopt;
    count_memory(letters.classes.size() * sizeof(int32_t));
    for (const uint32_t code : letters.representative) {
      const Id to = derive(states[i], code);
      if (to == none()) {
        dfa.next.push_back(TextDfa::kNowhere);
        continue;
      }
      const auto [state, is_new] = state_of.try_emplace(to, static_cast<int32_t>(states.size()));
      if (is_new) states.push_back(to);
      dfa.next.push_back(state->second);
    }
    dfa.accepts.push_back(nullable(states[i]));
  }
  dfa.letters = std::move(letters.classes);
  return dfa;
}

bool TextSets::is_empty(Id id, size_t limit) {
  if (id == none()) return true;
  if (nullable(id)) return false;
  const Alphabet letters = alphabet(id);
  std::set<Id> seen = {id};
  std::vector<Id> open = {id};
  while (!open.empty()) {
    const Id at = open.back();
    open.pop_back();
    for (const uint32_t code : letters.representative) {
      const Id to = derive(at, code);
      if (nullable(to) || seen.size() > limit) return false;
      if (to != none() && seen.insert(to).second) open.push_back(to);
    }
  }
  return true;
}

}  // namespace um
