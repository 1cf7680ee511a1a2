// Regular expressions as TextSets, with anchors, word borders and look-ahead: a part is written
// with what follows it up to the end of the text, so that look-ahead is an intersection.
#include <array>
#include <functional>

#include "core/error.h"
#include "engine/grammar/text_set.h"

namespace um {

/// What stands before a place of the text.
enum class Before { kStart, kWord, kOther };

class AssertionWriter {
 public:
  using Id = TextSets::Id;
  /// What follows a part, by what stands before it; asked for at most once each.
  using Rest = std::function<Id(Before)>;

  AssertionWriter(TextSets& sets, const Regex& regex, std::string_view where)
      : sets_(sets), regex_(regex), where_(where) {}

  Id write(int index, const Rest& rest, Before before) {
    if (++steps_ > kMaxSteps) refuse("is too large for its assertions");
    const Regex::Node& node = regex_.nodes[static_cast<size_t>(index)];
    switch (node.kind) {
      case Regex::Node::kCharacters:
        return characters(node.set, rest);
      case Regex::Node::kSequence:
        return sequence(node, 0, rest, before);
      case Regex::Node::kAlternatives: {
        const Rest once = remembered(rest);
        std::vector<Id> parts;
        for (const int child : node.children) parts.push_back(write(child, once, before));
        return sets_.either(std::move(parts));
      }
      case Regex::Node::kRepeat:
        return repeat(node, rest, before);
      default:
        return assertion(node, rest, before);
    }
  }

  /// The texts of a part without assertions.
  Id plain(int index) {
    return write(
        index, [&](Before) { return sets_.empty(); }, Before::kOther);
  }

 private:
  static constexpr int kMaxSteps = 100'000, kMaxUnrolled = 16;
  static constexpr size_t kMaxSequence = 1000;  // of recursion

  [[noreturn]] void refuse(std::string_view what) const {
    throw UsageError(fmt::format("{}: the pattern {}; this is not supported", where_, what));
  }

  static Rest remembered(const Rest& rest) {
    auto known = std::make_shared<std::array<Id, 3>>();
    known->fill(-1);
    return [rest, known](Before before) {
      Id& id = (*known)[static_cast<size_t>(before)];
      if (id < 0) id = rest(before);
      return id;
    };
  }

  Id characters(const CodeSet& set, const Rest& rest) {
    const CodeSet word = set & word_characters(), other = set - word_characters();
    const Id word_rest = word.empty() ? -1 : rest(Before::kWord);
    const Id other_rest = other.empty() ? -1 : rest(Before::kOther);
    if (word_rest < 0 || other_rest < 0 || word_rest == other_rest)
      return sets_.sequence(sets_.characters(set), std::max(word_rest, other_rest));
    return sets_.either({sets_.sequence(sets_.characters(word), word_rest),
                         sets_.sequence(sets_.characters(other), other_rest)});
  }

  Id sequence(const Regex::Node& node, size_t from, const Rest& rest, Before before) {
    if (node.children.size() > kMaxSequence) refuse("is too long for its assertions");
    if (from == node.children.size()) return rest(before);
    return write(node.children[from], remembered([&, from](Before next) {
                   return sequence(node, from + 1, rest, next);
                 }),
                 before);
  }

  Id repeat(const Regex::Node& node, const Rest& rest, Before before) {
    const int child = node.children[0];
    if (regex_.asserts(child)) {
      if (node.max == Regex::kOpen || node.max > kMaxUnrolled) refuse("repeats an assertion");
      return unrolled(node, 0, remembered(rest), before);
    }
    const Id whole = sets_.repeat(plain(child), node.min, node.max);
    const Id same = rest(before), word = rest(Before::kWord), other = rest(Before::kOther);
    if (same == word && same == other) return sets_.sequence(whole, same);
    // By the last character.
    const auto ends_in = [&](const CodeSet& set, Id next) {
      const Id ending = sets_.sequence(sets_.all(), sets_.characters(set));
      return sets_.sequence(sets_.both({whole, ending}), next);
    };
    return sets_.either({ends_in(word_characters(), word),
                         ends_in(CodeSet::all() - word_characters(), other),
                         sets_.contains(whole, "") ? same : sets_.none()});
  }

  Id unrolled(const Regex::Node& node, int done, const Rest& rest, Before before) {
    const Id stop = done >= node.min ? rest(before) : sets_.none();
    if (done == node.max) return stop;
    const Rest next =
        remembered([&, done](Before after) { return unrolled(node, done + 1, rest, after); });
    return sets_.either({stop, write(node.children[0], next, before)});
  }

  Id assertion(const Regex::Node& node, const Rest& rest, Before before) {
    const Id word_next = sets_.sequence(sets_.characters(word_characters()), sets_.all());
    switch (node.kind) {
      case Regex::Node::kBegin:
        return before == Before::kStart ? rest(before) : sets_.none();
      case Regex::Node::kEnd:
        return sets_.both({rest(before), sets_.empty()});
      case Regex::Node::kBorder:
      case Regex::Node::kNoBorder: {
        const bool to_word = (node.kind == Regex::Node::kBorder) != (before == Before::kWord);
        return sets_.both({rest(before), to_word ? word_next : sets_.negation(word_next)});
      }
      default: {
        const Id ahead = write(
            node.children[0], [&](Before) { return sets_.all(); }, before);
        return sets_.both(
            {rest(before), node.kind == Regex::Node::kAhead ? ahead : sets_.negation(ahead)});
      }
    }
  }

  TextSets& sets_;
  const Regex& regex_;
  std::string_view where_;
  int steps_ = 0;
};

TextSets::Id TextSets::search(const Regex& regex, std::string_view where) {
  AssertionWriter writer(*this, regex, where);
  const auto from = [&](Before before) {
    return writer.write(
        regex.root, [&](Before) { return all(); }, before);
  };
  const Id start = from(Before::kStart), word = from(Before::kWord), other = from(Before::kOther);
  if (start == word && word == other) return sequence(all(), start);
  const auto behind = [&](const CodeSet& set, Id next) {
    return sequence(all(), sequence(characters(set), next));
  };
  return either(
      {start, behind(word_characters(), word), behind(CodeSet::all() - word_characters(), other)});
}

TextSets::Id TextSets::match(const Regex& regex, std::string_view where) {
  AssertionWriter writer(*this, regex, where);
  return writer.write(
      regex.root, [&](Before) { return empty(); }, Before::kStart);
}

}  // namespace um
