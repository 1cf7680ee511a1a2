// `data tasks` and `eval --tasks` as a user runs them, on a small random model.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/files.h"
#include "tests/cli/program_util.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

std::vector<Json> lines_of(const std::string& file) {
  std::vector<Json> lines;
  std::istringstream text(read_file(file));
  for (std::string line; std::getline(text, line);) lines.push_back(Json::parse(line));
  return lines;
}

class TaskCommands : public SharedScratchTest {
 protected:
  static void SetUpTestSuite() {
    if (!make_scratch()) return;
    std::string text;
    for (const std::string& line : tiny_corpus(600)) text += line + "\n";
    write_file_atomic(path("corpus.txt"), text);
    run_ok({"tokenizer", "train", "--input", path("corpus.txt"), "--vocab-size", "400", "--out",
            path("tokenizer")});
    run_ok({"init", "--preset", "nano-ultra", "--out", path("chat"), "--tokenizer",
            path("tokenizer"), "--seed", "3"});
    run_ok({"init", "--preset", "nano-ultra", "--out", path("base"), "--tokenizer",
            path("tokenizer"), "--seed", "3"});
    tell(path("chat"), "chat");
    tell(path("base"), "text");
    run_ok({"data", "tasks", "--task", "addition,sort_words,lookup", "--levels", "1-2", "--count",
            "3", "--split", "test", "--mode", "both", "--out", path("chat.jsonl")});
    run_ok({"data", "tasks", "--task", "addition", "--levels", "1", "--count", "3", "--form",
            "prompt", "--mode", "fast", "--out", path("prompt.jsonl")});
  }
  /// What the model is for; tools need more context than the preset has.
  static void tell(const std::string& model, const char* trained_for) {
    Json config = Json::parse(read_file(model + "/config.json"));
    config["trained_for"] = trained_for;
    config["max_position_embeddings"] = 1024;
    write_file_atomic(model + "/config.json", config.dump());
    std::filesystem::remove(model + "/digests.json");
  }
  static std::string run_ok(const Words& words) {
    const ProgramResult result = run_program(words);
    EXPECT_EQ(result.code, 0) << words[0] << ": " << result.err;
    return result.out;
  }
  static std::string run_wrong(const Words& words, int code) {
    const ProgramResult result = run_program(words);
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    return result.err;
  }
};

TEST_F(TaskCommands, DataWritesRecords) {
  const std::vector<Json> records = lines_of(path("chat.jsonl"));
  EXPECT_EQ(records.size(), 3U * 2 * 3 * 2);
  const std::string again = path("again.jsonl");
  run_ok({"data", "tasks", "--task", "addition,sort_words,lookup", "--levels", "1-2", "--count",
          "3", "--split", "test", "--mode", "both", "--out", again});
  EXPECT_EQ(read_file(again), read_file(path("chat.jsonl")));
  EXPECT_NE(run_ok({"data", "tasks", "--list"}).find("countdown"), std::string::npos);
}

