// What is done to a text: the time is linear in it, whatever the tokenizer's file says, or ends in
// an error. What is written for that finds what the plain way finds.
#include <gtest/gtest.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <random>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "tests/core/linear_util.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pcre.h"
#include "text/pre_names.h"
#include "text/pre_tokenizer.h"

namespace um {
namespace {

std::string repeated(std::string_view part, size_t bytes) {
  std::string out;
  while (out.size() < bytes) out += part;
  return out;
}

constexpr const char* kUnits[] = {"a",
                                  "A",
                                  "1",
                                  "1,",
                                  " ",
                                  "!",
                                  "\n",
                                  " \n",
                                  ".",
                                  "'s",
                                  "aA",
                                  "_a",
                                  "a ",
                                  "1a",
                                  "\u0301",
                                  "a\u0301",
                                  "鸭",
                                  "ひ鸭",
                                  "\u0e01",
                                  "\u200b",
                                  "\u00a0",
                                  "\u01c5",
                                  "\u02b0",
                                  "\u0f71\u0f72",
                                  "/\n",
                                  "\u0660",
                                  "½",
                                  "한",
                                  "\u0930\u094d",
                                  "a1\n ",
                                  " a",
                                  "#!"};

using Spans = std::vector<std::pair<size_t, size_t>>;

Spans spans_of(const Pcre& pattern, std::string_view text) {
  Spans out;
  PcreScratch scratch;
  PcreMatches matches(pattern, text, scratch);
  for (PcreMatch match; matches.next(match);) out.emplace_back(match.begin, match.end);
  return out;
}

/// The same by PCRE2 alone, which has all of the text before it.
Spans plain_spans(const std::string& pattern, const std::string& text) {
  const std::string translated = translate_regex(pattern);
  int error = 0;
  size_t offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &offset, nullptr);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  Spans out;
  const size_t* range = pcre2_get_ovector_pointer(data);
  for (size_t from = 0; from <= text.size();) {
    if (pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, 0, data,
                    nullptr) < 0)
      break;
    const bool again = range[0] == range[1] && !out.empty() && out.back().second == range[1];
    if (!again) out.emplace_back(range[0], range[1]);
    if (!again && from != range[1]) {
      from = range[1];
      continue;
    }
    do ++from;
    while (from < text.size() && (static_cast<uint8_t>(text[from]) & 0xC0) == 0x80);
  }
  pcre2_match_data_free(data);
  pcre2_code_free(code);
  return out;
}

/// Every part of `spec` that has a regular expression.
void collect(const Json& spec, std::set<std::string>& out) {
  if (spec.is_object() && spec.contains("Regex")) out.insert(spec["Regex"].get<std::string>());
  if (spec.is_structured())
    for (const Json& part : spec) collect(part, out);
}

std::set<std::string> named_expressions() {
  std::set<std::string> out;
  for (const std::string_view name : pre_tokenizer_names())
    collect(pre_tokenizer_parts(name)->pre_tokenizer, out);
  return out;
}

/// Runs of few kinds, short and long.
std::string random_runs(std::mt19937& random, size_t runs, size_t longest) {
  std::string out;
  for (size_t i = 0; i < runs; ++i)
    out += repeated(kUnits[random() % std::size(kUnits)], 1 + random() % longest);
  return out;
}

TEST(LinearText, ExpressionsFindWhatPlainMatchingFinds) {
  std::mt19937 random(1);
  for (const std::string& expression : named_expressions()) {
    const Pcre pattern(expression, "t");
    for (int i = 0; i < 30; ++i) {
      const std::string text = random_runs(random, 20, i < 25 ? 12 : 1500);
      ASSERT_EQ(spans_of(pattern, text), plain_spans(expression, text)) << expression << "\n"
                                                                        << text;
    }
  }
  for (const char* expression :
       {"a*", "(?=a)", "(?<=a)", "a|(?!b)", "\\b", "a\\Kb?", "x?$", "^", ".{1,7}"}) {
    const Pcre pattern(expression, "t");
    for (int i = 0; i < 30; ++i) {
      const std::string text = random_runs(random, 20, i < 25 ? 12 : 1500);
      ASSERT_EQ(spans_of(pattern, text), plain_spans(expression, text)) << expression << "\n"
                                                                        << text;
    }
  }
}

TEST(LinearText, EveryNamedPreTokenizerSlow) {
  std::set<std::string> seen;
  for (const std::string_view name : pre_tokenizer_names()) {
    const Json spec = pre_tokenizer_parts(name)->pre_tokenizer;
    if (!seen.insert(spec.dump()).second) continue;
    const PreTokenizer splitter(spec, "t");
    for (const std::string unit : kUnits) {
      SCOPED_TRACE(std::string(name) + " " + quote(unit));
      expect_linear(
          20000, [&](size_t size) { return repeated(unit, size); },
          [&](const std::string& text) {
            PcreScratch scratch;
            TextRoom room("t", text.size());
            size_t bytes = 0;
            splitter.split(text, true, scratch, room,
                           [&](std::string_view word) { bytes += word.size(); });
            EXPECT_EQ(bytes, text.size());
          });
    }
  }
}

