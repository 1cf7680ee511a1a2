// Packing: parallel = serial bit for bit, hold-out, statistics, atomic replacement, damage.
#include "data/pack.h"

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "core/files.h"
#include "tests/data/data_test_util.h"
#include "tests/text/tiny_tokenizer_util.h"
#include "text/tokenizer_hash.h"

namespace um {
namespace {

namespace fs = std::filesystem;

class PackTest : public ScratchTest {
 protected:
  PackOptions lines(const std::string& out, const std::vector<std::string>& texts) const {
    std::string text;
    for (const std::string& line : texts) text += line + "\n";
    PackOptions options;
    options.inputs = {write("corpus.txt", text)};
    options.out_dir = dir_ / out;
    options.read.document = DocumentRule::kLine;
    options.val_fraction = 0.1;
    return options;
  }
};

std::vector<std::vector<int32_t>> documents(const Dataset& dataset, bool val) {
  std::vector<std::vector<int32_t>> all;
  for (const TokenShard& shard : dataset.shards(val)) {
    for (uint64_t d = 0; d < shard.documents(); ++d) {
      shard.read(d, 0, shard.length(d), all.emplace_back());
    }
  }
  return all;
}

TEST_F(PackTest, DocumentsBeginAsTheTokenizerBeginsTexts) {
  const fs::path directory = dir_ / "tokenizer";
  const auto with = [&](const Json& changes) {
    fs::create_directories(directory);
    tiny_tokenizer().save(directory);
    const fs::path file = directory / "tokenizer_config.json";
    Json config = parse_json(read_file(file), file.string());
    config.merge_patch(changes);
    write_file_atomic(file, config.dump());
    return Tokenizer::load(directory);
  };
  const auto first = [&](const Tokenizer& tokenizer) {
    const PackOptions options = lines("a", {"the river"});
    pack_corpus(tokenizer, options);
    return documents(Dataset(options.out_dir), false)[0];
  };
  const Tokenizer plain = with({{"add_bos_token", false}});
  std::vector<int32_t> expected = plain.encode("the river");
  expected.push_back(plain.eos_id());
  EXPECT_EQ(first(plain), expected);
  EXPECT_EQ(first(with({{"bos_token", ""}})), expected);
  expected.insert(expected.begin(), tiny_tokenizer().bos_id());
  EXPECT_EQ(first(tiny_tokenizer()), expected);
}

TEST_F(PackTest, NumbersOutOfRangeAreWrongUsage) {
  const PackOptions good = lines("a", {"the river"});
  const auto refuses = [&](auto change) {
    PackOptions options = good;
    change(options);
    EXPECT_THROW(pack_corpus(tiny_tokenizer(), options), UsageError);
  };
  for (const double share :
       {1.0, -1.0, 1e30, std::nan(""), -std::numeric_limits<double>::infinity()})
    refuses([&](PackOptions& options) { options.val_fraction = share; });
  refuses([](PackOptions& options) { options.shard_tokens = 0; });
  refuses([](PackOptions& options) { options.shard_tokens = uint64_t{1} << 33; });
  refuses([](PackOptions& options) { options.read.block_bytes = 0; });
  refuses([](PackOptions& options) { options.seed = UINT64_MAX; });
  refuses([](PackOptions& options) { options.threads = 0; });
}

TEST_F(PackTest, HoldsEveryDocumentOnceWithBosAndEos) {
  const auto texts = tiny_corpus(300);
  PackOptions options = lines("a", texts);
  options.shard_tokens = 500;
  const Manifest manifest = pack_corpus(tiny_tokenizer(), options);
  const Dataset dataset(options.out_dir);
  dataset.verify();
  EXPECT_EQ(Tokenizer::load(options.out_dir).hash(), tiny_tokenizer().hash());
  EXPECT_EQ(dataset.manifest().json(), manifest.json());
  EXPECT_GT(manifest.train.shards.size(), 3u);
  EXPECT_EQ(manifest.sources[0].documents, 300u);
  std::multiset<std::string> expected(texts.begin(), texts.end()), found;
  uint64_t text_bytes = 0;
  std::map<int32_t, double> counts;
  double predicted = 0;
  for (const bool val : {false, true}) {
    for (const auto& document : documents(dataset, val)) {
      EXPECT_EQ(document.front(), tiny_tokenizer().bos_id());
      EXPECT_EQ(document.back(), tiny_tokenizer().eos_id());
      found.insert(tiny_tokenizer().decode(document));
      if (val) continue;
      text_bytes += tiny_tokenizer().decode(document).size();
      for (size_t i = 1; i < document.size(); ++i, ++predicted) counts[document[i]] += 1;
    }
  }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(manifest.train.text_bytes, text_bytes);
  double entropy = 0;
  for (const auto& [id, n] : counts) entropy -= n / predicted * std::log(n / predicted);
  EXPECT_NEAR(manifest.train.unigram_entropy, entropy, 1e-9);
  EXPECT_GT(manifest.val.documents, 10u);
  EXPECT_LT(manifest.val.documents, 60u);
}

TEST_F(PackTest, ThreadsDoNotChangeABit) {
  PackOptions options = lines("one", tiny_corpus(2000));
  options.shard_tokens = 5000;
  pack_corpus(tiny_tokenizer(), options);
  options.out_dir = dir_ / "four";
  options.threads = 4;
  pack_corpus(tiny_tokenizer(), options);
  EXPECT_EQ(contents(dir_ / "one"), contents(dir_ / "four"));
}

/// Manifests of version 1 have a checksum of the tokenizer's file.
TEST_F(PackTest, OldCorporaGoOn) {
  const PackOptions options = lines("a", tiny_corpus(100));
  Json manifest = pack_corpus(tiny_tokenizer(), options).json();
  const auto write = [&](int64_t version, const std::string& hash) {
    manifest["version"] = version;
    manifest["tokenizer_hash"] = hash;
    write_file_atomic(options.out_dir / kManifestName, manifest.dump());
  };
  write(1, file_hash(tiny_tokenizer()));
  const Dataset dataset(options.out_dir);
  EXPECT_EQ(dataset.tokenizer_hash(), tiny_tokenizer().hash());
  write(1, tiny_tokenizer().hash());  // a version's hash is that version's
  EXPECT_THROW(Dataset(options.out_dir), Error);
  write(2, file_hash(tiny_tokenizer()));
  EXPECT_THROW(Dataset(options.out_dir), Error);
}

TEST_F(PackTest, EqualDocumentsAreOnOneSide) {
  std::vector<std::string> texts = tiny_corpus(200);
  texts.insert(texts.end(), texts.begin(), texts.begin() + 100);
  const PackOptions options = lines("a", texts);
  pack_corpus(tiny_tokenizer(), options);
  const Dataset dataset(options.out_dir);
  const auto train = documents(dataset, false), val = documents(dataset, true);
  for (const auto& held : val) EXPECT_EQ(std::count(train.begin(), train.end(), held), 0);
}

TEST_F(PackTest, SmallCorporaHoldTheLastDocumentOut) {
  PackOptions options = lines("a", {"one", "two", "three"});
  options.val_fraction = 1e-9;
  EXPECT_EQ(pack_corpus(tiny_tokenizer(), options).val.documents, 1u);
  options.val_fraction = 0;
  EXPECT_EQ(pack_corpus(tiny_tokenizer(), options).val.documents, 0u);
  options = lines("b", {"one"});
  EXPECT_EQ(pack_corpus(tiny_tokenizer(), options).train.documents, 1u);
}

TEST_F(PackTest, OneLongLineIsHeldOutInPart) {
  std::string line;
  for (const std::string& text : tiny_corpus(3000)) line += text + " ";
  PackOptions options;
  options.inputs = {write("line.txt", line)};
  options.out_dir = dir_ / "a";
  options.read.block_bytes = 4096;
  const Manifest manifest = pack_corpus(tiny_tokenizer(), options);
  EXPECT_GT(manifest.train.documents, 10u);
  EXPECT_GT(manifest.val.documents, 0u);
}

TEST_F(PackTest, SaysWhenNothingIsHeldOut) {
  std::vector<std::string> warnings;
  PackOptions options = lines("a", {"only one"});
  options.read.warn = [&](const std::string& text) { warnings.push_back(text); };
  pack_corpus(tiny_tokenizer(), options);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("nothing is held out"), std::string::npos) << warnings[0];
  options.val_fraction = 0;
  pack_corpus(tiny_tokenizer(), options);
  EXPECT_EQ(warnings.size(), 1u);
}

/// Advice that applies: what is in use already is not advised.
TEST_F(PackTest, SaysWhyNothingIsHeldOut) {
  std::vector<std::string> texts;
  for (int i = 0; i < 50; ++i) texts.insert(texts.end(), {"one", "two", "three"});
  std::string warning;
  PackOptions options = lines("a", texts);
  options.val_fraction = 1e-9;
  options.read.warn = [&](const std::string& text) { warning = text; };
  pack_corpus(tiny_tokenizer(), options);
  EXPECT_NE(warning.find("150 documents, 3 of them distinct"), std::string::npos) << warning;
  EXPECT_NE(warning.find("--val-fraction"), std::string::npos) << warning;
  EXPECT_EQ(warning.find("--document"), std::string::npos) << warning;
  options = lines("b", {"only one"});
  options.read.document = DocumentRule::kFile;
  options.read.warn = [&](const std::string& text) { warning = text; };
  pack_corpus(tiny_tokenizer(), options);
  EXPECT_NE(warning.find("--document line"), std::string::npos) << warning;
  EXPECT_EQ(warning.find("distinct"), std::string::npos) << warning;
}

TEST_F(PackTest, OneDocumentIsForTrainingWhateverChanceSays) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    PackOptions options = lines("a", {"only one"});
    options.val_fraction = 0.5;
    options.seed = seed;
    const Manifest manifest = pack_corpus(tiny_tokenizer(), options);
    EXPECT_EQ(manifest.train.documents, 1u) << seed;
    EXPECT_EQ(manifest.val.documents, 0u) << seed;
  }
}

