// A real model (scripts/fetch_model.sh smollm2) against llama.cpp: tokens, greedy continuations and
// the loss of a text. Recorded with llama-cpp-python 0.3.36 from this file rewritten in F32 by its
// own quantiser, so that no engine rounds activations to 8 bits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "engine/divergence.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "ops/devices.h"
#include "tests/engine/cached_sequence_util.h"
#include "tests/engine/tiny_model_util.h"
#include "text/tokenizer.h"

namespace um {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

constexpr const char* kText =
    "The lighthouse stood on the last rock of the bay, and for forty years the same man had "
    "climbed its stairs. Every evening he lit the lamp, wrote the weather in a book, and sat by "
    "the window until the ships had passed. He knew them by their lights: the ferry with its two "
    "rows of windows, the coal boat that came on Tuesdays, and the small fishing boats that went "
    "out before dawn.\n\nOne winter the lamp was replaced by an electric one, and a company in the "
    "city could switch it on from far away. The man was told that he could go home. He packed his "
    "books, his kettle and his coat, and he walked along the dam to the village. But in the "
    "evening he came back, because he had forgotten to write down the weather. The wind came from "
    "the north-west, the sea was rough, and there was snow in the air.\n\nLighthouses work because "
    "light travels in straight lines. A lens bends the rays so that they leave the tower as a "
    "narrow beam, and the beam turns, so that a sailor sees a flash. Each lighthouse has its own "
    "rhythm; a chart says how many seconds lie between two flashes. If a sailor counts ten "
    "seconds, he knows where he is. In 1822 Augustin Fresnel built a lens from rings of glass, "
    "which was thinner and lighter than any before it, and could be seen from more than twenty "
    "miles away.\n";
constexpr size_t kTokens = 296;
constexpr double kNats = 935.6246485403133;

struct Continuation {
  const char* prompt;
  Ids ids, greedy;
  bool ends;  ///< with the end of turn
};

const std::vector<Continuation>& continuations() {
  static const std::vector<Continuation> list = {
      {"The capital of France is",
       {504, 3575, 282, 4649, 314},
       {7042, 30, 198, 198, 504, 2988, 314, 42, 216, 34, 32, 33, 40, 29, 32,
        33,   29, 34,  34,  216, 33,   34,  42, 33,  34, 42, 37, 35, 30},
       true},
      {"Once upon a time, in a small village by the sea,",
       {6403, 1980, 253, 655, 28, 281, 253, 1165, 6560, 411, 260, 3426, 28},
       {665, 436,   253,   9357, 1573, 267,  19341, 3365, 17644, 793, 30,    909, 4161, 281,
        253, 11637, 10000, 411,  253,  3953, 4480,  4412, 351,   511, 11695, 282, 9077, 6734,
        30,  198,   198,   1082, 270,  793,  436,   1343, 327,   650, 11347, 284},
       false},
      {"def fibonacci(n):\n",
       {1604, 3987, 46477, 24, 94, 727, 198},
       {198, 1604, 3987, 46477, 24,    94, 727, 472,  585,  304,   10204, 216, 33,  42,
        448, 1003, 304,  472,   1745,  42, 448, 1003, 3987, 46477, 24,    94,  731, 216,
        33,  25,   1232, 3987,  46477, 24, 94,  731,  216,  34,    25,    198},
       false},
      {"<|im_start|>user\nName three primary colours.<|im_end|>\n<|im_start|>assistant\n",
       {1, 4093, 198, 5820, 1296, 3003, 14797, 30, 2, 198, 1, 520, 9531, 198},
       {33,  30,   3950, 731,  378,   768, 1273, 3003, 7302,  28,  527,   314, 260, 8964,
        282, 260,  1296, 3003, 14797, 42,  2382, 365,  66,    643, 10245, 365, 63,  643,
        284, 5724, 365,  73,   595,   198, 34,   30,   10062, 731, 378,   1796},
       false}};
  return list;
}

class RealWeights : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("UM_MODELS");
    path_ = (folder != nullptr ? fs::path(folder) : fs::path(UM_SOURCE_DIR) / "models") /
            "SmolLM2-135M-Instruct.Q4_1.gguf";
    if (!fs::exists(path_))
      GTEST_SKIP() << path_ << " is not here: scripts/fetch_model.sh smollm2 (or set UM_MODELS)";
  }
  fs::path path_;
};

/// Sum of -log p of tokens 1 to the end.
double nats(const std::vector<float>& logits, const Ids& ids, size_t vocab) {
  double sum = 0;
  for (size_t t = 0; t + 1 < ids.size(); ++t) {
    const float* row = logits.data() + t * vocab;
    const double largest = *std::max_element(row, row + vocab);
    double total = 0;
    for (size_t v = 0; v < vocab; ++v) total += std::exp(row[v] - largest);
    sum += std::log(total) + largest - row[ids[t + 1]];
  }
  return sum;
}

