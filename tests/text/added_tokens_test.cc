// Added tokens of a tokenizer.json: their flags beside each other, beside the model's vocabulary,
// the normaliser and the decoder; ids and texts equal to those of Hugging Face's tokenizers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "core/error.h"
#include "tests/text/tokenizers_peer_util.h"
#include "text/decoder.h"

namespace um {
namespace {

using Ids = std::vector<int32_t>;

Json added(int id, const std::string& text, const std::vector<std::string>& flags) {
  Json token = {{"id", id}, {"content", text}};
  for (const char* flag : {"special", "single_word", "lstrip", "rstrip", "normalized"})
    token[flag] = std::find(flags.begin(), flags.end(), flag) != flags.end();
  return token;
}

Tokenizer make(const Json& json) {
  return Tokenizer::from_json(to_text(json), "", "test");
}

Json metaspace(const char* scheme) {
  return {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", true}};
}

Ids trusted(const Tokenizer& t, std::string_view text) {
  return t.encode(text, {.parse_special = true});
}

TEST(AddedTokens, AreNoPiecesOfTheModel) {
  Json json = llama_json(false);
  json["normalizer"] = nullptr;
  const int id = static_cast<int>(json["model"]["vocab"].size());
  json["added_tokens"].push_back(added(id, "Ǆ", {"single_word"}));
  Tokenizer t = make(json);
  EXPECT_EQ(trusted(t, "Ǆ h").front(), id);
  for (const int32_t got : trusted(t, "Ǆh")) EXPECT_NE(got, id);
  json = tiny_json();
  json["pre_tokenizer"] = sequence_of(
      "pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, json["pre_tokenizer"]});
  json["model"]["ignore_merges"] = true;
  json["added_tokens"].push_back(added(264, "foo", {"single_word"}));
  t = make(json);
  EXPECT_EQ(trusted(t, "foo").size(), 1U);
  EXPECT_EQ(trusted(t, "foo1").size(), 4U);
}

/// A special token that is a piece of the model as well: a piece in texts that are ours, spelled
/// otherwise in those of users.
TEST(AddedTokens, MayBePiecesOfTheModelAsWell) {
  Json json = llama_json(false);
  const int duck = json["model"]["vocab"]["鸭"], the = json["model"]["vocab"]["▁the"];
  json["added_tokens"].push_back(added(duck, "鸭", {"special", "single_word"}));
  json["added_tokens"].push_back(added(the, "▁the", {"special", "single_word"}));
  const Tokenizer t = make(json);
  const auto count = [&](const Ids& ids, int id) { return std::count(ids.begin(), ids.end(), id); };
  const std::string text = "h鸭 the";
  EXPECT_EQ(count(trusted(t, text), duck), 1);
  EXPECT_EQ(count(trusted(t, text), the), 1);
  EXPECT_EQ(count(t.encode(text), duck), 0);
  EXPECT_EQ(count(t.encode(text), the), 0);
  const std::string outside("\0\1\1\1\0\0\0\0", text.size());
  const Ids mixed = t.encode(text, {.parse_special = true, .outside = outside});
  EXPECT_EQ(count(mixed, duck) + count(mixed, the), 0) << "places move: nothing is certain";
  json["normalizer"] = nullptr;
  const Ids plain = make(json).encode(text, {.parse_special = true, .outside = outside});
  EXPECT_EQ(count(plain, duck), 0);
}

TEST(AddedTokens, ABytesOnlySpellingStaysText) {
  Json json = tiny_json();
  json["added_tokens"].push_back(added(json["model"]["vocab"]["!"], "!", {"special"}));
  const Tokenizer t = make(json);
  EXPECT_EQ(t.decode(t.encode("he!"), false), "he!");
}

TEST(AddedTokens, AreFoundInWhiteSpaceThatAnotherSwallows) {
  Json json = tiny_json();
  json["added_tokens"].push_back(added(264, "<r>", {"rstrip"}));
  json["added_tokens"].push_back(added(265, "  ", {}));
  json["added_tokens"].push_back(added(266, " l", {}));
  const Tokenizer t = make(json);
  const Ids h = trusted(t, "h");
  EXPECT_EQ(trusted(t, "<r> h"), (Ids{264, h[0]}));
  EXPECT_EQ(trusted(t, "<r>  h"), (Ids{264, 265, h[0]}));
  EXPECT_EQ(trusted(t, "<r> lh"), (Ids{264, 266, h[0]}));
  EXPECT_EQ(trusted(t, "<r>   h"), (Ids{264, 265, trusted(t, " h")[0], h[0]})) << "given back";
  json["added_tokens"].push_back(added(267, " e", {"lstrip"}));
  EXPECT_EQ(trusted(make(json), "<r> eh"), (Ids{264, 267, h[0]}));
  json["added_tokens"].push_back(added(268, "\n", {"lstrip"}));
  EXPECT_EQ(trusted(make(json), "<r>\nh"), (Ids{264, h[0]})) << "swallowed as a whole";
}

TEST(AddedTokens, WhiteSpaceIsLookedThroughOnce) {
  Json json = tiny_json();
  json["added_tokens"].push_back(added(264, "  ", {"rstrip"}));
  EXPECT_EQ(trusted(make(json), std::string(400000, ' ')), Ids(200000, 264));
}

TEST(AddedTokens, TheFirstCharacterMayBeGone) {
  Json json = llama_json(true);
  json["pre_tokenizer"] = metaspace("first");
  const auto first_is_mark = [&](const Json& normalizer, std::string_view text) {
    json["normalizer"] = normalizer;
    const Tokenizer t = make(json);
    return t.piece(t.encode(text).at(0)).starts_with("▁");
  };
  const auto replace = [](const char* from, const char* to) {
    return Json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
  };
  const Json strip = {{"type", "Strip"}, {"strip_left", true}, {"strip_right", false}};
  EXPECT_TRUE(first_is_mark(nullptr, "he"));
  EXPECT_TRUE(first_is_mark(strip, "he"));
  EXPECT_FALSE(first_is_mark(strip, " he"));
  EXPECT_FALSE(first_is_mark(replace("  ", "h"), "  e")) << "from the second space";
  EXPECT_TRUE(first_is_mark(replace("  ", "h"), "e  "));
  EXPECT_TRUE(first_is_mark(replace("t", "h"), "te"));
  EXPECT_FALSE(first_is_mark(replace("t", ""), "te"));
  const Json right = {{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}};
  EXPECT_TRUE(first_is_mark(right, "\u3000h"));
  json["pre_tokenizer"] = sequence_of(
      "pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, metaspace("first")});
  json["normalizer"] = nullptr;
  const Tokenizer t = make(json);
  EXPECT_EQ(t.decode(t.encode("h1h")), "h<unk>h") << "only the first word has a mark";
}

TEST(AddedTokens, AreDecodedAsOthers) {
  Json json = llama_json(true);
  const int id = static_cast<int>(json["model"]["vocab"].size());
  json["added_tokens"].push_back(added(id, "▁<PRE>", {"special"}));
  json["added_tokens"].push_back(added(id + 1, "AB", {"normalized"}));
  json["added_tokens"].push_back(added(id + 2, "CD", {"normalized", "special"}));
  json["normalizer"] = {{"type", "Lowercase"}};
  const Tokenizer t = make(json);
  const int32_t h = *t.id("h"), the = *t.id("▁the");
  EXPECT_EQ(t.decode({h, id, the}, false), "h <PRE> the");
  EXPECT_EQ(t.decode({id, the}, false), "<PRE> the") << "the first token alone loses its marks";
  EXPECT_EQ(t.decode({id, the}), "the");
  EXPECT_EQ(t.decode({h, id + 1}), "hab");
  EXPECT_EQ(t.decode({h, id + 2}), "h") << "special, though normalized";
  EXPECT_EQ(t.decode({*t.id("▁▁"), the}), " the") << "all marks of the first token go";
}

TEST(AddedTokens, SpacesAtTheFrontGoUpToACount) {
  Json json = llama_json(false);
  json["decoder"]["decoders"][3]["start"] = 2;
  const Tokenizer t = make(json);
  const int32_t mark = *t.id("▁"), two = *t.id("▁▁"), h = *t.id("h");
  EXPECT_EQ(t.decode({mark, mark, mark, h}), " h");
  EXPECT_EQ(t.decode({mark, two, h}), " h");
  EXPECT_EQ(t.decode({mark, h, two}), "h  ");
}

// Random files.

using Random = std::mt19937;

bool chance(Random& random, unsigned percent) {
  return random() % 100 < percent;
}

template <class T>
T any_of(Random& random, const std::vector<T>& list) {
  return list[random() % list.size()];
}

Json split(const char* kind, const char* pattern, const char* behavior) {
  return {
      {"type", "Split"}, {"pattern", {{kind, pattern}}}, {"behavior", behavior}, {"invert", false}};
}

Json random_normalizer(Random& random) {
  const auto replace = [](const char* kind, const char* from, const char* to) {
    return Json{{"type", "Replace"}, {"pattern", {{kind, from}}}, {"content", to}};
  };
  const std::vector<Json> kinds = {
      {{"type", "NFC"}},
      {{"type", "NFKD"}},
      {{"type", "NFKC"}},
      {{"type", "Lowercase"}},
      {{"type", "StripAccents"}},
      {{"type", "Strip"}, {"strip_left", true}, {"strip_right", false}},
      {{"type", "Strip"}, {"strip_left", chance(random, 50)}, {"strip_right", true}},
      {{"type", "Prepend"}, {"prepend", any_of<std::string>(random, {"▁", "h", " "})}},
      replace("String", " ", "▁"),
      replace("String", "  ", "l"),
      replace("Regex", "\\s+", " "),
      replace("Regex", "^t", ""),
      replace("String", "h", "")};
  Json steps = Json::array();
  for (size_t n = random() % 3; n > 0; --n) steps.push_back(any_of(random, kinds));
  return steps.empty() ? Json() : sequence_of("normalizers", steps);
}

Json random_file(Random& random) {
  const bool level = chance(random, 40);
  Json json = level ? tiny_json() : llama_json(chance(random, 50));
  Json& model = json["model"];
  if (chance(random, 60)) json["normalizer"] = random_normalizer(random);
  Json pre = Json::array();
  if (chance(random, 30)) pre.push_back({{"type", "Digits"}, {"individual_digits", true}});
  if (chance(random, 30)) pre.push_back(split("String", " ", "MergedWithNext"));
  if (chance(random, 20)) pre.push_back(split("Regex", "\\p{L}", "Isolated"));
  if (!level || chance(random, 20))
    pre.push_back(metaspace(any_of<const char*>(random, {"always", "first", "first", "never"})));
  if (level) pre.push_back(json["pre_tokenizer"]);
  json["pre_tokenizer"] = sequence_of("pretokenizers", pre);
  if (!level) {
    const Json strip = {{"type", "Strip"}, {"content", " "}, {"start", random() % 3}, {"stop", 0}};
    const Json mark = metaspace(any_of<const char*>(random, {"always", "first", "never"}));
    const Json bytes = {{"type", "ByteFallback"}}, fuse = {{"type", "Fuse"}};
    const Json replace = {{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}};
    json["decoder"] = any_of<Json>(random, {nullptr, mark, sequence_of("decoders", {bytes, mark}),
                                            sequence_of("decoders", {replace, bytes, fuse, strip}),
                                            sequence_of("decoders", {mark, bytes, fuse, strip})});
    model["byte_fallback"] = chance(random, 60);
    model["fuse_unk"] = chance(random, 50);
  }
  model["ignore_merges"] = chance(random, 40);
  int next = static_cast<int>(model["vocab"].size());
  for (Json& token : json["added_tokens"])
    if (!model["vocab"].contains(token["content"])) token["id"] = next++;
  for (const char* text :
       {"Ǆ", "鸭", "é", "l", "▁the", "he", "  ", " t", "\n", "<x>", "[Y]", "▁x_", "hel", "LL"}) {
    if (!chance(random, 35)) continue;
    std::vector<std::string> flags;
    for (const char* flag : {"special", "single_word", "lstrip", "rstrip", "normalized"})
      if (chance(random, 35)) flags.emplace_back(flag);
    // The package does not bear tokens of which the normaliser leaves nothing.
    if (std::string_view(" \n").find(text[std::strlen(text) - 1]) != std::string_view::npos)
      std::erase(flags, "normalized");
    const bool known = model["vocab"].contains(text);
    json["added_tokens"].push_back(
        added(known ? model["vocab"][text].get<int>() : next, text, flags));
    next += known ? 0 : 1;
  }
  return json;
}

std::string random_added_text(Random& random) {
  std::string text;
  for (size_t n = random() % 12; n > 0; --n)
    text += any_of<std::string>(
        random, {"Ǆ",  "ǆ",   "鸭", "é", "e\u0301", "l",      "the", "he",  " ",
                 "  ", " t",  "\n", "_", "1",       "<x>",    "[Y]", "▁x_", "hel",
                 "LL", "foo", "h",  "▁", "<s>",     "\u3000", "½",   "ﬁ",   "<|end|>"});
  return text;
}

TEST(TokenizersPeer, AgreesOnAddedTokensOfAllKinds) {
  std::vector<PeerJob> jobs;
  for (unsigned seed = 0; seed < 200; ++seed) {
    Random random(seed);
    PeerJob job{make(random_file(random)), {}};
    for (int i = 0; i < 20; ++i) job.texts.push_back(random_added_text(random));
    jobs.push_back(std::move(job));
  }
  expect_peer_agrees(jobs, true);
}

}  // namespace
}  // namespace um