/// The last document would be held out where chance holds out none; not one that is trained on.
TEST_F(PackTest, NoCopyIsHeldOut) {
  PackOptions options = lines("a", {"one", "two", "one", "two"});
  options.val_fraction = 1e-9;
  const Manifest manifest = pack_corpus(tiny_tokenizer(), options);
  EXPECT_EQ(manifest.train.documents, 4u);
  EXPECT_EQ(manifest.val.documents, 0u);
}

TEST_F(PackTest, FailingLeavesTheEarlierCorpus) {
  PackOptions options = lines("a", tiny_corpus(100));
  pack_corpus(tiny_tokenizer(), options);
  const std::string before = contents(options.out_dir);
  options.inputs = {write("more.txt", "text\n"), write("bad.jsonl", "{\"text\": 1}\n")};
  EXPECT_NE(error_of([&] { pack_corpus(tiny_tokenizer(), options); }).find("bad.jsonl:1"),
            std::string::npos);
  EXPECT_EQ(contents(options.out_dir), before);
  EXPECT_NO_THROW(Dataset(options.out_dir).verify());
}

TEST_F(PackTest, RepackingRemovesOldShardsAndLeftovers) {
  PackOptions options = lines("a", tiny_corpus(100));
  pack_corpus(tiny_tokenizer(), options);
  write("a/train-00000-00000000.tokens.tmp.01234567.999999999", "killed");
  write("a/notes.txt", "keep");
  options = lines("a", tiny_corpus(50));
  pack_corpus(tiny_tokenizer(), options);
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(options.out_dir)) ++files;
  EXPECT_EQ(files, 6u);  // manifest, train, val, two of the tokenizer, notes
  EXPECT_NO_THROW(Dataset(options.out_dir).verify());
}

