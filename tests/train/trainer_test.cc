// The training loop: it learns, repeats itself bit by bit, goes on exactly where it stopped,
// survives a kill at any time, and says what was not finite.
#include "train/trainer.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <thread>
#include <utility>

#include "core/files.h"
#include "core/json.h"
#include "core/rng.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/digests.h"
#include "models/model_texts.h"
#include "ops/devices.h"
#include "tests/train/corpus_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

std::vector<double> losses_of(const fs::path& run) {
  std::vector<double> losses;
  for_each_line(run / "metrics.jsonl", [&](std::string_view line) {
    if (const MetricsLine parsed = parse_metrics_line(line); parsed.step)
      losses.push_back(parsed.step->loss);
  });
  return losses;
}

/// The message of the Error that `work` throws; empty if it throws none.
std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

class TrainerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new testing::TemporaryDirectory("trainer");
    data_ = testing::make_corpus(directory_->path());
  }
  static void TearDownTestSuite() { delete directory_; }

  fs::path run_path(const std::string& name) const { return directory_->path() / name; }

  /// Trains and returns the losses of all steps in the run's metrics.
  std::vector<double> train(const std::string& name, const RunOptions& options, bool resume = false,
                            int64_t stop_after = 0) {
    TrainerHooks hooks;
    Trainer* running = nullptr;
    hooks.interrupted = [&] { return stop_after > 0 && running->state().step >= stop_after; };
    Trainer trainer(pretraining(options), options, run_path(name), cpu_device(), resume, hooks);
    running = &trainer;
    trainer.run();
    return losses_of(run_path(name));
  }

  static testing::TemporaryDirectory* directory_;
  static fs::path data_;
};

testing::TemporaryDirectory* TrainerTest::directory_ = nullptr;
fs::path TrainerTest::data_;

TEST_F(TrainerTest, Learns) {
  RunOptions options = testing::small_run(data_, 150);
  options.train.lr = 1e-2;
  const std::vector<double> losses = train("learns", options);
  ASSERT_EQ(losses.size(), 150u);
  EXPECT_GT(losses[0], 4.5);  // the untrained model knows nothing of 320 tokens
  EXPECT_LT(losses.back(), 0.6 * losses[0]);
}

TEST_F(TrainerTest, SamplesAreWrittenOnceAStep) {
  RunOptions options = testing::small_run(data_, 4);
  options.log.sample_prompts = {"a"};
  for (const auto& [every, expected] :
       std::map<int64_t, std::vector<int64_t>>{{2, {2, 4}}, {3, {3, 4}}, {0, {}}}) {
    options.log.sample_every = every;
    TrainerHooks hooks;
    hooks.sample = [](const Model&, const std::string& prompt, int64_t) { return prompt; };
    const fs::path run = run_path(fmt::format("sampled {}", every));
    Trainer(pretraining(options), options, run, cpu_device(), false, hooks).run();
    std::vector<int64_t> steps;
    for_each_line(run / "samples.jsonl", [&](std::string_view line) {
      if (const auto sample = parse_sample_line(line)) steps.push_back(sample->step);
    });
    EXPECT_EQ(steps, expected) << every;
  }
}

TEST_F(TrainerTest, SameSeedSameBits) {
  const RunOptions options = testing::small_run(data_, 12);
  EXPECT_EQ(train("first", options), train("second", options));
  RunOptions other = options;
  other.data.seed = 2;
  EXPECT_NE(train("other", other), losses_of(run_path("first")));
}

TEST_F(TrainerTest, ResumeIsExact) {
  for (const char* balance : {"ep_group", "bias"}) {
    RunOptions options = testing::small_run(data_, 24);
    options.train.accumulate = 2;
    options.train.balance = balance;
    if (options.train.balance == "bias")
      options.model.set.push_back("router_enable_expert_bias=true");
    options.train.phases.push_back({.steps = 6, .batch = 2, .seq_len = 64, .rope_theta = 5e4});
    const std::string name = balance;
    const std::vector<double> whole = train("whole_" + name, options);
    ASSERT_EQ(whole.size(), 30u);
    for (const int64_t stop : {9, 27}) {  // in the main phase, in the long one
      const std::string run = fmt::format("parts_{}_{}", name, stop);
      train(run, options, false, stop);
      EXPECT_EQ(train(run, options, true), whole) << balance << " stopped after " << stop;
    }
  }
}

TEST_F(TrainerTest, RefusesToOverwriteARun) {
  const RunOptions options = testing::small_run(data_, 2);
  train("taken", options);
  EXPECT_THROW(train("taken", options), Error);
}

