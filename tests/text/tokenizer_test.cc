// Tokenizer: round trips, special tokens, invalid UTF-8, streams, files and training.
#include "text/tokenizer.h"

#include <gtest/gtest.h>
#include <sentencepiece_trainer.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "core/error.h"
#include "core/files.h"
#include "tests/text/tiny_tokenizer_util.h"
#include "text/utf8.h"

namespace um {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

fs::path shared_dir() {
  const char* env = std::getenv("UM_SHARED");
  return env != nullptr ? fs::path(env) : fs::path(UM_SOURCE_DIR) / ".." / "shared";
}

std::string random_bytes(std::mt19937_64& random, size_t size) {
  std::string text;
  for (size_t i = 0; i < size; ++i) text += static_cast<char>(random());
  return text;
}

const std::vector<std::string> kTexts = {
    "",
    " ",
    "  two  spaces  ",
    "the river runs",
    " leading",
    "trailing ",
    "line one\nline two\r\n\n\ttabbed",
    "门前大桥下，游过一群鸭。",
    "emoji 🦆🦆 and \xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7",
    "numbers 1234567890 and x=3.14;",
    std::string("nul\0byte", 8),
    "e\xCC\x81 combining and \xEF\xAC\x81 ligature",
    "not special: [unused9] <s> </s> <unk> [unused10",
};

TEST(Tokenizer, RoundTripsExactly) {
  for (const std::string& text : kTexts) {
    const Ids ids = tiny_tokenizer().encode(text);
    EXPECT_EQ(tiny_tokenizer().decode(ids), text);
    for (const int32_t id : ids) EXPECT_FALSE(tiny_tokenizer().is_special(id)) << text;
  }
}

TEST(Tokenizer, KnowsItsRoles) {
  const Tokenizer& t = tiny_tokenizer();
  EXPECT_EQ(t.vocab_size(), 400);
  EXPECT_EQ(t.unk_id(), 0);
  EXPECT_EQ(t.bos_id(), 1);
  EXPECT_EQ(t.pad_id(), -1);  // no file names one
  EXPECT_EQ(t.id("[unused9]"), 3);
  EXPECT_EQ(t.id("[unused17]"), 8);
  EXPECT_EQ(t.eos_id(), 4);  // [unused10]
  EXPECT_EQ(t.piece(4), "[unused10]");
  EXPECT_TRUE(t.has_byte_fallback());
  EXPECT_TRUE(t.add_bos());
  EXPECT_FALSE(t.id("[unused33]").has_value());
  EXPECT_THROW(t.piece(400), Error);
  EXPECT_THROW(t.piece(-1), Error);
  EXPECT_EQ(t.bytes(*t.id("<0x0A>")), "\n");
}

TEST(Tokenizer, CutsSpecialTokensOut) {
  const Tokenizer& t = tiny_tokenizer();
  const Ids river = t.encode("the river"), geese = t.encode("geese");
  Ids expected = {3};
  expected.insert(expected.end(), river.begin(), river.end());
  expected.push_back(4);
  expected.push_back(3);
  expected.insert(expected.end(), geese.begin(), geese.end());
  const std::string text = "[unused9]the river[unused10][unused9]geese";
  EXPECT_EQ(t.encode(text, {.parse_special = true}), expected);
  EXPECT_EQ(t.decode(expected), "the rivergeese");
  EXPECT_EQ(t.decode(expected, false), text);
  expected.insert(expected.begin(), 1);
  expected.push_back(4);
  EXPECT_EQ(t.encode(text, {.add_bos = true, .add_eos = true, .parse_special = true}), expected);
}

TEST(Tokenizer, NeverMakesSpecialIdsFromLiteralText) {
  const Tokenizer& t = tiny_tokenizer();
  for (const SpecialToken& token : t.special_tokens()) {
    for (const int32_t id : t.encode("a" + token.text + "b")) EXPECT_FALSE(t.is_special(id));
  }
}

// Pieces which SentencePiece itself matches in any text: they must not come out of users' texts.
TEST(Tokenizer, KeepsUserDefinedPiecesOutOfLiteralText) {
  const fs::path corpus = fs::temp_directory_path() / fmt::format("um_tok_user_{}", ::getpid());
  std::string text, model;
  for (const std::string& line : tiny_corpus(300)) text += line + "\n";
  write_file_atomic(corpus, text);
  const auto status =
      sentencepiece::SentencePieceTrainer::Train({{"input", corpus.string()},
                                                  {"vocab_size", "360"},
                                                  {"model_type", "bpe"},
                                                  {"byte_fallback", "true"},
                                                  {"normalization_rule_name", "identity"},
                                                  {"user_defined_symbols", "[unused9],[unused10]"},
                                                  {"minloglevel", "2"}},
                                                 nullptr, &model);
  fs::remove(corpus);
  ASSERT_TRUE(status.ok()) << status.ToString();
  const Tokenizer t = Tokenizer::parse(model, "", "user defined");
  ASSERT_EQ(t.eos_id(), *t.id("[unused10]"));
  for (const int32_t id : t.encode("the river[unused10] runs")) EXPECT_FALSE(t.is_special(id));
  EXPECT_EQ(t.decode(t.encode("river[unused10]")), "river[unused10]");
  const Ids parsed = t.encode("river[unused10]", {.parse_special = true});
  EXPECT_EQ(parsed.back(), t.eos_id());
}

TEST(Tokenizer, ReadsAndWritesInvalidUtf8AsReplacement) {
  const Tokenizer& t = tiny_tokenizer();
  EXPECT_EQ(t.decode(t.encode("a\xFF z\xC3")), "a\xEF\xBF\xBD z\xEF\xBF\xBD");
  EXPECT_EQ(t.decode(t.encode("\xED\xA0\x80")), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  const Ids half = {*t.id("<0xE9>"), *t.id("<0x97>")};
  EXPECT_EQ(t.decode(half), "\xEF\xBF\xBD");
  EXPECT_EQ(t.decode({*t.id("<0xE9>"), 3, *t.id("<0x97>")}, false),
            "\xEF\xBF\xBD[unused9]\xEF\xBF\xBD");
  std::mt19937_64 random(3);
  for (int i = 0; i < 300; ++i) {
    const std::string bytes = random_bytes(random, random() % 40);
    EXPECT_EQ(t.decode(t.encode(bytes)), repair_utf8(bytes));
  }
}

TEST(Tokenizer, IdsOutsideTheVocabularyAreSilent) {
  EXPECT_EQ(tiny_tokenizer().decode({-5, 400, 1 << 30}), "");
}

TEST(Tokenizer, LongTextsAreCutWithoutChangingTheIds) {
  std::mt19937_64 random(11);
  std::vector<std::string> lines = tiny_corpus(600);
  for (std::string& line : lines) {
    std::string spaced;
    for (const char c : line) spaced.append(c == ' ' ? 1 + random() % 5 : 1, c);
    line = spaced;
  }
  TrainTokenizerOptions options;
  options.vocab_size = 400;
  const Tokenizer t = train_tokenizer(options, texts_source(lines));
  ASSERT_TRUE(t.id("\xE2\x96\x81\xE2\x96\x81"));  // two spaces are one piece
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  ASSERT_GT(text.size(), 20000u);
  const std::string model = [&] {
    const fs::path dir = fs::temp_directory_path() / fmt::format("um_tok_cut_{}", ::getpid());
    fs::create_directories(dir);
    t.save(dir);
    std::string bytes = read_file(dir / "tokenizer.model");
    fs::remove_all(dir);
    return bytes;
  }();
  sentencepiece::SentencePieceProcessor whole;
  ASSERT_TRUE(whole.LoadFromSerializedProto(model).ok());
  for (size_t skip = 0; skip < 40; ++skip) {  // the cuts fall on other characters each time
    const std::string_view rest = std::string_view(text).substr(skip, 10000);
    const std::string valid = repair_utf8(rest);
    Ids expected;
    ASSERT_TRUE(whole.Encode(valid, &expected).ok());
    EXPECT_EQ(t.encode(valid), expected) << skip;
  }
}

TEST(Detokenizer, StreamsOnlyCompleteCharacters) {
  const Tokenizer& t = tiny_tokenizer();
  const std::string text = "鸭🦆 naïve\n[unused16]思考[unused17]答";
  const Ids ids = t.encode(text, {.parse_special = true});
  Detokenizer stream(t, false);
  std::string all;
  for (const int32_t id : ids) {
    const std::string part = stream.push(id);
    EXPECT_TRUE(is_utf8(part));
    all += part;
  }
  EXPECT_EQ(all + stream.finish(), text);
}

TEST(Detokenizer, EqualsDecodeForAnyIds) {
  const Tokenizer& t = tiny_tokenizer();
  std::mt19937_64 random(5);
  for (int i = 0; i < 200; ++i) {
    Ids ids;
    for (size_t n = random() % 30; n > 0; --n) ids.push_back(static_cast<int32_t>(random() % 402));
    for (const bool skip : {false, true}) {
      Detokenizer stream(t, skip);
      std::string text;
      for (const int32_t id : ids) text += stream.push(id);
      text += stream.finish();
      EXPECT_EQ(text, t.decode(ids, skip));
      EXPECT_TRUE(is_utf8(text));
    }
  }
}

TEST(Detokenizer, ContinuesAPromptWithItsSpace) {
  const Tokenizer& t = tiny_tokenizer();
  const Ids river = t.encode("river");  // ▁river
  Detokenizer fresh(t);
  EXPECT_EQ(fresh.push(river[0]).front(), 'r');
  Detokenizer going_on(t);
  going_on.prime(t.encode("the", {.add_bos = true}));
  EXPECT_EQ(going_on.push(river[0]).front(), ' ');
}

class TokenizerFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() / fmt::format("um_tokenizer_{}", ::getpid());
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }
  fs::path dir_;
};

