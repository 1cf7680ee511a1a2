// Tokenizer::hash: the same for tokenizers that give the same ids, whatever their files look like.
#include "text/tokenizer_hash.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/gguf.h"
#include "core/gguf_write.h"
#include "core/json.h"
#include "tests/text/byte_tokenizer_util.h"
#include "tests/text/tiny_tokenizer_util.h"
#include "text/tokenizer_impl.h"
#include "text/vocabulary_export.h"

namespace um {
namespace {

namespace fs = std::filesystem;

Tokenizer trained(int threads) {
  return train_tokenizer({.vocab_size = 340, .threads = threads}, texts_source(tiny_corpus(300)));
}

/// The tokenizer as a GGUF file has it, with or without its tokenizer.json.
Tokenizer through_gguf(const Tokenizer& tokenizer, int64_t rows, bool with_json = true) {
  const fs::path file = fs::path(testing::TempDir()) / fmt::format("hash_{}.gguf", ::getpid());
  Vocabulary v = vocabulary_of(tokenizer, rows);
  if (!with_json) v.json.clear();
  write_gguf(file, vocabulary_entries(v), {}, [](const GgufTensorSpec&, const GgufSink&) {});
  Tokenizer back = Tokenizer::load(file);
  fs::remove(file);
  return back;
}

TEST(TokenizerHash, DoesNotDependOnThreads) {
  const Tokenizer one = trained(1), two = trained(2);
  EXPECT_NE(one.impl().model, two.impl().model);  // they are noted in the file
  EXPECT_EQ(one.hash(), two.hash());
  EXPECT_NE(file_hash(one), file_hash(two));
}

TEST(TokenizerHash, SurvivesGguf) {
  const Tokenizer& pieces = tiny_tokenizer();
  EXPECT_EQ(through_gguf(pieces, 512).hash(), pieces.hash());
  const Tokenizer bytes = byte_tokenizer({"<s>", "<tool>"});
  EXPECT_EQ(through_gguf(bytes, 300).hash(), bytes.hash());
}

TEST(TokenizerHash, DoesNotDependOnTheLayoutOfJson) {
  const std::string text = byte_tokenizer_json({"<s>"});
  const Json json = parse_json(text, "t");
  const auto hash = [](const std::string& model, const std::string& config = "{}") {
    return Tokenizer::from_json(model, config, "t").hash();
  };
  EXPECT_EQ(hash(text), hash(json.dump(4)));
  // Which token begins and ends texts is not how texts are cut.
  EXPECT_EQ(hash(text), hash(text, R"({"eos_token": "<s>", "chat_template": "x"})"));
}

TEST(TokenizerHash, SeesEveryPart) {
  const Json plain = parse_json(byte_tokenizer_json({"<s>", "<t>"}), "t");
  const auto changed = [&](auto change) {
    Json json = plain;
    change(json);
    return Tokenizer::from_json(json.dump(), "{}", "t").hash();
  };
  std::set<std::string> hashes = {changed([](Json&) {})};
  hashes.insert(changed([](Json& j) { j["normalizer"] = {{"type", "NFC"}}; }));
  hashes.insert(changed([](Json& j) { j["pre_tokenizer"]["add_prefix_space"] = true; }));
  hashes.insert(changed([](Json& j) { j["model"]["ignore_merges"] = true; }));
  hashes.insert(changed([](Json& j) { j["added_tokens"][0]["lstrip"] = true; }));
  hashes.insert(changed([](Json& j) { j["added_tokens"][0]["content"] = "<u>"; }));
  hashes.insert(changed([](Json& j) { j["added_tokens"][1]["id"] = 300; }));
  const auto merged = [](Json& j) { j["model"]["vocab"]["ab"] = 400; };
  hashes.insert(changed(merged));
  hashes.insert(changed([&](Json& j) { merged(j), j["model"]["merges"] = {"a b"}; }));
  EXPECT_EQ(hashes.size(), 9u);
  EXPECT_EQ(changed([&](Json& j) { merged(j), j["model"]["merges"] = {"a b"}; }),
            changed([&](Json& j) {
              merged(j), j["model"]["merges"] = Json::array({Json::array({"a", "b"})});
            }));
}

/// A SentencePiece model with another score, kind of piece or normaliser is another one.
TEST(TokenizerHash, SeesScoresAndNormalisers) {
  Vocabulary v = vocabulary_of(tiny_tokenizer(), 400);
  std::set<std::string> hashes = {make_tokenizer(v, "t").hash()};
  Vocabulary other = v;
  other.scores[350] -= 1;
  hashes.insert(make_tokenizer(other, "t").hash());
  other = v;
  other.tokens[350] += "x";
  hashes.insert(make_tokenizer(other, "t").hash());
  other = v;
  other.types[350] = Vocabulary::kUnused;
  hashes.insert(make_tokenizer(other, "t").hash());
  other = v;
  other.add_space_prefix = false;
  hashes.insert(make_tokenizer(other, "t").hash());
  EXPECT_EQ(hashes.size(), 5u);
}

}  // namespace
}  // namespace um
