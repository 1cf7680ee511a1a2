// What a model's files say of texts: every place that may name an end, whether it is a base model,
// and the ids that files are written with.
#include "models/model_texts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "ops/devices.h"
#include "tests/text/byte_tokenizer_util.h"
#include "tests/text/jinja_cases_util.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

class ModelTexts : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::path(testing::TempDir()) / fmt::format("model_texts_{}", ::getpid());
    fs::remove_all(directory_);
    fs::create_directories(directory_);
    config_ = read_named_config("nano-ultra");
    config_.eos = {};
  }
  void TearDown() override { fs::remove_all(directory_); }

  void write(const char* name, const std::string& text) const {
    write_file_atomic(directory_ / name, text);
  }
  Json read(const char* name) const { return read_json_file(directory_ / name); }

  fs::path directory_;
  ModelConfig config_;
};

TEST_F(ModelTexts, AnEndMayStandInAnyFile) {
  const Tokenizer none = byte_tokenizer({"<a>", "<b>", "<c>"});
  EXPECT_EQ(find_ends(config_, none, directory_).text, Ids{});
  const Tokenizer named =
      byte_tokenizer({"<a>", "<b>", "<c>"}, R"({"eos_token": {"content": "<b>"}})");
  EXPECT_EQ(find_ends(config_, named, directory_).text, Ids{257});
  config_.eos = {258, 257};
  EXPECT_EQ(find_ends(config_, named, directory_).text, (Ids{257, 258}));
  write("generation_config.json", R"({"eos_token_id": 7})");
  EXPECT_EQ(find_ends(config_, named, directory_).text, (Ids{257, 258, 7}));
  write("generation_config.json", R"({"eos_token_id": [7, 258, 8]})");
  EXPECT_EQ(find_ends(config_, named, directory_).text, (Ids{257, 258, 7, 8}));
  EXPECT_EQ(find_ends(config_, named, {}).text, (Ids{257, 258}));
  write("generation_config.json", R"({"eos_token_id": "</s>"})");
  EXPECT_THROW(find_ends(config_, named, directory_), Error);
}

TEST_F(ModelTexts, ATurnEndsWhereTheTemplateSays) {
  const Tokenizer tokenizer =
      byte_tokenizer({"<|im_start|>", "<|im_end|>", "</s>"}, R"({"eos_token": "</s>"})");
  const ChatTemplate chat = ChatTemplate::from_source(kChatMlTemplate, "t", tokenizer);
  const Ends ends = find_ends(config_, tokenizer, directory_, &chat);
  EXPECT_EQ(ends.text, Ids{258});
  EXPECT_EQ(ends.turn, (Ids{258, 257}));
}

TEST_F(ModelTexts, TextsMayEndAtTexts) {
  using Texts = std::vector<std::string>;
  const Tokenizer tokenizer = byte_tokenizer({"<a>", "<b>"});
  EXPECT_EQ(find_stops(directory_), Texts{});
  for (const char* none : {"{}", R"({"stop_strings": null})", R"({"stop_strings": []})"}) {
    write("generation_config.json", none);
    EXPECT_EQ(find_stops(directory_), Texts{}) << none;
  }
  write("generation_config.json", R"({"stop_strings": "END"})");
  EXPECT_EQ(find_stops(directory_), Texts{"END"});
  write("generation_config.json", R"({"stop_strings": ["END", "<b>"]})");
  EXPECT_EQ(find_stops(directory_), (Texts{"END", "<b>"}));
  EXPECT_EQ(find_ends(config_, tokenizer, directory_).text, Ids{257});  // not shown as text
  for (const char* bad : {"3", R"([3])", R"({"a": 1})", "true", R"("")", R"(["a", ""])"}) {
    write("generation_config.json", fmt::format(R"({{"stop_strings": {}}})", bad));
    try {
      find_stops(directory_);
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("stop_strings"), std::string::npos) << error.what();
    }
  }
}

/// SentencePiece has an end of its own beside the one that tokenizer_config.json names.
TEST_F(ModelTexts, EndsOfSentencePiece) {
  const Tokenizer& tokenizer = tiny_tokenizer();
  EXPECT_EQ(find_ends(config_, tokenizer, {}).text, (Ids{tokenizer.eos_id(), 2}));
  config_.vocab = 3;  // tokens that the model cannot write end nothing
  EXPECT_EQ(find_ends(config_, tokenizer, {}).text, Ids{2});
}

TEST_F(ModelTexts, BaseModels) {
  const auto config = [&](const char* what) {
    write("config.json", Json{{"trained_for", what}}.dump());
  };
  EXPECT_TRUE(is_base_model(directory_));
  EXPECT_EQ(trained_for_next(directory_), "text");  // a corpus
  config("text");
  EXPECT_TRUE(is_base_model(directory_));
  config("chat");
  EXPECT_FALSE(is_base_model(directory_));
  // The record counts, then the template.
  write("tokenizer_config.json", R"({"chat_template": "{{ messages }}"})");
  EXPECT_FALSE(is_base_model(directory_));
  config("text");
  EXPECT_TRUE(is_base_model(directory_));
  config("nothing");
  EXPECT_FALSE(is_base_model(directory_));
  EXPECT_EQ(trained_for_next(directory_), "text");
  config("someone else's");
  EXPECT_FALSE(is_base_model(directory_));
  write("config.json", "{}");
  EXPECT_FALSE(is_base_model(directory_));
  EXPECT_EQ(trained_for_next(directory_), "");  // a published model stays what it was
}

TEST_F(ModelTexts, SavedModelsHaveTheIdsOfTheirTokenizer) {
  const Tokenizer& tokenizer = tiny_tokenizer();
  tokenizer.save(directory_);
  clear_token_ids(config_);
  config_.vocab = 512;
  const auto model = make_model(config_, cpu_device());
  model->params().initialize(1);
  save_model(*model, directory_);
  for (const char* name : {"config.json", "generation_config.json"}) {
    const Json json = read(name);
    EXPECT_EQ(json["bos_token_id"], tokenizer.bos_id()) << name;
    EXPECT_EQ(json["eos_token_id"], tokenizer.eos_id()) << name;
    EXPECT_TRUE(json.value("pad_token_id", Json()).is_null()) << name;  // nor has the tokenizer
    EXPECT_EQ(json["unk_token_id"], tokenizer.unk_id()) << name;
  }
}

/// What a generation_config.json says stays, ids that it lacks are added.
TEST_F(ModelTexts, GenerationConfigKeepsWhatItSays) {
  write("generation_config.json", R"({"temperature": 0.6, "do_sample": true, "eos_token_id": 2})");
  write_generation_config(directory_,
                          {{"vocab_size", 10}, {"bos_token_id", 1}, {"eos_token_id", {4, 2}}});
  const Json json = read("generation_config.json");
  EXPECT_EQ(json["temperature"], 0.6);
  EXPECT_EQ(json["bos_token_id"], 1);
  EXPECT_EQ(json["eos_token_id"], Json::array({2, 4}));
}

}  // namespace
}  // namespace um