TEST_F(RealWeights, SaysWhatLlamaCppSays) {
  const Tokenizer tokenizer = Tokenizer::load(path_);
  std::vector<std::string> warnings;
  const auto model = load_model(path_, cpu_device(), &warnings, DType::f32);
  EXPECT_TRUE(warnings.empty()) << warnings.front();
  const auto vocab = static_cast<size_t>(model->config().vocab);
  for (const Continuation& expected : continuations()) {
    Ids ids = tokenizer.encode(expected.prompt, {.parse_special = true});
    ASSERT_EQ(ids, expected.ids) << expected.prompt;
    ids.insert(ids.end(), expected.greedy.begin(), expected.greedy.end());
    if (expected.ends) ids.push_back(2);
    const std::vector<float> logits = full_logits(*model, ids);
    for (size_t t = expected.ids.size(); t < ids.size(); ++t) {
      const auto row = logits.begin() + static_cast<std::ptrdiff_t>((t - 1) * vocab);
      const auto best = std::max_element(row, row + static_cast<std::ptrdiff_t>(vocab)) - row;
      ASSERT_EQ(best, ids[t]) << expected.prompt << " at " << t;
    }
  }
}

TEST_F(RealWeights, LossOfAText) {
  const Ids ids = Tokenizer::load(path_).encode(kText);
  ASSERT_EQ(ids.size(), kTokens);
  for (const DType weights : {DType::f32, DType::bf16}) {
    const auto model = load_model(path_, cpu_device(), nullptr, weights);
    const auto vocab = static_cast<size_t>(model->config().vocab);
    const double found = nats(full_logits(*model, ids), ids, vocab);
    // Perplexity 23.8458; llama.cpp itself has 23.9095 when it rounds activations to 8 bits.
    EXPECT_NEAR(found / kNats, 1, weights == DType::f32 ? 2e-5 : 2e-3) << dtype_name(weights);
  }
}

/// In the file's own integers, with activations in int8 by groups of 32, as llama.cpp computes.
TEST_F(RealWeights, LossInTheFilesIntegers) {
  const Ids ids = Tokenizer::load(path_).encode(kText);
  const auto model = load_model(path_, cpu_device(), nullptr, std::nullopt);
  EXPECT_EQ(model->params().weights().matrices,
            (RowFormat{RowType::panel4, 32, ScaleType::f16, true}));
  const auto vocab = static_cast<size_t>(model->config().vocab);
  const double perplexity =
      std::exp(nats(full_logits(*model, ids), ids, vocab) / static_cast<double>(kTokens - 1));
  EXPECT_NEAR(perplexity / 23.9095, 1, 5e-3);
  RecordProperty("perplexity", fmt::format("{:.4f}", perplexity));
}

/// What rounding the cache costs: the text decoded (in one forward, whose rows have the bits of one
/// token at a time, tests/models/paging_test.cc) over rows in bf16 and int8 against rows in f32.
TEST_F(RealWeights, LossOverNarrowCaches) {
  const Ids ids = Tokenizer::load(path_).encode(kText);
  const auto model = load_model(path_, cpu_device(), nullptr, DType::bf16);
  const auto vocab = static_cast<size_t>(model->config().vocab);
  const auto logits = [&](DType cache) {
    return CachedSequence(*model, std::ssize(ids), cache).append_generated_all(ids);
  };
  const std::vector<float> base = logits(DType::f32);
  EXPECT_NEAR(nats(base, ids, vocab) / kNats, 1, 2e-3);
  for (const DType cache : {DType::bf16, DType::i8}) {
    const std::vector<float> found = logits(cache);
    std::vector<double> p(vocab), q(vocab);
    Divergence sum;
    for (size_t t = 0; t + 1 < ids.size(); ++t) {
      log_softmax({base.data() + t * vocab, vocab}, p);
      log_softmax({found.data() + t * vocab, vocab}, q);
      sum.add(compare_row(p, q, ids[t + 1]));
    }
    const DivergenceReport report = sum.report();
    fmt::print(
        "cache in {}: perplexity {:.4f}, with f32 {:.4f}; ratio {:.5f} +- {:.5f}; KL {:.2e} +- "
        "{:.1e}, largest {:.1e}; same first token {:.2f}%\n",
        cache_type_name(cache), report.perplexity.value, report.base_perplexity.value,
        report.ratio.value, report.ratio.uncertainty, report.kl.mean.value,
        report.kl.mean.uncertainty, report.kl.max(), 100 * report.same_top.value);
    EXPECT_GT(report.kl.mean.value, 1e-9) << "not a narrow cache";
    EXPECT_LT(report.kl.mean.value, cache == DType::bf16 ? 1e-4 : 1e-3);
  }
}

}  // namespace
}  // namespace um