TEST_F(TokenizerFiles, SaveAndLoadGiveTheSameTokenizer) {
  const Tokenizer& t = tiny_tokenizer();
  t.save(dir_);
  const Tokenizer loaded = Tokenizer::load(dir_);
  EXPECT_EQ(loaded.hash(), t.hash());
  EXPECT_EQ(loaded.eos_id(), t.eos_id());
  EXPECT_EQ(loaded.special_tokens().size(), t.special_tokens().size());
  const std::string text = "[unused9]the river[unused10]";
  EXPECT_EQ(loaded.encode(text, {.parse_special = true}), t.encode(text, {.parse_special = true}));
  EXPECT_EQ(Tokenizer::load(dir_ / "tokenizer.model").hash(), t.hash());
  const auto config = nlohmann::json::parse(read_file(dir_ / "tokenizer_config.json"));
  EXPECT_EQ(config["eos_token"], "[unused10]");
  EXPECT_EQ(config["added_tokens_decoder"]["3"]["content"], "[unused9]");
  EXPECT_EQ(config["legacy"], true);
  EXPECT_TRUE(config["chat_template"].is_string());
}

TEST_F(TokenizerFiles, ReadsAddedTokensFromTheConfig) {
  tiny_tokenizer().save(dir_);
  auto config = nlohmann::json::parse(read_file(dir_ / "tokenizer_config.json"));
  config["added_tokens_decoder"]["399"] = {{"content", "<|im_end|>"}, {"rstrip", true}};
  config["added_tokens_decoder"]["410"] = {{"content", "<think>"}, {"special", false}};
  config["eos_token"] = {{"content", "<|im_end|>"}};
  write_file_atomic(dir_ / "tokenizer_config.json", config.dump());
  const Tokenizer t = Tokenizer::load(dir_);
  EXPECT_EQ(t.vocab_size(), 411);
  EXPECT_EQ(t.eos_id(), 399);
  const Ids ids = t.encode("a<|im_end|> \nb<think>c", {.parse_special = true});
  Ids expected = t.encode("a");
  expected.push_back(399);
  for (const int32_t id : t.encode("b")) expected.push_back(id);
  expected.push_back(410);
  for (const int32_t id : t.encode("c")) expected.push_back(id);
  EXPECT_EQ(ids, expected);
  EXPECT_EQ(t.decode(ids), "ab<think>c");
  EXPECT_NE(t.hash(), tiny_tokenizer().hash());
}

