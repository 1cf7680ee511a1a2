// tokenizer.json and GGUF vocabularies: the parts one by one, published vectors, and equality with
// Hugging Face's tokenizers on random texts.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "tests/text/peer_util.h"
#include "tests/text/random_text_util.h"
#include "tests/text/tokenizers_peer_util.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pcre.h"
#include "text/tokenizer.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace um {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;
using Job = PeerJob;

Tokenizer make(const Json& json, std::string_view config = "") {
  return Tokenizer::from_json(to_text(json), config, "test");
}

std::string pieces(const Tokenizer& t, std::string_view text, bool special = false) {
  std::string out;
  for (const int32_t id : t.encode(text, {.parse_special = special})) out += t.piece(id) + "|";
  return out;
}

TEST(TokenizerJson, MergesInTheOrderLearnt) {
  const Tokenizer t = make(tiny_json());
  EXPECT_EQ(pieces(t, "hello the 1212"), "hell|o|Ġthe|Ġ|12|12|");
  EXPECT_EQ(pieces(t, "llll lll"), "ll|ll|Ġ|ll|l|");
  EXPECT_EQ(t.vocab_size(), 264);
  EXPECT_EQ(t.bytes(*t.id("Ġthe")), " the");
  EXPECT_EQ(t.decode(t.encode("hello, wörld 鸭")), "hello, wörld 鸭");
}

TEST(TokenizerJson, SpecialTokensCountOnlyWhereAskedFor) {
  const Tokenizer t = make(tiny_json(), R"({"eos_token": "<|end|>", "bos_token": null})");
  EXPECT_EQ(t.eos_id(), 262);
  EXPECT_EQ(t.bos_id(), -1);
  EXPECT_FALSE(t.add_bos());
  EXPECT_EQ(t.encode("<|end|>", {.parse_special = true}), Ids{262});
  EXPECT_EQ(t.encode("<think>", {.parse_special = true}), Ids{263});
  for (const int32_t id : t.encode("<|end|><think>")) EXPECT_FALSE(t.is_special(id));
  EXPECT_EQ(t.decode({263, 104, 262}), "<think>h");  // not special: it stays
  EXPECT_EQ(t.decode({263, 104, 262}, false), "<think>h<|end|>");
  EXPECT_EQ(t.decode(t.encode("<|end|>")), "<|end|>");
}

TEST(TokenizerJson, NoMergeMakesASpecialToken) {
  Json json = tiny_json();
  json["added_tokens"].push_back({{"id", 257}, {"content", "Ġt"}, {"special", true}});
  json["model"]["ignore_merges"] = true;
  const Tokenizer t = make(json);
  for (const int32_t id : t.encode("the t")) EXPECT_FALSE(t.is_special(id));
}

TEST(TokenizerJson, OrdinaryAddedTextsCountEverywhere) {
  Json json = tiny_json();
  json["added_tokens"].push_back({{"id", 264}, {"content", "    "}, {"normalized", false}});
  const Tokenizer t = make(json);
  EXPECT_EQ(t.encode("a    b"), (Ids{t.encode("a")[0], 264, t.encode("b")[0]}));
  EXPECT_FALSE(t.is_special(264));
  EXPECT_EQ(t.bytes(264), "    ");
}

TEST(TokenizerJson, ConditionsOfAddedTokens) {
  Json json = tiny_json();
  json["added_tokens"].push_back(
      {{"id", 264}, {"content", "<mask>"}, {"lstrip", true}, {"rstrip", true}, {"special", true}});
  json["added_tokens"].push_back(
      {{"id", 265}, {"content", "[word]"}, {"single_word", true}, {"special", true}});
  json["added_tokens"].push_back({{"id", 266}, {"content", "<mask>2"}, {"special", true}});
  const Tokenizer t = make(json);
  EXPECT_EQ(pieces(t, "a \u3000<mask>\t\n b", true), "a|<mask>|b|");
  EXPECT_EQ(pieces(t, "a <mask>2 b", true), "a|Ġ|<mask>2|Ġ|b|");
  EXPECT_EQ(pieces(t, "a [word] [word]é", true).find("[word]"), pieces(t, "a ").size());
  EXPECT_EQ(pieces(t, "a [word] [word]é", true).rfind("[word]"), pieces(t, "a ").size());
}