TEST_F(TrainerTest, ResumeNeedsARun) {
  const std::string message =
      error_of([&] { train("nothing", testing::small_run(data_, 2), true); });
  EXPECT_NE(message.find("no run to resume"), std::string::npos) << message;
  EXPECT_FALSE(fs::exists(run_path("nothing")));
}

TEST_F(TrainerTest, OneTrainingPerDirectory) {
  const RunOptions options = testing::small_run(data_, 2);
  const auto prepare = [&] {
    Trainer(pretraining(options), options, run_path("shared"), cpu_device(), false, {});
  };
  {
    const Trainer first(pretraining(options), options, run_path("shared"), cpu_device(), false, {});
    const std::string message = error_of(prepare);
    EXPECT_NE(message.find("shared: another process is training here"), std::string::npos)
        << message;
  }
  EXPECT_EQ(error_of(prepare), "");
}

TEST_F(TrainerTest, MistypedModelFieldsAreUsageErrors) {
  RunOptions options = testing::small_run(data_, 2);
  options.model.set = {"eos_token_id=2"};
  EXPECT_EQ(error_of([&] { train("mistyped", options); }),
            "model.set: eos_token_id is that of the corpus' tokenizer");
  options.model.set = {"vocab_sise=320"};
  EXPECT_THROW(train("mistyped", options), UsageError);
  const std::string message = error_of([&] { train("mistyped", options); });
  EXPECT_NE(message.find("no field \"vocab_sise\"; did you mean vocab_size?"), std::string::npos)
      << message;
  options.model.set = {"init_rule=normal"};  // the preset's file may leave it out
  EXPECT_EQ(configure_model(options.model).init, InitRule::normal);
}

TEST_F(TrainerTest, BadOptionsAreUsageErrors) {
  RunOptions options = testing::small_run(data_, 2);
  options.data.path.clear();
  EXPECT_THROW(train("bad", options), UsageError);
  options = testing::small_run(data_, 2);
  options.train.balance = "bias";
  EXPECT_THROW(train("bad", options), UsageError);  // this preset has no router bias
  options = testing::small_run(data_, 2);
  options.train.phases.push_back({.steps = 2, .seq_len = 512});
  EXPECT_THROW(train("bad", options), UsageError);  // the preset's positions end at 256
  options = testing::small_run(data_, 2);
  options.model.set = {"vocab_size=100"};
  EXPECT_THROW(train("bad", options), Error);  // smaller than the tokenizer
}

TEST_F(TrainerTest, FrozenTrunkKeepsItsBits) {
  RunOptions options = testing::small_run(data_, 5);
  options.model.set.push_back("num_nextn_predict_layers=2");
  options.train.freeze = "first_head";
  train("frozen", options);
  const auto trained = load_model(*latest_checkpoint(run_path("frozen")), cpu_device());
  const auto start = make_model(trained->config(), cpu_device());
  start->params().initialize(static_cast<uint64_t>(options.model.seed));
  const std::string head = fmt::format("model.layers.{}.", trained->config().layers + 1);
  size_t changed = 0;
  for (const auto& param : trained->params().all()) {
    const bool same =
        param->value.to_vector() == start->params().find(param->name)->value.to_vector();
    if (param->name.starts_with(head))
      changed += same ? 0 : 1;
    else
      EXPECT_TRUE(same) << param->name;
  }
  EXPECT_GT(changed, 5u);
  options.model.set.push_back("num_nextn_predict_layers=0");
  EXPECT_THROW(train("no_head", options), UsageError);
}

TEST_F(TrainerTest, NonFiniteStopsWithStepAndOp) {
  RunOptions options = testing::small_run(data_, 50);
  options.train.lr = 1e30;
  options.train.final_lr = 1e30;
  options.train.warmup = 0;
  options.train.clip = 0;
  // lr is bounded by the field list for users; here it is set past it to force an overflow.
  try {
    train("nan", options);
    FAIL() << "the run should have stopped";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("step "), std::string::npos) << message;
    EXPECT_NE(message.find("op `"), std::string::npos) << message;
    EXPECT_NE(message.find("last good checkpoint"), std::string::npos) << message;
  }
}

TEST_F(TrainerTest, SkippingGivesUp) {
  RunOptions options = testing::small_run(data_, 50);
  options.train.lr = options.train.final_lr = 1e30;
  options.train.warmup = 0;
  options.train.clip = 0;
  options.train.on_nan = "skip";
  options.train.max_skips = 3;
  const std::string message = error_of([&] { train("skipping", options); });
  EXPECT_NE(message.find("3 steps in a row were skipped"), std::string::npos) << message;
  EXPECT_LT(losses_of(run_path("skipping")).size(), 10u);
}

