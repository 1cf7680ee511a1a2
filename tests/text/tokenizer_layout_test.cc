// Directories as transformers reads them: every layout, with its side files, gives transformers'
// ids on random texts (skipped where the package is missing); and which file goes before which.
#include <gtest/gtest.h>
#include <sentencepiece_trainer.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <functional>

#include "core/error.h"
#include "core/files.h"
#include "core/gguf_write.h"
#include "core/json.h"
#include "core/stop_scope.h"
#include "tests/text/byte_tokenizer_util.h"
#include "tests/text/peer_util.h"
#include "tests/text/random_text_util.h"
#include "tests/text/tiny_tokenizer_util.h"
#include "text/decoder.h"
#include "text/tokenizer.h"
#include "text/tokenizer_impl.h"
#include "text/utf8.h"
#include "text/vocabulary_export.h"

namespace um {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;
using Arguments = std::unordered_map<std::string, std::string>;

std::string train_sentencepiece(const Arguments& changes) {
  const fs::path corpus = fs::temp_directory_path() / fmt::format("um_layout_{}.txt", ::getpid());
  std::string text, model;
  for (const std::string& line : tiny_corpus(400)) text += line + "\n";
  for (const std::string& line : random_texts(200, 1))
    text += line.substr(0, line.find('\n')) + "\n";
  write_file_atomic(corpus, repair_utf8(text));
  Arguments arguments = {{"input", corpus.string()},
                         {"vocab_size", "520"},
                         {"model_type", "bpe"},
                         {"byte_fallback", "true"},
                         {"character_coverage", "0.98"},
                         {"normalization_rule_name", "identity"},
                         {"remove_extra_whitespaces", "false"},
                         {"hard_vocab_limit", "false"},
                         {"minloglevel", "2"}};
  for (const auto& [key, value] : changes) arguments[key] = value;
  const auto status = sentencepiece::SentencePieceTrainer::Train(arguments, nullptr, &model);
  fs::remove(corpus);
  UM_CHECK(status.ok(), "SentencePiece: {}", status.ToString());
  return model;
}

const std::string& plain_model() {
  static const std::string kModel = train_sentencepiece({});
  return kModel;
}

using Files = std::map<std::string, std::string>;

class Layout {
 public:
  explicit Layout(const Files& files) {
    static int count = 0;
    directory_ = fs::temp_directory_path() / fmt::format("um_layout_{}_{}", ::getpid(), ++count);
    fs::create_directories(directory_);
    for (const auto& [name, text] : files) write_file_atomic(directory_ / name, text);
  }
  Layout(const Layout&) = delete;
  ~Layout() { fs::remove_all(directory_); }
  const fs::path& path() const { return directory_; }

