// `ultramoe merge` as a user runs it: every method, groups, what the result can be used for, and
// options that do not fit.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "tests/cli/program_util.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Arguments = std::vector<std::string>;

std::string run_ok(const Arguments& arguments) {
  const ProgramResult result = run_program(arguments);
  EXPECT_EQ(result.code, 0) << arguments[0] << ": " << result.err;
  return result.out;
}

class MergeCommand : public SharedScratchTest {
 protected:
  static void SetUpTestSuite() {
    if (!make_scratch()) return;
    std::string text;
    for (const std::string& line : tiny_corpus(300)) text += line + "\n";
    write_file_atomic(path("corpus.txt"), text);
    run_ok({"tokenizer", "train", "--input", path("corpus.txt"), "--vocab-size", "400", "--out",
            path("tokenizer")});
    int seed = 0;
    for (const char* name : {"base", "a", "b", "c"})
      run_ok({"init", "--preset", "nano-ultra", "--out", path(name), "--tokenizer",
              path("tokenizer"), "--seed", std::to_string(++seed)});
  }

  static Arguments command(const std::string& method, const Arguments& more) {
    Arguments all{"merge", "--method", method};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  /// The weights' bytes of a merge.
  static std::string merged(const std::string& method, Arguments more) {
    static int count = 0;
    const std::string out = path("merged-" + std::to_string(++count));
    more.insert(more.end(), {"--out", out});
    run_ok(command(method, more));
    return read_file(out + "/model.safetensors");
  }
};

TEST_F(MergeCommand, EveryMethodMakesAModelThatWrites) {
  const Arguments with_base{path("a"), path("b:0.5"), "--base", path("base")};
  const std::pair<const char*, Arguments> cases[] = {
      {"linear", {path("a"), path("b") + ":0.5", path("c")}},
      {"slerp", {path("a"), path("b"), "--t", "0.3"}},
      {"task_arithmetic", with_base},
      {"ties", with_base},
      {"dare_linear", with_base},
      {"dare_ties", with_base},
      {"deltas",
       {"--base", path("base"), "--group", "0.5", path("a"), path("b"), "--group", "0.3",
        path("c")}}};
  for (const auto& [method, more] : cases) {
    const std::string out = path(method);
    Arguments all = command(method, more);
    all.insert(all.end(), {"--out", out, "--json"});
    const Json json = Json::parse(run_ok(all), nullptr, false);
    ASSERT_TRUE(json.is_object()) << method;
    EXPECT_EQ(json["method"], method);
    EXPECT_EQ(json["bytes"].get<size_t>() > 100000, true) << method;
    EXPECT_TRUE(json["notes"].empty()) << json["notes"];
    const Json record = Json::parse(read_file(out + "/merge.json"));
    EXPECT_EQ(record["models"], json["models"]);
    EXPECT_FALSE(
        run_ok({"generate", "--model", out, "--prompt", "the", "--max-tokens", "4"}).empty());
  }
  const Json deltas = Json::parse(read_file(path("deltas/merge.json")));
  EXPECT_EQ(deltas["models"][0]["weight"], 0.25);
  EXPECT_EQ(deltas["models"][2]["weight"], 0.3);
  EXPECT_EQ(deltas["models"][2]["model"], path("c"));
  // And it is trained on.
  run_ok({"data", "pack", "--input", path("corpus.txt"), "--tokenizer", path("tokenizer"), "--out",
          path("packed"), "--document", "line"});
  run_ok({"train", "--model.from", path("ties"), "--data.path", path("packed"), "--out",
          path("run"), "--train.steps", "1", "--train.batch", "1", "--train.seq_len", "16",
          "--train.warmup", "0", "--log.eval_every", "0"});
}

TEST_F(MergeCommand, TheSameCommandGivesTheSameBytes) {
  const Arguments models{path("a"), path("b"), "--base", path("base"), "--density", "0.3"};
  const auto with = [&](const Arguments& more) {
    Arguments all = models;
    all.insert(all.end(), more.begin(), more.end());
    return merged("dare_ties", all);
  };
  const std::string one = with({});
  EXPECT_EQ(with({"--seed", "42"}), one);
  EXPECT_EQ(with({"--threads", "1"}), with({"--threads", "5"}));
  EXPECT_NE(with({"--seed", "43"}), one);
  EXPECT_NE(with({"--normalize"}), one);
  EXPECT_EQ(with({"--no-normalize"}), one);
  EXPECT_LT(with({"--dtype", "bf16"}).size(), one.size());
  // linear normalises by itself: a weight of 1 is nobody's
  EXPECT_EQ(merged("linear", {path("a"), path("b")}),
            merged("linear", {path("a") + ":1", path("b") + ":1", "--normalize"}));
}

TEST_F(MergeCommand, OptionsThatDoNotFitAreOneLine) {
  const std::string a = path("a"), b = path("b"), base = path("base");
  struct Row {
    Arguments command;
    int code;
    const char* message;
  };
  const Row rows[] = {
      {command("tise", {a, b}), 2, "--method"},
      {command("linear", {a, b, "--base", base}), 2, "--method linear has no --base"},
      {command("linear", {a, b, "--density", "0.3"}), 2, "--method linear has no --density"},
      {command("linear", {}), 2, "--method linear needs MODEL"},
      {command("linear", {a}), 2, "at least 2 models"},
      {command("slerp", {a, b + ":2"}), 2, "slerp has no weights"},
      {command("slerp", {a, b, "--no-normalize"}), 2, "--method slerp has no --no-normalize"},
      {command("slerp", {a, b, "--t", "1.5"}), 2, "--t"},
      {command("ties", {a, b}), 2, "--method ties needs --base"},
      {command("ties", {a, b, "--base", base, "--density", "0"}), 2, "--density"},
      {command("ties", {a, b, "--base", base, "--seed", "1"}), 2, "--method ties has no --seed"},
      {command("ties", {a, b, "--base", base, "--group", "1", a}), 2, "has no --group"},
      {command("deltas", {a, "--base", base, "--group", "1", b}), 2, "has no MODEL"},
      {command("deltas", {"--base", base}), 2, "--method deltas needs --group"},
      {command("deltas", {"--base", base, "--group", a}), 2, "expected LAMBDA MODEL"},
      {command("deltas", {"--base", base, "--group", "1", "--group", "2", a}), 2, "no models"},
      {command("linear", {a, path("nowhere")}), 1, "nowhere"},
      {command("linear", {a, "pangu-embedded-7b"}), 1, "this preset has no weights"},
  };
  for (const auto& [arguments, code, message] : rows) {
    Arguments all = arguments;
    all.insert(all.end(), {"--out", path("never")});
    const ProgramResult result = run_program(all);
    EXPECT_EQ(result.code, code) << message << ": " << result.err;
    EXPECT_EQ(result.out, "") << message;
    EXPECT_NE(result.err.find(message), std::string::npos) << message << ": " << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_FALSE(fs::exists(path("never")));
  }
  const ProgramResult gguf = run_program(command("linear", {a, b, "--out", path("m.gguf")}));
  EXPECT_EQ(gguf.code, 2);
  EXPECT_NE(gguf.err.find("ultramoe convert"), std::string::npos) << gguf.err;
}

TEST_F(MergeCommand, PathsMayHaveColons) {
  fs::copy(path("a"), path("step:2"), fs::copy_options::recursive);
  const auto with = [](const std::string& model) { return merged("linear", {model, path("b")}); };
  EXPECT_EQ(with(path("step:2")), with(path("a")));
  EXPECT_EQ(with(path("step:2:3")), with(path("a:3")));
}

}  // namespace
}  // namespace um