TEST_F(TokenizerFiles, RefusesDamagedFilesWithTheirName) {
  const auto message = [&](const auto& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  const auto load = [&] { Tokenizer::load(dir_); };
  EXPECT_NE(message(load).find("no tokenizer.model"), std::string::npos);
  tiny_tokenizer().save(dir_);
  const std::string model = read_file(dir_ / "tokenizer.model");
  for (const std::string& bad : {std::string(), std::string("hello"), model.substr(0, 100)}) {
    write_file_atomic(dir_ / "tokenizer.model", bad);
    EXPECT_NE(message(load).find(dir_.string()), std::string::npos) << bad.size();
  }
  write_file_atomic(dir_ / "tokenizer.model", model);
  for (const char* bad :
       {"[", "[]", R"({"added_tokens_decoder": 3})", R"({"added_tokens_decoder": {"x": {}}})",
        R"({"added_tokens_decoder": {"3": {"content": ""}}})",
        R"({"added_tokens_decoder": {"99999999": {"content": "<far>"}}})",
        R"({"added_tokens_decoder": {"3": {"content": "a"}, "4": {"content": "a"}}})",
        R"({"eos_token": 4})"}) {
    write_file_atomic(dir_ / "tokenizer_config.json", bad);
    EXPECT_NE(message(load).find("tokenizer_config.json"), std::string::npos) << bad;
  }
}

TEST(TrainTokenizer, IsDeterministicAndRefusesNonsense) {
  TrainTokenizerOptions options;
  options.vocab_size = 350;
  const auto train = [&](size_t texts) {
    return train_tokenizer(options, texts_source(tiny_corpus(texts)));
  };
  EXPECT_EQ(train(200).hash(), train(200).hash());
  options.max_lines = 150;
  EXPECT_EQ(train(200).hash(), train(200).hash());
  EXPECT_THROW(train(0), Error);
  options.vocab_size = 200;  // less than the bytes
  EXPECT_THROW(train(200), Error);
  options.vocab_size = 1 << 23;
  EXPECT_THROW(train(200), Error);
  options.vocab_size = 350;
  options.model_type = "magic";
  EXPECT_THROW(train(200), Error);
  options = {};
  options.vocab_size = 350;
  const std::string hostile = std::string(10000, 'a') + "\xFF\t\0 b\n" + std::string(9000, '\n');
  EXPECT_NO_THROW(train_tokenizer(options, [&, n = 0](std::string& text) mutable {
    text = hostile + tiny_corpus(300)[static_cast<size_t>(n)];
    return ++n < 300;
  }));
}

/// SentencePiece itself stops: "Vocabulary size too high".
TEST(TrainTokenizer, TakesThePiecesThatTheTextHas) {
  for (const char* type : {"bpe", "unigram"}) {
    TrainTokenizerOptions options;
    options.model_type = type;
    options.vocab_size = 100000;
    const Tokenizer most = train_tokenizer(options, texts_source(tiny_corpus(200)));
    EXPECT_GT(most.vocab_size(), 265) << type;
    EXPECT_LT(most.vocab_size(), 5000) << type;
    EXPECT_EQ(most.decode(most.encode(tiny_corpus(200)[7])), tiny_corpus(200)[7]) << type;
    const Tokenizer few = train_tokenizer(options, texts_source({"a a a a"}));
    EXPECT_EQ(few.decode(few.encode("a b")), "a b") << type;
  }
}

TEST(TrainTokenizer, SaysInPlainWordsWhyItStops) {
  TrainTokenizerOptions options;
  options.vocab_size = 300;
  options.character_coverage = 1;
  std::string text;
  for (int i = 0; i < 500; ++i)
    text += fmt::format("{}", static_cast<char>(0xE4)) + static_cast<char>(0x80 + i / 64) +
            static_cast<char>(0x80 + i % 64);
  try {
    train_tokenizer(options, texts_source({text}));
    FAIL() << "no error";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_TRUE(message.starts_with("tokenizer train: ")) << message;
    EXPECT_EQ(message.find(".cc"), std::string::npos) << message;
  }
}

TEST(SharedModel, MatchesSentencePieceItself) {
  const fs::path path = shared_dir() / "tokenizers" / "sp_test.model";
  if (!fs::exists(path)) GTEST_SKIP() << "no " << path;
  const Tokenizer t = Tokenizer::load(path);
  sentencepiece::SentencePieceProcessor peer;
  ASSERT_TRUE(peer.Load(path.string()).ok());
  for (const std::string& text : kTexts) {
    Ids expected;
    ASSERT_TRUE(peer.Encode(text, &expected).ok());
    EXPECT_EQ(t.encode(text), expected) << text;
    std::string back;
    ASSERT_TRUE(peer.Decode(expected, &back).ok());
    Ids known;
    for (const int32_t id : expected) {
      if (id != t.unk_id()) known.push_back(id);
    }
    ASSERT_TRUE(peer.Decode(known, &back).ok());
    EXPECT_EQ(t.decode(known), back) << text;
  }
}

TEST(Detokenizer, MatchesSentencePieceOnValidText) {
  const Tokenizer& t = tiny_tokenizer();
  const fs::path dir = fs::temp_directory_path() / fmt::format("um_tok_peer_{}", ::getpid());
  fs::create_directories(dir);
  t.save(dir);
  sentencepiece::SentencePieceProcessor peer;
  ASSERT_TRUE(peer.Load((dir / "tokenizer.model").string()).ok());
  fs::remove_all(dir);
  std::mt19937_64 random(9);
  for (int i = 0; i < 200; ++i) {
    Ids ids;
    for (size_t n = random() % 20; n > 0; --n) {
      ids.push_back(265 + static_cast<int32_t>(random() % 135));
    }
    std::string expected;
    ASSERT_TRUE(peer.Decode(ids, &expected).ok());
    EXPECT_EQ(t.decode(ids), expected);
  }
}

}  // namespace
}  // namespace um
