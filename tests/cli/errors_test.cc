// What the program says when it is used wrongly or given damaged files: one line, the right exit
// code.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/sampling_flags.h"
#include "core/error.h"
#include "core/files.h"
#include "core/safetensors.h"
#include "tests/cli/program_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

class CliErrors : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!have_program()) GTEST_SKIP() << UM_BINARY << " is not built";
  }

  /// Expects an exit code and one line on standard error with all of `parts`, and nothing else.
  static void expect_error(const std::vector<std::string>& arguments, int code,
                           const std::vector<std::string>& parts) {
    const ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_TRUE(result.err.starts_with("ultramoe: ")) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_EQ(result.out, "");
    for (const std::string& part : parts)
      EXPECT_NE(result.err.find(part), std::string::npos) << part << " is not in: " << result.err;
  }

  /// A nano-ultra checkpoint with random weights and no digests, for tests that change its files;
  /// returns its directory.
  std::string make_model(const std::string& name = "model") {
    std::string directory = scratch_ / name;
    const ProgramResult result =
        run_program({"init", "--preset", "nano-ultra", "--out", directory});
    EXPECT_EQ(result.code, 0) << result.err;
    fs::remove(fs::path(directory) / "digests.json");
    return directory;
  }

  /// Replaces one field of the model's config.
  static void change_config(const std::string& directory, const std::string& field,
                            const nlohmann::json& value) {
    const fs::path path = fs::path(directory) / "config.json";
    auto json = nlohmann::json::parse(read_file(path));
    json[field] = value;
    write_file_atomic(path, json.dump());
  }

  std::vector<std::string> logits_of(const std::string& model) {
    const std::string tokens = scratch_ / "tokens.json";
    write_file_atomic(tokens, "[[1, 2, 3]]");
    return {"debug", "logits", "--model", model, "--tokens", tokens, "--out", scratch_ / "o"};
  }

  ScratchDirectory scratch_;
};

TEST_F(CliErrors, WrongUsage) {
  expect_error({"trian"}, 2, {"unknown command \"trian\"", "did you mean train?"});
  expect_error({"inspct", "x"}, 2, {"did you mean inspect?"});
  expect_error({"tokenizer", "encod"}, 2, {"did you mean encode?"});
  expect_error({"--verison"}, 2, {"did you mean --version?"});
  expect_error({"generate", "--modle", "x"}, 2, {"--modle", "did you mean --model?"});
  expect_error({"generate"}, 2, {"--model", "required"});
  expect_error({"generate", "--model", "x", "--max-tokens", "many"}, 2, {"--max-tokens", "many"});
  expect_error({"generate", "--model", "x", "more"}, 2, {"unexpected argument \"more\""});
  expect_error({"eval", "--model", "nano-ultra"}, 2, {"--text", "--data"});
  expect_error({"eval", "--model", "m", "--save-logits", "b"}, 2, {"one --text FILE"});
  expect_error({"eval", "--model", "m", "--save-logits", "b", "--kl-base", "b"}, 2, {"either"});
  expect_error({"eval", "--model", "m", "--kl-base", "b", "--text", "t"}, 2, {"no --text"});
  expect_error({"eval", "--model", "m", "--text", "t", "--chunks", "3"}, 2, {"--kl-base"});
  expect_error({"eval", "--model", "m", "--kl-base", "b", "--stride", "3"}, 2, {"--stride"});
  expect_error({"quantize", "nano-ultra", "--out", "q", "--method", "gptq"}, 2, {"--calib"});
  expect_error({"quantize", "nano-ultra", "--out", "q", "--context", "3"}, 2, {"--context"});
  expect_error({"quantize", "nano-ultra", "--out", "q", "--scheme", "w2"}, 2, {"--scheme", "w2"});
  expect_error({"quantize", "nano-ultra", "--out", "q", "--scheme", "auto"}, 2,
               {"auto", "--calib"});
  expect_error({"quantize", "nano-ultra", "--out", "q", "--bits", "5"}, 2, {"--bits", "auto"});
  expect_error({"quantize", "nano-ultra", "--out", "q", "--bits", "2"}, 2, {"--bits", "4.5"});
  expect_error({"inspect", "nano-ultra", "--threads", "-3"}, 2, {"--threads"});
  expect_error({"tokenizer", "decode", "--tokenizer", "x", "1", "zwei"}, 1, {"x"});
}