TEST_F(PackTest, RefusesNonsense) {
  EXPECT_NE(error_of([&] { pack_corpus(tiny_tokenizer(), lines("a", {})); }).find("no text"),
            std::string::npos);
  EXPECT_FALSE(fs::exists(dir_ / "a" / "manifest.json"));
  PackOptions options = lines("a", {"x"});
  options.threads = 0;
  EXPECT_THROW(pack_corpus(tiny_tokenizer(), options), Error);
  options.threads = 1;
  options.val_fraction = 1;
  EXPECT_THROW(pack_corpus(tiny_tokenizer(), options), Error);
  options.val_fraction = 0.1;
  options.out_dir = write("file", "in the way");
  EXPECT_NE(error_of([&] {
              pack_corpus(tiny_tokenizer(), options);
            }).find("cannot create this directory"),
            std::string::npos);
}

TEST_F(PackTest, ProgressEndsAtTheTotal) {
  PackOptions options = lines("a", tiny_corpus(100));
  PackProgress last;
  options.progress = [&](const PackProgress& now) { last = now; };
  const Manifest manifest = pack_corpus(tiny_tokenizer(), options);
  EXPECT_EQ(last.bytes_read, last.bytes_total);
  EXPECT_EQ(last.documents, 100u);
  EXPECT_EQ(last.tokens, manifest.train.tokens + manifest.val.tokens);
}

