// WordNet's format: words, topics, glosses, damage; the real files where they are installed.
#include "data/wordnet.h"

#include "core/files.h"
#include "tests/data/data_test_util.h"

namespace um {
namespace {

std::string text_of(const std::string& line) {
  Synset synset;
  EXPECT_TRUE(parse_synset(line, "data:1", synset));
  return synset.text;
}

TEST(Wordnet, MakesRunningLines) {
  EXPECT_EQ(text_of("00000001 05 n 02 grey_goose 0 Anser_anser 0 001 @ 00000009 n 0000 | a bird  "),
            "grey goose, Anser anser (noun.animal): a bird.");
  EXPECT_EQ(text_of("00000001 38 v 01 go 0 000 01 + 08 00 | change place; \"He went.\"; \"go on\""),
            "go (verb.motion): change place. He went. go on.");
  EXPECT_EQ(text_of("00000001 00 s 01 alive(p) 0 000 | (of beings) living; not dead; \"who is?\""),
            "alive (adj.all): (of beings) living; not dead. who is?");
  EXPECT_EQ(text_of("00000001 44 a 0a a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 000 | x"),
            "a, b, c, d, e, f, g, h, i, j (adj.ppl): x.");
  Synset synset;
  EXPECT_FALSE(parse_synset("  1 This software and database is provided", "data:1", synset));
}

TEST(Wordnet, RefusesDamagedLines) {
  Synset synset;
  for (const char* line :
       {"", "x", "00000001 05 n 01 goose 0 000", " | x", "00000001 45 n 01 goose 0 | x",
        "00000001 05 q 01 goose 0 | x", "00000001 05 n 03 goose 0 | x", "00000001 05 n 00 | x",
        "00000001 05 n zz goose 0 | x", "00000001 05 n 01 goose gg | x",
        "99999999999999999999 05 n 01 goose 0 | x", "-1 05 n 01 goose 0 | x",
        "00000001 05 n 01 (p) 0 | x"}) {
    EXPECT_NE(error_of([&] { parse_synset(line, "data:7", synset); }).find("data:7: "),
              std::string::npos)
        << line;
  }
}

class WordnetFiles : public ScratchTest {};

TEST_F(WordnetFiles, ExtractsAllFourFilesOrNothing) {
  const std::string line = "00000001 05 n 01 goose 0 000 | a bird\n";
  for (const char* name : {"data.noun", "data.verb", "data.adj"}) write(name, "  1 x\n" + line);
  EXPECT_NE(error_of([&] { extract_wordnet(dir_, dir_ / "out.txt"); }).find("data.adv"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(dir_ / "out.txt"));
  write("data.adv", line);
  EXPECT_EQ(extract_wordnet(dir_, dir_ / "out.txt").lines, 4u);
  EXPECT_EQ(read_file(dir_ / "out.txt").substr(0, 30), "goose (noun.animal): a bird.\ng");
}

TEST_F(WordnetFiles, TheRealOne) {
  const std::filesystem::path installed = "/usr/share/wordnet";
  if (!std::filesystem::exists(installed / "data.noun")) GTEST_SKIP() << "no wordnet-base";
  const WordnetCount count = extract_wordnet(installed, dir_ / "out.txt");
  EXPECT_EQ(count.lines, 117659u);
  EXPECT_GT(count.bytes, 12'500'000u);
  EXPECT_LT(count.bytes, 14'000'000u);
  const std::string text = read_file(dir_ / "out.txt");
  EXPECT_TRUE(text.starts_with("entity (noun.Tops): that which is perceived or known"));
  EXPECT_NE(text.find("\ngoose step (noun.act): a manner of marching"), text.npos);
}

}  // namespace
}  // namespace um