TEST(TokenizerJson, RolesFromTemplateConfigAndModel) {
  Json json = tiny_json();
  EXPECT_EQ(Tokenizer::from_json(to_text(json), "", "t", {.bos = 3, .eos = 262}).eos_id(), 262);
  EXPECT_EQ(Tokenizer::from_json(to_text(json), "", "t", {.bos = 3, .eos = 999}).eos_id(), -1);
  json["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {{{"SpecialToken", {{"id", "<|end|>"}}}}, {{"Sequence", {{"id", "A"}}}}}},
      {"special_tokens", {{"<|end|>", {{"ids", {262}}}}}}};
  EXPECT_TRUE(make(json).add_bos());
  EXPECT_EQ(make(json).encode("h", {.add_bos = true}), (Ids{262, make(json).encode("h")[0]}));
  EXPECT_FALSE(make(json, R"({"add_bos_token": false})").add_bos());
}

TEST(TokenizerJson, StreamsOnlyCompleteCharacters) {
  const Tokenizer t = make(tiny_json());
  const std::string text = "h鸭🦆<think>naïve";
  Detokenizer stream(t, false);
  std::string all;
  for (const int32_t id : t.encode(text, {.parse_special = true})) {
    const std::string part = stream.push(id);
    EXPECT_TRUE(is_utf8(part));
    all += part;
  }
  EXPECT_EQ(all + stream.finish(), text);
  EXPECT_EQ(t.decode(t.encode("a\xFF z\xC3")), "a\xEF\xBF\xBD z\xEF\xBF\xBD");
  const Ids duck = t.encode("鸭");
  EXPECT_EQ(t.decode({duck[0], duck[1], 262, duck[2]}, false), "\xEF\xBF\xBD<|end|>\xEF\xBF\xBD");
}

TEST(TokenizerJson, LongWordsMergeAsShortOnes) {
  const Tokenizer t = make(tiny_json());
  std::mt19937_64 random(4);
  for (int i = 0; i < 50; ++i) {
    std::string word;  // letters only: one word
    for (int n = 0; n < 300; ++n) word += "hel"[random() % 3];
    // By hand: "he", then "ll", then "he"+"ll", each from the left.
    std::string expected;
    for (size_t at = 0; at < word.size();) {
      const std::string_view rest = std::string_view(word).substr(at);
      const std::string_view piece = rest.starts_with("hell") ? "hell"
                                     : rest.starts_with("he") ? "he"
                                     : rest.starts_with("ll") ? "ll"
                                                              : rest.substr(0, 1);
      expected.append(piece) += '|';
      at += piece.size();
    }
    EXPECT_EQ(pieces(t, word), expected);
  }
}

