// Expressions of tokenizer files: translated from Oniguruma's language, and what they replace.
#include "text/pcre.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "text/normalizer.h"

namespace um {
namespace {

TEST(Pcre, TranslatesWhatOnigurumaMeans) {
  EXPECT_EQ(translate_regex(R"(\p{Han}\p{L}\P{^Letter}[\p{Han}])"),
            R"(\p{sc:Han}\p{L}\P{^L}[\p{sc:Han}])");
  const auto find = [](const Pcre& pattern, std::string_view text) {
    PcreScratch scratch;
    std::string found;
    PcreMatches matches(pattern, text, scratch);
    for (PcreMatch match; matches.next(match);)
      found += fmt::format("{}-{} ", match.begin, match.end);
    return found;
  };
  EXPECT_EQ(find(Pcre(R"(\p{Han})", "t"), "、"), "");  // Script_Extensions only
  EXPECT_EQ(find(Pcre(R"(\p{Han}+)", "t"), "、鸭鸭"), "3-9 ");
  EXPECT_EQ(find(Pcre(R"(a$)", "t"), "a\nb"), "0-1 ");  // at every line
  EXPECT_EQ(find(Pcre("x*", "t"), "äxö"), "0-0 2-3 5-5 ");
  EXPECT_EQ(find(Pcre(R"(\s)", "t"), "\u180E"), "");
  EXPECT_EQ(find(Pcre::literal("a.", "t"), "aba."), "2-4 ");
}

TEST(Pcre, ReadsClassesInClassesAsOnigurumaDoes) {
  const auto all = [](const char* pattern, std::string_view text) {
    const Pcre regex(pattern, "t");
    PcreScratch scratch;
    PcreMatches matches(regex, text, scratch);
    std::string found;
    for (PcreMatch match; matches.next(match);)
      found += std::string(text.substr(match.begin, match.end - match.begin)) + ";";
    return found;
  };
  EXPECT_EQ(all("[a-z[0-9]]+", "ab1-2c"), "ab1;2c;");
  EXPECT_EQ(all("[^[a-c]]+", "xaby"), "x;y;");
  EXPECT_EQ(all("[^a[^b]]+", "abbc"), "bb;");
  EXPECT_EQ(all("[a-w&&[^c-g]z]+", "abcxhz"), "ab;h;");
  EXPECT_EQ(all("[^a-w&&[^c-g]z]+", "abcxh"), "cx;");
  EXPECT_EQ(all(R"([\p{L}&&[^\p{Han}]]+|\p{Han}+)", "ab鸭c"), "ab;鸭;c;");
  EXPECT_EQ(all("xa{,2}", "xaaa"), "xaa;");
  EXPECT_EQ(all("a{2}+", "aaaaa"), "aaaa;");
  EXPECT_EQ(all("[[:punct:]]+", "$!a"), "$!;");
  EXPECT_EQ(all(R"(\p{Punct}+)", "$!a"), "!;");
  EXPECT_EQ(all(R"(\u3042+)", "ああ"), "ああ;");
  EXPECT_EQ(all("(?m:a.)", "a\n"), "a\n;");
  EXPECT_EQ(all("(x(?i)a|b)c", "xBc"), "xBc;");
  for (const char* pattern : {"[a&&]", "[a-[b]]", R"(\X)", "(?x)a", "[[:foo:]]", "[a"})
    EXPECT_THROW(Pcre(pattern, "t"), Error) << pattern;
}

/// Oniguruma knows none of PCRE2's verbs, which change what the rest means.
TEST(Pcre, RefusesVerbsByName) {
  for (const std::string verb :
       {"(*UTF)", "(*UCP)", "(*ANY)", "(*CRLF)", "(*BSR_ANYCRLF)", "(*LIMIT_MATCH=1)", "(*NO_JIT)",
        "(*ACCEPT)", "(*SKIP:x)", "(*pla:a)", "(*VERB)"}) {
    for (const std::string& pattern : {verb + "a", "b" + verb, "(?:a|" + verb + "b)"}) {
      try {
        Pcre(pattern, "t");
        ADD_FAILURE() << pattern;
      } catch (const Error& error) {
        EXPECT_EQ(
            std::string(error.what()),
            fmt::format("t: regular expression \"{}\": {} cannot be translated", pattern, verb));
      }
    }
  }
  EXPECT_THROW(Pcre("a(*", "t"), Error);
  const auto whole = [](const char* pattern, std::string_view text) {
    const Pcre regex(pattern, "t");
    PcreScratch scratch;
    PcreMatch match;
    return PcreMatches(regex, text, scratch).next(match) && match.end == text.size();
  };
  EXPECT_TRUE(whole(R"(\(*[(*]a)", "((*a"));  // no verbs
}

// What `normalizers.Replace(…).normalize_str` of Hugging Face's tokenizers gives; a whole
// tokenizer of theirs panics on it.
TEST(Pcre, ReplaceCountsEmptyMatches) {
  PcreScratch scratch;
  TextRoom room("normalizer", 0);
  EXPECT_EQ(replace_all("abe", Pcre("a*", "t"), "he", scratch, room), "hebheehe");
  EXPECT_EQ(replace_all("abe", Pcre::literal("", "t"), "he", scratch, room), "heahebheehe");
  EXPECT_EQ(replace_all("é鸭 x", Pcre("a*", "t"), "he", scratch, room), "heéhe鸭he hexhe");
  EXPECT_EQ(replace_all("", Pcre("a*", "t"), "he", scratch, room), "");
}

}  // namespace
}  // namespace um
