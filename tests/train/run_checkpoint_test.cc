// Checkpoints of a run: complete or not there, hostile state files, a full disk, leftovers.
#include "train/run_checkpoint.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <functional>

#include "core/files.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "ops/devices.h"
#include "tests/text/tiny_tokenizer_util.h"
#include "tests/train/corpus_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

class RunCheckpointTest : public ::testing::Test {
 protected:
  RunCheckpointTest() : directory_("run_checkpoint") {
    ModelConfig config = read_config(fs::path(UM_SOURCE_DIR) / "configs" / "nano-ultra");
    config.vocab = 64;
    model_ = make_model(config, cpu_device());
    model_->params().initialize(1);
    optimizer_ = std::make_unique<Optimizer>(model_->params(), AdamWOptions{});
  }

  fs::path run() const { return directory_.path() / "run"; }
  RunState at(int64_t step) const { return {.step = step, .tokens = 9, .loader = Json::object()}; }
  fs::path save(int64_t step, int64_t keep = 2, const fs::path& tokenizer = {}) {
    return save_checkpoint(run(), *model_, *optimizer_, at(step), {.from = tokenizer}, keep);
  }
  RunState load(const fs::path& checkpoint) {
    return load_checkpoint(checkpoint, *model_, *optimizer_);
  }
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(run() / "checkpoints"))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

  testing::TemporaryDirectory directory_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Optimizer> optimizer_;
};

TEST_F(RunCheckpointTest, KeepsTheNewest) {
  EXPECT_FALSE(latest_checkpoint(run()).has_value());
  for (const int64_t step : {1, 2, 10}) save(step);
  EXPECT_EQ(entries(), (std::vector<std::string>{"step-00000002", "step-00000010"}));
  EXPECT_EQ(latest_checkpoint(run())->filename(), "step-00000010");
  EXPECT_EQ(load(*latest_checkpoint(run())).step, 10);
}

TEST_F(RunCheckpointTest, LongRunsSortByNumber) {
  for (const int64_t step : {99999999, 100000000}) save(step, 5);
  EXPECT_EQ(latest_checkpoint(run())->filename(), "step-100000000");
}

TEST_F(RunCheckpointTest, LeftoversAreIgnoredAndCleared) {
  save(1);
  const fs::path parent = run() / "checkpoints";
  for (const char* name : {"step-00000007.tmp", "step-00000008"}) {
    fs::create_directories(parent / name);
    write_file_atomic(parent / name / "config.json", "{}");
  }
  write_file_atomic(parent / "step-00000007.tmp" / "training_state.json", "{}");
  EXPECT_EQ(incomplete_checkpoints(run()), std::vector<fs::path>{parent / "step-00000008"});
  EXPECT_EQ(latest_checkpoint(run())->filename(), "step-00000001");
  save(2);
  EXPECT_EQ(entries(),
            (std::vector<std::string>{"step-00000001", "step-00000002", "step-00000008"}));
}

TEST_F(RunCheckpointTest, AFullDiskLeavesTheCheckpointBefore) {
  save(1);
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 20000, before.rlim_max };
  ::setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  try {
    save(2);
  } catch (const Error& error) {
    message = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, old_handler);
  EXPECT_NE(message.find("previous checkpoint is intact"), std::string::npos) << message;
  EXPECT_EQ(entries(), (std::vector<std::string>{"step-00000001"}));
  EXPECT_EQ(load(*latest_checkpoint(run())).step, 1);
}

TEST_F(RunCheckpointTest, OnlyWhatIsThereIsIntact) {
  fs::create_directories(run());
  write_file_atomic(run() / "checkpoints", "not a directory");
  try {
    save(1);
    FAIL() << "there is a file in the way";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("intact"), std::string::npos) << error.what();
  }
}

TEST_F(RunCheckpointTest, CopiesTheTokenizer) {
  const fs::path tokenizer = directory_.path() / "tokenizer";
  fs::create_directories(tokenizer);
  tiny_tokenizer().save(tokenizer);
  const fs::path saved = save(1, 2, tokenizer);
  for (const char* name : {"tokenizer.model", "tokenizer_config.json"})
    EXPECT_EQ(read_file(saved / name), read_file(tokenizer / name)) << name;
}

