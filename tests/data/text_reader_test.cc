// Reading .txt, .jsonl and gzip: document rules, bad input, directories.
#include "data/text_reader.h"

#include <zstd.h>

#include <fstream>

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

std::string contents_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
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
  EXPECT_EQ(read(DocumentRule::kParagraph), (Texts{"one\ntwo", "three\nfour"}));
  EXPECT_EQ(read(DocumentRule::kBlock), (Texts{"one\ntwo\n\n \n", "\nthree\nfour\n"}));
  EXPECT_EQ(read(DocumentRule::kFile), (Texts{"one\ntwo\n\n \n\nthree\nfour\n\n"}));
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
  EXPECT_EQ(read_memory("{\"text\": \"a\\ud800\"}", true), Texts{"a\xEF\xBF\xBD"});
}

TEST(DocumentReader, CountsWhatItRepairs) {
  std::string rest =
      "{\"text\": \"\\ud83d\\ude00\"}\n"
      "{\"text\": \"\\uDE00 \\ud83d\", \"n\": \"\\\\ud800\"}\n"
      "{\"text\": \"\\ud83d\\ud83d\\ude00 \xFF \\u0000\"}\n";
  DocumentReader reader(
      [&](char* buffer, size_t capacity) {
        const size_t got = rest.copy(buffer, capacity);
        rest.erase(0, got);
        return got;
      },
      "memory", true, {});
  Texts texts;
  for (std::string text; reader.next(text);) texts.push_back(text);
  using std::string_literals::operator""s;
  EXPECT_EQ(texts, (Texts{"\U0001F600", "\uFFFD \uFFFD", "\uFFFD\U0001F600 \uFFFD \0"s}));
  EXPECT_EQ(reader.flaws().halves, 3u);
  EXPECT_EQ(reader.flaws().invalid, 1u);
  EXPECT_EQ(reader.flaws().nul, 1u);
  EXPECT_EQ(reader.flaws().first_line, 2u);
}

