// Where commands write: what stands there is not lost.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "core/files.h"
#include "tests/cli/program_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

using Arguments = std::vector<std::string>;

class CommandOutputs : public SharedScratchTest {
 protected:
  static void SetUpTestSuite() {
    if (!make_scratch()) return;
    std::string text;
    for (int i = 0; i < 60; ++i) text += "The river runs under bridge " + std::to_string(i) + ".\n";
    write_file_atomic(path("text.txt"), text);
    write_file_atomic(path("long.txt"), text + text + text + text);
    write_file_atomic(path("other.txt"), "A stone lies in the cold winter sun for years.\n");
    write_file_atomic(path("ids.json"), "[[5, 6, 7]]");
    fs::create_directory(path("wordnet"));
    for (const char* part : {"noun", "verb", "adj", "adv"})
      write_file_atomic(path("wordnet/data." + std::string(part)),
                        "00001740 03 n 01 entity 0 000 | that which is  \n");
    make("tokenizer", {"tokenizer", "train", "--input", path("text.txt"), "--vocab-size", "300"});
    make("another", {"tokenizer", "train", "--input", path("other.txt"), "--vocab-size", "290"});
    make("corpus", {"data", "pack", "--input", path("text.txt"), "--tokenizer", path("tokenizer"),
                    "--document", "line"});
    make("model", {"init", "--preset", "nano-ultra", "--tokenizer", path("tokenizer")});
    make("run", train());
  }

  static Arguments train() {
    return {"train",
            "--model.preset",
            "nano-ultra",
            "--data.path",
            path("corpus"),
            "--train.steps",
            "1",
            "--train.batch",
            "1",
            "--train.seq_len",
            "16",
            "--train.warmup",
            "0",
            "--log.eval_every",
            "0"};
  }
  static ProgramResult run_to(Arguments command, const std::string& out) {
    command.insert(command.end(), {"--out", out});
    return run_program(command);
  }
  static void make(const std::string& name, const Arguments& command) {
    const ProgramResult result = run_to(command, path(name));
    EXPECT_EQ(result.code, 0) << name << ": " << result.err;
  }

  /// Every file under a directory with its bytes.
  static std::map<std::string, std::string> contents(const fs::path& directory) {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(directory))
      all[entry.path().string()] = entry.is_regular_file() ? read_file(entry.path()) : "";
    return all;
  }
};

/// Commands that write a directory beside what directories may hold.
TEST_F(CommandOutputs, NoCommandWritesOverWhatItDoesNotReplaceSlow) {
  struct Row {
    Arguments command;
    std::string replaced;  // the letters of what it may be written over or into
  };
  const std::string text = path("text.txt"), model = path("model");
  const Row rows[] = {
      {{"tokenizer", "train", "--input", text, "--vocab-size", "296"}, "t"},
      {{"data", "pack", "--input", text, "--tokenizer", path("another")}, "c"},
      {{"init", "--preset", "nano-ultra", "--tokenizer", path("another")}, ""},
      {{"init", "--preset", "nano-ultra"}, "t"},
      {train(), "t"},
      {{"expand-mtp", model, "--heads", "2"}, ""},
      {{"merge", model, model, "--method", "linear"}, ""},
      {{"convert", model}, ""},
      {{"quantize", model, "--calib", path("long.txt")}, ""},
  };
  const std::pair<std::string, std::string> holdings[] = {{"model", "there is a model here"},
                                                          {"run", "there is a training run here"},
                                                          {"corpus", "there is a packed corpus"},
                                                          {"tokenizer", "there is a tokenizer"}};
  for (const auto& [command, replaced] : rows)
    for (const auto& [held, message] : holdings) {
      const std::string out = path("copy");
      fs::copy(path(held), out, fs::copy_options::recursive);
      const auto before = contents(out);
      const ProgramResult result = run_to(command, out);
      const std::string where = command[0] + " over " + held + ": " + result.err;
      if (replaced.find(held[0]) == std::string::npos) {
        EXPECT_EQ(result.code, 1) << where;
        EXPECT_EQ(contents(out), before) << where;
        EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << where;
        const bool own_words = command[0] == "quantize" && held != "model";
        const std::string expected = command[0] == "train" && held == "run" ? "holds a run already"
                                     : own_words                            ? "name a new directory"
                                                                            : message;
        EXPECT_NE(result.err.find(expected), std::string::npos) << where;
      } else {
        EXPECT_EQ(result.code, 0) << where;
      }
      fs::remove_all(out);
    }
}