TEST_F(RunCheckpointTest, HostileStatesAreErrors) {
  const fs::path checkpoint = save(3);
  const Json good = read_json_file(checkpoint / "training_state.json");
  const auto refused = [&](const std::string& text) {
    write_file_atomic(checkpoint / "training_state.json", text);
    EXPECT_THROW(load(checkpoint), Error) << text;
  };
  for (const char* text : {"", "[]", "null", "7", "{}", "{\"step\":"}) refused(text);
  const auto with = [&](const char* key, const Json& value) {
    Json changed = good;
    changed[key] = value;
    refused(changed.dump());
  };
  for (const char* key : {"step", "tokens", "main_steps", "skipped"}) {
    with(key, -1);
    with(key, 1e300);
    with(key, 2.5);
    with(key, "3");
    with(key, std::numeric_limits<int64_t>::max());
    with(key, true);
  }
  with("skipped", 4);  // more than steps
  with("seconds", -1.0);
  with("seconds", "1");
  write_file_atomic(checkpoint / "training_state.json", good.dump());
  EXPECT_EQ(load(checkpoint).step, 3);
}

TEST_F(RunCheckpointTest, HostileOptimizerFilesAreErrors) {
  const fs::path checkpoint = save(3), file = checkpoint / "optimizer.safetensors";
  const std::string good = read_file(file, uint64_t{1} << 30);
  const auto refused = [&](const std::string& bytes) {
    write_file_atomic(file, bytes);
    EXPECT_THROW(load(checkpoint), Error);
  };
  refused("");
  refused(good.substr(0, 7));
  refused(good.substr(0, good.size() - 1));
  std::string renamed = good;
  renamed.replace(renamed.find("\"m.model.norm.weight\""), 3, "\"x.");
  refused(renamed);
  fs::remove(file);
  EXPECT_THROW(load(checkpoint), Error);
  write_file_atomic(file, good);
  EXPECT_EQ(load(checkpoint).step, 3);
}

class PartlyFrozenTest : public RunCheckpointTest {
 protected:
  /// Gives every state that there is a value of its own.
  static void fill(const Model& model, const Optimizer& optimizer) {
    float value = 1;
    for (const auto& param : model.params().all()) {
      if (!optimizer.has_states(*param)) continue;
      std::fill_n(optimizer.first_moment(*param).f32(), param->value.count(), value);
      std::fill_n(optimizer.second_moment(*param).f32(), param->value.count(), 2 * value);
      ++value;
    }
  }
  /// The same model, without what `freeze` says, and its optimizer.
  struct Training {
    std::unique_ptr<Model> model;
    std::unique_ptr<Optimizer> optimizer;
  };
  Training make(const std::function<bool(const Param&)>& freeze) const {
    Training training;
    training.model = make_model(model_->config(), cpu_device());
    for (const auto& param : training.model->params().all())
      if (freeze(*param)) param->set_trainable(false);
    training.optimizer = std::make_unique<Optimizer>(training.model->params(), AdamWOptions{});
    return training;
  }
  static bool frozen(const Param& param) { return !param.name.ends_with("norm.weight"); }
  static bool nothing(const Param&) { return false; }
};

