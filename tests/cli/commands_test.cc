// The commands one after the other, as the README shows them: text → tokenizer → shards → model →
// evaluation and text.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "core/files.h"
#include "core/safetensors.h"
#include "tests/cli/program_util.h"
#include "tests/models/hollow_util.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// Runs a command that must succeed; returns what it printed.
std::string run_ok(const std::vector<std::string>& arguments, const std::string& input = "") {
  const ProgramResult result = run_program(arguments, input);
  EXPECT_EQ(result.code, 0) << arguments[0] << ": " << result.err;
  return result.out;
}

Json run_json(std::vector<std::string> arguments) {
  arguments.push_back("--json");
  const Json json = Json::parse(run_ok(arguments), nullptr, false);
  EXPECT_TRUE(json.is_object()) << arguments[0];
  return json;
}

/// One corpus, tokenizer and random model for all tests.
class Commands : public SharedScratchTest {
 protected:
  static void SetUpTestSuite() {
    if (!make_scratch()) return;
    std::string text;
    for (const std::string& line : tiny_corpus(600)) text += line + "\n";
    write_file_atomic(path("corpus.txt"), text);
    run_ok({"tokenizer", "train", "--input", path("corpus.txt"), "--vocab-size", "400", "--out",
            path("tokenizer")});
    run_ok({"data", "pack", "--input", path("corpus.txt"), "--tokenizer", path("tokenizer"),
            "--out", path("data"), "--document", "line", "--val-fraction", "0.1"});
    run_ok({"init", "--preset", "nano-ultra", "--out", path("model"), "--tokenizer",
            path("tokenizer"), "--seed", "3"});
  }
};

TEST_F(Commands, InspectPrintsTheGoldenCounts) {
  const Json ultra = run_json({"inspect", "pangu-ultra-moe-718b"});
  EXPECT_EQ(ultra["total_params"], 719093767680);
  EXPECT_EQ(ultra["total_params_one_embedding"], 717914119680);
  EXPECT_EQ(ultra["active_params_one_embedding"], 39191846400);
  EXPECT_EQ(ultra["kv_bytes_per_token"], 61 * (512 + 64) * 2);
  const Json pro = run_json({"inspect", "pangu-pro-moe-72b"});
  EXPECT_NEAR(pro["total_params"].get<double>(), 71.99e9, 5e6);
  EXPECT_NEAR(pro["active_params"].get<double>(), 16.50e9, 5e6);
  EXPECT_NE(run_ok({"inspect", "pangu-ultra-moe-718b"}).find("717,914,119,680"), std::string::npos);
}

/// Wrong options are one line, and nothing else is printed: no prompt, no cache.
TEST_F(Commands, OptionsAreCheckedBeforeAnythingIsPrinted) {
  using Words = std::vector<std::string>;
  const auto expect_line = [&](Words arguments, const Words& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramResult result = run_program(arguments, "hello\n");
    EXPECT_NE(result.code, 0) << more[0];
    EXPECT_EQ(result.out, "") << more[0];
    EXPECT_TRUE(result.err.starts_with("ultramoe: ")) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  };
  const Words sampling[] = {{"--top-p", "7"},          {"--temperature", "-1"},
                            {"--logit-bias", "a:1"},   {"--logit-bias", "-1:1"},
                            {"--logit-bias", "5:1e9"}, {"--cache-dtype", "f3"},
                            {"--max-tokens", "0"}};
  const Words generate = {"generate", "--model", path("model"), "--prompt", "a"};
  const Words chat = {"chat", "--model", path("model")};
  for (const Words& words : sampling) {
    expect_line(generate, words);
    expect_line(chat, words);
  }
  expect_line(generate, {"--stop="});
  expect_line(generate, {"--stop", "b", "--stop", ""});
  expect_line(generate, {"--drafts", "99"});
  expect_line(chat, {"--mode", "quick"});
  expect_line(chat, {"--context", "-1"});
}