 private:
  fs::path directory_;
};

Json added(const char* text, bool special, const char* flag = nullptr) {
  Json token = {{"content", text}, {"special", special},   {"lstrip", false},
                {"rstrip", false}, {"single_word", false}, {"normalized", false}};
  if (flag != nullptr) token[flag] = true;
  return token;
}

/// tokenizer_config.json for a model: further tokens behind its pieces.
Json sentencepiece_config(const std::string& model) {
  const int32_t size = Tokenizer::parse(model, "", "model").vocab_size();
  return {{"added_tokens_decoder",
           {{"0", added("<unk>", true)},
            {"1", added("<s>", true)},
            {"2", added("</s>", true)},
            {std::to_string(size), added("<|end|>", true, "rstrip")},
            {std::to_string(size + 1), added("<think>", false)},
            {std::to_string(size + 2), added("<mask>", true, "lstrip")}}},
          {"bos_token", "<s>"},
          {"eos_token", "</s>"},
          {"unk_token", "<unk>"}};
}

Json byte_vocab(Json& merges) {
  Json vocab = Json::object();
  int id = 0;
  for (int byte = 0; byte < 256; ++byte)
    vocab[bytes_to_byte_level(std::string(1, static_cast<char>(byte)))] = id++;
  for (const auto& [a, b] : std::vector<std::pair<std::string, std::string>>{
           {"h", "e"}, {"Ġ", "t"}, {"Ġt", "he"}, {"l", "l"}, {"he", "ll"}, {"1", "2"}}) {
    merges.push_back(a + " " + b);
    vocab[a + b] = id++;
  }
  vocab["<|endoftext|>"] = id;
  return vocab;
}

Files vocab_files(const Json& config) {
  Json merges = Json::array();
  const Json vocab = byte_vocab(merges);
  std::string lines = "#version: 0.2\n";
  for (const Json& merge : merges) lines += merge.get<std::string>() + "\n";
  return {{"vocab.json", to_text(vocab)},
          {"merges.txt", lines},
          {"tokenizer_config.json", to_text(config)}};
}

Json byte_json() {
  Json merges = Json::array();
  const Json vocab = byte_vocab(merges);
  const Json level = {{"type", "ByteLevel"},
                      {"add_prefix_space", false},
                      {"trim_offsets", true},
                      {"use_regex", true}};
  Json end = added("<|endoftext|>", true);
  end["id"] = vocab["<|endoftext|>"];
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", {end}},
          {"normalizer", nullptr},
          {"pre_tokenizer", level},
          {"post_processor", nullptr},
          {"decoder", level},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

/// Directories with a tokenizer.model.
std::vector<Files> sentencepiece_layouts() {
  std::vector<Files> out;
  for (const char* name : {"", "LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizer",
                           "GemmaTokenizer", "PanguTokenizer"}) {
    for (const Json& legacy : {Json(), Json(true), Json(false)}) {
      for (const Json& prefix : {Json(), Json(true), Json(false)}) {
        Json config = sentencepiece_config(plain_model());
        if (*name != 0) config["tokenizer_class"] = name;
        if (!legacy.is_null()) config["legacy"] = legacy;
        if (!prefix.is_null()) config["add_prefix_space"] = prefix;
        config["add_bos_token"] = legacy != false;
        config["add_eos_token"] = prefix == true;
        out.push_back(
            {{"tokenizer.model", plain_model()}, {"tokenizer_config.json", to_text(config)}});
      }
    }
  }
  // An older layout: roles and added tokens in files of their own.
  out.push_back(
      {{"tokenizer.model", plain_model()},
       {"tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": true})"},
       {"special_tokens_map.json",
        R"({"bos_token": "<s>", "eos_token": {"content": "<|end|>", "lstrip": false,)"
        R"( "rstrip": false, "normalized": false, "single_word": false}, "unk_token": "<unk>"})"},
       {"added_tokens.json", R"({"<|end|>": 520, "<think>": 521})"}});
  return out;
}

/// The text of an object with the fields of another behind its own.
std::string with_fields(const std::string& object, const std::string& fields) {
  return object == "{}" ? fields : object.substr(0, object.size() - 1) + ", " + fields.substr(1);
}

/// Configs that name tokens which the vocabulary lacks, or which are ordinary pieces of it.
std::vector<Files> named_token_layouts(const Files& base) {
  const std::string typed =
      R"({"__type": "AddedToken", "content": "<mask>", "lstrip": true, "rstrip": false,)"
      R"( "normalized": false, "single_word": false})";
  std::vector<Files> out;
  for (const std::string& names : std::vector<std::string>{
           R"({"pad_token": "<think>"})", R"({"pad_token": )" + typed + "}", R"({"pad_token": ""})",
           R"({"pad_token": "t", "additional_special_tokens": ["e", "he"]})",
           R"({"mask_token": )" + typed +
               R"(, "bos_token": "[word]", "eos_token": "<|end|>", "unk_token": "<think>",)"
               R"( "pad_token": "</think>", "cls_token": "ab", "sep_token": "e1"})",
           R"({"additional_special_tokens": ["<think>", )" + typed +
               R"(, "<|end|>"], "pad_token": "[word]"})",
           R"({"extra_special_tokens": ["<think>", "<|end|>"], "image_token": "[word]"})",
           R"({"z_token": "[word]", "a_token": "<|end|>"})",
           R"({"extra_special_tokens": {"z_token": "<think>", "a_token": "<|end|>"}})",
           R"({"model_specific_special_tokens": {"z_token": "<think>", "a": "<|end|>"}})",
           R"({"extra_special_tokens": ["<think>"], "additional_special_tokens": ["<|end|>"]})",
           R"({"extra_special_tokens": null, "additional_special_tokens": ["<|end|>"]})"}) {
    Files files = base;
    files["tokenizer_config.json"] = with_fields(files["tokenizer_config.json"], names);
    out.push_back(files);
  }
  for (const char* map :
       {R"({"pad_token": "<think>", "eos_token": {"content": "<|end|>", "lstrip": false,)"
        R"( "rstrip": true, "normalized": false, "single_word": false}})",
        R"({"extra_special_tokens": ["[word]"], "mask_token": "<mask>"})"}) {
    Files older = base;
    older["special_tokens_map.json"] = map;
    out.push_back(older);
  }
  return out;
}

/// Models that strip spaces, or have no prefix. Tables of rewritings and Unigram are not here:
/// `tokenizers` is not SentencePiece there, to whose ids SharedModel.MatchesSentencePieceItself
/// holds.
std::vector<Files> normalising_layouts() {
  std::vector<Files> out;
  for (const Arguments& arguments : {Arguments{{"remove_extra_whitespaces", "true"}},
                                     Arguments{{"add_dummy_prefix", "false"}}}) {
    for (const bool legacy : {true, false}) {
      const std::string model = train_sentencepiece(arguments);
      Json config = sentencepiece_config(model);
      config["legacy"] = legacy;
      out.push_back({{"tokenizer.model", model}, {"tokenizer_config.json", to_text(config)}});
    }
  }
  return out;
}

/// Directories with a vocab.json, a tokenizer.json, or more than one kind.
std::vector<Files> byte_level_layouts() {
  std::vector<Files> out;
  for (const char* name : {"GPT2Tokenizer", "GPT2TokenizerFast", "GPTNeoXTokenizer",
                           "Qwen2Tokenizer", "Qwen2TokenizerFast"}) {
    for (const bool prefix : {false, true})
      out.push_back(vocab_files({{"tokenizer_class", name}, {"add_prefix_space", prefix}}));
    Files older = vocab_files({{"tokenizer_class", name}});
    older["special_tokens_map.json"] =
        R"({"eos_token": "<|end|>", "additional_special_tokens": ["<mask>"]})";
    older["added_tokens.json"] = R"({"<|end|>": 263, "<think>": 264, "<mask>": 265})";
    out.push_back(older);
    out.push_back(vocab_files({{"tokenizer_class", name},
                               {"added_tokens_decoder",
                                {{"263", added("<|end|>", true)},
                                 {"266", added("</think>", false, "lstrip")},
                                 {"264", added("<think>", false)},
                                 {"265", added("[word]", true, "single_word")}}},
                               {"eos_token", "<|end|>"}}));
  }
  const std::string json = to_text(byte_json());
  out.push_back({{"tokenizer.json", json}});
  out.push_back({{"tokenizer.json", json},
                 {"tokenizer_config.json", R"({"tokenizer_class": "PreTrainedTokenizerFast"})"}});
  out.push_back({{"tokenizer.json", json},
                 {"tokenizer.model", plain_model()},
                 {"vocab.json", "{}"},
                 {"merges.txt", ""},
                 {"tokenizer_config.json",
                  to_text({{"tokenizer_class", "PreTrainedTokenizerFast"},
                           {"added_tokens_decoder",
                            {{"263", added("<|end|>", true)}, {"264", added("<think>", false)}}},
                           {"pad_token", "<mask>"},
                           {"eos_token", "<|end|>"}})}});
  return out;
}

std::string without_marks(std::string text) {
  for (size_t at; (at = text.find("\u2581")) != std::string::npos;) text.erase(at, 3);
  return text;
}

void expect_transformers_agrees(const std::vector<Files>& layouts, bool marks = true) {
  std::vector<std::unique_ptr<Layout>> places;
  Json request = {{"jobs", Json::array()}};
  for (const Files& files : layouts) {
    places.push_back(std::make_unique<Layout>(files));
    std::vector<std::string> texts = random_texts(80, places.size());
    for (std::string& text : texts)
      if (!marks) text = without_marks(text);
    request["jobs"].push_back({{"directory", places.back()->path()}, {"texts", texts}});
  }
  const auto reply = ask_python("transformers_peer.py", request);
  if (!reply) GTEST_SKIP() << "no Python package transformers (5), sentencepiece or protobuf";
  for (size_t i = 0; i < places.size(); ++i) {
    const auto config = layouts[i].find("tokenizer_config.json");
    const std::string which = fmt::format(
        "layout {}, {}", i, config == layouts[i].end() ? std::string() : config->second);
    ASSERT_FALSE((*reply)[i].contains("error")) << which << (*reply)[i];
    const Tokenizer t = Tokenizer::load(places[i]->path());
    const auto texts = request["jobs"][i]["texts"].get<std::vector<std::string>>();
    size_t wrong = 0;
    for (size_t k = 0; k < texts.size(); ++k) {
      const Ids ids = t.encode(texts[k], {.parse_special = true});
      const Ids expected = (*reply)[i]["ids"][k].get<Ids>();
      if (ids != expected && ++wrong == 1) {
        EXPECT_EQ(to_text(ids), to_text(expected))
            << which << " (" << (*reply)[i]["class"] << "), text " << to_text(texts[k]);
      }
    }
    EXPECT_EQ(wrong, 0u) << which;
  }
}

TEST(TransformersPeer, AgreesOnEverySentencePieceLayoutSlow) {
  expect_transformers_agrees(sentencepiece_layouts());
  // SentencePiece strips its own mark, written in a text, as it strips spaces; `tokenizers` does
  // not.
  expect_transformers_agrees(normalising_layouts(), false);
}

TEST(TransformersPeer, AgreesOnEveryByteLevelLayoutSlow) {
  expect_transformers_agrees(byte_level_layouts());
}

TEST(TransformersPeer, AgreesOnNamedTokensSlow) {
  for (const char* name : {"", "LlamaTokenizer", "PanguTokenizer"}) {
    const Json config = *name == 0 ? Json::object() : Json{{"tokenizer_class", name}};
    expect_transformers_agrees(named_token_layouts(
        {{"tokenizer.model", plain_model()}, {"tokenizer_config.json", to_text(config)}}));
  }
  const char* fast = R"({"tokenizer_class": "PreTrainedTokenizerFast"})";
  expect_transformers_agrees(named_token_layouts(
      {{"tokenizer.json", to_text(byte_json())}, {"tokenizer_config.json", fast}}));
  expect_transformers_agrees(
      named_token_layouts(vocab_files({{"tokenizer_class", "GPT2Tokenizer"}})));
}

TEST(TokenizerLayout, TokensThatOnlyAConfigNamesGetTheNextIds) {
  const int32_t size = Tokenizer::parse(plain_model(), "", "model").vocab_size();
  const Layout layout({{"tokenizer.model", plain_model()},
                       {"tokenizer_config.json",
                        R"({"extra_special_tokens": ["<b>", {"content": "<c>", "lstrip": true}],)"
                        R"( "model_specific_special_tokens": {"image": "<i>"}})"},
                       {"special_tokens_map.json",
                        R"({"pad_token": {"content": "<pad>"}, "eos_token": "<end>"})"}});
  const Tokenizer t = Tokenizer::load(layout.path());
  EXPECT_EQ(t.eos_id(), size);
  EXPECT_EQ(t.pad_id(), size + 1);
  const Ids ids = t.encode("<i><b> <c>", {.parse_special = true});
  EXPECT_EQ(ids, (Ids{size + 2, size + 3, size + 4}));
  EXPECT_EQ(t.warnings().size(), 5u);
  const Layout saved({});
  t.save(saved.path());
  EXPECT_EQ(Tokenizer::load(saved.path()).hash(), t.hash());
  EXPECT_EQ(Tokenizer::load(saved.path()).pad_id(), t.pad_id());
}

/// A folder's ids are those of the GGUF file that is made of it, spaces in front included.
TEST(TokenizerLayout, TravelsThroughGguf) {
  const fs::path file = fs::temp_directory_path() / fmt::format("um_layout_{}.gguf", ::getpid());
  std::vector<Files> layouts = sentencepiece_layouts();
  for (const Files& more : normalising_layouts()) layouts.push_back(more);
  for (const Files& more :
       named_token_layouts({{"tokenizer.model", plain_model()}, {"tokenizer_config.json", "{}"}}))
    layouts.push_back(more);
  for (const Files& files : layouts) {
    const Layout layout(files);
    const Tokenizer t = Tokenizer::load(layout.path());
    write_gguf(file, vocabulary_entries(vocabulary_of(t, t.vocab_size())), {}, {});
    const Tokenizer back = Tokenizer::load(file);
    const std::string& config = files.at("tokenizer_config.json");
    EXPECT_EQ(back.hash(), t.hash()) << config;
    EXPECT_EQ(back.pad_id(), t.pad_id()) << config;
    std::vector<std::string> texts = random_texts(40, 5);
    for (const char* text : {" a", "  a", "a", " ", "<s> a", "<s>a", "\u2581a", " <s> a"})
      texts.emplace_back(text);
    for (const std::string& text : texts)
      EXPECT_EQ(back.encode(text, {.parse_special = true}), t.encode(text, {.parse_special = true}))
          << config << text;
  }
  fs::remove(file);
}

// The text of the issue: with "legacy": false only a text's own beginning has the prefix space.
TEST(TokenizerLayout, LegacyFalseHasOnePrefixSpace) {
  const fs::path model = shared_folder() / "tokenizers" / "sp_test.model";
  if (!fs::exists(model)) GTEST_SKIP() << "no " << model;
  const auto first = [&](const char* config) {
    const Layout layout({{"tokenizer.model", read_file(model)}, {"tokenizer_config.json", config}});
    Ids ids = Tokenizer::load(layout.path()).encode("<s>Hello", {.parse_special = true});
    ids.resize(3);
    return ids;
  };
  EXPECT_EQ(first(R"({"legacy": false})"), (Ids{1, 165, 16}));
  EXPECT_EQ(first(R"({"legacy": false, "tokenizer_class": "LlamaTokenizer"})"), (Ids{1, 165, 16}));
  EXPECT_EQ(first(R"({"legacy": true})")[1], 151);
}

TEST(TokenizerLayout, SaysWhatItCannotRead) {
  const auto message = [](const Files& files) -> std::string {
    const Layout layout(files);
    try {
      Tokenizer::load(layout.path());
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  const auto has = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  has(message({}), "no tokenizer.json");
  has(message({{"tekken.json", "{}"}}), "found tekken.json");
  has(message({{"tokenizer.model", "IQ== 0\nIg== 1\n"}}), "tiktoken");
  Files files = vocab_files({{"tokenizer_class", "BartTokenizer"}});
  has(message(files), "BartTokenizer");
  files.erase("tokenizer_config.json");
  has(message(files), "tokenizer_class");
  files = vocab_files({{"tokenizer_class", "GPT2Tokenizer"}});
  files["merges.txt"] = "a\n";
  has(message(files), "merges.txt:1");
  for (const char* extra : {"\"<x>\"", "5", "[5]", "[null]", "[[\"<x>\"]]"}) {
    const std::string config = fmt::format(R"({{"additional_special_tokens": {}}})", extra);
    has(message({{"tokenizer.model", plain_model()}, {"tokenizer_config.json", config}}),
        "additional_special_tokens");
  }
  has(message(
          {{"tokenizer.model", plain_model()}, {"tokenizer_config.json", R"({"pad_token": 5})"}}),
      "pad_token");
  files = vocab_files({{"tokenizer_class", "GPT2Tokenizer"}});
  files["added_tokens.json"] = R"({"<x>": "y"})";
  has(message(files), "added_tokens.json");
}

// The kind: a few bytes that would make the program keep a gigabyte.
TEST(TokenizerLayout, NamesClassesThatReadATokenizerModelInAWayOfTheirOwn) {
  for (const char* type : {"T5Tokenizer", "XLMRobertaTokenizerFast", "CamembertTokenizer"}) {
    Json config = sentencepiece_config(plain_model());
    config["tokenizer_class"] = type;
    const Layout place(
        {{"tokenizer.model", plain_model()}, {"tokenizer_config.json", to_text(config)}});
    try {
      static_cast<void>(Tokenizer::load(place.path()));
      ADD_FAILURE() << type;
    } catch (const Error& error) {
      EXPECT_NE(std::string_view(error.what()).find(type), std::string_view::npos) << error.what();
    }
  }
}

TEST(TokenizerLayout, RefusesIdsFarBehindTheVocabulary) {
  const auto fails = [](const Files& files) {
    const Layout layout(files);
    EXPECT_THROW(Tokenizer::load(layout.path()), Error);
  };
  Json json = byte_json();
  json["model"]["vocab"]["far"] = (1 << 24) - 1;
  fails({{"tokenizer.json", to_text(json)}});
  json = byte_json();
  json["added_tokens"][0]["id"] = (1 << 24) - 1;
  fails({{"tokenizer.json", to_text(json)}});
  Files files = vocab_files({{"tokenizer_class", "GPT2Tokenizer"}});
  files["added_tokens.json"] = R"({"<x>": 16777215})";
  fails(files);
  Json config = sentencepiece_config(plain_model());
  config["added_tokens_decoder"]["1000000"] = added("<far>", true);
  fails({{"tokenizer.model", plain_model()}, {"tokenizer_config.json", to_text(config)}});
}

TEST(TokenizerLayout, SavingRemovesTheOtherKindsFile) {
  const Layout layout({{"tokenizer.json", to_text(byte_json())}});
  tiny_tokenizer().save(layout.path());
  EXPECT_EQ(Tokenizer::load(layout.path()).hash(), tiny_tokenizer().hash());
}

// ---- time and memory ----

/// Processor seconds of the fastest of three runs.
double seconds_of(const std::function<void()>& run) {
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    const clock_t start = std::clock();
    run();
    best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  return best;
}

std::string repeated(std::string_view part, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += part;
  return out;
}

/// Texts that make something long: a row of marks, a word, blanks, digits, special tokens.
std::vector<std::string> long_texts(size_t count) {
  return {"a" + repeated("\u0301\u0323", count),
          repeated("a", 4 * count),
          repeated(" ", 4 * count) + "x",
          repeated("1", 4 * count),
          repeated("<|end|>", count),
          repeated("[word]", count),
          repeated("<", 4 * count),
          repeated("鸭", 2 * count),
          repeated("\r\n \t", count),
          repeated("İ'", count)};
}

void expect_linear(const Tokenizer& t, const std::string& name) {
  constexpr size_t kCount = 10000;
  const auto small = long_texts(kCount), large = long_texts(2 * kCount);
  for (size_t i = 0; i < small.size(); ++i) {
    const EncodeOptions options{.parse_special = true};
    const double once = seconds_of([&] { t.encode(small[i], options); });
    const double twice = seconds_of([&] { t.encode(large[i], options); });
    EXPECT_LT(twice, 3 * once + 0.02) << name << ", text " << i;
    EXPECT_LT(twice, 2) << name << ", text " << i;
  }
}

Tokenizer with_parts(const Json& normalizer, const Json& pre_tokenizer) {
  Json json = byte_json();
  json["normalizer"] = normalizer;
  if (!pre_tokenizer.is_null()) json["pre_tokenizer"] = pre_tokenizer;
  Json config = {
      {"added_tokens_decoder",
       {{"263", added("<|end|>", true, "lstrip")}, {"264", added("[word]", true, "single_word")}}}};
  return Tokenizer::from_json(to_text(json), to_text(config), "test");
}

TEST(TokenizerTime, IsLinearInTheTextSlow) {
  for (const char* form : {"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "StripAccents"})
    expect_linear(with_parts({{"type", form}}, nullptr), form);
  for (const char* model_type : {"bpe", "unigram"}) {
    const std::string model = train_sentencepiece({{"model_type", model_type}});
    const Layout layout({{"tokenizer.model", model},
                         {"tokenizer_config.json", to_text(sentencepiece_config(model))}});
    expect_linear(Tokenizer::load(layout.path()), model_type);
  }
}

// Cutting a long text into parts changes no id. (Unigram is left out: the library adds up scores in
// single precision, so that what it says of a long text depends on what came before.)
TEST(TokenizerTime, PartsOfLongTextsGiveTheIdsOfTheWhole) {
  for (const Arguments& arguments :
       {Arguments{}, Arguments{{"remove_extra_whitespaces", "true"}},
        Arguments{{"add_dummy_prefix", "false"}}, Arguments{{"split_by_whitespace", "false"}},
        Arguments{{"treat_whitespace_as_suffix", "true"}},
        Arguments{{"normalization_rule_name", "nmt_nfkc"}}}) {
    const std::string model = train_sentencepiece(arguments);
    const Layout layout(
        {{"tokenizer.model", model}, {"tokenizer_config.json", "{\"legacy\": true}"}});
    const Tokenizer t = Tokenizer::load(layout.path());
    sentencepiece::SentencePieceProcessor peer;
    ASSERT_TRUE(peer.LoadFromSerializedProto(model).ok());
    std::string text;
    for (const std::string& part : random_texts(1500, 3)) text += part + " the river geese ";
    Ids expected;
    ASSERT_TRUE(peer.Encode(text, &expected).ok());
    for (const char* mark : {"<s>", "</s>", "<unk>"}) {
      for (size_t at; (at = text.find(mark)) != std::string::npos;) text.replace(at, 1, "_");
    }
    ASSERT_TRUE(peer.Encode(text, &expected).ok());
    const Ids ids = t.encode(text);
    const auto differ = std::mismatch(ids.begin(), ids.end(), expected.begin(), expected.end());
    EXPECT_EQ(ids, expected) << Json(arguments) << ", from id " << differ.first - ids.begin()
                             << " of " << ids.size() << ", at "
                             << t.decode(Ids(ids.begin(), differ.first)).size();
  }
}

TEST(TokenizerBounds, EndAtTheFirstTokenTooMany) {
  const Tokenizer json = with_parts({{"type", "NFC"}}, nullptr);
  for (const Tokenizer& t : {json, tiny_tokenizer()}) {
    const Ids ids = t.encode("the river, the geese");
    const auto bound = [&](size_t tokens) {
      return t.bounded({.max_tokens = static_cast<int64_t>(tokens)});
    };
    EXPECT_EQ(bound(ids.size()).encode("the river, the geese"), ids);
    EXPECT_THROW(bound(ids.size() - 1).encode("the river, the geese"), TooManyTokens);
    const std::string text = repeated("the river, the geese ", 400000);  // 8 MB
    EXPECT_LT(seconds_of([&] { EXPECT_THROW(bound(100).encode(text), TooManyTokens); }), 20);
  }
}

TEST(TokenizerBounds, StopWhenTheyAreTold) {
  const Tokenizer json = with_parts(nullptr, nullptr);
  for (const Tokenizer& t : {json, tiny_tokenizer()}) {
    for (const std::string& text : {repeated("the river ", 400000), repeated("a", 4000000)}) {
      int asked = 0;
      const StopScope scope([&] { return ++asked == 2; });
      EXPECT_THROW(t.encode(text), Stopped);
      EXPECT_EQ(asked, 2);
    }
    const std::vector<int32_t> ids(100000, t.encode("river")[0]);
    int asked = 0;
    const StopScope scope([&] { return ++asked == 2; });
    EXPECT_THROW(t.decode(ids), Stopped);
  }
}

TEST(TokenizerConfig, SaysWhatIsNotDone) {
  const auto warnings = [](Json config, bool pieces) {
    return (pieces ? Tokenizer::parse(tiny_tokenizer().impl().model, config.dump(), "t")
                   : Tokenizer::from_json(byte_tokenizer_json({"<s>"}), config.dump(), "t"))
        .warnings();
  };
  for (const bool pieces : {true, false}) {
    EXPECT_TRUE(warnings({{"split_special_tokens", false}}, pieces).empty());
    const auto told = warnings({{"split_special_tokens", true}}, pieces);
    ASSERT_EQ(told.size(), 1u);
    EXPECT_NE(told[0].find("split_special_tokens"), std::string::npos);
  }
}

}  // namespace
}  // namespace um