TEST_F(TrainerTest, CheckpointIsAModelDirectory) {
  const RunOptions options = testing::small_run(data_, 3);
  train("model", options);
  const auto checkpoint = latest_checkpoint(run_path("model"));
  ASSERT_TRUE(checkpoint.has_value());
  std::vector<std::string> warnings;
  const auto model = load_model(*checkpoint, cpu_device(), &warnings);
  EXPECT_TRUE(warnings.empty());
  EXPECT_EQ(model->config().vocab, 320);
  EXPECT_TRUE(fs::exists(*checkpoint / "tokenizer.model"));
}

/// Engines that load a checkpoint end texts where its corpus' documents end.
TEST_F(TrainerTest, CheckpointHasTheIdsOfItsTokenizer) {
  train("ids", testing::small_run(data_, 1));
  const fs::path checkpoint = *latest_checkpoint(run_path("ids"));
  const Tokenizer tokenizer = Tokenizer::load(data_);
  ASSERT_NE(tokenizer.eos_id(), 2);  // that of the preset
  for (const char* name : {"config.json", "generation_config.json"}) {
    const Json json = read_json_file(checkpoint / name);
    EXPECT_EQ(json["bos_token_id"], tokenizer.bos_id()) << name;
    EXPECT_EQ(json["eos_token_id"], tokenizer.eos_id()) << name;
    EXPECT_TRUE(json.value("pad_token_id", Json()).is_null()) << name;  // nor has the tokenizer
    EXPECT_EQ(json["unk_token_id"], tokenizer.unk_id()) << name;
  }
  EXPECT_TRUE(is_base_model(checkpoint));  // its corpus has no chats
  train("ids", testing::small_run(data_, 2), true);
  EXPECT_EQ(read_config(*latest_checkpoint(run_path("ids"))).eos,
            std::vector<int64_t>{tokenizer.eos_id()});
}

/// Weights only know the tokens that they were trained with.
TEST_F(TrainerTest, ACorpusOfAnotherTokenizerIsRefused) {
  train("own", testing::small_run(data_, 1));
  const fs::path foreign = run_path("foreign");
  fs::create_directories(foreign);
  RunOptions options = testing::small_run(testing::make_corpus(foreign, 2000), 2);
  options.model.from = latest_checkpoint(run_path("own"))->string();
  options.model.set.clear();
  EXPECT_NE(error_of([&] { train("tuned_own", options); }).find("another tokenizer"),
            std::string::npos);
}

/// A model that is trained on keeps its tokenizer's files, its template and how it generates.
TEST_F(TrainerTest, KeepsTheTextsOfTheModelItStartsFrom) {
  train("source", testing::small_run(data_, 1));
  const fs::path source = run_path("published");
  fs::copy(*latest_checkpoint(run_path("source")), source);
  fs::remove(source / "digests.json");  // its files will change
  write_file_atomic(source / "chat_template.jinja", "{{ messages[0].content }}");
  write_file_atomic(source / "generation_config.json",
                    R"({"do_sample": true, "temperature": 0.6, "eos_token_id": 7})");
  Json config = read_json_file(source / "config.json");
  config["trained_for"] = "chat";
  write_file_atomic(source / "config.json", config.dump());
  RunOptions options = testing::small_run(data_, 3);
  options.model.from = source.string();
  options.model.set.clear();
  options.log.checkpoint_every = 1;
  options.log.keep = 1;
  train("tuned_source", options, false, 2);
  train("tuned_source", options, true);
  const fs::path checkpoint = *latest_checkpoint(run_path("tuned_source"));
  EXPECT_EQ(read_file(checkpoint / "chat_template.jinja", 100), "{{ messages[0].content }}");
  const Json generation = read_json_file(checkpoint / "generation_config.json");
  EXPECT_EQ(generation["temperature"], 0.6);
  EXPECT_EQ(generation["eos_token_id"], Json::array({7, Tokenizer::load(data_).eos_id()}));
  EXPECT_FALSE(is_base_model(checkpoint));
}