TEST_F(Commands, WordsBehindTwoDashesAreNoOptions) {
  const std::vector<std::string> decode = {"tokenizer", "decode", "--tokenizer", path("tokenizer")};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = decode;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  };
  const std::string text = with({"300", "301"}).out;
  EXPECT_EQ(with({"--", "300", "301"}).out, text);
  EXPECT_EQ(with({"300", "--", "301"}).out, text);
  EXPECT_EQ(with({"300", "301", "--"}).out, text);
  EXPECT_NE(with({"5", "--", "-3"}).err.find("id -3: the vocabulary has ids"), std::string::npos);
  EXPECT_NE(with({"--", "--json"}).err.find("expected a number, found \"--json\""),
            std::string::npos);
  EXPECT_EQ(run_ok({"inspect", "--json", "--", "nano-ultra"}),
            run_ok({"inspect", "--json", "nano-ultra"}));
  for (const std::vector<std::string>& wrong :
       {std::vector<std::string>{"generate", "--model", path("model"), "--", "more"},
        {"inspect", "nano-ultra", "--", "more"},
        {"tokenizer", "--", "more"},
        {"--", "more"}}) {
    const ProgramResult result = run_program(wrong);
    EXPECT_EQ(result.code, 2);
    EXPECT_NE(result.err.find("unexpected argument \"more\""), std::string::npos) << result.err;
  }
}

TEST_F(Commands, InspectComparesTheWeights) {
  const Json model = run_json({"inspect", path("model")});
  for (const char* list : {"missing", "wrong", "unexpected", "warnings"})
    EXPECT_EQ(model["weights"][list], Json::array()) << list;
  EXPECT_GT(model["weights"]["tensors"], 50);
}

/// openPangu-Embedded-7B as published: names and shapes in two shards with an index, no data.
TEST_F(Commands, InspectNeedsNoDataOfACheckpoint) {
  const fs::path published = fs::path(UM_SOURCE_DIR) / "tests/models/published";
  std::vector<HollowTensor> tensors = published_tensors(published / "pangu-embedded-7b.txt");
  fs::create_directories(path("embedded"));
  fs::copy_file(fs::path(UM_SOURCE_DIR) / "configs/pangu-embedded-7b/config.json",
                path("embedded/config.json"));
  const auto write = [&] {
    const auto half = tensors.begin() + std::ssize(tensors) / 2;
    const std::vector<HollowTensor> parts[] = {{tensors.begin(), half}, {half, tensors.end()}};
    Json map = Json::object();
    for (int part = 0; part < 2; ++part) {
      const std::string shard = fmt::format("model-0000{}-of-00002.safetensors", part + 1);
      write_hollow(path("embedded/" + shard), parts[part]);
      for (const HollowTensor& tensor : parts[part]) map[tensor.name] = shard;
    }
    const Json index = {{"metadata", {{"total_size", 16061784576}}}, {"weight_map", map}};
    write_file_atomic(path("embedded/model.safetensors.index.json"), index.dump());
  };
  write();
  const Json whole = run_json({"inspect", path("embedded")})["weights"];
  EXPECT_EQ(whole["tensors"], 479);
  EXPECT_EQ(whole["bytes"], 16061784576);
  for (const char* list : {"missing", "wrong", "unexpected", "warnings"})
    EXPECT_EQ(whole[list], Json::array()) << list;
  const std::string text = run_ok({"inspect", path("embedded")});
  EXPECT_NE(text.find("479 tensors, 16,061,784,576 bytes"), std::string::npos) << text;
  EXPECT_NE(text.find("0 missing, 0 wrong, 0 unexpected"), std::string::npos) << text;
  // One under another name, one of another shape.
  for (HollowTensor& tensor : tensors) {
    if (tensor.name == "model.norm.weight") tensor.name = "model.norm.scale";
    if (tensor.name == "model.layers.3.mlp.up_proj.weight")
      std::swap(tensor.shape[0], tensor.shape[1]);
  }
  write();
  const ProgramResult result = run_program({"inspect", path("embedded"), "--json"});
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.err.find("missing tensors: 1, the first model.norm.weight"), std::string::npos)
      << result.err;
  const Json found = Json::parse(result.out)["weights"];
  EXPECT_EQ(found["missing"], Json::array({"model.norm.weight"}));
  EXPECT_EQ(found["unexpected"], Json::array({"model.norm.scale"}));
  ASSERT_EQ(found["wrong"].size(), 1u);
  EXPECT_EQ(
      found["wrong"][0],
      "model.layers.3.mlp.up_proj.weight: expected [12800, 4096], found [4096, 12800] in BF16");
}