TEST(SamplingFlagsTest, ATokenHasOneBias) {
  SamplingFlags flags;
  flags.logit_bias = {"7:1", "8:2", "7:1"};
  EXPECT_NO_THROW(flags.resolve(std::nullopt));
  flags.logit_bias.emplace_back("8:-2");
  EXPECT_THROW(flags.resolve(std::nullopt), UsageError);
}

TEST_F(CliErrors, SuggestionsAreNear) {
  expect_error({"train", "--steps", "10"}, 2, {"\"--steps\"; did you mean --train.steps?"});
  expect_error({"train", "--sample_tokns=3"}, 2, {"did you mean --log.sample_tokens?"});
  expect_error({"serve", "--draft_tokens=3"}, 2, {"did you mean --draft-tokens?"});
  expect_error({"hlep"}, 2, {"did you mean help?"});
  const std::string config = scratch_ / "config.json";
  write_file_atomic(config, R"({"architectures": ["X"]})");
  for (const std::vector<std::string>& far : {std::vector<std::string>{"completely"},
                                              {"train", "--quantisation"},
                                              {"inspect", "corpus"},
                                              {"train", "--config", config}}) {
    const ProgramResult result = run_program(far);
    EXPECT_NE(result.code, 0);
    EXPECT_EQ(result.err.find("did you mean"), std::string::npos) << result.err;
  }
}

TEST_F(CliErrors, HelpIsForCommandsThatExist) {
  expect_error({"nosuch", "--help"}, 2, {"unknown command \"nosuch\""});
  expect_error({"--help", "nosuch"}, 2, {"unknown command \"nosuch\""});
  expect_error({"nosuch", "--version"}, 2, {"unknown command \"nosuch\""});
  expect_error({"data", "nosuch", "-h"}, 2, {"unknown command \"nosuch\""});
  expect_error({"help", "nosuch"}, 2, {"unknown command \"nosuch\""});
  expect_error({"help", "data", "pakc"}, 2, {"did you mean pack?"});
  for (const std::vector<std::string>& words : {std::vector<std::string>{"train", "nosuch"},
                                                {"data", "pack", "nosuch"},
                                                {"inspect", "nosuch"},
                                                {"train", "help"},
                                                {"tokenizer", "decode", "5"}}) {
    std::vector<std::string> asked = words;
    asked.insert(asked.begin(), "help");
    expect_error(asked, 2, {"unexpected argument \"" + words.back() + "\""});
  }
  expect_error({"train", "nosuch", "--help"}, 2,
               {"unexpected argument \"nosuch\"", "train --help"});
  expect_error({"train", "--help", "nosuch"}, 2, {"unexpected argument \"nosuch\""});
  expect_error({"inspect", "a", "nosuch", "--help"}, 2, {"unexpected argument \"nosuch\""});
  EXPECT_EQ(run_program({"inspect", "a", "--help"}).out, run_program({"help", "inspect"}).out);
  EXPECT_EQ(run_program({"help", "help"}).out, run_program({"--help"}).out);
  EXPECT_EQ(run_program({"help"}).out, run_program({"--help"}).out);
  EXPECT_EQ(run_program({"help", "train"}).out, run_program({"train", "--help"}).out);
  EXPECT_EQ(run_program({"help", "data", "pack"}).out, run_program({"data", "pack", "-h"}).out);
  EXPECT_EQ(run_program({"help"}).code, 0);
  EXPECT_NE(run_program({"train", "--nosuch", "--help"}).out.find("--train.lr"), std::string::npos);
}

/// One value per option; lists add up.
TEST_F(CliErrors, OptionsGivenTwice) {
  expect_error({"train", "--train.lr", "1", "--train.lr", "2"}, 2,
               {"--train.lr: given 2 times, with \"1\" and \"2\"; give it once"});
  expect_error({"train", "--train.lr=1", "--train.lr=1"}, 2, {"--train.lr: given 2 times"});
  expect_error({"train", "--config", "a", "--config", "b"}, 2, {"--config: given 2 times"});
  expect_error({"train", "--out", "a", "--out", "b"}, 2, {"--out: given 2 times"});
  expect_error({"train", "--train.recompute", "--train.recompute=false"}, 2,
               {"--train.recompute: given 2 times"});
  expect_error({"generate", "--model", "a", "--seed", "1", "--seed", "2"}, 2, {"--seed"});
  expect_error({"serve", "a", "--model", "b"}, 2, {"model: given 2 times"});
  expect_error({"serve", "a", "--port", "1", "--port", "2"}, 2, {"--port: given 2 times"});
  expect_error({"inspect", "nano-ultra", "--threads", "1", "--threads", "2"}, 2, {"--threads"});
  expect_error({"data", "pack", "--input", "a", "--tokenizer", "b", "--out", "c", "--out", "d"}, 2,
               {"--out: given 2 times"});
  expect_error({"bench", "train", "--batch", "1", "--batch", "2"}, 2, {"--batch: given 2 times"});
  expect_error({"inspect", "nano-ultra", "--json", "--json"}, 2, {"--json: given 2 times"});
  // Both changes count: the first is refused although the second is fine, and the other way round.
  const std::vector<std::string> train{"train", "--data.path", "x", "--out", scratch_ / "run"};
  for (const auto& [first, second] : {std::pair("hiden_size=64", "hidden_size=64"),
                                      std::pair("hidden_size=64", "hiden_size=64")}) {
    std::vector<std::string> arguments = train;
    arguments.insert(arguments.end(), {"--model.set", first, "--model.set", second});
    expect_error(arguments, 2, {"hiden_size", "did you mean hidden_size?"});
  }
}

