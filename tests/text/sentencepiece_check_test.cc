// Tables of rewritings: those that the library makes are taken and used, damaged ones refused.
#include "text/sentencepiece_check.h"

#include <gtest/gtest.h>
#include <sentencepiece_trainer.h>

#include <cstring>
#include <vector>

#include "core/error.h"
#include "tests/text/tiny_tokenizer_util.h"
#include "text/tokenizer.h"

namespace um {
namespace {

class Sentences : public sentencepiece::SentenceIterator {
 public:
  bool done() const override { return at_ >= lines_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return lines_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> lines_ = tiny_corpus(300);
  size_t at_ = 0;
};

std::string train(const std::string& rule) {
  Sentences sentences;
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train({{"model_type", "bpe"},
                                                                  {"vocab_size", "300"},
                                                                  {"byte_fallback", "true"},
                                                                  {"normalization_rule_name", rule},
                                                                  {"minloglevel", "2"}},
                                                                 &sentences, &model);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return model;
}

TEST(SentencePieceCheck, TakesTheLibrarysOwnTables) {
  for (const char* rule : {"nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity"}) {
    const Tokenizer tokenizer = Tokenizer::parse(train(rule), "", rule);
    const std::string wide = "\xEF\xBC\xA1";  // a letter A of full width
    const std::string name = rule, folded = name.ends_with("_cf") ? "a" : "A";
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(wide), false), name == "identity" ? wide : folded)
        << rule;
  }
}

/// A field of bytes in a protocol buffer.
std::string field(uint32_t number, const std::string& bytes) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  size_t size = bytes.size();
  for (; size >= 0x80; size >>= 7) out += static_cast<char>(size | 0x80);
  return out + static_cast<char>(size) + bytes;
}

// The library builds its table of pieces with strings that end at a zero.
TEST(SentencePieceCheck, RefusesAZeroByteInAPiece) {
  const std::string piece = field(1, std::string("a\0b", 3));
  try {
    Tokenizer::parse(train("identity") + field(1, piece), "", "NAME");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              "NAME: piece 300 of the SentencePiece model has a zero byte");
  }
}

std::string model_of(const std::vector<uint32_t>& units, const std::string& texts) {
  const auto size = static_cast<uint32_t>(4 * units.size());
  std::string table(sizeof size + size, '\0');
  std::memcpy(table.data(), &size, sizeof size);
  if (size > 0) std::memcpy(table.data() + sizeof size, units.data(), size);
  return field(3, field(2, table + texts));
}

TEST(SentencePieceCheck, RefusesTablesThatLeadOutside) {
  const std::string text("b\0", 2);
  std::vector<uint32_t> units(256);
  EXPECT_NO_THROW(check_sentencepiece(model_of(units, text), "m"));
  EXPECT_THROW(check_sentencepiece(model_of(units, "b"), "m"), Error) << "no end";
  EXPECT_THROW(check_sentencepiece(model_of(units, ""), "m"), Error);
  EXPECT_THROW(check_sentencepiece(model_of({}, text), "m"), Error);
  units.push_back(0);  // its children would be at 256 to 511
  EXPECT_THROW(check_sentencepiece(model_of(units, text), "m"), Error);
  units.pop_back();
  units[7] = 256u << 10;  // children at 263
  EXPECT_THROW(check_sentencepiece(model_of(units, text), "m"), Error);
  units[7] = 1u << 10 | 1u << 9;  // the same offset in large units
  EXPECT_THROW(check_sentencepiece(model_of(units, text), "m"), Error);
  units[7] = 1u << 8;  // a value, at 7 itself: far behind the texts
  EXPECT_THROW(check_sentencepiece(model_of(units, text), "m"), Error);
  units[7] = 8u << 10 | 1u << 8;  // a value at 15
  units[15] = 1u << 31 | 1;
  EXPECT_NO_THROW(check_sentencepiece(model_of(units, text), "m"));
  units[15] = 1u << 31 | 2;
  EXPECT_THROW(check_sentencepiece(model_of(units, text), "m"), Error);
  units[0] = 1u << 31 | 256u << 10;  // the root, marked as a value
  EXPECT_THROW(check_sentencepiece(model_of(units, text), "m"), Error);
  const std::string whole = model_of(std::vector<uint32_t>(256), text);
  EXPECT_THROW(check_sentencepiece(whole.substr(0, 900), "m"), Error);
  EXPECT_THROW(check_sentencepiece("\x0B", "m"), Error) << "a group";
}

}  // namespace
}  // namespace um