TEST_F(Commands, TokenizerGoesThereAndBack) {
  const std::string text = "the old bridge, 2024: 门前 ☃";
  const Json encoded =
      run_json({"tokenizer", "encode", "--tokenizer", path("tokenizer"), "--text", text});
  const std::string ids = encoded["tokens"].dump();
  EXPECT_EQ(run_ok({"tokenizer", "decode", "--tokenizer", path("tokenizer")}, ids), text + "\n");
  EXPECT_EQ(run_ok({"tokenizer", "decode", "--tokenizer", path("tokenizer"), ids}), text + "\n");
}

TEST_F(Commands, EvalOfARandomModelIsNearTheUniformLoss) {
  const Json data = run_json({"eval", "--model", path("model"), "--data", path("data")});
  EXPECT_NEAR(data["loss"].get<double>(), std::log(512.0), 0.5);
  EXPECT_EQ(data["mtp_acceptance"].size(), 1u);
  const Json text = run_json({"eval", "--model", path("model"), "--text", path("corpus.txt")});
  const double bytes = static_cast<double>(fs::file_size(path("corpus.txt")));
  EXPECT_EQ(text["bytes"], bytes);
  EXPECT_NEAR(text["bits_per_byte"].get<double>(),
              text["loss"].get<double>() * text["tokens"].get<double>() / std::log(2.0) / bytes,
              1e-9);
  EXPECT_NEAR(text["perplexity"].get<double>(), std::exp(text["loss"].get<double>()), 1e-6);
}

TEST_F(Commands, EvalStopsAtTheExactToken) {
  const Json part = run_json(
      {"eval", "--model", path("model"), "--text", path("corpus.txt"), "--max-tokens", "100"});
  EXPECT_EQ(part["tokens"], 100);
  EXPECT_GT(part["bytes"], 100);
  EXPECT_LT(part["bytes"], 1000);
  const Json data =
      run_json({"eval", "--model", path("model"), "--data", path("data"), "--max-tokens", "100"});
  EXPECT_EQ(data["tokens"], 100);
}

TEST_F(Commands, EvalComparesWithABase) {
  const std::string base = path("base"), model = path("model");
  const Json saved = run_json({"eval", "--model", model, "--text", path("corpus.txt"),
                               "--save-logits", base, "--context", "32", "--chunks", "20"});
  EXPECT_EQ(saved["chunks"], 20);
  EXPECT_EQ(saved["tokens"], 20 * 15);
  EXPECT_EQ(saved["bytes"], 20 + 20 * 32 * 4 + 20 * 15 * (8 + 2 * 512));
  const Json same = run_json({"eval", "--model", model, "--kl-base", base});
  EXPECT_EQ(same["tokens"], saved["tokens"]);
  EXPECT_NEAR(same["perplexity"]["value"].get<double>(), saved["perplexity"].get<double>(), 1e-6);
  EXPECT_LT(same["kl"]["max"].get<double>(), 1e-4);
  const Json rounded =
      run_json({"eval", "--model", model, "--dtype", "w4a8", "--kl-base", base, "--chunks", "10"});
  EXPECT_EQ(rounded["tokens"], 10 * 15);
  EXPECT_GT(rounded["kl"]["mean"]["value"].get<double>(),
            10 * std::abs(same["kl"]["mean"]["value"].get<double>()));
  const ProgramResult table = run_program({"eval", "--model", model, "--kl-base", base});
  EXPECT_EQ(table.code, 0);
  EXPECT_EQ(table.err.find("warning"), std::string::npos) << table.err;
  for (const char* part : {"KL(base‖model)", "99.9 %", "300 tokens"})
    EXPECT_NE(table.out.find(part), std::string::npos) << table.out;
}

TEST_F(Commands, ABaseOfAnotherTokenizerIsWarnedOf) {
  run_ok({"tokenizer", "train", "--input", path("corpus.txt"), "--vocab-size", "380", "--out",
          path("tokenizer380")});
  run_ok({"init", "--preset", "nano-ultra", "--out", path("model380"), "--tokenizer",
          path("tokenizer380")});
  run_ok({"eval", "--model", path("model380"), "--text", path("corpus.txt"), "--save-logits",
          path("base380"), "--seq-len", "64", "--chunks", "2"});
  const ProgramResult result =
      run_program({"eval", "--model", path("model"), "--kl-base", path("base380")});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("another tokenizer"), std::string::npos) << result.err;
}