TEST(TokenizerJson, RefusesWhatItDoesNotKnow) {
  const auto message = [](const std::function<void(Json&)>& change) -> std::string {
    Json json = tiny_json();
    change(json);
    try {
      make(json);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  const auto has = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  has(message([](Json& j) { j["model"]["type"] = "WordPiece"; }), "expected BPE");
  has(message([](Json& j) { j["normalizer"] = {{"type", "Magic"}}; }), "normalizer");
  for (const char* type : {"BertNormalizer", "Precompiled", "Nmt", "ByteLevel"})
    has(message([&](Json& j) { j["normalizer"] = {{"type", type}}; }), type);
  has(message([](Json& j) { j["pre_tokenizer"] = {{"type", "Magic"}}; }), "pre_tokenizer");
  has(message([](Json& j) { j["decoder"] = {{"type", "CTC"}}; }), "decoder");
  has(message([](Json& j) { j["model"]["merges"].push_back("a bc"); }), "not in the vocabulary");
  has(message([](Json& j) { j["model"]["merges"].push_back("abc"); }), "one space");
  has(message([](Json& j) { j["model"]["merges"].push_back(7); }), "merges[6]");
  has(message([](Json& j) { j["model"]["vocab"]["x y"] = -1; }), "not an integer");
  has(message([](Json& j) { j["model"]["vocab"]["x y"] = 1 << 30; }), "not an integer");
  has(message([](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }), "not supported");
  has(message([](Json& j) { j["added_tokens"][0]["content"] = ""; }), "content");
  has(message([](Json& j) { j["added_tokens"][1]["id"] = 262; }), "twice");
  has(message([](Json& j) {
        j["pre_tokenizer"] = {
            {"type", "Split"}, {"pattern", {{"Regex", "(unclosed"}}}, {"behavior", "Isolated"}};
      }),
      "does not compile");
  EXPECT_THROW(Tokenizer::from_json("[1]", "", "test"), Error);
  EXPECT_THROW(Tokenizer::from_json("{}", "", "test"), Error);
}

TEST(TokenizerJson, AnExpensiveExpressionEndsInAnError) {
  Json json = tiny_json();
  json["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"Regex", "(a+)+(a+)+(a+)+[bc]"}}}, {"behavior", "Isolated"}};
  const Tokenizer t = make(json);
  EXPECT_THROW(t.encode(std::string(5000, 'a')), Error);
}

TEST(TokenizerJson, SaveAndLoadGiveTheSameTokenizer) {
  const fs::path dir = fs::temp_directory_path() / fmt::format("um_json_{}", ::getpid());
  fs::create_directories(dir);
  const Tokenizer t = make(tiny_json(), R"({"eos_token": "<|end|>"})");
  t.save(dir);
  EXPECT_EQ(Tokenizer::load(dir).hash(), t.hash());
  EXPECT_EQ(Tokenizer::load(dir).eos_id(), 262);
  EXPECT_EQ(Tokenizer::load(dir / "tokenizer.json").encode("the"), t.encode("the"));
  fs::remove(dir / "tokenizer_config.json");
  write_file_atomic(dir / "config.json", R"({"eos_token_id": [262, 5], "bos_token_id": null})");
  EXPECT_EQ(Tokenizer::load(dir).eos_id(), 262);
  fs::remove_all(dir);
}

// ---- published vectors ----

std::vector<std::string> split_lines(const std::string& text, const std::string& between) {
  std::vector<std::string> out;
  for (size_t at = 0;;) {
    const size_t end = text.find(between, at);
    out.push_back(text.substr(at, end - at));
    if (end == std::string::npos) return out;
    at = end + between.size();
  }
}

class GgufVectors : public ::testing::TestWithParam<const char*> {};

/// A published vocabulary: of the shared folder, or of the llama.cpp source tree that
/// $UM_LLAMA_CPP names.
fs::path published_vocabulary(const std::string& name) {
  const std::string file = fmt::format("ggml-vocab-{}.gguf", name);
  const fs::path shared = shared_folder() / "tokenizers" / file;
  const char* tree = std::getenv("UM_LLAMA_CPP");
  return fs::exists(shared) || tree == nullptr ? shared : fs::path(tree) / "models" / file;
}

TEST_P(GgufVectors, AreMet) {
  const fs::path base = published_vocabulary(GetParam());
  if (!fs::exists(base)) GTEST_SKIP() << "no " << base << " (UM_LLAMA_CPP names its source tree)";
  const Tokenizer t = Tokenizer::load(base);
  EXPECT_TRUE(t.warnings().empty());
  const auto texts = split_lines(read_file(base.string() + ".inp"), "\n__ggml_vocab_test__\n");
  const auto lines = split_lines(read_file(base.string() + ".out"), "\n");
  ASSERT_GE(lines.size(), texts.size());
  ASSERT_GT(texts.size(), 40u);
  for (size_t i = 0; i < texts.size(); ++i) {
    Ids expected;
    std::istringstream numbers(lines[i]);
    for (int32_t id; numbers >> id;) expected.push_back(id);
    EXPECT_EQ(t.encode(texts[i]), expected) << i << ": " << texts[i];
    EXPECT_EQ(t.decode(expected), texts[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Published, GgufVectors,
                         ::testing::Values("gpt-2", "deepseek-llm", "llama-spm", "falcon", "mpt",
                                           "refact", "starcoder", "deepseek-coder", "phi-3"));

/// The published vocabulary of GPT-2 under another name of a pre-tokenizer.
std::optional<Vocabulary> gpt2_vocabulary(const char* pre) {
  const fs::path file = published_vocabulary("gpt-2");
  if (!fs::exists(file)) return {};
  Vocabulary vocabulary = read_vocabulary(Gguf(file));
  vocabulary.pre = pre;
  return vocabulary;
}

TEST(PreNames, UnknownOnesAreTheDefaultWithAWarning) {
  const auto known = gpt2_vocabulary("default");
  if (!known) GTEST_SKIP() << "no GPT-2 vocabulary";
  const Tokenizer t = make_tokenizer(*known, "m.gguf");
  EXPECT_TRUE(t.warnings().empty());
  for (const char* pre : {"", "nobody-knows"}) {
    const Tokenizer unknown = make_tokenizer(*gpt2_vocabulary(pre), "m.gguf");
    ASSERT_EQ(unknown.warnings().size(), 1u);
    EXPECT_NE(unknown.warnings()[0].find("m.gguf: tokenizer.ggml.pre"), std::string::npos);
    for (const std::string& text : random_texts(50, 4))
      EXPECT_EQ(unknown.encode(text), t.encode(text));
  }
}

// What llama.cpp takes along with a name.
TEST(PreNames, SayWholeWordsAndBos) {
  if (!gpt2_vocabulary("default")) GTEST_SKIP() << "no GPT-2 vocabulary";
  const auto make_named = [](const char* pre) {
    return make_tokenizer(*gpt2_vocabulary(pre), "named");
  };
  EXPECT_TRUE(make_named("llama3").add_bos());
  EXPECT_TRUE(make_named("tekken").add_bos());
  EXPECT_FALSE(make_named("glm4").add_bos());
  EXPECT_FALSE(make_named("qwen2").add_bos());
  Vocabulary told = *gpt2_vocabulary("tekken");
  told.add_bos = false;
  told.add_eos = true;
  EXPECT_FALSE(make_tokenizer(told, "told").add_bos());
  EXPECT_TRUE(make_tokenizer(told, "told").add_eos());
  // Only as one token, not by the merges.
  Vocabulary words = *gpt2_vocabulary("default");
  words.tokens.back() = "qqqzzz";
  words.types.back() = Vocabulary::kNormal;
  const auto last = static_cast<int32_t>(words.tokens.size()) - 1;
  for (const char* pre : {"llama-bpe", "tekken", "minicpm5", "youtu", "granite-embed-multi-97m"}) {
    words.pre = pre;
    words.bos = words.eos = -1;
    EXPECT_EQ(make_tokenizer(words, pre).encode("qqqzzz"), Ids{last}) << pre;
  }
  words.pre = "glm4";
  EXPECT_NE(make_tokenizer(words, "glm4").encode("qqqzzz"), Ids{last});
}

// ---- equality with Hugging Face's tokenizers ----

Json split_spec(const char* regex, const char* behavior, bool invert) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", regex}}},
          {"behavior", behavior},
          {"invert", invert}};
}

/// Variants of the small file, each with other parts.
std::vector<Json> variants() {
  std::vector<Json> out = {tiny_json()};
  const Json level = {{"type", "ByteLevel"},
                      {"add_prefix_space", false},
                      {"trim_offsets", true},
                      {"use_regex", false}};
  const auto with_split = [&](const Json& split) {
    Json json = tiny_json();
    json["pre_tokenizer"] = sequence_of("pretokenizers", {split, level});
    out.push_back(json);
  };
  for (const char* behavior :
       {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"}) {
    for (const bool invert : {false, true}) {
      with_split(split_spec(R"([\s\p{N}l])", behavior, invert));
    }
  }
  with_split({{"type", "Split"},
              {"pattern", {{"String", " "}}},
              {"behavior", "MergedWithNext"},
              {"invert", false}});
  with_split(split_spec(
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
      "Isolated", false));
  with_split(
      split_spec(R"([^\r\n\p{L}\p{N}]?+[\p{L}\p{M}]+|\p{Han}+|\p{N}| ?[^\s\p{L}\p{N}]++|\s+$|\s+)",
                 "Isolated", false));
  with_split(split_spec(R"(\w+|\W|\p{Hiragana}|\S)", "Removed", true));
  with_split({{"type", "Digits"}, {"individual_digits", true}});
  with_split({{"type", "Digits"}, {"individual_digits", false}});
  with_split({{"type", "Punctuation"}, {"behavior", "Isolated"}});
  with_split({{"type", "Whitespace"}});
  with_split({{"type", "WhitespaceSplit"}});
  Json json = tiny_json();
  json["pre_tokenizer"]["add_prefix_space"] = true;
  json["normalizer"] = {{"type", "NFC"}};
  out.push_back(json);
  json["model"]["ignore_merges"] = true;
  json["model"]["vocab"]["hello"] = 262;
  json["model"]["vocab"]["ĠĠ"] = 263;
  json["added_tokens"][0]["id"] = 264;
  json["added_tokens"][1]["id"] = 265;
  json["normalizer"] = {{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}};
  out.push_back(json);
  json["normalizer"] = sequence_of(
      "normalizers",
      {{{"type", "NFD"}}, {{"type", "StripAccents"}}, {{"type", "Strip"}, {"strip_left", false}}});
  json["normalizer"]["normalizers"][2]["strip_right"] = true;
  out.push_back(json);
  json["normalizer"] = {{"type", "NFKD"}};
  out.push_back(json);
  json["normalizer"] = sequence_of(
      "normalizers", {{{"type", "NFKC"}},
                      {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", "  "}},
                      {{"type", "Replace"}, {"pattern", {{"String", "hello"}}}, {"content", "the"}},
                      {{"type", "Lowercase"}}});
  out.push_back(json);
  json = tiny_json();
  Json vocab = Json::object();  // bytes that are missing vanish
  for (const auto& [piece, id] : json["model"]["vocab"].items()) {
    vocab[piece == "Ċ" || piece == "a" ? "gone " + piece : piece] = id;
  }
  json["model"]["vocab"] = vocab;
  out.push_back(json);
  json = tiny_json();
  json["normalizer"] = {{"type", "NFC"}};
  const auto add = [&](int id, const char* text, const char* flag, bool special, bool normalized) {
    Json token = {
        {"id", id},        {"content", text},      {"special", special},      {"lstrip", false},
        {"rstrip", false}, {"single_word", false}, {"normalized", normalized}};
    token[flag] = true;
    json["added_tokens"].push_back(token);
  };
  add(264, "<mask>", "lstrip", true, false);
  add(265, "[word]", "single_word", true, false);
  add(266, "</think>", "rstrip", false, false);
  add(267, "e\u0301", "normalized", false, true);
  out.push_back(json);
  return out;
}

TEST(TokenizersPeer, AgreesOnEveryPart) {
  std::vector<Job> jobs;
  for (const Json& json : variants()) {
    jobs.push_back({make(json), random_texts(150, jobs.size())});
    jobs.back().texts.push_back("he\u0301 l\u093el\u20dd");     // marks of all three categories
    jobs.back().texts.push_back("a½ ②b ⅫⒶ\u200dx ²h_e\u203f");  // numbers, and what is a word
  }
  expect_peer_agrees(jobs, false);
}

/// What stands around texts: tokens of no role, several, of several ids, of several steps.
TEST(TokenizersPeer, AgreesOnWhatStandsAroundTexts) {
  const auto token = [](const char* name) {
    return Json{{"SpecialToken", {{"id", name}, {"type_id", 0}}}};
  };
  const Json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json other = {{"Sequence", {{"id", "B"}, {"type_id", 0}}}};
  const auto frame = [&](const Json& single) {
    const auto entry = [](const char* name, const Json& ids) {
      return Json{
          {"id", name}, {"ids", ids}, {"tokens", std::vector<std::string>(ids.size(), name)}};
    };
    return Json{{"type", "TemplateProcessing"},
                {"single", single},
                {"pair", {text, other}},
                {"special_tokens",
                 {{"<|end|>", entry("<|end|>", {262})},
                  {"<think>", entry("<think>", {263})},
                  {"two", entry("two", {5, 263})}}}};
  };
  const Json end = token("<|end|>"), think = token("<think>"), two = token("two");
  const Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", false}};
  const Json bert = {
      {"type", "BertProcessing"}, {"sep", {"<think>", 263}}, {"cls", {"<|end|>", 262}}};
  const Json roberta = {{"type", "RobertaProcessing"},
                        {"sep", {"<|end|>", 262}},
                        {"cls", {"<think>", 263}},
                        {"trim_offsets", true},
                        {"add_prefix_space", false}};
  std::vector<Job> jobs;
  for (const Json& processor :
       {frame(Json::array({text})), frame({end, text}), frame({text, end}),
        frame({end, think, text, two}), frame({two, text, think, end}), bert, roberta, bytes,
        sequence_of("processors", {bytes, frame({end, text, think}), bytes}),
        sequence_of("processors", {bytes, sequence_of("processors", Json::array({bert}))})}) {
    Json json = tiny_json();
    json["post_processor"] = processor;
    for (const char* config : {"", R"({"bos_token": "<think>", "eos_token": "<|end|>"})"})
      jobs.push_back({make(json, config), {"hello the", "", "<think>"}, true});
  }
  expect_peer_agrees(jobs, false);
}

/// Without a decoder, tokens have a space between, in whole texts and in streams.
TEST(TokenizersPeer, AgreesWithoutADecoder) {
  std::vector<Job> jobs;
  for (Json json : {tiny_json(), llama_json(false), llama_json(true)}) {
    json["decoder"] = nullptr;
    jobs.push_back({make(json), random_texts(60, 9)});
    jobs.back().texts.insert(jobs.back().texts.end(), {"<s>the<s> hell", "a<|end|>b <think>c", ""});
    json.erase("decoder");
    jobs.push_back({make(json), random_texts(20, 10)});
  }
  expect_peer_agrees(jobs, true);
}

TEST(TokenizerJson, StreamsWithoutADecoder) {
  Json json = tiny_json();
  json["decoder"] = nullptr;
  const Tokenizer t = make(json);
  const Ids ids = t.encode("hello<|end|> the", {.parse_special = true});
  EXPECT_EQ(t.decode(ids), "hell o Ġthe");
  EXPECT_EQ(t.decode(ids, false), "hell o <|end|> Ġthe");
  Detokenizer stream(t);
  stream.prime({ids[0]});  // what goes on keeps its space
  EXPECT_EQ(stream.push(ids[1]) + stream.push(ids[3]) + stream.finish(), " o Ġthe");
}

TEST(TokenizerJson, NamesTheFieldOfATokenWithTwoIds) {
  Json json = tiny_json();
  Json again = json["added_tokens"][0];
  again["id"] = 2000;
  json["added_tokens"].push_back(again);
  try {
    make(json);
    ADD_FAILURE();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("(tokenizer.json): added_tokens: \"<|end|>\" has two ids"),
              std::string::npos)
        << message;
  }
}

std::string random_class(std::mt19937& random, int depth) {
  static const std::vector<std::string> kMembers = {
      "a-c", "z", R"(\d)", R"(\s)",      R"(\w)",     R"(\W)",     R"(\S)",     R"(\p{L})", "A-Z",
      "0-9", "é", R"(\-)", R"(\p{Han})", "[:punct:]", "[:alpha:]", R"(\P{Lu})", " ",        "."};
  const auto below = [&](size_t n) { return random() % n; };
  std::string out = below(3) == 0 ? "[^" : "[";
  for (size_t operands = 1 + below(3); operands > 0; --operands) {
    for (size_t members = 1 + below(3); members > 0; --members)
      out += depth < 3 && below(3) == 0 ? random_class(random, depth + 1)
                                        : kMembers[below(kMembers.size())];
    if (operands > 1) out += "&&";
  }
  return out + "]";
}

TEST(TokenizersPeer, AgreesOnEmptyMatchesSlow) {
  std::vector<Job> jobs;
  const auto add = [&](const Json& json) { jobs.push_back({make(json), random_texts(60, 7)}); };
  for (const char* pattern : {"a*", "", "x?", "(?=e)", R"(\b)", "h*?", "^", "$", R"((?<=\s))", " *",
                              R"(\s*\p{L}*)", "e|"}) {
    for (const char* behavior :
         {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"}) {
      for (const bool invert : {false, true}) {
        Json json = tiny_json();
        json["pre_tokenizer"] = sequence_of(
            "pretokenizers", {split_spec(pattern, behavior, invert), json["pre_tokenizer"]});
        json["pre_tokenizer"]["pretokenizers"][1]["use_regex"] = false;
        add(json);
      }
    }
  }
  Json json = tiny_json();
  const Json literal = {{"type", "Split"},
                        {"pattern", {{"String", ""}}},
                        {"behavior", "Isolated"},
                        {"invert", false}};
  json["pre_tokenizer"] = sequence_of("pretokenizers", {literal, json["pre_tokenizer"]});
  add(json);
  expect_peer_agrees(jobs, false);
}

Json repeated(const char* list, const Json& step, int times) {
  Json steps = Json::array();
  for (int i = 0; i < times; ++i) steps.push_back(step);
  return {{"type", "Sequence"}, {list, steps}};
}

TEST(TokenizerJson, StepsTogetherMakeNoTextLong) {
  const Json twice = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  const Json marks = {{"type", "Metaspace"}, {"replacement", "    "}, {"split", false}};
  const auto error_of = [](const auto& work) -> std::string {
    try {
      work();
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  };
  Json json = tiny_json();
  json["normalizer"] = repeated("normalizers", twice, 4);
  EXPECT_EQ(make(json).encode("a").size(), 16u);
  json["normalizer"] = repeated("normalizers", twice, 22);
  EXPECT_NE(error_of([&] { make(json).encode("aaaa"); }).find("normalizer: "), std::string::npos);
  json = tiny_json();
  json["pre_tokenizer"] = repeated("pretokenizers", marks, 11);
  json["pre_tokenizer"]["pretokenizers"].push_back(tiny_json()["pre_tokenizer"]);
  EXPECT_NE(error_of([&] { make(json).encode("a b"); }).find("pre_tokenizer: "), std::string::npos);
  json = tiny_json();
  json["decoder"] = repeated("decoders", twice, 22);
  EXPECT_NE(error_of([&] { make(json); }).find("decoder: "), std::string::npos);
}

TEST(TokenizerJson, AnIdHasOnePiece) {
  Json json = tiny_json();
  json["model"]["vocab"]["Ā"] = json["model"]["vocab"]["a"];
  try {
    make(json);
    FAIL() << "it was read";
  } catch (const Error& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("\"a\""), std::string::npos) << what;
    EXPECT_NE(what.find("\"\\u0100\""), std::string::npos) << what;
  }
}

TEST(TokenizersPeer, AgreesOnClassesInClasses) {
  std::mt19937 random(5);
  std::vector<Job> jobs;
  for (int i = 0; i < 100; ++i) {
    Json json = tiny_json();
    const Json split = {{"type", "Split"},
                        {"pattern", {{"Regex", random_class(random, 0) + "+"}}},
                        {"behavior", "Isolated"},
                        {"invert", false}};
    const Json bytes = {{"type", "ByteLevel"},
                        {"add_prefix_space", false},
                        {"trim_offsets", true},
                        {"use_regex", false}};
    json["pre_tokenizer"] = sequence_of("pretokenizers", {split, bytes});
    jobs.push_back({make(json), random_texts(20, jobs.size())});
  }
  expect_peer_agrees(jobs, false);
}

TEST(TokenizersPeer, AgreesOnCharactersWithByteFallback) {
  expect_peer_agrees({{make(llama_json(false)), random_texts(300, 77)},
                      {make(llama_json(true)), random_texts(300, 78)}},
                     false);
}

TEST(TokenizersPeer, AgreesOnRealVocabularies) {
  std::vector<Job> jobs;
  for (const char* name : {"gpt-2", "deepseek-llm"}) {
    const fs::path file = shared_folder() / "tokenizers" / fmt::format("ggml-vocab-{}.gguf", name);
    if (!fs::exists(file)) GTEST_SKIP() << "no " << file;
    jobs.push_back({Tokenizer::load(file), random_texts(300, jobs.size())});
  }
  const fs::path minimind = shared_folder() / "tokenizers" / "minimind.tokenizer.json";
  jobs.push_back({Tokenizer::load(minimind), random_texts(300, 5)});
  expect_peer_agrees(jobs, false);
}

// The same vocabulary under each named pre-tokenizer.
TEST(TokenizersPeer, AgreesOnEveryNamedPreTokenizer) {
  std::vector<Job> jobs;
  for (const char* pre :
       {"default",    "llama-bpe",    "glm4",       "qwen2",          "qwen35",        "smollm",
        "starcoder",  "falcon",       "gpt-4o",     "tekken",         "kimi-k2",       "youtu",
        "seed-coder", "bailingmoe",   "exaone-moe", "jais-2",         "laguna",        "minicpm5",
        "chameleon",  "bloom",        "viking",     "deepseek-v3",    "gpt-2",         "hunyuan",
        "llama4",     "deepseek-llm", "command-r",  "deepseek-coder", "hunyuan-dense", "tiny_aya",
        "cohere2moe", "superbpe",     "afmoe"}) {
    const auto vocabulary = gpt2_vocabulary(pre);
    if (!vocabulary) GTEST_SKIP() << "no GPT-2 vocabulary";
    jobs.push_back({make_tokenizer(*vocabulary, pre), random_texts(100, jobs.size())});
    EXPECT_TRUE(jobs.back().tokenizer.warnings().empty()) << pre;
  }
  expect_peer_agrees(jobs, false);
}

/// A vocabulary whose pieces are texts, as a GGUF file has it.
Vocabulary raw_vocabulary(const char* model, const char* pre) {
  Vocabulary v;
  v.model = model, v.pre = pre;
  for (int byte = 0; byte < 256; ++byte) v.tokens.push_back(fmt::format("<0x{:02X}>", byte));
  v.types.assign(v.tokens.size(), Vocabulary::kByte);
  v.tokens.insert(v.tokens.end(), {"▁", "t", "h", "e", "l", "o", "鸭", "é", "\n"});
  v.merges = {"▁ t", "h e", "▁t he", "▁ ▁", "l l", "\n \n"};
  v.tokens.insert(v.tokens.end(), {"▁t", "he", "▁the", "▁▁", "ll", "\n\n"});
  v.types.resize(v.tokens.size(), Vocabulary::kNormal);
  return v;
}

TEST(PreNames, WhosePiecesAreTexts) {
  std::vector<Job> jobs;
  for (const auto& [model, pre] :
       {std::pair("gemma4", "default"), std::pair("gpt2", "gemma4"),
        std::pair("gpt2", "granite-embed-multi-311m"), std::pair("gpt2", "sarvam-moe")}) {
    const Tokenizer t = make_tokenizer(raw_vocabulary(model, pre), pre);
    EXPECT_TRUE(t.warnings().empty()) << pre;
    const std::string text = " the  hello\n\nthe 鸭é☃";
    std::vector<std::string> pieces;
    for (const int32_t id : t.encode(text)) pieces.emplace_back(t.piece(id));
    EXPECT_EQ(pieces, (std::vector<std::string>{"▁the", "▁▁", "he", "ll", "o", "\n\n", "t", "he",
                                                "▁", "鸭", "é", "<0xE2>", "<0x98>", "<0x83>"}))
        << pre;
    EXPECT_EQ(t.decode(t.encode(text)), text) << pre;
    jobs.push_back({t, random_texts(60, jobs.size())});
  }
  const Tokenizer words = make_tokenizer(raw_vocabulary("whitespace", "whitespace"), "words");
  EXPECT_EQ(words.decode(words.encode("the 鸭")), "the 鸭") << "a space is a byte here";
  jobs.push_back({words, random_texts(60, 9)});
  expect_peer_agrees(jobs, false);
}

TEST(MiniMind, RoundTrips) {
  const fs::path file = shared_folder() / "tokenizers" / "minimind.tokenizer.json";
  if (!fs::exists(file)) GTEST_SKIP() << "no " << file;
  const Tokenizer t = Tokenizer::load(file);
  EXPECT_EQ(t.vocab_size(), 6400);
  std::mt19937_64 random(8);
  for (const std::string& text : random_texts(300, 9)) EXPECT_EQ(t.decode(t.encode(text)), text);
  for (int i = 0; i < 300; ++i) {
    std::string bytes;
    for (size_t n = random() % 40; n > 0; --n) bytes += static_cast<char>(random());
    EXPECT_EQ(t.decode(t.encode(bytes)), repair_utf8(bytes));
  }
}

}  // namespace
}  // namespace um
