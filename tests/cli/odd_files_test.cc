// Whatever stands where the program expects a file: one line that names it, and no waiting.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <sstream>

#include "core/files.h"
#include "tests/cli/program_util.h"
#include "tests/text/byte_tokenizer_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

class OddFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!have_program()) GTEST_SKIP() << UM_BINARY << " is not built";
    ASSERT_EQ(::mkfifo(pipe("pipe").c_str(), 0600), 0);
    for (const char* ending : {".txt", ".jsonl", ".gguf", ".json", ".toml"})
      ASSERT_EQ(::mkfifo(pipe(std::string("pipe") + ending).c_str(), 0600), 0);
  }

  std::string pipe(const std::string& name) const { return scratch_ / name; }

  /// Expects exit code 1 or 2 and one line, beside warnings, that names the file.
  static void expect_refused(const std::vector<std::string>& arguments, const std::string& file) {
    const ProgramResult result = run_program(arguments);
    std::string command;
    for (const std::string& argument : arguments) command += argument + " ";
    EXPECT_TRUE(result.code == 1 || result.code == 2) << command << result.code << result.err;
    std::istringstream lines(result.err);
    int errors = 0;
    for (std::string line; std::getline(lines, line);)
      errors += line.starts_with("warning: ") ? 0 : 1;
    EXPECT_EQ(errors, 1) << command << result.err;
    EXPECT_NE(result.err.find(file), std::string::npos) << command << result.err;
  }

  /// A nano-ultra checkpoint with random weights and a tokenizer; returns its directory.
  std::string make_model() {
    const std::string model = scratch_ / "model", tokenizer = scratch_ / "tokenizer";
    const std::string text = scratch_ / "text.txt";
    write_file_atomic(text, "The river runs under the bridge.\nIn winter it is cold.\n");
    const std::vector<std::vector<std::string>> commands = {
        {"tokenizer", "train", "--input", text, "--vocab-size", "300", "--out", tokenizer},
        {"init", "--preset", "nano-ultra", "--tokenizer", tokenizer, "--out", model}};
    for (const auto& command : commands) {
      const ProgramResult result = run_program(command);
      EXPECT_EQ(result.code, 0) << result.err;
    }
    return model;
  }

  ScratchDirectory scratch_;
};

TEST_F(OddFiles, GivenOnTheCommandLine) {
  const std::string model = make_model(), pipe = this->pipe("pipe");
  for (const std::string& odd : {pipe, std::string("/dev/zero")}) {
    expect_refused({"inspect", odd}, odd);
    expect_refused({"generate", "--model", odd, "--prompt", "x"}, odd);
    expect_refused({"generate", "--model", model, "--prompt-file", odd}, odd);
    expect_refused({"serve", model, "--port", "0", "--api-key-file", odd}, odd);
    expect_refused({"serve", model, "--port", "0", "--tls-cert", odd, "--tls-key", odd}, odd);
    expect_refused({"serve", model, "--port", "0", "--config", odd}, odd);
    expect_refused({"tokenizer", "encode", "--tokenizer", odd, "--text", "x"}, odd);
    expect_refused(
        {"tokenizer", "train", "--vocab-size", "300", "--out", scratch_ / "t", "--input", odd},
        odd);
    expect_refused({"data", "pack", "--tokenizer", model, "--out", scratch_ / "d", "--input", odd},
                   odd);
    expect_refused({"train", "--config", odd}, odd);
    expect_refused({"eval", "--model", model, "--text", odd}, odd);
    expect_refused({"eval", "--model", model, "--kl-base", odd}, odd);
    expect_refused({"debug", "logits", "--model", model, "--tokens", odd, "--out", scratch_ / "o"},
                   odd);
  }
  const std::string gguf = this->pipe("pipe.gguf"), corpus = this->pipe("pipe.txt");
  expect_refused({"inspect", gguf}, gguf);
  expect_refused({"convert", gguf, "--out", scratch_ / "c"}, gguf);
  expect_refused({"tokenizer", "encode", "--tokenizer", gguf, "--text", "x"}, gguf);
  expect_refused(
      {"tokenizer", "train", "--vocab-size", "300", "--out", scratch_ / "t", "--input", corpus},
      corpus);
}

TEST_F(OddFiles, InsideAModelDirectory) {
  for (const char* name : {"config.json", "model.safetensors", "generation_config.json",
                           "tokenizer.model", "tokenizer_config.json"}) {
    const std::string model = make_model();
    const std::string file = fs::path(model) / name;
    fs::remove(file);
    ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
    expect_refused({"generate", "--model", model, "--prompt", "x"}, name);
    fs::remove_all(model);
  }
}

// Beside every kind of tokenizer, also where this kind would not read the file.
TEST_F(OddFiles, BesideATokenizerSlow) {
  const fs::path model = make_model();
  const std::vector<std::string> generate = {"generate", "--model",      model, "--prompt",
                                             "x",        "--max-tokens", "1"};
  for (const bool json : {false, true}) {
    if (json) {
      fs::remove(model / "tokenizer.model");
      write_file_atomic(model / "tokenizer.json", byte_tokenizer_json({"<s>", "</s>"}));
    }
    for (const char* name :
         {"added_tokens.json", "special_tokens_map.json", "tokenizer_config.json",
          "chat_template.jinja", "chat_template.json", "generation_config.json",
          "model.safetensors.index.json", "vocab.json", "merges.txt"}) {
      const fs::path file = model / name, kept = model / "kept";
      const bool there = fs::exists(file);
      if (there) fs::rename(file, kept);
      ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
      expect_refused(generate, name);
      fs::remove(file);
      fs::create_directory(file);
      expect_refused(generate, name);
      fs::remove(file);
      fs::create_symlink("nowhere", file);
      expect_refused(generate, name);
      fs::remove(file);
      if (there) fs::rename(kept, file);
    }
    fs::remove(model / "digests.json");
    EXPECT_EQ(run_program(generate).code, 0) << json << run_program(generate).err;
  }
}

// An index may name anything.
TEST_F(OddFiles, NamedByAnIndex) {
  const std::string model = make_model();
  for (const char* name : {"model.safetensors", "digests.json"}) fs::remove(fs::path(model) / name);
  ASSERT_EQ(::mkfifo((fs::path(model) / "a.safetensors").c_str(), 0600), 0);
  for (const char* name : {"a.safetensors", "../a.safetensors", "/dev/zero", "x", ""}) {
    write_file_atomic(fs::path(model) / "model.safetensors.index.json",
                      std::string(R"({"weight_map":{"lm_head.weight":")") + name + "\"}}");
    expect_refused({"generate", "--model", model, "--prompt", "x"}, "safetensors");
  }
}

// A corpus directory that holds a pipe with the name of a text.
TEST_F(OddFiles, InsideACorpus) {
  expect_refused({"tokenizer", "train", "--vocab-size", "300", "--out", scratch_ / "t", "--input",
                  fs::path(pipe("pipe")).parent_path().string()},
                 "pipe.");
}

}  // namespace
}  // namespace um