/// A checkpoint says with which RoPE base its weights were trained: eval, generate and other
/// engines only have its config.json.
TEST_F(TrainerTest, CheckpointCarriesThePhasesRopeBase) {
  RunOptions options = testing::small_run(data_, 3);
  options.train.phases.push_back({.steps = 2, .rope_theta = 5e4});
  const double before = configure_model(options.model).attention.rope_theta;
  train("theta", options, false, 3);
  const auto theta = [&] {
    return read_config(*latest_checkpoint(run_path("theta"))).attention.rope_theta;
  };
  EXPECT_EQ(theta(), before);  // the main phase's weights
  train("theta", options, true);
  EXPECT_EQ(theta(), 5e4);
}

/// A clock on which every step takes what `step_seconds` says: the trainer looks at it when a step
/// begins, before its update and at its end.
class StepClock {
 public:
  explicit StepClock(std::function<double(int64_t step)> step_seconds)
      : step_seconds_(std::move(step_seconds)) {}
  void follow(const Trainer& trainer) { trainer_ = &trainer; }
  double operator()() {
    return now_ += trainer_ == nullptr ? 0 : 0.5 * step_seconds_(trainer_->state().step);
  }

 private:
  std::function<double(int64_t)> step_seconds_;
  const Trainer* trainer_ = nullptr;
  double now_ = 0;
};

std::vector<StepMetrics> steps_of(const fs::path& run) {
  std::vector<StepMetrics> steps;
  for_each_line(run / "metrics.jsonl", [&](std::string_view line) {
    if (const MetricsLine parsed = parse_metrics_line(line); parsed.step)
      steps.push_back(*parsed.step);
  });
  return steps;
}

/// A slow spell at the start and a fast machine later: the run uses its minutes, the rate has no
/// kink and reaches its final value, the first line has a total, and a resume carries on.
TEST_F(TrainerTest, MinutesAreUsedWhateverTheSpeed) {
  RunOptions options = testing::small_run(data_, 1);
  options.train.minutes = 1;
  options.train.warmup = 40;
  options.train.lr = 4e-3;
  options.train.final_lr = 2e-4;
  options.train.phases.push_back({.steps = 2, .batch = 2});
  const auto seconds = [](int64_t step) { return step < 12 ? 1.5 : 0.5; };
  const fs::path run = run_path("clocked");
  std::vector<int64_t> totals;
  std::vector<std::string> notes;
  for (const int64_t stop : {30, 1000}) {
    StepClock clock(seconds);
    const Trainer* running = nullptr;
    TrainerHooks hooks;
    hooks.clock = [&] { return clock(); };
    hooks.note = [&](const std::string& text) { notes.push_back(text); };
    hooks.progress = [&](const StepMetrics&, int64_t last, double left) {
      totals.push_back(last);
      EXPECT_GE(left, 0);
    };
    hooks.interrupted = [&] { return running->state().step >= stop; };
    Trainer trainer(pretraining(options), options, run, cpu_device(), stop == 1000, hooks);
    clock.follow(trainer);
    running = &trainer;
    trainer.run();
  }
  const std::vector<StepMetrics> steps = steps_of(run);
  const size_t main = steps.size() - 2;
  EXPECT_EQ(main, 96u);  // 12 of 1.5 s and 84 of 0.5 s
  EXPECT_NEAR(steps[main - 1].time_s, 60, 0.6);
  EXPECT_EQ(totals[0], 42);  // 60 s of 1.5 s, and the second phase
  EXPECT_EQ(totals.back(), 98);
  EXPECT_EQ(notes,
            (std::vector<std::string>{"warm-up cut to 5 of 40 steps: a tenth of train.minutes"}));
  EXPECT_DOUBLE_EQ(steps[4].lr, 4e-3);
  EXPECT_NEAR(steps[main - 1].lr, 2e-4, 2e-6);
  for (size_t i = 5; i < main; ++i) {
    EXPECT_LE(steps[i].lr, steps[i - 1].lr) << i;
    EXPECT_LT(steps[i - 1].lr - steps[i].lr, 2e-4) << i;
  }
  EXPECT_DOUBLE_EQ(steps.back().lr, 2e-4);
}

/// More minutes go on with a run whose time was up.
TEST_F(TrainerTest, MoreMinutesExtendARun) {
  RunOptions options = testing::small_run(data_, 1);
  options.train.minutes = 0.1;
  for (const auto& [minutes, steps] :
       {std::pair(0.1, 6), std::pair(0.2, 12), std::pair(0.05, 12)}) {
    options.train.minutes = minutes;
    StepClock clock([](int64_t) { return 1.0; });
    TrainerHooks hooks;
    hooks.clock = [&] { return clock(); };
    Trainer trainer(pretraining(options), options, run_path("longer"), cpu_device(), minutes != 0.1,
                    hooks);
    clock.follow(trainer);
    trainer.run();
    EXPECT_EQ(trainer.state().step, steps);
  }
}

