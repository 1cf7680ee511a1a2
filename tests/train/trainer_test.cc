// The training loop: it learns, repeats itself bit by bit, goes on exactly where it stopped,
// survives a kill at any time, and says what was not finite.
#include "train/trainer.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <functional>
#include <thread>

#include "core/files.h"
#include "core/json.h"
#include "core/rng.h"
#include "models/checkpoint.h"
#include "models/config.h"
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
    Trainer trainer(options, run_path(name), cpu_device(), resume, hooks);
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
  EXPECT_NE(message.find("no checkpoint to resume from"), std::string::npos) << message;
  EXPECT_FALSE(fs::exists(run_path("nothing")));
}

TEST_F(TrainerTest, OneTrainingPerDirectory) {
  const RunOptions options = testing::small_run(data_, 2);
  const auto prepare = [&] { Trainer(options, run_path("shared"), cpu_device(), false, {}); };
  {
    const Trainer first(options, run_path("shared"), cpu_device(), false, {});
    const std::string message = error_of(prepare);
    EXPECT_NE(message.find("shared: another process is training here"), std::string::npos)
        << message;
  }
  EXPECT_EQ(error_of(prepare), "");
}

TEST_F(TrainerTest, MistypedModelFieldsAreUsageErrors) {
  RunOptions options = testing::small_run(data_, 2);
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

TEST_F(TrainerTest, MinutesAloneBoundARun) {
  RunOptions options = testing::small_run(data_, 1);  // steps are only for runs without minutes
  options.train.minutes = 0.01;
  options.train.phases.push_back({.steps = 2, .batch = 2});
  const std::vector<double> losses = train("minutes", options);
  EXPECT_GT(losses.size(), 3u);  // at least two steps, whatever the speed, and the second phase's
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

/// Starts the program on a long run that writes a checkpoint after every step.
pid_t start_training(const fs::path& data, const fs::path& run, bool resume) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  const std::string path = "--data.path=" + data.string(), out = run.string();
  std::vector<const char*> args = {UM_BINARY,
                                   "train",
                                   "--out",
                                   out.c_str(),
                                   "--model.preset=nano-ultra",
                                   "--model.set=vocab_size=320",
                                   path.c_str(),
                                   "--train.steps=100000",
                                   "--train.batch=2",
                                   "--train.seq_len=32",
                                   "--log.checkpoint_every=1",
                                   "--log.eval_every=0"};
  if (resume) args.push_back("--resume");
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
    const auto model = load_model(*checkpoint, cpu_device());
    Optimizer optimizer(model->params(), {});
    const RunState state = load_checkpoint(*checkpoint, *model, optimizer);
    EXPECT_GE(state.step, furthest);
    furthest = state.step;
  }
  EXPECT_GT(furthest, 1);
}

}  // namespace
}  // namespace um