TEST(DocumentReader, RefusesBadRecordsWithTheirLine) {
  for (const char* bad : {"{\"text\": \"a\"", "[]", "{\"text\": 3}", "{\"other\": \"a\"}", "null",
                          "{\"text\": \"a\"} trailing"}) {
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

TEST(DocumentReader, EveryLineEndIsOneLineFeed) {
  ReadOptions options;
  options.document = DocumentRule::kFile;
  for (const size_t step : {1, 2, 3, 100}) {
    EXPECT_EQ(read_memory("a\r\nb\rc\n\r\r\nd\r", false, options, step), Texts{"a\nb\nc\n\n\nd\n"});
    EXPECT_EQ(read_memory("\xEF\xBB\xBF{\"text\": \"\xEF\xBB\xBF"
                          "a\\r\\nb\"}\r\n",
                          true, options, step),
              Texts{"a\nb"});
  }
  EXPECT_EQ(read_memory("\xEF\xBB\xBF", false), Texts{});
}

/// Blocks of a text without line ends, put together, are the text.
TEST(DocumentReader, CutsALongLineBetweenWords) {
  ReadOptions options;
  options.block_bytes = 100;
  std::string text;
  for (int i = 0; i < 500; ++i) text += fmt::format("word{} ", i * 7919 % 1000);
  const Texts blocks = read_memory(text, false, options, 4096);
  EXPECT_GT(blocks.size(), 20u);
  std::string all;
  for (const std::string& block : blocks) {
    EXPECT_LE(block.size(), 200u);
    EXPECT_EQ(block.back(), ' ');
    all += block;
  }
  EXPECT_EQ(all, text);
}

TEST(DocumentReader, CutsALineWithoutBlanksBetweenCharacters) {
  for (const uint64_t block : {1, 2, 3, 7, 100}) {
    ReadOptions options;
    options.block_bytes = block;
    std::string text, all;
    for (int i = 0; i < 300; ++i) text += i % 3 == 0 ? "\xE9\x97\xA8" : "\xF0\x9F\xA6\x86";
    for (const std::string& part : read_memory(text, false, options, 4096)) {
      EXPECT_LE(part.size(), 2 * block + 4);
      all += part;
    }
    EXPECT_EQ(all, text);
  }
}

TEST(DocumentReader, LongLinesKeepLineNumbers) {
  ReadOptions options;
  options.block_bytes = 10;
  const std::string text = std::string(1000, 'a') + "\nb\n" + std::string(50, ' ') + "c\xFF\n";
  DocumentReader reader(
      [&, at = size_t{0}](char* buffer, size_t capacity) mutable {
        const size_t count = text.copy(buffer, capacity, at);
        at += count;
        return count;
      },
      "memory", false, options);
  std::string document;
  while (reader.next(document)) {
  }
  EXPECT_EQ(reader.flaws().invalid, 1u);
  EXPECT_EQ(reader.flaws().first_line, 3u);
}

/// Each of these was packed as if it were text.
TEST(DocumentReader, RefusesWhatIsNoText) {
  const auto utf16 = [](std::string_view text, bool big) {
    std::string bytes;
    for (const char c : text) bytes += big ? std::string{'\0', c} : std::string{c, '\0'};
    return bytes;
  };
  std::string latin1, german;
  for (int i = 0; i < 40; ++i) latin1 += "caf\xE9 na\xEFve ";
  for (int i = 0; i < 40; ++i) german += "caf\xC3\xA9 na\xC3\xAFve ";
  const std::pair<std::string, const char*> cases[] = {
      {"PAR1\x15" + std::string(100, '\0') + "PAR1", "Parquet"},
      {"\xFF\xFE" + utf16("some text", false), "UTF-16"},
      {"\xFE\xFF" + utf16("some text", true), "UTF-16"},
      {utf16("some text without a mark", false), "UTF-16"},
      {utf16("some text without a mark", true), "UTF-16"},
      {std::string("\xFF\xFE\0\0s\0\0\0", 8), "UTF-32"},
      {latin1, "not UTF-8"},
      {"Subject: \x1B$B$3$s$K$A$O\x1B(B\n", "iconv -f ISO-2022-JP -t UTF-8"},
      {"\x1B$)C\x0E;g?k\x0F\n", "iconv -f ISO-2022-KR -t UTF-8"},
      {"PK\x03\x04" + std::string(50, '\1') + '\0', "zip"},
      {"%PDF-1.4 all of it ASCII", "PDF"},
      {"\xFD"
       "7zXZ\x01\xFF",
       "xz -d"},
      {std::string("a\0b\nc\0d\ne\0f\ng\0h\n", 16), "binary"},
      {std::string("text\0with\x01\x02 zeros in it", 24), "binary"},
  };
  for (const auto& [bytes, expected] : cases) {
    for (const bool jsonl : {false, true}) {
      const std::string message = error_of([&, &text = bytes] { read_memory(text, jsonl); });
      EXPECT_TRUE(message.starts_with("memory: ")) << message;
      EXPECT_NE(message.find(expected), std::string::npos) << message;
    }
  }
  ReadOptions options;
  options.force_text = true;
  EXPECT_EQ(read_memory("caf\xE9\xE9\xE9\xE9" + latin1, false, options).size(), 1u);
  EXPECT_EQ(read_memory(german, false), Texts{german});
  EXPECT_EQ(read_memory("PAR1 is how I begin\n", false), Texts{"PAR1 is how I begin\n"});
  for (const char* text : {"\x1B[31mred\x1B[0m\n", "\x1B$B in caf\xC3\xA9\n", "$B and (B\n"})
    EXPECT_EQ(read_memory(text, false), Texts{text});
}

/// 256 MB of blank lines took hours: each looked at all before it.
TEST(DocumentReader, TakesTimeInProportion) {
  std::string text(4 << 20, '\n');
  text += "end\n";
  EXPECT_EQ(read_memory(text, false, {}, 1 << 20).size(), 1u);
  ReadOptions options;
  options.block_bytes = 64;
  EXPECT_GT(read_memory(std::string(4 << 20, 'a'), false, options, 1 << 20).size(), 60000u);
}

class CorpusReaderTest : public ScratchTest {};

TEST_F(CorpusReaderTest, SaysWhatItSkipsAndRepairs) {
  write("c/a.txt", "caf\xE9\n");
  write("c/b.TXT", "fine\n");
  write("c/notes.md", "not read");
  write("c/deep/table.parquet", "PAR1");
  std::vector<std::string> warnings;
  ReadOptions options;
  options.warn = [&](const std::string& text) { warnings.push_back(text); };
  CorpusReader reader(
      {dir_ / "c", write("data.json", "{}"), write("nul.jsonl", "{\"text\": \"a\\u0000\"}\n"),
       write("half.jsonl", "{\"text\": \"fine\"}\n{\"text\": \"a\\ud800\"}\n")},
      options);
  EXPECT_EQ(read_all(reader).size(), 6u);
  ASSERT_EQ(warnings.size(), 5u);
  EXPECT_NE(warnings[0].find("skipped 2 files"), std::string::npos) << warnings[0];
  EXPECT_NE(warnings[0].find("deep/table.parquet, notes.md"), std::string::npos) << warnings[0];
  EXPECT_NE(warnings[1].find("data.json: read as plain text"), std::string::npos) << warnings[1];
  EXPECT_NE(warnings[2].find("a.txt: 1 invalid UTF-8"), std::string::npos) << warnings[2];
  EXPECT_NE(warnings[3].find("1 NUL"), std::string::npos) << warnings[3];
  EXPECT_NE(
      warnings[4].find("half.jsonl: 0 invalid UTF-8 sequences and 1 halves of surrogate pairs"),
      std::string::npos)
      << warnings[4];
  EXPECT_NE(warnings[4].find("first in line 2"), std::string::npos) << warnings[4];
}

TEST_F(CorpusReaderTest, ReadsZstd) {
  std::string text;
  for (int i = 0; i < 100000; ++i) text += fmt::format("line {}\n", i * 7919 % 10007);
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  ReadOptions options;
  options.document = DocumentRule::kFile;
  CorpusReader reader({write("a.txt.zst", packed + packed)}, options);
  EXPECT_EQ(read_all(reader), Texts{text + text});
  EXPECT_EQ(reader.bytes_read(), 2 * packed.size());
  using std::string_literals::operator""s;
  const std::string skipped = "\x5A\x2A\x4D\x18\4\0\0\0abcd"s;  // as pzstd writes them
  EXPECT_EQ(read_text_file(write("skip.zst", skipped + packed), 1 << 30),
            read_text_file(write("a.zst", packed), 1 << 30));
  const auto cut = write("cut.jsonl.zst", packed.substr(0, packed.size() / 2));
  EXPECT_NE(error_of([&] { read_text_file(cut, 1 << 30); }).find("end early"), std::string::npos);
  packed[packed.size() / 2] = static_cast<char>(packed[packed.size() / 2] ^ 0x55);
  const auto bad = write("bad.txt.zst", packed);
  EXPECT_NE(error_of([&] { read_text_file(bad, 1 << 30); }).find("bad.txt.zst: cannot read: zstd"),
            std::string::npos);
}

TEST_F(CorpusReaderTest, NamesTheFieldsThatARecordHas) {
  const auto path = write("c.jsonl", "{\"content\": \"a\", \"url\": \"b\"}\n");
  const std::string message = error_of([&] {
    CorpusReader reader({path}, {});
    read_all(reader);
  });
  EXPECT_NE(message.find("c.jsonl:1: no field"), std::string::npos) << message;
  EXPECT_NE(message.find("content"), std::string::npos) << message;
  EXPECT_NE(message.find("--text-field"), std::string::npos) << message;
}

TEST_F(CorpusReaderTest, SaysThatAFieldIsNull) {
  const auto path = write("c.jsonl", "{\"text\": null}\n");
  const std::string message = error_of([&] {
    CorpusReader reader({path}, {});
    read_all(reader);
  });
  EXPECT_NE(message.find("field \"text\": expected a string, found null"), std::string::npos)
      << message;
}

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

TEST_F(CorpusReaderTest, ReadsAllGzipMembersAndNothingElse) {
  const std::string one = contents_of(write_gz("one.gz", "one\n"));
  const std::string many = contents_of(write_gz("many.gz", std::string(1 << 20, 'x')));
  EXPECT_EQ(read_text_file(write("two.gz", one + many + one), 1 << 30),
            "one\n" + std::string(1 << 20, 'x') + "one\n");
  const auto error = [&](const std::string& bytes) {
    return error_of([&] { read_text_file(write("bad.gz", bytes), 1 << 30); });
  };
  using std::string_literals::operator""s;
  for (const std::string& behind : {"x"s, "more text\n"s, std::string(512, '\0') + "x",
                                    std::string(1 << 20, '\0') + one, "\x1f\x8c..........."s})
    EXPECT_NE(error(one + behind).find("bad.gz: cannot read: bytes behind the compressed data"),
              std::string::npos)
        << error(one + behind);
  for (size_t cut = 2; cut < one.size(); ++cut)
    for (const std::string& first : {std::string(), one})
      EXPECT_NE(error(first + one.substr(0, cut)).find("end early"), std::string::npos) << cut;
  std::string damaged = one;
  damaged[damaged.size() - 6] ^= 1;
  EXPECT_NE(error(one + damaged).find("damaged"), std::string::npos) << error(one + damaged);
}

/// As tapes and archives fill up their blocks.
TEST_F(CorpusReaderTest, TakesZerosBehindTheLastGzipMember) {
  const std::string one = contents_of(write_gz("one.gz", "one\n"));
  for (const size_t zeros : {1, 512, 1 << 20})
    EXPECT_EQ(read_text_file(write("p.gz", one + one + std::string(zeros, '\0')), 1 << 30),
              "one\none\n");
}

TEST_F(CorpusReaderTest, FollowsLinksToDirectories) {
  namespace fs = std::filesystem;
  write("c/a.txt", "one\n");
  write("out/deep/b.txt", "two\n");
  fs::create_directory_symlink("../out", dir_ / "c/link");
  fs::create_directory_symlink("../../c", dir_ / "out/deep/up");
  fs::create_directory_symlink(".", dir_ / "c/same");
  fs::create_symlink("nowhere", dir_ / "c/dangling");
  std::vector<std::string> warnings;
  ReadOptions options;
  options.document = DocumentRule::kLine;
  options.warn = [&](const std::string& text) { warnings.push_back(text); };
  CorpusReader reader({dir_ / "c"}, options);
  EXPECT_EQ(read_all(reader), (Texts{"one", "two"}));
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("2 links that lead back up: link/deep/up, same"), std::string::npos)
      << warnings[0];
  EXPECT_NE(warnings[0].find("neither .txt nor .jsonl: dangling;"), std::string::npos)
      << warnings[0];
  fs::create_symlink("nowhere", dir_ / "c/dangling.txt");
  EXPECT_THROW(CorpusReader({dir_ / "c"}, {}), Error);
  fs::create_directory_symlink("c", dir_ / "named");
  fs::remove(dir_ / "c/dangling.txt");
  EXPECT_EQ(list_corpus({dir_ / "named"}).size(), 2u);
}

/// Eleven directories with links to each other make some hundred million paths.
TEST_F(CorpusReaderTest, EndsWhereLinksMakePathsWithoutNumber) {
  namespace fs = std::filesystem;
  for (char one = 'a'; one <= 'k'; ++one) write(std::string("c/") + one + "/t.txt", "one\n");
  for (char one = 'a'; one <= 'k'; ++one)
    for (char to = 'a'; to <= 'k'; ++to)
      if (to != one)
        fs::create_directory_symlink(std::string("../") + to,
                                     dir_ / "c" / std::string(1, one) / std::string(1, to));
  EXPECT_THROW(list_corpus({dir_ / "c"}), Error);
}

TEST_F(CorpusReaderTest, LeavesHiddenFilesOutUnlessTheyAreNamed) {
  write("c/a.txt", "one\n");
  for (const char* hidden : {"c/.b.txt", "c/.git/HEAD.txt", "c/deep/._a.txt"})
    write(hidden, "no\n");
  std::vector<std::string> warnings;
  const auto warn = [&](const std::string& text) { warnings.push_back(text); };
  EXPECT_EQ(list_corpus({dir_ / "c"}, warn).size(), 1u);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("skipped 3 hidden ones: .b.txt, .git, deep/._a.txt"),
            std::string::npos)
      << warnings[0];
  EXPECT_EQ(list_corpus({dir_ / "c/.b.txt", dir_ / "c/.git"}, warn).size(), 2u);
  EXPECT_EQ(warnings.size(), 1u);
  EXPECT_NE(error_of([&] { list_corpus({dir_ / "c/deep"}); }).find("not hidden"),
            std::string::npos);
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
