// Automata of texts: equal ones in fewer states, and lengths, against all short texts.
#include "engine/grammar/text_dfa.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>

#include "engine/grammar/regex.h"
#include "engine/grammar/text_set.h"

namespace um {
namespace {

constexpr size_t kLongest = 7;

std::string random_pattern(std::mt19937& random, int depth) {
  const auto part = [&] { return random_pattern(random, depth + 1); };
  switch (depth > 3 ? random() % 3 : random() % 8) {
    case 0:
      return "a";
    case 1:
      return "b";
    case 2:
      return "[ab]";
    case 3:
    case 4:
      return part() + part();
    case 5:
      return "(" + part() + "|" + part() + ")";
    case 6:
      return "(" + part() + ")*";
    default:
      return "(" + part() + "){1,3}";
  }
}

/// All texts of a and b up to a length, and some with a third letter.
std::vector<std::string> short_texts() {
  std::vector<std::string> texts = {""};
  for (size_t i = 0; texts[i].size() < kLongest; ++i)
    for (const char letter : {'a', 'b'}) texts.push_back(texts[i] + letter);
  texts.insert(texts.end(), {"c", "ac", "ca", "abc"});
  return texts;
}

/// The state behind the text, or kNowhere.
int32_t state_behind(const TextDfa& dfa, const std::string& text) {
  int32_t state = 0;
  for (const char c : text) {
    size_t letter = 0;
    while (letter < dfa.letters.size() && !dfa.letters[letter].contains(static_cast<uint32_t>(c)))
      ++letter;
    if (letter == dfa.letters.size()) return TextDfa::kNowhere;
    state = dfa.row(static_cast<size_t>(state))[letter];
    if (state == TextDfa::kNowhere) break;
  }
  return state;
}

bool accepts(const TextDfa& dfa, const std::string& text) {
  const int32_t state = state_behind(dfa, text);
  return state != TextDfa::kNowhere && dfa.accepts[static_cast<size_t>(state)];
}

/// No state from which nothing is accepted, but for a start.
bool all_lead_to_an_end(const TextDfa& dfa) {
  std::vector<bool> leads = dfa.accepts;
  for (size_t round = 0; round < dfa.states(); ++round)
    for (size_t state = 0; state < dfa.states(); ++state)
      for (const int32_t to : dfa.row(state))
        if (to != TextDfa::kNowhere && leads[static_cast<size_t>(to)]) leads[state] = true;
  return std::count(leads.begin() + 1, leads.end(), false) == 0;
}

TEST(TextDfa, AcceptsWhatTheExpressionDoes) {
  std::mt19937 random(5);
  const std::vector<std::string> texts = short_texts();
  for (int i = 0; i < 60; ++i) {
    const std::string pattern = random_pattern(random, 0);
    TextSets sets;
    const TextSets::Id set = sets.match(Regex::parse(pattern, "test"), "test");
    const TextDfa dfa = *sets.automaton(set, 10'000), few = reduced(dfa);
    EXPECT_LE(few.states(), dfa.states()) << pattern;
    EXPECT_TRUE(all_lead_to_an_end(few)) << pattern;
    // Each state goes on in its own way: as few as there can be.
    std::set<std::pair<bool, std::vector<int32_t>>> ways;
    for (size_t state = 0; state < few.states(); ++state)
      ways.emplace(few.accepts[state], std::vector(few.row(state).begin(), few.row(state).end()));
    EXPECT_EQ(ways.size(), few.states()) << pattern;
    const auto min = static_cast<int64_t>(random() % 4),
               max = random() % 3 == 0 ? -1 : min + static_cast<int64_t>(random() % 4);
    const TextDfa counted = *with_length(few, min, max, 10'000);
    EXPECT_TRUE((min > 0 && max >= 0) || all_lead_to_an_end(counted)) << pattern;
    for (const std::string& text : texts) {
      const bool found = sets.contains(set, text);
      const auto length = static_cast<int64_t>(text.size());
      EXPECT_EQ(accepts(dfa, text), found) << pattern << " " << text;
      EXPECT_EQ(accepts(few, text), found) << pattern << " " << text;
      EXPECT_EQ(accepts(counted, text), found && length >= min && (max < 0 || length <= max))
          << pattern << " " << text << " " << min << " " << max;
    }
  }
}

TEST(TextDfa, CountsOnlyWhereTheLengthMayMatter) {
  const auto automaton = [](const std::string& pattern) {
    TextSets sets;
    return reduced(*sets.automaton(sets.match(Regex::parse(pattern, "test"), "test"), 1000));
  };
  // Every text is short enough: nothing to count.
  const TextDfa date = automaton("[0-9]{4}-[0-9]{2}");
  EXPECT_EQ(with_length(date, 3, 1000, 100)->states(), date.states());
  // One state for each length.
  EXPECT_EQ(with_length(automaton("[a-z]*"), 0, 50, 100)->states(), 51u);
  EXPECT_EQ(with_length(automaton("[a-z]*"), 50, -1, 100)->states(), 51u);
  EXPECT_FALSE(with_length(automaton("[a-z]*"), 0, 500, 100));
  // None at all.
  const TextDfa none = *with_length(date, 8, -1, 100);
  EXPECT_EQ(none.states(), 1u);
  EXPECT_FALSE(none.accepts[0]);
  EXPECT_FALSE(accepts(none, ""));
  EXPECT_FALSE(accepts(reduced(none), ""));
}

}  // namespace
}  // namespace um
