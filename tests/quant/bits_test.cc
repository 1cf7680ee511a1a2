// Where bits count: the knapsack against all combinations, the recorded gradients against those of
// the parameters, the choice against what is known of the model.
#include "quant/bits.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <limits>
#include <random>

#include "core/error.h"
#include "models/checkpoint.h"
#include "ops/devices.h"
#include "quant/gradients.h"
#include "quant/knapsack.h"
#include "tests/engine/tiny_model_util.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

/// The least loss within the budget, by trying everything.
double least_loss(const std::vector<std::vector<Choice>>& items, size_t from, int64_t budget) {
  if (budget < 0) return std::numeric_limits<double>::infinity();
  if (from == items.size()) return 0;
  double least = std::numeric_limits<double>::infinity();
  for (const Choice& choice : items[from])
    least = std::min(least, choice.loss + least_loss(items, from + 1, budget - choice.cost));
  return least;
}

TEST(Knapsack, IsTheBestOfAllCombinations) {
  std::mt19937 random(5);
  std::uniform_int_distribution<int64_t> cost(0, 30);
  std::uniform_real_distribution<double> loss(0, 1);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::vector<Choice>> items(7);
    int64_t least = 0;
    for (std::vector<Choice>& item : items) {
      for (int i = 0; i < 3; ++i) item.push_back({7 * cost(random), loss(random)});
      least += std::ranges::min(item, {}, &Choice::cost).cost;
    }
    const int64_t budget = least + 11 * cost(random);
    const std::vector<size_t> chosen = choose_within(items, budget);
    int64_t spent = 0;
    double lost = 0;
    for (size_t i = 0; i < items.size(); ++i) {
      spent += items[i][chosen[i]].cost;
      lost += items[i][chosen[i]].loss;
    }
    EXPECT_LE(spent, budget);
    EXPECT_NEAR(lost, least_loss(items, 0, budget), 1e-12);
    EXPECT_THROW(choose_within(items, least - 1), Error);
  }
}

TEST(Knapsack, LargeCostsStayWithinTheBudget) {
  std::vector<std::vector<Choice>> items;
  int64_t all = 0;
  for (int64_t i = 0; i < 100; ++i) {
    items.push_back({{0, 1.0}, {1'000'000'007 + 1013 * i, 0.0}});
    all += items.back()[1].cost;
  }
  int64_t spent = 0, taken = 0;
  for (const size_t choice : choose_within(items, all / 2)) taken += static_cast<int64_t>(choice);
  EXPECT_GE(taken, 49);
  const std::vector<size_t> chosen = choose_within(items, all / 2);
  for (size_t i = 0; i < items.size(); ++i) spent += items[i][chosen[i]].cost;
  EXPECT_LE(spent, all / 2);
}

class BitsTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    model_ = random_model(GetParam());
    base_ = fs::path(testing::TempDir()) / fmt::format("bits_{}_{}", ::getpid(), GetParam());
    fs::remove_all(base_);
  }
  void TearDown() override { fs::remove_all(base_); }

  void save() {
    fs::create_directories(base_ / "model");
    tiny_tokenizer().save(base_ / "model");
    save_model(*model_, base_ / "model");
  }
  std::vector<Batch> batches() const {
    const int64_t vocab = model_->config().vocab;
    return {random_batch({48, 48}, vocab, 1), random_batch({64}, vocab, 2)};
  }
  BitChoice choose(double bits) const {
    const Conversion plan(base_ / "model", base_ / "out", {}, kW4Rows);
    return choose_bits(plan, batches(), bits, cpu_device(), [](int64_t, int64_t) {});
  }

  std::unique_ptr<Model> model_;
  fs::path base_;
};

/// What was recorded gives each parameter's gradient: Σ g xᵀ.
TEST_P(BitsTest, RecordedRowsGiveTheGradients) {
  save();
  ModelConfig config = model_->config();
  const Conversion plan(base_ / "model", base_ / "out", {}, kW4Rows);
  LayerWalk walk(config, plan.source(), cpu_device(), batches(), true);
  for (int64_t layer = 0; layer < walk.trunk_layers(); ++layer) {
    walk.load();
    walk.run();
    walk.release();
  }
  walk.turn();
  size_t compared = 0;
  for (int64_t layer = walk.trunk_layers() - 1; layer >= 0; --layer) {
    walk.load();
    GradientRecorder recorder(walk.matrices(layer));
    {
      const Observing watched(cpu_device(), recorder);
      walk.run();
    }
    for (const Param* param : walk.matrices(layer))
      for (const Piece& piece : param->pieces) {
        if (!plan.packs(piece.name) || !param->slot.written) continue;
        const InputGradients seen = recorder.find(*param, piece);
        const int64_t out = piece.shape[0], in = piece.shape[1];
        std::vector<double> sum(static_cast<size_t>(out * in), 0.0);
        for (int64_t r = 0; r < seen.rows; ++r)
          for (int64_t o = 0; o < out; ++o)
            for (int64_t i = 0; i < in; ++i)
              sum[static_cast<size_t>(o * in + i)] +=
                  double{seen.gradients[static_cast<size_t>(r * out + o)]} *
                  double{seen.inputs[static_cast<size_t>(r * in + i)]};
        const float* grad = param->slot.grad.f32() + piece.begin(param->value);
        double off = 0, all = 0;
        for (size_t i = 0; i < sum.size(); ++i) {
          off = std::max(off, std::abs(sum[i] - double{grad[i]}));
          all = std::max(all, std::abs(sum[i]));
        }
        EXPECT_LE(off, 1e-4 * all) << piece.name;
        compared += all > 0 ? 1 : 0;
      }
    walk.release();
  }
  EXPECT_GT(compared, 8u);
}

/// The budget is kept, and more bits cost less. A layer that changes nothing gets none of them.
TEST_P(BitsTest, BitsGoWhereTheyCount) {
  for (const char* end : {"self_attn.o_proj.weight", "mlp.down_proj.weight"})
    if (Param* param = model_->params().find(std::string("model.layers.1.") + end))
      std::fill_n(param->value.f32(), param->value.count(), 0.0f);
  save();
  double before = std::numeric_limits<double>::infinity(), first = 0;
  for (const double bits : {4.5, 5.0, 6.5, 8.25}) {
    const BitChoice choice = choose(bits);
    EXPECT_LE(choice.bits, bits + 1e-9);
    double loss = 0;
    for (const auto& [name, each] : choice.losses) loss += each;
    EXPECT_LE(loss, before);  // equal where no more rows have whole groups of 64
    if (bits == 8.25) {
      EXPECT_LT(loss, first);
    }
    if (bits == 4.5) first = loss;
    before = loss;
    EXPECT_EQ(choice.formats.others.empty(), bits == 4.5);
    if (bits < 8) {
      EXPECT_FALSE(choice.formats.others.contains("model.layers.1.self_attn.v_proj.weight"));
    }
  }
  EXPECT_THROW(choose(4.4), Error);
}

INSTANTIATE_TEST_SUITE_P(Presets, BitsTest,
                         ::testing::Values("tiny-embedded", "tiny-pro", "nano-ultra",
                                           "nano-openpangu2"),
                         preset_test_name);

}  // namespace
}  // namespace um