TEST_F(TrainerTest, ResumeSaysWhatChanges) {
  RunOptions options = testing::small_run(data_, 6);
  train("changed", options, false, 3);
  options.train.lr = 0.001;
  options.train.batch = 2;
  options.log.keep = 3;
  std::vector<std::string> notes;
  TrainerHooks hooks;
  hooks.note = [&](const std::string& text) { notes.push_back(text); };
  Trainer(pretraining(options), options, run_path("changed"), cpu_device(), true, hooks).run();
  EXPECT_EQ(notes, (std::vector<std::string>{"train.batch 4 -> 2", "train.lr 0.003 -> 0.001",
                                             "log.keep 2 -> 3"}));
  EXPECT_EQ(losses_of(run_path("changed")).size(), 6u);
  notes.clear();  // run.toml holds the changes
  Trainer(pretraining(options), options, run_path("changed"), cpu_device(), true, hooks).run();
  EXPECT_TRUE(notes.empty());
}

/// What would make another run of it is refused, and leaves the run as it is.
TEST_F(TrainerTest, ResumeRefusesAnotherRun) {
  RunOptions options = testing::small_run(data_, 6);
  options.train.phases.push_back({.steps = 4, .batch = 2});
  train("same", options, false, 3);
  const std::string before = read_file(run_path("same") / "run.toml");
  const auto refused = [&](const std::function<void(RunOptions&)>& change,
                           const std::string& part) {
    RunOptions other = options;
    change(other);
    const std::string message = error_of([&] { train("same", other, true); });
    EXPECT_NE(message.find("--resume: "), std::string::npos) << message;
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_EQ(read_file(run_path("same") / "run.toml"), before);
  };
  refused([](RunOptions& o) { o.model.preset = "tiny-pro"; },
          "model.preset \"nano-ultra\" -> \"tiny-pro\": a run keeps its model");
  refused([](RunOptions& o) { o.model.set.push_back("init_rule=normal"); }, "model.set");
  refused([](RunOptions& o) { o.model.from = "x"; }, "model.from");
  refused([](RunOptions& o) { o.data.seed = 9; }, "data.seed 1 -> 9");
  refused([](RunOptions& o) { o.data.weights = {2.0}; }, "data.weights");
  refused([](RunOptions& o) { o.train.seq_len = 16; }, "seq_len 32 -> 16");
  refused([](RunOptions& o) { o.train.steps = 2; }, "step 3 was in phase 0");
  const fs::path other = directory_->path() / "other";
  fs::create_directories(other);
  const fs::path packed = testing::make_corpus(other, 2000);
  refused([&](RunOptions& o) { o.data.path = {packed.string()}; }, "not the data");
  // The same corpus elsewhere is the same corpus.
  fs::copy(data_, other / "moved");
  options.data.path = {(other / "moved").string()};
  EXPECT_EQ(train("same", options, true).size(), 10u);
}

/// The model is the checkpoint's, whatever became of the preset.
TEST_F(TrainerTest, ResumeNeedsNoPreset) {
  RunOptions options = testing::small_run(data_, 4);
  const fs::path preset = run_path("preset");
  fs::create_directories(preset);
  fs::copy_file(fs::path(UM_SOURCE_DIR) / "configs/nano-ultra/config.json", preset / "config.json");
  options.model.preset = preset.string();
  train("presetless", options, false, 2);
  fs::remove_all(preset);
  EXPECT_EQ(train("presetless", options, true).size(), 4u);
}

/// Half a file of zeros, one flipped bit, a cut and a missing file, in every file of a checkpoint.
TEST_F(TrainerTest, DamagedCheckpointsAreNotResumed) {
  RunOptions options = testing::small_run(data_, 6);
  options.log.checkpoint_every = 2;
  const fs::path run = run_path("damaged");
  train("damaged", options, false, 4);
  const fs::path newest = *latest_checkpoint(run);
  const std::string older = (run / "checkpoints/step-00000002").string();
  ASSERT_TRUE(fs::exists(newest / "digests.json"));
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(newest)) {
    const fs::path file = entry.path();
    if (file.filename() == "digests.json" || file.filename() == "training_state.json") continue;
    ++files;
    const std::string good = read_file(file);
    const auto damage = [&](const std::function<void(std::string&)>& change) {
      std::string bad = good;
      change(bad);
      write_file_atomic(file, bad);
      const std::string message = error_of([&] { train("damaged", options, true); });
      EXPECT_NE(message.find(file.string()), std::string::npos) << message;
      EXPECT_NE(message.find("the older checkpoint " + older + " is whole"), std::string::npos)
          << message;
    };
    damage([](std::string& text) { text[text.size() / 3] ^= 1; });
    damage([](std::string& text) {
      std::fill(text.begin() + static_cast<std::ptrdiff_t>(text.size() / 2), text.end(), '\0');
    });
    damage([](std::string& text) { text.resize(text.size() - 1); });
    fs::remove(file);
    EXPECT_NE(error_of([&] { train("damaged", options, true); }).find("missing"),
              std::string::npos);
    write_file_atomic(file, good);
  }
  EXPECT_GE(files, 5u);
  EXPECT_EQ(train("damaged", options, true).size(), 6u);
}

