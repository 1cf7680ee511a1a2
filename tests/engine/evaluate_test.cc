// Evaluation against figures computed from all logits, and how texts are cut into windows.
#include "engine/evaluate.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <numeric>

#include "core/error.h"
#include "core/safetensors.h"
#include "engine/compare.h"
#include "models/config.h"
#include "ops/devices.h"
#include "tests/engine/tiny_model_util.h"
#include "train/debug.h"

namespace um {
namespace {

namespace fs = std::filesystem;

int64_t argmax(const float* row, int64_t vocab) {
  return std::max_element(row, row + vocab) - row;
}

double negative_log_p(const float* row, int64_t vocab, int32_t target) {
  double sum = 0;
  for (int64_t i = 0; i < vocab; ++i) sum += std::exp(static_cast<double>(row[i] - row[target]));
  return std::log(sum);
}

EvalResult evaluate(const Model& model, const std::vector<int32_t>& ids, WindowOptions options) {
  Evaluator evaluator(model);
  for_each_window(ids, options, [&](const Batch& batch) {
    evaluator.add(batch);
    return true;
  });
  return evaluator.result();
}

TEST(Evaluate, LossIsThatOfTheLogits) {
  const auto model = random_model("nano-ultra");
  const int64_t vocab = model->config().vocab;
  const std::vector<int32_t> ids = random_ids(41, vocab);
  const std::vector<float> logits = full_logits(*model, ids);
  double nats = 0;
  int64_t correct = 0;
  for (size_t t = 0; t + 1 < ids.size(); ++t) {
    const float* row = logits.data() + static_cast<int64_t>(t) * vocab;
    nats += negative_log_p(row, vocab, ids[t + 1]);
    correct += argmax(row, vocab) == ids[t + 1];
  }
  const EvalResult result = evaluate(*model, ids, {.seq_len = 64});
  EXPECT_EQ(result.tokens, 40);
  EXPECT_NEAR(result.nats, nats, 1e-4 * nats);
  EXPECT_EQ(result.correct, correct);
  EXPECT_NEAR(result.perplexity(), std::exp(nats / 40), 1e-3 * result.perplexity());
}

/// A parameter with a NaN, for as long as this lives.
class Spoiled {
 public:
  explicit Spoiled(Param& param) : value_(param.value.f32()[1]), before_(value_) { value_ = NAN; }
  Spoiled(const Spoiled&) = delete;
  Spoiled& operator=(const Spoiled&) = delete;
  ~Spoiled() { value_ = before_; }