TEST_F(TaskCommands, DataSaysWhatIsWrong) {
  const std::string out = path("x.jsonl");
  const auto wrong = [&](Words more, int code = 2) {
    Words words = {"data", "tasks", "--out", out, "--task", "addition"};
    words.insert(words.end(), more.begin(), more.end());
    return run_wrong(words, code);
  };
  EXPECT_NE(wrong({"--levels", "0-3"}).find("--levels 0-3"), std::string::npos);
  EXPECT_NE(wrong({"--levels", "4-3"}).find("the first is above"), std::string::npos);
  EXPECT_NE(wrong({"--split", "dev"}).find("train, valid or test"), std::string::npos);
  EXPECT_NE(wrong({"--language", "de"}).find("en or zh"), std::string::npos);
  EXPECT_NE(wrong({"--mode", "auto"}).find("slow, fast or both"), std::string::npos);
  EXPECT_NE(run_wrong({"data", "tasks", "--out", out, "--task", "adition"}, 2).find("did you mean"),
            std::string::npos);
  EXPECT_NE(run_wrong({"data", "tasks", "--out", out, "--task", "antonym", "--wordnet", out}, 1)
                .find("wordnet-base"),
            std::string::npos);
  EXPECT_NE(run_wrong({"data", "tasks", "--out", out, "--task", "lookup", "--form", "prompt"}, 2)
                .find("needs a chat"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST_F(TaskCommands, EvalAsksAChatModel) {
  const std::string out = path("results.jsonl"), page = path("report.html");
  const Words words = {"eval",
                       "--model",
                       path("chat"),
                       "--tasks",
                       path("chat.jsonl"),
                       "--samples",
                       "2",
                       "--max-tokens",
                       "12",
                       "--seed",
                       "5",
                       "--out",
                       out,
                       "--report",
                       page,
                       "--temperature",
                       "1"};
  Words json = words;
  json.push_back("--json");
  const Json report = Json::parse(run_ok(json));
  EXPECT_NE(report["form"].get<std::string>().find("chat template"), std::string::npos);
  // 3 tasks × 2 levels × 2 modes, each task and all of them by mode.
  EXPECT_EQ(report["rows"].size(), 3U * 2 * 2 + 3 * 2 + 2);
  const std::vector<Json> results = lines_of(out);
  ASSERT_EQ(results.size(), 36U * 2);
  std::map<std::string, double> right;
  for (const Json& one : results) {
    EXPECT_LE(one["tokens"].get<int>(), 12);
    right[one["mode"]] += one["right"].get<bool>() ? 1 : 0;
  }
  for (const Json& row : report["rows"])
    if (row["task"] == "all") {
      EXPECT_EQ(row["problems"], 18);
      EXPECT_NEAR(row["exact"].get<double>(), right[row["mode"]] / 36, 1e-12);
    }
  EXPECT_NE(read_file(page).find("id=\"data\""), std::string::npos);
  // The same seed, the same answers, whatever runs beside them.
  const std::string before = read_file(out);
  const std::string table = run_ok(words);
  EXPECT_EQ(read_file(out), before);
  EXPECT_NE(table.find("95% interval"), std::string::npos);
  EXPECT_NE(table.find("pass@k"), std::string::npos);
}

TEST_F(TaskCommands, EvalAsksInOtherModes) {
  const Json report =
      Json::parse(run_ok({"eval", "--model", path("chat"), "--tasks", path("chat.jsonl"), "--mode",
                          "auto", "--limit", "1", "--max-tokens", "4", "--seed", "1", "--json"}));
  for (const Json& row : report["rows"]) EXPECT_EQ(row["mode"], "auto");
  EXPECT_EQ(report["rows"].back()["problems"], 12);  // a slow and a fast one of each
}

TEST_F(TaskCommands, EvalAsksABaseModel) {
  const Words words = {"eval",         "--model", path("base"),    "--tasks", path("prompt.jsonl"),
                       "--max-tokens", "5",       "--temperature", "0",       "--json"};
  const Json report = Json::parse(run_ok(words));
  EXPECT_NE(report["form"].get<std::string>().find("base model"), std::string::npos);
  EXPECT_EQ(report["rows"][0]["problems"], 3);
  const ProgramResult tools =
      run_program({"eval", "--model", path("base"), "--tasks", path("chat.jsonl")});
  EXPECT_EQ(tools.code, 1);
  EXPECT_NE(tools.err.find("a base model calls no tools"), std::string::npos) << tools.err;
}

TEST_F(TaskCommands, EvalChoosesByLikelihood) {
  const std::string file = path("choices.jsonl"), out = path("choices.out.jsonl");
  write_file_atomic(file, R"({"question": "the quick", "choices": ["brown fox", "a"], "answer": 0})"
                          "\n"
                          R"({"question": "one", "choices": ["two", "three", "four"], "answer": 1})"
                          "\n");
  const Json report = Json::parse(run_ok({"eval", "--model", path("base"), "--tasks", file,
                                          "--dtype", "f32", "--out", out, "--json"}));
  ASSERT_EQ(report["rows"].size(), 2U);
  EXPECT_EQ(report["rows"][0]["mode"], "likelihood");
  EXPECT_EQ(report["rows"][1]["mode"], "likelihood/byte");
  const std::vector<Json> results = lines_of(out);
  ASSERT_EQ(results.size(), 4U);
  // `eval --text` says the same: the nats of question and choice, less those of the question.
  const auto nats = [&](const std::string& text) {
    write_file_atomic(path("text.txt"), text);
    const Json loss = Json::parse(run_ok(
        {"eval", "--model", path("base"), "--text", path("text.txt"), "--dtype", "f32", "--json"}));
    return loss["loss"].get<double>() * loss["tokens"].get<double>();
  };
  const double question = nats("Question: the quick\nAnswer:");
  EXPECT_NEAR(results[0]["likelihoods"][0].get<double>(),
              question - nats("Question: the quick\nAnswer: brown fox"), 1e-3);
  EXPECT_NEAR(results[0]["likelihoods"][1].get<double>(),
              question - nats("Question: the quick\nAnswer: a"), 1e-3);
  EXPECT_NEAR(results[1]["likelihoods"][0].get<double>() * 9,
              results[0]["likelihoods"][0].get<double>(), 1e-9);
}

TEST_F(TaskCommands, EvalSaysWhatIsWrong) {
  const Words eval = {"eval", "--model", path("chat")};
  const auto wrong = [&](Words more, int code = 2) {
    more.insert(more.begin(), eval.begin(), eval.end());
    return run_wrong(more, code);
  };
  EXPECT_NE(wrong({"--samples", "2", "--text", path("corpus.txt")}).find("go with --tasks"),
            std::string::npos);
  EXPECT_NE(
      wrong({"--tasks", path("chat.jsonl"), "--text", path("corpus.txt")}).find("--tasks FILE"),
      std::string::npos);
  EXPECT_NE(wrong({"--tasks", path("chat.jsonl"), "--mode", "quick"}).find("quick"),
            std::string::npos);
  EXPECT_NE(wrong({"--tasks", path("none.jsonl")}, 1).find("none.jsonl"), std::string::npos);
  EXPECT_NE(
      run_wrong(
          {"eval", "--model", path("base"), "--tasks", path("prompt.jsonl"), "--mode", "slow"}, 2)
          .find("a base model has no modes"),
      std::string::npos);
}

}  // namespace
}  // namespace um