TEST_F(Commands, GenerateIsReproducible) {
  const std::vector<std::string> arguments = {"generate", "--model",      path("model"), "--prompt",
                                              "the",      "--max-tokens", "20",          "--seed",
                                              "7",        "--ignore-eos"};
  const Json first = run_json(arguments), second = run_json(arguments);
  EXPECT_EQ(first["tokens"], second["tokens"]);
  EXPECT_EQ(first["tokens"].size(), 20u);
  EXPECT_EQ(first["finish_reason"], "length");
  const std::string streamed = run_ok(arguments);
  EXPECT_EQ(streamed, "the" + first["text"].get<std::string>() + "\n");
}

TEST_F(Commands, ChatAnswersEveryLine) {
  const ProgramResult result =
      run_program({"chat", "--model", path("model"), "--max-tokens", "8", "--seed", "1"},
                  "the river\n/reset\nthe bridge\n/quit\nnever read\n");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_GE(std::count(result.out.begin(), result.out.end(), '\n'), 2);
}

TEST_F(Commands, DebugWritesLogitsAndGradients) {
  write_file_atomic(path("tokens.json"), "[[1, 2, 3], [4, 5, 6, 7]]");
  run_ok({"debug", "logits", "--model", path("model"), "--tokens", path("tokens.json"), "--out",
          path("logits.safetensors")});
  const SafetensorsFile logits(path("logits.safetensors"));
  ASSERT_NE(logits.find("logits.1"), nullptr);
  EXPECT_EQ(logits.find("logits.1")->shape, (std::vector<int64_t>{4, 512}));
  EXPECT_EQ(logits.find("mtp.1.logits.1")->shape, (std::vector<int64_t>{3, 512}));
  run_ok({"debug", "grads", "--model", path("model"), "--tokens", path("tokens.json"), "--out",
          path("grads.safetensors"), "--mtp-weight", "0.3", "--balance-weight", "0.1"});
  const SafetensorsFile grads(path("grads.safetensors"));
  EXPECT_NE(grads.find("loss.total"), nullptr);
  EXPECT_NE(grads.find("grad.lm_head.weight"), nullptr);
}

/// Quantised with calibration text, and without: a model that loads, and the report.
TEST_F(Commands, QuantizeWritesAModelAndItsReport) {
  const Json report = run_json({"quantize", path("model"), "--out", path("quantized"), "--calib",
                                path("corpus.txt"), "--scheme", "w4a8", "--context", "64",
                                "--calib-tokens", "2048", "--eval-tokens", "512"});
  EXPECT_EQ(report["settings"]["method"], "gptq");
  EXPECT_EQ(report["settings"]["calibration_tokens"], 2048);
  EXPECT_GT(report["matrices"].size(), 10u);
  EXPECT_LT(report["quality"]["kl"]["mean"]["value"], 0.1);
  // What was measured is what `eval` measures on the same text.
  const Json measured = run_json({"quantize", path("model"), "--out", path("quantized2"), "--eval",
                                  path("corpus.txt"), "--context", "64", "--eval-tokens", "640"});
  run_ok({"eval", "--model", path("model"), "--dtype", "f32", "--text", path("corpus.txt"),
          "--save-logits", path("base"), "--context", "64", "--chunks", "10"});
  const Json compared =
      run_json({"eval", "--model", path("quantized2"), "--kl-base", path("base")});
  EXPECT_EQ(measured["quality"]["tokens"], compared["tokens"]);
  EXPECT_EQ(measured["quality"]["kl"]["mean"]["value"], compared["kl"]["mean"]["value"]);
  EXPECT_TRUE(fs::exists(path("quantized/quantization.html")));
  EXPECT_FALSE(fs::exists(path("quantized/quantize_base.tmp")));
  EXPECT_FALSE(fs::exists(path("quantized/unfinished")));
  const Json eval = run_json(
      {"eval", "--model", path("quantized"), "--text", path("corpus.txt"), "--max-tokens", "64"});
  EXPECT_GT(eval["perplexity"], 1);

  const Json plain = run_json({"quantize", path("model"), "--out", path("quantized4")});
  EXPECT_EQ(plain["settings"]["method"], "ssz");
  EXPECT_TRUE(plain["quality"].is_null());
  EXPECT_NE(plain["quality_note"].get<std::string>().find("no text"), std::string::npos);
}

