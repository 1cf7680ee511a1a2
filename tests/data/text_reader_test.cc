// Reading .txt, .jsonl and gzip: document rules, bad input, directories.
#include "data/text_reader.h"

#include "tests/data/data_test_util.h"

namespace um {
namespace {

using Texts = std::vector<std::string>;

Texts read_all(CorpusReader& reader) {
  Texts texts;
  std::string text;
  while (reader.next(text)) texts.push_back(text);
  return texts;
}

Texts read_memory(const std::string& bytes, bool jsonl, const ReadOptions& options = {},
                  size_t step = 7) {
  DocumentReader reader(
      [&, at = size_t{0}](char* buffer, size_t capacity) mutable {
        const size_t count = std::min({capacity, step, bytes.size() - at});
        bytes.copy(buffer, count, at);
        at += count;
        return count;
      },
      "memory", jsonl, options);
  Texts texts;
  std::string text;
  while (reader.next(text)) texts.push_back(text);
  return texts;
}

const std::string kText = "\xEF\xBB\xBFone\r\ntwo\n\n \n\nthree\nfour\n\n";

TEST(DocumentReader, CutsByRule) {
  const auto read = [](DocumentRule rule, uint64_t block = 10) {
    ReadOptions options;
    options.document = rule;
    options.block_bytes = block;
    return read_memory(kText, false, options);
  };
  EXPECT_EQ(read(DocumentRule::kLine), (Texts{"one", "two", "three", "four"}));
  EXPECT_EQ(read(DocumentRule::kParagraph), (Texts{"one\r\ntwo", "three\nfour"}));
  EXPECT_EQ(read(DocumentRule::kBlock), (Texts{"one\r\ntwo\n\n", " \n\nthree\nfour\n"}));
  EXPECT_EQ(read(DocumentRule::kFile), (Texts{"one\r\ntwo\n\n \n\nthree\nfour\n\n"}));
  EXPECT_EQ(parse_document_rule("paragraph"), DocumentRule::kParagraph);
  EXPECT_EQ(document_rule_name(DocumentRule::kBlock), "block");
  EXPECT_THROW(parse_document_rule("page"), UsageError);
}

TEST(DocumentReader, BlocksLoseNoText) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += fmt::format("line {} of some text\n", i * 7919);
  ReadOptions options;
  options.block_bytes = 500;
  std::string all;
  for (const std::string& block : read_memory(text, false, options, 4096)) {
    EXPECT_LT(block.size(), 600u);
    EXPECT_EQ(block.back(), '\n');
    all += block;
  }
  EXPECT_EQ(all, text);
}

TEST(DocumentReader, ReadsRecordsAndRepairsThem) {
  EXPECT_EQ(
      read_memory("{\"text\": \"a\\nb\", \"n\": 1}\n\n{\"text\": \"\"}\r\n{\"text\": \"c\xFF\"}",
                  true),
      (Texts{"a\nb", "c\xEF\xBF\xBD"}));
  ReadOptions options;
  options.text_field = "body";
  EXPECT_EQ(read_memory("{\"body\": \"x\"}", true, options), Texts{"x"});
  EXPECT_EQ(read_memory("a\xFFz\n", false), Texts{"a\xEF\xBF\xBDz\n"});
}

TEST(DocumentReader, RefusesBadRecordsWithTheirLine) {
  for (const char* bad : {"{\"text\": \"a\"", "[]", "{\"text\": 3}", "{\"other\": \"a\"}", "null",
                          "{\"text\": \"\\ud800\"}", "{\"text\": \"a\"} trailing"}) {
    const std::string message =
        error_of([&] { read_memory(std::string("{\"text\": \"ok\"}\n") + bad, true); });
    EXPECT_NE(message.find("memory:2"), std::string::npos) << bad << ": " << message;
  }
  ReadOptions options;
  options.max_document_bytes = 1000;
  const std::string big(2000000, 'a');
  EXPECT_NE(error_of([&] { read_memory(big, false, options, 65536); }).find("more than 1000 bytes"),
            std::string::npos);
  EXPECT_NE(error_of([&] { read_memory(big, true, options, 65536); }).find("more than 1000 bytes"),
            std::string::npos);
}

class CorpusReaderTest : public ScratchTest {};

TEST_F(CorpusReaderTest, ReadsDirectoriesInOrderAndGzip) {
  write("c/b/2.jsonl", "{\"text\": \"two\"}\n");
  write("c/a.txt", "one\n");
  write("c/ignored.md", "nothing");
  write_gz("c/z.txt.gz", "four\n");
  write_gz("c/b/3.jsonl.gz", "{\"text\": \"three\"}\n");
  ReadOptions options;
  options.document = DocumentRule::kLine;
  CorpusReader reader({dir_ / "c", write("last.md", "five")}, options);
  EXPECT_EQ(read_all(reader), (Texts{"one", "two", "three", "four", "five"}));
  EXPECT_EQ(reader.files().size(), 5u);
  EXPECT_EQ(reader.bytes_read(), reader.bytes_total());
}

TEST_F(CorpusReaderTest, NamesWhatIsWrong) {
  EXPECT_NE(error_of([&] { CorpusReader({dir_ / "no"}, {}); }).find("no such file"),
            std::string::npos);
  EXPECT_NE(error_of([&] { CorpusReader({}, {}); }).find("no input"), std::string::npos);
  EXPECT_NE(error_of([&] { CorpusReader({dir_}, {}); }).find("no .txt"), std::string::npos);
  std::string text;
  for (int i = 0; i < 20000; ++i) text += fmt::format("{} ", i * 7919 % 10007);
  const auto path = write_gz("cut.txt.gz", text);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  const std::string message = error_of([&] {
    CorpusReader reader({path}, {});
    read_all(reader);
  });
  EXPECT_NE(message.find("cut.txt.gz: cannot read: "), std::string::npos) << message;
}

}  // namespace
}  // namespace um