/// A step without its training state is named and passed over; a run of the same step replaces it.
TEST_F(TrainerTest, IncompleteStepsArePassedOver) {
  RunOptions options = testing::small_run(data_, 4);
  options.train.warmup = 1;
  options.log.checkpoint_every = 2;
  const std::vector<double> whole = train("incomplete", options);
  const fs::path run = run_path("incomplete"), newest = *latest_checkpoint(run);
  fs::remove(newest / "training_state.json");
  std::vector<std::string> notes;
  TrainerHooks hooks;
  hooks.note = [&](const std::string& text) { notes.push_back(text); };
  Trainer(pretraining(options), options, run, cpu_device(), true, hooks).run();
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(notes[0], newest.string() + ": no training_state.json: passed over");
  EXPECT_EQ(losses_of(run), whole);
  EXPECT_EQ(*latest_checkpoint(run), newest);
  // If it is the only one, there is nothing to go on from, and no new run begins over it.
  fs::remove_all(run / "checkpoints/step-00000002");
  fs::remove(newest / "training_state.json");
  EXPECT_NE(error_of([&] { train("incomplete", options, true); }).find(newest.string()),
            std::string::npos);
  EXPECT_NE(error_of([&] { train("incomplete", options); }).find("holds a run already"),
            std::string::npos);
  EXPECT_EQ(losses_of(run), whole);
}

/// What cannot be looked at is not "none there". (A name that leads to itself: also root fails.)
TEST_F(TrainerTest, UnreadableCheckpointsAreErrors) {
  const RunOptions options = testing::small_run(data_, 2);
  train("unreadable", options);
  const fs::path run = run_path("unreadable");
  const std::string metrics = read_file(run / "metrics.jsonl");
  const auto refused = [&](const fs::path& path) {
    fs::rename(path, run_path("elsewhere"));
    fs::create_symlink(path.filename(), path);
    for (const bool resume : {false, true}) {
      const std::string message = error_of([&] { train("unreadable", options, resume); });
      EXPECT_NE(message.find(path.string() + ": cannot look there"), std::string::npos) << message;
    }
    fs::remove(path);
    fs::rename(run_path("elsewhere"), path);
  };
  refused(run / "checkpoints");
  refused(*latest_checkpoint(run) / "training_state.json");
  EXPECT_EQ(read_file(run / "metrics.jsonl"), metrics);
}

/// A start that overlaps the end of another run waits for nobody and touches nothing.
TEST_F(TrainerTest, TheRunIsLockedBeforeItIsLookedAt) {
  const RunOptions options = testing::small_run(data_, 2);
  const fs::path run = run_path("overlap");
  fs::create_directories(run);
  std::string message;
  {
    const DirectoryLock other(run, "");
    write_file_atomic(run / "metrics.jsonl", "kept");
    message = error_of([&] { train("overlap", options); });
  }
  EXPECT_NE(message.find("another process is training here"), std::string::npos) << message;
  EXPECT_EQ(read_file(run / "metrics.jsonl"), "kept");
}

TEST_F(TrainerTest, LeftoversGoAtTheStart) {
  const RunOptions options = testing::small_run(data_, 2);
  const fs::path run = run_path("leftovers");
  fs::create_directories(run / "checkpoints/step-00000009.tmp");
  write_file_atomic(run / "checkpoints/step-00000009.tmp/model.safetensors", "x");
  // The process of the first is gone; this one's is not.
  write_file_atomic(run / "run.toml.tmp.999999999", "x");
  const fs::path own = run / fmt::format("other.tmp.{}", ::getpid());
  write_file_atomic(own, "x");
  { const Trainer trainer(pretraining(options), options, run, cpu_device(), false, {}); }
  EXPECT_FALSE(fs::exists(run / "checkpoints/step-00000009.tmp"));
  EXPECT_FALSE(fs::exists(run / "run.toml.tmp.999999999"));
  EXPECT_TRUE(fs::exists(own));
}