/// A file system that takes files of this size at most, for the programs started while it lives.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const struct rlimit small { bytes, before_.rlim_max };
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;
  ~FileLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  struct rlimit before_ {};
};

TEST_F(Commands, QuantizeSaysWhatAFullDiskHasLeftOut) {
  const auto expect_failure = [](const ProgramResult& result, const std::string& why) {
    EXPECT_EQ(result.code, 1) << result.out << result.err;
    EXPECT_NE(result.err.find(why), std::string::npos) << result.err;
  };
  // Its files have 131 kB at most, the original's predictions 318 kB.
  const std::vector<std::string> measured = {"quantize",      path("model"),
                                             "--out",         path("q-unmeasured"),
                                             "--eval",        path("corpus.txt"),
                                             "--context",     "64",
                                             "--eval-tokens", "640",
                                             "--json"};
  {
    const FileLimit limit(200'000);
    const ProgramResult result = run_program(measured);
    expect_failure(result, "the model and its report are complete, but it was not measured");
    const Json report = Json::parse(result.out, nullptr, false);
    ASSERT_TRUE(report.is_object());
    EXPECT_TRUE(report["quality"].is_null());
    EXPECT_NE(report["quality_note"].get<std::string>().find("Not measured"), std::string::npos);
  }
  for (const char* name : {"digests.json", "quantization.json", "quantization.html"})
    EXPECT_TRUE(fs::exists(path("q-unmeasured") + "/" + name)) << name;
  for (const char* name : {"unfinished", "quantize_base.tmp"})
    EXPECT_FALSE(fs::exists(path("q-unmeasured") + "/" + name)) << name;
  // A report that cannot be written, of a run that goes on after an earlier full disk.
  const std::vector<std::string> plain = {"quantize", path("model"), "--out", path("q-unreported")};
  {
    const FileLimit limit(20'000);
    expect_failure(run_program(plain), "model-00002-of-00005.safetensors: cannot write");
  }
  fs::create_directories(path("q-unreported/quantization.html"));
  expect_failure(run_program(plain), "all weights are written, but not the report: ");
  fs::remove(path("q-unreported/quantization.html"));
  EXPECT_TRUE(fs::exists(path("q-unreported/unfinished")));
  run_ok(plain);
  EXPECT_FALSE(fs::exists(path("q-unreported/unfinished")));
  for (const char* name : {"q-unmeasured", "q-unreported"})
    run_ok({"eval", "--model", path(name), "--text", path("corpus.txt"), "--max-tokens", "64"});
}

/// A trained model ends its texts where the corpus' documents end, also as GGUF; its report and
/// `eval` agree on bits per byte.
TEST_F(Commands, ATrainedModelKnowsItsEnd) {
  run_ok({"train",
          "--out",
          path("run"),
          "--model.preset",
          "nano-ultra",
          "--model.set",
          "vocab_size=400",
          "--data.path",
          path("data"),
          "--train.steps",
          "80",
          "--train.batch",
          "16",
          "--train.seq_len",
          "64",
          "--train.lr",
          "0.01",
          "--log.eval_every",
          "80",
          "--log.eval_batches",
          "0",
          "--log.sample_every",
          "0"});
  const std::string checkpoint = path("run/checkpoints/step-00000080");
  run_ok({"convert", checkpoint, "--out", path("trained.gguf")});
  for (const std::string& model : {checkpoint, path("trained.gguf")}) {
    size_t ended = 0;
    for (const char* seed : {"1", "2", "3", "4"}) {
      const Json text = run_json({"generate", "--model", model, "--prompt", "the", "--max-tokens",
                                  "200", "--seed", seed, "--temperature", "0.5"});
      ended += text["finish_reason"] == "eos" ? 1 : 0;
    }
    EXPECT_GE(ended, 3u) << model;
  }
  const std::string shown =
      run_ok({"generate", "--model", checkpoint, "--prompt", "the", "--max-tokens", "200", "--seed",
              "1", "--temperature", "0", "--special"});
  EXPECT_TRUE(shown.ends_with("[unused10]\n")) << shown;
  const ProgramResult cut = run_program(
      {"generate", "--model", checkpoint, "--prompt", "the", "--max-tokens", "3", "--ignore-eos"});
  EXPECT_NE(cut.err.find("cut at --max-tokens 3"), std::string::npos) << cut.err;
  const Json eval =
      run_json({"eval", "--model", checkpoint, "--data", path("data"), "--seq-len", "64"});
  const Json card = Json::parse(read_file(path("run/model_card.json")));
  double loss = 0;
  std::istringstream lines(read_file(path("run/metrics.jsonl")));
  for (std::string line; std::getline(lines, line);)
    if (const Json point = Json::parse(line); point.contains("val_loss")) loss = point["val_loss"];
  EXPECT_NEAR(eval["bits_per_byte"].get<double>(),
              loss / std::log(2.0) / card["bytes_per_target"].get<double>(), 5e-5);
  EXPECT_EQ(run_program({"eval", "--model", path("trained.gguf"), "--data", path("data")}).code, 0);
}

/// Tokens of one tokenizer mean nothing to the weights of another.
/// Every command that writes a model's directory writes its digests.
TEST_F(Commands, DamageOfEveryWrittenModelIsNamed) {
  run_ok({"convert", path("model"), "--out", path("digests.gguf")});
  run_ok({"convert", path("digests.gguf"), "--out", path("digests-gguf")});
  run_ok({"convert", path("model"), "--out", path("digests-hf"), "--shard-size", "0.0001"});
  run_ok({"expand-mtp", path("model"), "--heads", "2", "--out", path("digests-mtp")});
  fs::copy(path("model"), path("digests-init"));
  for (const char* name : {"digests-gguf", "digests-hf", "digests-mtp", "digests-init"}) {
    const fs::path model = path(name);
    const std::vector<std::string> command{"generate", "--model", model, "--max-tokens", "1"};
    run_ok(command);
    const Json listed = Json::parse(read_file(model / "digests.json"))["model"];
    for (const auto& entry : fs::directory_iterator(model)) {
      const std::string file = entry.path().filename();
      if (file == "digests.json") continue;
      EXPECT_TRUE(listed.contains(file)) << name << ": " << file;
      std::string bytes = read_file(entry.path());
      bytes[bytes.size() / 2] ^= 1;
      write_file_atomic(entry.path(), bytes);
      const ProgramResult result = run_program(command);
      EXPECT_EQ(result.code, 1);
      EXPECT_NE(result.err.find(file + ": damaged: its CRC-32 is"), std::string::npos)
          << result.err;
      bytes[bytes.size() / 2] ^= 1;
      write_file_atomic(entry.path(), bytes);
    }
  }
}

TEST_F(Commands, ForeignTokensAreRefused) {
  run_ok({"tokenizer", "train", "--input", path("corpus.txt"), "--vocab-size", "390", "--out",
          path("other-tokenizer")});
  run_ok({"init", "--preset", "nano-ultra", "--out", path("other"), "--tokenizer",
          path("other-tokenizer"), "--seed", "3"});
  run_ok({"convert", path("other"), "--out", path("other.gguf")});
  for (const std::string& model : {path("other"), path("other.gguf")}) {
    const std::vector<std::vector<std::string>> commands = {
        {"eval", "--model", model, "--data", path("data")},
        {"generate", "--model", path("model"), "--prompt", "the", "--draft-model", model},
        {"train", "--out", path("refused"), "--model.from", model, "--data.path", path("data")}};
    for (const auto& command : commands) {
      const ProgramResult result = run_program(command);
      EXPECT_EQ(result.code, 1) << command[0] << " " << model;
      EXPECT_NE(result.err.find("another tokenizer"), std::string::npos) << result.err;
    }
  }
}

TEST_F(Commands, InfoNamesTheKernels) {
  const Json info = run_json({"info"});
  EXPECT_TRUE(info["kernels"]["matmul"].contains("ref"));
  EXPECT_FALSE(info.contains("rates"));
}

TEST_F(Commands, InfoMeasuresRates) {
  const Json rates = run_json({"info", "--rates"})["rates"];
  EXPECT_GT(rates["f32_flops_per_s"], 1e8);
  EXPECT_GT(rates["read_bytes_per_s"], 1e8);
  EXPECT_TRUE(rates["bf16_flops_per_s"].is_null() || rates["bf16_flops_per_s"] > 1e8);
  EXPECT_TRUE(rates["int8_ops_per_s"].is_null() || rates["int8_ops_per_s"] > 1e8);
}

}  // namespace
}  // namespace um