TEST_F(CliErrors, NumbersAreFinite) {
  for (const char* number : {"inf", "nan", "-inf"}) {
    const std::string found = std::string("found ") + number;
    for (const char* option : {"--train.lr", "--train.minutes", "--train.clip"})
      expect_error({"train", option, number}, 2, {option, "expected a finite number", found});
    expect_error({"generate", "--model", "x", "--expert-memory", number}, 2,
                 {"--expert-memory", "expected a finite number", found});
    for (const char* option : {"--rate", "--shared-prefix", "--ttft-limit", "--itl-limit"})
      expect_error({"bench", "serve", option, number}, 2,
                   {option, "expected a finite number", found});
    for (const char* option : {"--mtp-weight", "--balance-weight"})
      expect_error(
          {"debug", "grads", "--model", "x", "--tokens", "x", "--out", "x", option, number}, 2,
          {option, "expected a finite number", found});
  }
}

// What CLI11 would take apart, or take for something else.
TEST_F(CliErrors, TextsArriveByteForByteSlow) {
  const std::string list = scratch_ / "[a,b]", other = scratch_ / "[c]";
  write_file_atomic(list, "The river runs under the bridge.\nIn winter it is cold.\n");
  write_file_atomic(other, "Snow lies on the hills.\n");
  const auto run = [&](const std::vector<std::string>& arguments) {
    const ProgramResult result = run_program(arguments, "not this");
    EXPECT_EQ(result.code, 0) << arguments[0] << result.err;
    return result.out;
  };
  const fs::path here = fs::current_path();
  fs::current_path(fs::path(list).parent_path());
  run({"tokenizer", "train", "--input", "[a,b]", "[c]", "--vocab-size", "300", "--out", "[t,u]"});
  run({"data", "pack", "--input", "[c]", "[a,b]", "--tokenizer", "[t,u]", "--out", "[d,e]"});
  run({"init", "--preset", "nano-ultra", "--tokenizer", "[t,u]", "--out", "[m,n]"});
  run({"eval", "--model", "[m,n]", "--text", "[a,b]", "--text", "[c]"});
  for (const char* text : {"[a,b]", "[]", "[", "[,]", "{}", "a,b", "", " ", "-", "--", "--text",
                           "--x=y", "%%", "\"a\"", "'a'", "a\\n", "=", "train"}) {
    for (const std::vector<std::string>& given :
         {std::vector<std::string>{"--text", text}, {std::string("--text=") + text}}) {
      std::vector<std::string> encode = {"tokenizer", "encode", "--tokenizer", "[t,u]"};
      encode.insert(encode.end(), given.begin(), given.end());
      std::vector<std::string> decode = {"tokenizer", "decode",  "--tokenizer",
                                         "[t,u]",     "--input", "-"};
      const ProgramResult back = run_program(decode, run(encode));
      EXPECT_EQ(back.out, std::string(text) + "\n") << given[0];
    }
    run({"generate", "--model", "[m,n]", "--max-tokens", "1", "--prompt", text, "--seed=1"});
  }
  fs::current_path(here);
  expect_error({"train", "--data.path", "[a,b]", "--model.set", "[x,y]"}, 2, {"[x,y]"});
}

TEST_F(CliErrors, TrainingThatCannotBegin) {
  const std::string run = scratch_ / "run";
  expect_error({"train", "--out", run, "--data.path", "x", "--model.set", "hiden_size=64"}, 2,
               {"hiden_size", "did you mean hidden_size?"});
  expect_error({"train", "--out", run, "--data.path", "x", "--resume"}, 1, {run, "--resume"});
  expect_error({"train", "--out", run, "--resume"}, 1, {run + ": no run to resume"});
  expect_error({"train", "--out", run}, 2, {"data.path"});
  EXPECT_FALSE(fs::exists(run));
}