TEST_F(PartlyFrozenTest, StatesAreThoseOfWhatTrains) {
  const Training training = make(frozen);
  training.model->params().initialize(1);
  fill(*training.model, *training.optimizer);
  const fs::path saved = save_checkpoint(run(), *training.model, *training.optimizer, at(1), {}, 2);
  const SafetensorsFile file(saved / "optimizer.safetensors");
  const Json json = read_json_file(saved / "training_state.json");
  const JsonObject state(json, "state");
  const std::vector<std::string> names = state.strings("without_states");
  int64_t elements = 0;
  for (const auto& param : training.model->params().all()) {
    const bool trains = !frozen(*param);
    EXPECT_EQ(training.optimizer->has_states(*param), trains) << param->name;
    EXPECT_EQ(std::ranges::count(names, param->name), trains ? 0 : 1) << param->name;
    for (const Piece& piece : param->pieces)
      for (const char* moment : {"m.", "v."})
        EXPECT_EQ(file.find(moment + piece.name) != nullptr, trains) << piece.name;
    if (trains) elements += param->value.count();
  }
  EXPECT_GT(elements, 0);

  const Training again = make(frozen);
  EXPECT_EQ(load_checkpoint(saved, *again.model, *again.optimizer).step, 1);
  // What trains from now on has states of zeros, the others keep theirs.
  const Training thawed = make(nothing);
  load_checkpoint(saved, *thawed.model, *thawed.optimizer);
  for (const auto& param : training.model->params().all()) {
    const Param& same = *again.model->params().find(param->name);
    const Param& all = *thawed.model->params().find(param->name);
    EXPECT_EQ(all.value.to_vector(), param->value.to_vector());
    const std::vector<float> moment = thawed.optimizer->second_moment(all).to_vector();
    if (frozen(*param)) {
      EXPECT_EQ(moment, std::vector<float>(moment.size())) << param->name;
      continue;
    }
    const std::vector<float> expected = training.optimizer->second_moment(*param).to_vector();
    EXPECT_EQ(moment, expected) << param->name;
    EXPECT_EQ(again.optimizer->second_moment(same).to_vector(), expected) << param->name;
  }
}

/// A checkpoint from before the list has states of everything, which resume a partly frozen run.
TEST_F(PartlyFrozenTest, OldCheckpointsResume) {
  fill(*model_, *optimizer_);
  const fs::path saved = save(1);
  Json state = read_json_file(saved / "training_state.json");
  EXPECT_TRUE(state["without_states"].empty());
  state.erase("without_states");
  write_file_atomic(saved / "training_state.json", state.dump());
  const Training training = make(frozen);
  EXPECT_EQ(load_checkpoint(saved, *training.model, *training.optimizer).step, 1);
  for (const auto& param : training.model->params().all())
    if (!frozen(*param)) {
      EXPECT_EQ(training.optimizer->first_moment(*param).to_vector(),
                optimizer_->first_moment(*model_->params().find(param->name)).to_vector());
    }
  const Training whole = make(nothing);
  load_checkpoint(saved, *whole.model, *whole.optimizer);
}

/// States that the list does not leave out are missed.
TEST_F(PartlyFrozenTest, LostStatesAreErrors) {
  const Training training = make(frozen);
  training.model->params().initialize(1);
  const fs::path saved = save_checkpoint(run(), *training.model, *training.optimizer, at(1), {}, 2);
  Json state = read_json_file(saved / "training_state.json");
  state["without_states"] = Json::array();
  write_file_atomic(saved / "training_state.json", state.dump());
  const Training whole = make(nothing);
  EXPECT_THROW(load_checkpoint(saved, *whole.model, *whole.optimizer), Error);
  state["without_states"] = 7;
  write_file_atomic(saved / "training_state.json", state.dump());
  EXPECT_THROW(load_checkpoint(saved, *whole.model, *whole.optimizer), Error);
}

/// A parameter that does not train is stored like any other; only buffers stay f32.
TEST_F(RunCheckpointTest, FrozenParametersKeepTheCheckpointsDtype) {
  model_->params().find("model.norm.weight")->set_trainable(false);
  for (const TensorSpec& spec : checkpoint_specs(model_->params(), DType::bf16))
    EXPECT_EQ(spec.dtype, DType::bf16) << spec.name;
}

TEST(FitsMemoryTest, CountsTheMtpHeads) {
  ModelConfig config = read_config(fs::path(UM_SOURCE_DIR) / "configs" / "nano-ultra");
  config.mtp_layers = 0;
  int64_t copies = 1;  // of the weights: as many as fit without heads, but for a factor of 2
  const auto fits = [&] {
    try {
      check_fits_memory(config, DType::f32, copies, "test");
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  while (fits()) copies *= 2;
  copies /= 2;
  EXPECT_TRUE(fits());
  config.mtp_layers = 16;  // larger than its trunk of a few layers
  EXPECT_FALSE(fits());
}

}  // namespace
}  // namespace um