TEST_F(TrainerTest, ARefusalRemovesNothing) {
  RunOptions options = testing::small_run(data_, 2);
  train("refusing", options);
  const fs::path run = run_path("refusing");
  const fs::path step = run / "checkpoints/step-00000009.tmp/model.safetensors";
  const fs::path file = run / "report.html.tmp.01234567.999999999";
  fs::create_directories(step.parent_path());
  for (const fs::path& path : {step, file}) write_file_atomic(path, "x");
  const auto expect_refused = [&](bool resume, const char* why) {
    const std::string message = error_of([&] { train("refusing", options, resume); });
    EXPECT_NE(message.find(why), std::string::npos) << message;
    for (const fs::path& path : {step, file}) EXPECT_TRUE(fs::exists(path)) << why;
  };
  expect_refused(false, "holds a run already");
  options.data.seed = 2;
  expect_refused(true, "keeps the order of its data");
  options.data.seed = testing::small_run(data_, 2).data.seed;
  train("refusing", options, true);
  for (const fs::path& path : {step, file}) EXPECT_FALSE(fs::exists(path)) << path;
}

/// A run that cannot begin leaves no directory.
TEST_F(TrainerTest, ARefusedRunLeavesNothing) {
  RunOptions options = testing::small_run(data_, 2);
  options.train.batch = 1 << 20;
  options.train.seq_len = 256;
  const std::string message = error_of([&] { train("new/refused", options); });
  for (const char* part : {"activations", "weights", "gradients", "optimizer", "1,048,576", "GB",
                           "train.batch", "train.seq_len", "train.recompute"})
    EXPECT_NE(message.find(part), std::string::npos) << part << ": " << message;
  EXPECT_FALSE(fs::exists(run_path("new")));
}

TEST_F(TrainerTest, MinutesAloneBoundARun) {
  RunOptions options = testing::small_run(data_, 1);  // steps are only for runs without minutes
  options.train.minutes = 0.01;
  options.train.phases.push_back({.steps = 2, .batch = 2});
  const std::vector<double> losses = train("minutes", options);
  EXPECT_GT(losses.size(), 2u);  // at least one step, whatever the speed, and the second phase's
  EXPECT_EQ(train("minutes", options, true), losses);  // a finished run stays as it is
}

TEST_F(TrainerTest, MoreStepsExtendARun) {
  RunOptions options = testing::small_run(data_, 4);
  options.train.schedule = "constant";
  options.train.warmup = 2;
  train("extended", options);
  options.train.steps = 7;
  const std::vector<double> extended = train("extended", options, true);
  EXPECT_EQ(extended, train("at_once", options));
}

TEST_F(TrainerTest, ResumingAFinishedRunAddsNothing) {
  RunOptions options = testing::small_run(data_, 3);
  options.log.eval_every = 2;
  train("finished", options);
  const std::string before = read_file(run_path("finished") / "metrics.jsonl", 1 << 20);
  train("finished", options, true);
  EXPECT_EQ(read_file(run_path("finished") / "metrics.jsonl", 1 << 20), before);
}

TEST_F(TrainerTest, NoValidationUnlessAsked) {
  const RunOptions options = testing::small_run(data_, 2);
  train("unvalidated", options);
  for_each_line(run_path("unvalidated") / "metrics.jsonl", [&](std::string_view line) {
    EXPECT_FALSE(parse_metrics_line(line).validation) << line;
  });
}

/// A run that goes on has its own weights; the checkpoint that it began from may be gone.
TEST_F(TrainerTest, ResumeDoesNotNeedItsOrigin) {
  train("origin", testing::small_run(data_, 2));
  RunOptions options = testing::small_run(data_, 4);
  options.model.from = (run_path("copy")).string();
  fs::copy(*latest_checkpoint(run_path("origin")), options.model.from);
  train("tuned", options, false, 2);
  fs::remove(fs::path(options.model.from) / "model.safetensors");
  EXPECT_EQ(train("tuned", options, true).size(), 4u);
}