/// A tokenizer's directory may become that of what is made with it.
TEST_F(CommandOutputs, ATokenizerMayStayWhereItIs) {
  for (const Arguments& command :
       {Arguments{"data", "pack", "--input", path("text.txt"), "--tokenizer", path("here")},
        Arguments{"init", "--preset", "nano-ultra", "--tokenizer", path("here")}}) {
    fs::copy(path("tokenizer"), path("here"), fs::copy_options::recursive);
    EXPECT_EQ(run_to(command, path("here")).code, 0) << command[0];
    fs::remove_all(path("here"));
  }
}

/// A weights file alone is a model, too.
TEST_F(CommandOutputs, HalfAModelIsOne) {
  fs::create_directory(path("half"));
  fs::copy(path("model/model.safetensors"), path("half/model.safetensors"));
  const auto before = contents(path("half"));
  const ProgramResult result = run_to(
      {"tokenizer", "train", "--input", path("text.txt"), "--vocab-size", "296"}, path("half"));
  EXPECT_NE(result.err.find("there is a model here"), std::string::npos) << result.err;
  EXPECT_EQ(contents(path("half")), before);
}

/// Commands that write a file: pipes stay, links are followed.
TEST_F(CommandOutputs, FilesTakeThePlaceOfRegularFilesOnly) {
  const std::string model = path("model"), ids = path("ids.json");
  const Arguments commands[] = {
      {"data", "wordnet", "--from", path("wordnet"), "--out"},
      {"debug", "logits", "--model", model, "--tokens", ids, "--out"},
      {"debug", "grads", "--model", model, "--tokens", ids, "--out"},
      {"eval", "--model", model, "--text", path("text.txt"), "--seq-len", "16", "--save-logits"},
      {"convert", model, "--out"}};
  for (const Arguments& command : commands) {
    const bool gguf = command[0] == "convert";
    const std::string end = gguf ? ".gguf" : "";
    const std::string pipe = path("pipe" + end), link = path("link" + end);
    const auto run = [&](const std::string& out) {
      Arguments whole = command;
      whole.push_back(out);
      return run_program(whole);
    };
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    const ProgramResult refused = run(pipe);
    EXPECT_EQ(refused.code, 1) << command[0];
    EXPECT_NE(refused.err.find(pipe + ": expected a regular file to write, found a pipe\n"),
              std::string::npos)
        << refused.err;
    EXPECT_TRUE(fs::is_fifo(pipe)) << command[0];
    fs::remove(pipe);

    fs::create_directory(path("targets"));
    if (!gguf) write_file_atomic(path("targets/file"), "old");
    fs::create_symlink("targets/file", link);
    const ProgramResult written = run(link);
    EXPECT_TRUE(fs::is_symlink(link)) << command[0];
    if (gguf) {  // a name that leads nowhere cannot be told from a model that is elsewhere
      EXPECT_NE(written.err.find("leads nowhere"), std::string::npos) << written.err;
    } else {
      EXPECT_EQ(written.code, 0) << command[0] << written.err;
      EXPECT_GT(fs::file_size(path("targets/file")), 3u) << command[0];
    }
    fs::remove(link);
    fs::remove_all(path("targets"));
  }
}

/// What runs write by names of their own.
TEST_F(CommandOutputs, RunFilesAreFollowedAndPipesStay) {
  const std::string run = path("linked");
  fs::copy(path("run"), run, fs::copy_options::recursive);
  fs::remove(run + "/report.html");
  fs::create_symlink("../page.html", run + "/report.html");
  write_file_atomic(path("page.html"), "old");
  EXPECT_EQ(run_program({"report", run}).code, 0);
  EXPECT_TRUE(fs::is_symlink(run + "/report.html"));
  EXPECT_GT(fs::file_size(path("page.html")), 1000u);
  fs::remove(run + "/report.html");
  ASSERT_EQ(::mkfifo((run + "/report.html").c_str(), 0600), 0);
  EXPECT_EQ(run_program({"report", run}).code, 1);
  EXPECT_TRUE(fs::is_fifo(run + "/report.html"));

  const std::string tokenizer = path("odd_tokenizer");
  fs::create_directory(tokenizer);
  ASSERT_EQ(::mkfifo((tokenizer + "/tokenizer_config.json").c_str(), 0600), 0);
  EXPECT_EQ(
      run_to({"tokenizer", "train", "--input", path("text.txt"), "--vocab-size", "296"}, tokenizer)
          .code,
      1);
  EXPECT_TRUE(fs::is_fifo(tokenizer + "/tokenizer_config.json"));
}

}  // namespace
}  // namespace um
