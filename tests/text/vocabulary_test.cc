// Vocabularies of GGUF files: ids that no token has are in them as padding.
#include "text/vocabulary.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/gguf_write.h"
#include "core/json.h"
#include "tests/text/byte_tokenizer_util.h"
#include "tests/text/tiny_tokenizer_util.h"
#include "text/tokenizer_impl.h"
#include "text/vocabulary_export.h"

namespace um {
namespace {

namespace fs = std::filesystem;

/// The tokenizer of a GGUF file with this vocabulary, and of a directory made of that.
std::vector<Tokenizer> read_back(const Vocabulary& v) {
  const fs::path file = fs::path(testing::TempDir()) / fmt::format("vocab_{}.gguf", ::getpid());
  write_gguf(file, vocabulary_entries(v), {}, [](const GgufTensorSpec&, const GgufSink&) {});
  const Tokenizer back = Tokenizer::load(file);
  const fs::path directory = file.string() + ".d";
  fs::create_directories(directory);
  back.save(directory);
  const Tokenizer saved = Tokenizer::load(directory);
  fs::remove(file);
  fs::remove_all(directory);
  return {back, saved};
}

void expect_same_texts(const Tokenizer& back, const Tokenizer& tokenizer, int32_t rows) {
  ASSERT_EQ(back.vocab_size(), tokenizer.vocab_size());
  for (int32_t id = 0; id < rows; ++id) {
    EXPECT_EQ(back.bytes(id), tokenizer.bytes(id)) << id;
    EXPECT_EQ(back.is_special(id), tokenizer.is_special(id)) << id;
    EXPECT_EQ(back.decode({id}, false), tokenizer.decode({id}, false)) << id;
    if (id >= back.vocab_size()) continue;
    EXPECT_EQ(back.piece(id), tokenizer.piece(id)) << id;
  }
}

TEST(Vocabulary, PaddingIsNoToken) {
  for (const Tokenizer& tokenizer : {tiny_tokenizer(), byte_tokenizer({"<s>", "<tool>"})}) {
    Vocabulary v = vocabulary_of(tokenizer, 512);
    ASSERT_EQ(v.tokens.back(), "[PAD511]");
    ASSERT_EQ(v.types.back(), Vocabulary::kUnused);
    for (const bool json : {true, false}) {  // carried whole, or not
      if (!json) v.json.clear();
      for (const Tokenizer& back : read_back(v)) {
        expect_same_texts(back, tokenizer, 512);
        EXPECT_FALSE(back.id("[PAD511]"));
        EXPECT_EQ(back.encode("[PAD511]", {.parse_special = true}), tokenizer.encode("[PAD511]"));
        EXPECT_EQ(vocabulary_of(back, 512).types, v.types);
      }
    }
  }
}

/// Before an added token whose id lies behind the others there is padding, too.
TEST(Vocabulary, PaddingBetweenTokensIsNoToken) {
  Json config = tiny_tokenizer().config();
  config["added_tokens_decoder"]["420"] = {{"content", "<late>"}};
  const Tokenizer pieces = Tokenizer::parse(tiny_tokenizer().impl().model, config.dump(), "t");
  Json bytes = parse_json(byte_tokenizer_json({"<s>", "<late>"}), "t");
  bytes["added_tokens"][1]["id"] = 420;
  for (const Tokenizer& tokenizer : {pieces, Tokenizer::from_json(bytes.dump(), "", "t")}) {
    ASSERT_EQ(tokenizer.vocab_size(), 421);
    Vocabulary v = vocabulary_of(tokenizer, 512);
    v.json.clear();
    ASSERT_EQ(v.tokens[410], "[PAD410]");
    for (const Tokenizer& back : read_back(v)) {
      expect_same_texts(back, tokenizer, 512);
      EXPECT_EQ(vocabulary_of(back, 512).types, v.types);
    }
  }
}

/// Unused pieces of a SentencePiece model have texts of their own, and so has a token of another
/// type that is called as padding is.
TEST(Vocabulary, OtherUnusedTokensKeepTheirTexts) {
  Vocabulary v = vocabulary_of(tiny_tokenizer(), 512);
  v.tokens[450] = "[unused450]";
  v.types[350] = Vocabulary::kUnused;
  v.tokens[460] = "[PAD99]";
  v.tokens[470] = "[PAD470]";
  v.types[470] = Vocabulary::kNormal;
  for (const Tokenizer& back : read_back(v)) {
    ASSERT_EQ(back.vocab_size(), 471);
    EXPECT_EQ(back.bytes(350), tiny_tokenizer().bytes(350));
    EXPECT_EQ(back.bytes(450), "[unused450]");
    EXPECT_EQ(back.bytes(460), "[PAD99]");
    EXPECT_EQ(back.bytes(470), "[PAD470]");
    EXPECT_EQ(back.bytes(465), "");
    EXPECT_TRUE(back.is_special(*back.id("[unused10]")));
  }
}

/// Files name padding as the token to pad with.
TEST(Vocabulary, PaddingHasNoRole) {
  Vocabulary v = vocabulary_of(tiny_tokenizer(), 512);
  v.pad = 500;
  for (const Tokenizer& back : read_back(v)) {
    EXPECT_EQ(back.pad_id(), -1);
    EXPECT_EQ(back.eos_id(), tiny_tokenizer().eos_id());
  }
}

}  // namespace
}  // namespace um
