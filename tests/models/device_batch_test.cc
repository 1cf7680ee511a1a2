// Experts given to a forward: replayed ones have its bits, others change the result, and gradients
// are those of the given ones.
#include "models/device_batch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "models/config.h"
#include "tests/engine/collector_util.h"
#include "tests/engine/tiny_model_util.h"
#include "train/objective.h"

namespace um {
namespace {

class RoutesTest : public ::testing::TestWithParam<std::string> {
 protected:
  RoutesTest() : model_(random_model(GetParam())) {}

  std::vector<float> logits(const Batch& batch) const {
    const DeviceBatch on_device(*model_, batch);
    const TrunkOutput out =
        model_->trunk(on_device.tokens(), on_device.rows(), {.routes = on_device.routes()});
    return model_->logits(out.hidden).to_vector();
  }
  /// Each token's last expert replaced by the next one that it does not have yet.
  std::vector<int16_t> others(std::vector<int16_t> routes) const {
    const auto top_k = static_cast<size_t>(model_->config().moe.top_k);
    const auto experts = static_cast<int16_t>(model_->config().moe.experts);
    for (size_t row = 0; row < routes.size(); row += top_k) {
      const auto ids = std::span(routes).subspan(row, top_k);
      const int16_t before = ids.back();
      do {
        ids.back() = static_cast<int16_t>((ids.back() + 1) % experts);
      } while (ids.back() == before || std::ranges::count(ids, ids.back()) > 1);
    }
    return routes;
  }
  /// The routes of the model's own choice.
  std::vector<int16_t> own_routes(const Batch& batch) const {
    const DeviceBatch on_device(*model_, batch);
    std::vector<Tensor> layers;
    model_->trunk(on_device.tokens(), on_device.rows(), {.expert_ids = &layers});
    std::vector<int16_t> routes;
    for (int64_t t = 0; t < batch.size(); ++t)
      for (const Tensor& layer : layers)
        for (int64_t k = 0; k < layer.cols(); ++k)
          routes.push_back(static_cast<int16_t>(layer.i32()[t * layer.cols() + k]));
    return routes;
  }
  /// Loss and gradients of a step.
  StepLosses run(const Batch& batch, bool recompute, std::vector<std::vector<float>>* gradients) {
    model_->params().reset_grads();
    BalanceLoss balance(BalanceScope::ep_group, 0.01, model_->moe_layers(), model_->moe_layers());
    const StepLosses losses =
        NextTokenObjective({.mtp_weight = 0.3})
            .run(*model_, {&batch, 1},
                 {.gradients = gradients != nullptr, .recompute = recompute, .balance = &balance});
    if (gradients != nullptr)
      for (const auto& param : model_->params().all())
        gradients->push_back(param->slot.written ? param->slot.grad.to_vector()
                                                 : std::vector<float>());
    return losses;
  }

  std::unique_ptr<Model> model_;
};

TEST_P(RoutesTest, ReplaysWhatTheEngineReports) {
  EngineRequest request = request_for(random_ids(70, model_->config().vocab), 9);
  request.routed_experts = true;
  const Collector got = um::run(*model_, {.prefill_rows = 32}, {request})[0];
  std::vector<int32_t> ids = request.prompt;
  ids.insert(ids.end(), got.tokens.begin(), got.tokens.end() - 1);
  Batch batch;
  add_sequence(batch, ids);
  const std::vector<float> free = logits(batch);
  batch.routes = got.stats.routed_experts;
  ASSERT_EQ(batch.routes, own_routes(batch));
  EXPECT_EQ(logits(batch), free);
  batch.routes = others(batch.routes);
  EXPECT_NE(logits(batch), free);
}

TEST_P(RoutesTest, ReplayedGradientsKeepTheirBits) {
  Batch batch = random_batch({20, 1, 30}, model_->config().vocab);
  std::vector<std::vector<float>> free, replayed, recomputed, different;
  const StepLosses losses = run(batch, false, &free);
  batch.routes = own_routes(batch);
  const StepLosses again = run(batch, false, &replayed);
  EXPECT_EQ(again.lm, losses.lm);
  EXPECT_EQ(again.mtp, losses.mtp);
  EXPECT_EQ(again.balance, losses.balance);
  EXPECT_EQ(replayed, free);
  run(batch, true, &recomputed);
  EXPECT_EQ(recomputed, free);
  batch.routes = others(batch.routes);
  EXPECT_NE(run(batch, false, &different).lm, losses.lm);
  recomputed.clear();
  run(batch, true, &recomputed);  // the layers that run again are given the same experts
  EXPECT_EQ(recomputed, different);
}

/// Along the gradient of the routers' weights, the loss rises as it says: with the experts given,
/// it is smooth.
TEST_P(RoutesTest, GradientsAreThoseOfTheGivenExperts) {
  Batch batch = random_batch({25, 9}, model_->config().vocab);
  batch.routes = others(own_routes(batch));
  model_->params().reset_grads();
  NextTokenObjective({}).run(*model_, {&batch, 1}, {.gradients = true});
  size_t routers = 0;
  for (const auto& param : model_->params().all()) {
    if (!param->name.ends_with("mlp.gate.weight") || !param->slot.written) continue;
    const std::vector<float> gradient = param->slot.grad.to_vector(),
                             weights = param->value.to_vector();
    double squares = 0;
    for (const float g : gradient) squares += static_cast<double>(g) * static_cast<double>(g);
    ASSERT_GT(squares, 0) << param->name;
    const double step = 0.02 / std::sqrt(squares);  // of a vector of length 0.02
    const auto loss = [&](double by) {
      for (size_t i = 0; i < weights.size(); ++i)
        param->value.f32()[i] = static_cast<float>(static_cast<double>(weights[i]) +
                                                   by * static_cast<double>(gradient[i]));
      return NextTokenObjective({}).run(*model_, {&batch, 1}, {}).lm;
    };
    const double slope =
        (8 * (loss(step) - loss(-step)) - (loss(2 * step) - loss(-2 * step))) / (12 * step);
    loss(0);
    EXPECT_NEAR(slope, squares, 0.03 * squares) << param->name;
    ++routers;
  }
  EXPECT_EQ(static_cast<int64_t>(routers), model_->trunk_moe_layers());
}

TEST_P(RoutesTest, RefusesRoutesOfAnotherModel) {
  Batch batch = random_batch({5}, model_->config().vocab);
  const auto refused = [&](const std::vector<int16_t>& routes, const std::string& message) {
    batch.routes = routes;
    try {
      const DeviceBatch on_device(*model_, batch);
      FAIL() << message;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
    }
  };
  const std::vector<int16_t> good = own_routes(batch);
  std::vector<int16_t> wrong = good;
  wrong.pop_back();
  refused(wrong, "values for 5 tokens");
  wrong = good;
  wrong.back() = static_cast<int16_t>(model_->config().moe.experts);
  refused(wrong, "token 4, MoE layer");
  wrong.back() = -1;
  refused(wrong, "expert -1");
  wrong = good;
  wrong[1] = wrong[0];
  refused(wrong, "twice");
  batch.routes = good;
  const DeviceBatch five(*model_, batch);
  const Batch other = random_batch({6}, model_->config().vocab);
  const DeviceBatch six(*model_, other);
  EXPECT_THROW(model_->trunk(six.tokens(), six.rows(), {.routes = five.routes()}), Error);
}

INSTANTIATE_TEST_SUITE_P(Presets, RoutesTest,
                         ::testing::Values("nano-ultra", "tiny-pro", "nano-openpangu2"),
                         preset_test_name);

}  // namespace
}  // namespace um