 private:
  float &value_, before_;
};

/// An expert whose score is NaN is never chosen: the loss is finite, and wrong.
TEST(Evaluate, ARouterThatMakesNanIsNamed) {
  for (const char* preset : {"nano-ultra", "nano-openpangu2"}) {
    const auto model = random_model(preset);
    const std::vector<int32_t> ids = random_ids(64, model->config().vocab);
    const fs::path base = fs::temp_directory_path() / fmt::format("um_nan_{}", ::getpid());
    const auto expect_named = [](const std::string& error, const auto& run) {
      try {
        run();
        ADD_FAILURE() << error;
      } catch (const Error& found) {
        EXPECT_EQ(std::string(found.what()).substr(0, error.size()), error);
      }
    };
    const auto evaluated = [&] { return evaluate(*model, ids, {.seq_len = 32}); };
    ASSERT_GT(model->moe_layers(), model->trunk_moe_layers());
    for (int64_t moe = 0; moe < model->moe_layers(); ++moe) {
      const int64_t layer = model->config().dense_layers + moe;
      Param& router = *model->params().find(fmt::format("model.layers.{}.mlp.gate.weight", layer));
      {
        const Spoiled spoiled(router);
        expect_named(router.name + ": a score of the router is nan", evaluated);
        if (moe < model->trunk_moe_layers())
          expect_named(router.name,
                       [&] { save_base_file(*model, ChunkedText::cut(ids, 32, -1), base); });
      }
      Param* bias = model->router_biases()[static_cast<size_t>(moe)];
      EXPECT_EQ(bias != nullptr, preset == std::string("nano-openpangu2"));
      if (bias == nullptr) continue;
      const Spoiled spoiled(*bias);
      expect_named(bias->name + ": a bias of the router is nan", evaluated);
    }
    EXPECT_TRUE(std::isfinite(evaluated().nats));
    EXPECT_FALSE(fs::exists(base));
  }
}

TEST(Evaluate, AcceptanceComparesHeadAndTrunk) {
  const auto model = random_model("nano-ultra");
  const int64_t vocab = model->config().vocab;
  const std::vector<int32_t> ids = random_ids(60, vocab, 2);
  // debug's logits are an independent path to the same figures.
  const fs::path path = fs::temp_directory_path() / fmt::format("um_accept_{}", ::getpid());
  write_debug_logits(*model, {ids}, path);
  int64_t offered = 0, accepted = 0;
  {
    const SafetensorsFile file(path);
    const auto* trunk = reinterpret_cast<const float*>(file.find("logits.0")->bytes.data());
    const auto* head = reinterpret_cast<const float*>(file.find("mtp.1.logits.0")->bytes.data());
    for (int64_t t = 0; t + 1 < 59; ++t) {  // row 59 has no target
      ++offered;
      accepted += argmax(head + t * vocab, vocab) == argmax(trunk + (t + 1) * vocab, vocab);
    }
  }
  fs::remove(path);
  const EvalResult result = evaluate(*model, ids, {.seq_len = 64});
  ASSERT_EQ(result.offered.size(), 1u);
  EXPECT_EQ(result.offered[0], offered);
  EXPECT_EQ(result.accepted[0], accepted);
}

TEST(Evaluate, ChainsCountWhereEarlierDraftsWereAccepted) {
  ModelConfig config = read_named_config("nano-ultra");
  config.vocab = 3;  // so that chance accepts some drafts
  config.mtp_layers = 2;
  config.init = InitRule::normal;
  config.initializer_range = 0.15;
  int64_t all_reached = 0, all_chained = 0;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    const auto model = make_model(config, cpu_device());
    model->params().initialize(seed);
    const std::vector<int32_t> ids = random_ids(100, config.vocab, seed);
    const fs::path path = fs::temp_directory_path() / fmt::format("um_chain_{}", ::getpid());
    write_debug_logits(*model, {ids}, path);
    std::vector<int64_t> reached(2), chained(2);
    {
      const SafetensorsFile file(path);
      const auto choice = [&](const char* name, int64_t row) {
        return argmax(reinterpret_cast<const float*>(file.find(name)->bytes.data()) + row * 3, 3);
      };
      for (int64_t t = 0; t + 1 < 99; ++t) {  // row 99 has no target
        ++reached[0];
        if (choice("mtp.1.logits.0", t) != choice("logits.0", t + 1)) continue;
        ++chained[0];
        if (t + 2 >= 99) continue;
        ++reached[1];
        chained[1] += choice("mtp.2.logits.0", t) == choice("logits.0", t + 2);
      }
    }
    fs::remove(path);
    const EvalResult result = evaluate(*model, ids, {.seq_len = 128});
    EXPECT_EQ(result.reached, reached);
    EXPECT_EQ(result.chained, chained);
    all_reached += reached[1];
    all_chained += chained[1];
  }
  EXPECT_GT(all_chained, 0);
  EXPECT_LT(all_chained, all_reached);
}

TEST(Evaluate, BatchesOfWindowsAddUp) {
  const auto model = random_model("nano-ultra");
  const std::vector<int32_t> ids = random_ids(200, model->config().vocab, 3);
  const EvalResult alone = evaluate(*model, ids, {.seq_len = 32, .batch_tokens = 1});
  const EvalResult together = evaluate(*model, ids, {.seq_len = 32, .batch_tokens = 1000});
  EXPECT_EQ(alone.tokens, 199);
  EXPECT_EQ(alone.offered, together.offered);
  EXPECT_EQ(alone.accepted, together.accepted);
  EXPECT_NEAR(alone.nats, together.nats, 1e-6 * alone.nats);
}

TEST(Windows, EveryTokenIsATargetOnce) {
  std::vector<int32_t> ids(101);
  std::iota(ids.begin(), ids.end(), 0);
  for (const int64_t stride : {0, 1, 3, 10}) {
    std::vector<int> seen(ids.size());
    for_each_window(ids, {.seq_len = 10, .stride = stride, .batch_tokens = 25},
                    [&](const Batch& batch) {
                      for (size_t t = 0; t < batch.tokens.size(); ++t) {
                        if (batch.targets[t] < 0) continue;
                        EXPECT_EQ(batch.targets[t], batch.tokens[t] + 1);
                        ++seen[static_cast<size_t>(batch.targets[t])];
                        // All windows but the first give each target at least this much context.
                        if (stride > 0 && batch.targets[t] > 10) {
                          EXPECT_GE(batch.positions[t], 10 - stride);
                        }
                      }
                      return true;
                    });
    EXPECT_EQ(seen[0], 0);
    for (size_t i = 1; i < seen.size(); ++i) EXPECT_EQ(seen[i], 1) << "stride " << stride;
  }
}

TEST(Windows, RefuseSenselessLengths) {
  const std::vector<int32_t> ids = {1, 2, 3};
  const auto use = [](const Batch&) { return true; };
  EXPECT_THROW(for_each_window(ids, {.seq_len = 0}, use), UsageError);
  EXPECT_THROW(for_each_window(ids, {.seq_len = 4, .stride = 5}, use), UsageError);
  EXPECT_THROW(for_each_window(ids, {.seq_len = 4, .stride = -1}, use), UsageError);
}

TEST(Evaluate, BitsPerByte) {
  EXPECT_DOUBLE_EQ(bits_per_byte(std::log(2.0) * 30, 10), 3.0);
}

}  // namespace
}  // namespace um
