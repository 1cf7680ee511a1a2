// `train` as a user runs it: the files it takes, resume, and checkpoints that are damaged.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "tests/cli/program_util.h"
#include "tests/train/corpus_util.h"
#include "train/options.h"

namespace um {
namespace {

namespace fs = std::filesystem;

TEST(TrainConfigs, AllOfThemAreRead) {
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(UM_SOURCE_DIR) / "configs")) {
    if (entry.path().extension() != ".toml") continue;
    ++files;
    RunOptions options;
    Fields fields;
    options.fields(fields);
    EXPECT_NO_THROW(fields.read_file(entry.path())) << entry.path();
    if (entry.path().stem() != "phases") continue;
    ASSERT_EQ(options.train.phases.size(), 2u);
    EXPECT_EQ(options.train.phases[0].rope_theta, 1e5);
    EXPECT_EQ(options.train.phases[1].schedule, "linear");
  }
  EXPECT_GE(files, 2u);
}

class TrainCommandTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new testing::TemporaryDirectory("train_command");
    data_ = testing::make_corpus(directory_->path());
  }
  static void TearDownTestSuite() { delete directory_; }
  void SetUp() override {
    if (!have_program()) GTEST_SKIP() << UM_BINARY << " is not built";
  }

  static std::string path(const std::string& name) { return directory_->path() / name; }
  static ProgramResult train(const std::string& run, std::vector<std::string> more) {
    std::vector<std::string> arguments{"train", "--out", path(run)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  }
  static ProgramResult begin(const std::string& run) {
    return train(run, {"--model.preset",
                       "nano-ultra",
                       "--model.set",
                       "vocab_size=320",
                       "--data.path",
                       data_,
                       "--train.steps",
                       "4",
                       "--train.batch",
                       "2",
                       "--train.seq_len",
                       "32",
                       "--train.warmup",
                       "1",
                       "--train.lr",
                       "0.004",
                       "--log.eval_every",
                       "0",
                       "--log.checkpoint_every",
                       "2"});
  }

  static testing::TemporaryDirectory* directory_;
  static fs::path data_;
};
testing::TemporaryDirectory* TrainCommandTest::directory_ = nullptr;
fs::path TrainCommandTest::data_;

TEST_F(TrainCommandTest, HelpShowsHowPhasesAreWritten) {
  const std::string help = run_program({"train", "--help"}).out;
  EXPECT_NE(help.find("[[train.phases]]"), std::string::npos);
  PhaseOptions phase;
  Fields fields;
  phase.fields(fields);
  for (const Field& field : fields.list())
    EXPECT_NE(help.find("\n  " + field.name + " = "), std::string::npos) << field.name;
}

TEST_F(TrainCommandTest, ResumeTakesTheRunsOptions) {
  ASSERT_EQ(begin("run").code, 0);
  const std::string before = read_file(path("run/run.toml"));
  const ProgramResult plain = train("run", {"--resume"});
  EXPECT_EQ(plain.code, 0) << plain.err;
  EXPECT_EQ(plain.err.find("->"), std::string::npos) << plain.err;
  EXPECT_EQ(read_file(path("run/run.toml")), before);
  const ProgramResult more = train("run", {"--resume", "--train.steps", "6", "--train.lr", "1"});
  EXPECT_EQ(more.code, 0) << more.err;
  for (const char* change : {"train.steps 4 -> 6\n", "train.lr 0.004 -> 1\n"})
    EXPECT_NE(more.err.find(change), std::string::npos) << more.err;
  const ProgramResult other = train("run", {"--resume", "--model.preset", "tiny-pro"});
  EXPECT_EQ(other.code, 2);
  EXPECT_NE(other.err.find("model.preset \"nano-ultra\" -> \"tiny-pro\": a run keeps its model"),
            std::string::npos)
      << other.err;
  EXPECT_EQ(std::count(other.err.begin(), other.err.end(), '\n'), 1) << other.err;
}

/// Every command that loads a checkpoint refuses a damaged one, and names the one before.
TEST_F(TrainCommandTest, ResumeOfACompleteRunSaysSo) {
  ASSERT_EQ(begin("complete").code, 0);
  const std::string options = read_file(path("complete/run.toml"));
  const ProgramResult again = train("complete", {"--resume", "--train.steps", "3"});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.out.find("nothing to do: this run was already complete after 4 steps"),
            std::string::npos)
      << again.out;
  EXPECT_EQ(again.out.find("done after"), std::string::npos) << again.out;
  EXPECT_EQ(read_file(path("complete/run.toml")), options);
}

TEST_F(TrainCommandTest, ResumeWithoutOptionsIsRefused) {
  ASSERT_EQ(begin("blank").code, 0);
  for (const char* text : {"", " \n\n", "# nothing\n"}) {
    write_file_atomic(path("blank/run.toml"), text);
    const ProgramResult result = train("blank", {"--resume"});
    EXPECT_EQ(result.code, 1) << result.err;
    EXPECT_NE(result.err.find("blank/run.toml: no options in it"), std::string::npos) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
}

TEST_F(TrainCommandTest, DamagedCheckpointsAreNamedByEveryCommand) {
  ASSERT_EQ(begin("damaged").code, 0);
  const std::string newest = path("damaged/checkpoints/step-00000004");
  const std::string older = path("damaged/checkpoints/step-00000002");
  for (const char* name : {"model.safetensors", "config.json", "tokenizer.model"}) {
    const std::string file = newest + "/" + name, good = read_file(file);
    std::string bad = good;
    bad[bad.size() / 2] ^= 1;
    write_file_atomic(file, bad);
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"eval", "--model", newest, "--data", data_},
          {"generate", "--model", newest, "--prompt", "x"},
          {"chat", "--model", newest},
          {"serve", newest, "--port", "0"},
          {"convert", newest, "--out", path("converted")},
          {"expand-mtp", newest, "--out", path("expanded")},
          {"merge", older, newest, "--method", "linear", "--out", path("merged")},
          {"train", "--out", path("tuned"), "--model.from", newest, "--data.path", data_},
          {"train", "--out", path("damaged"), "--resume"}}) {
      const ProgramResult result = run_program(arguments);
      EXPECT_EQ(result.code, 1) << arguments[0];
      EXPECT_NE(result.err.find(file + ": damaged"), std::string::npos)
          << arguments[0] << ": " << result.err;
      EXPECT_NE(result.err.find(older + " is whole"), std::string::npos) << result.err;
    }
    for (const char* out : {"converted", "expanded", "merged", "tuned"})
      EXPECT_FALSE(fs::exists(path(out))) << out;
    write_file_atomic(file, good);
  }
  EXPECT_EQ(run_program({"eval", "--model", newest, "--data", data_}).code, 0);
}

}  // namespace
}  // namespace um