// Digits by three in a run that is too long to be looked at from each of them.
TEST(LinearText, ThreesOfAMillionDigits) {
  const std::string digits(1'000'000, '1');
  for (const char* expression : {R"(\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N})))",
                                 R"(\d{1,3}(?=(?:\d{3})*\b))", R"((?=(\d{3})+(?!\d)))"}) {
    const Spans spans = spans_of(Pcre(expression, "t"), digits);
    ASSERT_GE(spans.size(), 333'333u) << expression;
    EXPECT_EQ(spans[1].first, spans[0].first == spans[0].second ? 4u : 1u) << expression;
  }
}

TEST(LinearText, LongWordsAreFound) {
  const std::string word = repeated("a", 1 << 20) + " b";
  EXPECT_EQ(spans_of(Pcre("\\p{L}+", "t"), word).size(), 2u);
  EXPECT_EQ(spans_of(Pcre("b", "t"), word).size(), 1u);
  const std::string parts = R"([^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+)";
  for (const std::string& expression : named_expressions())
    if (expression.find(parts) != std::string::npos) {
      EXPECT_EQ(spans_of(Pcre(expression, "t"), word).size(), 1u);
    }
}

// Costs the square of the text, or more, or the same at each place: an error, and not after long.
TEST(LinearText, ExpressionsThatCostMoreEndInAnError) {
  for (const char* expression : {"a*b|a", "a*[bc]", "(?:a?){18}b|a", "a(?=a*b)|a", "(a|aa)+$|a",
                                 "\\d{1,3}(?=(\\d{3})+(?!\\d))|a*b|a", "(?:a|a)*[bc]"}) {
    const Pcre pattern(expression, "file: pre_tokenizer");
    const std::string text = repeated("a", 100'000) + "c\n";
    try {
      const Spans spans = spans_of(pattern, text.substr(0, 100'000));
      ADD_FAILURE() << expression << ": " << spans.size() << " matches";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(),
                   "file: pre_tokenizer: the regular expression takes too long on this text");
    }
    EXPECT_FALSE(spans_of(pattern, "aaaab aaac").empty()) << expression;
    expect_linear(
        200'000, [](size_t size) { return repeated("a", size); },
        [&](const std::string& long_text) { EXPECT_THROW(spans_of(pattern, long_text), Error); });
  }
  EXPECT_THROW(Pcre("\\Ga", "t"), Error);
}

AddedTokens tokens_of(const std::vector<std::string>& texts) {
  AddedTokens out;
  for (size_t i = 0; i < texts.size(); ++i)
    out.add({.id = static_cast<int32_t>(i), .text = texts[i]});
  out.finish();
  return out;
}

/// Ids of the tokens, and the bytes between them.
std::string cut(const AddedTokens& tokens, const std::string& text) {
  std::string out;
  tokens.cut(
      text, [&](std::string_view part) { out += part; },
      [&](const AddedToken& token) { out += "<" + std::to_string(token.id) + ">"; });
  return out;
}

TEST(LinearText, AddedTokensThatBeginAlike) {
  const auto make = [](size_t size) {
    std::vector<std::string> texts;
    for (size_t k = 1; k < size; ++k) texts.push_back(std::string(k, 'a') + "!");
    return tokens_of(texts);
  };
  const std::string text(3000, 'a');
  expect_linear(500, make, [&](const AddedTokens& tokens) { EXPECT_EQ(cut(tokens, text), text); });
}

TEST(LinearText, AddedTokensAreTheLongestFirst) {
  std::mt19937 random(2);
  const auto word = [&](size_t longest) {
    std::string out;
    for (size_t n = 1 + random() % longest; n > 0; --n) out += "ab\xC3"[random() % 3];
    return out;
  };
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> texts;
    for (size_t n = random() % 12; n > 0; --n) texts.push_back(word(6));
    const std::string text = word(60);
    std::string expected;
    for (size_t at = 0; at < text.size();) {
      int best = -1;
      for (size_t i = 0; i < texts.size(); ++i)
        if (text.substr(at).starts_with(texts[i]) &&
            (best < 0 || texts[i].size() >= texts[static_cast<size_t>(best)].size()))
          best = static_cast<int>(i);
      if (best < 0) {
        expected += text[at++];
      } else {
        expected += "<" + std::to_string(best) + ">";
        at += texts[static_cast<size_t>(best)].size();
      }
    }
    ASSERT_EQ(cut(tokens_of(texts), text), expected);
  }
}

/// Merges of which all want a place near the front of a table without a key.
std::vector<Bpe::Merge> crowded(size_t count) {
  const auto mix = [](uint64_t v) {
    v *= 0x9E3779B97F4A7C15u;
    v ^= v >> 29;
    v *= 0xBF58476D1CE4E5B9u;
    return v ^ (v >> 32);
  };
  const uint64_t mask = std::bit_ceil(count * 2 + 2) - 1;
  std::vector<Bpe::Merge> out;
  for (int32_t left = 0; out.size() < count; ++left)
    for (int32_t right = 0; right < 4096 && out.size() < count; ++right)
      if ((mix(uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right)) & mask) <
          64)
        out.push_back({left, right, 0});
  return out;
}

TEST(LinearText, MergesThatCrowd) {
  expect_linear(8000, crowded,
                [](const std::vector<Bpe::Merge>& merges) { const Bpe bpe({}, merges, {}, {}); });
}

}  // namespace
}  // namespace um