/// Exports that leave `tie_word_embeddings` out: no output head means that the embedding is it.
TEST_F(TrainerTest, StartsFromATiedCheckpointThatDoesNotSaySo) {
  RunOptions options = testing::small_run(data_, 2);
  ModelConfig config = configure_model(options.model);
  config.tie_embeddings = true;
  const auto model = make_model(config, cpu_device());
  model->params().initialize(1);
  const fs::path origin = run_path("tied_origin");
  save_model(*model, origin);
  Json json = read_json_file(origin / "config.json");
  json.erase("tie_word_embeddings");
  write_file_atomic(origin / "config.json", json.dump());
  options.model.from = origin.string();
  options.model.set.clear();
  train("tied", options, false, 1);
  EXPECT_EQ(train("tied", options, true).size(), 2u);
  EXPECT_TRUE(read_config(*latest_checkpoint(run_path("tied"))).tie_embeddings);
}

/// The options in a run's run.toml.
RunOptions resumed_options(const fs::path& run) {
  RunOptions options;
  Fields fields;
  options.fields(fields);
  fields.read_file(run / "run.toml");
  return options;
}

/// Starts the program on a long run that writes a checkpoint after every step; a resumed one takes
/// its options from the run.
pid_t start_training(const fs::path& data, const fs::path& run, bool resume) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  const std::string path = "--data.path=" + data.string(), out = run.string();
  std::vector<const char*> args = {UM_BINARY, "train", "--out", out.c_str()};
  if (resume)
    args.push_back("--resume");
  else
    args.insert(args.end(),
                {"--model.preset=nano-ultra", "--model.set=vocab_size=320", path.c_str(),
                 "--train.steps=100000", "--train.batch=2", "--train.seq_len=32",
                 "--log.checkpoint_every=1", "--log.eval_every=0"});
  args.push_back(nullptr);
  ::freopen("/dev/null", "w", stdout);
  ::freopen("/dev/null", "w", stderr);
  ::execv(UM_BINARY, const_cast<char* const*>(args.data()));
  ::_exit(127);
}

TEST_F(TrainerTest, KillAtAnyInstantLeavesACheckpoint) {
  if (!fs::exists(UM_BINARY)) GTEST_SKIP() << "the program is not built";
  const fs::path run = run_path("killed");
  const RandomStream random(11, 0);
  int64_t furthest = 0;
  for (uint64_t i = 0; i < 6; ++i) {
    const pid_t child = start_training(data_, run, furthest > 0);
    for (int waited = 0; waited < 2000 && !latest_checkpoint(run); ++waited)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    std::this_thread::sleep_for(std::chrono::microseconds(20000 + random.bits(i) % 300000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const auto checkpoint = latest_checkpoint(run);
    ASSERT_TRUE(checkpoint.has_value()) << "after kill " << i;
    EXPECT_NO_THROW(check_digests(*checkpoint, DigestScope::all));
    const auto model = load_model(*checkpoint, cpu_device());
    Optimizer optimizer(model->params(), {});
    const RunState state = load_checkpoint(*checkpoint, *model, optimizer);
    EXPECT_GE(state.step, furthest);
    furthest = state.step;
  }
  EXPECT_GT(furthest, 1);
  {
    const RunOptions options = resumed_options(run);
    const Trainer trainer(pretraining(options), options, run, cpu_device(), true, {});
  }
  for (const fs::path& directory : {run, run / "checkpoints"})
    for (const auto& entry : fs::directory_iterator(directory))
      EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos) << entry.path();
}

/// SIGINT, SIGTERM and SIGHUP save and say by the exit code who ended the run; the plain resume of
/// an interrupted run has the bits of one that was not.
TEST_F(TrainerTest, SignalsSave) {
  if (!fs::exists(UM_BINARY)) GTEST_SKIP() << "the program is not built";
  const fs::path run = run_path("signalled");
  bool resume = false;
  for (const auto& [signal, code] :
       {std::pair(SIGINT, 130), std::pair(SIGTERM, 143), std::pair(SIGHUP, 129)}) {
    const int64_t before = resume ? steps_of(run).back().step : 0;
    const pid_t child = start_training(data_, run, std::exchange(resume, true));
    const auto moved_on = [&] {
      const auto steps = steps_of(run);
      return !steps.empty() && steps.back().step > before + 2;
    };
    for (int waited = 0; waited < 3000 && !moved_on(); ++waited)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ::kill(child, signal);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status)) << status;
    EXPECT_EQ(WEXITSTATUS(status), code);
    const auto newest = latest_checkpoint(run);
    ASSERT_TRUE(newest.has_value());
    EXPECT_EQ(newest->filename(), fmt::format("step-{:08}", steps_of(run).back().step));
  }
  RunOptions options = resumed_options(run);
  const std::vector<double> parts = losses_of(run);
  EXPECT_EQ(train("unbroken", options, false, std::ssize(parts)), parts);
}

}  // namespace
}  // namespace um