TEST_F(CliErrors, WithoutACommandItShowsHelp) {
  const ProgramResult result = run_program({});
  EXPECT_EQ(result.code, 2);
  EXPECT_NE(result.err.find("generate"), std::string::npos);
  EXPECT_EQ(run_program({"--help"}).code, 0);
  EXPECT_EQ(run_program({"--version"}).code, 0);
  EXPECT_EQ(run_program({"data", "pack", "--help"}).code, 0);
}

TEST_F(CliErrors, MissingThings) {
  expect_error({"inspect", "nano-ultar"}, 1, {"nano-ultar", "did you mean nano-ultra?"});
  expect_error({"debug", "logits", "--model", "nano-ultra", "--tokens", "t", "--out", "o"}, 1,
               {"no weights"});
  expect_error({"report", scratch_ / "none"}, 1, {"none"});
  expect_error({"tokenizer", "encode", "--tokenizer", scratch_ / "none", "--text", "x"}, 1,
               {"none"});
  expect_error({"data", "wordnet", "--from", scratch_ / "none", "--out", scratch_ / "o"}, 1,
               {"wordnet-base"});
  expect_error({"init", "--preset", "nano-ultra", "--out", "/proc/none/model"}, 1, {"/proc/none"});
  const std::string model = make_model();
  expect_error({"generate", "--model", model, "--prompt", "x"}, 1, {"tokenizer"});
  expect_error({"eval", "--model", model, "--data", scratch_ / "none"}, 1, {"none"});
}

TEST_F(CliErrors, UnknownKernelsListThoseThatAreThere) {
  auto arguments = logits_of(make_model());
  arguments.insert(arguments.end(), {"--kernels", "abacus"});
  expect_error(arguments, 2, {"abacus", "ref"});
}

TEST_F(CliErrors, DamagedWeights) {
  const std::string model = make_model();
  const fs::path weights = fs::path(model) / "model.safetensors";
  fs::resize_file(weights, fs::file_size(weights) - 100);
  expect_error(logits_of(model), 1, {"model.safetensors"});
  expect_error({"inspect", model}, 1, {"model.safetensors"});
  fs::resize_file(weights, 5);
  expect_error(logits_of(model), 1, {"model.safetensors"});
}

TEST_F(CliErrors, WrongShapeAndMissingTensor) {
  const std::string model = make_model();
  change_config(model, "moe_intermediate_size", 24);
  expect_error(logits_of(model), 1, {"expected shape", "found"});
  change_config(model, "moe_intermediate_size", 16);
  change_config(model, "num_hidden_layers", 5);
  expect_error(logits_of(model), 1, {"tensor", "model.layers.4."});
}

TEST_F(CliErrors, AbsurdConfigs) {
  const std::string model = make_model();
  change_config(model, "hidden_size", -5);
  expect_error({"inspect", model}, 1, {"config.json", "hidden_size"});
  change_config(model, "hidden_size", int64_t{1} << 60);
  expect_error({"inspect", model}, 1, {"config.json", "hidden_size"});
  write_file_atomic(fs::path(model) / "config.json", "{\"architectures\": [");
  expect_error({"inspect", model}, 1, {"config.json"});
}

TEST_F(CliErrors, SizesThatDoNotFit) {
  expect_error({"init", "--preset", "pangu-ultra-moe-718b", "--out", scratch_ / "big"}, 1,
               {"718b", "GB"});
  EXPECT_FALSE(fs::exists(scratch_ / "big"));
}

TEST_F(CliErrors, NothingIsOverwritten) {
  const std::string model = make_model();
  expect_error({"init", "--preset", "nano-ultra", "--out", model}, 1, {"there is a model here"});
}

TEST_F(CliErrors, TokensOutsideTheVocabulary) {
  const std::string model = make_model();
  auto arguments = logits_of(model);
  write_file_atomic(scratch_ / "tokens.json", "[[1, 512]]");
  expect_error(arguments, 1, {"tokens.json", "512"});
  write_file_atomic(scratch_ / "tokens.json", "[[1, ");
  expect_error(arguments, 1, {"tokens.json"});
}

TEST_F(CliErrors, FullDisk) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  const std::string command = "'" UM_BINARY "' inspect nano-ultra --json >/dev/full 2>/dev/null";
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 1);
}

}  // namespace
}  // namespace um