TEST_F(PackTest, DatasetRefusesDamage) {
  const fs::path corpus = pack("a", 200);
  const std::string manifest = read_file(corpus / kManifestName);
  const Json json = parse_json(manifest, "manifest");
  const auto open = [&] { return error_of([&] { Dataset dataset(corpus); }); };
  const auto with = [&](const std::string& path, const Json& value) {
    Json changed = json;
    changed[Json::json_pointer(path)] = value;
    write_file_atomic(corpus / kManifestName, to_text(changed));
    return open();
  };
  EXPECT_NE(with("/format", "other").find("format"), std::string::npos);
  EXPECT_NE(with("/version", 3).find("version"), std::string::npos);
  EXPECT_NE(with("/vocab_size", 0).find("vocab_size"), std::string::npos);
  EXPECT_NE(with("/vocab_size", 401).find("vocabulary"), std::string::npos);
  EXPECT_NE(with("/train/tokens", 1).find("its shards have"), std::string::npos);
  EXPECT_NE(with("/train/shards", 1).find("shards"), std::string::npos);
  EXPECT_NE(with("/train/shards/0/file", "../a").find("without a directory"), std::string::npos);
  EXPECT_NE(with("/train/shards/0/file", "gone").find("gone"), std::string::npos);
  write_file_atomic(corpus / kManifestName, manifest.substr(0, manifest.size() / 2));
  EXPECT_NE(open().find("manifest.json"), std::string::npos);
  write_file_atomic(corpus / kManifestName, manifest);
  EXPECT_EQ(open(), "no error");
  const fs::path shard = corpus / json["train"]["shards"][0]["file"].get<std::string>();
  std::string bytes = read_file(shard);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_file_atomic(shard, bytes);
  EXPECT_NE(error_of([&] { Dataset(corpus).verify(); }).find("checksum"), std::string::npos);
  TrainTokenizerOptions other;
  other.vocab_size = 350;
  train_tokenizer(other, texts_source(tiny_corpus(100))).save(corpus);
  EXPECT_NE(open().find("the manifest says"), std::string::npos);
  EXPECT_NE(open().find("pack again"), std::string::npos);
  fs::remove(corpus / kManifestName);
  EXPECT_NE(open().find("not finished"), std::string::npos);
}

}  // namespace
}  // namespace um
